//! Several workers in one process: what belongs to one of them and lands on another.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::{Fate, Tally};
use tidegate_ring::contract as wire;
use tidegate_tests::story::{KEY, Story, Who, seen};

/// The device says so many datagrams from where it is.
fn says(story: &mut Story, device: Who, count: usize) {
    let mut out = [0; 1_452];
    for _ in 0..count {
        let length = story.at(device).poll_transmit(&mut out).expect("a datagram");
        let peer = story.peer(device);
        story.arrives(peer, &mut out[..length]);
    }
}

fn serves(story: &mut Story, device: Who) -> bool {
    let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"1");
    seen(story.hears(device)) == Some((Type::Ack, Code::CHANGED, mid))
}

fn fate(story: &mut Story, worker: usize, fate: Fate) -> u64 {
    story.worker_at(worker).counters().fate(fate)
}

/// The kernel picks another worker for a session's record: it is handed over once, and answered.
#[test]
fn a_record_on_the_wrong_worker_is_handed_over() {
    let mut story = Story::with_workers(1, 3, Config::default());
    let device = story.connected(1, Some(b""));
    story.lands_on(device, 2);
    story.rebinds(device);
    assert!(serves(&mut story, device));
    assert!(fate(&mut story, 2, Fate::HandedOver) > 0);
    assert_eq!(fate(&mut story, 1, Fate::HandedOver), 0);
}

/// The control: without a Connection ID nothing leads there.
#[test]
fn a_record_without_connection_id_on_the_wrong_worker_is_lost() {
    let mut story = Story::with_workers(2, 2, Config::default());
    let device = story.connected(1, None);
    story.lands_on(device, 1);
    assert!(!serves(&mut story, device));
    assert_eq!(fate(&mut story, 1, Fate::UnknownPeer), 1);
}

/// The device's address changes before its last flight: ClientKeyExchange (or nothing, when it
/// resumes), ChangeCipherSpec, and a Finished with the Connection ID that the ServerHello gave it.
#[test]
fn a_last_flight_from_a_new_address_completes_its_handshake() {
    for worker in 0..2 {
        for resumes in [false, true] {
            let mut story = Story::with_workers(3, 2, Config::default());
            let first = story.connected(1, Some(b""));
            let session = story.at(first).resumable().cloned().filter(|_| resumes);
            let device = story.comes_back(1, Some(b""), session.as_ref());
            says(&mut story, device, 2);
            story.rebinds(device);
            story.lands_on(device, worker);
            story.exchange();
            story.waits_ms(10_000);
            let what = format!("worker {worker}, resumes: {resumes}");
            assert!(story.at(device).is_up(), "{what}");
            assert_eq!(story.at(device).is_resumed(), resumes, "{what}");
            let up = story.last_session();
            assert_eq!(wire::SessionRef(up.session.get()).worker(), 0, "{what}");
            assert!(serves(&mut story, device), "{what}");
        }
    }
}

/// The control: without a Connection ID such a flight is nobody's.
#[test]
fn a_last_flight_from_a_new_address_without_connection_id_is_nobodys() {
    let mut story = Story::new(4);
    let device = story.device(1, None, KEY);
    says(&mut story, device, 2);
    story.rebinds(device);
    story.exchange();
    story.waits_ms(10_000);
    assert!(!story.at(device).is_up() && story.sessions.is_empty());
}

/// Our last flight is lost and the address changes: the device repeats its own from there, and
/// hears ours again.
#[test]
fn a_repeated_last_flight_finds_its_session_from_a_new_address() {
    for worker in 0..2 {
        let mut story = Story::with_workers(5, 2, Config::default());
        let device = story.device(1, Some(b""), KEY);
        says(&mut story, device, 2);
        story.loses(1);
        says(&mut story, device, 1);
        assert!(!story.at(device).is_up() && story.sessions.len() == 1);
        story.rebinds(device);
        story.lands_on(device, worker);
        story.waits_ms(10_000);
        assert!(story.at(device).is_up(), "worker {worker}");
        assert!(story.worker().counters().of(Tally::FinishedRepeated) > 0);
        assert!(serves(&mut story, device));
    }
}
