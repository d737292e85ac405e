//! Where is a device, and which of its sessions counts?

use serde_json::Value;
use tidegate_ring::contract::{Claim, EndReason, Network as WireNetwork};

use super::*;
use crate::model::{SecurityMode, SourceAddress};
use crate::store::StoreError;

const DROPPED: u8 = EndReason::CredentialDropped as u8;

/// May also send without security from this address.
fn unsecured(block: &mut NetworkBlock) {
    block.source_address = Some("192.0.2.1".parse::<SourceAddress>().unwrap());
}

fn by_address(up: &mut contract::SessionUp) {
    up.claim = Claim::Address as u8;
}

impl Story {
    fn mode_of_uplink(&mut self, exchange: u64, by: SessionRef) -> Value {
        let seen = self.publishes.len();
        self.uplink_by(by, exchange, Code::PUT);
        let json: Value = serde_json::from_slice(&self.publishes[seen].2).unwrap();
        json["WirelessMetadata"]["CoAP"]["SecurityMode"].clone()
    }
}

#[test]
fn a_changed_secret_ends_the_session() {
    let mut story = Story::new();
    story.session_up(1);
    story.asks(Request::DeviceChanged { device: DEVICE, credentials: false });
    assert!(story.ended_sessions().is_empty());
    story.asks(Request::DeviceChanged { device: DEVICE, credentials: true });
    assert_eq!(story.posted(Kind::CredentialDropped).len(), 1);
    assert_eq!(story.ended_sessions(), [(session(1).0, DROPPED)]);
}

/// The order may get lost with a restarted worker: the next uplink repeats it.
#[test]
fn a_session_that_should_have_ended_ends_at_its_next_uplink() {
    let mut story = Story::new();
    story.session_up(1);
    story.asks(Request::DeviceChanged { device: DEVICE, credentials: true });
    let now_or_never = story.sends(QueueMode::Immediate, b"");
    assert!(story.handed_over().is_empty() && story.has_ended(now_or_never));
    let mut story = story.restarts();
    story.hello(2);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.publications(), [(1, Publication::Forbidden)]);
    assert_eq!(story.ended_sessions(), [(session(1).0, DROPPED)]);
    story.session_down(1);
    story.session_up(2);
    story.uplink(2, Code::PUT, b"");
    assert_eq!(story.publishes.len(), 1);
}

/// A device has one session: the older one ends, and its end changes nothing.
#[test]
fn a_new_session_replaces_the_old_one() {
    let mut story = Story::new();
    story.session_up(1);
    story.session_up(1);
    assert!(story.ended_sessions().is_empty(), "said twice is not replaced");
    story.session_up(2);
    assert_eq!(story.ended_sessions(), [(session(1).0, EndReason::Replaced as u8)]);
    story.session_down(1);
    let id = story.sends(QueueMode::Immediate, b"");
    assert_eq!(story.handed_over(), [id]);
}

/// Deleted while its handshake was under way.
#[test]
fn a_session_of_nobody_ends_at_once() {
    let mut story = Story::new();
    let mut tx = Transaction::new();
    tx.delete(Table::Devices, DEVICE.0);
    tx.delete(Table::Standings, DEVICE.0);
    story.store.submit(tx, Box::new(|_| ()));
    story.session_up(1);
    assert_eq!(story.ended_sessions(), [(session(1).0, DROPPED)]);
}

/// The session that counts is gone and nobody said so: a downlink finds out, and goes to where the
/// device was heard.
#[test]
fn a_downlink_finds_the_device_where_it_was_heard() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Queued, b"");
    story.uplink_by(session(2), 1, Code::PUT);
    assert_eq!(story.handed_over(), [id]);
    story.fails(id, FailReason::NoSession);
    assert_eq!(story.handed_over(), [id, id]);
    let last = story.posted(Kind::Downlink).pop().unwrap();
    let (head, _) = contract::Downlink::split(&last.bytes).unwrap();
    assert_eq!(head.session.get(), session(2).0);
    // And when it was heard nowhere, the next uplink says where it is.
    story.fails(id, FailReason::NoSession);
    assert_eq!(story.handed_over().len(), 2);
    story.uplink_by(session(3), 2, Code::PUT);
    assert_eq!(story.handed_over().len(), 3);
}

/// Where devices are survives a restart, and an uplink finds a device again that was lost.
#[test]
fn locations_survive_a_restart() {
    let mut story = Story::new();
    story.session_up(1);
    let mut story = story.restarts();
    let id = story.sends(QueueMode::Immediate, b"");
    assert_eq!(story.handed_over(), [id]);
    story.outcome(id, Step::Delivered, true);
    story.session_down(1);
    story.uplink(1, Code::PUT, b"");
    let id = story.sends(QueueMode::Immediate, b"");
    assert_eq!(story.handed_over().last(), Some(&id));
}

#[test]
fn the_last_uplink_is_remembered() {
    let mut story = Story::new();
    let last = |story: &mut Story| match story.asks(Request::LastUplinks { devices: vec![DEVICE] })
    {
        Some(Ok(Reply::LastUplinks(last))) => last[0],
        other => panic!("{other:?}"),
    };
    assert_eq!(last(&mut story), None);
    story.session_up(1);
    assert_eq!(last(&mut story), None);
    story.waits_ms(60_000);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(last(&mut story), Some(UNIX_MS + 60_000));
    let mut story = story.restarts();
    assert_eq!(last(&mut story), Some(UNIX_MS + 60_000));
}

#[test]
fn a_hello_is_finished_when_it_is_remembered() {
    let mut story = Story::new();
    story.syncs = false;
    let seq = story.hello(9);
    assert!(!story.done.contains(&seq));
    story.store.breaks(Some(StoreError::Busy));
    story.disk_syncs();
    assert!(story.done.contains(&seq), "a store that fails does not hold up the ring");
}

/// Another stamp: the credential changed while the handshake was under way, or since the session
/// was made that is resumed now. The same, for every claim and whoever opened it, is taken.
#[test]
fn a_session_of_another_stamp_is_refused() {
    for claim in [Claim::PskIdentity, Claim::RawPublicKey, Claim::Certificate, Claim::Address] {
        for (resumed, connected) in [(0, 0), (1, 0), (0, 1)] {
            for stamp in [0, STAMP - 1, STAMP, STAMP + 1] {
                let mut story = Story::new();
                story.changes(STAMP, |block| {
                    block.raw_public_key = Some(crate::model::PublicKey(b"key".to_vec()));
                    block.certificate_name = Some("CN=name".to_owned());
                    unsecured(block);
                });
                let seq = story.session_up_with(1, |up| {
                    (up.claim, up.resumed, up.connected) = (claim as u8, resumed, connected);
                    up.stamp = stamp.into();
                });
                assert!(story.done.contains(&seq));
                let is_good = stamp == STAMP;
                let ended = story.ended_sessions();
                assert_eq!(ended.is_empty(), is_good, "{claim:?} {stamp}");
                assert!(is_good || ended == [(session(1).0, DROPPED)]);
                let id = story.sends(QueueMode::Immediate, b"");
                assert_eq!(story.handed_over().contains(&id), is_good);
            }
        }
    }
}

/// The stamp is right, the mode is not what this block of the device may use.
#[test]
fn a_session_of_another_mode_is_refused() {
    for (claim, network, is_good) in [
        (Claim::PskIdentity, WireNetwork::Cellular, true),
        (Claim::PskIdentity, WireNetwork::WiFi, false),
        (Claim::RawPublicKey, WireNetwork::Cellular, false),
        (Claim::Certificate, WireNetwork::Cellular, false),
        (Claim::Address, WireNetwork::Cellular, false),
    ] {
        let mut story = Story::new();
        story.session_up_with(1, |up| (up.claim, up.network) = (claim as u8, network as u8));
        assert_eq!(story.ended_sessions().is_empty(), is_good, "{claim:?} {network:?}");
    }
    let mut story = Story::new();
    story.changes(STAMP, |block| block.security_modes = Some(vec![SecurityMode::NoSec]));
    story.session_up(1);
    assert_eq!(story.ended_sessions(), [(session(1).0, DROPPED)]);
}

/// What it said before it ended is not published, also when a good one is there.
#[test]
fn uplinks_of_a_refused_session_do_not_count() {
    for has_another in [false, true] {
        let mut story = Story::new();
        if has_another {
            story.session_up(1);
        }
        story.session_up_with(2, |up| up.stamp = (STAMP + 1).into());
        let mut story = story.restarts();
        story.uplink_by(session(2), 1, Code::PUT);
        assert_eq!(story.publications(), [(1, Publication::Forbidden)]);
        let id = story.sends(QueueMode::Immediate, b"");
        assert_eq!(story.handed_over().contains(&id), has_another);
        story.session_down_of(session(2));
        story.uplink(2, Code::PUT, b"");
        assert_eq!(story.publishes.len(), 1);
    }
}

/// A store that can't say is no reason to end what the worker has proven.
#[test]
fn a_hostile_session_entry_is_counted_and_finished() {
    let mut story = Story::new();
    for (claim, network) in [(0, 1), (5, 1), (1, 0), (1, 3)] {
        let seq = story.session_up_with(1, |up| (up.claim, up.network) = (claim, network));
        assert!(story.done.contains(&seq));
    }
    let seq = story.entry(Kind::SessionUp, &[&[1; 20]]);
    assert!(story.done.contains(&seq));
    assert!(story.ended_sessions().is_empty());
    let id = story.sends(QueueMode::Immediate, b"");
    assert!(story.has_ended(id), "none of them is a session");
}

/// Anybody can send from an address: a session by address takes no other's place, gets none of its
/// downlinks, wakes no queue, and is there when the other has ended.
#[test]
fn a_session_without_security_lives_beside_one_with_it() {
    for secured_first in [true, false] {
        let mut story = Story::new();
        story.changes(STAMP, unsecured);
        let queued = story.sends(QueueMode::Queued, b"queued");
        if secured_first {
            story.session_up(1);
            story.session_up_with(2, by_address);
        } else {
            story.session_up_with(2, by_address);
            assert_eq!(story.handed_over(), [queued], "alone, it is the device's");
            story.fails(queued, FailReason::Busy);
            story.session_up(1);
        }
        assert!(story.ended_sessions().is_empty());
        let before = story.handed_over().len();
        assert_eq!(before, 1 + usize::from(!secured_first));
        story.fails(queued, FailReason::Timeout);
        assert_eq!(story.mode_of_uplink(1, session(2)), "NoSec");
        assert_eq!(story.handed_over().len(), before, "no sign of life");
        assert_eq!(story.mode_of_uplink(2, session(1)), "PreSharedKey");
        assert_eq!(story.handed_over().len(), before + 1);
        story.outcome(queued, Step::Delivered, true);
        let mut story = story.restarts();
        let id = story.sends(QueueMode::Immediate, b"");
        let head = story.posted(Kind::Downlink)[0].bytes.clone();
        let to = contract::Downlink::split(&head).unwrap().0.session.get();
        assert_eq!((to, story.handed_over()), (session(1).0, vec![id]));
        story.outcome(id, Step::Delivered, true);
        story.session_down(1);
        assert_eq!(story.mode_of_uplink(3, session(2)), "NoSec");
        let id = story.sends(QueueMode::Immediate, b"");
        assert_eq!(story.handed_over().last(), Some(&id), "now it is the device's");
    }
}

#[test]
fn a_dropped_credential_ends_the_session_beside_too() {
    let mut story = Story::new();
    story.changes(STAMP, unsecured);
    story.session_up(1);
    story.session_up_with(2, by_address);
    story.asks(Request::DeviceChanged { device: DEVICE, credentials: true });
    let mut ended = story.ended_sessions();
    ended.sort_unstable();
    assert_eq!(ended, [(session(1).0, DROPPED), (session(2).0, DROPPED)]);
    story.uplink_by(session(2), 1, Code::PUT);
    assert_eq!(story.publications(), [(1, Publication::Forbidden)]);
}

/// How the sender of an uplink authenticated, also after a restart and a replacement.
#[test]
fn an_uplink_says_how_its_sender_authenticated() {
    for (claim, mode) in [
        (Claim::PskIdentity, "PreSharedKey"),
        (Claim::RawPublicKey, "RawPublicKey"),
        (Claim::Certificate, "Certificate"),
        (Claim::Address, "NoSec"),
    ] {
        let mut story = Story::new();
        story.changes(STAMP, |block| {
            block.raw_public_key = Some(crate::model::PublicKey(b"key".to_vec()));
            block.certificate_name = Some("CN=name".to_owned());
            unsecured(block);
        });
        assert_eq!(story.mode_of_uplink(1, session(9)), Value::Null, "nothing is known of it");
        story.session_down_of(session(9));
        story.session_up_with(1, |up| up.claim = claim as u8);
        assert_eq!(story.mode_of_uplink(2, session(1)), mode);
        let mut story = story.restarts();
        assert_eq!(story.mode_of_uplink(3, session(1)), mode);
        story.session_up(2);
        assert_eq!(story.mode_of_uplink(4, session(1)), mode, "its last words");
        assert_eq!(story.mode_of_uplink(5, session(2)), "PreSharedKey");
        let id = story.sends(QueueMode::Immediate, b"");
        story.responds(id, b"r");
        let json: Value = serde_json::from_slice(&story.publishes.last().unwrap().2).unwrap();
        assert_eq!(json["WirelessMetadata"]["CoAP"]["SecurityMode"], "PreSharedKey");
    }
}
