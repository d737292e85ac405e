//! AES-NI: one block in a register, sixteen registers (SSE; every x86-64 with AES has the rest).
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm_aesenc_si128, _mm_aesenclast_si128, _mm_and_si128, _mm_clmulepi64_si128, _mm_shuffle_epi8,
    _mm_slli_si128, _mm_testz_si128, _mm_xor_si128,
};

use super::isa::{Block, Isa, Work, load_by_copy, store_by_copy};

/// This CPU has AES, PCLMULQDQ, SSSE3 and SSE4.1.
#[derive(Clone, Copy)]
pub(crate) struct AesNi(());

impl AesNi {
    /// *Invariant:* the only place that makes one from nothing.
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        found.then_some(Self(()))
    }
}

#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn compiled<W: Work>(work: W) -> W::Outcome {
    work.run()
}

impl Isa for AesNi {
    const LANES: usize = 1;
    type Row = Block;

    #[inline(always)]
    fn enter<W: Work>(self, work: W) -> W::Outcome {
        // SAFETY: `self` says that this CPU has these instructions.
        unsafe { compiled(work) }
    }
    #[inline(always)]
    fn gather(self, first: usize, block: &mut impl FnMut(usize) -> Block) -> Block {
        block(first)
    }
    #[inline(always)]
    fn scatter(self, row: Block, first: usize, take: &mut impl FnMut(usize, Block)) {
        take(first, row);
    }
    #[inline(always)]
    fn zeros(self, row: Block) -> u32 {
        // SAFETY: `self` says that this CPU has SSE4.1.
        unsafe { _mm_testz_si128(row, row) as u32 }
    }
    #[inline(always)]
    fn splat(self, block: Block) -> Block {
        block
    }
    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Block {
        load_by_copy(bytes)
    }
    #[inline(always)]
    fn store(self, block: Block, bytes: &mut [u8]) {
        store_by_copy(block, bytes);
    }
    #[inline(always)]
    fn xor(self, a: Block, b: Block) -> Block {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_xor_si128(a, b) }
    }
    #[inline(always)]
    fn and(self, a: Block, b: Block) -> Block {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_and_si128(a, b) }
    }
    #[inline(always)]
    fn aes_round(self, state: Block, key: Block) -> Block {
        // SAFETY: `self` says that this CPU has AES.
        unsafe { _mm_aesenc_si128(state, key) }
    }
    #[inline(always)]
    fn aes_last(self, state: Block, key: Block) -> Block {
        // SAFETY: `self` says that this CPU has AES.
        unsafe { _mm_aesenclast_si128(state, key) }
    }
    #[inline(always)]
    fn shuffle(self, row: Block, order: Block) -> Block {
        // SAFETY: `self` says that this CPU has SSSE3.
        unsafe { _mm_shuffle_epi8(row, order) }
    }
    #[inline(always)]
    fn shift_up<const BYTES: i32>(self, row: Block) -> Block {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_slli_si128::<BYTES>(row) }
    }
    #[inline(always)]
    fn clmul<const HALVES: i32>(self, a: Block, b: Block) -> Block {
        // SAFETY: `self` says that this CPU has PCLMULQDQ.
        unsafe { _mm_clmulepi64_si128::<HALVES>(a, b) }
    }
}
