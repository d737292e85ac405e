//! A downlink for a device that has no session but listens: the edge opens one.

use tidegate_ring::contract::{Connect, ConnectFailed};

use super::*;
use crate::core::connect::{ATTEMPT_MAX_MS, FAILURES_MAX, REST_MIN_MS, REST_MS, UNDER_WAY_MAX};
use crate::model::{Failure, PublicKey, SecurityMode};

const NO_SESSION: MessageState = MessageState::Failed(Failure::NoSession);

impl Story {
    /// The device listens; worker 0 has said Hello.
    fn listening() -> Self {
        let mut story = Self::new();
        story.changes(STAMP, |block| block.endpoint = Some("192.0.2.9:5684".parse().unwrap()));
        story.turns();
        story
    }

    fn turns(&mut self) {
        self.waits_ms(0);
    }

    fn connects(&self) -> Vec<Connect> {
        let posts = self.posted(Kind::Connect);
        posts.iter().map(|post| *Connect::split(&post.bytes).unwrap().0).collect()
    }

    fn connect_fails(&mut self, attempt: u64) -> Seq {
        let failed = ConnectFailed { device: DEVICE.0, attempt: attempt.into() };
        let seq = self.entry(Kind::ConnectFailed, &[failed.as_bytes()]);
        self.turns();
        seq
    }

    /// The last attempt was in vain.
    fn fails_to_connect(&mut self) {
        let attempt = self.connects().last().unwrap().attempt.get();
        let seq = self.connect_fails(attempt);
        assert!(self.done.contains(&seq));
    }

    fn connected(&mut self, generation: u32) {
        self.session_up_with(generation, |up| up.connected = 1);
    }
}

#[test]
fn a_downlink_opens_a_session_and_goes_by_it() {
    for mode in [QueueMode::Immediate, QueueMode::Queued] {
        let mut story = Story::listening();
        let id = story.sends(mode, b"");
        story.turns();
        let posts = story.posted(Kind::Connect);
        assert_eq!(posts.len(), 1);
        let (connect, tail) = Connect::split(&posts[0].bytes).unwrap();
        assert_eq!((connect.device, connect.network), (DEVICE.0, 1));
        assert_eq!((connect.stamp.get(), connect.peer_port.get()), (STAMP, 5684));
        assert_eq!(connect.peer_ip[10..], [0xff, 0xff, 192, 0, 2, 9]);
        let (identity, key) = tail.split_at(connect.identity_len.get().into());
        assert_eq!((identity, key), (IDENTITY.as_bytes(), SECRET));
        assert!(!story.has_ended(id));
        story.connected(1);
        assert_eq!(story.handed_over(), [id]);
        story.outcome(id, Step::Delivered, true);
        assert_eq!(story.core.pending_ms(), None, "nothing of the attempt is left");
    }
}

/// However many messages wait: one attempt, and then they go in their order.
#[test]
fn one_attempt_serves_every_message() {
    let mut story = Story::listening();
    let ids: Vec<_> = (0..3).map(|_| story.sends(QueueMode::Queued, b"")).collect();
    story.turns();
    let now = story.sends(QueueMode::Immediate, b"");
    story.turns();
    assert_eq!(story.connects().len(), 1);
    story.connected(1);
    for id in [now].into_iter().chain(ids) {
        assert_eq!(story.handed_over().last(), Some(&id));
        story.outcome(id, Step::Delivered, true);
    }
}

/// No endpoint, no PSK, or a PSK that may not be used: as ever.
#[test]
fn who_does_not_listen_is_not_called() {
    let changes: [fn(&mut NetworkBlock); 3] = [
        |block| block.endpoint = None,
        |block| {
            block.identity = None;
            block.raw_public_key = Some(PublicKey(b"key".to_vec()));
        },
        |block| block.security_modes = Some(vec![SecurityMode::RawPublicKey]),
    ];
    for change in changes {
        let mut story = Story::listening();
        story.changes(STAMP, change);
        let (now, later) =
            (story.sends(QueueMode::Immediate, b""), story.sends(QueueMode::Queued, b""));
        story.turns();
        assert!(story.connects().is_empty());
        assert_eq!((story.state(now), story.state(later)), (NO_SESSION, MessageState::Queued));
    }
}

#[test]
fn with_a_session_or_without_a_worker_nobody_is_called() {
    let mut story = Story::listening();
    story.session_up(1);
    story.sends(QueueMode::Immediate, b"");
    story.turns();
    assert!(story.connects().is_empty());
    let mut story = Story::listening();
    story.core.on_detached(story.link);
    let id = story.sends(QueueMode::Immediate, b"");
    story.turns();
    assert_eq!(story.state(id), NO_SESSION);
}

/// QueueMode 0 is now or never; QueueMode 1 is tried again, later each time, and then no more.
#[test]
fn a_failed_attempt_fails_what_can_not_wait() {
    let mut story = Story::listening();
    let now = story.sends(QueueMode::Immediate, b"");
    let later = story.sends(QueueMode::Queued, b"");
    story.turns();
    story.fails_to_connect();
    assert_eq!((story.state(now), story.state(later)), (NO_SESSION, MessageState::Queued));
    for failures in 1..FAILURES_MAX {
        let rest_ms = REST_MS << (failures - 1);
        story.waits_ms(rest_ms - 1);
        assert_eq!(story.connects().len() as u32, failures);
        story.waits_ms(1);
        assert_eq!(story.connects().len() as u32, failures + 1);
        story.fails_to_connect();
    }
    story.waits_ms(REST_MS << FAILURES_MAX);
    story.waits_ms(3_600_000);
    assert_eq!(story.connects().len() as u32, FAILURES_MAX, "it is not there");
    assert_eq!(story.state(later), MessageState::Queued);
    story.sends(QueueMode::Queued, b"");
    story.turns();
    assert_eq!(story.connects().len() as u32, FAILURES_MAX + 1, "a new message is a new reason");
    story.connected(1);
    assert_eq!(story.handed_over(), [later], "the older goes first");
}

/// With nothing left to say, nobody is called again.
#[test]
fn a_failed_attempt_for_nothing_but_immediate_messages_is_the_last() {
    let mut story = Story::listening();
    story.sends(QueueMode::Immediate, b"");
    story.turns();
    story.fails_to_connect();
    story.waits_ms(REST_MS);
    assert_eq!((story.connects().len(), story.core.pending_ms()), (1, None));
}

/// A new message tries at once, but not in the first moments after a failure.
#[test]
fn a_new_message_need_not_wait_long() {
    let mut story = Story::listening();
    story.sends(QueueMode::Queued, b"");
    story.turns();
    story.fails_to_connect();
    story.waits_ms(REST_MIN_MS - 1);
    let too_soon = story.sends(QueueMode::Immediate, b"");
    story.turns();
    assert_eq!((story.state(too_soon), story.connects().len()), (NO_SESSION, 1));
    story.waits_ms(1);
    let id = story.sends(QueueMode::Immediate, b"");
    story.turns();
    assert_eq!(story.connects().len(), 2);
    story.connected(1);
    assert_eq!(story.handed_over(), [id]);
}

/// Old, foreign and half answers change nothing; each is finished.
#[test]
fn an_answer_to_another_attempt_is_ignored() {
    let mut story = Story::listening();
    let seq = story.connect_fails(0);
    assert!(story.done.contains(&seq));
    let id = story.sends(QueueMode::Immediate, b"");
    story.turns();
    let attempt = story.connects()[0].attempt.get();
    let seq = story.connect_fails(attempt.wrapping_add(1));
    assert!(story.done.contains(&seq));
    let seq = story.entry(Kind::ConnectFailed, &[&[7; 10]]);
    assert!(story.done.contains(&seq));
    assert!(!story.has_ended(id));
    story.connect_fails(attempt);
    assert_eq!(story.state(id), NO_SESSION);
    story.connect_fails(attempt);
}

/// An answer that never comes: lost with a worker, or just lost.
#[test]
fn an_attempt_nothing_is_heard_of_has_failed() {
    let mut story = Story::listening();
    let id = story.sends(QueueMode::Immediate, b"");
    story.turns();
    story.waits_ms(ATTEMPT_MAX_MS - 1);
    assert!(!story.has_ended(id));
    story.waits_ms(1);
    assert_eq!(story.state(id), NO_SESSION);

    let lose: [fn(&mut Story); 2] = [
        |story| {
            story.hello(99);
        },
        |story| story.core.on_detached(story.link),
    ];
    for lose in lose {
        let mut story = Story::listening();
        story.hello(1);
        let id = story.sends(QueueMode::Immediate, b"");
        story.turns();
        lose(&mut story);
        story.turns();
        assert_eq!(story.state(id), NO_SESSION);
    }
}

/// A restart forgets who was being called, not what waits.
#[test]
fn what_waits_is_called_for_after_a_restart() {
    let mut story = Story::listening();
    let id = story.sends(QueueMode::Queued, b"");
    story.turns();
    let mut story = story.restarts();
    story.turns();
    assert_eq!(story.connects().len(), 1);
    story.connected(1);
    assert_eq!(story.handed_over(), [id]);
}

#[test]
fn a_changed_device_is_called_anew_and_a_deleted_one_not_at_all() {
    let mut story = Story::listening();
    let id = story.sends(QueueMode::Immediate, b"");
    story.turns();
    story.changes(STAMP + 1, |block| block.endpoint = Some("[2001:db8::9]:7".parse().unwrap()));
    story.turns();
    let connects = story.connects();
    assert_eq!(connects.len(), 2);
    assert_eq!((connects[1].stamp.get(), connects[1].peer_port.get()), (STAMP + 1, 7));
    assert_ne!(connects[0].attempt, connects[1].attempt);
    story.session_up_with(1, |up| up.connected = 1);
    assert!(story.handed_over().is_empty(), "made with what was good before");
    story.session_up_with(2, |up| (up.connected, up.stamp) = (1, (STAMP + 1).into()));
    assert_eq!(story.handed_over(), [id]);

    let mut story = Story::listening();
    story.sends(QueueMode::Queued, b"");
    let mut tx = Transaction::new();
    tx.delete(Table::Devices, DEVICE.0);
    tx.delete(Table::Standings, DEVICE.0);
    story.store.submit(tx, Box::new(|_| ()));
    story.asks(Request::DeviceDeleted { device: DEVICE });
    story.turns();
    assert_eq!((story.connects().len(), story.core.pending_ms()), (0, None));
}

/// So many at a time; the others in their turn.
#[test]
fn attempts_are_bounded() {
    let mut story = Story::listening();
    for at in 0..=UNDER_WAY_MAX {
        let mut listener = device();
        listener.id = DeviceId([at as u8 + 100; 16]);
        let identity = format!("identity-of-a-listener-in-stories-{at}");
        let block = listener.cellular.as_mut().unwrap();
        block.endpoint = Some(std::net::SocketAddr::from(([192, 0, 2, 1], 1 + at as u16)));
        block.identity = Some(identity.clone());
        put_device(&story.store, None, &listener, STAMP);
        let sealed = Identity::seal(&vault(), &identity, (listener.id, Network::Cellular), SECRET);
        let mut tx = Transaction::new();
        tx.put(Table::Identities, identity.as_bytes(), sealed.encode());
        story.store.submit(tx, Box::new(|_| ()));
        let Request::Send { body, .. } = send(QueueMode::Queued, b"") else { unreachable!() };
        story.asks(Request::Send { device: listener.id, body });
    }
    story.turns();
    let connects = story.connects();
    assert_eq!(connects.len(), UNDER_WAY_MAX);
    let (device, attempt) = (connects[0].device, connects[0].attempt);
    let failed = ConnectFailed { device, attempt };
    story.entry(Kind::ConnectFailed, &[failed.as_bytes()]);
    story.turns();
    assert_eq!(story.connects().len(), UNDER_WAY_MAX + 1);
}
