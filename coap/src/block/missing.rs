//! Which blocks are missing? A few block numbers, and how a 4.08 says them: as a CBOR sequence,
//! `application/missing-blocks+cbor-seq` (RFC 9177 section 5).
//!
//! *Bound:* MAX_PAYLOADS numbers, as section 5 advises; they fit any message.

use super::quick::MAX_PAYLOADS;

/// Block numbers, ascending, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    numbers: [u32; MAX_PAYLOADS as usize],
    len: u8,
}

impl Missing {
    /// As many of these as there is room for. They ascend.
    pub fn of(numbers: impl Iterator<Item = u32>) -> Self {
        let mut missing = Self::default();
        numbers.take(missing.numbers.len()).for_each(|number| missing.push(number));
        missing
    }

    /// One more, above the others, if there is room for it.
    pub fn push(&mut self, number: u32) {
        debug_assert!(self.as_slice().last().is_none_or(|last| *last < number));
        if let Some(place) = self.numbers.get_mut(usize::from(self.len)) {
            *place = number;
            self.len += 1;
        }
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[u32] {
        &self.numbers[..usize::from(self.len)]
    }

    /// Writes them as the payload of a 4.08; how long that is.
    pub fn write(&self, out: &mut [u8; CBOR_BYTES_MAX]) -> usize {
        let mut length = 0;
        for number in self.as_slice() {
            let (head, bytes) = (*number, number.to_be_bytes());
            // RFC 8949 section 3.1: an unsigned integer, as short as it can be.
            let (first, rest) = match head {
                0..=23 => (bytes[3], &bytes[4..]),
                24..=0xff => (24, &bytes[3..]),
                0x100..=0xffff => (25, &bytes[2..]),
                _ => (26, &bytes[..]),
            };
            out[length] = first;
            out[length + 1..length + 1 + rest.len()].copy_from_slice(rest);
            length += 1 + rest.len();
        }
        length
    }
}

/// Longest sequence, bytes: five of each number.
pub const CBOR_BYTES_MAX: usize = 5 * MAX_PAYLOADS as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(numbers: &[u32]) -> Vec<u8> {
        let mut out = [0; CBOR_BYTES_MAX];
        let length = Missing::of(numbers.iter().copied()).write(&mut out);
        out[..length].to_vec()
    }

    /// RFC 8949 appendix A, and the ends of each length.
    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        assert_eq!(written(&[0, 1, 10, 23]), [0x00, 0x01, 0x0a, 0x17]);
        assert_eq!(written(&[24, 25, 100, 255]), [0x18, 24, 0x18, 25, 0x18, 100, 0x18, 255]);
        assert_eq!(written(&[256, 1_000, 65_535]), [0x19, 1, 0, 0x19, 3, 0xe8, 0x19, 255, 255]);
        assert_eq!(written(&[65_536, 1_000_000]), [0x1a, 0, 1, 0, 0, 0x1a, 0, 0x0f, 0x42, 0x40]);
    }

    #[test]
    fn there_are_no_more_than_a_set_of_them() {
        let missing = Missing::of(1_000_000..1_000_100);
        assert_eq!(missing.as_slice(), (1_000_000..1_000_010).collect::<Vec<_>>());
        assert_eq!(missing.write(&mut [0; CBOR_BYTES_MAX]), CBOR_BYTES_MAX);
        assert_eq!(written(&[]), b"");
    }
}
