//! How does a long body come out of a ring? In pieces, one behind the other, and the request or
//! response that it belongs to behind the last.
//!
//! A worker's ring has one producer, so the pieces of two bodies never mix: one body of each worker
//! is put together at a time, and what anything else stands behind was left by a worker that died.
//!
//! *Bound:* `BODY_BYTES_MAX` for each worker.

use std::borrow::Cow;

use tidegate_faults::{Bug, has};
use tidegate_ring::Seq;
use tidegate_ring::contract::{BODY_BYTES_MAX, Body};

use super::{Core, Effect, LinkId};

/// A body on its way out of a ring.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    exchange: u64,
    total_bytes: usize,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes the next piece; `None` when it is not the next one.
    fn take(&mut self, piece: &Body, bytes: &[u8]) -> Option<()> {
        let (exchange, total_bytes) = (piece.exchange.get(), piece.total.get() as usize);
        let offset = piece.offset.get() as usize;
        if offset == 0 && (self.bytes.is_empty() || !has(Bug::PieceOfTheDead)) {
            *self = Self { exchange, total_bytes, bytes: Vec::new() };
            if total_bytes <= BODY_BYTES_MAX {
                self.bytes.reserve_exact(total_bytes);
            }
        }
        let is_next = exchange == self.exchange
            && total_bytes == self.total_bytes
            && offset == self.bytes.len()
            && !bytes.is_empty()
            && offset + bytes.len() <= total_bytes.min(BODY_BYTES_MAX);
        if !is_next {
            *self = Self::default();
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        Some(())
    }

    /// The whole body of this name and length; `None` when it is not here.
    fn body_of(&mut self, name: u64, body_bytes: u32) -> Option<Vec<u8>> {
        let Self { exchange, total_bytes, bytes } = std::mem::take(self);
        let is_whole =
            exchange == name && total_bytes == bytes.len() && total_bytes == body_bytes as usize;
        is_whole.then_some(bytes)
    }
}

impl Core {
    /// A piece of a body: finished with the entry behind it.
    pub(super) fn on_body(&mut self, link: LinkId, seq: Seq, bytes: &[u8]) -> Option<()> {
        let (piece, bytes) = Body::split(bytes)?;
        let known = self.links.iter_mut().find(|known| known.id == link)?;
        known.body.take(piece, bytes)?;
        self.out.push(Effect::WithNext { link, seq });
        Some(())
    }

    /// The body of this name and length when it crossed in pieces, else the payload. `None`: it is
    /// not here.
    pub(super) fn body_of<'a>(
        &mut self,
        link: LinkId,
        name: u64,
        body_bytes: u32,
        payload: &'a [u8],
    ) -> Option<Cow<'a, [u8]>> {
        if body_bytes == 0 {
            return Some(Cow::Borrowed(payload));
        }
        let known = self.links.iter_mut().find(|known| known.id == link)?;
        known.body.body_of(name, body_bytes).map(Cow::Owned)
    }
}
