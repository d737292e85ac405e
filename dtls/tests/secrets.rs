//! Can anyone tell an unknown identity from a wrong key, and what do changed messages come to?

#![allow(clippy::unwrap_used)]

mod story;

use story::{ClientEnd, PSK, ServerEnd, exchange, first_message};
use tidegate_dtls::alert::{Alert, Description};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::server::Answer;
use tidegate_dtls::{Drop, Failure, Timing, client, server};

/// The server's datagrams by time until it gives up, and what it calls the failure.
fn unlucky(identity: &[u8], psk: &[u8]) -> (Vec<(u64, Vec<u8>)>, Failure) {
    let mut server = ServerEnd::new(server::Config { own_cid_len: 6, ..Default::default() });
    let config = client::Config::default();
    let mut client = ClientEnd::with_credential(config, 0, 9, Some(b"me"), identity, psk);
    let mut said = Vec::new();
    let mut now_ms = 0;
    loop {
        for datagram in &client.log.take() {
            server.on_datagram(now_ms, datagram);
        }
        let down = server.log.take();
        for datagram in &down {
            client.on_datagram(now_ms, datagram);
        }
        said.extend(down.into_iter().map(|datagram| (now_ms, datagram)));
        if client.log.outbox.is_empty() {
            let due = [client.due_ms(), server.due_ms()].into_iter().flatten().min();
            let Some(due_ms) = due else { break };
            now_ms = due_ms;
            client.on_due(now_ms);
            server.on_due(now_ms);
        }
    }
    assert_eq!(client.log.failure, Some(Failure::Timeout));
    assert!(now_ms >= Timing::default().total_ms());
    (said, server.log.failure.unwrap())
}

/// RFC 7925 section 6: an identity's existence is not for strangers.
#[test]
fn an_unknown_identity_and_a_wrong_key_look_the_same_until_the_end() {
    let (unknown, first) = unlucky(b"device-0002", PSK);
    let (wrong_key, second) = unlucky(story::IDENTITY, b"fedcba9876543210");
    assert_eq!((first, second), (Failure::UnknownIdentity, Failure::WrongKey));
    assert_eq!(unknown, wrong_key, "the same bytes at the same times");
    assert!(unknown.iter().all(|(_, datagram)| datagram[0] == 22), "and no alert at all");
}

#[test]
fn an_identity_longer_than_the_bound_is_an_unknown_one() {
    for (len, expected) in [(256, Failure::UnknownIdentity), (257, Failure::UnknownIdentity)] {
        let mut server = ServerEnd::new(server::Config::default());
        server.answers_credentials = false;
        let config = client::Config::default();
        let mut client = ClientEnd::with_credential(config, 0, 9, None, &vec![b'i'; len], PSK);
        exchange(&mut client, &mut server, 0);
        let handshake = server.handshake.as_mut().unwrap();
        assert_eq!(story::identity(handshake).len() == 256, len == 256, "looked up or not");
        handshake.on_credential(0, Answer::Unknown);
        while let Some(due_ms) = server.due_ms() {
            server.on_due(due_ms);
        }
        assert_eq!(server.log.failure, Some(expected));
    }
}

/// Keys of any length, shorter and longer than a hash block.
#[test]
fn keys_of_any_length_serve() {
    for len in [1, 16, 64, 65, 256] {
        let psk = vec![3; len];
        let mut server = ServerEnd::new(server::Config::default());
        server.answers_credentials = false;
        let config = client::Config::default();
        let mut client = ClientEnd::with_credential(config, 0, 9, None, story::IDENTITY, &psk);
        exchange(&mut client, &mut server, 0);
        server.handshake.as_mut().unwrap().on_credential(0, Answer::Psk(&psk));
        server.settle(0);
        exchange(&mut client, &mut server, 0);
        assert!(client.session.is_some(), "{len} bytes");
    }
}

/// Someone on the path strikes a stronger suite from the hello: without extended master secret the
/// keys still agree, and the Finished tells (RFC 5246 section 7.4.9).
#[test]
fn a_changed_hello_is_found_out_by_the_finished() {
    let mut server = ServerEnd::new(server::Config::default());
    let config = client::Config { extended_master_secret: false, ..Default::default() };
    let mut client = ClientEnd::new(config, 0, 9, None);
    server.on_datagram(0, &client.log.take().pop().unwrap());
    client.on_datagram(0, &server.log.take().pop().unwrap());
    let mut hello = client.log.take().pop().unwrap();
    let suites_at = 25 + 2 + 32 + 1 + 1 + 16 + 2;
    hello[suites_at + 2] ^= 0x40; // the second one becomes an unknown one
    server.on_datagram(0, &hello);
    client.on_datagram(0, &server.log.take().pop().unwrap());
    server.on_datagram(0, &client.log.take().pop().unwrap());
    assert_eq!(server.log.failure, Some(Failure::Finished));
    let alert = server.log.take().pop().unwrap();
    let record = Record::parse(&alert, 0, 0).unwrap();
    assert_eq!((record.content_type, record.epoch), (ContentType::ALERT, 1), "protected");
}

/// The control: with extended master secret the keys already differ, so nothing is said.
#[test]
fn a_changed_hello_under_extended_master_secret_ends_in_silence() {
    let mut server = ServerEnd::new(server::Config::default());
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, None);
    server.on_datagram(0, &client.log.take().pop().unwrap());
    client.on_datagram(0, &server.log.take().pop().unwrap());
    let mut hello = client.log.take().pop().unwrap();
    let suites_at = 25 + 2 + 32 + 1 + 1 + 16 + 2;
    hello[suites_at + 2] ^= 0x40;
    server.on_datagram(0, &hello);
    client.on_datagram(0, &server.log.take().pop().unwrap());
    server.on_datagram(0, &client.log.take().pop().unwrap());
    assert_eq!((server.log.failure, &server.log.drops[..]), (None, &[Drop::BadTag][..]));
    assert!(server.log.take().is_empty());
}

#[test]
fn a_plaintext_finished_is_no_finished() {
    let mut server = ServerEnd::new(server::Config::default());
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, None);
    for _ in 0..2 {
        server.on_datagram(0, &client.log.take().pop().unwrap());
        client.on_datagram(0, &server.log.take().pop().unwrap());
    }
    let flight_5 = client.log.take().pop().unwrap();
    let (_, message_seq, _) = first_message(&flight_5);
    let end_of_key_exchange = Record::parse(&flight_5, 0, 0).unwrap().end();
    server.on_datagram(0, &flight_5[..end_of_key_exchange]);
    let forged = story::message_datagram(20, message_seq + 1, 9, &[0; 12]);
    server.on_datagram(0, &forged);
    assert_eq!(server.log.drops, [Drop::Unexpected]);
    server.on_datagram(0, &flight_5[end_of_key_exchange..]);
    assert!(server.session.is_some(), "the genuine one still counts");
}

/// RFC 6347 section 4.1.2.7 lets a handshake end by an alert; an established association does not.
#[test]
fn a_plaintext_alert_ends_a_handshake_and_never_a_session() {
    let mut alert = vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2];
    alert.extend(Alert::fatal(Description::HANDSHAKE_FAILURE).bytes());
    let mut server = ServerEnd::new(server::Config::default());
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, None);
    client.on_datagram(0, &alert);
    let failure = Failure::PeerAlert(Description::HANDSHAKE_FAILURE);
    assert_eq!(client.log.failure, Some(failure));
    assert!(failure.alert().is_none(), "an alert is not answered by one");

    let mut client = ClientEnd::new(client::Config::default(), 0, 9, None);
    exchange(&mut client, &mut server, 0);
    let before = server.session.unwrap().write_sequence();
    server.on_datagram(0, &alert);
    let session = server.session.unwrap();
    assert!(!session.is_closed() && session.write_sequence() == before);
}

#[test]
fn a_warning_does_not_end_a_handshake() {
    let mut warning = vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2];
    warning.extend(Alert::warning(Description::NO_RENEGOTIATION).bytes());
    let mut client = ClientEnd::new(client::Config::default(), 0, 9, None);
    client.on_datagram(0, &warning);
    assert_eq!((client.log.failure, &client.log.drops[..]), (None, &[Drop::AlertIgnored][..]));
}
