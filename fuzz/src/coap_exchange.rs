//! Can a peer confuse the exchanges? A stream of its datagrams, cut out of the input, meets a
//! window, a request of ours, the requests it makes and bodies in bursts; timers fire between them.

use crate::bursts::Bursts;
use tidegate_coap::code::Code;
use tidegate_coap::dedup::{Lifetimes, Seen, Told, Window};
use tidegate_coap::inbound::{self, Inbound, Manner, Separate, Windows};
use tidegate_coap::message::{Message, Token, Type};
use tidegate_coap::option::Understood;
use tidegate_coap::outbound::{self, Outbound};
use tidegate_coap::timing::Timing;
use tidegate_coap::triage::{Triage, triage};

const TIMING: Timing = Timing::DEFAULT;
const LIFETIMES: Lifetimes = Lifetimes::new(&TIMING);
const WINDOWS: Windows = Windows { piggyback_ms: 1_500, response_ms: 8_000 };

pub(crate) fn run(input: &[u8]) {
    let mut edge = Edge::new();
    let mut rest = input;
    // Each turn: how long to wait (quarters of a second), what to do, how long the datagram is.
    while let Some((&[wait, choice, len], tail)) = rest.split_first_chunk() {
        let (datagram, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        edge.now_ms += u64::from(wait) * 250;
        edge.on_due();
        edge.on_datagram(datagram);
        if choice & 1 != 0 {
            edge.respond(choice & 2 != 0);
        }
    }
    edge.now_ms += 1_000_000;
    edge.on_due();
    assert!(edge.inbound.is_none() && edge.outbound.end().is_some(), "everything ends");
    assert!(edge.transmissions <= 5);
    edge.bursts.end();
}

struct Edge {
    now_ms: u64,
    window: Window,
    inbound: Option<Inbound>,
    outbound: Outbound,
    /// Of our request.
    transmissions: u32,
    bursts: Bursts,
}

impl Edge {
    fn new() -> Self {
        let mut outbound = Outbound::new(Type::Con, Code::GET, Token::new(&[1]), |_| {})
            .expect("a bare request fits");
        outbound.start(0, &TIMING, 1, 0, 10_000);
        let window = Window::default();
        let bursts = Bursts::new();
        Self { now_ms: 0, window, inbound: None, outbound, transmissions: 1, bursts }
    }

    fn on_datagram(&mut self, datagram: &[u8]) {
        let Ok(message) = Message::parse(datagram) else { return };
        self.bursts.on_message(self.now_ms, &message);
        match triage(&message) {
            Triage::Request | Triage::Response if message.ty != Type::Ack => {
                let (ty, mid) = (message.ty, message.mid);
                let seen = self.window.on_arrival(self.now_ms, LIFETIMES, ty, mid);
                if seen != Seen::Fresh {
                    return;
                }
                let again = self.window.on_arrival(self.now_ms, LIFETIMES, ty, mid);
                assert!(matches!(again, Seen::Waiting | Seen::Silent), "a copy is no news");
                if message.code.is_response() {
                    self.on_response(&message);
                } else if self.inbound.is_none() {
                    self.inbound = Some(Inbound::new(self.now_ms, &message, WINDOWS, &TIMING));
                } else {
                    self.window.forget(mid);
                }
            }
            Triage::Response => self.on_response(&message),
            Triage::EmptyAck | Triage::AckWithRequest => {
                self.outbound.on_ack(self.now_ms, message.mid);
                self.inbound.as_mut().map(|inbound| inbound.on_ack(message.mid));
            }
            Triage::Reset => {
                self.outbound.on_reset(message.mid);
                self.inbound.as_mut().map(|inbound| inbound.on_reset(message.mid));
            }
            _ => {}
        }
    }

    fn on_response(&mut self, response: &Message<'_>) {
        let before = self.outbound.end();
        match self.outbound.on_response(response, Understood::NONE) {
            outbound::Turn::Responded { .. } => {
                assert!(before.is_none(), "one response");
                self.window.settle(response.mid, Told::EmptyAck);
            }
            _ => self.window.settle(response.mid, Told::Reset),
        }
    }

    fn respond(&mut self, is_con: bool) {
        let Some(inbound) = &mut self.inbound else { return };
        let separate =
            if is_con { Separate::Con { mid: 2, jitter: 0 } } else { Separate::Non { mid: 2 } };
        let was_held = inbound.is_held();
        let manner = inbound.respond(self.now_ms, &TIMING, Code::CHANGED, separate, None, |_| {});
        if let Ok(manner) = manner {
            assert_eq!(manner == Manner::Piggybacked, was_held);
            Message::parse(inbound.message(None)).expect("what we write is well formed");
        }
    }

    fn on_due(&mut self) {
        self.bursts.on_due(self.now_ms);
        while self.outbound.due_ms().is_some_and(|due_ms| due_ms <= self.now_ms) {
            if self.outbound.on_due(self.now_ms) == outbound::Act::Retransmit {
                self.transmissions += 1;
            }
        }
        while let Some(inbound) = &mut self.inbound {
            if inbound.end().is_some() {
                self.inbound = None;
                return;
            }
            if inbound.due_ms().is_none_or(|due_ms| due_ms > self.now_ms) {
                return;
            }
            match inbound.on_due(self.now_ms) {
                inbound::Act::SendEmptyAck(_) => {
                    self.window.settle(inbound.mid(), Told::EmptyAck);
                }
                inbound::Act::ResponseTimeout => self.respond(false),
                _ => {}
            }
        }
    }
}
