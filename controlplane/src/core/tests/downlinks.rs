//! DESIGN section 8, the life of a downlink: QUEUED → SENT → DELIVERED → RESPONDED, or another end.

use serde_json::Value;

use super::*;
use crate::core::messages::OUTCOME_MAX_MS;
use crate::model::{Failure, ResourceType};

/// QueueMode 0 goes straight away, and lives its life.
#[test]
fn an_immediate_message_lives_its_life() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"on");
    assert_eq!(story.handed_over(), [id]);
    let posts = story.posted(Kind::Downlink);
    let (head, request) = contract::Downlink::split(&posts[0].bytes).unwrap();
    assert_eq!((head.session.get(), head.device), (session(1).0, DEVICE.0));
    let request = tidegate_coap::message::Message::parse(request).unwrap();
    assert_eq!((request.ty, request.code, request.payload), (Type::Con, Code::PUT, &b"on"[..]));
    assert_eq!(request.options.uri_path().flatten().collect::<Vec<_>>(), ["led"]);
    assert_eq!(story.state(id), MessageState::Queued);
    story.outcome(id, Step::Sent, false);
    assert_eq!(story.state(id), MessageState::Sent);
    story.outcome(id, Step::Delivered, false);
    assert_eq!((story.state(id), story.has_ended(id)), (MessageState::Delivered, false));
    story.responds(id, b"done");
    assert_eq!((story.state(id), story.has_ended(id)), (MessageState::Responded, true));
    assert_eq!(story.stored_keys(Table::Queue), 0);
}

/// The response comes back through the destination with the MessageId, and is not lost on the way.
#[test]
fn a_response_is_published_and_waits_for_its_broker() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"on");
    story.core.on_publisher(story.now(), false);
    let seq = story.responds(id, b"done");
    assert!(story.done.contains(&seq), "the ring does not wait for the broker");
    assert!(story.publishes.is_empty());
    let mut story = story.restarts();
    story.settles();
    let (publish, topic, json) = story.publishes[0].clone();
    assert_eq!(topic, TOPIC);
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["PayloadData"], "ZG9uZQ==");
    let coap = &json["WirelessMetadata"]["CoAP"];
    assert_eq!(coap["MessageId"], id.to_string());
    assert_eq!(coap["ResponseStatus"], "CONTENT(2.05)");
    story.core.on_published(story.now(), publish, PublishResult::Unavailable);
    story.settles();
    assert_eq!(story.stored_keys(Table::Outbox), 1, "kept until it is confirmed");
    story.waits_ms(5_000);
    story.confirms(1);
    assert_eq!(story.stored_keys(Table::Outbox), 0);
}

#[test]
fn without_a_session_an_immediate_message_has_failed() {
    let mut story = Story::new();
    let id = story.sends(QueueMode::Immediate, b"");
    assert_eq!(story.state(id), MessageState::Failed(Failure::NoSession));
    story.session_up(1);
    story.session_down(1);
    let id = story.sends(QueueMode::Immediate, b"");
    assert_eq!(story.state(id), MessageState::Failed(Failure::NoSession));
    assert!(story.handed_over().is_empty());
}

/// QueueMode 1 waits for the next uplink, or the next session.
#[test]
fn a_queued_message_waits_for_a_sign_of_life() {
    let mut story = Story::new();
    story.session_up(1);
    let first = story.sends(QueueMode::Queued, b"");
    assert!(story.handed_over().is_empty(), "the device may sleep");
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.handed_over(), [first]);
    story.outcome(first, Step::Delivered, true);
    let second = story.sends(QueueMode::Queued, b"");
    assert_eq!(story.handed_over(), [first]);
    story.session_up(2);
    assert_eq!(story.handed_over(), [first, second]);
}

/// In order, one at a time, the next one when the one before is acknowledged or has ended.
#[test]
fn queued_messages_keep_their_order() {
    let mut story = Story::new();
    let ids: Vec<_> = (0..3).map(|n| story.sends(QueueMode::Queued, &[n])).collect();
    story.session_up(1);
    assert_eq!(story.handed_over(), ids[..1]);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.handed_over(), ids[..1], "one at a time");
    story.responds(ids[0], b"");
    assert_eq!(story.handed_over(), ids[..2]);
    story.outcome(ids[1], Step::Delivered, true);
    assert_eq!(story.handed_over(), ids);
    story.outcome(ids[2], Step::Sent, true);
    assert!(ids.iter().all(|id| story.has_ended(*id)));
}

/// RFC 7252 section 4.7: what is acknowledged is not outstanding; its response may take its time.
#[test]
fn a_response_that_takes_its_time_holds_nothing_up() {
    let mut story = Story::new();
    let ids: Vec<_> = (0..2).map(|n| story.sends(QueueMode::Queued, &[n])).collect();
    story.session_up(1);
    story.outcome(ids[0], Step::Sent, false);
    assert_eq!(story.handed_over(), ids[..1]);
    story.outcome(ids[0], Step::Delivered, false);
    assert_eq!(story.handed_over(), ids);
    story.responds(ids[0], b"late");
    assert!(story.has_ended(ids[0]) && !story.has_ended(ids[1]));
}

#[test]
fn an_immediate_message_does_not_wait_for_queued_ones() {
    let mut story = Story::new();
    story.session_up(1);
    let queued = story.sends(QueueMode::Queued, b"");
    let first = story.sends(QueueMode::Immediate, b"");
    let second = story.sends(QueueMode::Immediate, b"");
    assert_eq!(story.handed_over(), [first], "and still one at a time");
    story.outcome(first, Step::Delivered, true);
    assert_eq!(story.handed_over(), [first, second]);
    story.uplink(1, Code::PUT, b"");
    story.outcome(second, Step::Delivered, true);
    assert_eq!(story.handed_over(), [first, second, queued]);
}

/// Nothing is sent, and nothing promised, before it is durable.
#[test]
fn a_message_is_accepted_when_it_is_durable() {
    let mut story = Story::new();
    story.session_up(1);
    story.syncs = false;
    assert!(story.asks(send(QueueMode::Immediate, b"")).is_none());
    assert!(story.asks(send(QueueMode::Queued, b"")).is_none());
    story.uplink(1, Code::PUT, b"");
    assert!(story.handed_over().is_empty());
    story.disk_syncs();
    assert_eq!(story.replies.len(), 2);
    assert_eq!(story.handed_over().len(), 1);
}

/// QueueMode 1 survives a restart of the control plane, in order.
#[test]
fn the_queue_survives_a_restart_of_the_control_plane() {
    let mut story = Story::new();
    let ids: Vec<_> = (0..2).map(|n| story.sends(QueueMode::Queued, &[n])).collect();
    let mut story = story.restarts();
    let late = story.sends(QueueMode::Queued, b"");
    story.session_up(1);
    assert_eq!(story.handed_over(), ids[..1]);
    story.outcome(ids[0], Step::Sent, false);
    // Under way while the control plane restarts: its outcome comes to the new one.
    let mut story = story.restarts();
    story.uplink(1, Code::PUT, b"");
    assert!(story.handed_over().is_empty(), "one is under way");
    story.outcome(ids[0], Step::Delivered, true);
    assert_eq!(story.handed_over(), ids[1..]);
    story.outcome(ids[1], Step::Delivered, true);
    assert_eq!(story.handed_over(), [ids[1], late]);
}

/// A restart of the dataplane: QueueMode 1 goes back to the head, QueueMode 0 has failed.
#[test]
fn what_a_restarted_worker_had_is_sent_again_or_has_failed() {
    let mut story = Story::new();
    story.hello(1);
    let first = story.sends(QueueMode::Queued, b"1");
    let second = story.sends(QueueMode::Queued, b"2");
    story.session_up(1);
    story.outcome(first, Step::Sent, false);
    story.hello(1);
    assert_eq!(story.state(first), MessageState::Sent, "the same life of the worker");
    story.hello(2);
    assert_eq!(story.state(first), MessageState::Queued);
    assert_eq!(story.handed_over(), [first]);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.handed_over(), [first, first]);
    story.outcome(first, Step::Delivered, true);
    assert_eq!(story.handed_over(), [first, first, second]);
    story.outcome(second, Step::Delivered, true);

    let now_or_never = story.sends(QueueMode::Immediate, b"");
    story.outcome(now_or_never, Step::Sent, false);
    story.hello(3);
    assert_eq!(story.state(now_or_never), MessageState::Failed(Failure::Restarted));
}

/// A worker says that it has sent what went back to the queue meanwhile, and then no more: it does
/// not keep those behind it waiting until it expires.
#[test]
fn what_is_sent_after_it_went_back_is_given_up_as_well() {
    let mut story = Story::new();
    story.hello(1);
    let first = story.sends(QueueMode::Queued, b"1");
    story.sends(QueueMode::Queued, b"2");
    story.session_up(1);
    story.hello(2);
    assert_eq!(story.state(first), MessageState::Queued);
    story.outcome(first, Step::Sent, false);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.handed_over(), [first], "it is under way");
    story.waits_ms(OUTCOME_MAX_MS);
    story.uplink(2, Code::PUT, b"");
    assert_eq!(story.handed_over(), [first, first]);
}

/// Both restart at once: what the store and the new Hello say is enough.
#[test]
fn both_planes_may_restart_at_once() {
    let mut story = Story::new();
    story.hello(1);
    let id = story.sends(QueueMode::Queued, b"");
    story.session_up(1);
    story.outcome(id, Step::Sent, false);
    let mut story = story.restarts();
    story.hello(2);
    assert_eq!(story.state(id), MessageState::Queued);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.handed_over(), [id]);
}

/// A message ends once: what is said after that finds nothing, and is not doubled.
#[test]
fn a_message_has_exactly_one_final_state() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"");
    story.responds(id, b"");
    assert_eq!(story.publishes.len(), 1);
    let before = story.stored(id);
    story.responds(id, b"");
    story.fails(id, FailReason::Timeout);
    story.outcome(id, Step::Sent, false);
    assert_eq!(story.stored(id), before);
    assert_eq!(story.publishes.len(), 1);
    assert_eq!(story.stored_keys(Table::History), 1);
}

#[test]
fn a_reset_ends_a_message_and_a_timeout_only_after_three_attempts() {
    let mut story = Story::new();
    story.session_up(1);
    let reset = story.sends(QueueMode::Queued, b"");
    story.uplink(1, Code::PUT, b"");
    story.fails(reset, FailReason::Reset);
    assert_eq!(story.state(reset), MessageState::Failed(Failure::Reset));

    let id = story.sends(QueueMode::Queued, b"");
    for attempt in 1..=3 {
        assert_eq!(story.state(id), MessageState::Queued, "attempt {attempt}");
        story.uplink(1, Code::PUT, b"");
        story.outcome(id, Step::Sent, false);
        story.fails(id, FailReason::Timeout);
    }
    assert_eq!(story.state(id), MessageState::Failed(Failure::Timeout));
    assert_eq!(story.handed_over(), [reset, id, id, id]);
}

/// The session was replaced under the message: it goes to the new one at once.
#[test]
fn a_queued_message_follows_the_device_to_its_new_session() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Queued, b"");
    story.uplink(1, Code::PUT, b"");
    story.session_up(2);
    assert_eq!(story.handed_over(), [id]);
    story.fails(id, FailReason::NoSession);
    assert_eq!(story.handed_over(), [id, id]);
    let posts = story.posted(Kind::Downlink);
    let last = contract::Downlink::split(&posts[1].bytes).unwrap().0;
    assert_eq!(last.session.get(), session(2).0);
}

/// DELIVERED means that the device has it: it is not sent again for want of a response.
#[test]
fn what_was_delivered_is_not_sent_again() {
    let mut story = Story::new();
    story.hello(1);
    for queue_mode in [QueueMode::Queued, QueueMode::Immediate] {
        story.session_up(1);
        let id = story.sends(queue_mode, b"");
        story.uplink(1, Code::PUT, b"");
        story.outcome(id, Step::Delivered, false);
        story.fails(id, FailReason::NoSession);
        assert_eq!((story.state(id), story.has_ended(id)), (MessageState::Delivered, true));
    }
    let id = story.sends(QueueMode::Queued, b"");
    story.uplink(1, Code::PUT, b"");
    story.outcome(id, Step::Delivered, false);
    story.hello(2);
    assert_eq!((story.state(id), story.has_ended(id)), (MessageState::Delivered, true));
    assert_eq!(story.handed_over().len(), 3);
}

/// A response that came and can't be had is a failure, though its request was delivered: who sent
/// that wants to know.
#[test]
fn a_response_that_can_t_be_had_fails_its_message() {
    let mut story = Story::new();
    story.session_up(1);
    for (reason, failure) in [
        (FailReason::TooLarge, Failure::TooLarge),
        (FailReason::Malformed, Failure::Malformed),
        (FailReason::Busy, Failure::Busy),
    ] {
        let id = story.sends(QueueMode::Immediate, b"");
        story.outcome(id, Step::Delivered, false);
        story.fails(id, reason);
        assert_eq!(story.state(id), MessageState::Failed(failure));
        assert!(story.stored(id).status.delivered_unix_ms.is_some());
    }
}

#[test]
fn a_busy_worker_gets_it_at_the_next_sign_of_life() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Queued, b"");
    story.uplink(1, Code::PUT, b"");
    story.fails(id, FailReason::Busy);
    assert_eq!(story.handed_over(), [id], "not in a loop");
    story.uplink(2, Code::PUT, b"");
    assert_eq!(story.handed_over(), [id, id]);
    let now_or_never = story.sends(QueueMode::Immediate, b"");
    story.outcome(id, Step::Delivered, true);
    story.fails(now_or_never, FailReason::Busy);
    assert_eq!(story.state(now_or_never), MessageState::Failed(Failure::Busy));
}

#[test]
fn what_waits_can_be_deleted_and_what_is_under_way_can_not() {
    let mut story = Story::new();
    story.session_up(1);
    let ids: Vec<_> = (0..4).map(|n| story.sends(QueueMode::Queued, &[n])).collect();
    story.uplink(1, Code::PUT, b"");
    let delete = |message| Request::Delete { device: DEVICE, message };
    let refused = story.asks(delete(Some(ids[0]))).unwrap().unwrap_err();
    assert!(matches!(refused, Refused::Conflict { resource_type: ResourceType::Message, .. }));
    assert!(matches!(story.asks(delete(Some(ids[2]))), Some(Ok(Reply::Done))));
    assert_eq!(story.state(ids[2]), MessageState::Deleted);
    assert!(matches!(story.asks(delete(Some(ids[2]))), Some(Err(Refused::NotFound { .. }))));
    assert!(matches!(story.asks(delete(None)), Some(Ok(Reply::Done))));
    assert_eq!(
        (story.state(ids[1]), story.state(ids[3])),
        (MessageState::Deleted, MessageState::Deleted)
    );
    assert!(!story.has_ended(ids[0]));
    story.outcome(ids[0], Step::Delivered, true);
    assert_eq!(story.handed_over(), ids[..1]);
    assert!(matches!(story.asks(delete(None)), Some(Ok(Reply::Done))), "nothing to delete is fine");
}

#[test]
fn a_queue_has_its_depth() {
    let limits = Limits { queue_messages_per_device_max: 2, ..Limits::default() };
    let mut story = Story::with_limits(limits);
    let first = story.sends(QueueMode::Queued, b"");
    story.sends(QueueMode::Queued, b"");
    let refused = story.asks(send(QueueMode::Queued, b"")).unwrap().unwrap_err();
    assert!(matches!(refused, Refused::Throttled { .. }));
    story.asks(Request::Delete { device: DEVICE, message: Some(first) });
    story.sends(QueueMode::Queued, b"");
}

/// EXPIRED at its age, also when the control plane was away meanwhile.
#[test]
fn a_message_expires_in_the_queue() {
    let mut story = Story::new();
    let id = story.sends(QueueMode::Queued, b"");
    story.waits_ms(story.limits.queue_ttl_ms - 1);
    assert_eq!(story.state(id), MessageState::Queued);
    let mut story = story.restarts();
    story.waits_ms(0);
    // The restarted core counts from its own start, and the age from the store.
    assert_eq!(story.core.pending_ms(), Some(story.limits.queue_ttl_ms));
    story.waits_ms(story.limits.queue_ttl_ms);
    assert_eq!(story.state(id), MessageState::Expired);
    assert_eq!(story.core.pending_ms(), None);
}

/// Nothing heard of it any more: no message stays open for ever.
#[test]
fn a_lost_outcome_is_given_up() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"");
    story.waits_ms(OUTCOME_MAX_MS - 1);
    assert!(!story.has_ended(id));
    story.waits_ms(1);
    assert_eq!(story.state(id), MessageState::Failed(Failure::Timeout));
    let queued = story.sends(QueueMode::Queued, b"");
    story.uplink(1, Code::PUT, b"");
    story.waits_ms(OUTCOME_MAX_MS);
    assert_eq!(story.state(queued), MessageState::Queued, "QueueMode 1 is tried again");
    story.uplink(2, Code::PUT, b"");
    assert_eq!(story.handed_over(), [id, queued, queued]);
}

#[test]
fn a_deleted_device_takes_its_messages_along() {
    let mut story = Story::new();
    story.session_up(1);
    let under_way = story.sends(QueueMode::Immediate, b"");
    let queued = story.sends(QueueMode::Queued, b"");
    story.asks(Request::DeviceDeleted { device: DEVICE });
    assert_eq!(story.state(under_way), MessageState::Deleted);
    assert_eq!(story.state(queued), MessageState::Deleted);
    assert_eq!(story.posted(Kind::Cancel).len(), 1);
    assert_eq!(story.posted(Kind::SessionEnd).len(), 1);
    assert_eq!(story.stored_keys(Table::Queue), 0);
    assert_eq!(story.stored_keys(Table::Sessions), 0);
}

#[test]
fn nobody_sends_to_a_device_that_is_not_there() {
    let mut story = Story::new();
    let Request::Send { body, .. } = send(QueueMode::Queued, b"") else { unreachable!() };
    let refused = story.asks(Request::Send { device: DeviceId([8; 16]), body });
    assert!(matches!(refused, Some(Err(Refused::NotFound { .. }))));
}
