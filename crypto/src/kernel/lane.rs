//! One record in its lane of a group: what a kernel needs of a job, cut into blocks.

use crate::aead::{Aad, Job, KEY_BYTES_MAX, NONCE_BYTES};

use super::isa::{BLOCK_BYTES, Block, Isa, block, from_number, put_block};

/// Most records abreast.
pub(super) const LANES_MAX: usize = 8;

/// The lanes of a group, of which a narrow one uses the first few.
pub(super) type Lanes<'j> = [Lane<'j>; LANES_MAX];

/// One record, or nobody.
pub(super) struct Lane<'j> {
    pub(super) key: &'j [u8],
    nonce: [u8; NONCE_BYTES],
    pub(super) aad: &'j Aad,
    /// The text without its tag: whole blocks,
    pub(super) whole: &'j mut [[u8; BLOCK_BYTES]],
    /// and what is left, less than a block.
    pub(super) rest: &'j mut [u8],
    pub(super) tag: &'j mut [u8],
}

impl<'j> Lane<'j> {
    /// The lane of `job`, whose text has at least its tag.
    #[inline(always)]
    pub(super) fn of(job: &'j mut Job<'_>) -> Self {
        let (text, tag) = job.text.split_at_mut(job.text.len() - job.aead.tag_bytes());
        let (whole, rest) = text.as_chunks_mut();
        Self { key: job.key, nonce: job.nonce, aad: &job.aad, whole, rest, tag }
    }

    /// A lane without a record: whatever happens in it, nobody looks.
    #[inline(always)]
    pub(super) fn idle() -> Self {
        Self {
            key: &[0; KEY_BYTES_MAX],
            nonce: [0; NONCE_BYTES],
            aad: &Aad::EMPTY,
            whole: &mut [],
            rest: &mut [],
            tag: &mut [],
        }
    }

    /// Text without its tag, bytes.
    #[inline(always)]
    pub(super) fn text_bytes(&self) -> usize {
        self.whole.len() * BLOCK_BYTES + self.rest.len()
    }

    /// Blocks of text, the last one perhaps not whole.
    #[inline(always)]
    pub(super) fn text_blocks(&self) -> usize {
        self.whole.len() + usize::from(!self.rest.is_empty())
    }

    /// The nonce as a number, its first byte the lowest.
    #[inline(always)]
    pub(super) fn nonce(&self) -> u128 {
        let mut block = [0; BLOCK_BYTES];
        block[..NONCE_BYTES].copy_from_slice(&self.nonce);
        u128::from_le_bytes(block)
    }

    /// A block of the associated data's bytes, with its length and padding, from `start` on.
    #[inline(always)]
    pub(super) fn aad_block(&self, start: usize, isa: impl Isa) -> Block {
        let from = &self.aad.padded()[start..];
        from.first_chunk().map_or_else(|| isa.load(from), block)
    }

    /// Whole block `n` of the text; zeros if there is none.
    #[inline(always)]
    pub(super) fn whole(&self, n: usize) -> Block {
        self.whole.get(n).map_or(from_number(0), block)
    }

    /// Writes whole block `n` of the text, if there is one.
    #[inline(always)]
    pub(super) fn put_whole(&mut self, n: usize, block: Block) {
        if let Some(place) = self.whole.get_mut(n) {
            put_block(block, place);
        }
    }

    /// Block `n` of the text, whole or not or not at all; zeros behind.
    #[inline(always)]
    pub(super) fn ragged(&self, n: usize, isa: impl Isa) -> Block {
        match self.whole.get(n) {
            Some(whole) => block(whole),
            None if n == self.whole.len() => isa.load(self.rest),
            None => from_number(0),
        }
    }

    /// Writes what there is of block `n` of the text.
    #[inline(always)]
    pub(super) fn put_ragged(&mut self, n: usize, block: Block, isa: impl Isa) {
        if n == self.whole.len() {
            isa.store(block, self.rest);
        } else {
            self.put_whole(n, block);
        }
    }

    /// Writes the tag, which may be shorter than a block.
    #[inline(always)]
    pub(super) fn put_tag(&mut self, tag: Block, isa: impl Isa) {
        isa.store(tag, self.tag);
    }

    /// How many bytes of block `n` are text.
    #[inline(always)]
    pub(super) fn ragged_bytes(&self, n: usize) -> usize {
        match n {
            _ if n < self.whole.len() => BLOCK_BYTES,
            _ if n == self.whole.len() => self.rest.len(),
            _ => 0,
        }
    }
}

/// A block whose first `bytes` bytes are all ones, the others zeros.
#[inline(always)]
pub(super) fn leading(bytes: usize) -> Block {
    const ONES_THEN_ZEROS: [u8; 2 * BLOCK_BYTES] = {
        let mut both = [0; 2 * BLOCK_BYTES];
        let (ones, _) = both.split_at_mut(BLOCK_BYTES);
        ones.copy_from_slice(&[0xff; BLOCK_BYTES]);
        both
    };
    let window = ONES_THEN_ZEROS[BLOCK_BYTES - bytes..].first_chunk();
    block(window.expect("bytes is at most a block"))
}
