//! RFC 7252 appendix A and sections 4.2, 5.2: requests and responses over a lossy link.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_coap::{inbound, outbound};

use crate::story::{Fate, Outcome, PAYLOAD, Story};

fn content(code: Code) -> Vec<(Code, Vec<u8>)> {
    vec![(code, PAYLOAD.to_vec())]
}

/// A story in which the edge answers at once.
fn prompt() -> Story {
    let mut story = Story::new();
    story.edge.answers_at_once = Some((Code::CONTENT, PAYLOAD));
    story
}

#[test]
fn figure_16_piggybacked_response() {
    let mut story = prompt();
    story.device_requests(Type::Con, Code::GET, b"");
    story.exchange_until(1_000);
    story.reads(
        "0  -> CON 0.01 7d34
         10 <- ACK 2.05 7d34",
    );
    assert_eq!(story.device.responses, content(Code::CONTENT));
}

#[test]
fn figure_18_lost_request_is_sent_again() {
    let mut story = prompt();
    story.script.extend([Fate::Lose]);
    story.device_requests(Type::Con, Code::GET, &[0x31]);
    story.exchange_until(10_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x31 lost
         2000 -> CON 0.01 7d34 0x31
         2010 <- ACK 2.05 7d34 0x31",
    );
}

#[test]
fn figure_19_lost_piggybacked_response_is_repeated_and_the_request_served_once() {
    let mut story = prompt();
    story.script.extend([Fate::Pass, Fate::Lose]);
    story.device_requests(Type::Con, Code::GET, &[0x42]);
    story.exchange_until(10_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x42
         10   <- ACK 2.05 7d34 0x42 lost
         2000 -> CON 0.01 7d34 0x42
         2010 <- ACK 2.05 7d34 0x42",
    );
    assert_eq!(story.edge.served.len(), 1);
    assert_eq!(story.device.responses, content(Code::CONTENT));
}

/// The same with a reply that is a mere code: the window rebuilds it, no exchange is kept.
#[test]
fn lost_code_only_reply_is_repeated_from_the_window() {
    let mut story = Story::new();
    story.edge.answers_at_once = Some((Code::CHANGED, b""));
    story.script.extend([Fate::Pass, Fate::Lose]);
    story.device_requests(Type::Con, Code::PUT, &[0x42, 0x43]);
    assert_eq!(story.edge.exchanges_open(), 0);
    story.exchange_until(10_000);
    story.reads(
        "0    -> CON 0.03 7d34 0x4243
         10   <- ACK 2.04 7d34 0x4243 lost
         2000 -> CON 0.03 7d34 0x4243
         2010 <- ACK 2.04 7d34 0x4243",
    );
    assert_eq!(story.edge.served.len(), 1);
}

#[test]
fn figure_20_separate_response() {
    let mut story = Story::new();
    story.device_requests(Type::Con, Code::GET, &[0x53]);
    story.exchange_until(5_000);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(60_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x53
         1510 <- ACK 0.00 7d34
         5000 <- CON 2.05 ad7b 0x53
         5010 -> ACK 0.00 ad7b",
    );
    assert_eq!(story.device.responses, content(Code::CONTENT));
    assert_eq!(story.edge.outcomes, [Outcome::ResponseEnded(inbound::End::Acknowledged)]);
}

/// Section 5.2.2: the response arrives before the ACK and acknowledges the request by itself.
#[test]
fn separate_response_overtakes_the_empty_ack() {
    let mut story = Story::new();
    story.edge.windows.piggyback_ms = 0;
    story.script.extend([Fate::Pass, Fate::Delay(500)]);
    story.device_requests(Type::Con, Code::GET, &[0x53]);
    story.exchange_until(100);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(60_000);
    story.reads(
        "0   -> CON 0.01 7d34 0x53
         10  <- ACK 0.00 7d34
         100 <- CON 2.05 ad7b 0x53
         110 -> ACK 0.00 ad7b",
    );
    let ended = Outcome::RequestEnded(outbound::End::Responded);
    assert_eq!(story.device.outcomes, [Outcome::RequestArrived, ended]);
}

/// Section 5.2.2: once acknowledged empty, a copy of the request gets the empty ACK again, even
/// after the response itself was acknowledged (section 4.2).
#[test]
fn lost_empty_ack_is_repeated_whatever_has_happened_since() {
    let mut story = Story::new();
    story.edge.windows.piggyback_ms = 0;
    story.script.extend([Fate::Double(20_000), Fate::Lose]);
    story.device_requests(Type::Con, Code::GET, &[0x53]);
    story.exchange_until(3_000);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(60_000);
    story.reads(
        "0     -> CON 0.01 7d34 0x53
         10    <- ACK 0.00 7d34 lost
         2000  -> CON 0.01 7d34 0x53
         2010  <- ACK 0.00 7d34
         3000  <- CON 2.05 ad7b 0x53
         3010  -> ACK 0.00 ad7b
         20010 <- ACK 0.00 7d34",
    );
    assert_eq!(story.edge.served.len(), 1);
}

#[test]
fn lost_ack_of_a_separate_response_is_repeated_and_the_response_taken_once() {
    let mut story = Story::new();
    story.edge.windows.piggyback_ms = 0;
    story.script.extend([Fate::Pass, Fate::Pass, Fate::Pass, Fate::Lose]);
    story.device_requests(Type::Con, Code::POST, &[0x53]);
    story.exchange_until(1_000);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(60_000);
    story.reads(
        "0    -> CON 0.02 7d34 0x53
         10   <- ACK 0.00 7d34
         1000 <- CON 2.05 ad7b 0x53
         1010 -> ACK 0.00 ad7b lost
         3000 <- CON 2.05 ad7b 0x53
         3010 -> ACK 0.00 ad7b",
    );
    assert_eq!(story.device.responses, content(Code::CONTENT));
    assert_eq!(story.edge.outcomes, [Outcome::ResponseEnded(inbound::End::Acknowledged)]);
}

/// A request that comes again while its ACK is still held back is not served twice, nor answered
/// before its time.
#[test]
fn copy_of_a_request_that_waits_is_ignored() {
    let mut story = Story::new();
    story.script.extend([Fate::Double(300)]);
    story.device_requests(Type::Con, Code::PUT, &[0x53]);
    story.exchange_until(1_000);
    story.edge_answers(Code::CHANGED, b"");
    story.exchange_until(10_000);
    story.reads(
        "0    -> CON 0.03 7d34 0x53
         1000 <- ACK 2.04 7d34 0x53",
    );
    assert_eq!(story.edge.served.len(), 1);
}

#[test]
fn figure_21_unexpected_response_is_reset() {
    let mut story = Story::new();
    story.edge.windows.piggyback_ms = 0;
    story.device_requests(Type::Con, Code::GET, &[0x64]);
    story.device.reboots();
    story.exchange_until(1_000);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(60_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x64
         10   <- ACK 0.00 7d34
         1000 <- CON 2.05 ad7b 0x64
         1010 -> RST 0.00 ad7b",
    );
    assert_eq!(story.edge.outcomes, [Outcome::ResponseEnded(inbound::End::Reset)]);
}

/// The RST is lost: the copy of the response gets the same RST.
#[test]
fn lost_reset_is_repeated() {
    let mut story = Story::new();
    story.edge.windows.piggyback_ms = 0;
    story.script.extend([Fate::Pass, Fate::Pass, Fate::Pass, Fate::Lose]);
    story.device_requests(Type::Con, Code::GET, &[0x64]);
    story.device.reboots();
    story.exchange_until(1_000);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(60_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x64
         10   <- ACK 0.00 7d34
         1000 <- CON 2.05 ad7b 0x64
         1010 -> RST 0.00 ad7b lost
         3000 <- CON 2.05 ad7b 0x64
         3010 -> RST 0.00 ad7b",
    );
}

#[test]
fn figure_22_non_confirmable_both_ways() {
    let mut story = prompt();
    story.edge.prefers_non = true;
    story.device_requests(Type::Non, Code::GET, &[0x75]);
    story.exchange_until(60_000);
    story.reads(
        "0  -> NON 0.01 7d34 0x75
         10 <- NON 2.05 ad7b 0x75",
    );
    assert_eq!(story.device.responses, content(Code::CONTENT));
}

#[test]
fn copy_of_a_non_confirmable_request_is_ignored() {
    let mut story = prompt();
    story.edge.prefers_non = true;
    story.script.extend([Fate::Double(5_000), Fate::Double(5_000)]);
    story.device_requests(Type::Non, Code::PUT, &[0x75]);
    story.exchange_until(60_000);
    story.reads(
        "0  -> NON 0.03 7d34 0x75
         10 <- NON 2.05 ad7b 0x75",
    );
    assert_eq!(story.edge.served.len(), 1);
    assert_eq!(story.device.responses.len(), 1, "nor is the copy of the response taken twice");
}

/// Section 5.2.3: each kind of response must be accepted for each kind of request.
#[test]
fn confirmable_response_to_a_non_confirmable_request() {
    let mut story = prompt();
    story.device_requests(Type::Non, Code::GET, &[0x75]);
    story.exchange_until(60_000);
    story.reads(
        "0  -> NON 0.01 7d34 0x75
         10 <- CON 2.05 ad7b 0x75
         20 -> ACK 0.00 ad7b",
    );
}

#[test]
fn non_confirmable_response_to_a_confirmable_request_implies_the_ack() {
    let mut story = Story::new();
    story.edge.windows.piggyback_ms = 0;
    story.edge.prefers_non = true;
    story.script.extend([Fate::Pass, Fate::Lose]);
    story.device_requests(Type::Con, Code::GET, &[0x75]);
    story.exchange_until(1_000);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(60_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x75
         10   <- ACK 0.00 7d34 lost
         1000 <- NON 2.05 ad7b 0x75",
    );
    assert_eq!(story.device.responses, content(Code::CONTENT));
}

/// The edge asks, the device answers: the same machines the other way round.
#[test]
fn downlink_request_is_answered_separately() {
    let mut story = Story::new();
    story.device.windows.piggyback_ms = 0;
    story.edge_requests(Type::Con, Code::POST, &[0x91]);
    story.exchange_until(1_000);
    assert_eq!(story.edge.outcomes, [Outcome::RequestArrived]);
    story.device.answer(1_000, Code::CHANGED, b"");
    story.exchange_until(60_000);
    story.reads(
        "0    <- CON 0.02 ad7b 0x91
         10   -> ACK 0.00 ad7b
         1000 -> CON 2.04 7d34 0x91
         1010 <- ACK 0.00 7d34",
    );
    assert_eq!(story.edge.responses, [(Code::CHANGED, Vec::new())]);
}
