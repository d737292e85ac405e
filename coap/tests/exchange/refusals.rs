//! RFC 7252 sections 4.2, 4.3, 5.3.2 and 5.4.1: what is reset, refused or ignored.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_coap::{inbound, outbound};

use crate::story::{Fate, Outcome, PAYLOAD, Story};

#[test]
fn ping_is_answered_with_a_reset() {
    let mut story = Story::new();
    story.device_sends_raw(&[0x40, 0, 0x00, 0x2a]);
    story.exchange_until(1_000);
    story.reads(
        "0  -> CON 0.00 002a
         10 <- RST 0.00 002a",
    );
}

#[test]
fn malformed_confirmable_is_reset_and_anything_else_malformed_ignored() {
    let mut story = Story::new();
    // The reserved token length: CON, NON, ACK, RST, and version 2.
    for first in [0x4f, 0x5f, 0x6f, 0x7f, 0x8f] {
        story.device_sends_raw(&[first, 1, 0x00, 0x2a, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
    story.exchange_until(1_000);
    story.reads(
        "0  -> TokenLength
         0  -> TokenLength
         0  -> TokenLength
         0  -> TokenLength
         0  -> Version
         10 <- RST 0.00 002a",
    );
}

#[test]
fn reserved_class_is_reset_when_confirmable() {
    let mut story = Story::new();
    for first in [0x40, 0x50, 0x60, 0x70] {
        story.device_sends_raw(&[first, 0x20, 0x00, 0x2a]);
    }
    story.exchange_until(1_000);
    story.reads(
        "0  -> CON 1.00 002a
         0  -> NON 1.00 002a
         0  -> ACK 1.00 002a
         0  -> RST 1.00 002a
         10 <- RST 0.00 002a",
    );
}

#[test]
fn stray_ack_and_reset_are_ignored() {
    let mut story = Story::new();
    story.device_sends_raw(&[0x60, 0, 0xad, 0x7b]);
    story.device_sends_raw(&[0x70, 0, 0xad, 0x7b]);
    story.exchange_until(1_000);
    story.reads(
        "0 -> ACK 0.00 ad7b
         0 -> RST 0.00 ad7b",
    );
}

#[test]
fn unexpected_response_is_reset_when_confirmable() {
    let mut story = Story::new();
    for first in [0x41, 0x51, 0x61] {
        story.device_sends_raw(&[first, 0x45, 0x00, first, 0x20]);
    }
    story.exchange_until(1_000);
    story.reads(
        "0  -> CON 2.05 0041 0x20
         0  -> NON 2.05 0051 0x20
         0  -> ACK 2.05 0061 0x20
         10 <- RST 0.00 0041",
    );
}

/// Option 9 (OSCORE) is critical and not offered.
#[test]
fn unrecognised_critical_option_is_refused_in_a_con_and_ignored_in_a_non() {
    let mut story = Story::new();
    story.script.extend([Fate::Double(2_000)]);
    story.device_sends_raw(&[0x41, 0x03, 0x00, 0x01, 0x20, 0x90]);
    story.device_sends_raw(&[0x51, 0x03, 0x00, 0x02, 0x21, 0x90]);
    story.exchange_until(5_000);
    story.reads(
        "0    -> CON 0.03 0001 0x20
         0    -> NON 0.03 0002 0x21
         10   <- ACK 4.02 0001 0x20
         2010 <- ACK 4.02 0001 0x20",
    );
    assert_eq!(story.edge.served, []);
}

/// Section 5.4.1: a response with a critical option we do not know is rejected; on an ACK that
/// means silence, and the request goes on.
#[test]
fn response_with_an_unrecognised_critical_option_is_rejected() {
    let mut story = Story::new();
    story.edge_requests(Type::Con, Code::GET, &[0x91]);
    story.device_sends_raw(&[0x61, 0x45, 0xad, 0x7b, 0x91, 0x90]);
    story.device_sends_raw(&[0x41, 0x45, 0x00, 0x01, 0x91, 0x90]);
    story.exchange_until(1_400);
    story.reads(
        "0  <- CON 0.01 ad7b 0x91
         0  -> ACK 2.05 ad7b 0x91
         0  -> CON 2.05 0001 0x91
         10 <- RST 0.00 0001",
    );
    assert_eq!(story.edge.responses, []);
    assert_eq!(story.edge.exchanges_open(), 1);
}

/// Section 5.3.2: a piggybacked response needs the Message ID and the token.
#[test]
fn piggybacked_response_with_the_wrong_message_id_or_token_is_ignored() {
    let mut story = Story::new();
    story.edge_requests(Type::Con, Code::GET, &[0x91]);
    story.device_sends_raw(&[0x61, 0x45, 0xad, 0x7c, 0x91]);
    story.device_sends_raw(&[0x61, 0x45, 0xad, 0x7b, 0x92]);
    story.exchange_until(1_000);
    assert_eq!((story.edge.responses.len(), story.edge.outcomes.len()), (0, 0));
    story.device_sends_raw(&[0x61, 0x45, 0xad, 0x7b, 0x91]);
    story.exchange_until(1_100);
    assert_eq!(story.edge.responses, [(Code::CONTENT, Vec::new())]);
}

#[test]
fn reset_fails_a_request_but_not_one_that_was_acknowledged() {
    let reset = [0x70, 0, 0xad, 0x7b];
    let fails = Outcome::RequestEnded(outbound::End::Reset);
    for ty in [Type::Con, Type::Non] {
        let mut story = Story::new();
        story.edge_requests(ty, Code::GET, &[0x91]);
        story.device_sends_raw(&reset);
        story.exchange_until(20);
        assert_eq!(story.edge.outcomes, [fails], "{ty:?}");
    }
    let mut story = Story::new();
    story.edge_requests(Type::Con, Code::GET, &[0x91]);
    story.device_sends_raw(&[0x60, 0, 0xad, 0x7b]);
    story.exchange_until(20);
    story.device_sends_raw(&reset);
    story.exchange_until(40);
    assert_eq!(story.edge.outcomes, [Outcome::RequestArrived]);
}

/// One existing client acknowledges a response with an ACK that carries its next request. It counts
/// as the ACK, once; the request is served and answered by a message of its own.
#[test]
fn ack_that_carries_a_request_acknowledges_and_is_served_once() {
    let mut story = Story::new();
    story.edge.windows.piggyback_ms = 0;
    story.script.extend([Fate::Pass, Fate::Pass, Fate::Lose]);
    story.device_requests(Type::Con, Code::GET, &[0x20]);
    story.exchange_until(1_000);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    let ack_with_get = [0x61, 0x01, 0xad, 0x7b, 0x20];
    story.device_sends_raw(&ack_with_get);
    story.device_sends_raw(&ack_with_get);
    story.exchange_until(1_500);
    assert_eq!(story.edge.served.len(), 2);
    story.edge_answers(Code::CONTENT, PAYLOAD);
    story.exchange_until(10_000);
    story.reads(
        "0    -> CON 0.01 7d34 0x20
         10   <- ACK 0.00 7d34
         1000 <- CON 2.05 ad7b 0x20 lost
         1000 -> ACK 0.01 ad7b 0x20
         1000 -> ACK 0.01 ad7b 0x20
         1500 <- CON 2.05 ad7c 0x20
         1510 -> ACK 0.00 ad7c",
    );
    assert_eq!(story.edge.outcomes, [Outcome::ResponseEnded(inbound::End::Acknowledged); 2]);
}

#[test]
fn ack_that_carries_a_request_and_acknowledges_nothing_is_ignored() {
    let mut story = Story::new();
    story.device_sends_raw(&[0x61, 0x01, 0xad, 0x7b, 0x20]);
    story.exchange_until(1_000);
    assert_eq!(story.edge.served, []);
}
