//! VAES on AVX-512: four blocks in a register, 32 registers, and masks for what is no whole block.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm_mask_storeu_epi8, _mm_maskz_loadu_epi8, _mm512_aesenc_epi128,
    _mm512_aesenclast_epi128, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_bslli_epi128,
    _mm512_castsi128_si512, _mm512_clmulepi64_epi128, _mm512_extracti32x4_epi32,
    _mm512_inserti32x4, _mm512_shuffle_epi8, _mm512_testn_epi64_mask, _mm512_xor_si512,
};

use super::aesni::AesNi;
use super::isa::{BLOCK_BYTES, Block, Isa, Work, both_halves};

/// This CPU has VAES, VPCLMULQDQ and AVX-512 F, BW and VL.
#[derive(Clone, Copy)]
pub(crate) struct Vaes512 {
    pub(super) narrow: AesNi,
}

impl Vaes512 {
    /// *Invariant:* the only place that makes one from nothing.
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("bmi2");
        found.then_some(Self { narrow: AesNi::detect()? })
    }
}

#[target_feature(enable = "vaes,vpclmulqdq,avx512f,avx512bw,avx512vl,bmi2")]
fn compiled<W: Work>(work: W) -> W::Outcome {
    work.run()
}

/// As many low bits as there are bytes.
#[inline(always)]
fn mask(bytes: usize) -> u16 {
    debug_assert!(bytes <= BLOCK_BYTES);
    ((1u32 << bytes) - 1) as u16
}

impl Isa for Vaes512 {
    const LANES: usize = 4;
    type Row = __m512i;

    #[inline(always)]
    fn enter<W: Work>(self, work: W) -> W::Outcome {
        // SAFETY: `self` says that this CPU has these instructions.
        unsafe { compiled(work) }
    }
    #[inline(always)]
    fn gather(self, first: usize, block: &mut impl FnMut(usize) -> Block) -> __m512i {
        // SAFETY: `self` says that this CPU has AVX-512 F.
        let row = unsafe { _mm512_castsi128_si512(block(first)) };
        // SAFETY: as above.
        let row = unsafe { _mm512_inserti32x4::<1>(row, block(first + 1)) };
        // SAFETY: as above.
        let row = unsafe { _mm512_inserti32x4::<2>(row, block(first + 2)) };
        // SAFETY: as above.
        unsafe { _mm512_inserti32x4::<3>(row, block(first + 3)) }
    }
    #[inline(always)]
    fn scatter(self, row: __m512i, first: usize, take: &mut impl FnMut(usize, Block)) {
        // SAFETY: `self` says that this CPU has AVX-512 F.
        take(first, unsafe { _mm512_extracti32x4_epi32::<0>(row) });
        // SAFETY: as above.
        take(first + 1, unsafe { _mm512_extracti32x4_epi32::<1>(row) });
        // SAFETY: as above.
        take(first + 2, unsafe { _mm512_extracti32x4_epi32::<2>(row) });
        // SAFETY: as above.
        take(first + 3, unsafe { _mm512_extracti32x4_epi32::<3>(row) });
    }
    #[inline(always)]
    fn zeros(self, row: __m512i) -> u32 {
        // SAFETY: `self` says that this CPU has AVX-512 F.
        both_halves(unsafe { _mm512_testn_epi64_mask(row, row) }.into())
    }
    #[inline(always)]
    fn splat(self, block: Block) -> __m512i {
        // SAFETY: `self` says that this CPU has AVX-512 F.
        unsafe { _mm512_broadcast_i32x4(block) }
    }
    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Block {
        // SAFETY: `self` says that this CPU has AVX-512 BW and VL; the mask leaves out all bytes
        // but the borrowed ones, and bytes left out are not touched.
        unsafe { _mm_maskz_loadu_epi8(mask(bytes.len()), bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, block: Block, bytes: &mut [u8]) {
        // SAFETY: as in `load`; the borrow is exclusive.
        unsafe { _mm_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask(bytes.len()), block) }
    }
    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` says that this CPU has AVX-512 F.
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` says that this CPU has AVX-512 F.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn aes_round(self, state: __m512i, key: __m512i) -> __m512i {
        // SAFETY: `self` says that this CPU has VAES and AVX-512 F.
        unsafe { _mm512_aesenc_epi128(state, key) }
    }
    #[inline(always)]
    fn aes_last(self, state: __m512i, key: __m512i) -> __m512i {
        // SAFETY: `self` says that this CPU has VAES and AVX-512 F.
        unsafe { _mm512_aesenclast_epi128(state, key) }
    }
    #[inline(always)]
    fn shuffle(self, row: __m512i, order: Block) -> __m512i {
        // SAFETY: `self` says that this CPU has AVX-512 BW.
        unsafe { _mm512_shuffle_epi8(row, self.splat(order)) }
    }
    #[inline(always)]
    fn shift_up<const BYTES: i32>(self, row: __m512i) -> __m512i {
        // SAFETY: `self` says that this CPU has AVX-512 BW.
        unsafe { _mm512_bslli_epi128::<BYTES>(row) }
    }
    #[inline(always)]
    fn clmul<const HALVES: i32>(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` says that this CPU has VPCLMULQDQ and AVX-512 F.
        unsafe { _mm512_clmulepi64_epi128::<HALVES>(a, b) }
    }
}
