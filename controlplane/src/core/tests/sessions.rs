//! Who may shake hands, and where a device is.

use tidegate_ring::contract::{
    Claim, Credential, CredentialWanted, EndReason, SessionEnd, Verdict,
};

use super::*;
use crate::store::StoreError;

impl Story {
    fn wants_credential(&mut self, identity: &str) -> (Credential, Vec<u8>) {
        let wanted = CredentialWanted { request: 5.into(), claim: Claim::PskIdentity as u8 };
        let seq = self.entry(Kind::CredentialWanted, &[wanted.as_bytes(), identity.as_bytes()]);
        let post = self.posts.last().unwrap();
        assert_eq!((post.kind, post.finishes), (Kind::Credential, Some(seq)));
        let (credential, key) = Credential::split(&post.bytes).unwrap();
        assert_eq!(credential.request.get(), 5);
        (*credential, key.to_vec())
    }

    fn ended_sessions(&self) -> Vec<(u64, u8)> {
        let ends = self.posted(Kind::SessionEnd).into_iter();
        let ends = ends.map(|post| SessionEnd::split(&post.bytes).unwrap().0);
        ends.map(|end| (end.session.get(), end.reason)).collect()
    }
}

#[test]
fn a_known_identity_gets_its_key() {
    let mut story = Story::new();
    let (credential, key) = story.wants_credential(IDENTITY);
    assert_eq!(credential.verdict, Verdict::Known as u8);
    assert_eq!((credential.device, credential.network), (DEVICE.0, 1));
    assert_eq!(key, SECRET);
}

#[test]
fn an_unknown_identity_gets_none() {
    let mut story = Story::new();
    for identity in ["nobody", ""] {
        let (credential, key) = story.wants_credential(identity);
        assert_eq!(credential.verdict, Verdict::Unknown as u8);
        assert_eq!((credential.device, key), ([0; 16], Vec::new()));
    }
}

/// A sealed secret that does not open is the store's fault, not the device's.
#[test]
fn a_damaged_credential_is_unavailable() {
    let mut story = Story::new();
    let mut tx = Transaction::new();
    tx.put(Table::Identities, IDENTITY, [7; 60]);
    story.store.submit(tx, Box::new(|_| ()));
    let (credential, key) = story.wants_credential(IDENTITY);
    assert_eq!((credential.verdict, key), (Verdict::Unavailable as u8, Vec::new()));
}

/// Credentials do not wait for a broker.
#[test]
fn credentials_are_answered_while_publishing_is_stuck() {
    let mut story = Story::new();
    for exchange in 0..10 {
        story.uplink(exchange, Code::PUT, b"");
    }
    assert_eq!(story.wants_credential(IDENTITY).0.verdict, Verdict::Known as u8);
    assert!(story.publications().is_empty());
}

#[test]
fn a_changed_secret_ends_the_session() {
    let mut story = Story::new();
    story.session_up(1);
    story.asks(Request::DeviceChanged { device: DEVICE, credentials: false });
    assert!(story.ended_sessions().is_empty());
    story.asks(Request::DeviceChanged { device: DEVICE, credentials: true });
    assert_eq!(story.posted(Kind::CredentialDropped).len(), 1);
    let dropped = EndReason::CredentialDropped as u8;
    assert_eq!(story.ended_sessions(), [(session(1).0, dropped)]);
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
    let dropped = EndReason::CredentialDropped as u8;
    assert_eq!(story.ended_sessions(), [(session(1).0, dropped)]);
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
    tx.delete(Table::Identities, IDENTITY);
    story.store.submit(tx, Box::new(|_| ()));
    story.session_up(1);
    let dropped = EndReason::CredentialDropped as u8;
    assert_eq!(story.ended_sessions(), [(session(1).0, dropped)]);
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
