//! AES-GCM (NIST SP 800-38D) over a group of records, one in each lane.

use crate::aead::AAD_PREFIX_BYTES;

use super::aes::Schedule;
use super::ghash::Ghash;
use super::isa::{BLOCK_BYTES, Block, Isa, Work, block, from_number};
use super::lane::{Lane, Lanes, Span};
use super::mode::{Mode, Pass, counter};

/// Counter of the block that masks the tag (section 7.1, `J_0`); the text's follow.
const TAG_COUNTER: usize = 1;
/// The nonce from where CCM has it to the front, zeros (indices of no byte) behind.
const NONCE_FIRST: u128 = 0x8080_8080_0c0b_0a09_0807_0605_0403_0201;

/// A group to seal, or to open.
pub(super) struct Gcm<'g, 'j, I, const KEYS: usize, const SEAL: bool> {
    pub(super) isa: I,
    pub(super) lanes: &'g mut Lanes<'j>,
    /// How many lanes have a record, from the first on; at least one.
    pub(super) records: usize,
}

impl<I: Isa, const KEYS: usize, const SEAL: bool> Work for Gcm<'_, '_, I, KEYS, SEAL> {
    type Outcome = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let Self { isa, lanes, records } = self;
        let aad = Span::of(lanes[..records].iter().map(|lane| lane.aad.len()));
        let text = Span::of(lanes[..records].iter().map(|lane| lane.text.len()));

        let nonces = isa.gather(0, &mut |lane| block(lanes[lane].nonce));
        let counters = isa.shuffle(nonces, from_number(NONCE_FIRST));
        let zero = isa.splat(from_number(0));
        let keys = Schedule::new(isa, |lane| lanes[lane].key);
        let (hash_key, tag_mask) = keys.encrypt_two(zero, counter(isa, counters, TAG_COUNTER));
        let stream = keys.encrypt(counter(isa, counters, TAG_COUNTER + 1));
        let mode = Gctr::<I, KEYS> { isa, keys, ghash: Ghash::new(isa, hash_key), counters };
        let mut pass = Pass { isa, mode, lanes, aad, text, mac: zero, stream };
        pass.aad();
        pass.text::<SEAL>();
        let lengths = isa.gather(0, &mut |lane| lengths(&pass.lanes[lane]));
        let hash = pass.mode.ghash.absorb_reflected(pass.mac, lengths);
        pass.tags::<SEAL>(isa.xor(pass.mode.ghash.reflected(hash), tag_mask))
    }
}

struct Gctr<I: Isa, const KEYS: usize> {
    isa: I,
    keys: Schedule<I, KEYS>,
    ghash: Ghash<I>,
    /// Nonces, with zeros where the counter stands.
    counters: I::Row,
}

impl<I: Isa, const KEYS: usize> Mode<I> for Gctr<I, KEYS> {
    const MACS_PLAINTEXT: bool = false;

    #[inline(always)]
    fn aad_blocks(bytes: usize) -> usize {
        bytes.div_ceil(BLOCK_BYTES)
    }
    #[inline(always)]
    fn aad_block(&self, lane: &Lane<'_>, n: usize) -> Block {
        lane.aad_block(AAD_PREFIX_BYTES + n * BLOCK_BYTES, self.isa)
    }
    #[inline(always)]
    fn absorb(&self, mac: I::Row, block: I::Row) -> I::Row {
        self.ghash.absorb_reflected(mac, self.ghash.reflected(block))
    }
    #[inline(always)]
    fn absorb_and_stream(&self, mac: I::Row, block: I::Row, n: usize) -> (I::Row, I::Row) {
        let next = counter(self.isa, self.counters, n + TAG_COUNTER + 1);
        (self.absorb(mac, block), self.keys.encrypt(next))
    }
}

/// The last block that is hashed, reflected: the lengths in bits.
#[inline(always)]
fn lengths(lane: &Lane<'_>) -> Block {
    let bits = |bytes: usize| 8 * bytes as u128;
    from_number(bits(lane.aad.len()) << 64 | bits(lane.text.len()))
}
