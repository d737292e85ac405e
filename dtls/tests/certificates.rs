//! How does a device show who it is without a pre-shared key? RFC 8422, RFC 7250 and the profile
//! of RFC 7925, one rule a test, with a client whose every message is written here.

#![allow(clippy::unwrap_used)]

mod story;

use std::sync::Arc;

use story::credential::{Made, SERVER_NAME, made, make};
use story::peer::Peer;
use story::{ServerEnd, UNIX_S};
use tidegate_crypto::agreement::{Ephemeral, Group};
use tidegate_crypto::certificate;
use tidegate_crypto::signature::{self, Scheme, SigningKey};
use tidegate_dtls::alert::{Alert, Description};
use tidegate_dtls::certificate::{
    Certificate, CertificateRequest, CertificateType, CertificateVerify,
};
use tidegate_dtls::extension::{CertificateTypes, Extensions};
use tidegate_dtls::handshake::MessageType;
use tidegate_dtls::hello::{ClientHello, ClientHelloHead};
use tidegate_dtls::key_exchange::{ClientKeyExchange, ServerKeyExchange, signed_parts};
use tidegate_dtls::key_schedule::MasterSecret;
use tidegate_dtls::server::{self, Answer, Claim, Identity};
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Failure, Link, Suite};

const HELLO: ClientHello<'_> = ClientHello {
    head: ClientHelloHead { version: 0xfefd, random: &[7; 32], session_id: b"", cookie: b"" },
    cipher_suites: &[0xc0, 0xae],
    compression: &[0],
    extensions: Extensions {
        extended_master_secret: true,
        supported_groups: Some(&[0, 23, 0, 24, 0, 29]),
        signature_algorithms: Some(&[4, 3, 5, 3]),
        ..Extensions::NONE
    },
};
const RAW: Option<CertificateTypes<'_>> = Some(CertificateTypes::Offered(&[2]));
const X509: Option<CertificateTypes<'_>> = Some(CertificateTypes::Offered(&[0]));

fn with(extensions: Extensions<'static>) -> ClientHello<'static> {
    ClientHello { extensions, ..HELLO }
}

/// The hello of a device that shows, and takes, raw public keys alone.
fn raw() -> ClientHello<'static> {
    let types = Extensions {
        client_certificate_type: RAW,
        server_certificate_type: RAW,
        ..HELLO.extensions
    };
    with(types)
}

fn config() -> server::Config {
    story::credential::server(0, Link::default())
}

fn says(hello: &ClientHello<'_>) -> Peer {
    Peer::says(ServerEnd::new(config()), hello)
}

fn chain(made: &Made) -> Vec<u8> {
    written(&Certificate::X509(vec![&made.device_certificate]))
}

fn written(certificate: &Certificate<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    certificate.write(&mut body);
    body
}

/// Certificate and ClientKeyExchange; the master secret when it came that far.
fn shows(peer: &mut Peer, certificate: &[u8]) -> Option<MasterSecret> {
    let body = peer.body(MessageType::SERVER_KEY_EXCHANGE);
    let message = ServerKeyExchange::parse(KeyExchange::EcdheEcdsa, body).unwrap();
    let ServerKeyExchange::EcdheEcdsa { params, .. } = message else { panic!("{message:?}") };
    let ours = Ephemeral::new(Group::from_code(params.group).unwrap(), &[0x33; 48]);
    let agreed = ours.agree(params.point).unwrap();
    peer.sends(MessageType::CERTIFICATE, certificate);
    peer.server.handshake.as_ref()?;
    let mut body = Vec::new();
    ClientKeyExchange::EcdheEcdsa { point: ours.share() }.write(&mut body);
    peer.sends(MessageType::CLIENT_KEY_EXCHANGE, &body);
    Some(peer.master(&agreed))
}

fn proves(peer: &mut Peer, key: &SigningKey) {
    let signature = key.sign(&[&peer.messages]);
    verify(peer, key.scheme().code(), &signature);
}

fn verify(peer: &mut Peer, scheme: u16, signature: &[u8]) {
    let mut body = Vec::new();
    CertificateVerify { scheme, signature }.write(&mut body);
    peer.sends(MessageType::CERTIFICATE_VERIFY, &body);
}

/// All of the client's half; whether both Finished fit.
fn completes(peer: &mut Peer, certificate: &[u8], key: &SigningKey) -> bool {
    let master = shows(peer, certificate).unwrap();
    proves(peer, key);
    peer.finishes(&master)
}

#[track_caller]
fn refused(peer: &Peer, failure: Failure, alert: Description) {
    assert_eq!(peer.server.log.failure, Some(failure));
    assert_eq!(peer.alerts, [Alert::fatal(alert)]);
    assert!(peer.server.session.is_none() && peer.server.handshake.is_none());
}

/// RFC 8422 section 2, figure 1: every message of flight 4, and what it says.
#[test]
fn the_server_shows_signs_and_asks() {
    let peer = says(&HELLO);
    assert_eq!(peer.types(), [2, 11, 12, 13, 14]);
    let body = peer.body(MessageType::CERTIFICATE);
    let shown = Certificate::parse(CertificateType::X509, body).unwrap();
    assert_eq!(shown, Certificate::X509(vec![&made().server.chain[0]]));
    let leaf = certificate::leaf(&made().server.chain[0]).unwrap();

    let body = peer.body(MessageType::SERVER_KEY_EXCHANGE);
    let message = ServerKeyExchange::parse(KeyExchange::EcdheEcdsa, body).unwrap();
    let ServerKeyExchange::EcdheEcdsa { params, scheme, signature } = message else {
        panic!("{message:?}");
    };
    let (scheme, params) = (Scheme::from_code(scheme).unwrap(), params.bytes());
    let hello = peer.server_hello();
    let parts = signed_parts(HELLO.head.random, hello.random, &params);
    assert!(signature::verify(scheme, &leaf.spki, &parts, signature));
    let other = signed_parts(&[8; 32], hello.random, &params);
    assert!(!signature::verify(scheme, &leaf.spki, &other, signature), "fresh for this client");

    let request = CertificateRequest::parse(peer.body(MessageType::CERTIFICATE_REQUEST)).unwrap();
    assert_eq!((request.types, request.authorities), (&[64][..], &[][..]));
    assert_eq!(request.signature_algorithms, [4, 3, 5, 3]);
    assert_eq!(hello.extensions.client_certificate_type, None, "not asked, not answered");
}

/// Every suite, every group, with certificates and with raw public keys (RFC 7250 section 3).
#[test]
fn every_suite_and_group_with_both_kinds_of_proof() {
    for suite in Suite::of(KeyExchange::EcdheEcdsa) {
        for group in Group::ALL {
            for is_raw in [false, true] {
                let code = suite.code().to_be_bytes();
                let config = server::Config { groups: vec![group], ..config() };
                let hello = if is_raw { raw() } else { HELLO };
                let hello = ClientHello { cipher_suites: &code, ..hello };
                let mut peer = Peer::says(ServerEnd::new(config), &hello);
                let key = &made().device_key;
                let own = if is_raw {
                    written(&Certificate::RawPublicKey(key.spki()))
                } else {
                    chain(made())
                };
                assert!(completes(&mut peer, &own, key), "{suite:?} {group:?} {is_raw}");
                assert_eq!(peer.server.session.unwrap().suite(), Some(suite));
            }
        }
    }
}

/// RFC 7250 section 4: each direction has its own type, said in the ServerHello when asked.
#[test]
fn certificate_types_are_negotiated_for_each_direction() {
    let chosen =
        |certificate_type: CertificateType| Some(CertificateTypes::Chosen(certificate_type.code()));
    let first_raw = Some(CertificateTypes::Offered(&[2, 0]));
    for (client, server, of_client, of_server) in [
        (RAW, X509, CertificateType::RawPublicKey, CertificateType::X509),
        (X509, RAW, CertificateType::X509, CertificateType::RawPublicKey),
        (None, RAW, CertificateType::X509, CertificateType::RawPublicKey),
        (first_raw, None, CertificateType::RawPublicKey, CertificateType::X509),
        // 1 is OpenPGP, which nobody has.
        (
            RAW,
            Some(CertificateTypes::Offered(&[1, 0])),
            CertificateType::RawPublicKey,
            CertificateType::X509,
        ),
    ] {
        let types = Extensions {
            client_certificate_type: client,
            server_certificate_type: server,
            ..HELLO.extensions
        };
        let mut peer = says(&with(types));
        let answer = peer.server_hello().extensions;
        assert_eq!(answer.client_certificate_type, client.and(chosen(of_client)));
        assert_eq!(answer.server_certificate_type, server.and(chosen(of_server)));
        let shown = Certificate::parse(of_server, peer.body(MessageType::CERTIFICATE)).unwrap();
        let expected = match of_server {
            CertificateType::X509 => Certificate::X509(vec![&made().server.chain[0]]),
            CertificateType::RawPublicKey => Certificate::RawPublicKey(made().server.key.spki()),
        };
        assert_eq!(shown, expected);
        let key = &made().device_key;
        let own = match of_client {
            CertificateType::X509 => chain(made()),
            CertificateType::RawPublicKey => written(&Certificate::RawPublicKey(key.spki())),
        };
        assert!(completes(&mut peer, &own, key), "{client:?} {server:?}");
    }
}

/// RFC 7250 section 4.2; the control is a suite for which it does not matter.
#[test]
fn without_a_common_certificate_type_there_is_no_handshake() {
    let open_pgp = Some(CertificateTypes::Offered(&[1]));
    let unjudged = server::Config { authorities: None, ..config() };
    let key = SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).unwrap();
    let bare = Identity { key, chain: Vec::new(), names: Vec::new() };
    let unnamed = server::Config { identities: vec![Arc::new(bare)], ..config() };
    for (config, client, server) in [
        (config(), open_pgp, X509),
        (config(), X509, open_pgp),
        (unjudged, None, None),
        (unnamed, None, None),
    ] {
        let types = Extensions {
            client_certificate_type: client,
            server_certificate_type: server,
            ..HELLO.extensions
        };
        let hello = with(types);
        let peer = Peer::says(ServerEnd::new(config.clone()), &hello);
        let alert = Description::UNSUPPORTED_CERTIFICATE;
        refused(&peer, Failure::NoCommonCertificateType, alert);
        let with_psk = ClientHello { cipher_suites: &[0xc0, 0xae, 0xc0, 0xa8], ..hello };
        let peer = Peer::says(ServerEnd::new(config), &with_psk);
        assert_eq!(peer.server_hello().cipher_suite, 0xc0a8);
    }
}

/// What the owner is asked, and not before the proof: names of the leaf, or the raw key.
#[test]
fn the_claim_is_made_when_it_is_proven() {
    let key = &made().device_key;
    for is_raw in [false, true] {
        let mut server = ServerEnd::new(config());
        server.answers_credentials = false;
        let mut peer = Peer::says(server, &if is_raw { raw() } else { HELLO });
        let raw_key = written(&Certificate::RawPublicKey(key.spki()));
        let master = shows(&mut peer, &if is_raw { raw_key } else { chain(made()) }).unwrap();
        assert!(peer.server.handshake.as_ref().unwrap().claim().is_none(), "shown, not proven");
        proves(&mut peer, key);
        let handshake = peer.server.handshake.as_mut().unwrap();
        match handshake.claim() {
            Some(Claim::RawPublicKey(spki)) if is_raw => assert_eq!(spki, key.spki()),
            Some(Claim::Certificate(leaf)) if !is_raw => {
                assert_eq!(leaf.names, ["CN=device-0001"]);
                assert_eq!(leaf.spki, key.spki());
            }
            other => panic!("{other:?}"),
        }
        handshake.on_credential(0, Answer::Known);
        peer.server.settle(0);
        assert!(peer.finishes(&master));
    }
}

/// RFC 7925 section 6 keeps alerts about certificates from clients without.
#[test]
fn who_is_not_known_is_told_so_after_the_proof() {
    for (is_raw, failure, alert) in [
        (false, Failure::AccessDenied, Description::ACCESS_DENIED),
        (true, Failure::UnknownKey, Description::HANDSHAKE_FAILURE),
    ] {
        for answer in [Answer::Unknown, Answer::Psk(b"does not fit")] {
            let mut server = ServerEnd::new(config());
            server.answers_credentials = false;
            let mut peer = Peer::says(server, &if is_raw { raw() } else { HELLO });
            let key = &made().device_key;
            let raw_key = written(&Certificate::RawPublicKey(key.spki()));
            shows(&mut peer, &if is_raw { raw_key } else { chain(made()) }).unwrap();
            proves(&mut peer, key);
            peer.server.handshake.as_mut().unwrap().on_credential(0, answer);
            peer.server.settle(0);
            peer.hears();
            refused(&peer, failure, alert);
        }
    }
}

/// RFC 5246 section 7.4.8: by another key, over other messages, or of another scheme.
#[test]
fn a_proof_that_does_not_verify_ends_the_handshake() {
    let key = &made().device_key;
    let other = make("another authority").device_key;
    for wrong in 0..4 {
        for is_raw in [false, true] {
            let mut peer = says(&if is_raw { raw() } else { HELLO });
            let raw_key = written(&Certificate::RawPublicKey(key.spki()));
            let own = if is_raw { raw_key } else { chain(made()) };
            let before = peer.messages.clone();
            shows(&mut peer, &own).unwrap();
            let code = key.scheme().code();
            match wrong {
                0 => proves(&mut peer, &other),
                1 => verify(&mut peer, code, &key.sign(&[&before])),
                2 => {
                    let signature = key.sign(&[&peer.messages]);
                    verify(&mut peer, 0x0503, &signature);
                }
                _ => verify(&mut peer, code, b""),
            }
            refused(&peer, Failure::Signature, Description::DECRYPT_ERROR);
        }
    }
    let mut peer = says(&HELLO);
    shows(&mut peer, &chain(made())).unwrap();
    verify(&mut peer, 0x0203, b"SHA-1 with ECDSA");
    refused(&peer, Failure::Illegal, Description::ILLEGAL_PARAMETER);
}

/// RFC 5246 section 7.4.6: we insist, for who the device is has no other proof.
#[test]
fn a_client_without_a_certificate_is_refused() {
    for (hello, nothing) in
        [(HELLO, Certificate::X509(Vec::new())), (raw(), Certificate::RawPublicKey(b""))]
    {
        let mut peer = says(&hello);
        assert!(shows(&mut peer, &written(&nothing)).is_none());
        refused(&peer, Failure::NoCertificate, Description::HANDSHAKE_FAILURE);
    }
    let mut peer = says(&HELLO);
    let mut body = Vec::new();
    let ours = Ephemeral::new(Group::X25519, &[0x33; 48]);
    ClientKeyExchange::EcdheEcdsa { point: ours.share() }.write(&mut body);
    peer.sends(MessageType::CLIENT_KEY_EXCHANGE, &body);
    refused(&peer, Failure::UnexpectedMessage, Description::UNEXPECTED_MESSAGE);
}

/// Without CertificateVerify there are no keys: a Finished means nothing, and a second
/// ClientKeyExchange is out of place.
#[test]
fn the_proof_can_not_be_left_out() {
    let mut peer = says(&HELLO);
    let master = shows(&mut peer, &chain(made())).unwrap();
    assert!(!peer.finishes(&master));
    assert!(peer.server.session.is_none() && peer.server.handshake.is_some());
    let mut peer = says(&HELLO);
    shows(&mut peer, &chain(made())).unwrap();
    peer.sends(MessageType::CLIENT_KEY_EXCHANGE, &[0]);
    refused(&peer, Failure::UnexpectedMessage, Description::UNEXPECTED_MESSAGE);
}

/// RFC 5246 section 7.2.2: which alert for which fault of a chain; the control is the good chain.
#[test]
fn a_chain_that_is_not_good_is_refused_for_its_reason() {
    let stranger = make("another authority");
    let server_chain = written(&Certificate::X509(vec![&made().server.chain[0]]));
    let garbage = written(&Certificate::X509(vec![b"not a certificate"]));
    let long = vec![&made().device_certificate[..]; certificate::CHAIN_MAX + 1];
    for (certificate, failure, alert) in [
        (chain(&stranger), Failure::UnknownAuthority, Description::UNKNOWN_CA),
        (server_chain, Failure::UnsupportedCertificate, Description::UNSUPPORTED_CERTIFICATE),
        (garbage, Failure::BadCertificate, Description::BAD_CERTIFICATE),
        (written(&Certificate::X509(long)), Failure::BadCertificate, Description::BAD_CERTIFICATE),
        (vec![0, 0, 9], Failure::Decode, Description::DECODE_ERROR),
    ] {
        let mut peer = says(&HELLO);
        assert!(shows(&mut peer, &certificate).is_none());
        refused(&peer, failure, alert);
    }
    assert!(completes(&mut says(&HELLO), &chain(made()), &made().device_key));
}

/// RFC 7925 section 4.4.1 asks for the time to be looked at; the owner brings it.
#[test]
fn a_chain_is_judged_by_the_time_that_the_owner_brings() {
    // What `rcgen` makes is good from 1975 until 4096.
    for (unix_s, is_good) in [(1, false), (UNIX_S, true), (70_000_000_000, false)] {
        let mut server = ServerEnd::new(config());
        server.unix_s = unix_s;
        let mut peer = Peer::says(server, &HELLO);
        assert_eq!(shows(&mut peer, &chain(made())).is_some(), is_good, "{unix_s}");
        if !is_good {
            refused(&peer, Failure::CertificateExpired, Description::CERTIFICATE_EXPIRED);
        }
    }
}

/// RFC 7925 section 6: no alert about certificates for a raw public key that is none.
#[test]
fn a_raw_public_key_that_is_none_proves_nothing() {
    let key = &made().device_key;
    let mut peer = says(&raw());
    shows(&mut peer, &written(&Certificate::RawPublicKey(b"not a key"))).unwrap();
    proves(&mut peer, key);
    refused(&peer, Failure::Signature, Description::DECRYPT_ERROR);
    for (len, is_taken) in
        [(server::RAW_PUBLIC_KEY_BYTES_MAX, true), (server::RAW_PUBLIC_KEY_BYTES_MAX + 1, false)]
    {
        let mut peer = says(&raw());
        let shown = shows(&mut peer, &written(&Certificate::RawPublicKey(&vec![7; len])));
        assert_eq!(shown.is_some(), is_taken, "{len} bytes");
    }
}

/// RFC 6066 section 3: the name chooses, is answered when it did, and no name means the first.
#[test]
fn the_server_name_selects_the_identity() {
    let other = make("another authority");
    let names = vec!["b.example".to_owned()];
    let pkcs8 = SigningKey::generate();
    let key = SigningKey::from_pkcs8(pkcs8.as_bytes()).unwrap();
    let second = Identity { key, chain: other.server.chain.clone(), names };
    let identities = vec![Arc::clone(&made().server), Arc::new(second)];
    let config = server::Config { identities, ..config() };
    for (server_name, expected, is_answered) in [
        (Some(&b"b.example"[..]), &other.server.chain, true),
        (Some(b"B.EXAMPLE"), &other.server.chain, true),
        (Some(SERVER_NAME.as_bytes()), &made().server.chain, true),
        (Some(b"c.example"), &made().server.chain, false),
        (Some(b"127.0.0.1"), &made().server.chain, false),
        (None, &made().server.chain, false),
    ] {
        let extensions = Extensions { server_name, ..HELLO.extensions };
        let hello = ClientHello { extensions, ..HELLO };
        let peer = Peer::says(ServerEnd::new(config.clone()), &hello);
        let body = peer.body(MessageType::CERTIFICATE);
        let shown = Certificate::parse(CertificateType::X509, body).unwrap();
        assert_eq!(shown, Certificate::X509(vec![&expected[0]]), "{server_name:?}");
        let answer = peer.server_hello().extensions.server_name;
        assert_eq!(answer, is_answered.then_some(&b""[..]), "{server_name:?}");
    }
}

/// RFC 8422 sections 4 and 5.3, RFC 7925 section 4.4: the client has to be able to verify.
#[test]
fn an_identity_that_the_client_can_not_verify_is_not_shown() {
    let skipped = |extensions| {
        let hello = ClientHello { cipher_suites: &[0xc0, 0xae, 0xc0, 0xa8], ..with(extensions) };
        let config = server::Config {
            suites: vec![Suite::EcdheEcdsaAes128Ccm8, Suite::PskAes128Ccm8],
            ..config()
        };
        Peer::says(ServerEnd::new(config), &hello).server_hello().cipher_suite == 0xc0a8
    };
    let all = HELLO.extensions;
    assert!(!skipped(all), "the control");
    assert!(skipped(Extensions { signature_algorithms: Some(&[4, 1, 5, 3]), ..all }));
    assert!(skipped(Extensions { supported_groups: Some(&[0, 29]), ..all }), "the key's curve");
    assert!(skipped(Extensions { supported_groups: Some(&[0, 25]), ..all }));
    let unsaid =
        Extensions { signature_algorithms: None, supported_groups: None, ..HELLO.extensions };
    assert!(!skipped(unsaid), "SHA-256 and P-256 are what the profile has");
    let config = server::Config { identities: Vec::new(), ..config() };
    let peer = Peer::says(ServerEnd::new(config), &HELLO);
    refused(&peer, Failure::NoCommonSuite, Description::HANDSHAKE_FAILURE);
}

/// RFC 6347 section 4.2.3: a chain in fragments, both ways.
#[test]
fn certificates_in_small_fragments() {
    let link = Link { mtu: 96, ..Link::default() };
    let config = story::credential::server(0, link);
    let mut peer = Peer::says_in_fragments(ServerEnd::new(config), &HELLO, 64);
    assert!(peer.datagrams.iter().all(|datagram| datagram.len() <= 96));
    assert_eq!(peer.types(), [2, 11, 12, 13, 14]);
    assert!(completes(&mut peer, &chain(made()), &made().device_key));
}

/// A session made with a certificate is resumed like any other; nothing is signed again.
#[test]
fn a_session_with_certificates_is_resumed_without_them() {
    let mut server = ServerEnd::new(config());
    server.keeps_sessions = true;
    let mut peer = Peer::says(server, &HELLO);
    let session_id = peer.server_hello().session_id.to_vec();
    let master = shows(&mut peer, &chain(made())).unwrap();
    proves(&mut peer, &made().device_key);
    assert!(peer.finishes(&master));
    let head = ClientHelloHead { random: &[8; 32], session_id: &session_id, ..HELLO.head };
    let mut peer = Peer::says(peer.server, &ClientHello { head, ..HELLO });
    assert_eq!(peer.types(), [2]);
    assert!(peer.finishes(&master) && peer.server.was_resumed);
}

/// What the most talkative device can make us hold between its certificate and its proof.
#[test]
fn the_memory_of_a_handshake_with_certificates_is_bounded() {
    let config = config();
    let bound = config.handshake_bytes_max() + size_of::<server::Handshake>();
    let mut server = ServerEnd::new(config);
    server.answers_credentials = false;
    let mut peer = Peer::says(server, &HELLO);
    shows(&mut peer, &chain(made())).unwrap();
    let bytes = peer.server.handshake.as_ref().unwrap().bytes();
    assert!(bytes < 4 << 10, "an ordinary one takes {bytes} bytes");
    for message_seq in 4..9u16 {
        for length in [8 << 10, 2 << 10, 1 << 10] {
            let mut fragment = story::message_datagram(15, message_seq, 90, &[1; 8]);
            fragment[14..17].copy_from_slice(&u32::to_be_bytes(length)[1..]);
            peer.server.on_datagram(0, &fragment);
        }
    }
    let bytes = peer.server.handshake.as_ref().unwrap().bytes();
    assert!(bytes > 8 << 10 && bytes <= bound, "{bytes} of {bound} bytes");
    assert!(bound < 28 << 10, "{bound} bytes");
}
