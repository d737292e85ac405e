//! One pass over a group of records: key stream onto the texts, MAC along, tags at the end.
//! What CCM and GCM share; how the MAC is made is theirs ([`Mode`]).
//!
//! MACs are chains: each block waits for the one before it. So the chains of the lanes advance
//! together, and the key stream of the next block is made beside the MAC of this one.
//! Only lengths decide where the code goes, never keys or texts.

use super::aes::ending_in;
use super::isa::{BLOCK_BYTES, Block, Isa};
use super::lane::{Lane, Lanes, Span, leading};

/// How a mode makes its MAC and its key stream.
pub(super) trait Mode<I: Isa> {
    /// Whether the MAC is over the plaintext (else over the ciphertext).
    const MACS_PLAINTEXT: bool;

    /// Blocks of so many bytes of associated data.
    fn aad_blocks(bytes: usize) -> usize;
    /// Block `n` of a lane's associated data; anything if it has fewer.
    fn aad_block(&self, lane: &Lane<'_>, n: usize) -> Block;
    /// The MACs with one block more.
    fn absorb(&self, mac: I::Row, block: I::Row) -> I::Row;
    /// The same, and beside it the key stream of text block `n`.
    fn absorb_and_stream(&self, mac: I::Row, block: I::Row, n: usize) -> (I::Row, I::Row);
}

/// A group on its way.
pub(super) struct Pass<'g, 'j, I: Isa, M> {
    pub(super) isa: I,
    pub(super) mode: M,
    pub(super) lanes: &'g mut Lanes<'j>,
    /// Associated data and texts, bytes.
    pub(super) aad: Span,
    pub(super) text: Span,
    /// So far.
    pub(super) mac: I::Row,
    /// Key stream of the next block.
    pub(super) stream: I::Row,
}

impl<I: Isa, M: Mode<I>> Pass<'_, '_, I, M> {
    /// The associated data.
    #[inline(always)]
    pub(super) fn aad(&mut self) {
        let (isa, lanes) = (self.isa, &*self.lanes);
        let (least, most) = (M::aad_blocks(self.aad.least), M::aad_blocks(self.aad.most));
        for n in 0..most {
            let input = isa.gather(0, &mut |lane| self.mode.aad_block(&lanes[lane], n));
            let next = self.mode.absorb(self.mac, input);
            let is_in = |lane: usize| n < M::aad_blocks(lanes[lane].aad.len());
            self.mac = if n < least { next } else { chosen(isa, is_in, next, self.mac) };
        }
    }

    /// The text: what was plaintext is ciphertext, or the other way round.
    #[inline(always)]
    pub(super) fn text<const SEAL: bool>(&mut self) {
        let blocks = self.text.most.div_ceil(BLOCK_BYTES);
        // The last block is left to the loop that knows how to end.
        let whole = (self.text.least / BLOCK_BYTES).min(blocks.saturating_sub(1));
        for n in 0..whole {
            self.whole_block::<SEAL>(n);
        }
        for n in whole..blocks {
            self.ragged_block::<SEAL>(n, n + 1 == blocks);
        }
    }

    /// Block `n` of texts that all have it whole, and of which some have more.
    #[inline(always)]
    fn whole_block<const SEAL: bool>(&mut self, n: usize) {
        let (isa, lanes) = (self.isa, &mut *self.lanes);
        let input = isa.gather(0, &mut |lane| lanes[lane].whole(n));
        let output = isa.xor(input, self.stream);
        isa.scatter(output, 0, &mut |lane, block| lanes[lane].put_whole(n, block));
        let block = if SEAL == M::MACS_PLAINTEXT { input } else { output };
        (self.mac, self.stream) = self.mode.absorb_and_stream(self.mac, block, n + 1);
    }

    /// Block `n` of texts of which some may end in it, or have ended.
    #[inline(always)]
    fn ragged_block<const SEAL: bool>(&mut self, n: usize, is_last: bool) {
        let (isa, lanes) = (self.isa, &mut *self.lanes);
        let start = n * BLOCK_BYTES;
        let input = isa.gather(0, &mut |lane| lanes[lane].ragged(n, isa));
        let output = isa.xor(input, self.stream);
        isa.scatter(output, 0, &mut |lane, block| lanes[lane].put_ragged(n, block, isa));
        let text_bytes = |lane: usize| lanes[lane].text.len();
        let block = if SEAL == M::MACS_PLAINTEXT {
            input
        } else {
            let rest = |bytes: usize| leading(bytes.saturating_sub(start));
            isa.and(output, self.text.row(isa, text_bytes, rest))
        };
        let next;
        if is_last {
            next = self.mode.absorb(self.mac, block);
        } else {
            (next, self.stream) = self.mode.absorb_and_stream(self.mac, block, n + 1);
        }
        let is_in = |lane: usize| start < text_bytes(lane);
        self.mac = if start < self.text.least { next } else { chosen(isa, is_in, next, self.mac) };
    }

    /// Writes the tags, or compares them. Bit `n`: lane `n` is sealed, or authentic.
    #[inline(always)]
    pub(super) fn tags<const SEAL: bool>(&mut self, tags: I::Row) -> u32 {
        let (isa, lanes) = (self.isa, &mut *self.lanes);
        if SEAL {
            isa.scatter(tags, 0, &mut |lane, tag| lanes[lane].put_tag(tag, isa));
            return u32::MAX;
        }
        let received = isa.gather(0, &mut |lane| isa.load(lanes[lane].tag));
        let place = isa.splat(leading(lanes[0].tag.len()));
        isa.zeros(isa.and(isa.xor(tags, received), place))
    }
}

/// Counter block `n` of each lane, from blocks with zeros where the counter stands.
#[inline(always)]
pub(super) fn counter<I: Isa>(isa: I, blocks: I::Row, n: usize) -> I::Row {
    isa.xor(blocks, isa.splat(ending_in(n as u32)))
}

/// In each lane `row` if `is_in` says so, else `other`.
#[inline(always)]
fn chosen<I: Isa>(isa: I, is_in: impl Fn(usize) -> bool, row: I::Row, other: I::Row) -> I::Row {
    let lanes = isa.gather(0, &mut |lane| leading(BLOCK_BYTES * usize::from(is_in(lane))));
    isa.xor(other, isa.and(lanes, isa.xor(row, other)))
}
