//! Whom does a client believe, and how does it show who it is? (RFC 5246 sections 7.4.2 to 7.4.8,
//! RFC 7250, RFC 7925 section 4)

#![allow(clippy::unwrap_used)]

mod story;

use std::sync::Arc;

use story::credential::{self, Kind, SERVER_NAME, made, make};
use story::{ClientEnd, ServerEnd, exchange};
use tidegate_crypto::agreement::Group;
use tidegate_dtls::client::{self, Credential, Randoms, Trust};
use tidegate_dtls::handshake::{Fragment, MessageType};
use tidegate_dtls::record::Record;
use tidegate_dtls::server::Claim;
use tidegate_dtls::{Failure, Link, Suite, server};

const SUITE: Suite = Suite::EcdheEcdsaAes128Ccm8;

fn ends(config: client::Config, credential: Credential) -> (ClientEnd, ServerEnd) {
    let mut server = ServerEnd::new(credential::server(6, Link::default()));
    let mut client = ClientEnd::start(config, 0, 9, Some(b"me"), credential, None);
    exchange(&mut client, &mut server, 0);
    (client, server)
}

/// The client gives up; the server hears why, unless nothing may be said.
#[track_caller]
fn disbelieves(kind: Kind, config: client::Config, failure: Failure) {
    let (client, server) = ends(config, kind.credential());
    assert_eq!((client.log.failure, client.session.is_some()), (Some(failure), false));
    assert_eq!(server.log.failure, failure.alert().map(Failure::PeerAlert));
}

#[test]
fn every_group_with_every_credential() {
    for group in Group::ALL {
        for suite in [Suite::EcdhePskAes128Ccm, SUITE] {
            for &kind in Kind::of(suite) {
                let config = server::Config {
                    groups: vec![group],
                    ..credential::server(6, Link::default())
                };
                let (mut server, own_cid) = (ServerEnd::new(config), Some(&b"me"[..]));
                let credential = kind.credential();
                let mut client =
                    ClientEnd::start(kind.client(suite), 0, 9, own_cid, credential, None);
                exchange(&mut client, &mut server, 0);
                let case = format!("{group:?} {kind:?}: {:?}", client.log.failure);
                assert!(client.session.is_some() && server.session.is_some(), "{case}");
            }
        }
    }
}

/// RFC 8422 section 5.1: the groups that a client offers are those of certificates too.
#[test]
fn a_key_on_a_curve_that_was_not_offered_is_not_shown() {
    let kind = Kind::Certificate;
    let of = |groups: &[Group]| {
        let config = client::Config { groups: groups.to_vec(), ..kind.client(SUITE) };
        ends(config, kind.credential())
    };
    assert_eq!(of(&[Group::X25519]).1.log.failure, Some(Failure::NoCommonSuite));
    assert!(of(&[Group::X25519, Group::Secp256r1]).1.session.is_some());
}

/// RFC 7925 section 4.4.
#[test]
fn a_certificate_is_judged_by_its_authority_its_name_and_its_time() {
    let kind = Kind::Certificate;
    let config = || kind.client(SUITE);
    assert!(ends(config(), kind.credential()).0.session.is_some(), "the control");

    let other = Trust { authorities: Some(make("authority").authorities), ..Trust::default() };
    let config_of = |trust| client::Config { trust, ..config() };
    disbelieves(kind, config_of(other), Failure::UnknownAuthority);

    let named = |name: &str| client::Config { server_name: Some(name.to_owned()), ..config() };
    disbelieves(kind, named("other.example"), Failure::CertificateUnknown);
    let shouted = named(&SERVER_NAME.to_uppercase());
    assert!(ends(shouted, kind.credential()).0.session.is_some(), "names have no case");

    let (config, randoms) = (Arc::new(config()), Randoms::expand(&[9; 32]));
    let year_5000 = 95_617_584_000;
    let handshake =
        client::Handshake::new(&config, 0, year_5000, None, &randoms, kind.credential(), None);
    let mut client = ClientEnd { handshake: Some(handshake), ..ClientEnd::default() };
    client.settle();
    exchange(&mut client, &mut ServerEnd::new(credential::server(6, Link::default())), 0);
    assert_eq!(client.log.failure, Some(Failure::CertificateExpired));
}

/// RFC 7250 section 6: a raw public key is known by other means, and by nothing else.
#[test]
fn a_raw_public_key_is_believed_if_it_is_pinned() {
    let kind = Kind::RawPublicKey;
    assert!(ends(kind.client(SUITE), kind.credential()).0.session.is_some(), "the control");
    let trust =
        Trust { raw_public_keys: vec![make("x").server.key.spki().to_vec()], ..Trust::default() };
    let config = client::Config { trust, ..kind.client(SUITE) };
    disbelieves(kind, config, Failure::CertificateUnknown);
    let name = Some("whatever.example".to_owned());
    let config = client::Config { server_name: name, ..kind.client(SUITE) };
    assert!(ends(config, kind.credential()).0.session.is_some(), "the name does not matter");
}

/// RFC 7250 section 4.1: each direction chooses for itself.
#[test]
fn a_client_may_show_one_kind_and_believe_the_other() {
    let (raw, x509) = (Kind::RawPublicKey, Kind::Certificate);
    for (shows, believes) in [(raw, x509), (x509, raw)] {
        let (client, server) = ends(believes.client(SUITE), shows.credential());
        assert!(client.session.is_some() && server.session.is_some(), "{shows:?}");
    }
    let both = Trust { authorities: x509.trust().authorities, ..raw.trust() };
    let config = client::Config { trust: both, ..raw.client(SUITE) };
    assert!(ends(config, raw.credential()).0.session.is_some());
}

/// RFC 5246 section 7.4.6: who has nothing says so; this server wants something.
#[test]
fn a_client_without_a_certificate_says_so() {
    let (client, server) = ends(Kind::Certificate.client(SUITE), Credential::Nobody);
    assert_eq!(server.log.failure, Some(Failure::NoCertificate));
    let alert = Failure::NoCertificate.alert().unwrap();
    assert_eq!(client.log.failure, Some(Failure::PeerAlert(alert)));
}

/// RFC 8422 section 5.4: who changes a byte of what the server signed, or of the signature, or of
/// the certificate, is found out at once. The control is every other test here.
#[test]
fn a_changed_flight_four_is_found_out() {
    let kind = Kind::RawPublicKey;
    let mut found = Vec::new();
    for (msg_type, from_end) in [
        (MessageType::SERVER_KEY_EXCHANGE, 1),
        (MessageType::SERVER_KEY_EXCHANGE, 100),
        (MessageType::CERTIFICATE, 1),
    ] {
        let mut server = ServerEnd::new(credential::server(6, Link::default()));
        let mut client = ClientEnd::start(kind.client(SUITE), 0, 9, None, kind.credential(), None);
        for _ in 0..2 {
            server.on_datagram(0, &client.log.take().pop().unwrap());
            let mut down = server.log.take().pop().unwrap();
            change(&mut down, msg_type, from_end);
            client.on_datagram(0, &down);
        }
        found.push(client.log.failure.unwrap());
    }
    assert_eq!(found, [Failure::Signature, Failure::Signature, Failure::CertificateUnknown]);
}

/// Changes one byte, so many from the end of the message with this type.
fn change(datagram: &mut [u8], msg_type: MessageType, from_end: usize) {
    let mut at = 0;
    while at < datagram.len() {
        let record = Record::parse(datagram, at, 0).unwrap();
        at = record.end();
        let (fragment, _) = Fragment::parse(&datagram[record.fragment()]).unwrap();
        if fragment.msg_type == msg_type {
            assert!(fragment.is_whole());
            datagram[at - from_end] ^= 1;
        }
    }
}

/// What the server hears is what was shown, with the proof that the key is the client's.
#[test]
fn the_server_hears_who_the_client_is() {
    for kind in [Kind::RawPublicKey, Kind::Certificate] {
        let mut server = ServerEnd::new(credential::server(6, Link::default()));
        server.answers_credentials = false;
        let mut client = ClientEnd::start(kind.client(SUITE), 0, 9, None, kind.credential(), None);
        exchange(&mut client, &mut server, 0);
        let handshake = server.handshake.as_ref().unwrap();
        match handshake.claim().unwrap() {
            Claim::RawPublicKey(spki) => assert_eq!(spki, made().device_key.spki()),
            Claim::Certificate(leaf) => {
                assert_eq!(leaf.names, ["CN=device-0001"]);
                assert_eq!(leaf.spki, made().device_key.spki());
            }
            Claim::Psk(_) => panic!("no identity was named"),
        }
    }
}
