//! What a device's application profile says counts, over what the edge does by itself.

use super::*;
use crate::model::{ApplicationProfile, ProfileId, ProfileTerms, TTL_S_MAX};

const PROFILE: ProfileId = ProfileId([3; 16]);

impl Story {
    /// The device refers to a profile that says this; the API says so.
    pub(super) fn profile_says(&mut self, terms: ProfileTerms) {
        let tags = Vec::new();
        let profile =
            ApplicationProfile { id: PROFILE, name: None, terms, tags, created_unix_ms: 1 };
        let device = Device { application_profile: Some(PROFILE), ..device() };
        let mut tx = Transaction::new();
        tx.put(Table::Profiles, PROFILE.0, records::encode(&profile));
        tx.put(Table::Devices, DEVICE.0, records::encode(&device));
        self.store.submit(tx, Box::new(|_| ()));
        self.asks(Request::DeviceChanged { device: DEVICE, credentials: false });
        self.asks(Request::TermsChanged);
    }

    fn sends_at(&mut self, priority: Priority, ttl_s: Option<u32>) -> MessageId {
        let Request::Send { device, body: Body::Request(request) } = send(QueueMode::Queued, b"on")
        else {
            panic!("a request")
        };
        let body = Body::Request(DownlinkRequest { priority, ttl_s, ..request });
        match self.asks(Request::Send { device, body }) {
            Some(Ok(Reply::Accepted(id))) => id,
            other => panic!("not accepted: {other:?}"),
        }
    }
}

#[test]
fn nstart_messages_are_outstanding_at_a_time() {
    let mut story = Story::new();
    story.profile_says(ProfileTerms { nstart: Some(2), ..ProfileTerms::default() });
    let ids: Vec<_> = (0..3).map(|_| story.sends(QueueMode::Queued, b"on")).collect();
    story.session_up(1);
    assert_eq!(story.handed_over(), ids[..2]);
    story.outcome(ids[0], Step::Delivered, false);
    assert_eq!(story.handed_over(), ids);
}

#[test]
fn the_terms_cross_with_each_downlink_and_each_response() {
    let mut story = Story::new();
    story.session_up(1);
    let first = story.sends(QueueMode::Immediate, b"on");
    story.outcome(first, Step::Delivered, false);
    story.profile_says(ProfileTerms {
        ack_timeout_ms: Some(5_000),
        ack_random_percent: Some(130),
        max_retransmit: Some(0),
        response_timeout_ms: Some(7_000),
        ..ProfileTerms::default()
    });
    story.sends(QueueMode::Immediate, b"on");
    story.uplink(1, Code::GET, b"");
    story.confirms(0);
    let token = story.token(0);
    story.answers(&token).unwrap();
    let said = |terms: contract::Terms| {
        let retransmits = terms.max_retransmit_plus_1;
        let (timeout_ms, response_ms) = (terms.ack_timeout_ms, terms.response_timeout_ms);
        (timeout_ms.get(), terms.ack_random_percent.get(), retransmits, response_ms.get())
    };
    let terms = story
        .posted(Kind::Downlink)
        .into_iter()
        .map(|post| said(contract::Downlink::split(&post.bytes).unwrap().0.terms));
    let told = (5_000, 130, 1, 7_000);
    assert_eq!(terms.collect::<Vec<_>>(), [(0, 0, 0, 0), told]);
    let published = story.posted(Kind::Published)[0];
    assert_eq!(said(contract::Published::split(&published.bytes).unwrap().0.terms), told);
    let answer = story.posted(Kind::Answer)[0];
    assert_eq!(said(contract::Answer::split(&answer.bytes).unwrap().0.terms), told);
}

#[test]
fn the_queue_has_the_depth_and_the_time_of_the_profile() {
    let mut story = Story::new();
    story.profile_says(ProfileTerms {
        queue_depth: Some(2),
        queue_ttl_s: Some(10),
        ..ProfileTerms::default()
    });
    let first = story.sends(QueueMode::Queued, b"1");
    story.waits_ms(1);
    let second = story.sends(QueueMode::Queued, b"2");
    let third = story.asks(send(QueueMode::Queued, b"3"));
    assert!(matches!(third, Some(Err(Refused::Throttled { .. }))), "{third:?}");
    story.waits_ms(9_999);
    assert_eq!(story.state(first), MessageState::Expired);
    assert_eq!(story.state(second), MessageState::Queued);
    story.waits_ms(1);
    assert_eq!(story.state(second), MessageState::Expired);
}

/// Also after a restart.
#[test]
fn a_message_of_its_own_time_expires_then() {
    let mut story = Story::new();
    let short = story.sends_at(Priority::Normal, Some(5));
    let long = story.sends_at(Priority::Normal, Some(TTL_S_MAX));
    let mut story = story.restarts();
    story.waits_ms(4_999);
    assert_eq!(story.state(short), MessageState::Queued);
    story.waits_ms(1);
    assert_eq!(story.state(short), MessageState::Expired);
    story.waits_ms(story.limits.queue_ttl_ms);
    assert_eq!(story.state(long), MessageState::Queued);
}

/// Four levels; those of one in the order of their acceptance.
#[test]
fn what_is_urgent_goes_first() {
    let mut story = Story::new();
    let levels = [Priority::Low, Priority::Normal, Priority::High, Priority::Urgent];
    let mut ids: Vec<_> = levels.map(|level| story.sends_at(level, None)).into();
    ids.push(story.sends_at(Priority::Urgent, None));
    let mut story = story.restarts();
    story.session_up(1);
    for _ in 0..5 {
        let id = *story.handed_over().last().unwrap();
        story.outcome(id, Step::Delivered, true);
    }
    assert_eq!(story.handed_over(), [ids[3], ids[4], ids[2], ids[1], ids[0]]);
}

#[test]
fn payloads_are_as_long_as_the_profile_allows() {
    let mut story = Story::new();
    story.profile_says(ProfileTerms {
        uplink_payload_bytes: Some(3),
        downlink_payload_bytes: Some(2),
        ..ProfileTerms::default()
    });
    story.session_up(1);
    story.sends(QueueMode::Immediate, b"12");
    let refused = story.asks(send(QueueMode::Immediate, b"123"));
    assert!(matches!(refused, Some(Err(Refused::Validation { .. }))), "{refused:?}");
    story.uplink(8, Code::PUT, b"123");
    story.uplink(9, Code::PUT, b"1234");
    assert_eq!(story.publishes.len(), 1);
    assert_eq!(story.publications(), [(9, Publication::TooLarge)]);
}

#[test]
fn a_request_that_awaits_an_answer_has_the_profile_s_windows() {
    let mut story = Story::new();
    story.session_up(1);
    story.uplink(1, Code::POST, b"a");
    story.confirms(0);
    story.profile_says(ProfileTerms {
        piggyback_window_ms: Some(0),
        response_timeout_ms: Some(9_000),
        ..ProfileTerms::default()
    });
    story.uplink(2, Code::POST, b"b");
    story.confirms(1);
    let windows = story.posted(Kind::Published).into_iter().map(|post| {
        let published = contract::Published::split(&post.bytes).unwrap().0;
        (published.piggyback_window_ms.get(), published.terms.response_timeout_ms.get())
    });
    assert_eq!(windows.collect::<Vec<_>>(), [(contract::OWN_WINDOW, 0), (0, 9_000)]);
}
