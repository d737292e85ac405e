//! One record in its lane of a group: what a kernel needs of a job.

use crate::aead::{Aad, Job, KEY_BYTES_MAX};

use super::isa::{BLOCK_BYTES, Block, Isa, block, from_number, put_block};

/// Most records side by side.
pub(super) const LANES_MAX: usize = 8;

/// The lanes of a group, of which a narrow one uses the first few.
pub(super) type Lanes<'j> = [Lane<'j>; LANES_MAX];

/// One record, or nobody.
pub(super) struct Lane<'j> {
    pub(super) key: &'j [u8],
    /// Where CCM's blocks have it: behind one byte.
    pub(super) nonce: &'j [u8; BLOCK_BYTES],
    pub(super) aad: &'j Aad,
    /// Without its tag.
    pub(super) text: &'j mut [u8],
    pub(super) tag: &'j mut [u8],
}

impl<'j> Lane<'j> {
    /// The lane of `job`, whose text has at least its tag.
    #[inline(always)]
    pub(super) fn of(job: &'j mut Job<'_>, tag_bytes: usize) -> Self {
        let (text, tag) = job.text.split_at_mut(job.text.len() - tag_bytes);
        Self { key: job.key, nonce: &job.nonce_block, aad: &job.aad, text, tag }
    }

    /// A lane without a record: whatever happens in it, nobody looks.
    #[inline(always)]
    pub(super) fn idle() -> Self {
        Self {
            key: &[0; KEY_BYTES_MAX],
            nonce: &[0; BLOCK_BYTES],
            aad: &Aad::EMPTY,
            text: &mut [],
            tag: &mut [],
        }
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
        self.text.as_chunks().0.get(n).map_or(from_number(0), block)
    }

    /// Writes whole block `n` of the text, if there is one.
    #[inline(always)]
    pub(super) fn put_whole(&mut self, n: usize, block: Block) {
        if let Some(place) = self.text.as_chunks_mut().0.get_mut(n) {
            put_block(block, place);
        }
    }

    /// What there is of block `n` of the text; zeros behind.
    #[inline(always)]
    pub(super) fn ragged(&self, n: usize, isa: impl Isa) -> Block {
        let (start, end) = self.place(n);
        isa.load(&self.text[start..end])
    }

    /// Writes what there is of block `n` of the text.
    #[inline(always)]
    pub(super) fn put_ragged(&mut self, n: usize, block: Block, isa: impl Isa) {
        let (start, end) = self.place(n);
        isa.store(block, &mut self.text[start..end]);
    }

    /// Where what there is of block `n` begins and ends.
    #[inline(always)]
    fn place(&self, n: usize) -> (usize, usize) {
        let start = (n * BLOCK_BYTES).min(self.text.len());
        (start, (start + BLOCK_BYTES).min(self.text.len()))
    }

    /// Writes the tag, which may be shorter than a block.
    #[inline(always)]
    pub(super) fn put_tag(&mut self, tag: Block, isa: impl Isa) {
        isa.store(tag, self.tag);
    }
}

/// How long something is in the records of a group.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) least: usize,
    pub(super) most: usize,
}

impl Span {
    #[inline(always)]
    pub(super) fn of(lens: impl Iterator<Item = usize>) -> Self {
        let none = Self { least: usize::MAX, most: 0 };
        lens.fold(none, |span, len| Self { least: span.least.min(len), most: span.most.max(len) })
    }

    /// A row of blocks that depend on the length alone: mostly the same everywhere.
    #[inline(always)]
    pub(super) fn row<I: Isa>(
        self,
        isa: I,
        len: impl Fn(usize) -> usize,
        block: impl Fn(usize) -> Block,
    ) -> I::Row {
        if self.least == self.most {
            isa.splat(block(self.most))
        } else {
            isa.gather(0, &mut |lane| block(len(lane)))
        }
    }
}

/// A block whose first `bytes` bytes (at most all) are ones, the others zeros.
#[inline(always)]
pub(super) fn leading(bytes: usize) -> Block {
    const ONES_THEN_ZEROS: [u8; 2 * BLOCK_BYTES] = {
        let mut both = [0; 2 * BLOCK_BYTES];
        let (ones, _) = both.split_at_mut(BLOCK_BYTES);
        ones.copy_from_slice(&[0xff; BLOCK_BYTES]);
        both
    };
    let window = ONES_THEN_ZEROS[BLOCK_BYTES - bytes.min(BLOCK_BYTES)..].first_chunk();
    block(window.expect("a window of a block in two"))
}
