//! Is a packet as it was sent? The Internet checksum (RFC 1071), which a socket's owner never sees
//! and which is ours to make and check when frames come and go without the kernel's help.
//!
//! Sums are of words in this machine's byte order, which comes to the same bytes (section 2.B).

/// A sum under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// With these bytes; only the last ones added may be odd in number.
    pub(super) fn plus(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        // At most 2^32 words of 32 bits fit; a frame has some hundred.
        let sum = words
            .iter()
            .fold(self.0, |sum, word| sum.wrapping_add(u32::from_ne_bytes(*word).into()));
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        Self(sum.wrapping_add(u32::from_ne_bytes(last).into()))
    }

    /// The sum of what UDP takes from the IP header: both addresses, the protocol, and the length
    /// (RFC 768; RFC 8200 section 8.1).
    pub(super) fn of_pseudo_header(addresses: &[u8], udp_bytes: [u8; 2]) -> Self {
        Self::default().plus(addresses).plus(&[0, UDP]).plus(&udp_bytes)
    }

    /// In 16 bits, as it stands in memory: what a sender leaves to its hardware to complete.
    pub(super) fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_ne_bytes()
    }

    /// Whether everything, checksum included, adds up.
    pub(super) fn is_good(self) -> bool {
        self.folded() == [0xff; 2]
    }

    /// The checksum that makes it good.
    pub(super) fn checksum(self) -> [u8; 2] {
        self.folded().map(|byte| !byte)
    }
}

const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        let sum = Sum::default().plus(&bytes);
        assert_eq!(sum.folded(), [0xdd, 0xf2]);
        assert!(sum.plus(&sum.checksum()).is_good());
    }

    /// Against the sum taken the slow way, for every length.
    #[test]
    fn words_of_any_number_add_up_as_halves_do() {
        let bytes: Vec<u8> = (0..1_500u32).map(|n| ((n * n) >> 3) as u8).collect();
        for len in 0..bytes.len() {
            let halves = bytes[..len].chunks(2);
            let mut slow: u32 = halves
                .map(|half| u32::from(half[0]) << 8 | u32::from(*half.get(1).unwrap_or(&0)))
                .sum();
            while slow > 0xffff {
                slow = (slow & 0xffff) + (slow >> 16);
            }
            let quick = Sum::default().plus(&bytes[..len]).folded();
            assert_eq!(u32::from(u16::from_be_bytes(quick)), slow, "{len}");
        }
    }

    #[test]
    fn a_changed_bit_is_seen() {
        let mut bytes = *b"\x00\x00 whatever was sent";
        let checksum = Sum::default().plus(&bytes).checksum();
        bytes[..2].copy_from_slice(&checksum);
        assert!(Sum::default().plus(&bytes).is_good());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!Sum::default().plus(&bytes).is_good(), "{bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
