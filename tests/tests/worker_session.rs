//! Sessions: who gets one, how it moves, what ends it, what survives a restart.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::{Fate, Tally};
use tidegate_dtls::{Suite, client};
use tidegate_ring::contract::{self as wire, Kind};
use tidegate_tests::story::{KEY, SessionNotice, Story, device_id, identity, seen};
use zerocopy::IntoBytes;

/// Every suite with a pre-shared key, with and without Connection IDs on either side.
#[test]
fn every_suite_makes_a_session_with_and_without_connection_ids() {
    for suite in Suite::ALL.into_iter().filter(|suite| suite.key_exchange().is_psk()) {
        for own_cid in [None, Some(&b""[..]), Some(&b"cid"[..]), Some(&[7; 16][..])] {
            let mut story = Story::new(1);
            let config = client::Config { suites: vec![suite], ..client::Config::default() };
            let device = story.device_with(1, own_cid, KEY, config);
            story.exchange();
            assert!(story.at(device).is_up(), "{} {own_cid:?}", suite.name());
            let up = story.last_session();
            assert_eq!((up.suite.get(), up.device), (suite.code(), device_id(1)));
            assert_eq!(up.has_cid == 1, own_cid.is_some());
            let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"1");
            assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
        }
    }
}

/// RFC 9146 section 6: with a Connection ID a session survives NAT rebinding, and replies follow.
#[test]
fn a_session_with_a_connection_id_survives_rebinding() {
    let mut story = Story::new(2);
    let device = story.connected(1, Some(b""));
    story.rebinds(device);
    story.requests(device, Type::Con, Code::PUT, "/t", b"1");
    assert!(story.hears(device).is_some());
    assert_eq!(story.worker().counters().of(Tally::AddressMoved), 1);
}

/// The control: without one it must not work.
#[test]
fn a_session_without_a_connection_id_does_not_survive_rebinding() {
    let mut story = Story::new(3);
    let device = story.connected(1, None);
    story.rebinds(device);
    story.requests(device, Type::Con, Code::PUT, "/t", b"1");
    assert_eq!(story.hears(device), None);
    assert_eq!(story.worker().counters().fate(Fate::UnknownPeer), 1);
}

/// An old record from elsewhere is served, but the address stays where the newest came from.
#[test]
fn an_older_record_does_not_move_the_address() {
    let mut story = Story::new(4);
    let device = story.connected(1, Some(b""));
    let home = story.peer(device);
    let (mut older, mut newer) = ([0; 200], [0; 200]);
    let put = tidegate_tests::story::request(Type::Con, Code::PUT, 1, "/t", b"1");
    let older_len = story.at(device).seal(&put, &mut older).expect("a session");
    let put = tidegate_tests::story::request(Type::Con, Code::PUT, 2, "/t", b"2");
    let newer_len = story.at(device).seal(&put, &mut newer).expect("a session");
    story.arrives(home, &mut newer[..newer_len]);
    story.rebinds(device);
    let elsewhere = story.peer(device);
    story.arrives(elsewhere, &mut older[..older_len]);
    assert_eq!(story.worker().counters().of(Tally::AddressMoved), 0);
    assert_eq!(story.uplinks.len(), 2);
}

/// RFC 6347 section 4.1.2.6: a record counts once, also when both copies come in one batch.
#[test]
fn a_replayed_record_is_dropped() {
    let mut story = Story::new(5);
    let device = story.connected(1, Some(b""));
    let peer = story.peer(device);
    let mut record = [0; 200];
    let put = tidegate_tests::story::request(Type::Con, Code::PUT, 1, "/t", b"1");
    let length = story.at(device).seal(&put, &mut record).expect("a session");
    let copy = (peer, record[..length].to_vec());
    story.arrive_together(&mut [copy.clone(), copy.clone()]);
    story.arrive_together(&mut [copy]);
    assert_eq!(story.uplinks.len(), 1);
    assert_eq!(story.worker().counters().fate(Fate::Replayed), 2);
}

/// RFC 7925 section 6: an identity nobody knows and a wrong key look the same, which is: nothing.
#[test]
fn an_unknown_identity_looks_like_a_wrong_key() {
    let outcome = |identity: Vec<u8>, key: &[u8]| {
        let mut story = Story::new(6);
        let config = client::Config::default();
        let device = story.device_named(1, identity, Some(b""), key, config);
        story.exchange();
        story.waits_ms(70_000);
        let datagrams = story.worker().counters().datagrams();
        let live = story.worker().slab().live();
        (story.at(device).is_up(), datagrams, live, story.sessions.len())
    };
    let wrong_key = outcome(identity(1), b"another key here");
    let unknown = outcome(b"an identity that nobody has told".to_vec(), KEY);
    assert_eq!(unknown, wrong_key);
    assert_eq!((wrong_key.0, wrong_key.2), (false, 0), "no session, and the slot is free again");
}

/// RFC 6347 section 4.2.8: a device that lost its state shakes hands again from the same address;
/// the old session ends when the new one is proven.
#[test]
fn a_rebooted_device_replaces_its_session() {
    let mut story = Story::new(7);
    let first = story.connected(1, None);
    let old = story.last_session().session;
    let again = story.device(1, None, KEY);
    assert_eq!(story.peer(first), story.peer(again));
    story.exchange();
    assert!(story.at(again).is_up());
    assert!(story.sessions.iter().any(|notice| matches!(notice,
        SessionNotice::Down(down) if down.session == old && down.reason == wire::EndReason::Replaced as u8)));
    assert_eq!(story.worker().slab().live(), 1);
}

#[test]
fn close_notify_ends_a_session_and_is_answered() {
    let mut story = Story::new(8);
    let device = story.connected(1, Some(b""));
    let peer = story.peer(device);
    let mut out = [0; 100];
    let length = story.at(device).close(&mut out).expect("a session");
    let sent = story.worker().counters().of(Tally::Sent);
    story.arrives(peer, &mut out[..length]);
    assert_eq!(story.worker().counters().of(Tally::Sent), sent + 1);
    assert_eq!(story.worker().slab().live(), 0);
}

/// RFC 6347 section 4.2.4: our Finished is lost; the client repeats its own and hears ours again.
#[test]
fn a_lost_last_flight_is_sent_again() {
    let mut story = Story::new(9);
    let device = story.device(1, Some(b""), KEY);
    // HelloVerifyRequest, ServerHello flight, then the last flight: the third datagram is lost.
    let mut out = [0; 1_452];
    for _ in 0..2 {
        let length = story.at(device).poll_transmit(&mut out).expect("a flight");
        let peer = story.peer(device);
        story.arrives(peer, &mut out[..length]);
    }
    story.loses(1);
    story.exchange();
    assert!(!story.at(device).is_up());
    story.waits_ms(3_000);
    assert!(story.at(device).is_up());
    assert!(story.worker().counters().of(Tally::FinishedRepeated) > 0);
}

/// The process is killed: established sessions go on without a new handshake.
#[test]
fn sessions_survive_a_restart_and_half_open_handshakes_do_not() {
    let mut story = Story::new(10);
    let with_cid = story.connected(1, Some(b"abc"));
    let without = story.connected(2, None);
    let half_open = story.device(3, Some(b""), KEY);
    let mut out = [0; 1_452];
    for _ in 0..2 {
        let length = story.at(half_open).poll_transmit(&mut out).expect("a flight");
        let peer = story.peer(half_open);
        story.arrives(peer, &mut out[..length]);
    }
    assert_eq!(story.worker().slab().live(), 3);
    story.restarts();
    assert_eq!(story.worker().slab().live(), 2);
    for device in [with_cid, without] {
        let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"1");
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
    }
}

/// The number is taken before sealing: no nonce repeats, whenever the process dies.
#[test]
fn no_sequence_number_is_used_twice_over_a_restart() {
    let mut story = Story::new(11);
    let device = story.connected(1, Some(b""));
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        story.requests(device, Type::Con, Code::PUT, "/t", b"1");
        let slot = 0;
        assert!(seen.insert(story.worker().slab().get(slot).dtls.write_sequence()));
        story.restarts();
    }
}

#[test]
fn an_idle_session_is_forgotten_silently() {
    let mut config = Config::default();
    config.sessions.idle_timeout_s = 100;
    let mut story = Story::with(12, config);
    let device = story.connected(1, Some(b""));
    story.waits_ms(60_000);
    story.requests(device, Type::Con, Code::PUT, "/t", b"1");
    story.hears(device).expect("it is alive");
    story.waits_ms(98_000);
    assert_eq!(story.worker().slab().live(), 1);
    story.waits_ms(4_000);
    assert_eq!(story.worker().slab().live(), 0);
    assert_eq!(story.hears(device), None);
}

/// A full slab: the longest idle of a few gives way to a device with a valid cookie.
#[test]
fn a_full_slab_makes_room_for_a_new_handshake() {
    let mut config = Config::default();
    config.sessions.per_worker = 2;
    let mut story = Story::with(13, config);
    for number in 1..=3 {
        story.waits_ms(10_000);
        story.connected(number, Some(b""));
    }
    assert_eq!(story.worker().slab().live(), 2);
    assert_eq!(story.worker().counters().of(Tally::Evicted), 1);
}

/// A credential is asked once and remembered, until the control plane says it changed.
#[test]
fn a_dropped_credential_is_asked_again() {
    let mut story = Story::new(14);
    for _ in 0..2 {
        story.connected(1, Some(b""));
    }
    let wanted = |story: &mut Story| story.worker().counters().of(Tally::CredentialWanted);
    assert_eq!(wanted(&mut story), 1);
    let dropped = wire::CredentialDropped { device: device_id(1) };
    story.tells(Kind::CredentialDropped, dropped.as_bytes(), &[]);
    story.connected(1, Some(b""));
    assert_eq!(wanted(&mut story), 2);
}

/// A stranger gets no more bytes than it sent, and no memory, before its cookie is valid.
#[test]
fn a_stranger_costs_nothing_before_its_cookie() {
    let mut story = Story::new(15);
    let mut out = [0; 1_452];
    for number in 0..500 {
        let device = story.device(number, Some(b""), KEY);
        let length = story.at(device).poll_transmit(&mut out).expect("a hello");
        let peer = story.peer(device);
        story.arrives(peer, &mut out[..length]);
    }
    let worker = story.worker();
    assert_eq!(worker.counters().fate(Fate::HelloVerified), 500);
    assert_eq!((worker.slab().live(), worker.slab().used()), (0, 0));
}

/// Half-open handshakes have a bound; beyond it hellos are dropped and counted.
#[test]
fn half_open_handshakes_have_a_bound() {
    let mut config = Config::default();
    config.handshake.half_open = 8;
    let mut story = Story::with(16, config);
    let mut out = [0; 1_452];
    for number in 0..10 {
        let device = story.device(number, Some(b""), KEY);
        for _ in 0..2 {
            let length = story.at(device).poll_transmit(&mut out).expect("a hello");
            let peer = story.peer(device);
            story.arrives(peer, &mut out[..length]);
        }
    }
    assert_eq!(story.worker().counters().fate(Fate::NoRoom), 2);
    assert_eq!(story.worker().slab().live(), 8);
}
