//! Where does a long body come from that is on its way to a device? From the control plane, piece
//! by piece, as the device takes its blocks.
//!
//! ```text
//! part of a body ─▶ in the piece that is here? ─ yes ─▶ it is sent
//!                                              └ no ─▶ Wanted ─▶ ring ─▶ Piece ─▶ it is sent
//! ```
//!
//! *Bound:* `BODIES_MAX` bodies, one piece of each. Whoever waits for a piece has a timer, and asks
//! again when it fires.

use super::Worker;
use crate::bounds::BODIES_MAX;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::pool::{Key, Pool};
use arrayvec::ArrayVec;
use rand::Rng;
use std::ops::Range;
use tidegate_ring::contract::{self as wire, TAIL_BYTES_MAX};
use zerocopy::IntoBytes;

/// All bodies that are on their way to devices.
#[derive(Debug)]
pub(super) struct Bodies {
    pool: Pool<Body>,
}

/// One body.
#[derive(Debug)]
struct Body {
    message_id: wire::MessageId,
    device: wire::DeviceId,
    for_whom: ForWhom,
    total_bytes: usize,
    /// Where the piece that is here begins.
    at: usize,
    piece: ArrayVec<u8, TAIL_BYTES_MAX>,
    /// The control plane does not have it any more.
    is_gone: bool,
}

/// Who sends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForWhom {
    /// A request of ours: its number.
    Downlink(u32),
    /// An answer: its number.
    Answer(u32),
}

/// A part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// These bytes.
    Here(&'a [u8]),
    /// To be asked for.
    Elsewhere,
    /// Nowhere.
    Gone,
}

impl Bodies {
    pub(super) fn new() -> Self {
        Self { pool: Pool::new(BODIES_MAX) }
    }

    /// A body of so many bytes, the first of which are here; `None`: there is no room.
    pub(super) fn begin(
        &mut self,
        nonce: u32,
        of: (wire::MessageId, wire::DeviceId),
        for_whom: ForWhom,
        total_bytes: usize,
        first: &[u8],
    ) -> Option<Key> {
        let mut piece = ArrayVec::new();
        piece.try_extend_from_slice(first).ok()?;
        let (message_id, device) = of;
        let body = Body {
            message_id,
            device,
            for_whom,
            total_bytes: total_bytes.max(first.len()),
            at: 0,
            piece,
            is_gone: false,
        };
        self.pool.insert(nonce, body)
    }

    /// How many bytes it has.
    pub(super) fn total_bytes(&self, key: Key) -> usize {
        self.get(key).map_or(0, |body| body.total_bytes)
    }

    /// A part of it.
    pub(super) fn part(&self, key: Key, range: Range<usize>) -> Part<'_> {
        let Some(body) = self.get(key).filter(|body| !body.is_gone) else { return Part::Gone };
        let here = range.start.checked_sub(body.at).and_then(|from| {
            let to = range.end.checked_sub(body.at)?;
            body.piece.get(from..to)
        });
        here.map_or(Part::Elsewhere, Part::Here)
    }

    /// Forgets it.
    pub(super) fn forget(&mut self, key: Key) {
        if let Some(number) = self.pool.resolve(key) {
            self.pool.remove(number);
        }
    }

    fn get(&self, key: Key) -> Option<&Body> {
        self.pool.get(self.pool.resolve(key)?)
    }
}

impl Worker {
    /// A place for a body.
    pub(super) fn begin_body(
        &mut self,
        of: (wire::MessageId, wire::DeviceId),
        for_whom: ForWhom,
        total_bytes: usize,
        first: &[u8],
    ) -> Option<Key> {
        let nonce = self.random.random();
        self.bodies.begin(nonce, of, for_whom, total_bytes, first)
    }

    /// Asks for the piece that begins here.
    pub(super) fn want(&mut self, key: Key, offset: usize) {
        let Some(body) = self.bodies.get(key) else { return };
        let wanted = wire::Wanted {
            body: key.to_wire().into(),
            message_id: body.message_id,
            device: body.device,
            offset: (offset as u32).into(),
        };
        self.notify(wire::Kind::Wanted, wanted.as_bytes(), &[]);
    }

    /// A piece of a body: whoever sends it goes on. No bytes: the control plane does not have it.
    pub(super) fn on_piece(
        &mut self,
        now: Now,
        piece: &wire::Piece,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        let number = self.bodies.pool.resolve(Key::from_wire(piece.body.get()));
        let Some(body) = number.and_then(|number| self.bodies.pool.get_mut(number)) else {
            return self.counters.tally(Tally::EntryRefused);
        };
        body.at = piece.offset.get() as usize;
        body.piece.clear();
        body.is_gone = bytes.is_empty() || body.piece.try_extend_from_slice(bytes).is_err();
        match body.for_whom {
            ForWhom::Downlink(number) => self.on_downlink_piece(now, number, outbox),
            ForWhom::Answer(number) => self.on_answer_piece(now, number, outbox),
        }
    }
}
