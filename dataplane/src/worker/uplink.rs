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
use super::downlink::timing;
use super::exchanges::{Asked, Exchange, PathHead};
use super::messages::{Sent, sent_key};
use crate::bounds::RING_HEADROOM_BYTES;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::pool::Key;
use rand::Rng;
use tidegate_coap::block::Block;
use tidegate_coap::code::Code;
use tidegate_coap::dedup::Told;
use tidegate_coap::inbound::{Act, Inbound, Manner, SHORT_REPLY_BYTES, Separate, Windows};
use tidegate_coap::message::{Message, Type, Writer};
use tidegate_coap::no_response::Unwanted;
use tidegate_coap::option::Number;
use tidegate_faults::{Bug, Point, has, may_die};
use tidegate_ring::contract::{self as wire, Event, FailReason, Publication, Step};
use tidegate_ring::policy::Path;
use zerocopy::IntoBytes;

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
        let key = self.open_exchange(now, slot, request)?;
        if awaits_answer(request.code) {
            let asked = self.asks(slot, request);
            let exchange = self.exchanges.pool.get_mut(key.number).expect("it was just made");
            (exchange.asked, exchange.follows_up) = (Some(asked), false);
        }
        let session = self.slab.session(slot);
        let entry = self.slab.get(slot);
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
        let kind = wire::Kind::Uplink;
        if !has_room || self.up.push(kind, &parts, RING_HEADROOM_BYTES).is_err() {
            self.forget_exchange(key.number);
            return None;
        }
        if let Some(begun) = begun {
            self.counters.tally(Tally::UploadWhole);
            if begun.is_whole {
                let name = self.finish_upload(now, slot, begun);
                let exchange = self.exchanges.pool.get_mut(key.number).expect("it was just made");
                exchange.finished = Some(name);
            } else {
                self.uploads.forget(begun.number);
            }
        }
        self.counters.tally(Tally::Uplink);
        Some(())
    }

    /// An exchange for a request; `None`: there is no room.
    pub(super) fn open_exchange(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
    ) -> Option<Key> {
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
            unwanted: Unwanted::of(&request.options),
            block1: Block::of(&request.options, Number::BLOCK1),
            finished: None,
            asked: None,
            follows_up: true,
            feeds: None,
            received_ms: now.ms,
            path: PathHead::of(request.options.all(Number::URI_PATH)),
            terms: wire::Terms::OWN,
            kept: None,
            answer: None,
        };
        self.add_exchange(exchange)
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
        exchange.terms = published.terms;
        let code = match publication {
            Publication::Confirmed if exchange.method == Code::DELETE => Code::DELETED,
            Publication::Confirmed => Code::CHANGED,
            Publication::NoRoute => Code::NOT_FOUND,
            Publication::Forbidden => Code::FORBIDDEN,
            Publication::Unavailable => Code::SERVICE_UNAVAILABLE,
            Publication::TooLarge => Code::REQUEST_ENTITY_TOO_LARGE,
            Publication::NotFulfilled => Code::PRECONDITION_FAILED,
            Publication::AwaitingAnswer => {
                let window_ms = match published.piggyback_window_ms.get() {
                    wire::OWN_WINDOW => self.config.coap.answer_window_ms,
                    told_ms => told_ms,
                };
                exchange.coap.hold_until(exchange.received_ms + u64::from(window_ms));
                let timeout_ms = u64::from(published.terms.response_timeout_ms.get());
                if timeout_ms != 0 {
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
    pub(super) fn respond_code(
        &mut self,
        now: Now,
        number: u32,
        code: Code,
        max_age_s: u32,
        outbox: &mut Outbox,
    ) {
        self.tell_finished(number, code);
        let ours = self.about_exchange(number, code);
        let fill = |writer: &mut Writer<'_>| {
            fill_code(writer, code, max_age_s);
            write_with(writer, std::iter::empty(), &ours);
        };
        self.respond(now, number, code, fill, outbox);
    }

    /// What a response says of the block that the request carried.
    pub(super) fn about_exchange(&self, number: u32, code: Code) -> Ours {
        let exchange = self.exchanges.pool.get(number).expect("the caller found it");
        self.about_block(exchange.slot, code, exchange.block1)
    }

    /// Answers on the ACK that is held back with a code, which the window of the session remembers:
    /// nothing is left for the exchange to do.
    fn piggyback_code(&mut self, number: u32, code: Code, max_age_s: u32, outbox: &mut Outbox) {
        self.tell_finished(number, code);
        let ours = self.about_exchange(number, code);
        let exchange = self.exchanges.pool.get(number).expect("the caller found it");
        let (slot, mid, token) = (exchange.slot, exchange.coap.mid(), exchange.coap.token());
        if exchange.unwanted.covers(code) {
            return self.keep_silent(number, outbox);
        }
        self.slab.get_mut(slot).dedup.settle(mid, Told::Replied(code));
        may_die(Point::ReplyTold);
        self.send_message(slot, outbox, |out| {
            let mut writer = Writer::new(out, Type::Ack, code, mid, &token);
            fill_code(&mut writer, code, max_age_s);
            write_with(&mut writer, std::iter::empty(), &ours);
            writer.finish().ok()
        });
        self.forget_exchange(number);
    }

    /// What is told of a body is told again when its last block comes again.
    fn tell_finished(&mut self, number: u32, code: Code) {
        let Some(exchange) = self.exchanges.pool.get(number) else { return };
        if let Some(name) = exchange.finished {
            self.finished.tell(exchange.session, name, code);
        }
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
        exchange.terms = answer.terms;
        let Some(response) = Message::parse(bytes).ok().filter(|m| m.code.is_response()) else {
            return self.refuse_answer(now, &told, FailReason::Malformed);
        };
        let body_bytes = answer.body_bytes.get() as usize;
        if body_bytes > 0 || response.payload.len() > self.answer_block_bytes(number) {
            if let Err(reason) = self.answer_long(now, number, told, &response, body_bytes, outbox)
            {
                self.refuse_answer(now, &told, reason);
            }
            return;
        }
        let exchange = self.exchanges.pool.get_mut(number).expect("it is live");
        exchange.answer = Some(answer.message_id);
        let ours = self.about_exchange(number, response.code);
        let fill = |writer: &mut Writer<'_>| {
            write_with(writer, response.options.iter(), &ours);
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
        let path = Path::of(exchange.path.segments());
        self.tell_notice(now, &notice, path.as_bytes());
    }

    fn refuse_answer(&mut self, now: Now, told: &OutcomeOf, reason: FailReason) {
        self.counters.tally(Tally::DownlinkRefused);
        self.tell(now, told, Step::Failed, reason, true, &[]);
    }

    /// Writes and sends the response of an exchange; false when it does not fit a message.
    pub(super) fn respond(
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
        if exchange.unwanted.covers(code) {
            if let Some(told) = self.outcome_of_answer(number) {
                self.tell(now, &told, Step::Sent, FailReason::None, true, &[]);
            }
            self.keep_silent(number, outbox);
            return true;
        }
        let entry = self.slab.get_mut(exchange.slot);
        let mid = if exchange.coap.is_held() { 0 } else { entry.take_mid() };
        let jitter = self.random.random();
        let separate =
            if exchange.is_con { Separate::Con { mid, jitter } } else { Separate::Non { mid } };
        let timing = timing(&exchange.terms, &self.timing);
        let mut manner = exchange.coap.respond(now.ms, &timing, code, separate, None, &fill);
        if manner.is_err() {
            let Some(kept) = self.keep_place() else { return false };
            let exchange = self.exchanges.pool.get_mut(number).expect("the caller found it");
            exchange.kept = Some(kept);
            let place = self.exchanges.kept.get_mut(kept);
            manner = exchange.coap.respond(now.ms, &timing, code, separate, place, &fill);
        }
        let Ok(manner) = manner else {
            self.release_kept(number);
            return false;
        };
        self.send_response(number, outbox);
        self.on_responded(now, number, code, manner);
        true
    }

    /// The device does not want to hear the response (RFC 7967): a CON is acknowledged, no more.
    pub(super) fn keep_silent(&mut self, number: u32, outbox: &mut Outbox) {
        let exchange = self.exchanges.pool.get(number).expect("the caller found it");
        let (slot, mid) = (exchange.slot, exchange.coap.mid());
        if exchange.coap.is_held() {
            self.slab.get_mut(slot).dedup.settle(mid, Told::EmptyAck);
            self.send_empty(slot, Type::Ack, mid, outbox);
        }
        self.forget_exchange(number);
    }

    /// The response has left; what is still to come for its exchange?
    fn on_responded(&mut self, now: Now, number: u32, code: Code, manner: Manner) {
        let exchange = self.exchanges.pool.get(number).expect("it was just answered");
        let (slot, mid) = (exchange.slot, exchange.coap.mid());
        let (is_answer, follows_up) = (exchange.answer.is_some(), exchange.follows_up);
        let is_asked = exchange.asked.is_some() && code.is_success();
        if let Some(told) = self.outcome_of_answer(number) {
            let is_last = manner != Manner::Confirmable;
            self.tell(now, &told, Step::Sent, FailReason::None, is_last, &[]);
        }
        let dedup = &mut self.slab.get_mut(slot).dedup;
        match manner {
            // Copies of the request are answered from the exchange, until they can't come any more.
            // The block is at hand for a copy of its request.
            Manner::Piggybacked if follows_up && !is_answer => {
                dedup.forget(mid);
                self.forget_exchange(number);
            }
            Manner::Piggybacked if is_answer || is_asked => {
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
            Manner::NonConfirmable if has(Bug::ExchangeKept) => {}
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
                    self.starve(now, self.fed_by(number), FailReason::Timeout);
                    self.finish_answer(now, number, Step::Failed, FailReason::Timeout);
                }
                Act::Forget => self.forget_exchange(number),
            }
        }
    }

    /// The device has our separate response.
    pub(super) fn on_response_acked(
        &mut self,
        now: Now,
        slot: u32,
        number: u32,
        mid: u16,
        outbox: &mut Outbox,
    ) {
        if self.confirms(slot, number, |coap| coap.on_ack(mid)) {
            let fed = self.fed_by(number);
            self.finish_answer(now, number, Step::Delivered, FailReason::None);
            self.on_fed(now, fed, outbox);
        }
    }

    /// The device can't place our separate response.
    pub(super) fn on_response_reset(&mut self, now: Now, slot: u32, number: u32, mid: u16) {
        if self.confirms(slot, number, |coap| coap.on_reset(mid)) {
            self.starve(now, self.fed_by(number), FailReason::Reset);
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

    /// What the exchange's request asks for.
    pub(super) fn asked(&self, number: u32) -> Option<Asked> {
        self.exchanges.pool.get(number)?.asked
    }

    fn fed_by(&self, number: u32) -> Option<Key> {
        self.exchanges.pool.get(number)?.feeds
    }

    /// How a separate response to the request is sent.
    pub(super) fn terms_of(&self, number: u32) -> wire::Terms {
        self.exchanges.pool.get(number).map_or(wire::Terms::OWN, |exchange| exchange.terms)
    }

    /// The same, to be said: a request for a block comes with no word of the control plane.
    pub(super) fn set_terms(&mut self, number: u32, terms: wire::Terms) {
        if let Some(exchange) = self.exchanges.pool.get_mut(number) {
            exchange.terms = terms;
        }
    }

    /// The largest payload that the answer to a request may have in one message, bytes.
    fn answer_block_bytes(&self, number: u32) -> usize {
        self.asked(number).map_or(self.block_size(), |asked| asked.size).bytes()
    }

    /// The exchange's response ends an answer, and its outcome is the answer's.
    pub(super) fn set_answer(&mut self, number: u32, message_id: wire::MessageId) {
        if let Some(exchange) = self.exchanges.pool.get_mut(number) {
            exchange.answer = Some(message_id);
        }
    }

    fn outcome_of_answer(&self, number: u32) -> Option<OutcomeOf> {
        let exchange = self.exchanges.pool.get(number)?;
        let network = self.slab.get(exchange.slot).network;
        Some(OutcomeOf { message_id: exchange.answer?, device: exchange.device, network })
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
