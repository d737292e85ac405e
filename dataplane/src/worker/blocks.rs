//! What becomes of a block of a request's body? It is kept and answered 2.31; the last one makes an
//! uplink of all of them (RFC 7959 sections 2.3, 2.5 and 2.9).
//!
//! Blocks that come as they like (RFC 9177): `gathering`.
//!
//! ```text
//! block ─▶ uploads ┬─ not the last ─▶ 2.31 with Block1
//!                  ├─ the last ─▶ quotas ─▶ Body entries + Uplink ─▶ as any other request
//!                  └─ 4.08 · 4.13 with Size1 · 4.00 · 5.03
//! ```
//!
//! Answers carry Block1 with the size we prefer, if that is smaller: the device goes on with that.
//! The blocks leave the worker with the last one; until then a restart of the dataplane loses them,
//! and the device hears 4.08.

use super::Worker;
use super::permits::Refusal;
use super::up::{HEADS_BYTES, Up};
use super::uploads::Kept;
use crate::arena::Chain;
use crate::bounds::{RING_HEADROOM_BYTES, UPLOAD_SWEEP};
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use arrayvec::ArrayVec;
use tidegate_coap::block::{Block, BlockSize, Part};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Writer};
use tidegate_coap::option::Number;
use tidegate_coap::option::list::Entry;
use tidegate_faults::{Point, may_die};
use tidegate_ring::contract::{self as wire, TAIL_BYTES_MAX};
use zerocopy::IntoBytes;

/// A request's body that is here; most often but for its last block, which the request carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// In `Worker::uploads`.
    pub(super) number: u32,
    /// The last block, too: it came as it liked, and perhaps from the middle.
    pub(super) is_whole: bool,
}

impl Worker {
    /// Serves a request with Block1 or Q-Block1, if it is not the last block; which body it ends,
    /// if it is.
    pub(super) fn on_block(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        outbox: &mut Outbox,
    ) -> Result<Served, Refusal> {
        if let Some(block) = part_of_body(request, Number::Q_BLOCK1)? {
            return self.on_quick_block(now, slot, request, block, outbox);
        }
        let Some(block) = part_of_body(request, Number::BLOCK1)? else {
            return Ok(Served::Whole(None));
        };
        let device = self.slab.get(slot).device;
        let name = self.uploads.name(device, request);
        let longest_bytes = self.longest_body(slot);
        let before = self.uploads.len();
        let (kept, gave_way) = self.uploads.take(now.ms, name, block, request, longest_bytes);
        (0..gave_way).for_each(|_| self.counters.tally(Tally::UploadForgotten));
        match kept {
            Kept::Next => {
                if block.number() == 0 && self.uploads.len() + gave_way > before {
                    self.counters.tally(Tally::UploadBegun);
                }
                may_die(Point::BlockKept);
                self.reply_code(now, slot, request, Code::CONTINUE, 0, outbox);
                Ok(Served::Kept)
            }
            Kept::Last(number) => Ok(Served::Whole(Some(Begun { number, is_whole: false }))),
            Kept::Refused(part) => Err(refusal(part)),
            Kept::NoRoom => Err(Refusal {
                code: Code::SERVICE_UNAVAILABLE,
                max_age_s: self.config.coap.busy_max_age_s,
                tally: Tally::UploadNoRoom,
            }),
        }
    }

    /// Puts the body of a request on the ring in pieces, if there is room for all of them and its
    /// uplink; its length, bytes.
    pub(super) fn push_body(&mut self, exchange: u64, begun: Begun, last: &[u8]) -> Option<usize> {
        let last = if begun.is_whole { &[] } else { last };
        let total = self.uploads.bytes(begun.number) + last.len();
        let pieces = self.uploads.pieces(begun.number).chain(std::iter::once(last));
        push_pieces(&mut self.up, exchange, pieces, total).then_some(total)
    }

    /// The same of a response.
    pub(super) fn push_response(&mut self, name: u64, chain: &Chain) -> Option<usize> {
        let pieces = self.uploads.pieces_of(chain);
        push_pieces(&mut self.up, name, pieces, chain.len()).then_some(chain.len())
    }

    /// The longest body that a device of this session may send, bytes.
    pub(super) fn longest_body(&self, slot: u32) -> usize {
        let class = self.policies.sheet.class(self.slab.get(slot).class);
        let told = class.map_or(0, |class| class.body_bytes);
        let own = self.config.coap.upload_bytes;
        let longest = if told == 0 { own } else { told };
        (longest as usize).min(wire::BODY_BYTES_MAX)
    }

    /// What an answer of this code says of the block that the request carried: its number, our
    /// size, and how long a body may be.
    pub(super) fn about_block(&self, slot: u32, code: Code, block1: Option<Block>) -> Ours {
        let mut ours = Ours::new();
        if let Some(block) = block1 {
            let size = block.size.min(self.block_size());
            let answering = Block::new(block.number(), code == Code::CONTINUE, size);
            let answering = answering.expect("the number came in an option");
            ours.push((Number::BLOCK1, answering.value()));
        }
        if code == Code::REQUEST_ENTITY_TOO_LARGE {
            ours.push((Number::SIZE1, self.longest_body(slot) as u32));
        }
        ours
    }

    /// The largest blocks that we send.
    pub(super) fn block_size(&self) -> BlockSize {
        let bytes = self.config.coap.block_bytes.into();
        BlockSize::exactly(bytes).expect("the configuration was checked")
    }

    /// Forgets bodies that nobody goes on with.
    pub(super) fn sweep_uploads(&mut self, now: Now) {
        let idle_ms = u64::from(self.config.coap.upload_idle_s) * 1_000;
        let before_ms = now.ms.saturating_sub(idle_ms);
        for _ in 0..UPLOAD_SWEEP {
            if !self.uploads.forget_older(before_ms) {
                break;
            }
            self.counters.tally(Tally::UploadForgotten);
        }
    }
}

/// Options of ours for an answer, ascending.
pub(super) type Ours = ArrayVec<(Number, u32), 4>;

/// What a request with Block1 came to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Served {
    /// Its block is kept, and answered.
    Kept,
    /// It is to be served: whole as it is, or with this body.
    Whole(Option<Begun>),
}

/// Block1 or Q-Block1 of a request, if it carries a part of its body and not all of it; `Err`: it
/// has the reserved size (RFC 7959 section 2.2).
fn part_of_body(request: &Message<'_>, option: Number) -> Result<Option<Block>, Refusal> {
    let block = Block::of(&request.options, option);
    if block.is_none() && request.options.first(option).is_some() {
        return Err(refusal(Part::Malformed));
    }
    Ok(block.filter(|block| block.number() > 0 || block.more))
}

/// The options of a response, and these of ours among them, in order.
pub(super) fn write_with<'a>(
    writer: &mut Writer<'_>,
    options: impl Iterator<Item = Entry<'a>>,
    ours: &[(Number, u32)],
) {
    let mut ours = ours.iter().peekable();
    for option in options {
        while let Some((number, value)) = ours.next_if(|(number, _)| *number < option.number) {
            writer.option_uint(*number, *value);
        }
        writer.option(option.number, option.value);
    }
    for (number, value) in ours {
        writer.option_uint(*number, *value);
    }
}

/// Puts a body on the ring; false, and nothing whole is there, when there is no room.
fn push_pieces<'a>(
    up: &mut Up,
    name: u64,
    pieces: impl Iterator<Item = &'a [u8]>,
    total: usize,
) -> bool {
    let entries = total.div_ceil(PIECE_BYTES) + 2;
    if up.free_bytes() < entries * (PIECE_BYTES + HEADS_BYTES) + RING_HEADROOM_BYTES {
        return false;
    }
    let mut piece: ArrayVec<u8, PIECE_BYTES> = ArrayVec::new();
    let (mut offset, mut is_pushed) = (0, true);
    let mut push = |piece: &mut ArrayVec<u8, PIECE_BYTES>| {
        let head = wire::Body {
            exchange: name.into(),
            offset: (offset as u32).into(),
            total: (total as u32).into(),
        };
        let parts = [head.as_bytes(), piece.as_slice()];
        is_pushed &= up.push(wire::Kind::Body, &parts, RING_HEADROOM_BYTES).is_ok();
        may_die(Point::PieceWritten);
        offset += piece.len();
        piece.clear();
    };
    for mut bytes in pieces {
        while !bytes.is_empty() {
            let (here, rest) = bytes.split_at(bytes.len().min(piece.remaining_capacity()));
            piece.extend(here.iter().copied());
            if piece.is_full() {
                push(&mut piece);
            }
            bytes = rest;
        }
    }
    if !piece.is_empty() {
        push(&mut piece);
    }
    is_pushed
}

pub(super) fn refusal(part: Part) -> Refusal {
    let (code, tally) = match part {
        Part::TooLarge => (Code::REQUEST_ENTITY_TOO_LARGE, Tally::UploadTooLarge),
        Part::Missing => (Code::REQUEST_ENTITY_INCOMPLETE, Tally::UploadIncomplete),
        Part::Next | Part::Last | Part::Again | Part::Malformed => {
            (Code::BAD_REQUEST, Tally::RequestRejected)
        }
    };
    Refusal { code, max_age_s: 0, tally }
}

/// Bytes of a piece of a body.
const PIECE_BYTES: usize = TAIL_BYTES_MAX;
