//! AES-CCM (RFC 3610, RFC 6655) over a group of records, one in each lane.

use crate::aead::AAD_PREFIX_BYTES;

use super::aes::Schedule;
use super::isa::{BLOCK_BYTES, Block, Isa, Work, from_number};
use super::lane::{Lane, Lanes};
use super::mode::{Mode, Pass, counter};

/// Bytes of the length field, `L` of RFC 3610: what a nonce of 12 bytes leaves of a block.
const LENGTH_BYTES: u8 = 3;
/// The first byte of a counter block.
const COUNTER_FLAGS: u128 = LENGTH_BYTES as u128 - 1;
/// Where the nonce stands, in a counter block as in the first block of the MAC.
const NONCE_PLACE: u128 = ((1 << 96) - 1) << 8;

/// A group to seal, or to open.
pub(super) struct Ccm<'g, 'j, I, const KEYS: usize, const SEAL: bool> {
    pub(super) isa: I,
    pub(super) lanes: &'g mut Lanes<'j>,
    pub(super) records: usize,
}

impl<I: Isa, const KEYS: usize, const SEAL: bool> Work for Ccm<'_, '_, I, KEYS, SEAL> {
    type Outcome = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let Self { isa, lanes, records } = self;
        let first = isa.gather(0, &mut |lane| first_block(&lanes[lane]));
        let nonces = isa.and(first, isa.splat(from_number(NONCE_PLACE)));
        let counters = isa.xor(nonces, isa.splat(from_number(COUNTER_FLAGS)));
        let keys = Schedule::new(isa, |lane| lanes[lane].key);
        let (tag_mask, stream) = keys.encrypt_two(counters, counter(isa, counters, 1));
        let mac = keys.encrypt(first);

        let mode = CbcMac::<I, KEYS> { isa, keys, counters };
        let mut pass = Pass { isa, mode, lanes, records, mac, stream };
        pass.aad();
        pass.text::<SEAL>();
        pass.mode.keys.wipe();
        pass.tags::<SEAL>(isa.xor(pass.mac, tag_mask))
    }
}

struct CbcMac<I: Isa, const KEYS: usize> {
    isa: I,
    keys: Schedule<I, KEYS>,
    /// `A_0` of each lane (RFC 3610 section 2.3).
    counters: I::Row,
}

impl<I: Isa, const KEYS: usize> Mode<I> for CbcMac<I, KEYS> {
    const MACS_PLAINTEXT: bool = true;

    #[inline(always)]
    fn aad_blocks(lane: &Lane<'_>) -> usize {
        match lane.aad.as_bytes().len() {
            0 => 0,
            bytes => (AAD_PREFIX_BYTES + bytes).div_ceil(BLOCK_BYTES),
        }
    }
    #[inline(always)]
    fn aad_block(&self, lane: &Lane<'_>, n: usize) -> Block {
        lane.aad_block(n * BLOCK_BYTES, self.isa)
    }
    #[inline(always)]
    fn absorb(&self, mac: I::Row, block: I::Row) -> I::Row {
        self.keys.encrypt(self.isa.xor(mac, block))
    }
    #[inline(always)]
    fn absorb_and_stream(&self, mac: I::Row, block: I::Row, n: usize) -> (I::Row, I::Row) {
        let next = counter(self.isa, self.counters, n + 1);
        self.keys.encrypt_two(self.isa.xor(mac, block), next)
    }
}

/// `B_0` of RFC 3610 section 2.2.
#[inline(always)]
fn first_block(lane: &Lane<'_>) -> Block {
    let has_aad = u8::from(!lane.aad.as_bytes().is_empty());
    let tag_code = (lane.tag.len() as u8 / 2).saturating_sub(1);
    let flags = has_aad << 6 | tag_code << 3 | (LENGTH_BYTES - 1);
    let text_bytes = u128::from((lane.text_bytes() as u32).swap_bytes()) << 96;
    from_number(text_bytes | lane.nonce() << 8 | u128::from(flags))
}
