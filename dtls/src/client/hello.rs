//! What does a client's hello offer, and what may the server's say to it? (RFC 5246 sections
//! 7.4.1.2 and 7.4.1.3)

use tidegate_crypto::agreement::Group;
use tidegate_crypto::signature::Scheme;

use super::full::ServerFlight;
use super::{Client, Config, Credential, Session, State, hear};
use crate::association::{Association, Message};
use crate::certificate::CertificateType;
use crate::established::{Established, Negotiated, peer_cid_bytes_max};
use crate::extension::{CertificateTypes, Extensions};
use crate::failure::Failure;
use crate::flight::MTU_MIN;
use crate::handshake::MessageType;
use crate::hello::{
    ClientHello, ClientHelloHead, RANDOM_BYTES, ServerHello, parse_hello_verify_request,
};
use crate::key_schedule::{MasterSecret, Role};
use crate::record::{CID_BYTES_MAX, DTLS_1_2};
use crate::resumption::Parameters;
use crate::suite::{EMPTY_RENEGOTIATION_INFO_SCSV, KeyExchange, Suite};

/// What the hello of one handshake offers.
pub(super) struct Offer {
    pub(super) suites: Vec<Suite>,
    pub(super) session: Option<Session>,
    own_cid: Option<Vec<u8>>,
    server_name: Option<Vec<u8>>,
    /// Pairs of bytes, as in the extension; none when nothing is to be agreed upon.
    groups: Option<Vec<u8>>,
    /// Whether certificates are a subject at all.
    certificates: bool,
    /// Code points; `None` for X.509 alone, which needs no extension.
    client_types: Option<Vec<u8>>,
    server_types: Option<Vec<u8>>,
    return_routability: bool,
}

/// What the hellos agreed upon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) suite: Suite,
    pub(super) server_random: [u8; RANDOM_BYTES],
    pub(super) session_id: SessionId,
    pub(super) extended_master_secret: bool,
    pub(super) client_type: CertificateType,
    pub(super) server_type: CertificateType,
    peer_cid: [u8; CID_BYTES_MAX],
    peer_cid_len: usize,
    return_routability: bool,
}

/// What the server calls the session; empty when it can't be resumed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionId {
    bytes: [u8; 32],
    len: usize,
}

/// What this crate signs and verifies with.
const SIGNATURE_ALGORITHMS: [u8; 4] = {
    let [a, b] = Scheme::EcdsaSecp256r1Sha256.code().to_be_bytes();
    let [c, d] = Scheme::EcdsaSecp384r1Sha384.code().to_be_bytes();
    [a, b, c, d]
};
/// `ec_point_formats`: uncompressed.
const POINT_FORMATS: [u8; 1] = [0];

impl Offer {
    pub(super) fn new(
        config: &Config,
        credential: &Credential,
        own_cid: Option<&[u8]>,
        session: Option<&Session>,
    ) -> Self {
        let is_psk = matches!(credential, Credential::Psk { .. });
        let fits = |suite: &&Suite| suite.key_exchange().is_psk() == is_psk;
        let suites: Vec<Suite> = config.suites.iter().filter(fits).copied().collect();
        assert!(!suites.is_empty(), "no suite for this credential");
        let agrees = suites.iter().any(|suite| suite.key_exchange().is_ephemeral());
        assert!(!agrees || !config.groups.is_empty(), "no group for a key agreement");
        let types = config.trust.certificate_types();
        assert!(is_psk || !types.is_empty(), "no server can be believed");
        let pairs = |groups: &[Group]| groups.iter().flat_map(|g| g.code().to_be_bytes()).collect();
        let is_raw = matches!(credential, Credential::RawPublicKey { .. });
        let mut offer = Self {
            suites,
            session: None,
            own_cid: own_cid.map(<[u8]>::to_vec),
            server_name: config.server_name.as_ref().filter(|name| is_host(name)).map(bytes),
            groups: agrees.then(|| pairs(&config.groups)),
            certificates: !is_psk,
            client_types: is_raw.then(|| vec![CertificateType::RawPublicKey.code()]),
            server_types: Some(types).filter(|_| !is_psk).filter(|types| *types != [0]),
            return_routability: config.return_routability && own_cid.is_some(),
        };
        let parameters = offer.parameters(config, offer.suites[0]);
        let fits = |session: &&Session| {
            (1..=32).contains(&session.id.len())
                // Or the cookie behind it would not come to stand in the first fragment.
                && config.link.mtu >= MTU_MIN + session.id.len()
                && session.resumable.may_be_offered(&offer.suites, &parameters)
        };
        offer.session = session.filter(fits).cloned();
        offer
    }

    /// What a session with this suite would keep.
    fn parameters(&self, config: &Config, suite: Suite) -> Parameters<'_> {
        Parameters {
            suite,
            extended_master_secret: config.extended_master_secret,
            max_fragment_length: config.max_fragment_length,
            server_name: self.server_name.as_deref(),
        }
    }

    fn extensions(&self, config: &Config) -> Extensions<'_> {
        Extensions {
            server_name: self.server_name.as_deref(),
            max_fragment_length: config.max_fragment_length,
            supported_groups: self.groups.as_deref(),
            ec_point_formats: self.groups.as_ref().map(|_| &POINT_FORMATS[..]),
            signature_algorithms: self.certificates.then_some(&SIGNATURE_ALGORITHMS),
            client_certificate_type: self.client_types.as_deref().map(CertificateTypes::Offered),
            server_certificate_type: self.server_types.as_deref().map(CertificateTypes::Offered),
            extended_master_secret: config.extended_master_secret,
            connection_id: self.own_cid.as_deref(),
            return_routability_check: self.return_routability,
            ..Extensions::NONE
        }
    }

    /// Whether the server says something that was not asked for, or may not be said at all.
    fn has_unasked(&self, config: &Config, answer: &Extensions<'_>) -> bool {
        let asked = self.extensions(config);
        answer.others
            || answer.signature_algorithms.is_some()
            || answer.server_name.is_some() && asked.server_name.is_none()
            || answer.max_fragment_length.is_some() && asked.max_fragment_length.is_none()
            || answer.supported_groups.is_some() && asked.supported_groups.is_none()
            || answer.ec_point_formats.is_some() && asked.ec_point_formats.is_none()
            || answer.client_certificate_type.is_some() && asked.client_certificate_type.is_none()
            || answer.server_certificate_type.is_some() && asked.server_certificate_type.is_none()
            || answer.extended_master_secret && !asked.extended_master_secret
            || answer.connection_id.is_some() && asked.connection_id.is_none()
            || answer.return_routability_check && !asked.return_routability_check
    }

    /// What a ServerHello may say to ours.
    fn check(&self, config: &Config, hello: &ServerHello<'_>) -> Result<Chosen, Failure> {
        if hello.version != DTLS_1_2 {
            return Err(Failure::Version);
        }
        let suite = Suite::from_code(hello.cipher_suite).ok_or(Failure::Illegal)?;
        let extensions = &hello.extensions;
        if self.has_unasked(config, extensions) {
            return Err(Failure::UnsupportedExtension);
        }
        if extensions.renegotiation_info.is_some_and(|previous| !previous.is_empty()) {
            return Err(Failure::Renegotiation);
        }
        let echoed = extensions.max_fragment_length;
        let cid = extensions.connection_id.unwrap_or_default();
        if !self.suites.contains(&suite)
            || hello.compression != 0
            || echoed.is_some() && echoed != config.max_fragment_length
            || cid.len() > peer_cid_bytes_max(suite)
        {
            return Err(Failure::Illegal);
        }
        let (client_types, server_types) = (&self.client_types, &self.server_types);
        let mut peer_cid = [0; CID_BYTES_MAX];
        peer_cid[..cid.len()].copy_from_slice(cid);
        Ok(Chosen {
            suite,
            server_random: *hello.random,
            session_id: SessionId::new(hello.session_id),
            extended_master_secret: extensions.extended_master_secret,
            client_type: chosen_type(client_types.as_deref(), extensions.client_certificate_type)?,
            server_type: chosen_type(server_types.as_deref(), extensions.server_certificate_type)?,
            peer_cid,
            peer_cid_len: cid.len(),
            return_routability: extensions.return_routability_check,
        })
    }
}

impl Client {
    /// Flight 1, and flight 3 when there is a cookie.
    pub(super) fn send_hello(&mut self, association: &mut Association, now_ms: u64) {
        let codes = self.offer.suites.iter().map(|suite| suite.code());
        let codes = codes.chain([EMPTY_RENEGOTIATION_INFO_SCSV]);
        let cipher_suites: Vec<u8> = codes.flat_map(u16::to_be_bytes).collect();
        let session_id = self.offer.session.as_ref().map(|session| &session.id[..]);
        let mut body = Vec::new();
        ClientHello {
            head: ClientHelloHead {
                version: DTLS_1_2,
                random: &self.randoms.random,
                session_id: session_id.unwrap_or_default(),
                cookie: &self.cookie,
            },
            cipher_suites: &cipher_suites,
            compression: &[0],
            extensions: self.offer.extensions(&self.config),
        }
        .write(&mut body);
        association.flight.clear();
        self.hello_seq = association.message_seq;
        association.message_seq += 1;
        association.flight.push(MessageType::CLIENT_HELLO, self.hello_seq, &body);
        association.retransmission.start(now_ms);
        self.hello = body;
    }

    pub(super) fn on_hello_verify_request(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        body: &[u8],
    ) -> Result<(), Failure> {
        self.cookie = parse_hello_verify_request(body).ok_or(Failure::Decode)?.to_vec();
        self.send_hello(association, now_ms);
        Ok(())
    }

    pub(super) fn on_server_hello(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let hello = ServerHello::parse(message.body)?;
        let chosen = self.offer.check(&self.config, &hello)?;
        let session = self.offer.session.take();
        let resumed = session.filter(|session| session.id == hello.session_id);
        if let Some(session) = &resumed {
            session.resumable.check(&hello)?;
        }
        // A CertificateVerify is over the digest of its signature's hash, not of the suite's.
        if chosen.suite.key_exchange() != KeyExchange::EcdheEcdsa || resumed.is_some() {
            association.transcript.choose(chosen.suite.hash());
        }
        let body = std::mem::take(&mut self.hello);
        let (msg_type, message_seq) = (MessageType::CLIENT_HELLO, self.hello_seq);
        hear(association, Message { msg_type, message_seq, body: &body });
        hear(association, message);
        if hello.extensions.connection_id.is_some() {
            association.own_cid = self.offer.own_cid.clone().unwrap_or_default();
        }
        association.max_fragment_length = hello.extensions.max_fragment_length;
        if let Some(session) = resumed {
            return self.resume(association, now_ms, &chosen, session);
        }
        self.state = State::ServerHelloDone(Box::new(ServerFlight::new(chosen)));
        Ok(())
    }

    /// The association under this master secret, as far as the hellos shape it.
    pub(super) fn established(
        &self,
        association: &Association,
        chosen: &Chosen,
        master: &MasterSecret,
    ) -> Established {
        let block = master.key_block(chosen.suite, &self.randoms.random, &chosen.server_random);
        let negotiated = Negotiated {
            suite: chosen.suite,
            own_cid_len: association.own_cid.len(),
            peer_cid: &chosen.peer_cid[..chosen.peer_cid_len],
            extended_master_secret: chosen.extended_master_secret,
            max_fragment_length: association.max_fragment_length,
            return_routability: chosen.return_routability,
        };
        Established::new(&negotiated, &block, Role::Client)
    }

    /// What of a full handshake's session lasts.
    pub(super) fn lasting(&self, association: &Association, chosen: &Chosen) -> Parameters<'_> {
        Parameters {
            extended_master_secret: chosen.extended_master_secret,
            max_fragment_length: association.max_fragment_length,
            ..self.offer.parameters(&self.config, chosen.suite)
        }
    }
}

impl SessionId {
    /// `id` has at most 32 bytes: no hello has more.
    fn new(id: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes[..id.len()].copy_from_slice(id);
        Self { bytes, len: id.len() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// X.509 unless the server chose something else of what was offered (RFC 7250 section 4.2).
fn chosen_type(
    offered: Option<&[u8]>,
    answer: Option<CertificateTypes<'_>>,
) -> Result<CertificateType, Failure> {
    let code = match answer {
        None => return Ok(CertificateType::X509),
        Some(CertificateTypes::Chosen(code)) => code,
        Some(CertificateTypes::Offered(_)) => return Err(Failure::Decode),
    };
    let is_offered = offered.is_some_and(|codes| codes.contains(&code));
    CertificateType::from_code(code).filter(|_| is_offered).ok_or(Failure::Illegal)
}

/// RFC 6066 section 3: addresses are no host names.
fn is_host(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_err() && !name.is_empty()
}

fn bytes(name: &String) -> Vec<u8> {
    name.as_bytes().to_vec()
}
