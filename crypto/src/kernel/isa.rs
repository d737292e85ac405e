//! What does a batch kernel ask of a CPU? AES on rows of blocks, one block for each of its lanes.
//!
//! A value of a type that is [`Isa`] is the proof that this CPU has its instructions: it can only
//! be made by looking. So the algorithms above are safe code, written once for every width.
//! [`Twice`] makes wider rows of narrower ones: independent work in the same instruction stream
//! hides the latency of AES, which is several times its throughput.

use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};

/// One AES block.
pub(super) type Block = __m128i;

/// Bytes of an AES block.
pub(super) const BLOCK_BYTES: usize = 16;

/// Instructions on rows of blocks. Lanes never mix: lane `n` of a result comes from lanes `n`.
///
/// Every method is `inline(always)`, so that it becomes an instruction of the [`Work`] it is used
/// in, which was compiled for this CPU.
pub(super) trait Isa: Copy {
    /// Blocks in a row.
    const LANES: usize;
    /// One block for each lane.
    type Row: Copy;

    /// Runs `work` compiled with these instructions.
    fn enter<W: Work>(self, work: W) -> W::Outcome;

    /// The row whose lane `n` is `block(first + n)`.
    fn gather(self, first: usize, block: &mut impl FnMut(usize) -> Block) -> Self::Row;
    /// Calls `take(first + n, block)` for the block of each lane `n`.
    fn scatter(self, row: Self::Row, first: usize, take: &mut impl FnMut(usize, Block));
    /// Bit `n`: the block of lane `n` is zero.
    fn zeros(self, row: Self::Row) -> u32;
    /// The same block in every lane.
    fn splat(self, block: Block) -> Self::Row;
    /// As many leading bytes of a block, zeros behind; `bytes` are at most a block.
    fn load(self, bytes: &[u8]) -> Block;
    /// The leading bytes of `block` into `bytes`, which are at most a block.
    fn store(self, block: Block, bytes: &mut [u8]);

    /// Bitwise exclusive or.
    fn xor(self, a: Self::Row, b: Self::Row) -> Self::Row;
    /// Bitwise and.
    fn and(self, a: Self::Row, b: Self::Row) -> Self::Row;
    /// One round of AES but the last.
    fn aes_round(self, state: Self::Row, key: Self::Row) -> Self::Row;
    /// The last round of AES.
    fn aes_last(self, state: Self::Row, key: Self::Row) -> Self::Row;
    /// Puts byte `order[n]` of each block at its byte `n`.
    fn shuffle(self, row: Self::Row, order: Block) -> Self::Row;
    /// Moves the bytes of each block `BYTES` places up, zeros behind.
    fn shift_up<const BYTES: i32>(self, row: Self::Row) -> Self::Row;
    /// Carry-less product of one half of each `a` (bit 0 of `HALVES`: the upper one) and one half
    /// of each `b` (bit 4).
    fn clmul<const HALVES: i32>(self, a: Self::Row, b: Self::Row) -> Self::Row;
}

/// Something to do with an [`Isa`], generic over which. Its `run` is `inline(always)`.
pub(super) trait Work {
    /// What comes of it.
    type Outcome;
    /// Does it.
    fn run(self) -> Self::Outcome;
}

/// Rows of two rows.
#[derive(Clone, Copy)]
pub(super) struct Twice<I>(pub(super) I);

impl<I: Isa> Isa for Twice<I> {
    const LANES: usize = 2 * I::LANES;
    type Row = (I::Row, I::Row);

    #[inline(always)]
    fn enter<W: Work>(self, work: W) -> W::Outcome {
        self.0.enter(work)
    }
    #[inline(always)]
    fn gather(self, first: usize, block: &mut impl FnMut(usize) -> Block) -> Self::Row {
        (self.0.gather(first, block), self.0.gather(first + I::LANES, block))
    }
    #[inline(always)]
    fn scatter(self, row: Self::Row, first: usize, take: &mut impl FnMut(usize, Block)) {
        self.0.scatter(row.0, first, take);
        self.0.scatter(row.1, first + I::LANES, take);
    }
    #[inline(always)]
    fn zeros(self, row: Self::Row) -> u32 {
        self.0.zeros(row.0) | self.0.zeros(row.1) << I::LANES
    }
    #[inline(always)]
    fn splat(self, block: Block) -> Self::Row {
        (self.0.splat(block), self.0.splat(block))
    }
    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Block {
        self.0.load(bytes)
    }
    #[inline(always)]
    fn store(self, block: Block, bytes: &mut [u8]) {
        self.0.store(block, bytes);
    }
    #[inline(always)]
    fn xor(self, a: Self::Row, b: Self::Row) -> Self::Row {
        (self.0.xor(a.0, b.0), self.0.xor(a.1, b.1))
    }
    #[inline(always)]
    fn and(self, a: Self::Row, b: Self::Row) -> Self::Row {
        (self.0.and(a.0, b.0), self.0.and(a.1, b.1))
    }
    #[inline(always)]
    fn aes_round(self, state: Self::Row, key: Self::Row) -> Self::Row {
        (self.0.aes_round(state.0, key.0), self.0.aes_round(state.1, key.1))
    }
    #[inline(always)]
    fn aes_last(self, state: Self::Row, key: Self::Row) -> Self::Row {
        (self.0.aes_last(state.0, key.0), self.0.aes_last(state.1, key.1))
    }
    #[inline(always)]
    fn shuffle(self, row: Self::Row, order: Block) -> Self::Row {
        (self.0.shuffle(row.0, order), self.0.shuffle(row.1, order))
    }
    #[inline(always)]
    fn shift_up<const BYTES: i32>(self, row: Self::Row) -> Self::Row {
        (self.0.shift_up::<BYTES>(row.0), self.0.shift_up::<BYTES>(row.1))
    }
    #[inline(always)]
    fn clmul<const HALVES: i32>(self, a: Self::Row, b: Self::Row) -> Self::Row {
        (self.0.clmul::<HALVES>(a.0, b.0), self.0.clmul::<HALVES>(a.1, b.1))
    }
}

/// A whole block from memory.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn block(bytes: &[u8; BLOCK_BYTES]) -> Block {
    // SAFETY: reads the 16 bytes that are borrowed; the instruction asks for no alignment, and
    // SSE2 is part of x86-64.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// A whole block into memory.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn put_block(block: Block, bytes: &mut [u8; BLOCK_BYTES]) {
    // SAFETY: writes the 16 bytes that are borrowed alone; the instruction asks for no alignment,
    // and SSE2 is part of x86-64.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), block) }
}

/// A block as a number, its first byte the lowest.
#[inline(always)]
pub(super) fn number(from: Block) -> u128 {
    let mut bytes = [0; BLOCK_BYTES];
    put_block(from, &mut bytes);
    u128::from_le_bytes(bytes)
}

/// The block whose first byte is the lowest of `number`.
#[inline(always)]
pub(super) fn from_number(number: u128) -> Block {
    block(&number.to_le_bytes())
}

/// From a bit for each half of up to four blocks, a bit for each block that has both.
#[inline(always)]
pub(super) fn both_halves(halves: u32) -> u32 {
    let blocks = halves & halves >> 1 & 0b0101_0101;
    let blocks = (blocks | blocks >> 1) & 0b0011_0011;
    (blocks | blocks >> 2) & 0b0000_1111
}

/// [`Isa::load`] for CPUs without masks.
#[inline(always)]
pub(super) fn load_by_copy(bytes: &[u8]) -> Block {
    if let Some(whole) = bytes.first_chunk() {
        return block(whole);
    }
    let mut whole = [0; BLOCK_BYTES];
    whole[..bytes.len()].copy_from_slice(bytes);
    block(&whole)
}

/// [`Isa::store`] for CPUs without masks.
#[inline(always)]
pub(super) fn store_by_copy(block: Block, bytes: &mut [u8]) {
    if let Some(whole) = bytes.first_chunk_mut() {
        return put_block(block, whole);
    }
    let mut whole = [0; BLOCK_BYTES];
    put_block(block, &mut whole);
    bytes.copy_from_slice(&whole[..bytes.len()]);
}
