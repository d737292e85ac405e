//! What becomes of a device's request? Onto the ring, and the response when its outcome is known.
//!
//! ```text
//! request that may be served ─▶ exchange + ring entry    full: 5.03 with Max-Age, NON: silence
//!   Published Confirmed      ─▶ 2.04 (PUT …), 2.02 (DELETE) on the ACK inside the window, else
//!   Published AwaitingAnswer ─▶ empty ACK after the answer window       a separate response
//!   Published Unavailable 5.03 · NoRoute 4.04 · Forbidden 4.03
//!   Answer                   ─▶ the application's response
//!   no outcome in time       ─▶ 5.04 (GET, POST …), 5.03 (PUT, DELETE …)
//! ```
//!
//! A response promises only what happened: 2.xx leaves after the publication is confirmed.

use super::Worker;
use super::blocks::{Begun, Ours, write_with};
use super::messages::{Sent, sent_key};
use crate::bounds::{KEPT_REPLIES, RING_HEADROOM_BYTES};
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::pool::{Key, Pool};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use rand::Rng;
use std::collections::VecDeque;
use tidegate_coap::block::Block;
use tidegate_coap::code::Code;
use tidegate_coap::dedup::Told;
use tidegate_coap::inbound::{Act, Inbound, Kept, Manner, SHORT_REPLY_BYTES, Separate, Windows};
use tidegate_coap::message::{Message, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_coap::option::list::Options;
use tidegate_ring::contract::{self as wire, Event, FailReason, Publication, SessionRef, Step};
use zerocopy::IntoBytes;

/// All requests of devices that wait for something.
#[derive(Debug)]
pub(super) struct Exchanges {
    pool: Pool<Exchange>,
    /// Exchanges that keep a piggybacked reply, by slot and the request's Message ID.
    by_request: HashMap<u64, u32, RandomState>,
    /// Replies too long to stand in their exchange.
    kept: Pool<Kept>,
    /// Answered exchanges that only wait for copies of their request, oldest first; they give way
    /// when there is no room.
    answered: VecDeque<Key>,
}

/// One request of a device.
#[derive(Debug)]
struct Exchange {
    coap: Inbound,
    session: SessionRef,
    slot: u32,
    device: wire::DeviceId,
    method: Code,
    is_con: bool,
    /// Which block of its body the request carried.
    block1: Option<Block>,
    received_ms: u64,
    /// Number in `Exchanges::kept`.
    kept: Option<u32>,
    /// The application's answer, whose outcomes are told.
    answer: Option<wire::MessageId>,
}

impl Exchanges {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            pool: Pool::new(capacity),
            by_request: HashMap::with_capacity_and_hasher(
                capacity as usize,
                RandomState::default(),
            ),
            kept: Pool::new(KEPT_REPLIES),
            answered: VecDeque::with_capacity(capacity as usize),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.pool.len() as u32
    }

    /// From now on an exchange only waits for copies of its request.
    fn on_answered(&mut self, number: u32) {
        // All wait equally long, so those forgotten by their timers stand in front.
        while self.answered.front().is_some_and(|key| self.pool.resolve(*key).is_none()) {
            self.answered.pop_front();
        }
        self.answered.push_back(self.pool.key(number));
    }

    /// The exchange of this session that keeps the reply to a request.
    pub(super) fn replied(&self, session: SessionRef, key: u64) -> Option<u32> {
        let number = *self.by_request.get(&key)?;
        self.pool.get(number).is_some_and(|kept| kept.session == session).then_some(number)
    }

    /// Makes room by forgetting the oldest answered exchange. A later copy of its request is met
    /// with silence, and the device asks anew.
    fn oldest_answered(&mut self) -> Option<u32> {
        while let Some(key) = self.answered.pop_front() {
            if let Some(number) = self.pool.resolve(key) {
                return Some(number);
            }
        }
        None
    }
}

impl Worker {
    /// Puts the request on the ring and remembers its exchange; `None`: no room for either.
    pub(super) fn uplink(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        bytes: &[u8],
        begun: Option<Begun>,
    ) -> Option<()> {
        if self.exchanges.pool.is_full() {
            let number = self.exchanges.oldest_answered()?;
            self.forget_exchange(number);
        }
        let session = self.slab.session(slot);
        let entry = self.slab.get(slot);
        let windows = Windows {
            piggyback_ms: self.config.coap.publish_window_ms,
            response_ms: self.config.coap.response_timeout_ms,
        };
        let exchange = Exchange {
            coap: Inbound::new(now.ms, request, windows, &self.timing),
            session,
            slot,
            device: entry.device,
            method: request.code,
            is_con: request.ty == Type::Con,
            block1: Block::of(&request.options, Number::BLOCK1),
            received_ms: now.ms,
            kept: None,
            answer: None,
        };
        let due_ms = exchange.coap.due_ms();
        let key = self.exchanges.pool.insert(self.random.random(), exchange)?;
        let mut uplink = wire::Uplink {
            exchange: key.to_wire().into(),
            device: entry.device,
            session: session.0.into(),
            received_unix_ms: now.unix_ms.into(),
            class: entry.class.into(),
            network: entry.network,
            answer_awaited: awaits_answer(request.code).into(),
            body_bytes: 0.into(),
        };
        let mut bytes = bytes;
        let mut has_room = true;
        if let Some(begun) = begun {
            bytes = without_payload(bytes, request);
            let body = self.push_body(key.to_wire(), begun, request.payload);
            has_room = body.is_some();
            uplink.body_bytes = (body.unwrap_or(0) as u32).into();
        }
        let parts = [uplink.as_bytes(), bytes];
        let kind = wire::Kind::Uplink as u8;
        if !has_room || self.up.push(kind, &parts, RING_HEADROOM_BYTES).is_err() {
            self.exchanges.pool.remove(key.number);
            return None;
        }
        if let Some(begun) = begun {
            self.uploads.forget(begun.number);
            self.counters.tally(Tally::UploadWhole);
        }
        self.wheel.set(self.timers.exchange(key.number), due_ms);
        self.counters.tally(Tally::Uplink);
        Some(())
    }

    /// The control plane says what became of an uplink.
    pub(super) fn on_published(
        &mut self,
        now: Now,
        published: &wire::Published,
        publication: Publication,
        outbox: &mut Outbox,
    ) {
        let Some(number) = self.live_exchange(Key::from_wire(published.exchange.get())) else {
            return self.counters.tally(Tally::EntryRefused);
        };
        let exchange = self.exchanges.pool.get_mut(number).expect("it is live");
        let code = match publication {
            Publication::Confirmed if exchange.method == Code::DELETE => Code::DELETED,
            Publication::Confirmed => Code::CHANGED,
            Publication::NoRoute => Code::NOT_FOUND,
            Publication::Forbidden => Code::FORBIDDEN,
            Publication::Unavailable => Code::SERVICE_UNAVAILABLE,
            Publication::TooLarge => Code::REQUEST_ENTITY_TOO_LARGE,
            Publication::AwaitingAnswer => {
                let window_ms = match published.piggyback_window_ms.get() {
                    wire::OWN_WINDOW => self.config.coap.answer_window_ms,
                    told_ms => told_ms,
                };
                exchange.coap.hold_until(exchange.received_ms + u64::from(window_ms));
                if published.response_timeout_ms.get() != 0 {
                    let timeout_ms = u64::from(published.response_timeout_ms.get());
                    exchange.coap.answer_by(exchange.received_ms + timeout_ms);
                }
                return self.on_exchange_due(now, number, outbox);
            }
        };
        if !code.is_success() {
            self.note_exchange(now, number, Event::Unpublished, code);
        }
        let max_age_s = match published.max_age_s.get() {
            0 => self.config.coap.busy_max_age_s,
            told_s => told_s,
        };
        let exchange = self.exchanges.pool.get(number).expect("it is live");
        if exchange.coap.is_held() {
            return self.piggyback_code(number, code, max_age_s, outbox);
        }
        self.respond_code(now, number, code, max_age_s, outbox);
    }

    /// Responds with a code and what follows from it.
    fn respond_code(
        &mut self,
        now: Now,
        number: u32,
        code: Code,
        max_age_s: u32,
        outbox: &mut Outbox,
    ) {
        let ours = self.about_exchange(number, code);
        let fill = |writer: &mut Writer<'_>| {
            fill_code(writer, code, max_age_s);
            write_with(writer, &Options::NONE, &ours);
        };
        self.respond(now, number, code, fill, outbox);
    }

    /// What a response says of the block that the request carried.
    fn about_exchange(&self, number: u32, code: Code) -> Ours {
        let exchange = self.exchanges.pool.get(number).expect("the caller found it");
        self.about_block(exchange.slot, code, exchange.block1)
    }

    /// Answers on the ACK that is held back with a code, which the window of the session remembers:
    /// nothing is left for the exchange to do.
    fn piggyback_code(&mut self, number: u32, code: Code, max_age_s: u32, outbox: &mut Outbox) {
        let ours = self.about_exchange(number, code);
        let exchange = self.exchanges.pool.get(number).expect("the caller found it");
        let (slot, mid, token) = (exchange.slot, exchange.coap.mid(), exchange.coap.token());
        self.slab.get_mut(slot).dedup.settle(mid, Told::Replied(code));
        self.send_message(slot, outbox, |out| {
            let mut writer = Writer::new(out, Type::Ack, code, mid, &token);
            fill_code(&mut writer, code, max_age_s);
            write_with(&mut writer, &Options::NONE, &ours);
            writer.finish().ok()
        });
        self.forget_exchange(number);
    }

    /// The application answers a GET or POST.
    pub(super) fn on_answer(
        &mut self,
        now: Now,
        answer: &wire::Answer,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        let mut told =
            OutcomeOf { message_id: answer.message_id, device: answer.device, network: 0 };
        let number = self.live_exchange(Key::from_wire(answer.exchange.get()));
        let Some((number, exchange)) =
            number.and_then(|n| Some((n, self.exchanges.pool.get_mut(n)?)))
        else {
            return self.refuse_answer(now, &told, FailReason::TokenGone);
        };
        told.network = self.slab.get(exchange.slot).network;
        if exchange.device != answer.device || exchange.coap.is_answered() {
            return self.refuse_answer(now, &told, FailReason::TokenGone);
        }
        let Some(response) = Message::parse(bytes).ok().filter(|m| m.code.is_response()) else {
            return self.refuse_answer(now, &told, FailReason::Malformed);
        };
        exchange.answer = Some(answer.message_id);
        let ours = self.about_exchange(number, response.code);
        let fill = |writer: &mut Writer<'_>| {
            write_with(writer, &response.options, &ours);
            writer.payload(response.payload);
        };
        if !response.code.is_success() {
            self.note_exchange(now, number, Event::Answered, response.code);
        }
        if !self.respond(now, number, response.code, fill, outbox)
            && let Some(exchange) = self.exchanges.pool.get_mut(number)
        {
            exchange.answer = None;
            self.refuse_answer(now, &told, FailReason::Malformed);
        }
    }

    /// The customer's log hears of an answer that is no success.
    fn note_exchange(&mut self, now: Now, number: u32, event: Event, code: Code) {
        let Some(exchange) = self.exchanges.pool.get(number) else { return };
        let notice = wire::Notice {
            event: event as u8,
            method: exchange.method.0,
            code: code.0,
            confirmable: exchange.is_con.into(),
            mid: exchange.coap.mid().into(),
            ..self.notice_of(now, exchange.slot)
        };
        self.tell_notice(now, &notice, &[]);
    }

    fn refuse_answer(&mut self, now: Now, told: &OutcomeOf, reason: FailReason) {
        self.counters.tally(Tally::DownlinkRefused);
        self.tell(now, told, Step::Failed, reason, true, &[]);
    }

    /// Writes and sends the response of an exchange; false when it does not fit a message.
    fn respond(
        &mut self,
        now: Now,
        number: u32,
        code: Code,
        fill: impl Fn(&mut Writer<'_>),
        outbox: &mut Outbox,
    ) -> bool {
        let exchange = self.exchanges.pool.get_mut(number).expect("the caller found it");
        if exchange.coap.is_answered() {
            return false;
        }
        let entry = self.slab.get_mut(exchange.slot);
        let mid = if exchange.coap.is_held() { 0 } else { entry.take_mid() };
        let jitter = self.random.random();
        let separate =
            if exchange.is_con { Separate::Con { mid, jitter } } else { Separate::Non { mid } };
        let mut manner = exchange.coap.respond(now.ms, &self.timing, code, separate, None, &fill);
        if manner.is_err() {
            let Some(kept) = self.keep_place() else { return false };
            let exchange = self.exchanges.pool.get_mut(number).expect("the caller found it");
            exchange.kept = Some(kept);
            let place = self.exchanges.kept.get_mut(kept);
            manner = exchange.coap.respond(now.ms, &self.timing, code, separate, place, &fill);
        }
        let Ok(manner) = manner else {
            self.release_kept(number);
            return false;
        };
        self.send_response(number, outbox);
        self.on_responded(now, number, code, manner);
        true
    }

    /// The response has left; what is still to come for its exchange?
    fn on_responded(&mut self, now: Now, number: u32, code: Code, manner: Manner) {
        let exchange = self.exchanges.pool.get(number).expect("it was just answered");
        let (slot, mid) = (exchange.slot, exchange.coap.mid());
        let is_answer = exchange.answer.is_some();
        if let Some(told) = self.outcome_of_answer(number) {
            let is_last = manner != Manner::Confirmable;
            self.tell(now, &told, Step::Sent, FailReason::None, is_last, &[]);
        }
        let dedup = &mut self.slab.get_mut(slot).dedup;
        match manner {
            // Copies of the request are answered from the exchange, until they can't come any more.
            Manner::Piggybacked if is_answer => {
                dedup.settle(mid, Told::ReplyKept);
                self.exchanges.by_request.insert(sent_key(slot, mid), number);
                self.exchanges.on_answered(number);
                self.arm_exchange(number);
            }
            Manner::Piggybacked => {
                dedup.settle(mid, Told::Replied(code));
                self.forget_exchange(number);
            }
            Manner::Confirmable => {
                let own_mid = self.exchanges.pool.get(number).and_then(|e| e.coap.confirming_mid());
                let own_mid = own_mid.expect("a CON waits for its ACK");
                self.sent.insert(sent_key(slot, own_mid), Sent::Exchange(number));
                self.arm_exchange(number);
            }
            Manner::NonConfirmable => self.forget_exchange(number),
        }
    }

    /// Sends (again) the response that an exchange holds.
    pub(super) fn send_response(&mut self, number: u32, outbox: &mut Outbox) {
        let exchange = self.exchanges.pool.get(number).expect("the caller found it");
        let kept = exchange.kept.and_then(|kept| self.exchanges.kept.get(kept));
        let message = exchange.coap.message(kept);
        let mut copy = [0; tidegate_coap::message::MESSAGE_BYTES_MAX];
        let (slot, length) = (exchange.slot, message.len());
        copy[..length].copy_from_slice(message);
        self.send_message(slot, outbox, |out| {
            out.get_mut(..length)?.copy_from_slice(&copy[..length]);
            Some(length)
        });
    }

    /// An exchange's timer.
    pub(super) fn on_exchange_due(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        if !self.is_session_alive(number) {
            return self.on_exchange_orphaned(now, number);
        }
        while let Some(exchange) = self.exchanges.pool.get_mut(number) {
            match exchange.coap.on_due(now.ms) {
                Act::Nothing => return self.arm_exchange(number),
                Act::SendEmptyAck(_) => {
                    let (slot, mid) = (exchange.slot, exchange.coap.mid());
                    self.slab.get_mut(slot).dedup.settle(mid, Told::EmptyAck);
                    self.send_empty(slot, Type::Ack, mid, outbox);
                }
                Act::ResponseTimeout => {
                    self.counters.tally(Tally::ResponseTimeout);
                    let is_awaited = awaits_answer(exchange.method);
                    let code =
                        if is_awaited { Code::GATEWAY_TIMEOUT } else { Code::SERVICE_UNAVAILABLE };
                    let max_age_s = self.config.coap.busy_max_age_s;
                    self.note_exchange(now, number, Event::TimedOut, code);
                    self.respond_code(now, number, code, max_age_s, outbox);
                }
                Act::Retransmit => {
                    self.counters.tally(Tally::Retransmission);
                    self.send_response(number, outbox);
                }
                Act::GiveUp => {
                    self.counters.tally(Tally::ResponseLost);
                    self.finish_answer(now, number, Step::Failed, FailReason::Timeout);
                }
                Act::Forget => self.forget_exchange(number),
            }
        }
    }

    /// The device has our separate response.
    pub(super) fn on_response_acked(&mut self, now: Now, slot: u32, number: u32, mid: u16) {
        if self.confirms(slot, number, |coap| coap.on_ack(mid)) {
            self.finish_answer(now, number, Step::Delivered, FailReason::None);
        }
    }

    /// The device can't place our separate response.
    pub(super) fn on_response_reset(&mut self, now: Now, slot: u32, number: u32, mid: u16) {
        if self.confirms(slot, number, |coap| coap.on_reset(mid)) {
            self.finish_answer(now, number, Step::Failed, FailReason::Reset);
        }
    }

    fn confirms(&mut self, slot: u32, number: u32, ask: impl FnOnce(&mut Inbound) -> bool) -> bool {
        let session = self.slab.session(slot);
        let exchange = self.exchanges.pool.get_mut(number);
        let is_ours = exchange.is_some_and(|e| e.session == session && ask(&mut e.coap));
        if !is_ours {
            self.counters.tally(Tally::MessageStray);
        }
        is_ours
    }

    /// Tells the last outcome of an application's answer, if it was one, and forgets the exchange.
    fn finish_answer(&mut self, now: Now, number: u32, step: Step, reason: FailReason) {
        if let Some(told) = self.outcome_of_answer(number) {
            self.tell(now, &told, step, reason, true, &[]);
        }
        self.forget_exchange(number);
    }

    /// Its session ended meanwhile.
    fn on_exchange_orphaned(&mut self, now: Now, number: u32) {
        let Some(exchange) = self.exchanges.pool.get(number) else { return };
        if exchange.coap.confirming_mid().is_some() {
            self.finish_answer(now, number, Step::Failed, FailReason::NoSession);
        } else {
            self.forget_exchange(number);
        }
    }

    fn outcome_of_answer(&self, number: u32) -> Option<OutcomeOf> {
        let exchange = self.exchanges.pool.get(number)?;
        let network = self.slab.get(exchange.slot).network;
        Some(OutcomeOf { message_id: exchange.answer?, device: exchange.device, network })
    }

    fn live_exchange(&self, key: Key) -> Option<u32> {
        self.exchanges.pool.resolve(key).filter(|number| self.is_session_alive(*number))
    }

    fn is_session_alive(&self, number: u32) -> bool {
        self.exchanges.pool.get(number).is_some_and(|e| self.slab.resolve(e.session).is_some())
    }

    fn arm_exchange(&mut self, number: u32) {
        let due_ms = self.exchanges.pool.get(number).and_then(|e| e.coap.due_ms());
        self.wheel.set(self.timers.exchange(number), due_ms);
    }

    /// A place for a long reply; the oldest kept one gives way.
    fn keep_place(&mut self) -> Option<u32> {
        while self.exchanges.kept.is_full() {
            let number = self.exchanges.oldest_answered()?;
            self.forget_exchange(number);
        }
        self.exchanges.kept.insert(0, Kept::new()).map(|key| key.number)
    }

    fn release_kept(&mut self, number: u32) {
        let kept = self.exchanges.pool.get_mut(number).and_then(|e| e.kept.take());
        kept.map(|kept| self.exchanges.kept.remove(kept));
    }

    fn forget_exchange(&mut self, number: u32) {
        self.release_kept(number);
        let Some(exchange) = self.exchanges.pool.remove(number) else { return };
        self.wheel.disarm(self.timers.exchange(number));
        if let Some(mid) = exchange.coap.own_mid() {
            self.sent.remove(&sent_key(exchange.slot, mid));
        } else if exchange.coap.is_answered() {
            let request = sent_key(exchange.slot, exchange.coap.mid());
            if self.exchanges.by_request.get(&request) == Some(&number) {
                self.exchanges.by_request.remove(&request);
            }
        }
    }
}

/// Whose outcome is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutcomeOf {
    pub(super) message_id: wire::MessageId,
    pub(super) device: wire::DeviceId,
    pub(super) network: u8,
}

/// Methods whose response the application writes.
fn awaits_answer(method: Code) -> bool {
    matches!(method, Code::GET | Code::POST | Code::FETCH)
}

/// A request's bytes up to the payload marker.
fn without_payload<'a>(bytes: &'a [u8], request: &Message<'_>) -> &'a [u8] {
    let marked = request.payload.len() + usize::from(!request.payload.is_empty());
    &bytes[..bytes.len() - marked]
}

/// Options that follow from the code.
pub(super) fn fill_code(writer: &mut Writer<'_>, code: Code, max_age_s: u32) {
    if matches!(code, Code::SERVICE_UNAVAILABLE | Code::TOO_MANY_REQUESTS) {
        writer.option_uint(Number::MAX_AGE, max_age_s);
    }
}

const _: () = assert!(SHORT_REPLY_BYTES >= 4 + 8 + 6 + 5 + 6, "a code, Max-Age, Block1, Size1");
