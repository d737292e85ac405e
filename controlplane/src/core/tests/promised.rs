//! Confirmed by the ring: what a device hears at once, and what that is worth later.

use super::classes::SENSORS;
use super::rules::health;
use super::*;
use crate::core::{ConfirmedBy, OutboxLimits, Ticket};

fn limits() -> Limits {
    Limits { confirmed_by: ConfirmedBy::Ring, ..Limits::default() }
}

impl Story {
    /// Another life of the core, which finds so many entries in the ring.
    fn finds_entries(&mut self, written: u64) {
        self.link = LinkId(self.link.0 + 1);
        self.core.on_attached(self.link, 0, Seq(written));
        self.settles();
    }
}

/// Before the store has it, and once: the entry is released when the store has it.
#[test]
fn a_device_hears_at_once_and_the_ring_keeps_it_until_the_store_does() {
    let mut story = Story::with_limits(limits());
    story.syncs = false;
    let seq = story.uplink(1, Code::PUT, b"1");
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
    assert!(!story.done.contains(&seq), "it is read again when the process dies now");
    assert_eq!(story.publishes.len(), 0);
    story.disk_syncs();
    assert!(story.done.contains(&seq));
    assert_eq!((story.publications().len(), story.publishes.len()), (1, 1));
    assert_eq!(health(&mut story).confirmed, 1);
}

/// While half of the writes that may be are under way, devices wait for the store: they are not
/// told to come back later.
#[test]
fn devices_keep_the_pace_of_the_store() {
    let mut story = Story::with_limits(Limits { publishes_in_flight_max: 8, ..limits() });
    story.syncs = false;
    for exchange in 1..=8 {
        story.uplink(exchange, Code::PUT, b"");
    }
    let told: Vec<_> = (1..=4).map(|exchange| (exchange, Publication::Confirmed)).collect();
    assert_eq!(story.publications(), told);
    story.uplink(9, Code::PUT, b"");
    assert_eq!(story.publications()[4], (9, Publication::Unavailable), "as many as may be");
    story.disk_syncs();
    assert_eq!(story.publications().len(), 9);
    story.uplink(10, Code::PUT, b"");
    assert_eq!(story.publications()[9], (10, Publication::Confirmed));
}

/// What awaits an application has no promise to hear.
#[test]
fn a_get_waits_for_the_store() {
    let mut story = Story::with_limits(limits());
    story.syncs = false;
    story.uplink(1, Code::GET, b"");
    assert_eq!(story.publications(), []);
    story.disk_syncs();
    assert_eq!(story.publications(), [(1, Publication::AwaitingAnswer)]);
}

/// What speaks against an uplink is said instead.
#[test]
fn nothing_is_promised_that_can_t_be_kept() {
    let outbox = OutboxLimits { entries_max: 10, ..Limits::default().outbox };
    let mut story = Story::with_limits(Limits { outbox, ..limits() });
    story.core.on_publisher(story.now(), false);
    for exchange in 1..=9 {
        story.uplink(exchange, Code::PUT, b"");
    }
    assert_eq!(story.publications()[8], (9, Publication::Confirmed));
    story.uplink(10, Code::PUT, b"");
    assert_eq!(story.publications()[9], (10, Publication::Unavailable), "there is no room");
    story.uplink_of(DeviceId([8; 16]), 11, Code::PUT, b"");
    assert_eq!(story.publications()[10], (11, Publication::Forbidden), "a stranger");
}

/// An entry that an earlier life may have promised is kept, whatever speaks against it now: no
/// room, no destination, no permission any more. One behind it is judged as ever.
#[test]
fn what_may_have_been_promised_is_kept() {
    let outbox = OutboxLimits { entries_max: 10, ..Limits::default().outbox };
    let mut story = Story::with_limits(Limits { outbox, ..limits() });
    story.core.on_publisher(story.now(), false);
    for exchange in 1..=9 {
        story.uplink(exchange, Code::PUT, b"");
    }
    let mut tx = Transaction::new();
    tx.delete(Table::Destinations, "somewhere");
    story.store.submit(tx, Box::new(|_| ()));
    story.asks(Request::RoutesChanged);
    story.finds_entries(story.next_seq + 1);
    let seq = story.uplink(10, Code::PUT, b"");
    assert_eq!(story.publications()[9], (10, Publication::Confirmed));
    assert!(story.done.contains(&seq));
    assert_eq!(story.stored_keys(Table::Outbox), 10);
    story.uplink(11, Code::PUT, b"");
    assert_eq!(story.publications()[10], (11, Publication::NoRoute));
    story.device_may(Some(SENSORS));
    story.finds_entries(story.next_seq + 1);
    story.uplink(12, Code::PUT, b"");
    assert_eq!(story.publications()[11], (12, Publication::Confirmed));
    story.uplink(13, Code::PUT, b"");
    assert_eq!(story.publications()[12], (13, Publication::Forbidden));
}

/// Of a device that is gone nothing is published: that is counted.
#[test]
fn a_promise_goes_with_its_device() {
    let mut story = Story::with_limits(limits());
    let mut tx = Transaction::new();
    tx.delete(Table::Devices, DEVICE.0);
    tx.delete(Table::Standings, DEVICE.0);
    story.store.submit(tx, Box::new(|_| ()));
    story.asks(Request::DeviceDeleted { device: DEVICE });
    story.finds_entries(story.next_seq + 1);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.publications(), [(1, Publication::Forbidden)]);
    assert_eq!((story.stored_keys(Table::Outbox), health(&mut story).uplinks_dropped), (0, 1));
}

/// A write that the store takes later than the next one of its device (it refused it at first) is
/// published first all the same.
#[test]
fn what_is_stored_late_is_not_overtaken() {
    let mut story = Story::with_limits(limits());
    story.syncs = false;
    story.uplink(1, Code::PUT, b"1");
    let is_promised = |(_, ticket): &(Transaction, Option<Ticket>)| {
        matches!(ticket, Some(Ticket::Promised { .. }))
    };
    let at = story.unsynced.iter().position(is_promised).unwrap();
    let late = story.unsynced.remove(at);
    story.uplink(2, Code::PUT, b"2");
    story.disk_syncs();
    assert_eq!(story.publishes.len(), 0, "an earlier one is not there yet");
    story.unsynced.push(late);
    story.disk_syncs();
    story.drains();
    let payloads = story.publishes.iter().map(|(_, _, json)| {
        let json: serde_json::Value = serde_json::from_slice(json).unwrap();
        json["PayloadData"].as_str().unwrap().to_owned()
    });
    assert_eq!(payloads.collect::<Vec<_>>(), ["MQ==", "Mg=="]);
}
