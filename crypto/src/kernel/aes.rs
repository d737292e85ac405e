//! AES on rows: each lane its own key. Key schedules are made where they are used (16 or 32 bytes
//! a session instead of 176 or 240), while the first blocks are already under way.

use super::isa::{BLOCK_BYTES, Block, Isa, block, from_number};

/// Round keys of AES-128.
pub(super) const KEYS_128: usize = 11;
/// Round keys of AES-256.
pub(super) const KEYS_256: usize = 15;

/// Round keys of all lanes (FIPS 197 section 5.2), on the stack of one group of records.
pub(super) struct Schedule<I: Isa, const KEYS: usize> {
    isa: I,
    keys: [I::Row; KEYS],
}

/// `RotWord` of the last word, in every column.
const LAST_WORD_ROTATED: u128 = 0x0c0f_0e0d_0c0f_0e0d_0c0f_0e0d_0c0f_0e0d;
/// The last word in every column.
const LAST_WORD: u128 = 0x0f0e_0d0c_0f0e_0d0c_0f0e_0d0c_0f0e_0d0c;
const ROUND_CONSTANTS: [u32; 10] = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36];

impl<I: Isa, const KEYS: usize> Schedule<I, KEYS> {
    /// The schedule whose lane `n` has the key `key(n)`: 16 bytes for 11 round keys, 32 for 15.
    #[inline(always)]
    pub(super) fn new<'k>(isa: I, key: impl Fn(usize) -> &'k [u8]) -> Self {
        let part = |at: usize| {
            let half = |lane: usize| key(lane)[at..].first_chunk().expect("a key of its length");
            isa.gather(0, &mut |lane| block(half(lane)))
        };
        let first = part(0);
        let mut keys = [first; KEYS];
        if KEYS == KEYS_128 {
            for round in 1..KEYS {
                let rcon = ROUND_CONSTANTS[round - 1];
                let word = substituted(isa, keys[round - 1], LAST_WORD_ROTATED, rcon);
                keys[round] = isa.xor(running_xor(isa, keys[round - 1]), word);
            }
        } else {
            keys[1] = part(BLOCK_BYTES);
            for round in 2..KEYS {
                let (order, rcon) = match round % 2 {
                    0 => (LAST_WORD_ROTATED, ROUND_CONSTANTS[round / 2 - 1]),
                    _ => (LAST_WORD, 0),
                };
                let word = substituted(isa, keys[round - 1], order, rcon);
                keys[round] = isa.xor(running_xor(isa, keys[round - 2]), word);
            }
        }
        Self { isa, keys }
    }

    /// Encrypts a row.
    #[inline(always)]
    pub(super) fn encrypt(&self, row: I::Row) -> I::Row {
        let mut state = self.isa.xor(row, self.keys[0]);
        for round in 1..KEYS - 1 {
            state = self.isa.aes_round(state, self.keys[round]);
        }
        self.isa.aes_last(state, self.keys[KEYS - 1])
    }

    /// Encrypts two rows, interleaved.
    #[inline(always)]
    pub(super) fn encrypt_two(&self, a: I::Row, b: I::Row) -> (I::Row, I::Row) {
        let isa = self.isa;
        let (mut a, mut b) = (isa.xor(a, self.keys[0]), isa.xor(b, self.keys[0]));
        for round in 1..KEYS - 1 {
            a = isa.aes_round(a, self.keys[round]);
            b = isa.aes_round(b, self.keys[round]);
        }
        (isa.aes_last(a, self.keys[KEYS - 1]), isa.aes_last(b, self.keys[KEYS - 1]))
    }

    /// Overwrites the round keys.
    #[inline(always)]
    pub(super) fn wipe(&mut self) {
        self.keys = [self.isa.splat(from_number(0)); KEYS];
        // The compiler may not leave out stores to what could be read here.
        std::hint::black_box(&mut self.keys);
    }
}

/// `SubWord` of the words that `order` puts in every column, then the round constant: the last
/// round of AES on a block of four equal columns, which its ShiftRows leaves as it is.
#[inline(always)]
fn substituted<I: Isa>(isa: I, key: I::Row, order: u128, rcon: u32) -> I::Row {
    let words = isa.shuffle(key, from_number(order));
    let rcon = u128::from(rcon) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    isa.aes_last(words, isa.splat(from_number(rcon)))
}

/// Each word with all words before it.
#[inline(always)]
fn running_xor<I: Isa>(isa: I, key: I::Row) -> I::Row {
    let pairs = isa.xor(key, isa.shift_up::<4>(key));
    isa.xor(pairs, isa.shift_up::<8>(pairs))
}

/// A block whose last bytes are a big-endian number.
#[inline(always)]
pub(super) fn ending_in(number: u32) -> Block {
    from_number(u128::from(number.swap_bytes()) << 96)
}
