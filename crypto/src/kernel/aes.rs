//! AES on rows: each lane its own key. Key schedules are made where they are used (16 or 32 bytes
//! a session instead of 176 or 240), while the first blocks are already under way.

use super::isa::{BLOCK_BYTES, Block, Isa, block, from_number};

/// Round keys of AES-128.
pub(super) const KEYS_128: usize = 11;
/// Round keys of AES-256.
pub(super) const KEYS_256: usize = 15;

/// Round keys of all lanes (FIPS 197 section 5.2). What of them comes to the stack is overwritten
/// when the batch is done.
pub(super) struct Schedule<I: Isa, const KEYS: usize> {
    isa: I,
    keys: [I::Row; KEYS],
}

/// `RotWord` of the last word, in every column.
const LAST_WORD_ROTATED: u128 = 0x0c0f_0e0d_0c0f_0e0d_0c0f_0e0d_0c0f_0e0d;
/// The last word in every column.
const LAST_WORD: u128 = 0x0f0e_0d0c_0f0e_0d0c_0f0e_0d0c_0f0e_0d0c;
/// No round constant.
const BETWEEN: u128 = 0;

impl<I: Isa, const KEYS: usize> Schedule<I, KEYS> {
    /// The schedule whose lane `n` has the key `key(n)`: 16 bytes for 11 round keys, 32 for 15.
    #[inline(always)]
    pub(super) fn new<'k>(isa: I, key: impl Fn(usize) -> &'k [u8]) -> Self {
        let part = |at: usize| {
            let half = |lane: usize| key(lane)[at..].first_chunk().expect("a key of its length");
            isa.gather(0, &mut |lane| block(half(lane)))
        };
        let mut keys = [part(0); KEYS];
        if KEYS == KEYS_128 {
            // Written out, so that the keys need no memory in between.
            keys[1] = next::<I, 0x01>(isa, keys[0], keys[0]);
            keys[2] = next::<I, 0x02>(isa, keys[1], keys[1]);
            keys[3] = next::<I, 0x04>(isa, keys[2], keys[2]);
            keys[4] = next::<I, 0x08>(isa, keys[3], keys[3]);
            keys[5] = next::<I, 0x10>(isa, keys[4], keys[4]);
            keys[6] = next::<I, 0x20>(isa, keys[5], keys[5]);
            keys[7] = next::<I, 0x40>(isa, keys[6], keys[6]);
            keys[8] = next::<I, 0x80>(isa, keys[7], keys[7]);
            keys[9] = next::<I, 0x1b>(isa, keys[8], keys[8]);
            keys[10] = next::<I, 0x36>(isa, keys[9], keys[9]);
        } else {
            keys[1] = part(BLOCK_BYTES);
            keys[2] = next::<I, 0x01>(isa, keys[0], keys[1]);
            keys[3] = next::<I, BETWEEN>(isa, keys[1], keys[2]);
            keys[4] = next::<I, 0x02>(isa, keys[2], keys[3]);
            keys[5] = next::<I, BETWEEN>(isa, keys[3], keys[4]);
            keys[6] = next::<I, 0x04>(isa, keys[4], keys[5]);
            keys[7] = next::<I, BETWEEN>(isa, keys[5], keys[6]);
            keys[8] = next::<I, 0x08>(isa, keys[6], keys[7]);
            keys[9] = next::<I, BETWEEN>(isa, keys[7], keys[8]);
            keys[10] = next::<I, 0x10>(isa, keys[8], keys[9]);
            keys[11] = next::<I, BETWEEN>(isa, keys[9], keys[10]);
            keys[12] = next::<I, 0x20>(isa, keys[10], keys[11]);
            keys[13] = next::<I, BETWEEN>(isa, keys[11], keys[12]);
            keys[14] = next::<I, 0x40>(isa, keys[12], keys[13]);
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
}

/// The round key after `last`, one key's length behind `before`. `RCON` is the round constant, or
/// [`BETWEEN`] for the keys of AES-256 that are made without one.
///
/// `SubWord` is the last round of AES on a block of four equal columns, which its ShiftRows leaves
/// as it is; the round constant is its round key.
#[inline(always)]
fn next<I: Isa, const RCON: u128>(isa: I, before: I::Row, last: I::Row) -> I::Row {
    const IN_EVERY_COLUMN: u128 = 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let order = if RCON == BETWEEN { LAST_WORD } else { LAST_WORD_ROTATED };
    let rcon = isa.splat(from_number(RCON * IN_EVERY_COLUMN));
    let word = isa.aes_last(isa.shuffle(last, from_number(order)), rcon);
    // Each word with all words before it.
    let pairs = isa.xor(before, isa.shift_up::<4>(before));
    isa.xor(isa.xor(pairs, isa.shift_up::<8>(pairs)), word)
}

/// A block whose last bytes are a big-endian number.
#[inline(always)]
pub(super) fn ending_in(number: u32) -> Block {
    from_number(u128::from(number.swap_bytes()) << 96)
}
