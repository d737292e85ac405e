//! Two endpoints and the link between them: who sends what when, as the lines of a figure.
//!
//! Both ends are the same [`Endpoint`] over the crate's machines, put together as a user would. The
//! link delivers after [`LATENCY_MS`] unless the script loses, delays or doubles a transmission.

use std::collections::VecDeque;
use std::fmt::Write;

use tidegate_coap::admission::{Admission, admit};
use tidegate_coap::code::Code;
use tidegate_coap::dedup::{Lifetimes, Seen, Told, Window};
use tidegate_coap::inbound::{self, Inbound, Kept, Manner, Separate, Windows};
use tidegate_coap::message::{Message, Token, Type, Writer, empty};
use tidegate_coap::option::{Number, Understood};
use tidegate_coap::outbound::{self, Outbound, Reply, Turn};
use tidegate_coap::timing::Timing;
use tidegate_coap::triage::{Triage, triage};

pub(crate) const LATENCY_MS: u64 = 10;
pub(crate) const PATH: &[u8] = b"temperature";
pub(crate) const PAYLOAD: &[u8] = b"22.3 C";

/// A device on the left, the edge on the right.
pub(crate) struct Story {
    pub(crate) now_ms: u64,
    pub(crate) device: Endpoint,
    pub(crate) edge: Endpoint,
    /// What happens to the coming transmissions, in order; those after are delivered.
    pub(crate) script: VecDeque<Fate>,
    in_flight: Vec<(u64, Side, Vec<u8>)>,
    lines: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Device,
    Edge,
}

/// What the link does with one transmission.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Pass,
    Lose,
    /// Arrives this much later than others.
    Delay(u64),
    /// Arrives, and once more this much later.
    Double(u64),
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            now_ms: 0,
            device: Endpoint::new(0x7d34),
            edge: Endpoint::new(0xad7b),
            script: VecDeque::new(),
            in_flight: Vec::new(),
            lines: String::new(),
        }
    }

    /// The device asks; the message leaves at once.
    pub(crate) fn device_requests(&mut self, ty: Type, code: Code, token: &[u8]) {
        self.device.request(self.now_ms, ty, code, token);
        self.exchange_until(self.now_ms);
    }

    /// The edge asks the device.
    pub(crate) fn edge_requests(&mut self, ty: Type, code: Code, token: &[u8]) {
        self.edge.request(self.now_ms, ty, code, token);
        self.exchange_until(self.now_ms);
    }

    /// Bytes that no endpoint of ours would send.
    pub(crate) fn device_sends_raw(&mut self, bytes: &[u8]) {
        self.device.to_send.push(bytes.to_vec());
        self.exchange_until(self.now_ms);
    }

    /// The edge's application answers what it was asked first.
    pub(crate) fn edge_answers(&mut self, code: Code, payload: &[u8]) {
        self.edge.answer(self.now_ms, code, payload);
        self.exchange_until(self.now_ms);
    }

    /// Lets time pass up to `until_ms`, with every delivery and timer in its order.
    pub(crate) fn exchange_until(&mut self, until_ms: u64) {
        loop {
            self.collect(Side::Device);
            self.collect(Side::Edge);
            let arrival_ms = self.in_flight.iter().map(|(at_ms, ..)| *at_ms).min();
            let timer_ms = self.device.due_ms().into_iter().chain(self.edge.due_ms()).min();
            let Some(next_ms) = arrival_ms.into_iter().chain(timer_ms).min() else { break };
            if next_ms > until_ms {
                break;
            }
            self.now_ms = self.now_ms.max(next_ms);
            if arrival_ms == Some(next_ms) {
                let first = self.in_flight.iter().position(|(at_ms, ..)| *at_ms == next_ms);
                let (_, to, bytes) = self.in_flight.remove(first.unwrap());
                self.endpoint(to).on_datagram(next_ms, &bytes);
            } else {
                self.device.on_due(next_ms);
                self.edge.on_due(next_ms);
            }
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    /// The transmissions so far: milliseconds, direction, type, code, Message ID, token.
    #[track_caller]
    pub(crate) fn reads(&self, figure: &str) {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines = |text: &str| text.lines().map(words).collect::<Vec<_>>();
        assert_eq!(lines(&self.lines), lines(figure), "\n{}", self.lines);
    }

    fn endpoint(&mut self, side: Side) -> &mut Endpoint {
        if side == Side::Device { &mut self.device } else { &mut self.edge }
    }

    fn collect(&mut self, from: Side) {
        let to = if from == Side::Device { Side::Edge } else { Side::Device };
        let now_ms = self.now_ms;
        for bytes in std::mem::take(&mut self.endpoint(from).to_send) {
            let fate = self.script.pop_front().unwrap_or(Fate::Pass);
            let arrow = if from == Side::Device { "->" } else { "<-" };
            let lost = if matches!(fate, Fate::Lose) { " lost" } else { "" };
            writeln!(self.lines, "{now_ms} {arrow} {}{lost}", describe(&bytes)).unwrap();
            let delays: &[u64] = match &fate {
                Fate::Pass => &[0],
                Fate::Lose => &[],
                Fate::Delay(ms) => &[*ms],
                Fate::Double(ms) => &[0, *ms],
            };
            let arrivals =
                delays.iter().map(|delay_ms| (now_ms + LATENCY_MS + delay_ms, to, bytes.clone()));
            self.in_flight.extend(arrivals);
        }
    }
}

fn describe(bytes: &[u8]) -> String {
    match Message::parse(bytes) {
        Ok(message) => {
            let ty = format!("{:?}", message.ty).to_uppercase();
            let token = format!("{:?}", message.token);
            let token = if token == "0x" { String::new() } else { format!(" {token}") };
            format!("{ty} {} {:04x}{token}", message.code, message.mid)
        }
        Err(error) => format!("{:?}", error.fault),
    }
}

/// One side: the window, the exchanges, and what its application saw.
pub(crate) struct Endpoint {
    pub(crate) timing: Timing,
    pub(crate) windows: Windows,
    /// Jitter of every first timeout.
    pub(crate) jitter: u16,
    /// Answer the moment a request arrives.
    pub(crate) answers_at_once: Option<(Code, &'static [u8])>,
    /// Separate responses are NON even to a CON.
    pub(crate) prefers_non: bool,
    /// Never recognises a copy: the control of tests about deduplication.
    pub(crate) is_forgetful: bool,
    /// Requests the application was handed.
    pub(crate) served: Vec<(Code, Token)>,
    /// Responses to requests of ours: code and payload.
    pub(crate) responses: Vec<(Code, Vec<u8>)>,
    /// How requests of ours and responses of ours failed or were delivered.
    pub(crate) outcomes: Vec<Outcome>,
    window: Window,
    inbounds: Vec<(Inbound, Box<Kept>)>,
    outbounds: Vec<Outbound>,
    next_mid: u16,
    to_send: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    RequestArrived,
    RequestEnded(outbound::End),
    ResponseEnded(inbound::End),
}

impl Endpoint {
    fn new(next_mid: u16) -> Self {
        Self {
            timing: Timing::DEFAULT,
            windows: Windows { piggyback_ms: 1_500, response_ms: 30_000 },
            jitter: 0,
            answers_at_once: None,
            prefers_non: false,
            is_forgetful: false,
            served: Vec::new(),
            responses: Vec::new(),
            outcomes: Vec::new(),
            window: Window::default(),
            inbounds: Vec::new(),
            outbounds: Vec::new(),
            next_mid,
            to_send: Vec::new(),
        }
    }

    /// Forgets everything but its name, as after a crash.
    pub(crate) fn reboots(&mut self) {
        self.window = Window::default();
        self.inbounds.clear();
        self.outbounds.clear();
    }

    pub(crate) fn request(&mut self, now_ms: u64, ty: Type, code: Code, token: &[u8]) {
        let fill = |writer: &mut Writer<'_>| {
            writer.option(Number::URI_PATH, PATH);
        };
        let mut outbound = Outbound::new(ty, code, Token::new(token), fill).unwrap();
        let mid = self.take_mid();
        let bytes = outbound.start(now_ms, &self.timing, mid, self.jitter, 30_000).to_vec();
        self.to_send.push(bytes);
        self.outbounds.push(outbound);
    }

    pub(crate) fn answer(&mut self, now_ms: u64, code: Code, payload: &[u8]) {
        let waiting = |(inbound, _): &(Inbound, _)| !inbound.is_answered();
        let index = self.inbounds.iter().position(waiting).expect("nobody waits for an answer");
        self.respond(now_ms, index, code, payload);
    }

    pub(crate) fn exchanges_open(&self) -> usize {
        self.inbounds.iter().filter(|(inbound, _)| inbound.end().is_none()).count()
            + self.outbounds.len()
    }

    fn on_datagram(&mut self, now_ms: u64, bytes: &[u8]) {
        if self.is_forgetful {
            self.window = Window::default();
        }
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => {
                let reset = error.reset_mid.map(|mid| empty(Type::Rst, mid).to_vec());
                return self.to_send.extend(reset);
            }
        };
        let mid = message.mid;
        match triage(&message) {
            Triage::Ping | Triage::Reject { reset: true } => self.send(&empty(Type::Rst, mid)),
            Triage::Reject { reset: false } | Triage::Ignore => {}
            Triage::EmptyAck => self.on_ack(now_ms, mid),
            Triage::AckWithRequest => {
                if self.inbounds.iter_mut().any(|(inbound, _)| inbound.on_ack(mid)) {
                    self.serve(now_ms, &message);
                }
            }
            Triage::Reset => self.on_reset(mid),
            Triage::Request => {
                match self.window.on_arrival(now_ms, Lifetimes::new(&self.timing), message.ty, mid)
                {
                    Seen::Fresh => self.on_request(now_ms, &message),
                    seen => self.on_copy(seen, &message),
                }
            }
            Triage::Response if message.ty == Type::Ack => self.on_response(&message),
            Triage::Response => {
                match self.window.on_arrival(now_ms, Lifetimes::new(&self.timing), message.ty, mid)
                {
                    Seen::Fresh => self.on_response(&message),
                    seen => self.on_copy(seen, &message),
                }
            }
        }
        self.drop_ended();
    }

    fn on_request(&mut self, now_ms: u64, request: &Message<'_>) {
        match admit(request, Understood::EDGE_REQUEST) {
            Admission::Serve => self.serve(now_ms, request),
            Admission::Reject => {}
            Admission::Refuse { code, .. } => {
                let (ty, mid) = match request.ty {
                    Type::Con => (Type::Ack, request.mid),
                    _ => (Type::Non, self.take_mid()),
                };
                self.send_code(ty, mid, code, &request.token);
                self.window.settle(request.mid, Told::Replied(code));
            }
        }
    }

    fn serve(&mut self, now_ms: u64, request: &Message<'_>) {
        self.served.push((request.code, request.token));
        let inbound = Inbound::new(now_ms, request, self.windows, &self.timing);
        self.inbounds.push((inbound, Box::default()));
        if let Some((code, payload)) = self.answers_at_once {
            self.respond(now_ms, self.inbounds.len() - 1, code, payload);
        }
    }

    /// Without a payload the reply is short and rebuilt from the window.
    fn respond(&mut self, now_ms: u64, index: usize, code: Code, payload: &[u8]) {
        let mid = if self.inbounds[index].0.is_held() { 0 } else { self.take_mid() };
        let (inbound, kept) = &mut self.inbounds[index];
        let separate = if self.prefers_non {
            Separate::Non { mid }
        } else {
            Separate::Con { mid, jitter: self.jitter }
        };
        let kept = (!payload.is_empty()).then_some(&mut **kept);
        let is_short = kept.is_none();
        let fill = |writer: &mut Writer<'_>| {
            writer.payload(payload);
        };
        let manner = inbound.respond(now_ms, &self.timing, code, separate, kept, fill).unwrap();
        if manner == Manner::Piggybacked {
            let told = if is_short { Told::Replied(code) } else { Told::ReplyKept };
            self.window.settle(inbound.mid(), told);
        }
        let (inbound, kept) = &self.inbounds[index];
        self.to_send.push(inbound.message(Some(kept)).to_vec());
        if is_short && manner == Manner::Piggybacked {
            self.inbounds.remove(index);
        }
    }

    fn on_copy(&mut self, seen: Seen, message: &Message<'_>) {
        match seen {
            Seen::Fresh => unreachable!("handled by the caller"),
            Seen::Full | Seen::Waiting | Seen::Silent => {}
            Seen::EmptyAcked => self.send(&empty(Type::Ack, message.mid)),
            Seen::Reset => self.send(&empty(Type::Rst, message.mid)),
            Seen::Replied(code) => self.send_code(Type::Ack, message.mid, code, &message.token),
            Seen::ReplyKept => {
                let is_it = |(inbound, _): &&(Inbound, _)| inbound.mid() == message.mid;
                let (inbound, kept) = self.inbounds.iter().find(is_it).expect("kept");
                self.to_send.push(inbound.message(Some(kept)).to_vec());
            }
        }
    }

    fn on_response(&mut self, response: &Message<'_>) {
        let mine = self.outbounds.iter_mut().find(|outbound| outbound.token() == response.token);
        let turn = match mine {
            Some(outbound) => outbound.on_response(response, Understood::NONE),
            None => Turn::Rejected(outbound::rejection(response)),
        };
        let (reply, told) = match turn {
            Turn::Responded { reply, acknowledges } => {
                self.responses.push((response.code, response.payload.to_vec()));
                self.outcomes.extend(acknowledges.then_some(Outcome::RequestArrived));
                (reply, Told::EmptyAck)
            }
            Turn::Rejected(reply) => (reply, Told::Reset),
            turn => unreachable!("a response is accepted or rejected, not {turn:?}"),
        };
        if let Reply::Send(bytes) = reply {
            self.send(&bytes);
            self.window.settle(response.mid, told);
        }
    }

    fn on_ack(&mut self, now_ms: u64, mid: u16) {
        for outbound in &mut self.outbounds {
            let turn = outbound.on_ack(now_ms, mid);
            self.outcomes.extend((turn == Turn::Acknowledged).then_some(Outcome::RequestArrived));
        }
        self.inbounds.iter_mut().for_each(|(inbound, _)| _ = inbound.on_ack(mid));
    }

    fn on_reset(&mut self, mid: u16) {
        self.outbounds.iter_mut().for_each(|outbound| _ = outbound.on_reset(mid));
        self.inbounds.iter_mut().for_each(|(inbound, _)| _ = inbound.on_reset(mid));
    }

    fn due_ms(&self) -> Option<u64> {
        let inbounds = self.inbounds.iter().filter_map(|(inbound, _)| inbound.due_ms());
        inbounds.chain(self.outbounds.iter().filter_map(Outbound::due_ms)).min()
    }

    fn on_due(&mut self, now_ms: u64) {
        for index in 0..self.outbounds.len() {
            if self.outbounds[index].on_due(now_ms) == outbound::Act::Retransmit {
                self.to_send.push(self.outbounds[index].message().to_vec());
            }
        }
        for index in (0..self.inbounds.len()).rev() {
            loop {
                let (inbound, kept) = &mut self.inbounds[index];
                match inbound.on_due(now_ms) {
                    inbound::Act::Nothing | inbound::Act::GiveUp | inbound::Act::Forget => break,
                    inbound::Act::Retransmit => {
                        self.to_send.push(inbound.message(Some(kept)).to_vec());
                    }
                    inbound::Act::SendEmptyAck(bytes) => {
                        self.window.settle(inbound.mid(), Told::EmptyAck);
                        self.to_send.push(bytes.to_vec());
                    }
                    inbound::Act::ResponseTimeout => {
                        self.respond(now_ms, index, Code::GATEWAY_TIMEOUT, b"");
                        break;
                    }
                }
            }
        }
        self.drop_ended();
    }

    fn drop_ended(&mut self) {
        let outcomes = &mut self.outcomes;
        self.outbounds.retain(|outbound| {
            outcomes.extend(outbound.end().map(Outcome::RequestEnded));
            outbound.end().is_none()
        });
        self.inbounds.retain(|(inbound, _)| {
            outcomes.extend(inbound.end().map(Outcome::ResponseEnded));
            inbound.end().is_none()
        });
    }

    fn send_code(&mut self, ty: Type, mid: u16, code: Code, token: &Token) {
        let mut bytes = [0; 12];
        let len = Writer::new(&mut bytes, ty, code, mid, token).finish().unwrap();
        self.send(&bytes[..len]);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.to_send.push(bytes.to_vec());
    }

    fn take_mid(&mut self) -> u16 {
        let mid = self.next_mid;
        self.next_mid = mid.wrapping_add(1);
        mid
    }
}
