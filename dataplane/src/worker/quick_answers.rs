//! How does a device read a long answer whose blocks go without being asked for one by one? In
//! bursts (Q-Block2, RFC 9177 sections 4.4 and 7.2).
//!
//! ```text
//! Answer ─▶ burst of MAX_PAYLOADS ─▶ pause, or 'Continue' ─▶ the next ─▶ … ─▶ the last block
//! request for missing blocks ─▶ just these, with its token
//! ```
//!
//! The first block goes on the exchange of the request, and each other one on an exchange of its
//! own: a NON is forgotten with that, a CON is sent until it is acknowledged, and then the next one
//! goes (NSTART). Where the answer stands and for how long: `answers`.

use super::Worker;
use super::answers::{is_for_application, tag_of};
use super::blocks::{Ours, write_with};
use super::bodies::Part;
use super::exchanges::{Asked, Blocks, Exchange, PathHead};
use super::permits::Refusal;
use super::uploads::is_quick;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::pool::Key;
use arrayvec::ArrayVec;
use rand::Rng;
use tidegate_coap::block::quick::{
    NON_MAX_RETRANSMIT, NON_TIMEOUT_MS, non_timeout_random_ms, time_to_wait_ms,
};
use tidegate_coap::block::{Block, BlockSize, Burst, Missing, NUMBER_MAX, Turn, Wants, What};
use tidegate_coap::code::Code;
use tidegate_coap::inbound::Inbound;
use tidegate_coap::message::{Message, Token, Writer};
use tidegate_coap::no_response::Unwanted;
use tidegate_coap::option::Number;
use tidegate_coap::option::list::Options;
use tidegate_ring::contract::{FailReason, SessionRef, Step};

/// How an answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quick {
    burst: Burst,
    size: BlockSize,
    is_con: bool,
    method: Code,
    session: SessionRef,
    /// Of the request that is answered.
    token: Token,
    /// Of the last request for missing blocks.
    missing_token: Token,
    /// The exchange of a request that has had no block yet.
    opened: Option<Key>,
    /// When to try again, ms, where the piece that is next was not here, or no exchange.
    retry_ms: Option<u64>,
    /// How often such a piece was asked for in vain.
    wanted: u8,
    /// When it is over, ms: nobody acknowledges its blocks, but asks for what is missing.
    ends_ms: Option<u64>,
}

impl Quick {
    fn due_ms(&self) -> Option<u64> {
        self.burst.due_ms().into_iter().chain(self.retry_ms).chain(self.ends_ms).min()
    }

    /// Whether all of it has left, as far as anybody can tell.
    pub(super) fn is_sent(&self) -> bool {
        !self.is_con && self.burst.is_done()
    }
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// It left; its ACK is awaited, or not.
    Sent { awaits_ack: bool },
    /// Not yet: its piece is not here.
    Later,
    /// The answer is forgotten.
    Never,
}

impl Worker {
    /// What a request asks for that awaits an answer.
    pub(super) fn asks(&self, slot: u32, request: &Message<'_>) -> Asked {
        let name = self.uploads.name(self.slab.get(slot).device, request);
        let block2 = Block::of(&request.options, Number::BLOCK2);
        let wants = Wants::of(&request.options).ok().flatten();
        let wanted_size = wants.map(|wants| wants.size).or(block2.map(|block| block.size));
        let size = wanted_size.unwrap_or(self.block_size()).min(self.block_size());
        let first = Block::new(0, false, size).expect("0 is a number");
        let blocks = match wants {
            Some(wants) => Blocks::Quick(wants.what),
            None if is_quick(request) => Blocks::Quick(What::Body),
            None => Blocks::One(block2.unwrap_or(first)),
        };
        Asked { name, size, blocks }
    }

    /// Begins to send an answer, on the exchange of its request.
    pub(super) fn begin_burst(
        &mut self,
        now: Now,
        number: u32,
        exchange: u32,
        (size, what): (BlockSize, What),
        outbox: &mut Outbox,
    ) {
        let pause_ms = non_timeout_random_ms(self.random.random());
        let opened = Some(self.exchanges.pool.key(exchange));
        let Some(asker) = self.exchanges.pool.get(exchange) else { return };
        let (is_con, method, session) = (asker.is_con, asker.method, asker.session);
        let token = asker.coap.token();
        let Some(long) = self.answers.get_mut(number) else { return };
        let blocks = self.bodies.total_bytes(long.body).div_ceil(size.bytes());
        let (from, missing) = match what {
            What::Body => (0, Missing::default()),
            What::From(from) => (from, Missing::default()),
            What::Blocks(missing) => (NUMBER_MAX + 1, missing),
        };
        let Some(mut burst) = Burst::new(blocks, from, (!is_con).then_some(pause_ms)) else {
            let code = Code::REQUEST_ENTITY_TOO_LARGE;
            self.respond_code(now, exchange, code, 0, outbox);
            return self.forget_answer(now, number, FailReason::TooLarge);
        };
        burst.on_missing(missing);
        if burst.next().is_none() {
            self.respond_code(now, exchange, Code::BAD_REQUEST, 0, outbox);
            return self.forget_answer(now, number, FailReason::Malformed);
        }
        long.quick = Some(Quick {
            burst,
            size,
            is_con,
            method,
            session,
            token,
            missing_token: token,
            opened,
            retry_ms: None,
            wanted: 0,
            ends_ms: None,
        });
        self.counters.tally(Tally::AnswerQuick);
        self.go_on(now, number, outbox);
    }

    /// Serves a request with Q-Block2 about an answer that is here; false: it is for the
    /// application.
    pub(super) fn on_quick_wanted(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        wants: Wants,
        outbox: &mut Outbox,
    ) -> Result<bool, Refusal> {
        let name = self.uploads.name(self.slab.get(slot).device, request);
        let number = self.answers.find(name).filter(|_| wants.what != What::Body);
        let Some(number) = number else {
            let is_new = match wants.what {
                What::Body => true,
                What::From(_) => false,
                // Who misses the first block sends no body with the question for it.
                What::Blocks(missing) => missing.as_slice() == [0] && !request.payload.is_empty(),
            };
            return is_for_application(request, is_new);
        };
        let size = wants.size.min(self.block_size());
        let session = self.slab.session(slot);
        let Some(long) = self.answers.get_mut(number) else { return Ok(false) };
        let first = match wants.what {
            What::Blocks(missing) => missing.as_slice().first().copied(),
            What::From(_) | What::Body => None,
        };
        let Some(quick) = long.quick.as_mut().filter(|quick| {
            quick.size == size && first.is_none_or(|first| first < quick.burst.blocks())
        }) else {
            return Err(BAD_REQUEST);
        };
        long.touched_ms = now.ms;
        if quick.session != session {
            // Of the session before, no ACK can come.
            quick.session = session;
            quick.burst.on_ack();
        }
        match wants.what {
            What::From(from) => {
                quick.burst.on_continue(from);
                self.acknowledge(slot, request, outbox);
            }
            What::Blocks(missing) => {
                self.on_missing_wanted(now, number, slot, request, missing, outbox)?;
            }
            What::Body => {}
        }
        self.go_on(now, number, outbox);
        Ok(true)
    }

    /// The blocks that were missed go on the exchange of the request.
    fn on_missing_wanted(
        &mut self,
        now: Now,
        number: u32,
        slot: u32,
        request: &Message<'_>,
        missing: Missing,
        outbox: &mut Outbox,
    ) -> Result<(), Refusal> {
        let opened = self.open_exchange(now, slot, request).ok_or(Refusal {
            code: Code::SERVICE_UNAVAILABLE,
            max_age_s: self.config.coap.busy_max_age_s,
            tally: Tally::UplinkRefused,
        })?;
        let Some(quick) = self.answers.quick_mut(number) else {
            return Ok(());
        };
        quick.burst.on_missing(missing);
        quick.missing_token = request.token;
        let before = quick.opened.replace(opened);
        missing.as_slice().iter().for_each(|_| self.counters.tally(Tally::AnswerBlockMissing));
        // Whoever asked before and got nothing has asked again.
        if let Some(before) = before.and_then(|before| self.live_exchange(before)) {
            self.keep_silent(before, outbox);
        }
        Ok(())
    }

    /// Sends what may go now.
    pub(super) fn go_on(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        while let Some(quick) = self.answers.quick_mut(number) {
            let Some(turn) = quick.burst.next() else { break };
            if self.slab.resolve(quick.session).is_none() {
                break;
            }
            match self.send_quick_block(now, number, turn, outbox) {
                Gone::Sent { awaits_ack } => {
                    if let Some(quick) = self.answers.quick_mut(number) {
                        quick.burst.on_sent(now.ms, awaits_ack);
                    }
                }
                Gone::Later => break,
                Gone::Never => return,
            }
        }
        if let Some(quick) = self.answers.quick_mut(number) {
            let ends_ms = now.ms + time_to_wait_ms(NON_MAX_RETRANSMIT);
            quick.ends_ms = quick.is_sent().then_some(ends_ms);
        }
        self.arm_answer(number);
    }

    /// The timer of an answer.
    pub(super) fn on_answer_due(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(quick) = self.answers.quick_mut(number) else {
            return;
        };
        if quick.ends_ms.is_some_and(|ends_ms| ends_ms <= now.ms) {
            return self.forget_answer(now, number, FailReason::None);
        }
        quick.burst.on_due(now.ms);
        quick.retry_ms.take_if(|retry_ms| *retry_ms <= now.ms);
        self.go_on(now, number, outbox);
    }

    /// The piece that was asked for is here, or will never be.
    pub(super) fn on_quick_piece(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(quick) = self.answers.quick_mut(number) else {
            return;
        };
        (quick.retry_ms, quick.wanted) = (None, 0);
        self.go_on(now, number, outbox);
    }

    /// A Confirmable block is acknowledged: the next one goes.
    pub(super) fn on_fed(&mut self, now: Now, fed: Option<Key>, outbox: &mut Outbox) {
        let Some(number) = fed.and_then(|key| self.answers.resolve(key)) else { return };
        if let Some(quick) = self.answers.quick_mut(number) {
            quick.burst.on_ack();
            self.go_on(now, number, outbox);
        }
    }

    /// A Confirmable block is never acknowledged: its answer ends here.
    pub(super) fn starve(&mut self, now: Now, fed: Option<Key>, reason: FailReason) {
        if let Some(number) = fed.and_then(|key| self.answers.resolve(key)) {
            self.forget_answer(now, number, reason);
        }
    }

    fn send_quick_block(&mut self, now: Now, number: u32, turn: Turn, outbox: &mut Outbox) -> Gone {
        let Some(long) = self.answers.get_mut(number) else { return Gone::Never };
        let (Some(quick), body) = (long.quick, long.body) else { return Gone::Never };
        let (size, opened) = (quick.size, quick.opened);
        let total = self.bodies.total_bytes(body);
        let offset = turn.number as usize * size.bytes();
        let end = total.min(offset + size.bytes());
        let mut payload: ArrayVec<u8, 1_024> = ArrayVec::new();
        match self.bodies.part(body, offset..end) {
            Part::Here(part) => payload.extend(part.iter().copied()),
            Part::Elsewhere => return self.want_for(now, number, offset),
            Part::Gone => {
                self.forget_answer(now, number, FailReason::Timeout);
                if let Some(exchange) = opened.and_then(|key| self.live_exchange(key)) {
                    let code = Code::REQUEST_ENTITY_INCOMPLETE;
                    self.respond_code(now, exchange, code, 0, outbox);
                }
                return Gone::Never;
            }
        }
        let Some(exchange) = self.exchange_for(now, number, turn) else { return Gone::Later };
        let block = Block::new(turn.number, end < total, size).expect("there are no more");
        self.respond_block(now, (number, exchange), (turn, block, total), &payload, outbox);
        let exchange = self.exchanges.pool.get(exchange);
        let awaits_ack = exchange.is_some_and(|it| it.coap.confirming_mid().is_some());
        Gone::Sent { awaits_ack }
    }

    /// Writes a block as a response and sends it.
    fn respond_block(
        &mut self,
        now: Now,
        (number, exchange): (u32, u32),
        (turn, block, total): (Turn, Block, usize),
        payload: &[u8],
        outbox: &mut Outbox,
    ) {
        let Some(long) = self.answers.get_mut(number) else { return };
        let (told, code, encoded) = (long.told, long.code, long.options.clone());
        let is_first = !std::mem::replace(&mut long.is_sent, true);
        let is_con = long.quick.is_some_and(|quick| quick.is_con);
        let ends = is_con && !block.more && !std::mem::replace(&mut long.is_over, true);
        if ends {
            self.set_answer(exchange, told.message_id);
        }
        let Ok((options, _)) = Options::parse(&encoded) else { return };
        let mut ours = Ours::new();
        if options.first(Number::ETAG).is_none() {
            ours.push((Number::ETAG, tag_of(&told.message_id)));
        }
        ours.push((Number::SIZE2, total as u32));
        ours.push((Number::Q_BLOCK2, block.value()));
        // RFC 9177 section 4.5.
        let is_said = |number: Number| !turn.is_missing || number != Number::OBSERVE;
        let fill = |writer: &mut Writer<'_>| {
            write_with(writer, options.iter().filter(|option| is_said(option.number)), &ours);
            writer.payload(payload);
        };
        self.respond(now, exchange, code, fill, outbox);
        if is_first && !ends {
            self.tell(now, &told, Step::Sent, FailReason::None, false, &[]);
        }
    }

    /// The piece of a body that begins here is asked for, as long as that is of use.
    fn want_for(&mut self, now: Now, number: u32, offset: usize) -> Gone {
        let Some(long) = self.answers.get_mut(number) else { return Gone::Never };
        let body = long.body;
        let Some(quick) = long.quick.as_mut().filter(|it| it.wanted < NON_MAX_RETRANSMIT) else {
            self.forget_answer(now, number, FailReason::Timeout);
            return Gone::Never;
        };
        quick.wanted += 1;
        quick.retry_ms = Some(now.ms + NON_TIMEOUT_MS);
        self.want(body, offset);
        Gone::Later
    }

    /// The exchange that a block goes on: the one of its request, or one that follows it.
    fn exchange_for(&mut self, now: Now, number: u32, turn: Turn) -> Option<u32> {
        let feeds = Some(self.answers.key(number));
        let long = self.answers.get_mut(number)?;
        let (terms, quick) = (long.terms, long.quick.as_mut()?);
        let (opened, quick) = (quick.opened.take(), *quick);
        if let Some(exchange) = opened.and_then(|key| self.live_exchange(key)) {
            let asker = self.exchanges.pool.get_mut(exchange)?;
            (asker.terms, asker.feeds) = (terms, feeds);
            return Some(exchange);
        }
        let slot = self.slab.resolve(quick.session)?;
        let token = if turn.is_missing { quick.missing_token } else { quick.token };
        let following = Exchange {
            coap: Inbound::following(now.ms, token),
            session: quick.session,
            slot,
            device: self.slab.get(slot).device,
            method: quick.method,
            is_con: quick.is_con,
            unwanted: Unwanted::default(),
            block1: None,
            finished: None,
            asked: None,
            follows_up: true,
            feeds,
            received_ms: now.ms,
            path: PathHead::of(std::iter::empty()),
            terms,
            kept: None,
            answer: None,
        };
        let key = self.add_exchange(following);
        if key.is_none()
            && let Some(quick) = self.answers.quick_mut(number)
        {
            quick.retry_ms = Some(now.ms + NON_TIMEOUT_MS);
        }
        key.map(|key| key.number)
    }

    fn arm_answer(&mut self, number: u32) {
        let due_ms = self.answers.quick_mut(number).and_then(|quick| quick.due_ms());
        self.wheel.set(self.timers.answer(number), due_ms);
    }
}

const BAD_REQUEST: Refusal =
    Refusal { code: Code::BAD_REQUEST, max_age_s: 0, tally: Tally::RequestRejected };
