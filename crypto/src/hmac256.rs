//! What is the HMAC-SHA-256 of some short parts? (RFC 2104, FIPS 180-4)
//!
//! From the two states that a key comes to, block by block, over `sha2`'s compression function.
//! *Why not the `hmac` crate:* a handshake takes two dozen of these, each over a block or two, and
//! what its general type copies and wipes for each costs half as much again as the hashing.

use sha2::Digest as _;
use sha2::block_api::compress256;
use zerocopy::IntoBytes;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A key, already absorbed. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Key {
    inner: [u32; 8],
    outer: [u32; 8],
}

/// A MAC under way. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Mac {
    state: [u32; 8],
    outer: [u32; 8],
    /// As words, because these are wiped eight bytes at a time.
    block: [u64; BLOCK_BYTES / 8],
    /// Bytes of `block` that are filled, fewer than all.
    used: usize,
    /// Bytes hashed, with the key's block.
    bytes: u64,
}

/// Length of a MAC, bytes.
pub(crate) const MAC_BYTES: usize = 32;
const BLOCK_BYTES: usize = 64;

impl Key {
    /// A key of any length.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let mut words = [0u64; BLOCK_BYTES / 8];
        let key = words.as_mut_bytes();
        if secret.len() <= BLOCK_BYTES {
            key[..secret.len()].copy_from_slice(secret);
        } else {
            let mut digest = sha2::Sha256::digest(secret);
            key[..MAC_BYTES].copy_from_slice(&digest);
            digest.as_mut_slice().zeroize();
        }
        let absorbed = |pad: u8| {
            let mut padded = words.map(|word| word ^ u64::from_ne_bytes([pad; 8]));
            let mut state = INITIAL;
            compress(&mut state, &padded);
            padded.zeroize();
            state
        };
        let keyed = Self { inner: absorbed(0x36), outer: absorbed(0x5c) };
        words.zeroize();
        keyed
    }

    /// Begins a MAC.
    #[inline]
    pub(crate) fn begin(&self) -> Mac {
        Mac {
            state: self.inner,
            outer: self.outer,
            block: [0; BLOCK_BYTES / 8],
            used: 0,
            bytes: BLOCK_BYTES as u64,
        }
    }

    /// The MAC of these parts, one after the other.
    #[inline]
    pub(crate) fn mac<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; MAC_BYTES] {
        let mut mac = self.begin();
        for part in parts {
            mac.update(part);
        }
        mac.finish()
    }
}

impl Mac {
    /// Goes on with `part`.
    #[inline]
    pub(crate) fn update(&mut self, mut part: &[u8]) {
        self.bytes += part.len() as u64;
        while self.used + part.len() >= BLOCK_BYTES {
            let (now, later) = part.split_at(BLOCK_BYTES - self.used);
            self.block.as_mut_bytes()[self.used..].copy_from_slice(now);
            compress(&mut self.state, &self.block);
            (self.used, part) = (0, later);
        }
        self.block.as_mut_bytes()[self.used..][..part.len()].copy_from_slice(part);
        self.used += part.len();
    }

    /// What it comes to.
    #[inline]
    pub(crate) fn finish(mut self) -> [u8; MAC_BYTES] {
        let (used, bits) = (self.used, self.bytes * 8);
        let block = self.block.as_mut_bytes();
        block[used] = 0x80;
        block[used + 1..].fill(0);
        if used >= LENGTH_AT {
            compress(&mut self.state, &self.block);
            self.block = [0; BLOCK_BYTES / 8];
        }
        self.block.as_mut_bytes()[LENGTH_AT..].copy_from_slice(&bits.to_be_bytes());
        compress(&mut self.state, &self.block);

        let block = self.block.as_mut_bytes();
        for (bytes, word) in block.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        block[MAC_BYTES] = 0x80;
        block[MAC_BYTES + 1..LENGTH_AT].fill(0);
        let bits = 8 * (BLOCK_BYTES + MAC_BYTES) as u64;
        block[LENGTH_AT..].copy_from_slice(&bits.to_be_bytes());
        compress(&mut self.outer, &self.block);
        let mut mac = [0; MAC_BYTES];
        for (bytes, word) in mac.chunks_exact_mut(4).zip(self.outer) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        mac
    }
}

#[inline]
fn compress(state: &mut [u32; 8], block: &[u64; BLOCK_BYTES / 8]) {
    let bytes: &[u8; BLOCK_BYTES] = block.as_bytes().try_into().expect("as long");
    compress256(state, std::slice::from_ref(bytes));
}

/// Where a message's length stands in its last block.
const LENGTH_AT: usize = BLOCK_BYTES - 8;
/// FIPS 180-4 section 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac as _};
    use sha2::Sha256;

    /// Against the crate: keys around the length of a block, texts around those at which padding
    /// takes a block of its own, in one part and in three.
    #[test]
    fn agrees_with_the_hmac_crate() {
        let bytes: Vec<u8> = (0..300u32).map(|n| (n * 7 + 3) as u8).collect();
        for key_len in [0, 1, 16, 48, 63, 64, 65, 131] {
            let key = &bytes[..key_len];
            let (ours, theirs) =
                (Key::new(key), Hmac::<Sha256>::new_from_slice(key).expect("any length"));
            for len in 0..bytes.len() {
                let text = &bytes[..len];
                let expected = theirs.clone().chain_update(text).finalize().into_bytes();
                assert_eq!(ours.mac([text])[..], expected[..], "{key_len} {len}");
                let (a, rest) = text.split_at(len / 3);
                let (b, c) = rest.split_at(len / 5);
                assert_eq!(ours.mac([a, b, c])[..], expected[..], "{key_len} {len}");
            }
        }
    }
}
