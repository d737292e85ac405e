//! AES-CCM (RFC 3610, RFC 6655) over a group of records, one in each lane.

use crate::aead::AAD_PREFIX_BYTES;

use super::aes::{Schedule, ending_in};
use super::isa::{BLOCK_BYTES, Block, Isa, Work, block, from_number};
use super::lane::{Lane, Lanes, Span};
use super::mode::{Mode, Pass, counter};

/// Bytes of the length field, `L` of RFC 3610: what a nonce of 12 bytes leaves of a block.
const LENGTH_BYTES: usize = 3;
/// The first byte of a counter block; the nonce follows.
const COUNTER_FLAGS: usize = LENGTH_BYTES - 1;

/// A group to seal, or to open.
pub(super) struct Ccm<'g, 'j, I, const KEYS: usize, const SEAL: bool> {
    pub(super) isa: I,
    pub(super) lanes: &'g mut Lanes<'j>,
    /// How many lanes have a record, from the first on; at least one.
    pub(super) records: usize,
}

impl<I: Isa, const KEYS: usize, const SEAL: bool> Work for Ccm<'_, '_, I, KEYS, SEAL> {
    type Outcome = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let Self { isa, lanes, records } = self;
        let aad = Span::of(lanes[..records].iter().map(|lane| lane.aad.len()));
        let text = Span::of(lanes[..records].iter().map(|lane| lane.text.len()));

        let nonces = isa.gather(0, &mut |lane| block(lanes[lane].nonce));
        let counters = isa.xor(nonces, isa.splat(flags(COUNTER_FLAGS)));
        // `B_0` of RFC 3610 section 2.2.
        let tag_code = lanes[0].tag.len() / 2 - 1;
        let first_flags = |aad_bytes: usize| {
            flags(usize::from(aad_bytes > 0) << 6 | tag_code << 3 | (LENGTH_BYTES - 1))
        };
        let first_flags = aad.row(isa, |lane| lanes[lane].aad.len(), first_flags);
        let lengths = text.row(isa, |lane| lanes[lane].text.len(), |len| ending_in(len as u32));
        let first = isa.xor(isa.xor(nonces, first_flags), lengths);

        let keys = Schedule::new(isa, |lane| lanes[lane].key);
        let (tag_mask, stream) = keys.encrypt_two(counters, counter(isa, counters, 1));
        let mac = keys.encrypt(first);
        let mode = CbcMac::<I, KEYS> { isa, keys, counters };
        let mut pass = Pass { isa, mode, lanes, aad, text, mac, stream };
        pass.aad();
        pass.text::<SEAL>();
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
    fn aad_blocks(bytes: usize) -> usize {
        if bytes == 0 { 0 } else { (AAD_PREFIX_BYTES + bytes).div_ceil(BLOCK_BYTES) }
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

/// A block with its first byte.
#[inline(always)]
fn flags(byte: usize) -> Block {
    from_number(byte as u128)
}
