//! What does a client do with the server's flight 4, and what is in its own flight 5?
//! (RFC 5246 section 7.3, RFC 5489 section 2, RFC 8422 section 2)

use tidegate_crypto::agreement::{Ephemeral, Group};
use tidegate_crypto::secret::{Secret, equal};
use tidegate_crypto::signature::{self, Scheme, SigningKey};

use super::hello::Chosen;
use super::{Client, Credential, Session, State, hear};
use crate::association::{Association, Message};
use crate::certificate::{
    Certificate, CertificateRequest, CertificateType, CertificateVerify, ECDSA_SIGN,
};
use crate::extension::codes;
use crate::failure::Failure;
use crate::handshake::MessageType;
use crate::key_exchange::{ClientKeyExchange, EcdhParams, ServerKeyExchange, signed_parts};
use crate::key_schedule::{MasterSecret, Role, ecdhe_psk_premaster, psk_premaster};
use crate::resumption::Resumable;
use crate::suite::KeyExchange;

/// What came of flight 4 so far.
pub(super) struct ServerFlight {
    pub(super) chosen: Chosen,
    /// SubjectPublicKeyInfo of the Certificate that was believed.
    server_key: Option<Vec<u8>>,
    /// ServerKeyExchange came: what to do with it.
    exchange: Option<Exchange>,
    /// CertificateRequest came: whether our key is one of those it asks for.
    request: Option<bool>,
}

/// What a ServerKeyExchange brought.
enum Exchange {
    /// A hint that is not used.
    Hint,
    /// The server's half of a key agreement.
    Share { group: Group, point: Vec<u8> },
}

impl ServerFlight {
    pub(super) fn new(chosen: Chosen) -> Self {
        Self { chosen, server_key: None, exchange: None, request: None }
    }

    fn key_exchange(&self) -> KeyExchange {
        self.chosen.suite.key_exchange()
    }

    /// Whether ServerHelloDone may come.
    fn is_complete(&self) -> bool {
        self.exchange.is_some() || self.key_exchange() == KeyExchange::Psk
    }
}

impl Client {
    /// Any message of flight 4 between the hello and its end, in the order of RFC 5246 section 7.3.
    pub(super) fn on_server_flight(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::ServerHelloDone(flight) = &self.state else {
            return Err(Failure::UnexpectedMessage);
        };
        let is_ecdsa = flight.key_exchange() == KeyExchange::EcdheEcdsa;
        let (has_key, has_exchange) = (flight.server_key.is_some(), flight.exchange.is_some());
        let (mut server_key, mut exchange, mut request) = (None, None, None);
        match message.msg_type {
            MessageType::CERTIFICATE if is_ecdsa && !has_key && !has_exchange => {
                server_key = Some(self.believe(&flight.chosen, message.body)?);
            }
            MessageType::SERVER_KEY_EXCHANGE if !has_exchange && has_key == is_ecdsa => {
                exchange = Some(self.read_exchange(flight, message.body)?);
            }
            MessageType::CERTIFICATE_REQUEST
                if is_ecdsa && has_exchange && flight.request.is_none() =>
            {
                request = Some(self.is_wanted(&CertificateRequest::parse(message.body)?));
            }
            _ => return Err(Failure::UnexpectedMessage),
        }
        hear(association, message);
        if let State::ServerHelloDone(flight) = &mut self.state {
            flight.server_key = server_key.or(flight.server_key.take());
            flight.exchange = exchange.or(flight.exchange.take());
            flight.request = request.or(flight.request);
        }
        Ok(())
    }

    /// The key of a server that is who it should be.
    fn believe(&self, chosen: &Chosen, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let certificate = Certificate::parse(chosen.server_type, body)?;
        self.config.trust.key_of(&certificate, self.config.server_name.as_deref(), self.unix_s)
    }

    fn read_exchange(&self, flight: &ServerFlight, body: &[u8]) -> Result<Exchange, Failure> {
        let params = match ServerKeyExchange::parse(flight.key_exchange(), body)? {
            ServerKeyExchange::Psk { .. } => return Ok(Exchange::Hint),
            ServerKeyExchange::EcdhePsk { params, .. } => params,
            ServerKeyExchange::EcdheEcdsa { params, scheme, signature } => {
                self.verify(flight, &params, scheme, signature)?;
                params
            }
        };
        let group = Group::from_code(params.group).ok_or(Failure::Illegal)?;
        if !self.config.groups.contains(&group) {
            return Err(Failure::Illegal);
        }
        Ok(Exchange::Share { group, point: params.point.to_vec() })
    }

    /// The server's key agreement is the certified key's.
    fn verify(
        &self,
        flight: &ServerFlight,
        params: &EcdhParams<'_>,
        scheme: u16,
        signature: &[u8],
    ) -> Result<(), Failure> {
        let scheme = Scheme::from_code(scheme).ok_or(Failure::Illegal)?;
        let key = flight.server_key.as_deref().ok_or(Failure::UnexpectedMessage)?;
        let params = params.bytes();
        let parts = signed_parts(&self.randoms.random, &flight.chosen.server_random, &params);
        let is_good = signature::verify(scheme, key, &parts, signature);
        is_good.then_some(()).ok_or(Failure::Signature)
    }

    fn is_wanted(&self, request: &CertificateRequest<'_>) -> bool {
        let wants = |code| codes(request.signature_algorithms).any(|wanted| wanted == code);
        self.signing_key().is_some_and(|key| wants(key.scheme().code()))
            && request.types.contains(&ECDSA_SIGN)
    }

    fn signing_key(&self) -> Option<&SigningKey> {
        match &self.credential {
            Credential::Certificate { key, .. } | Credential::RawPublicKey { key } => Some(key),
            Credential::Psk { .. } | Credential::Nobody => None,
        }
    }

    /// Flight 5.
    pub(super) fn on_server_hello_done(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let state = std::mem::replace(&mut self.state, State::ServerHello);
        let State::ServerHelloDone(flight) = state else { return Err(Failure::UnexpectedMessage) };
        if !message.body.is_empty() {
            return Err(Failure::Decode);
        }
        if !flight.is_complete() {
            return Err(Failure::UnexpectedMessage);
        }
        hear(association, message);
        association.flight.clear();
        let chosen = flight.chosen;
        let shown = flight
            .request
            .is_some_and(|wanted| self.send_certificate(association, chosen.client_type, wanted));
        let premaster = self.send_key_exchange(association, &flight)?;
        let master = self.master(association, &chosen, &premaster);
        if shown {
            self.send_certificate_verify(association);
        }

        association.transcript.choose(chosen.suite.hash());
        let keys = self.established(association, &chosen, &master);
        let verify_data = master.verify_data(Role::Client, &association.transcript);
        let message_seq = association.number_message(MessageType::FINISHED, &verify_data);
        association.flight.push_change_cipher_spec();
        association.flight.push_protected(MessageType::FINISHED, message_seq, &verify_data);
        association.retransmission.start(now_ms);
        self.state = State::Finished { chosen, master };
        association.install_keys(self, now_ms, keys);
        Ok(())
    }

    /// Shows what we have, or that it is nothing the server can use; says which.
    fn send_certificate(
        &mut self,
        association: &mut Association,
        client_type: CertificateType,
        is_wanted: bool,
    ) -> bool {
        let certificate = match (&self.credential, client_type) {
            (Credential::Certificate { chain, .. }, CertificateType::X509) if is_wanted => {
                Certificate::X509(chain.iter().map(|der| &der[..]).collect())
            }
            (Credential::RawPublicKey { key }, CertificateType::RawPublicKey) if is_wanted => {
                Certificate::RawPublicKey(key.spki())
            }
            (_, CertificateType::X509) => Certificate::X509(Vec::new()),
            (_, CertificateType::RawPublicKey) => Certificate::RawPublicKey(&[]),
        };
        let is_shown = !certificate.is_empty();
        let mut body = Vec::new();
        certificate.write(&mut body);
        association.send(MessageType::CERTIFICATE, &body);
        is_shown
    }

    /// Sends ClientKeyExchange and returns the premaster secret.
    fn send_key_exchange(
        &mut self,
        association: &mut Association,
        flight: &ServerFlight,
    ) -> Result<Secret, Failure> {
        let mut share = Vec::new();
        let mut agreed = None;
        if let Some(Exchange::Share { group, point }) = &flight.exchange {
            let own = Ephemeral::new(*group, self.randoms.ephemeral_seed.as_bytes());
            share.extend_from_slice(own.share());
            agreed = Some(own.agree(point).map_err(|_| Failure::Illegal)?);
        }
        let message = match (&self.credential, flight.key_exchange()) {
            (Credential::Psk { identity, .. }, KeyExchange::Psk) => {
                ClientKeyExchange::Psk { identity }
            }
            (Credential::Psk { identity, .. }, KeyExchange::EcdhePsk) => {
                ClientKeyExchange::EcdhePsk { identity, point: &share }
            }
            _ => ClientKeyExchange::EcdheEcdsa { point: &share },
        };
        let mut body = Vec::new();
        message.write(&mut body);
        association.send(MessageType::CLIENT_KEY_EXCHANGE, &body);
        Ok(match (&self.credential, agreed) {
            (Credential::Psk { psk, .. }, Some(agreed)) => {
                ecdhe_psk_premaster(&agreed, psk.as_bytes())
            }
            (Credential::Psk { psk, .. }, None) => psk_premaster(psk.as_bytes()),
            (_, Some(agreed)) => agreed,
            (_, None) => return Err(Failure::UnexpectedMessage),
        })
    }

    /// Proves that the key in our Certificate is ours. The signature's nonce is drawn by the
    /// library: a repeated one would give the key away.
    fn send_certificate_verify(&self, association: &mut Association) {
        let Some(key) = self.signing_key() else { return };
        let digest = association.transcript.snapshot(key.scheme().hash());
        let signature = key.sign_digest(&digest);
        let mut body = Vec::new();
        CertificateVerify { scheme: key.scheme().code(), signature: &signature }.write(&mut body);
        association.send(MessageType::CERTIFICATE_VERIFY, &body);
    }

    fn master(
        &self,
        association: &Association,
        chosen: &Chosen,
        premaster: &Secret,
    ) -> MasterSecret {
        let hash = chosen.suite.hash();
        if chosen.extended_master_secret {
            let session_hash = association.transcript.snapshot(hash);
            MasterSecret::derive_extended(hash, premaster, &session_hash)
        } else {
            MasterSecret::derive(hash, premaster, &self.randoms.random, &chosen.server_random)
        }
    }

    pub(super) fn on_finished(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::Finished { chosen, master } = &self.state else {
            return Err(Failure::UnexpectedMessage);
        };
        let expected = master.verify_data(Role::Server, &association.transcript);
        if !equal(&expected, message.body) {
            return Err(Failure::Finished);
        }
        // RFC 7627 section 5.3: only such a session should be offered again.
        let id = chosen.session_id.as_bytes();
        if !id.is_empty() && chosen.extended_master_secret {
            let resumable = Resumable::new(master, &self.lasting(association, chosen));
            self.session = Some(Session { id: id.to_vec(), resumable });
        }
        association.succeed(&[]);
        Ok(())
    }
}
