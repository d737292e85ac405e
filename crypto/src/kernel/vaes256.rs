//! VAES on AVX2: two blocks in a register, sixteen registers.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_bslli_epi128, _mm256_castsi128_si256, _mm256_castsi256_pd,
    _mm256_clmulepi64_epi128, _mm256_cmpeq_epi64, _mm256_extracti128_si256,
    _mm256_inserti128_si256, _mm256_movemask_pd, _mm256_shuffle_epi8, _mm256_xor_si256,
};

use super::aesni::AesNi;
use super::isa::{Block, Isa, Work, both_halves, from_number, load_by_copy, store_by_copy};

/// This CPU has VAES, VPCLMULQDQ and AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Vaes256 {
    pub(super) narrow: AesNi,
}

impl Vaes256 {
    /// *Invariant:* the only place that makes one from nothing.
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("avx2");
        found.then_some(Self { narrow: AesNi::detect()? })
    }
}

#[target_feature(enable = "vaes,vpclmulqdq,avx2")]
fn compiled<W: Work>(work: W) -> W::Outcome {
    work.run()
}

impl Isa for Vaes256 {
    const LANES: usize = 2;
    type Row = __m256i;

    #[inline(always)]
    fn enter<W: Work>(self, work: W) -> W::Outcome {
        // SAFETY: `self` says that this CPU has these instructions.
        unsafe { compiled(work) }
    }
    #[inline(always)]
    fn gather(self, first: usize, block: &mut impl FnMut(usize) -> Block) -> __m256i {
        // SAFETY: `self` says that this CPU has AVX2.
        let row = unsafe { _mm256_castsi128_si256(block(first)) };
        // SAFETY: as above.
        unsafe { _mm256_inserti128_si256::<1>(row, block(first + 1)) }
    }
    #[inline(always)]
    fn scatter(self, row: __m256i, first: usize, take: &mut impl FnMut(usize, Block)) {
        // SAFETY: `self` says that this CPU has AVX2.
        take(first, unsafe { _mm256_extracti128_si256::<0>(row) });
        // SAFETY: as above.
        take(first + 1, unsafe { _mm256_extracti128_si256::<1>(row) });
    }
    #[inline(always)]
    fn zeros(self, row: __m256i) -> u32 {
        // SAFETY: `self` says that this CPU has AVX2.
        let equal = unsafe { _mm256_cmpeq_epi64(row, self.splat(from_number(0))) };
        // SAFETY: as above, and so AVX.
        let equal = unsafe { _mm256_castsi256_pd(equal) };
        // SAFETY: as above.
        both_halves(unsafe { _mm256_movemask_pd(equal) } as u32)
    }
    #[inline(always)]
    fn splat(self, block: Block) -> __m256i {
        // SAFETY: `self` says that this CPU has AVX2.
        unsafe { _mm256_broadcastsi128_si256(block) }
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
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` says that this CPU has AVX2.
        unsafe { _mm256_xor_si256(a, b) }
    }
    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` says that this CPU has AVX2.
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    fn aes_round(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: `self` says that this CPU has VAES.
        unsafe { _mm256_aesenc_epi128(state, key) }
    }
    #[inline(always)]
    fn aes_last(self, state: __m256i, key: __m256i) -> __m256i {
        // SAFETY: `self` says that this CPU has VAES.
        unsafe { _mm256_aesenclast_epi128(state, key) }
    }
    #[inline(always)]
    fn shuffle(self, row: __m256i, order: Block) -> __m256i {
        // SAFETY: `self` says that this CPU has AVX2.
        unsafe { _mm256_shuffle_epi8(row, self.splat(order)) }
    }
    #[inline(always)]
    fn shift_up<const BYTES: i32>(self, row: __m256i) -> __m256i {
        // SAFETY: `self` says that this CPU has AVX2.
        unsafe { _mm256_bslli_epi128::<BYTES>(row) }
    }
    #[inline(always)]
    fn clmul<const HALVES: i32>(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` says that this CPU has VPCLMULQDQ.
        unsafe { _mm256_clmulepi64_epi128::<HALVES>(a, b) }
    }
}
