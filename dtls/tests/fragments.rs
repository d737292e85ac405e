//! Does a message arrive that has to be cut to pieces? (RFC 6347 sections 4.2.2 and 4.2.3)

#![allow(clippy::unwrap_used)]

mod story;

use story::peer::{Peer, fragments};
use story::{
    ClientEnd, IDENTITY, PSK, ServerEnd, exchange, first_message, hello_datagram, message_datagram,
};
use tidegate_crypto::secret::Secret;
use tidegate_dtls::extension::Extensions;
use tidegate_dtls::handshake::MessageType;
use tidegate_dtls::hello::{ClientHello, ClientHelloHead, parse_hello_verify_request};
use tidegate_dtls::key_exchange::ClientKeyExchange;
use tidegate_dtls::key_schedule::psk_premaster;
use tidegate_dtls::{Drop, Failure, Link, client, server};

/// As long as that of a client with every suite there is.
const SUITES: [u8; 400] = {
    let mut suites = [0x13; 400];
    (suites[398], suites[399]) = (0xc0, 0xa8);
    suites
};

const HELLO: ClientHello<'_> = ClientHello {
    head: ClientHelloHead { version: 0xfefd, random: &[7; 32], session_id: b"", cookie: b"" },
    cipher_suites: &SUITES,
    compression: &[0],
    extensions: Extensions {
        extended_master_secret: true,
        connection_id: Some(b"wish"),
        ..Extensions::NONE
    },
};

fn server() -> ServerEnd {
    ServerEnd::new(server::Config { own_cid_len: 6, ..Default::default() })
}

/// The first fragment holds the cookie; the others come in any order, and twice. The transcript
/// does not know of it, or the Finished would not fit.
#[test]
fn a_whole_handshake_in_small_fragments() {
    for bytes in [64, 65, 100, 255, 511] {
        let mut peer = Peer::says_in_fragments(server(), &HELLO, bytes);
        assert_eq!(peer.types(), [2, 14], "{bytes} bytes");
        let mut body = Vec::new();
        ClientKeyExchange::Psk { identity: IDENTITY }.write(&mut body);
        peer.fragment_bytes = 3;
        peer.sends(MessageType::CLIENT_KEY_EXCHANGE, &body);
        let master = peer.master(&psk_premaster(PSK));
        assert!(peer.finishes(&master), "{bytes} bytes");
        assert!(peer.server.session.is_some());
    }
}

/// Before the cookie nothing is put together: a fragment of a ClientHello that is not the first
/// one is a stranger's noise, and the first one is answered by itself.
#[test]
fn nothing_is_put_together_before_the_cookie() {
    let mut server = server();
    let whole = hello_datagram(&HELLO, 0, 0);
    for (index, fragment) in fragments(&whole[13..], 64).into_iter().enumerate() {
        server.on_datagram(0, &record(&fragment));
        assert!(server.handshake.is_none());
        let answered = server.log.take().len();
        assert_eq!(answered, usize::from(index == 0), "fragment {index}");
    }
    assert!(server.log.drops.iter().all(|drop| *drop == Drop::NotHello));
}

/// A later fragment that overtakes the first one of the proven hello is lost, and the client's
/// repetition brings it.
#[test]
fn a_fragment_that_overtakes_the_cookie_is_waited_for() {
    let mut server = server();
    let proven = proven_hello(&mut server);
    let mut fragments = fragments(&proven[13..], 100);
    fragments.rotate_right(1);
    for fragment in &fragments {
        server.on_datagram(0, &record(fragment));
    }
    assert!(server.handshake.is_some() && server.log.take().is_empty(), "one is missing");
    server.on_datagram(1_000, &record(&fragments[0]));
    assert_eq!(first_message(&server.log.take().pop().unwrap()).0, 2);
}

/// Both sides of the bound on one message, counted by the length it claims.
#[test]
fn a_message_longer_than_the_bound_is_not_collected() {
    for (claimed, expected) in [(8 << 10, None), ((8 << 10) + 1, Some(Drop::MessageTooLong))] {
        let mut server = server();
        let proven = proven_hello(&mut server);
        server.on_datagram(0, &proven);
        server.log.take();
        let mut fragment = message_datagram(16, 2, 9, &[1; 64]);
        fragment[14..17].copy_from_slice(&u32::to_be_bytes(claimed)[1..]);
        server.on_datagram(0, &fragment);
        assert_eq!(server.log.drops.pop(), expected, "{claimed} bytes");
        assert!(server.handshake.is_some());
    }
}

/// Fragments of two different messages under one number: the first ones stay.
#[test]
fn a_fragment_of_another_message_is_dropped() {
    let mut server = server();
    let proven = proven_hello(&mut server);
    let fragments = fragments(&proven[13..], 100);
    server.on_datagram(0, &record(&fragments[0]));
    let mut forged = fragments[1].clone();
    forged[3] ^= 1;
    server.on_datagram(0, &record(&forged));
    assert_eq!(server.log.drops.pop(), Some(Drop::FragmentMismatch));
    for fragment in &fragments[1..] {
        server.on_datagram(0, &record(fragment));
    }
    assert_eq!(first_message(&server.log.take().pop().unwrap()).0, 2);
    assert_eq!(server.log.failure, None::<Failure>);
}

/// A session id stands in front of the cookie: a client on a link so narrow that both do not fit
/// the first fragment does not offer its session, or it would not pass the door.
#[test]
fn a_session_is_offered_where_its_id_leaves_room_for_the_cookie() {
    for (mtu, is_resumed) in [(96, false), (127, false), (128, true)] {
        let link = Link { mtu, ..Link::default() };
        let config = client::Config { link, ..client::Config::default() };
        let mut server = server();
        server.keeps_sessions = true;
        let mut client = ClientEnd::new(config.clone(), 0, 1, Some(b"me"));
        exchange(&mut client, &mut server, 0);
        let kept = client.kept.take().unwrap();
        let psk = Secret::new(PSK);
        let credential = client::Credential::Psk { identity: IDENTITY.to_vec(), psk };
        let mut client = ClientEnd::start(config, 0, 2, Some(b"me"), credential, Some(&kept));
        exchange(&mut client, &mut server, 0);
        assert!(client.session.is_some(), "{mtu} bytes");
        assert_eq!((client.is_resumed, server.was_resumed), (is_resumed, is_resumed));
    }
}

/// The hello with its cookie, as message 1 in one record.
fn proven_hello(server: &mut ServerEnd) -> Vec<u8> {
    server.on_datagram(0, &hello_datagram(&HELLO, 0, 0));
    let verify = server.log.take().pop().unwrap();
    let cookie = parse_hello_verify_request(first_message(&verify).2).unwrap();
    let head = ClientHelloHead { cookie, ..HELLO.head };
    hello_datagram(&ClientHello { head, ..HELLO }, 1, 1)
}

fn record(content: &[u8]) -> Vec<u8> {
    let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9];
    datagram.extend_from_slice(&(content.len() as u16).to_be_bytes());
    datagram.extend_from_slice(content);
    datagram
}
