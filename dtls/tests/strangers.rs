//! What does a server do about datagrams that are not for it? Silence, and a count.

#![allow(clippy::unwrap_used)]

mod story;

use story::{ClientEnd, Dice, ServerEnd, exchange, first_message, hello_datagram};
use tidegate_dtls::alert::{Alert, Description};
use tidegate_dtls::extension::Extensions;
use tidegate_dtls::hello::{ClientHello, ClientHelloHead, parse_hello_verify_request};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::{Failure, client, server};

const HELLO: ClientHello<'_> = ClientHello {
    head: ClientHelloHead { version: 0xfefd, random: &[7; 32], session_id: b"", cookie: b"" },
    cipher_suites: &[0xc0, 0xa8],
    compression: &[0],
    extensions: Extensions::NONE,
};

fn server() -> ServerEnd {
    ServerEnd::new(server::Config { own_cid_len: 6, ..Default::default() })
}

/// The first bytes of what else is sent to open ports, filled up to `len`.
fn foreign() -> Vec<(&'static str, Vec<u8>)> {
    let padded = |head: &[u8], len: usize| {
        let mut datagram = head.to_vec();
        datagram.resize(len, 0x5a);
        datagram
    };
    vec![
        ("nothing", Vec::new()),
        ("TLS 1.2 ClientHello", padded(&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3], 205)),
        ("TLS alert", vec![21, 3, 3, 0, 2, 2, 40]),
        ("QUIC version 1 Initial", padded(&[0xc3, 0, 0, 0, 1, 8], 1_200)),
        ("QUIC short header", padded(&[0x43], 60)),
        ("STUN Binding Request", padded(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], 20)),
        ("CoAP GET in the clear", vec![0x41, 1, 0x12, 0x34, 0xaa, 0xb4, b't', b'e', b's', b't']),
        ("DNS query", padded(&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], 40)),
        ("DTLS 1.3 ciphertext", padded(&[0x2f, 7, 0, 9, 0, 30], 40)),
        ("DTLS application data", padded(&[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 40], 53)),
        ("DTLS heartbeat", padded(&[24, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 19, 1], 32)),
        ("an unknown Connection ID", padded(&[25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0], 60)),
    ]
}

#[test]
fn other_protocols_get_no_answer_and_a_count() {
    for (name, datagram) in foreign() {
        let mut server = server();
        server.on_datagram(0, &datagram);
        assert!(server.log.outbox.is_empty() && server.handshake.is_none(), "{name}");
        let counted = server.log.drops.len();
        assert_eq!(counted, usize::from(!datagram.is_empty()), "{name}");
    }
}

/// Nor do they disturb who is shaking hands from the same address.
#[test]
fn other_protocols_do_not_disturb_a_handshake() {
    for (name, datagram) in foreign() {
        let mut server = server();
        let mut client = ClientEnd::new(client::Config::default(), 0, 9, Some(b"me"));
        for _ in 0..4 {
            for genuine in client.log.take() {
                server.on_datagram(0, &datagram);
                server.on_datagram(0, &genuine);
            }
            for genuine in server.log.take() {
                client.on_datagram(0, &datagram);
                client.on_datagram(0, &genuine);
            }
        }
        assert!(client.session.is_some() && server.session.is_some(), "{name}");
    }
}

#[test]
fn random_datagrams_get_no_answer() {
    let mut server = server();
    let mut dice = Dice(11);
    for _ in 0..50_000 {
        let datagram: Vec<u8> = (0..dice.below(300)).map(|_| dice.roll() as u8).collect();
        server.on_datagram(0, &datagram);
    }
    assert!(server.log.outbox.is_empty() && server.handshake.is_none());
}

/// RFC 6347 section 4.1: who speaks DTLS 1.0 alone is told so, once its address is proven; its
/// records are of its version.
#[test]
fn dtls_one_point_zero_gets_protocol_version_after_the_cookie() {
    let mut server = server();
    let hello = ClientHello { head: ClientHelloHead { version: 0xfeff, ..HELLO.head }, ..HELLO };
    let mut first = hello_datagram(&hello, 0, 0);
    first[2] = 0xff;
    server.on_datagram(0, &first);
    let verify = server.log.take().pop().unwrap();
    let cookie = parse_hello_verify_request(first_message(&verify).2).unwrap();
    let head = ClientHelloHead { cookie, ..hello.head };
    let mut second = hello_datagram(&ClientHello { head, ..hello }, 1, 1);
    second[2] = 0xff;
    server.on_datagram(0, &second);
    let answer = server.log.take().pop().unwrap();
    let record = Record::parse(&answer, 0, 0).unwrap();
    assert_eq!((record.content_type, record.epoch), (ContentType::ALERT, 0));
    let alert = Alert::parse(&answer[record.fragment()]);
    assert_eq!(alert, Some(Alert::fatal(Description::PROTOCOL_VERSION)));
    assert_eq!(server.log.failure, Some(Failure::Version));
}

/// RFC 6347 section 4.2.1: a cookie that is not ours, say of the server before its restart, is as
/// good as none; it is no error.
#[test]
fn a_foreign_cookie_gets_a_new_one_and_the_handshake_goes_on() {
    let mut server = server();
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, Some(b"me"));
    for datagram in client.log.take() {
        server.on_datagram(0, &datagram);
    }
    for datagram in server.log.take() {
        client.on_datagram(0, &datagram);
    }
    let mut restarted = ServerEnd::new(server::Config { own_cid_len: 6, ..Default::default() });
    restarted.jar = tidegate_dtls::cookie::CookieJar::new(0, &[99; 32], 120_000);
    exchange(&mut client, &mut restarted, 0);
    assert!(client.session.is_some() && restarted.session.is_some());
    assert_eq!(client.log.failure, None);
}

/// The first hello again, long after its cookie came back: an echo of the network.
#[test]
fn a_late_copy_of_the_first_hello_disturbs_nothing() {
    let mut server = server();
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, Some(b"me"));
    let first = client.log.outbox[0].clone();
    for _ in 0..4 {
        for datagram in client.log.take() {
            server.on_datagram(0, &datagram);
            if server.handshake.is_some() {
                let before = server.log.outbox.len();
                server.on_datagram(0, &first);
                assert_eq!(server.log.outbox.len(), before, "no second flight 4");
            }
        }
        for datagram in server.log.take() {
            client.on_datagram(0, &datagram);
        }
    }
    assert!(client.session.is_some() && server.session.is_some());
}
