//! What becomes of a block that comes as it likes? It is kept in its place; the one that makes the
//! body whole makes an uplink of it (Q-Block1, RFC 9177 sections 4.3 and 7.2).
//!
//! ```text
//! NON block ─▶ kept ┬─ whole ─▶ as the last block of any body
//!                   ├─ 2.31: a set of MAX_PAYLOADS is here
//!                   └─ 4.08 with the numbers of missing blocks: another set began, or silence
//! CON block ─▶ kept, acknowledged; whole ─▶ the same
//! ```
//!
//! *Why nothing else is remembered of a NON block:* its Request-Tag and number say whether it came
//! before, longer than a Message ID would; and a burst leaves no room for other Message IDs.

use super::Worker;
use super::blocks::{Begun, Served, refusal};
use super::finished::Late;
use super::permits::Refusal;
use super::uploads::{Name, Progress, Uploads};
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use tidegate_coap::block::{Block, CBOR_BYTES_MAX, Due, Gather, Missing, Next, Part, Place};
use tidegate_coap::code::Code;
use tidegate_coap::content_format;
use tidegate_coap::message::{Message, Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_ring::contract::SessionRef;

/// A body whose blocks come as they like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gathering {
    gather: Gather,
    /// The session of its blocks. *Why it ends with that:* see `finished`.
    session: SessionRef,
    /// Of the last block that came.
    token: Token,
    /// Message ID of our last question for missing blocks.
    asked_mid: Option<u16>,
}

/// What became of a block.
#[derive(Clone, Copy, Debug)]
enum Gathered {
    /// It is kept, or was: in the body of this number, and this follows.
    Here(u32, Next),
    /// It is not kept, for this reason.
    Refused(Part),
    /// There is no room.
    NoRoom,
}

/// Who sent a block.
#[derive(Clone, Copy, Debug)]
struct Sender {
    session: SessionRef,
    token: Token,
    is_con: bool,
}

impl Uploads {
    /// Takes a block; how many other bodies had to give way comes with what became of it.
    fn gather(
        &mut self,
        now_ms: u64,
        name: Name,
        sender: Sender,
        block: Block,
        request: &Message<'_>,
    ) -> (Gathered, usize) {
        let size1 = request.options.uint(Number::SIZE1).unwrap_or(0) as usize;
        let payload = request.payload;
        let mut found = self.find(name);
        let before = found.and_then(|number| self.gathering(number)).copied();
        let before = before.filter(|before| before.session == sender.session);
        let mut gathering = if let Some(before) = before {
            before
        } else {
            if let Some(number) = found.take() {
                self.forget(number);
            }
            let Some(gather) = Gather::new(block.size, size1) else {
                return (Gathered::Refused(Part::Malformed), 0);
            };
            let Sender { session, token, .. } = sender;
            Gathering { gather, session, token, asked_mid: None }
        };
        let place = gathering.gather.judge(block, payload.len(), size1);
        if place == Place::Malformed {
            return (Gathered::Refused(Part::Malformed), 0);
        }
        if place == Place::New {
            gathering.gather.take(block);
        }
        gathering.token = sender.token;
        let next = gathering.arrived(now_ms, block, sender.is_con);
        let progress = Progress::AnyOrder(gathering);
        if let Some(number) = found.filter(|_| place != Place::New) {
            self.set_progress(now_ms, number, progress);
            return (Gathered::Here(number, next), 0);
        }
        match self.put(now_ms, name, found, progress, (block.offset(), payload)) {
            (Some(number), gave_way) => (Gathered::Here(number, next), gave_way),
            (None, gave_way) => (Gathered::NoRoom, gave_way),
        }
    }
}

impl Gathering {
    /// A block is here; of Confirmable ones the sender knows by itself which are missing.
    fn arrived(&mut self, now_ms: u64, block: Block, is_con: bool) -> Next {
        match self.gather.on_block(now_ms, block) {
            Next::Whole => Next::Whole,
            _ if is_con => {
                self.gather.keep_quiet();
                Next::Wait
            }
            next => next,
        }
    }
}

impl Worker {
    /// Serves a request with Q-Block1, if it does not make its body whole; which body it ends, if
    /// it does.
    pub(super) fn on_quick_block(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        block: Block,
        outbox: &mut Outbox,
    ) -> Result<Served, Refusal> {
        let (session, device) = (self.slab.session(slot), self.slab.get(slot).device);
        let name = self.uploads.name(device, request);
        if let Some(late) = self.finished.late(session, name) {
            self.on_late_block(now, slot, request, late, outbox);
            return Ok(Served::Kept);
        }
        let size1 = request.options.uint(Number::SIZE1).unwrap_or(0) as usize;
        if size1 > self.longest_body(slot) {
            return Err(refusal(Part::TooLarge));
        }
        let is_con = request.ty == Type::Con;
        let sender = Sender { session, token: request.token, is_con };
        let before = self.uploads.len();
        let (gathered, gave_way) = self.uploads.gather(now.ms, name, sender, block, request);
        (0..gave_way).for_each(|_| self.counters.tally(Tally::UploadForgotten));
        let (number, next) = match gathered {
            Gathered::Here(number, next) => (number, next),
            Gathered::Refused(part) => return Err(refusal(part)),
            Gathered::NoRoom => {
                let (code, tally) = (Code::SERVICE_UNAVAILABLE, Tally::UploadNoRoom);
                return Err(Refusal { code, max_age_s: self.config.coap.busy_max_age_s, tally });
            }
        };
        if self.uploads.len() + gave_way > before {
            self.counters.tally(Tally::UploadBegun);
        }
        self.arm_upload(number);
        if next != Next::Whole {
            self.acknowledge(slot, request, outbox);
        }
        match next {
            Next::Whole => return Ok(Served::Whole(Some(Begun { number, is_whole: true }))),
            Next::Continue(last) => self.send_continue(slot, request, last, outbox),
            Next::Ask(missing) => self.ask_missing(slot, number, missing, outbox),
            Next::Wait => {}
        }
        Ok(Served::Kept)
    }

    /// The body is on the ring: blocks of it that are still under way are none of another.
    pub(super) fn finish_upload(&mut self, now: Now, slot: u32, begun: Begun) -> Name {
        let name = self.uploads.name_of(begun.number).expect("it was just read");
        self.uploads.forget(begun.number);
        self.finished.add(now.ms, self.slab.session(slot), name);
        name
    }

    /// The timer of a body.
    pub(super) fn on_upload_due(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(gathering) = self.uploads.gathering_mut(number) else { return };
        let session = gathering.session;
        match (gathering.gather.on_due(now.ms), self.slab.resolve(session)) {
            (Due::Nothing, _) => {}
            (Due::Ask(missing), Some(slot)) => self.ask_missing(slot, number, missing, outbox),
            (Due::Ask(_), None) | (Due::GiveUp, _) => {
                self.counters.tally(Tally::UploadForgotten);
                return self.uploads.forget(number);
            }
        }
        self.arm_upload(number);
    }

    /// RST: the device knows nothing of the body that we asked for; false: it is about another
    /// message.
    pub(super) fn on_question_reset(&mut self, slot: u32, mid: u16) -> bool {
        let (session, device) = (self.slab.session(slot), self.slab.get(slot).device);
        let is_it = |number: &u32| {
            let gathering = self.uploads.gathering(*number);
            gathering.is_some_and(|it| it.session == session && it.asked_mid == Some(mid))
        };
        let Some(number) = self.uploads.of(&device).find(is_it) else { return false };
        self.uploads.forget(number);
        self.counters.tally(Tally::UploadForgotten);
        true
    }

    /// A block of a body that was whole before: answered as when it came first.
    fn on_late_block(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        late: Late,
        outbox: &mut Outbox,
    ) {
        self.counters.tally(Tally::UploadBlockLate);
        match late {
            Late::Code(code) => self.reply_code(now, slot, request, code, 0, outbox),
            Late::Nothing => self.acknowledge(slot, request, outbox),
        }
    }

    /// 2.31: everything up to this block is here.
    fn send_continue(
        &mut self,
        slot: u32,
        request: &Message<'_>,
        last: Block,
        outbox: &mut Outbox,
    ) {
        let mid = self.slab.get_mut(slot).take_mid();
        self.send_message(slot, outbox, |out| {
            let mut writer = Writer::new(out, Type::Non, Code::CONTINUE, mid, &request.token);
            writer.option_uint(Number::Q_BLOCK1, last.value());
            writer.finish().ok()
        });
    }

    /// 4.08 with what is missing of a body, with the token of its last block.
    fn ask_missing(&mut self, slot: u32, number: u32, missing: Missing, outbox: &mut Outbox) {
        let mid = self.slab.get_mut(slot).take_mid();
        let Some(gathering) = self.uploads.gathering_mut(number) else { return };
        gathering.asked_mid = Some(mid);
        let token = gathering.token;
        self.counters.tally(Tally::UploadAsked);
        let mut numbers = [0; CBOR_BYTES_MAX];
        let length = missing.write(&mut numbers);
        self.send_message(slot, outbox, |out| {
            let code = Code::REQUEST_ENTITY_INCOMPLETE;
            let mut writer = Writer::new(out, Type::Non, code, mid, &token);
            let format = u32::from(content_format::MISSING_BLOCKS);
            writer.option_uint(Number::CONTENT_FORMAT, format).payload(&numbers[..length]);
            writer.finish().ok()
        });
    }

    fn arm_upload(&mut self, number: u32) {
        let due_ms = self.uploads.gathering(number).and_then(|it| it.gather.due_ms());
        self.wheel.set(self.timers.upload(number), due_ms);
    }
}
