//! Does a pre-shared key with a key agreement do what RFC 5489 and RFC 8422 say? One rule a test,
//! with a client whose every message is written here.

#![allow(clippy::unwrap_used)]

mod story;

use story::peer::Peer;
use story::{IDENTITY, PSK, ServerEnd};
use tidegate_crypto::agreement::{Ephemeral, Group};
use tidegate_dtls::alert::{Alert, Description};
use tidegate_dtls::extension::Extensions;
use tidegate_dtls::handshake::MessageType;
use tidegate_dtls::hello::{ClientHello, ClientHelloHead};
use tidegate_dtls::key_exchange::{ClientKeyExchange, EcdhParams, ServerKeyExchange};
use tidegate_dtls::key_schedule::{ecdhe_psk_premaster, psk_premaster};
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Failure, Suite, server};

/// P-256, P-384, X25519.
const GROUPS: [u8; 6] = [0, 23, 0, 24, 0, 29];

const HELLO: ClientHello<'_> = ClientHello {
    head: ClientHelloHead { version: 0xfefd, random: &[7; 32], session_id: b"", cookie: b"" },
    cipher_suites: &[0xd0, 0x03],
    compression: &[0],
    extensions: Extensions {
        extended_master_secret: true,
        supported_groups: Some(&GROUPS),
        ..Extensions::NONE
    },
};

fn with(extensions: Extensions<'static>) -> ClientHello<'static> {
    ClientHello { extensions, ..HELLO }
}

fn says(hello: &ClientHello<'_>) -> Peer {
    Peer::says(ServerEnd::new(server::Config::default()), hello)
}

/// The server's half: its group and point.
fn share(peer: &Peer) -> (Group, Vec<u8>) {
    let body = peer.body(MessageType::SERVER_KEY_EXCHANGE);
    let message = ServerKeyExchange::parse(KeyExchange::EcdhePsk, body).unwrap();
    let ServerKeyExchange::EcdhePsk { hint: b"", params: EcdhParams { group, point } } = message
    else {
        panic!("{message:?}");
    };
    (Group::from_code(group).unwrap(), point.to_vec())
}

fn answers(peer: &mut Peer, identity: &[u8], point: &[u8]) {
    let mut body = Vec::new();
    ClientKeyExchange::EcdhePsk { identity, point }.write(&mut body);
    peer.sends(MessageType::CLIENT_KEY_EXCHANGE, &body);
}

/// The client's half, until the keys; whether both Finished fit.
fn completes(peer: &mut Peer, identity: &[u8], psk: &[u8]) -> bool {
    let (group, point) = share(peer);
    let ours = Ephemeral::new(group, &[0x33; 48]);
    answers(peer, identity, ours.share());
    let premaster = ecdhe_psk_premaster(&ours.agree(&point).unwrap(), psk);
    let master = peer.master(&premaster);
    peer.finishes(&master)
}

/// RFC 5489 section 2: ServerKeyExchange is always there, and nobody signs it.
#[test]
fn every_suite_with_every_group_with_and_without_extended_master_secret() {
    for suite in Suite::of(KeyExchange::EcdhePsk) {
        for group in Group::ALL {
            for extended_master_secret in [true, false] {
                let (code, pairs) = (suite.code().to_be_bytes(), group.code().to_be_bytes());
                let extensions = Extensions {
                    supported_groups: Some(&pairs),
                    extended_master_secret,
                    ..Extensions::NONE
                };
                let mut peer = says(&ClientHello { cipher_suites: &code, extensions, ..HELLO });
                assert_eq!(peer.types(), [2, 12, 14], "{suite:?}");
                assert_eq!(share(&peer).0, group);
                assert!(completes(&mut peer, IDENTITY, PSK), "{suite:?} {group:?}");
                let session = peer.server.session.unwrap();
                assert_eq!(session.suite(), Some(suite));
                assert_eq!(session.has_extended_master_secret(), extended_master_secret);
            }
        }
    }
}

/// The server's order of groups decides. RFC 8422 section 4: a client without the extension takes
/// any.
#[test]
fn the_group_is_the_first_of_ours_that_the_client_has() {
    let group_of = |supported_groups, groups: &[Group]| {
        let config = server::Config { groups: groups.to_vec(), ..Default::default() };
        let hello = with(Extensions { supported_groups, ..HELLO.extensions });
        share(&Peer::says(ServerEnd::new(config), &hello)).0
    };
    assert_eq!(group_of(Some(&GROUPS), &Group::ALL), Group::X25519);
    let nist_first = [Group::Secp384r1, Group::Secp256r1, Group::X25519];
    assert_eq!(group_of(Some(&GROUPS), &nist_first), Group::Secp384r1);
    assert_eq!(group_of(Some(&[0, 25, 0, 23]), &Group::ALL), Group::Secp256r1);
    assert_eq!(group_of(None, &Group::ALL), Group::Secp256r1, "what all have");
    assert_eq!(group_of(None, &[Group::X25519]), Group::X25519);
}

/// RFC 8422 section 4: without a common group no suite with a key agreement is chosen.
#[test]
fn without_a_common_group_it_is_another_suite_or_none() {
    let extensions = Extensions { supported_groups: Some(&[0, 25]), ..HELLO.extensions };
    let peer = says(&with(extensions));
    assert_eq!(peer.server.log.failure, Some(Failure::NoCommonSuite));
    assert_eq!(peer.alerts, [Alert::fatal(Description::HANDSHAKE_FAILURE)]);
    let both = ClientHello { cipher_suites: &[0xd0, 0x03, 0xc0, 0xa8], ..with(extensions) };
    assert_eq!(says(&both).server_hello().cipher_suite, 0xc0a8);
    let config = server::Config {
        groups: Vec::new(),
        suites: vec![Suite::EcdhePskAes128Ccm8, Suite::PskAes128Ccm8],
        ..Default::default()
    };
    let both = ClientHello { cipher_suites: &[0xd0, 0x03, 0xc0, 0xa8], ..HELLO };
    let peer = Peer::says(ServerEnd::new(config.clone()), &both);
    assert_eq!(peer.server_hello().cipher_suite, 0xc0a8, "a server without groups");
    let config = server::Config { groups: Group::ALL.to_vec(), ..config };
    let peer = Peer::says(ServerEnd::new(config), &both);
    assert_eq!(peer.server_hello().cipher_suite, 0xd003, "the control");
}

/// RFC 8422 sections 5.1.2 and 5.2.
#[test]
fn point_formats_are_answered_when_asked_and_have_to_hold_the_uncompressed_one() {
    let formats = |ec_point_formats| with(Extensions { ec_point_formats, ..HELLO.extensions });
    let answered = |hello| says(&hello).server_hello().extensions.ec_point_formats.is_some();
    assert!(answered(formats(Some(&[0]))) && answered(formats(Some(&[1, 2, 0]))));
    assert!(!answered(formats(None)));
    let psk = ClientHello { cipher_suites: &[0xc0, 0xa8], ..formats(Some(&[0])) };
    assert!(!answered(psk), "no suite with curves, no answer");

    let peer = says(&formats(Some(&[1, 2])));
    assert_eq!(peer.server.log.failure, Some(Failure::Illegal));
    assert_eq!(peer.alerts, [Alert::fatal(Description::ILLEGAL_PARAMETER)]);
    let nothing_said_of_groups =
        Extensions { ec_point_formats: Some(&[1]), supported_groups: None, ..HELLO.extensions };
    assert_eq!(says(&with(nothing_said_of_groups)).types(), [2, 12, 14]);
}

/// RFC 8422 sections 5.10 and 5.11: shares that are no points, or that make a secret anyone knows.
#[test]
fn a_bad_share_is_illegal() {
    for group in Group::ALL {
        let pairs = group.code().to_be_bytes();
        let genuine = Ephemeral::new(group, &[0x33; 48]).share().to_vec();
        let mut off_curve = genuine.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        let mut compressed = genuine[..=genuine.len() / 2].to_vec();
        compressed[0] = 2;
        let mut bad = vec![vec![0; genuine.len()], genuine[1..].to_vec(), vec![4], vec![9; 255]];
        if group != Group::X25519 {
            bad.extend([off_curve, compressed]);
        }
        for point in bad {
            let extensions = Extensions { supported_groups: Some(&pairs), ..HELLO.extensions };
            let mut peer = says(&ClientHello { extensions, ..HELLO });
            answers(&mut peer, IDENTITY, &point);
            assert_eq!(peer.server.log.failure, Some(Failure::Illegal), "{group:?} {point:02x?}");
            assert_eq!(peer.alerts, [Alert::fatal(Description::ILLEGAL_PARAMETER)]);
        }
    }
}

/// RFC 7925 section 6: who is known is not for strangers; the control is the key that is right.
#[test]
fn an_unknown_identity_and_a_wrong_key_are_both_told_nothing() {
    for (identity, psk, failure) in [
        (&b"nobody"[..], PSK, Failure::UnknownIdentity),
        (IDENTITY, &b"another key"[..], Failure::WrongKey),
    ] {
        let mut peer = says(&HELLO);
        assert!(!completes(&mut peer, identity, psk));
        assert!(peer.alerts.is_empty() && peer.server.log.failure.is_none());
        while let Some(due_ms) = peer.server.due_ms() {
            peer.server.on_due(due_ms);
        }
        peer.hears();
        assert_eq!(peer.server.log.failure, Some(failure));
        assert!(peer.alerts.is_empty());
    }
    assert!(completes(&mut says(&HELLO), IDENTITY, PSK));
}

/// The key alone is not enough, nor the agreement alone: both are in the premaster secret.
#[test]
fn both_secrets_count() {
    let mut peer = says(&HELLO);
    let (group, point) = share(&peer);
    let ours = Ephemeral::new(group, &[0x33; 48]);
    let agreed = ours.agree(&point).unwrap();
    answers(&mut peer, IDENTITY, ours.share());
    for premaster in [psk_premaster(PSK), agreed.clone(), ecdhe_psk_premaster(&agreed, b"")] {
        let master = peer.master(&premaster);
        let before = peer.transcript.clone();
        assert!(!peer.finishes(&master) && peer.server.session.is_none());
        peer.transcript = before;
    }
}

/// Our share is another one in each handshake.
#[test]
fn shares_are_ephemeral() {
    let first = says(&HELLO);
    let first_share = share(&first);
    let mut server = first.server;
    server.handshake = None;
    assert_ne!(share(&Peer::says(server, &HELLO)), first_share);
}

#[test]
fn a_client_key_exchange_of_another_suite_is_refused() {
    let mut peer = says(&HELLO);
    let mut body = Vec::new();
    ClientKeyExchange::Psk { identity: IDENTITY }.write(&mut body);
    peer.sends(MessageType::CLIENT_KEY_EXCHANGE, &body);
    assert_eq!(peer.server.log.failure, Some(Failure::Decode));
}
