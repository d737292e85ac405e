//! AES-CCM (RFC 3610, RFC 6655) over a group of records, one in each lane.
//!
//! The MAC is a chain: each block waits for the one before it. So the chains of the lanes advance
//! together, and the key stream of the next block is made beside the MAC of this one.
//! Only lengths decide where the code goes, never keys or texts.

use super::aes::{Schedule, ending_in};
use super::isa::{Block, Isa, Work, from_number, number};
use super::lane::{LANES_MAX, Lane, leading};

/// Bytes of the length field, `L` of RFC 3610: what a nonce of 12 bytes leaves of a block.
const LENGTH_BYTES: u8 = 3;
/// The first byte of a counter block.
const COUNTER_FLAGS: u128 = LENGTH_BYTES as u128 - 1;
/// Where the nonce stands, in a counter block as in the first block of the MAC.
const NONCE_PLACE: u128 = ((1 << 96) - 1) << 8;

/// A group to seal, or to open.
pub(super) struct Ccm<'g, 'j, I, const KEYS: usize, const SEAL: bool> {
    pub(super) isa: I,
    pub(super) lanes: &'g mut [Lane<'j>; LANES_MAX],
    /// How many lanes have a record, from the first on; at least one.
    pub(super) records: usize,
}

impl<I: Isa, const KEYS: usize, const SEAL: bool> Work for Ccm<'_, '_, I, KEYS, SEAL> {
    /// Bit `n`: the record in lane `n` is sealed, or its tag is right.
    type Outcome = u32;

    #[inline(always)]
    fn run(self) -> u32 {
        let Self { isa, lanes, records } = self;
        let first = isa.gather(0, &mut |lane| first_block(&lanes[lane]));
        let nonces = isa.and(first, isa.splat(from_number(NONCE_PLACE)));
        let counters = isa.xor(nonces, isa.splat(from_number(COUNTER_FLAGS)));
        let keys = Schedule::<I, KEYS>::new(isa, |lane| lanes[lane].key);
        let (tag_mask, stream) = keys.encrypt_two(counters, counter(isa, counters, 1));
        let mac = keys.encrypt(first);

        let mut chain = Chain { isa, keys, counters, mac, stream };
        chain.aad(lanes, records);
        chain.text::<SEAL>(lanes, records);
        chain.keys.wipe();

        let tags = isa.xor(chain.mac, tag_mask);
        if SEAL {
            isa.scatter(tags, 0, &mut |lane, tag| {
                let place = &mut *lanes[lane].tag;
                isa.store(tag, place);
            });
            return u32::MAX;
        }
        let tag_place = isa.splat(leading(lanes[0].tag.len()));
        let received = isa.gather(0, &mut |lane| isa.load(lanes[lane].tag));
        let differences = isa.and(isa.xor(tags, received), tag_place);
        let mut verified = 0;
        isa.scatter(differences, 0, &mut |lane, difference| {
            verified |= u32::from(number(difference) == 0) << lane;
        });
        verified
    }
}

/// The MACs so far, and the key stream that comes next.
struct Chain<I: Isa, const KEYS: usize> {
    isa: I,
    keys: Schedule<I, KEYS>,
    /// Counter block 0 of each lane.
    counters: I::Row,
    mac: I::Row,
    stream: I::Row,
}

impl<I: Isa, const KEYS: usize> Chain<I, KEYS> {
    #[inline(always)]
    fn aad(&mut self, lanes: &[Lane<'_>; LANES_MAX], records: usize) {
        let isa = self.isa;
        let (least, most) = span(lanes[..records].iter().map(Lane::aad_blocks));
        for n in 0..most {
            let input = isa.gather(0, &mut |lane| lanes[lane].aad_block(n));
            let next = self.keys.encrypt(isa.xor(self.mac, input));
            let is_in = |lane: usize| n < lanes[lane].aad_blocks();
            self.mac = if n < least { next } else { chosen(isa, is_in, next, self.mac) };
        }
    }

    #[inline(always)]
    fn text<const SEAL: bool>(&mut self, lanes: &mut [Lane<'_>; LANES_MAX], records: usize) {
        let isa = self.isa;
        let (_, blocks) = span(lanes[..records].iter().map(Lane::text_blocks));
        // The last block is left to the loop that knows how to end.
        let (whole, _) = span(lanes[..records].iter().map(|lane| lane.whole.len()));
        let whole = whole.min(blocks.saturating_sub(1));
        for n in 0..whole {
            let input = isa.gather(0, &mut |lane| lanes[lane].whole(n));
            let output = isa.xor(input, self.stream);
            isa.scatter(output, 0, &mut |lane, block| lanes[lane].put_whole(n, block));
            let plain = if SEAL { input } else { output };
            let next = counter(isa, self.counters, n + 2);
            (self.mac, self.stream) = self.keys.encrypt_two(isa.xor(self.mac, plain), next);
        }
        for n in whole..blocks {
            let input = isa.gather(0, &mut |lane| lanes[lane].ragged(n, isa));
            let output = isa.xor(input, self.stream);
            isa.scatter(output, 0, &mut |lane, block| lanes[lane].put_ragged(n, block, isa));
            let texts = isa.gather(0, &mut |lane| leading(lanes[lane].ragged_bytes(n)));
            let plain = if SEAL { input } else { isa.and(output, texts) };
            let input = isa.xor(self.mac, plain);
            let next;
            if n + 1 < blocks {
                let counter = counter(isa, self.counters, n + 2);
                (next, self.stream) = self.keys.encrypt_two(input, counter);
            } else {
                next = self.keys.encrypt(input);
            }
            self.mac = chosen(isa, |lane| n < lanes[lane].text_blocks(), next, self.mac);
        }
    }
}

/// `B_0` of RFC 3610 section 2.2.
#[inline(always)]
fn first_block(lane: &Lane<'_>) -> Block {
    let has_aad = u8::from(!lane.aad.as_bytes().is_empty());
    let tag_code = (lane.tag.len() as u8 / 2).saturating_sub(1);
    let flags = has_aad << 6 | tag_code << 3 | (LENGTH_BYTES - 1);
    let mut nonce = [0; 16];
    nonce[..lane.nonce.len()].copy_from_slice(&lane.nonce);
    let text_bytes = u128::from((lane.text_bytes() as u32).swap_bytes()) << 96;
    from_number(text_bytes | u128::from_le_bytes(nonce) << 8 | u128::from(flags))
}

/// Counter block `n` (`A_n` of RFC 3610 section 2.3) of each lane.
#[inline(always)]
fn counter<I: Isa>(isa: I, counters: I::Row, n: usize) -> I::Row {
    isa.xor(counters, isa.splat(ending_in(n as u32)))
}

/// In each lane `row` if `is_in` says so, else `other`.
#[inline(always)]
fn chosen<I: Isa>(isa: I, is_in: impl Fn(usize) -> bool, row: I::Row, other: I::Row) -> I::Row {
    let lanes = isa.gather(0, &mut |lane| leading(16 * usize::from(is_in(lane))));
    isa.xor(other, isa.and(lanes, isa.xor(row, other)))
}

/// Least and most of some counts.
#[inline(always)]
fn span(counts: impl Iterator<Item = usize>) -> (usize, usize) {
    counts.fold((usize::MAX, 0), |(least, most), count| (least.min(count), most.max(count)))
}
