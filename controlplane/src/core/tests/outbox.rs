//! Confirmed by the store: what a device hears, what waits, and in which order it goes.

use serde_json::Value;

use super::rules::{health, ruled_with};
use super::*;
use crate::core::{ConfirmedBy, OutboxLimits};
use crate::rules::Failed;
use crate::sinks::Delivered;
use crate::store::{StoreError, keys};

const OTHER: DeviceId = DeviceId([8; 16]);

fn limits() -> Limits {
    Limits { confirmed_by: ConfirmedBy::Store, ..Limits::default() }
}

/// Two devices, whose uplinks are kept in the store.
fn story() -> Story {
    story_with(limits())
}

fn story_with(limits: Limits) -> Story {
    let story = Story::with_limits(limits);
    let other = Device { id: OTHER, cellular: None, ..device() };
    put_device(&story.store, None, &other, STAMP);
    story
}

impl Story {
    fn broker_is(&mut self, up: bool) {
        self.core.on_publisher(self.now(), up);
        self.settles();
    }

    /// The broker confirms everything, and what follows it.
    pub(super) fn drains(&mut self) {
        let mut confirmed = 0;
        while confirmed < self.publishes.len() {
            self.confirms(confirmed);
            confirmed += 1;
        }
    }

    /// Device and payload of every publish so far.
    fn published(&self) -> Vec<(DeviceId, String)> {
        let read = |(_, _, json): &(PublishId, String, Vec<u8>)| {
            let json: Value = serde_json::from_slice(json).unwrap();
            let of = json["WirelessDeviceId"].as_str().unwrap().parse().unwrap();
            (of, json["PayloadData"].as_str().unwrap().to_owned())
        };
        self.publishes.iter().map(read).collect()
    }

    fn waiting(&mut self) -> (u64, u64) {
        let outbox = health(self).outbox;
        assert_eq!(outbox.entries as usize, self.stored_keys(Table::Outbox));
        (outbox.entries, outbox.devices)
    }
}

fn of_device(payloads: &[&str]) -> Vec<(DeviceId, String)> {
    payloads.iter().map(|payload| (DEVICE, (*payload).to_owned())).collect()
}

/// The base64 of what these stories send.
const ONE: &str = "MQ==";
const TWO: &str = "Mg==";
const THREE: &str = "Mw==";

#[test]
fn an_uplink_is_confirmed_once_it_is_synced() {
    let mut story = story();
    story.syncs = false;
    let seq = story.uplink(1, Code::PUT, b"1");
    assert_eq!((story.publications(), story.publishes.len()), (vec![], 0));
    assert!(!story.done.contains(&seq));
    story.disk_syncs();
    assert_eq!(story.publications(), [(1, Publication::Confirmed)], "the broker has said nothing");
    assert!(story.done.contains(&seq));
    assert_eq!(story.published(), of_device(&[ONE]));
    assert_eq!(story.waiting(), (1, 1));
    story.confirms(0);
    story.disk_syncs();
    assert_eq!((story.waiting(), story.core.pending_ms()), ((0, 0), None));
}

#[test]
fn a_get_is_answered_through_its_token_out_of_the_store_too() {
    let mut story = story();
    story.uplink(1, Code::GET, b"");
    assert_eq!(story.publications(), [(1, Publication::AwaitingAnswer)]);
    story.answers(&story.token(0)).unwrap();
}

/// The broker is away: nothing is refused, and it gets all of it in order for each device.
#[test]
fn an_outage_is_waited_out_in_the_store() {
    let mut story = story();
    story.broker_is(false);
    for (exchange, payload) in [(1, b"1"), (2, b"2"), (3, b"3")] {
        story.uplink(exchange, Code::PUT, payload);
    }
    let confirmed = |exchange| (exchange, Publication::Confirmed);
    assert_eq!(story.publications(), [confirmed(1), confirmed(2), confirmed(3)]);
    assert_eq!((story.publishes.len(), story.waiting()), (0, (3, 1)));
    assert_eq!(story.core.pending_ms(), None, "nothing is tried meanwhile");
    story.broker_is(true);
    assert_eq!(story.published(), of_device(&[ONE]), "one of each device at a time");
    story.drains();
    assert_eq!(story.published(), of_device(&[ONE, TWO, THREE]));
    assert_eq!(story.waiting(), (0, 0));
}

/// Also when the control plane dies in the middle of it: what was not confirmed goes again.
#[test]
fn what_waits_outlives_the_process() {
    let mut story = story();
    story.broker_is(false);
    story.uplink(1, Code::PUT, b"1");
    story.uplink(2, Code::PUT, b"2");
    let mut story = story.restarts();
    story.settles();
    assert_eq!((story.published(), story.waiting()), (of_device(&[ONE]), (2, 1)));
    story.confirms(0);
    let mut story = story.restarts();
    story.settles();
    story.uplink(3, Code::PUT, b"3");
    assert_eq!(story.published(), of_device(&[TWO]));
    story.confirms(0);
    assert_eq!(story.published(), of_device(&[TWO, THREE]));
}

/// Hours of one device keep nothing of another waiting.
#[test]
fn devices_take_turns() {
    let mut story = story();
    story.broker_is(false);
    for exchange in 0..20 {
        story.uplink(exchange, Code::PUT, b"1");
    }
    story.broker_is(true);
    story.uplink_of(OTHER, 20, Code::PUT, b"2");
    let published = story.published();
    assert_eq!(published[1..], [(OTHER, TWO.to_owned())], "beside the first of twenty");
}

#[test]
fn one_that_is_not_confirmed_holds_back_its_device_alone() {
    let mut story = story();
    story.uplink(1, Code::PUT, b"1");
    story.uplink(2, Code::PUT, b"2");
    story.waits_ms(story.limits.publish_timeout_ms);
    assert_eq!(story.abandoned, [story.publishes[0].0]);
    story.uplink_of(OTHER, 3, Code::PUT, b"3");
    assert_eq!(story.published()[1..], [(OTHER, THREE.to_owned())]);
    story.waits_ms(4_999);
    assert_eq!(story.publishes.len(), 2);
    story.waits_ms(1);
    assert_eq!(story.published()[2..], of_device(&[ONE]));
    story.confirms(2);
    assert_eq!(story.published()[3..], of_device(&[TWO]));
    assert_eq!(story.publications().len(), 3, "each device has heard once");
}

/// What can't be kept is not acknowledged: by count, by bytes, by what the store says.
#[test]
fn an_outbox_that_is_full_refuses() {
    let outbox = OutboxLimits { entries_max: 10, ..Limits::default().outbox };
    let mut story = story_with(Limits { outbox, ..limits() });
    story.broker_is(false);
    for exchange in 0..10 {
        story.uplink(exchange, Code::PUT, b"1");
    }
    let confirmed = |said: &(u64, Publication)| said.1 == Publication::Confirmed;
    assert_eq!(story.publications().iter().filter(|said| confirmed(said)).count(), 9);
    assert_eq!(story.publications()[9], (9, Publication::Unavailable));
    assert_eq!((story.waiting().0, health(&mut story).outbox_refused), (9, 1));

    story.broker_is(true);
    story.confirms(0);
    story.uplink(10, Code::PUT, b"1");
    assert_eq!(story.publications()[10], (10, Publication::Confirmed));

    let bytes = health(&mut story).outbox.bytes / 9;
    let outbox = OutboxLimits { bytes_max: bytes * 5 / 2, ..Limits::default().outbox };
    let mut story = story_with(Limits { outbox, ..limits() });
    story.broker_is(false);
    for exchange in 0..3 {
        story.uplink(exchange, Code::PUT, b"1");
    }
    assert_eq!(story.publications()[2], (2, Publication::Unavailable), "two have room");
    assert_eq!(story.waiting(), (2, 1));
}

#[test]
fn what_the_store_does_not_take_is_not_acknowledged() {
    let mut story = story();
    story.store.breaks(Some(StoreError::Busy));
    story.uplink(1, Code::PUT, b"1");
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
    story.store.breaks(None);
    story.uplink(2, Code::PUT, b"2");
    assert_eq!(story.published(), of_device(&[TWO]));
    story.confirms(0);
    assert_eq!((story.waiting(), health(&mut story).outbox_refused), ((0, 0), 1));
}

/// Responses have room beside uplinks that take all they may.
#[test]
fn a_tenth_is_left_to_responses() {
    let outbox = OutboxLimits { entries_max: 10, ..Limits::default().outbox };
    let mut story = story_with(Limits { outbox, ..limits() });
    story.hello(1);
    story.session_up(1);
    let ids = [(); 2].map(|()| story.sends(QueueMode::Immediate, b""));
    story.broker_is(false);
    for exchange in 0..9 {
        story.uplink(exchange, Code::PUT, b"1");
    }
    story.responds(ids[0], b"on");
    assert_eq!((story.waiting().0, health(&mut story).responses_dropped), (10, 0));
    story.responds(ids[1], b"on");
    assert_eq!((story.waiting().0, health(&mut story).responses_dropped), (10, 1));
}

#[test]
fn what_a_deleted_device_left_is_dropped_and_counted() {
    let mut story = story();
    story.broker_is(false);
    story.uplink(1, Code::PUT, b"1");
    story.uplink(2, Code::PUT, b"2");
    let mut tx = Transaction::new();
    tx.delete(Table::Devices, DEVICE.0);
    story.store.submit(tx, Box::new(|result| assert!(result.is_ok())));
    story.asks(Request::DeviceDeleted { device: DEVICE });
    story.broker_is(true);
    assert_eq!((story.publishes.len(), story.waiting()), (0, (0, 0)));
    assert_eq!(health(&mut story).uplinks_dropped, 2);
}

/// What was acknowledged is tried again where a response is dropped: rules can be put right.
#[test]
fn an_uplink_that_its_rule_refuses_is_tried_until_it_is_given_up() {
    let mut story = ruled_with(limits(), "SELECT *", |rule| {
        rule.actions = vec![Action::File { path: "f".to_owned() }];
    });
    story.uplink(1, Code::PUT, b"1");
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
    let message = "there is no such directory".to_owned();
    let failed = Failed { action: "FileAction", resource: "f".to_owned(), message };
    let fails = |story: &mut Story| {
        let (id, now) = (story.deliveries.last().unwrap().0, story.now());
        story.core.on_delivered(now, id, Delivered::Failed(failed.clone()));
        story.settles();
    };
    fails(&mut story);
    story.waits_ms(5_000);
    assert_eq!((story.deliveries.len(), story.waiting()), (2, (1, 1)));
    story.ms += story.limits.outbox.give_up_ms - 5_001;
    fails(&mut story);
    assert_eq!(story.waiting(), (1, 1), "not yet");
    story.waits_ms(5_000);
    fails(&mut story);
    assert_eq!((story.waiting(), health(&mut story).uplinks_dropped), ((0, 0), 1));
}

/// The store refuses a response at first, and what came after it has left meanwhile.
#[test]
fn a_response_that_is_kept_late_is_published_all_the_same() {
    let mut story = story();
    story.hello(1);
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"");
    story.syncs = false;
    story.responds(id, b"on");
    let late = std::mem::take(&mut story.unsynced);
    story.uplink(1, Code::PUT, b"1");
    story.uplink(2, Code::PUT, b"2");
    story.disk_syncs();
    story.confirms(0);
    story.disk_syncs();
    story.unsynced = late;
    story.disk_syncs();
    story.confirms(1);
    story.disk_syncs();
    assert_eq!(story.publishes.len(), 3);
    story.confirms(2);
    story.disk_syncs();
    assert_eq!(story.waiting(), (0, 0));
}

/// As they were stored before there were uplinks beside them.
#[test]
fn responses_of_an_earlier_version_are_published() {
    let story = Story::new();
    let mut tx = Transaction::new();
    for (unix_ms, json) in [(UNIX_MS - 9, "1"), (UNIX_MS - 9, "2"), (UNIX_MS - 8, "3")] {
        let key = keys::ended(unix_ms, MessageId(json.repeat(16).into_bytes().try_into().unwrap()));
        tx.put(Table::Outbox, key, [&DEVICE.0[..], json.as_bytes()].concat());
    }
    story.store.submit(tx, Box::new(|result| assert!(result.is_ok())));
    let mut story = story.restarts();
    story.settles();
    assert_eq!(story.waiting(), (3, 1));
    for at in 0..3 {
        assert_eq!(story.publishes[at].2, (at + 1).to_string().as_bytes());
        story.confirms(at);
    }
    assert_eq!(story.waiting(), (0, 0));
}
