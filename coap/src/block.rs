//! Which part of a body does a message carry? The value of Block1 and Block2 (RFC 7959 section 2),
//! of Q-Block1 and Q-Block2 (RFC 9177 section 4.2), and the bodies that travel block by block.

mod burst;
mod collect;
mod gather;
mod missing;
pub mod quick;
mod upload;
mod wants;

pub use burst::{Burst, Turn};
pub use collect::{Collect, Part};
pub use gather::{Due, Gather, Next, Place, RANGES_MAX};
pub use missing::{CBOR_BYTES_MAX, Missing};
pub use upload::{Step, Upload};
pub use wants::{Unordered, Wants, What};

use crate::option::Number;
use crate::option::list::Options;

/// One block of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which block, counted in blocks of `size`; 0..=[`NUMBER_MAX`].
    number: u32,
    /// More blocks follow, or are expected.
    pub more: bool,
    /// How large the blocks are.
    pub size: BlockSize,
}

impl Block {
    /// A block by its number; `None` above [`NUMBER_MAX`].
    pub const fn new(number: u32, more: bool, size: BlockSize) -> Option<Self> {
        if number <= NUMBER_MAX { Some(Self { number, more, size }) } else { None }
    }

    /// The block that begins at `offset` bytes; `None` where no block begins, or too far.
    pub fn at(offset: usize, more: bool, size: BlockSize) -> Option<Self> {
        let number = u32::try_from(offset / size.bytes()).ok()?;
        if offset.is_multiple_of(size.bytes()) { Self::new(number, more, size) } else { None }
    }

    /// Reads a block option of a message; `None` when there is none or its size is the reserved
    /// one (section 2.2).
    pub fn of(options: &Options<'_>, option: Number) -> Option<Self> {
        options.uint(option).and_then(Self::from_value)
    }

    /// Reads an option's value.
    pub const fn from_value(value: u32) -> Option<Self> {
        match BlockSize::from_szx(value & 7) {
            Some(size) => Self::new(value >> 4, value & 8 != 0, size),
            None => None,
        }
    }

    /// The option's value.
    pub const fn value(self) -> u32 {
        self.number << 4 | (self.more as u32) << 3 | self.size.szx as u32
    }

    /// NUM.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Where its first byte stands in the body.
    pub const fn offset(self) -> usize {
        self.number as usize * self.size.bytes()
    }
}

/// How large blocks are: 16, 32 … 1024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockSize {
    /// 0..=6
    szx: u8,
}

impl BlockSize {
    /// 16 bytes.
    pub const MIN: Self = Self { szx: 0 };
    /// 1024 bytes.
    pub const MAX: Self = Self { szx: 6 };

    /// Reads SZX; 7 is reserved.
    pub const fn from_szx(szx: u32) -> Option<Self> {
        if szx <= Self::MAX.szx as u32 { Some(Self { szx: szx as u8 }) } else { None }
    }

    /// The largest one of at most `bytes`; below 16 there is none.
    pub fn within(bytes: usize) -> Option<Self> {
        (0..=Self::MAX.szx).rev().map(|szx| Self { szx }).find(|size| size.bytes() <= bytes)
    }

    /// The one of just so many bytes.
    pub fn exactly(bytes: usize) -> Option<Self> {
        Self::within(bytes).filter(|size| size.bytes() == bytes)
    }

    /// 16..=1024
    pub const fn bytes(self) -> usize {
        16 << self.szx
    }
}

/// Largest block number: it has 20 bits.
pub const NUMBER_MAX: u32 = (1 << 20) - 1;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Every value of up to 24 bits reads and writes back, except those of the reserved size.
    #[test]
    fn values_read_as_they_are_written() {
        for value in (0..1 << 24).step_by(5) {
            match Block::from_value(value) {
                Some(block) => assert_eq!(block.value(), value),
                None => assert_eq!(value & 7, 7),
            }
        }
        assert!(Block::new(NUMBER_MAX, true, BlockSize::MIN).is_some());
        assert!(Block::new(NUMBER_MAX + 1, true, BlockSize::MIN).is_none());
    }

    /// RFC 7959 section 2.2: the size is 2 ** (SZX + 4).
    #[test]
    fn sizes_are_powers_of_two_from_16_to_1024() {
        let sizes: Vec<_> = (0..8).map_while(BlockSize::from_szx).map(BlockSize::bytes).collect();
        assert_eq!(sizes, [16, 32, 64, 128, 256, 512, 1024]);
        let within = |bytes| BlockSize::within(bytes).map(BlockSize::bytes);
        assert_eq!(
            [15, 16, 63, 64, 1_023, 1_024, 9_999].map(within),
            [None, Some(16), Some(32), Some(64), Some(512), Some(1_024), Some(1_024)]
        );
        let exactly = |bytes| BlockSize::exactly(bytes).map(BlockSize::bytes);
        assert_eq!(
            [15, 16, 63, 1_024, 2_048].map(exactly),
            [None, Some(16), None, Some(1_024), None]
        );
    }

    #[test]
    fn a_block_begins_at_a_multiple_of_its_size() {
        let size = BlockSize::within(64).unwrap();
        let block = Block::at(192, true, size).unwrap();
        assert_eq!((block.number(), block.offset()), (3, 192));
        assert_eq!(Block::at(200, true, size), None);
    }
}
