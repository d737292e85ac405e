//! A request for a device: its turn, its retransmissions, its one life (design section 8).

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Type, Writer, empty};
use tidegate_ring::contract::{self as wire, FailReason, Kind, Step};
use tidegate_tests::story::{Story, Who, device_id, request, seen};
use zerocopy::IntoBytes;

/// Sent, acknowledged, answered separately: each step is told once, the last is final.
#[test]
fn a_downlink_has_one_life() {
    let mut story = Story::new(1);
    let device = story.connected(1, Some(b""));
    sends(&mut story, 1, Type::Con, b"on");
    let received = story.hears(device).expect("the request");
    let received = Message::parse(&received).expect("a message");
    assert_eq!((received.ty, received.code, received.payload), (Type::Con, Code::PUT, &b"on"[..]));
    assert_eq!(told(&story), [(1, Step::Sent, false)]);

    story.sends(device, &empty(Type::Ack, received.mid));
    assert_eq!(told(&story)[1..], [(1, Step::Delivered, false)]);

    let response = respond(&received, Type::Con, 77, b"ok");
    story.sends(device, &response);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 77)));
    assert_eq!(told(&story)[2..], [(1, Step::Responded, true)]);
    assert_eq!(story.outcomes[2].1, response);

    // The device did not hear our ACK: the copy is acknowledged again, the outcome not told again.
    story.sends(device, &response);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 77)));
    assert_eq!(story.outcomes.len(), 3);
}

/// A piggybacked response is acknowledgement and response at once.
#[test]
fn a_piggybacked_response_delivers_and_responds() {
    let mut story = Story::new(2);
    let device = story.connected(1, Some(b""));
    sends(&mut story, 1, Type::Con, b"on");
    answers(&mut story, device, Type::Ack);
    let expected =
        [(1, Step::Sent, false), (1, Step::Delivered, false), (1, Step::Responded, true)];
    assert_eq!(told(&story), expected);
}

/// RFC 7252 section 4.7: NSTART is 1; the second waits until the first is acknowledged.
#[test]
fn downlinks_go_one_after_the_other_in_order() {
    let mut story = Story::new(3);
    let device = story.connected(1, Some(b""));
    for number in 1..=3 {
        sends(&mut story, number, Type::Con, &[number]);
    }
    for number in 1..=3 {
        let received = story.hears(device).expect("its turn");
        let received = Message::parse(&received).expect("a message");
        assert_eq!(received.payload, [number]);
        assert_eq!(story.hears(device), None, "one at a time");
        story.sends(device, &empty(Type::Ack, received.mid));
    }
}

/// RFC 7252 section 4.2: sent again with doubling time-outs, then given up, once and finally.
#[test]
fn a_downlink_nobody_acknowledges_fails_after_max_retransmit() {
    let mut story = Story::new(4);
    let device = story.connected(1, Some(b""));
    let began_ms = story.now.ms;
    sends(&mut story, 1, Type::Con, b"on");
    let first = story.hears(device).expect("the request");
    for (earliest_ms, latest_ms) in
        [(2_000, 3_000), (6_000, 9_000), (14_000, 21_000), (30_000, 45_000)]
    {
        while story.now.ms - began_ms < earliest_ms {
            assert_eq!(story.hears(device), None);
            story.waits_ms(earliest_ms - (story.now.ms - began_ms));
        }
        story.waits_ms(latest_ms - (story.now.ms - began_ms));
        assert_eq!(
            story.hears(device).as_ref(),
            Some(&first),
            "between {earliest_ms} and {latest_ms}"
        );
    }
    story.waits_ms(93_000 - 45_000);
    assert_eq!(story.hears(device), None);
    assert_eq!(told(&story), [(1, Step::Sent, false), (1, Step::Failed, true)]);
    assert_eq!(story.outcomes[1].0.reason, FailReason::Timeout as u8);
}

/// What the device's application profile says counts, not the worker's own values.
#[test]
fn the_terms_of_a_downlink_say_how_many_how_often_and_how_long() {
    let mut story = Story::new(8);
    let device = story.connected(1, Some(b""));
    let terms = wire::Terms {
        ack_timeout_ms: 10_000.into(),
        response_timeout_ms: 5_000.into(),
        ack_random_percent: 100.into(),
        max_retransmit_plus_1: 2,
        nstart: 2,
    };
    let sends = |story: &mut Story, number, payload: &[u8]| {
        let downlink = wire::Downlink { terms, ..downlink(story, number) };
        let message = request(Type::Con, Code::PUT, 0, "/d", payload);
        story.tells(Kind::Downlink, downlink.as_bytes(), &message);
    };
    for number in 1..=3 {
        sends(&mut story, number, &[number]);
    }
    let [one, two] = [story.hears(device), story.hears(device)].map(|heard| heard.expect("NSTART"));
    assert_eq!(story.hears(device), None, "NSTART is 2");
    let mid = Message::parse(&one).expect("a message").mid;
    story.sends(device, &empty(Type::Ack, mid));
    let third = story.hears(device).expect("there is room for one");
    story.waits_ms(5_000);
    assert_eq!(
        told(&story)[3..],
        [(1, Step::Delivered, false), (3, Step::Sent, false), (1, Step::Delivered, true)][1..],
        "no response in time"
    );
    assert_eq!(story.hears(device), None, "ACK_TIMEOUT is 10 s");
    story.waits_ms(5_000);
    let again = [story.hears(device), story.hears(device)];
    assert!(again.contains(&Some(two)) && again.contains(&Some(third)));
    story.waits_ms(20_000);
    assert_eq!(story.hears(device), None, "MAX_RETRANSMIT is 1");
    let failed = told(&story).iter().filter(|(_, step, _)| *step == Step::Failed).count();
    assert_eq!(failed, 2);
}

/// The next of the line starts when the one before it failed, too.
#[test]
fn a_reset_fails_one_and_starts_the_next() {
    let mut story = Story::new(5);
    let device = story.connected(1, Some(b""));
    sends(&mut story, 1, Type::Con, b"1");
    sends(&mut story, 2, Type::Con, b"2");
    let received = story.hears(device).expect("the first");
    let mid = Message::parse(&received).expect("a message").mid;
    story.sends(device, &empty(Type::Rst, mid));
    assert_eq!(story.outcomes[1].0.reason, FailReason::Reset as u8);
    let second = story.hears(device).expect("the second");
    assert_eq!(Message::parse(&second).expect("a message").payload, b"2");
}

/// NON: sent once; a response may come; silence is no failure.
#[test]
fn a_non_confirmable_downlink_is_sent_once() {
    let mut story = Story::new(6);
    let device = story.connected(1, Some(b""));
    sends(&mut story, 1, Type::Non, b"on");
    assert!(story.hears(device).is_some());
    story.waits_ms(60_000);
    assert_eq!(story.hears(device), None);
    assert_eq!(told(&story), [(1, Step::Sent, false), (1, Step::Sent, true)]);
}

#[test]
fn a_downlink_without_its_session_fails_at_once() {
    let mut story = Story::new(7);
    story.connected(1, Some(b""));
    let stale = wire::Downlink {
        message_id: [1; 16],
        device: device_id(1),
        session: (story.last_session().session.get() ^ 1).into(),
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    };
    let request = request(Type::Con, Code::PUT, 0, "/d", b"on");
    story.tells(Kind::Downlink, stale.as_bytes(), &request);
    let other =
        wire::Downlink { device: device_id(2), session: story.last_session().session, ..stale };
    story.tells(Kind::Downlink, other.as_bytes(), &request);
    assert_eq!(told(&story), [(1, Step::Failed, true), (1, Step::Failed, true)]);
    assert!(story.outcomes.iter().all(|(o, _)| o.reason == FailReason::NoSession as u8));
}

/// A line has a bound, and what does not fit a message is refused.
#[test]
fn a_full_line_and_a_malformed_message_are_refused() {
    let mut story = Story::new(8);
    story.connected(1, Some(b""));
    for number in 0..18 {
        sends(&mut story, number, Type::Con, b"x");
    }
    let refused = story.outcomes.last().expect("an outcome").0;
    assert_eq!((refused.message_id[0], refused.reason), (17, FailReason::Busy as u8));
    let downlink = downlink(&story, 99);
    story.tells(Kind::Downlink, downlink.as_bytes(), b"no message");
    let refused = story.outcomes.last().expect("an outcome").0;
    assert_eq!((refused.message_id[0], refused.reason), (99, FailReason::Malformed as u8));
}

/// One that waits can be taken back; one that left takes its course.
#[test]
fn a_cancelled_downlink_never_leaves() {
    let mut story = Story::new(9);
    let device = story.connected(1, Some(b""));
    sends(&mut story, 1, Type::Con, b"1");
    sends(&mut story, 2, Type::Con, b"2");
    let session = story.last_session().session;
    for number in [1, 2] {
        let cancel = wire::Cancel { message_id: [number; 16], device: device_id(1), session };
        story.tells(Kind::Cancel, cancel.as_bytes(), &[]);
    }
    assert_eq!(told(&story)[1..], [(2, Step::Failed, true)]);
    answers(&mut story, device, Type::Ack);
    assert_eq!(story.hears(device), None);
    assert_eq!(told(&story).last(), Some(&(1, Step::Responded, true)));
}

/// When the session ends, what was in its line has failed.
#[test]
fn the_end_of_a_session_is_the_end_of_its_line() {
    let mut story = Story::new(10);
    story.connected(1, Some(b""));
    sends(&mut story, 1, Type::Con, b"1");
    sends(&mut story, 2, Type::Con, b"2");
    let end = wire::SessionEnd {
        device: device_id(1),
        session: story.last_session().session,
        reason: wire::EndReason::CredentialDropped as u8,
    };
    story.tells(Kind::SessionEnd, end.as_bytes(), &[]);
    let failed = [(1, Step::Failed, true), (2, Step::Failed, true)];
    assert_eq!(told(&story)[1..], failed);
    assert_eq!(story.worker().slab().live(), 0);
    story.waits_ms(100_000);
    assert_eq!(story.outcomes.len(), 3, "one final outcome each");
}

/// A response nobody waits for: RST for a CON, silence for a NON (RFC 7252 section 5.3.2).
#[test]
fn a_stray_response_is_reset() {
    let mut story = Story::new(11);
    let device = story.connected(1, Some(b""));
    story.sends(device, &[0x41, 0x45, 0, 9, 0xaa]);
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 9)));
    story.sends(device, &[0x51, 0x45, 0, 10, 0xaa]);
    assert_eq!(story.hears(device), None);
}

fn downlink(story: &Story, number: u8) -> wire::Downlink {
    let session = story.last_session().session;
    wire::Downlink {
        message_id: [number; 16],
        device: device_id(1),
        session,
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    }
}

fn sends(story: &mut Story, number: u8, ty: Type, payload: &[u8]) {
    let downlink = downlink(story, number);
    story.tells(Kind::Downlink, downlink.as_bytes(), &request(ty, Code::PUT, 0, "/d", payload));
}

/// The device answers the request it heard last, piggybacked.
fn answers(story: &mut Story, device: Who, ty: Type) {
    let received = story.hears(device).expect("a request");
    let received = Message::parse(&received).expect("a message");
    let response = respond(&received, ty, received.mid, b"ok");
    story.sends(device, &response);
}

fn respond(to: &Message<'_>, ty: Type, mid: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let mut writer = Writer::new(&mut bytes, ty, Code::CHANGED, mid, &to.token);
    let length = writer.payload(payload).finish().expect("it fits");
    bytes.truncate(length);
    bytes
}

/// Which message took which step, and whether that was the last.
fn told(story: &Story) -> Vec<(u8, Step, bool)> {
    let step = |step| Step::from_wire(step).expect("a step");
    let told = story.outcomes.iter();
    told.map(|(o, _)| (o.message_id[0], step(o.step), o.is_final == 1)).collect()
}
