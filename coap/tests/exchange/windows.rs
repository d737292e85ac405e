//! RFC 7252 section 4.8: the instants of retransmissions, of giving up, of forgetting.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_coap::{inbound, outbound};

use crate::story::{Fate, Outcome, PAYLOAD, Story};

const FIRST_EVER: &str = "0     -> CON 0.01 7d34 0x20 lost";

#[test]
fn unanswered_request_at_the_low_end_of_the_jitter() {
    let mut story = Story::new();
    story.script.extend([Fate::Lose; 5]);
    story.device_requests(Type::Con, Code::GET, &[0x20]);
    story.exchange_until(61_999);
    story.reads(&format!(
        "{FIRST_EVER}
         2000  -> CON 0.01 7d34 0x20 lost
         6000  -> CON 0.01 7d34 0x20 lost
         14000 -> CON 0.01 7d34 0x20 lost
         30000 -> CON 0.01 7d34 0x20 lost"
    ));
    assert_eq!(story.device.outcomes, []);
    story.exchange_until(62_000);
    assert_eq!(story.device.outcomes, [Outcome::RequestEnded(outbound::End::TimedOut)]);
}

#[test]
fn unanswered_request_at_the_high_end_of_the_jitter() {
    let mut story = Story::new();
    story.device.jitter = u16::MAX;
    story.script.extend([Fate::Lose; 5]);
    story.device_requests(Type::Con, Code::GET, &[0x20]);
    story.exchange_until(92_999);
    story.reads(&format!(
        "{FIRST_EVER}
         3000  -> CON 0.01 7d34 0x20 lost
         9000  -> CON 0.01 7d34 0x20 lost
         21000 -> CON 0.01 7d34 0x20 lost
         45000 -> CON 0.01 7d34 0x20 lost"
    ));
    assert_eq!(story.device.outcomes, []);
    story.exchange_until(93_000);
    assert_eq!(story.device.outcomes, [Outcome::RequestEnded(outbound::End::TimedOut)]);
}

/// The fifth transmission gets through, its ACK comes long after: still in time.
#[test]
fn the_last_retransmission_can_still_succeed() {
    let mut story = Story::new();
    story.edge.answers_at_once = Some((Code::CONTENT, PAYLOAD));
    story.script.extend([Fate::Lose; 4]);
    story.script.extend([Fate::Pass, Fate::Delay(31_000)]);
    story.device_requests(Type::Con, Code::GET, &[0x20]);
    story.exchange_until(100_000);
    assert_eq!(story.device.responses.len(), 1);
    assert_eq!(
        story.device.outcomes.last(),
        Some(&Outcome::RequestEnded(outbound::End::Responded))
    );
}

#[test]
fn unacknowledged_separate_response_is_given_up() {
    let mut story = Story::new();
    story.edge.windows.piggyback_ms = 0;
    story.script.extend([Fate::Pass, Fate::Pass]);
    story.script.extend([Fate::Lose; 5]);
    story.device_requests(Type::Con, Code::GET, &[0x20]);
    story.exchange_until(1_000);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(62_999);
    story.reads(
        "0     -> CON 0.01 7d34 0x20
         10    <- ACK 0.00 7d34
         1000  <- CON 2.05 ad7b 0x20 lost
         3000  <- CON 2.05 ad7b 0x20 lost
         7000  <- CON 2.05 ad7b 0x20 lost
         15000 <- CON 2.05 ad7b 0x20 lost
         31000 <- CON 2.05 ad7b 0x20 lost",
    );
    assert_eq!(story.edge.outcomes, []);
    story.exchange_until(63_000);
    assert_eq!(story.edge.outcomes, [Outcome::ResponseEnded(inbound::End::TimedOut)]);
}

/// Acknowledged, but the application never answers: 5.04 at the response timeout, separately.
#[test]
fn response_timeout_after_the_empty_ack() {
    let mut story = Story::new();
    story.edge.windows.response_ms = 8_000;
    story.device_requests(Type::Con, Code::GET, &[0x20]);
    story.exchange_until(60_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x20
         1510 <- ACK 0.00 7d34
         8010 <- CON 5.04 ad7b 0x20
         8020 -> ACK 0.00 ad7b",
    );
}

/// When the timeout comes before the window is over, the 5.04 is piggybacked.
#[test]
fn response_timeout_while_the_ack_is_held_back() {
    let mut story = Story::new();
    story.edge.windows.response_ms = 1_499;
    story.device_requests(Type::Con, Code::GET, &[0x20]);
    story.exchange_until(60_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x20
         1509 <- ACK 5.04 7d34 0x20",
    );
}

/// The requester stops waiting: a NON request, or one acknowledged, without a response.
#[test]
fn requester_gives_up_waiting_for_a_response() {
    for ty in [Type::Con, Type::Non] {
        let mut story = Story::new();
        story.edge.windows.piggyback_ms = 0;
        story.edge.windows.response_ms = 100_000;
        story.device_requests(ty, Code::GET, &[0x20]);
        let waits_from_ms = if ty == Type::Con { 20 } else { 0 };
        story.exchange_until(waits_from_ms + 29_999);
        assert_eq!(story.device.exchanges_open(), 1, "{ty:?}");
        story.exchange_until(waits_from_ms + 30_000);
        let ended = Outcome::RequestEnded(outbound::End::NoResponse);
        assert_eq!(story.device.outcomes.last(), Some(&ended), "{ty:?}");
    }
}

/// Section 4.5: within EXCHANGE_LIFETIME (247 s) a Message ID means the same message; after it, the
/// ID is free for another.
#[test]
fn message_id_is_remembered_for_the_exchange_lifetime() {
    for (again_ms, served) in [(247_000, 1), (249_000, 2)] {
        let mut story = Story::new();
        story.edge.answers_at_once = Some((Code::CONTENT, PAYLOAD));
        story.script.extend([Fate::Double(again_ms)]);
        story.device_requests(Type::Con, Code::PUT, &[0x20]);
        story.exchange_until(300_000);
        assert_eq!(story.edge.served.len(), served, "again after {again_ms} ms");
    }
}

/// The same for a NON and NON_LIFETIME (145 s).
#[test]
fn message_id_of_a_non_is_remembered_for_the_non_lifetime() {
    for (again_ms, served) in [(145_000, 1), (147_000, 2)] {
        let mut story = Story::new();
        story.edge.prefers_non = true;
        story.edge.answers_at_once = Some((Code::CHANGED, b""));
        story.script.extend([Fate::Double(again_ms)]);
        story.device_requests(Type::Non, Code::PUT, &[0x20]);
        story.exchange_until(300_000);
        assert_eq!(story.edge.served.len(), served, "again after {again_ms} ms");
    }
}

/// A kept reply is given back when no copy can come any more.
#[test]
fn kept_reply_is_dropped_at_the_end_of_the_exchange_lifetime() {
    let mut story = Story::new();
    story.edge.answers_at_once = Some((Code::CONTENT, PAYLOAD));
    story.device_requests(Type::Con, Code::GET, &[0x20]);
    story.exchange_until(10 + 246_999);
    assert_eq!(story.edge.exchanges_open(), 1);
    story.exchange_until(10 + 249_000);
    assert_eq!(story.edge.exchanges_open(), 0);
}
