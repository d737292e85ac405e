//! How does a device read an answer that is longer than a message? Block by block, each asked for
//! by a request of its own with Block2 (RFC 7959 section 2.4), which is served here and published
//! nowhere. Answers that go in bursts (RFC 9177): `quick_answers`.
//!
//! ```text
//! Answer ─▶ first block on the request's exchange: Block2 0/1, Size2, ETag
//! request with Block2 n ─▶ the same name? ─▶ block n · not here: Wanted, Piece, block n
//!                                        └▶ no: GET, FETCH: to the application; POST: 4.08
//! ```
//!
//! The answer's last outcome is that of its last block. *Bound:* `ANSWERS_MAX`; the one that was
//! idle longest gives way, if that is long.

use super::Worker;
use super::blocks::{Ours, write_with};
use super::bodies::{ForWhom, Part};
use super::downlink::UNTOLD;
use super::exchanges::Blocks;
use super::permits::Refusal;
use super::quick_answers::Quick;
use super::uplink::OutcomeOf;
use super::uploads::Name;
use crate::bounds::{ANSWER_OPTIONS_BYTES_MAX, ANSWERS_MAX, UPLOAD_GRACE_MS};
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::pool::{Key, Pool};
use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use rand::Rng;
use tidegate_coap::block::{Block, Unordered, Wants};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Writer};
use tidegate_coap::option::Number;
use tidegate_coap::option::list::Options;
use tidegate_ring::contract::{self as wire, FailReason, Step};

/// All answers that devices read block by block.
#[derive(Debug)]
pub(super) struct Answers {
    pool: Pool<Long>,
    by_name: HashMap<Name, u32, RandomState>,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Long {
    /// Of the request it answers.
    name: Name,
    pub(super) told: OutcomeOf,
    pub(super) code: Code,
    pub(super) options: ArrayVec<u8, ANSWER_OPTIONS_BYTES_MAX>,
    pub(super) body: Key,
    pub(super) terms: wire::Terms,
    /// The exchange that waits for a piece, and what it asked for.
    waiting: Option<(Key, Block)>,
    /// How it goes, if not each block is asked for.
    pub(super) quick: Option<Quick>,
    pub(super) touched_ms: u64,
    pub(super) is_sent: bool,
    /// Its last block has left: its outcome is the exchange's.
    pub(super) is_over: bool,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            pool: Pool::new(ANSWERS_MAX),
            by_name: HashMap::with_capacity_and_hasher(
                ANSWERS_MAX as usize,
                RandomState::default(),
            ),
        }
    }

    pub(super) fn find(&self, name: Name) -> Option<u32> {
        self.by_name.get(&name).copied()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Long> {
        self.pool.get_mut(number)
    }

    /// An answer that goes in bursts, and how.
    pub(super) fn quick_mut(&mut self, number: u32) -> Option<&mut Quick> {
        self.pool.get_mut(number)?.quick.as_mut()
    }

    pub(super) fn key(&self, number: u32) -> Key {
        self.pool.key(number)
    }

    pub(super) fn resolve(&self, key: Key) -> Option<u32> {
        self.pool.resolve(key)
    }

    /// One that is a value of the edge's own, and the exchange that waits for a piece of it.
    fn value_of(&self, device: &wire::DeviceId) -> Option<(u32, Option<Key>)> {
        self.by_name.values().find_map(|number| {
            let long = self.pool.get(*number)?;
            let OutcomeOf { message_id, device: of, .. } = &long.told;
            let is_value = message_id == &UNTOLD || message_id.starts_with(&wire::VALUE_PREFIX);
            let waiting = long.waiting.map(|(exchange, _)| exchange);
            (is_value && of == device).then_some((*number, waiting))
        })
    }

    /// The one that nobody has asked for longest, if that is before `before_ms`.
    fn idle(&self, before_ms: u64) -> Option<u32> {
        let all = (0..ANSWERS_MAX).filter_map(|number| Some((number, self.pool.get(number)?)));
        let idle = all.filter(|(_, long)| long.touched_ms < before_ms);
        idle.min_by_key(|(_, long)| long.touched_ms).map(|(number, _)| number)
    }
}

impl Worker {
    /// Takes an answer whose body is longer than a block, and sends its first block on the
    /// request's exchange; why not, if not.
    pub(super) fn answer_long(
        &mut self,
        now: Now,
        exchange: u32,
        told: OutcomeOf,
        response: &Message<'_>,
        total_bytes: usize,
        outbox: &mut Outbox,
    ) -> Result<(), FailReason> {
        let asked = self.asked(exchange).ok_or(FailReason::Malformed)?;
        let name = asked.name;
        if let Some(before) = self.answers.find(name) {
            self.forget_answer(now, before, FailReason::Timeout);
        }
        if self.answers.pool.is_full()
            && let Some(idle) = self.answers.idle(now.ms.saturating_sub(UPLOAD_GRACE_MS))
        {
            self.forget_answer(now, idle, FailReason::Timeout);
        }
        let mut options = ArrayVec::new();
        let bytes = response.options.as_bytes();
        options.try_extend_from_slice(bytes).map_err(|_| FailReason::Malformed)?;
        let code = response.code;
        let long = Long {
            name,
            told,
            code,
            options,
            body: Key { number: u32::MAX, nonce: 0 },
            terms: self.terms_of(exchange),
            waiting: None,
            quick: None,
            touched_ms: now.ms,
            is_sent: false,
            is_over: false,
        };
        let key = self.answers.pool.insert(self.random.random(), long).ok_or(FailReason::Busy)?;
        let of = (told.message_id, told.device);
        let for_whom = ForWhom::Answer(key.number);
        let Some(body) = self.begin_body(of, for_whom, total_bytes, response.payload) else {
            self.answers.pool.remove(key.number);
            return Err(FailReason::Busy);
        };
        self.answers.by_name.insert(name, key.number);
        if let Some(long) = self.answers.pool.get_mut(key.number) {
            long.body = body;
        }
        self.counters.tally(Tally::AnswerLong);
        match asked.blocks {
            Blocks::One(block) => self.answer_block(now, key.number, exchange, block, outbox),
            Blocks::Quick(what) => {
                self.begin_burst(now, key.number, exchange, (asked.size, what), outbox);
            }
        }
        Ok(())
    }

    /// Serves a request for a block of an answer that is here; false: it is for the application.
    pub(super) fn on_block_wanted(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        outbox: &mut Outbox,
    ) -> Result<bool, Refusal> {
        if let Some(wants) = wants(request)? {
            return self.on_quick_wanted(now, slot, request, wants, outbox);
        }
        let Some(block) = block2(request)?.filter(|block| block.number() > 0) else {
            return Ok(false);
        };
        let name = self.uploads.name(self.slab.get(slot).device, request);
        let Some(number) = self.answers.find(name) else {
            return is_for_application(request, false);
        };
        let exchange = self.open_exchange(now, slot, request).ok_or(Refusal {
            code: Code::SERVICE_UNAVAILABLE,
            max_age_s: self.config.coap.busy_max_age_s,
            tally: Tally::UplinkRefused,
        })?;
        self.answer_block(now, number, exchange.number, block, outbox);
        Ok(true)
    }

    /// A piece of an answer is here, or will never be.
    pub(super) fn on_answer_piece(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(long) = self.answers.pool.get_mut(number) else { return };
        let Some((exchange, block)) = long.waiting.take() else {
            return self.on_quick_piece(now, number, outbox);
        };
        if let Some(exchange) = self.live_exchange(exchange) {
            self.answer_block(now, number, exchange, block, outbox);
        }
    }

    /// Answers an exchange with a block, or has it wait for the piece that the block is in.
    fn answer_block(
        &mut self,
        now: Now,
        number: u32,
        exchange: u32,
        wanted: Block,
        outbox: &mut Outbox,
    ) {
        let size = wanted.size.min(self.block_size());
        let Some(long) = self.answers.pool.get_mut(number) else { return };
        long.touched_ms = now.ms;
        let (told, code, body, terms) = (long.told, long.code, long.body, long.terms);
        let options = long.options.clone();
        self.set_terms(exchange, terms);
        let total = self.bodies.total_bytes(body);
        let offset = wanted.offset();
        if offset >= total {
            return self.respond_code(now, exchange, Code::BAD_REQUEST, 0, outbox);
        }
        let end = total.min(offset + size.bytes());
        let mut payload: ArrayVec<u8, 1_024> = ArrayVec::new();
        match self.bodies.part(body, offset..end) {
            Part::Here(part) => payload.extend(part.iter().copied()),
            Part::Elsewhere => {
                let key = self.exchange_key(exchange);
                if let Some(long) = self.answers.pool.get_mut(number) {
                    long.waiting = Some((key, wanted));
                }
                return self.want(body, offset);
            }
            Part::Gone => {
                self.forget_answer(now, number, FailReason::Timeout);
                let code = Code::REQUEST_ENTITY_INCOMPLETE;
                return self.respond_code(now, exchange, code, 0, outbox);
            }
        }
        let is_last = end == total;
        let block = Block::at(offset, !is_last, size).expect("a block begins where it was wanted");
        let Ok((options, _)) = Options::parse(&options) else { return };
        let has_tag = options.first(Number::ETAG).is_some();
        let ours = self.about_answer(exchange, code, block, total, (told.message_id, has_tag));
        let long = self.answers.pool.get_mut(number).expect("it was just found");
        let is_first = !std::mem::replace(&mut long.is_sent, true);
        if is_last && !std::mem::replace(&mut long.is_over, true) {
            self.set_answer(exchange, told.message_id);
        }
        let fill = |writer: &mut Writer<'_>| {
            write_with(writer, options.iter(), &ours);
            writer.payload(&payload);
        };
        self.respond(now, exchange, code, fill, outbox);
        if is_first && !is_last {
            self.tell(now, &told, Step::Sent, FailReason::None, false, &[]);
        }
    }

    /// What of ours stands in a block of an answer.
    fn about_answer(
        &self,
        exchange: u32,
        code: Code,
        block: Block,
        total_bytes: usize,
        (message_id, has_tag): ([u8; 16], bool),
    ) -> Ours {
        let mut ours = Ours::new();
        if !has_tag {
            ours.push((Number::ETAG, tag_of(&message_id)));
        }
        ours.push((Number::BLOCK2, block.value()));
        ours.extend(self.about_exchange(exchange, code));
        if block.number() == 0 {
            let at = ours.iter().position(|(number, _)| *number > Number::SIZE2);
            ours.insert(at.unwrap_or(ours.len()), (Number::SIZE2, total_bytes as u32));
        }
        ours
    }

    /// Forgets an answer; one that was not read to its end has failed.
    pub(super) fn forget_answer(&mut self, now: Now, number: u32, reason: FailReason) {
        let Some(long) = self.answers.pool.remove(number) else { return };
        self.answers.by_name.remove(&long.name);
        self.bodies.forget(long.body);
        self.wheel.disarm(self.timers.answer(number));
        if long.quick.is_some_and(|quick| quick.is_sent()) {
            self.tell(now, &long.told, Step::Sent, FailReason::None, true, &[]);
        } else if !long.is_over {
            self.tell(now, &long.told, Step::Failed, reason, true, &[]);
        }
    }

    /// Forgets values of the edge's own that a device reads: it hears of another one, and asks for
    /// blocks of that next.
    pub(super) fn forget_values(&mut self, now: Now, device: &wire::DeviceId, outbox: &mut Outbox) {
        while let Some((number, waiting)) = self.answers.value_of(device) {
            self.forget_answer(now, number, FailReason::Cancelled);
            if let Some(exchange) = waiting.and_then(|waiting| self.live_exchange(waiting)) {
                let code = Code::REQUEST_ENTITY_INCOMPLETE;
                self.respond_code(now, exchange, code, 0, outbox);
            }
        }
    }

    /// Forgets answers that nobody reads on.
    pub(super) fn sweep_answers(&mut self, now: Now) {
        let idle_ms = u64::from(self.config.coap.upload_idle_s) * 1_000;
        while let Some(number) = self.answers.idle(now.ms.saturating_sub(idle_ms)) {
            self.forget_answer(now, number, FailReason::Timeout);
        }
    }
}

/// The ETag of an answer that came without one. *Why the message's id:* a message has one body for
/// ever.
pub(super) fn tag_of(message_id: &wire::MessageId) -> u32 {
    let [a, b, c, d, ..] = *message_id;
    u32::from_be_bytes([a, b, c, d]) | 1 << 31
}

/// Whether a request for a block of an answer that is not here goes to the application; else it is
/// refused. To ask again what a block stands in is safe, to do again is not.
pub(super) fn is_for_application(request: &Message<'_>, is_new: bool) -> Result<bool, Refusal> {
    if is_new || matches!(request.code, Code::GET | Code::FETCH) {
        return Ok(false);
    }
    let (code, tally) = (Code::REQUEST_ENTITY_INCOMPLETE, Tally::UploadIncomplete);
    Err(Refusal { code, max_age_s: 0, tally })
}

/// What a request asks for with Q-Block2; `Err`: it contradicts itself.
fn wants(request: &Message<'_>) -> Result<Option<Wants>, Refusal> {
    let (code, tally) = (Code::BAD_REQUEST, Tally::RequestRejected);
    Wants::of(&request.options).map_err(|Unordered| Refusal { code, max_age_s: 0, tally })
}

/// Block2 of a request; `Err`: it has the reserved size (RFC 7959 section 2.2).
pub(super) fn block2(request: &Message<'_>) -> Result<Option<Block>, Refusal> {
    let block = Block::of(&request.options, Number::BLOCK2);
    if block.is_none() && request.options.first(Number::BLOCK2).is_some() {
        let (code, tally) = (Code::BAD_REQUEST, Tally::RequestRejected);
        return Err(Refusal { code, max_age_s: 0, tally });
    }
    Ok(block)
}
