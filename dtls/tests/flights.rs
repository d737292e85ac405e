//! Do both roles complete the handshake of RFC 6347 figure 1, in every combination of suite,
//! Connection IDs and extended master secret?

#![allow(clippy::unwrap_used)]

mod story;

use story::{ClientEnd, ServerEnd, application, records, shake_hands};
use tidegate_dtls::record::Record;
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Link, Suite, client, server};

const CCS: u8 = 20;
const HANDSHAKE: u8 = 22;
const CID: u8 = 25;

/// RFC 6347 section 4.2.4 figure 1, with Connection IDs in both directions.
#[test]
fn the_six_flights_of_figure_one() {
    let mut server = ServerEnd::new(server::Config { own_cid_len: 6, ..Default::default() });
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, Some(b"abc"));

    let flight_1 = client.log.take();
    assert_eq!(flight_1.len(), 1);
    assert_eq!(records(&flight_1[0], 0), [(HANDSHAKE, 0)]);
    server.on_datagram(0, &flight_1[0]);
    assert!(server.handshake.is_none(), "no state before the cookie");

    let flight_2 = server.log.take();
    assert_eq!(records(&flight_2[0], 0), [(HANDSHAKE, 0)]);
    client.on_datagram(0, &flight_2[0]);

    let flight_3 = client.log.take();
    server.on_datagram(0, &flight_3[0]);

    let flight_4 = server.log.take();
    assert_eq!(records(&flight_4[0], 0), [(HANDSHAKE, 0), (HANDSHAKE, 0)]);
    let hello = Record::parse(&flight_3[0], 0, 0).unwrap();
    let answer = Record::parse(&flight_4[0], 0, 0).unwrap();
    assert_eq!(hello.sequence, answer.sequence, "RFC 6347 section 4.2.1");
    client.on_datagram(0, &flight_4[0]);

    let flight_5 = client.log.take();
    assert_eq!(records(&flight_5[0], 6), [(HANDSHAKE, 0), (CCS, 0), (CID, 1)]);
    server.on_datagram(0, &flight_5[0]);
    assert!(server.session.is_some());

    let flight_6 = server.log.take();
    assert_eq!(records(&flight_6[0], 3), [(CCS, 0), (CID, 1)]);
    client.on_datagram(0, &flight_6[0]);
    assert!(client.session.is_some());

    for end in [&client.log, &server.log] {
        assert_eq!((&end.drops[..], end.failure), (&[][..], None));
        assert!(end.outbox.is_empty());
    }
}

#[test]
fn every_suite_with_every_kind_of_connection_id_with_and_without_extended_master_secret() {
    for suite in Suite::of(KeyExchange::Psk) {
        // What has room beside the keys.
        let longest = if suite.aead().key_bytes() == 16 { 32 } else { 16 };
        for own_cid_len in [0, 1, 6, longest] {
            let long = &[7; 32][..longest];
            for client_cid in [None, Some(&b""[..]), Some(&b"x"[..]), Some(long)] {
                for extended_master_secret in [false, true] {
                    one_combination(suite, own_cid_len, client_cid, extended_master_secret);
                }
            }
        }
    }
}

fn one_combination(suite: Suite, own_cid_len: usize, client_cid: Option<&[u8]>, ems: bool) {
    let case = format!("{} {own_cid_len} {client_cid:?} {ems}", suite.name());
    let (mut client, mut server) = shake_hands(
        server::Config { own_cid_len, ..Default::default() },
        client::Config { suites: vec![suite], extended_master_secret: ems, ..Default::default() },
        client_cid,
    );
    let of_client = client.session.as_mut().unwrap_or_else(|| panic!("{case}"));
    let of_server = server.session.as_mut().unwrap_or_else(|| panic!("{case}"));
    assert_eq!(of_server.suite(), Some(suite), "{case}");
    assert_eq!(of_server.has_extended_master_secret(), ems, "{case}");
    let toward_server = if client_cid.is_some() { own_cid_len } else { 0 };
    assert_eq!(of_client.peer_cid().len(), toward_server, "{case}");
    assert_eq!(of_server.own_cid_len(), toward_server, "{case}");
    assert_eq!(of_server.peer_cid(), client_cid.unwrap_or_default(), "{case}");
    assert_eq!(of_client.own_cid_len(), client_cid.unwrap_or_default().len(), "{case}");

    for content in [&b""[..], b"x", &[5; 1000]] {
        let up = application(of_client, content);
        assert_eq!(up.len(), content.len() + of_client.overhead(), "{case}");
        let expected = if toward_server > 0 { CID } else { 23 };
        assert_eq!(records(&up, toward_server), [(expected, 1)], "{case}");
        server.log.feed(Some(of_server), &mut up.clone(), toward_server);
        assert_eq!(server.log.application.pop().as_deref(), Some(content), "{case}");
        let down = application(of_server, content);
        let own_cid_len = of_client.own_cid_len();
        client.log.feed(Some(of_client), &mut down.clone(), own_cid_len);
        assert_eq!(client.log.application.pop().as_deref(), Some(content), "{case}");
    }
}

/// The server's order decides, not the client's (RFC 5246 section 7.4.1.3 leaves it open).
#[test]
fn the_server_prefers_by_its_own_order() {
    let preferred = Suite::PskAes256Gcm;
    let mut suites = vec![preferred];
    suites.extend(Suite::of(KeyExchange::Psk).filter(|suite| *suite != preferred));
    let config = server::Config { suites, ..Default::default() };
    let (client, _) = shake_hands(config, client::Config::default(), None);
    assert_eq!(client.session.unwrap().suite(), Some(preferred));
}

/// RFC 6347 section 4.2.3: any message may come in fragments, of any size that fits a datagram.
#[test]
fn handshakes_through_small_datagrams() {
    for mtu in [96, 97, 100, 113, 128, 200, 256, 576] {
        let link = Link { mtu, ..Link::default() };
        let (client, server) = shake_hands(
            server::Config { own_cid_len: 6, link, ..Default::default() },
            client::Config { link, ..Default::default() },
            Some(&[7; 32]),
        );
        assert!(client.session.is_some() && server.session.is_some(), "{mtu} bytes");
    }
}

#[test]
fn no_datagram_of_a_handshake_is_longer_than_the_mtu() {
    let link = Link { mtu: 128, ..Link::default() };
    let mut server = ServerEnd::new(server::Config { own_cid_len: 6, link, ..Default::default() });
    let config = client::Config { link, ..Default::default() };
    let mut client =
        ClientEnd::with_credential(config, 0, 9, Some(b"cid"), &[b'i'; 250], story::PSK);
    let mut longest = 0;
    loop {
        let (up, down) = (client.log.take(), server.log.take());
        if up.is_empty() && down.is_empty() {
            break;
        }
        longest = up.iter().chain(&down).map(Vec::len).fold(longest, usize::max);
        for datagram in &up {
            server.on_datagram(0, datagram);
        }
        for datagram in &down {
            client.on_datagram(0, datagram);
        }
    }
    assert_eq!(story::identity(&server.handshake.unwrap()).len(), 250);
    assert!((100..=128).contains(&longest), "{longest} bytes");
}

/// RFC 6066 section 4: what was negotiated limits both directions, in the handshake and after it.
#[test]
fn max_fragment_length_limits_records() {
    let config = client::Config { max_fragment_length: Some(1), ..Default::default() };
    let (client, server) = shake_hands(server::Config::default(), config, Some(b"c"));
    let (mut client, mut server) = (client.session.unwrap(), server.session.unwrap());
    for session in [&mut client, &mut server] {
        assert_eq!(session.content_bytes_max(), 512);
        let mut out = [0; 1024];
        let kind = tidegate_dtls::record::ContentType::APPLICATION_DATA;
        assert!(session.seal(kind, &[0; 512], &mut out).is_ok());
        let too_long = session.seal(kind, &[0; 513], &mut out);
        assert_eq!(too_long, Err(tidegate_dtls::established::SealError::TooLong));
    }
}
