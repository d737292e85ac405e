//! GHASH (NIST SP 800-38D section 6.4) on rows: each lane its own hash key.
//!
//! GHASH counts bits from the left. On blocks with their bytes reversed it is multiplication in
//! the field of POLYVAL (RFC 8452 section 3 and appendix A), by the hash key times x: there bits
//! have their usual places, and what reduces a product is two more carry-less multiplications.

use super::isa::{Isa, from_number, number};

/// x^128 + x^127 + x^126 + x^121 + 1, but for x^128.
const POLYNOMIAL: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;
/// All bytes of a block, the last one first.
const REVERSED: u128 = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f;
/// The halves of a block, the upper one first.
const HALVES_SWAPPED: u128 = 0x0706_0504_0302_0100_0f0e_0d0c_0b0a_0908;

/// The hash keys of all lanes, reflected, times x.
#[derive(Clone, Copy)]
pub(super) struct Ghash<I: Isa> {
    isa: I,
    key: I::Row,
}

impl<I: Isa> Ghash<I> {
    /// For hash keys as AES makes them.
    #[inline(always)]
    pub(super) fn new(isa: I, hash_key: I::Row) -> Self {
        let reflected = isa.shuffle(hash_key, from_number(REVERSED));
        let mut keys = [0; super::lane::LANES_MAX];
        isa.scatter(reflected, 0, &mut |lane, key| keys[lane] = times_x(number(key)));
        Self { isa, key: isa.gather(0, &mut |lane| from_number(keys[lane])) }
    }

    /// A row of blocks as GHASH means them, or back.
    #[inline(always)]
    pub(super) fn reflected(&self, row: I::Row) -> I::Row {
        self.isa.shuffle(row, from_number(REVERSED))
    }

    /// The hash with one block more; both reflected.
    #[inline(always)]
    pub(super) fn absorb_reflected(&self, hash: I::Row, block: I::Row) -> I::Row {
        product(self.isa, self.isa.xor(hash, block), self.key)
    }
}

/// `a` times `b` over x^128, in the field of POLYVAL.
#[inline(always)]
fn product<I: Isa>(isa: I, a: I::Row, b: I::Row) -> I::Row {
    let polynomial = isa.splat(from_number(POLYNOMIAL));
    let swapped = |row| isa.shuffle(row, from_number(HALVES_SWAPPED));
    let low = isa.clmul::<0x00>(a, b);
    let middle = isa.xor(isa.clmul::<0x01>(a, b), isa.clmul::<0x10>(a, b));
    let high = isa.clmul::<0x11>(a, b);
    // The lower half of `low` times the polynomial cancels itself and leaves 64 bits fewer; then
    // so does `middle`.
    let middle = isa.xor(middle, isa.xor(swapped(low), isa.clmul::<0x10>(low, polynomial)));
    isa.xor(high, isa.xor(swapped(middle), isa.clmul::<0x10>(middle, polynomial)))
}

/// Without a branch on the key.
#[inline(always)]
fn times_x(key: u128) -> u128 {
    (key << 1) ^ (POLYNOMIAL & 0u128.wrapping_sub(key >> 127))
}
