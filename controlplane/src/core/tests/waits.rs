//! When a device listens, and what is said of the messages that wait for it.

use super::*;
use crate::model::{ProfileTerms, Wait};

impl Story {
    /// What each open message waits for, in the order in which they go.
    fn reasons(&mut self) -> Vec<(MessageId, Wait)> {
        match self.asks(Request::Waits { device: DEVICE }) {
            Some(Ok(Reply::Waits(waits))) => waits,
            other => panic!("{other:?}"),
        }
    }

    fn listens_for_s(&mut self, listening_s: u32) {
        let listening_s = Some(listening_s);
        self.profile_says(ProfileTerms { listening_s, ..ProfileTerms::default() });
    }
}

#[test]
fn every_message_says_why_it_waits() {
    let mut story = Story::new();
    let first = story.sends(QueueMode::Queued, b"");
    let second = story.sends(QueueMode::Queued, b"");
    let behind = (second, Wait::BehindAnother);
    assert_eq!(story.reasons(), [(first, Wait::NoSession), behind]);
    // Its session hands the first one over; it has not left yet.
    story.session_up(1);
    assert_eq!(story.reasons(), [(first, Wait::HandedOver), (second, Wait::Nstart)]);
    story.outcome(first, Step::Sent, false);
    assert_eq!(story.reasons(), [(second, Wait::Nstart)]);
    let third = story.sends(QueueMode::Queued, b"");
    let urgent = story.sends(QueueMode::Immediate, b"");
    let (third, urgent) = ((third, Wait::BehindAnother), (urgent, Wait::Nstart));
    assert_eq!(story.reasons(), [(second, Wait::Nstart), third, urgent]);
    // No answer: nothing more before the device shows itself.
    story.fails(first, FailReason::Timeout);
    let waits = story.reasons();
    assert_eq!(waits[0], (first, Wait::Nstart), "the one that can't wait went");
    story.outcome(urgent.0, Step::Delivered, true);
    let waits = story.reasons();
    assert_eq!(waits[..2], [(first, Wait::Asleep), (second, Wait::BehindAnother)]);
    story.session_down(1);
    assert_eq!(story.reasons()[0], (first, Wait::NoSession));
}

/// In the window what comes goes at once, and behind it nothing does; the next sign of life opens
/// it again, and so does an acknowledgement.
#[test]
fn queued_messages_go_while_the_device_listens() {
    let mut story = Story::new();
    story.listens_for_s(10);
    story.session_up(1);
    story.waits_ms(9_999);
    let first = story.sends(QueueMode::Queued, b"");
    assert_eq!(story.handed_over(), [first], "the device still listens");
    story.outcome(first, Step::Delivered, true);
    story.waits_ms(9_999);
    let second = story.sends(QueueMode::Queued, b"");
    assert_eq!(story.handed_over(), [first, second], "it was heard again");
    let third = story.sends(QueueMode::Queued, b"");
    story.waits_ms(10_000);
    story.fails(second, FailReason::Timeout);
    let behind = (third, Wait::BehindAnother);
    assert_eq!(story.reasons(), [(second, Wait::WindowClosed), behind]);
    let urgent = story.sends(QueueMode::Immediate, b"");
    assert_eq!(story.handed_over().last(), Some(&urgent), "now or never");
    story.fails(urgent, FailReason::Timeout);
    assert_eq!(story.handed_over().len(), 3);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.handed_over()[3..], [second]);
}

/// A control: at the end of the window, and without one.
#[test]
fn a_window_ends_and_without_one_a_message_waits_for_the_next_sign_of_life() {
    for (listening_s, after_ms, goes) in
        [(10, 9_999, true), (10, 10_000, false), (0, 1, false), (86_400, 86_399_999, true)]
    {
        let mut story = Story::new();
        story.listens_for_s(listening_s);
        story.session_up(1);
        story.waits_ms(after_ms);
        let id = story.sends(QueueMode::Queued, b"");
        assert_eq!(!story.handed_over().is_empty(), goes, "{listening_s} s, {after_ms} ms");
        story.uplink(1, Code::PUT, b"");
        assert_eq!(story.handed_over(), [id]);
    }
}

/// Several messages in one window: what is acknowledged after its end keeps it open, what is not
/// leaves the rest to wait.
#[test]
fn a_window_that_ends_leaves_the_rest_of_the_queue() {
    let mut story = Story::new();
    story.listens_for_s(10);
    let ids: Vec<_> = (0..3).map(|_| story.sends(QueueMode::Queued, b"")).collect();
    story.session_up(1);
    story.waits_ms(20_000);
    story.outcome(ids[0], Step::Delivered, true);
    assert_eq!(story.handed_over(), ids[..2], "it listens: it has acknowledged");
    story.waits_ms(20_000);
    story.fails(ids[1], FailReason::Reset);
    assert_eq!(story.handed_over(), ids[..2]);
    assert_eq!(story.reasons(), [(ids[2], Wait::WindowClosed)]);
}
