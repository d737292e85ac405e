//! How do a client and a server that know each other by a credential come to keys?
//! (RFC 5246 section 7.3, RFC 4279, RFC 5489, RFC 8422, RFC 7250)
//!
//! ```text
//!   client                                     server
//!                          ◀───────  ServerHello
//!                          ◀───────  [Certificate] [ServerKeyExchange]
//!                          ◀───────  [CertificateRequest] ServerHelloDone  flight 4, by timer
//!   [Certificate]          ───────▶
//!   ClientKeyExchange      ───────▶                            with PSK: Event::CredentialWanted
//!   [CertificateVerify]    ───────▶                            else here
//!   [ChangeCipherSpec]     ───────▶                            (held until on_credential)
//!   Finished               ───────▶                            Event::Established
//!                          ◀───────  [ChangeCipherSpec] Finished           flight 6, on demand
//! ```
//!
//! An identity that nobody knows goes on with a random key: its client is told what one with a
//! wrong key is told (RFC 4279 section 2, RFC 7925 section 6), after the same work. Over DTLS that
//! is nothing: a Finished that does not authenticate is noise (RFC 6347 section 4.1.2.7). Who shows
//! a certificate or a raw public key has proven to be its owner, and is told that it is not known.

use tidegate_crypto::agreement::Ephemeral;
use tidegate_crypto::certificate::{self, CertificateError};
use tidegate_crypto::secret::{Secret, equal};
use tidegate_crypto::signature::{self, Scheme};

use super::config::{IDENTITY_BYTES_MAX, RAW_PUBLIC_KEY_BYTES_MAX};
use super::negotiation::{Agreed, Proof, Terms};
use super::{Answer, Claimed, Keying, Server, State, hear};
use crate::association::{Association, Message};
use crate::certificate::{
    Certificate, CertificateRequest, CertificateType, CertificateVerify, ECDSA_SIGN,
};
use crate::established::Established;
use crate::failure::Failure;
use crate::handshake::MessageType;
use crate::hello::{ClientHello, ServerHello};
use crate::key_exchange::{ClientKeyExchange, EcdhParams, ServerKeyExchange, signed_parts};
use crate::key_schedule::{MasterSecret, Role, ecdhe_psk_premaster, psk_premaster};
use crate::suite::Suite;

impl Server {
    /// Flight 4.
    pub(super) fn begin_full(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
        hello: &ClientHello<'_>,
        terms: Terms,
    ) -> Result<(), Failure> {
        let agreed = Agreed::choose(&self.config, hello)?;
        let terms = terms.with(agreed.suite);
        association.own_cid = terms.own_cid(&self.own_cid).to_vec();
        // A CertificateVerify may be over another hash than the suite's: both run until then.
        if agreed.proof.is_none() {
            association.transcript.choose(agreed.suite.hash());
        }
        hear(association, message);
        let mut body = Vec::with_capacity(200);
        let extensions = agreed.answer(&hello.extensions, terms.answer(&self.own_cid));
        let session_id = self.offered_session_id(&terms);
        ServerHello::new(&self.random, session_id, agreed.suite, extensions).write(&mut body);
        association.send(MessageType::SERVER_HELLO, &body);
        if let Some(proof) = &agreed.proof {
            send_certificate(association, proof);
        }
        let ephemeral =
            agreed.group.map(|group| Ephemeral::new(group, self.ephemeral_seed.as_bytes()));
        if let Some(ephemeral) = &ephemeral {
            self.send_key_exchange(association, &agreed, ephemeral);
        }
        if agreed.proof.is_some() {
            send_certificate_request(association);
        }
        association.send(MessageType::SERVER_HELLO_DONE, &[]);
        association.retransmission.start(now_ms);
        self.state = match (ephemeral, &agreed.proof) {
            (Some(ephemeral), Some(_)) => State::Certificate { agreed, terms, ephemeral },
            (ephemeral, _) => State::KeyExchange { agreed, terms, ephemeral, shown: None },
        };
        Ok(())
    }

    fn send_key_exchange(
        &self,
        association: &mut Association,
        agreed: &Agreed,
        ephemeral: &Ephemeral,
    ) {
        let group = agreed.group.expect("whose key this is").code();
        let params = EcdhParams { group, point: ephemeral.share() };
        let mut body = Vec::new();
        match &agreed.proof {
            None => ServerKeyExchange::EcdhePsk { hint: &[], params }.write(&mut body),
            Some(Proof { identity, .. }) => {
                let bytes = params.bytes();
                let parts = signed_parts(self.client_random(), &self.random, &bytes);
                let signature = identity.key.sign(&parts);
                let scheme = identity.key.scheme().code();
                let signature = &signature;
                ServerKeyExchange::EcdheEcdsa { params, scheme, signature }.write(&mut body);
            }
        }
        association.send(MessageType::SERVER_KEY_EXCHANGE, &body);
    }

    /// What the client shows; that it is its own is proven by CertificateVerify.
    pub(super) fn on_certificate(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::Certificate { agreed, terms, ephemeral } = self.take_state() else {
            return Err(Failure::UnexpectedMessage);
        };
        let proof = agreed.proof.as_ref().expect("asked for a certificate");
        let shown = self.judge(&Certificate::parse(proof.client_type, message.body)?)?;
        hear(association, message);
        self.state =
            State::KeyExchange { agreed, terms, ephemeral: Some(ephemeral), shown: Some(shown) };
        Ok(())
    }

    fn judge(&mut self, certificate: &Certificate<'_>) -> Result<Claimed, Failure> {
        if certificate.is_empty() {
            return Err(Failure::NoCertificate);
        }
        match certificate {
            Certificate::RawPublicKey(spki) if spki.len() > RAW_PUBLIC_KEY_BYTES_MAX => {
                Err(Failure::Illegal)
            }
            Certificate::RawPublicKey(spki) => Ok(Claimed::RawPublicKey(spki.to_vec())),
            Certificate::X509(chain) => {
                let authorities = self.config.authorities.as_ref().expect("X.509 was agreed upon");
                let verified = authorities.verify_client(chain, self.unix_s).map_err(Failure::from);
                if let Err(Failure::CertificateExpired | Failure::UnknownAuthority) = verified {
                    self.refused = certificate::leaf(chain[0]).ok().map(Box::new);
                }
                Ok(Claimed::Certificate(Box::new(verified?)))
            }
        }
    }

    pub(super) fn on_client_key_exchange(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::KeyExchange { agreed, terms, ephemeral, shown } = self.take_state() else {
            return Err(Failure::UnexpectedMessage);
        };
        let suite = agreed.suite;
        let agree = |point| {
            let ephemeral = ephemeral.as_ref().expect("the suite has a key agreement");
            ephemeral.agree(point).map_err(|_| Failure::Illegal)
        };
        let (identity, secret) = match ClientKeyExchange::parse(suite.key_exchange(), message.body)?
        {
            ClientKeyExchange::Psk { identity } => (identity, None),
            ClientKeyExchange::EcdhePsk { identity, point } => (identity, Some(agree(point)?)),
            ClientKeyExchange::EcdheEcdsa { point } => {
                let premaster = agree(point)?;
                hear(association, message);
                let master = self.master(association, suite, &terms, &premaster);
                let shown = shown.expect("came before");
                self.state = State::CertificateVerify { suite, terms, master, shown };
                return Ok(());
            }
        };
        hear(association, message);
        let is_too_long = identity.len() > IDENTITY_BYTES_MAX;
        let identity = if is_too_long { Vec::new() } else { identity.to_vec() };
        let (keying, claim) = (Keying::Psk(secret), Claimed::Psk(identity));
        self.state = State::Credential { suite, terms, keying, claim };
        if is_too_long {
            return self.on_credential(association, now_ms, Answer::Unknown);
        }
        self.credential_wanted = true;
        Ok(())
    }

    pub(super) fn on_certificate_verify(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::CertificateVerify { suite, terms, master, shown } = self.take_state() else {
            return Err(Failure::UnexpectedMessage);
        };
        let CertificateVerify { scheme, signature } = CertificateVerify::parse(message.body)?;
        let scheme = Scheme::from_code(scheme).ok_or(Failure::Illegal)?;
        let spki = match &shown {
            Claimed::RawPublicKey(spki) => spki,
            Claimed::Certificate(leaf) => &leaf.spki,
            Claimed::Psk(_) => return Err(Failure::UnexpectedMessage),
        };
        let digest = association.transcript.snapshot(scheme.hash());
        if !signature::verify_digest(scheme, spki, &digest, signature) {
            return Err(Failure::Signature);
        }
        association.transcript.choose(suite.hash());
        hear(association, message);
        let keying = Keying::Master(master);
        self.state = State::Credential { suite, terms, keying, claim: shown };
        self.credential_wanted = true;
        Ok(())
    }

    pub(super) fn on_credential(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        answer: Answer<'_>,
    ) -> Result<(), Failure> {
        if !matches!(self.state, State::Credential { .. }) {
            return Ok(());
        }
        let State::Credential { suite, terms, keying, claim } = self.take_state() else {
            return Ok(());
        };
        let master = match (keying, answer) {
            (Keying::Psk(agreed), answer) => {
                let fake_key = self.fake_key.as_bytes().as_slice();
                let (psk, is_unknown) = match answer {
                    Answer::Psk(psk) => (psk, false),
                    Answer::Known | Answer::Unknown => (fake_key, true),
                };
                let premaster = match &agreed {
                    None => psk_premaster(psk),
                    Some(agreed) => ecdhe_psk_premaster(agreed, psk),
                };
                self.is_unknown = is_unknown;
                self.master(association, suite, &terms, &premaster)
            }
            (Keying::Master(master), Answer::Known) => master,
            (Keying::Master(_), Answer::Psk(_) | Answer::Unknown) => {
                return Err(match claim {
                    Claimed::Certificate(_) => Failure::AccessDenied,
                    Claimed::RawPublicKey(_) | Claimed::Psk(_) => Failure::UnknownKey,
                });
            }
        };
        let block = self.key_block(suite, &master);
        let keys = Established::new(&terms.negotiated(suite), &block, Role::Server);
        self.state = State::Finished { suite, terms, master, claim: Some(claim) };
        association.install_keys(self, now_ms, keys);
        Ok(())
    }

    /// After ClientKeyExchange, and before anything that follows it.
    fn master(
        &self,
        association: &Association,
        suite: Suite,
        terms: &Terms,
        premaster: &Secret,
    ) -> MasterSecret {
        let hash = suite.hash();
        if terms.extended_master_secret {
            let session_hash = association.transcript.snapshot(hash);
            MasterSecret::derive_extended(hash, premaster, &session_hash)
        } else {
            MasterSecret::derive(hash, premaster, self.client_random(), &self.random)
        }
    }

    /// The client's Finished; flight 6 answers it, unless it was the last one of all.
    pub(super) fn on_finished(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::Finished { master, claim, .. } = &self.state else {
            return Err(Failure::UnexpectedMessage);
        };
        let expected = master.verify_data(Role::Client, &association.transcript);
        // Whoever authenticates under the fake key is not let in either.
        if !equal(&expected, message.body) || self.is_unknown {
            return Err(Failure::Finished);
        }
        if claim.is_none() {
            association.succeed(&[]);
            return Ok(());
        }
        hear(association, message);
        let verify_data = master.verify_data(Role::Server, &association.transcript);
        let message_seq = association.number_message(MessageType::FINISHED, &verify_data);
        association.succeed_with_last_flight(verify_data, message_seq);
        Ok(())
    }

    /// The state to go on from; whoever takes it and fails ends the handshake.
    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::ClientHello)
    }
}

fn send_certificate(association: &mut Association, proof: &Proof) {
    let identity = &proof.identity;
    let certificate = match proof.server_type {
        CertificateType::X509 => {
            Certificate::X509(identity.chain.iter().map(Vec::as_slice).collect())
        }
        CertificateType::RawPublicKey => Certificate::RawPublicKey(identity.key.spki()),
    };
    let mut body = Vec::new();
    certificate.write(&mut body);
    association.send(MessageType::CERTIFICATE, &body);
}

/// Names no authorities: it would tell a stranger whom we trust, and a constrained client has one
/// certificate to choose from.
fn send_certificate_request(association: &mut Association) {
    let pairs = Scheme::ALL.map(|scheme| scheme.code().to_be_bytes());
    let signature_algorithms = pairs.as_flattened();
    let mut body = Vec::new();
    CertificateRequest { types: &[ECDSA_SIGN], signature_algorithms, authorities: &[] }
        .write(&mut body);
    association.send(MessageType::CERTIFICATE_REQUEST, &body);
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Malformed | CertificateError::ChainLength => Self::BadCertificate,
            CertificateError::UnknownAuthority => Self::UnknownAuthority,
            CertificateError::Expired | CertificateError::NotYetValid => Self::CertificateExpired,
            CertificateError::WrongUse | CertificateError::Algorithm => {
                Self::UnsupportedCertificate
            }
            CertificateError::WrongName => Self::CertificateUnknown,
        }
    }
}
