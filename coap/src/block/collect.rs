//! How does a body come in block by block? The responder's side of Block1 (RFC 7959 sections 2.3,
//! 2.5 and 2.9), atomically: the request is served once its last block is here.
//!
//! ```text
//! block ─▶ judge
//!     ├ begins where the last one ended ─▶ Next: 2.31, or Last: serve the request
//!     ├ before that, and not the last   ─▶ Again: 2.31, there is nothing new in it
//!     ├ behind that                     ─▶ Missing: 4.08
//!     ├ a part of another length        ─▶ Malformed: 4.00
//!     └ beyond the longest body         ─▶ TooLarge: 4.13
//! ```
//!
//! A block with number 0 begins a new body: its owner makes a new one of these. Sizes may change on
//! the way (section 2.5), so that what counts is where a block begins. Knows no bytes of the body.

use super::Block;

/// A body on its way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collect {
    received_bytes: usize,
}

/// What a block is to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The next one, and more are to come.
    Next,
    /// The next one, and the last.
    Last,
    /// One that is there already.
    Again,
    /// One behind a gap, or of a body whose beginning nobody has.
    Missing,
    /// Its payload is not as long as its size says (section 2.3).
    Malformed,
    /// The body is longer than it may be.
    TooLarge,
}

impl Collect {
    /// So much is there, bytes, without a gap.
    pub fn received_bytes(&self) -> usize {
        self.received_bytes
    }

    /// Judges a block with so much payload; `size1` is what the request says of the whole body,
    /// `longest_bytes` what it may be. Changes nothing.
    pub fn judge(
        &self,
        block: Block,
        payload_bytes: usize,
        size1: Option<u32>,
        longest_bytes: usize,
    ) -> Part {
        let end_bytes = block.offset() + payload_bytes;
        // A body as long as may be, of which more is to come, is too long.
        let is_too_large = end_bytes + usize::from(block.more) > longest_bytes
            || size1.is_some_and(|bytes| bytes as usize > longest_bytes);
        let is_there = block.more && end_bytes <= self.received_bytes;
        match () {
            () if block.more && payload_bytes != block.size.bytes() => Part::Malformed,
            () if is_too_large => Part::TooLarge,
            () if is_there => Part::Again,
            () if block.offset() != self.received_bytes => Part::Missing,
            () if block.more => Part::Next,
            () => Part::Last,
        }
    }

    /// The next block is kept.
    pub fn take(&mut self, payload_bytes: usize) {
        self.received_bytes += payload_bytes;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::block::BlockSize;

    const LONGEST: usize = 1_000;

    /// A Block1 as RFC 7959 writes it: NUM/M/size.
    fn block1(number: u32, more: bool, bytes: usize) -> Block {
        Block::new(number, more, BlockSize::within(bytes).unwrap()).unwrap()
    }

    fn judge(collect: Collect, block: Block, payload_bytes: usize) -> Part {
        collect.judge(block, payload_bytes, None, LONGEST)
    }

    fn with(received_bytes: usize) -> Collect {
        Collect { received_bytes }
    }

    /// RFC 7959 figure 7: a simple atomic block-wise PUT.
    #[test]
    fn blocks_follow_each_other_to_the_last() {
        let mut collect = Collect::default();
        for number in 0..2 {
            assert_eq!(judge(collect, block1(number, true, 128), 128), Part::Next);
            collect.take(128);
        }
        assert_eq!(judge(collect, block1(2, false, 128), 44), Part::Last);
        assert_eq!(collect.received_bytes(), 256);
    }

    /// RFC 7959 figure 9: the client goes on with smaller blocks, numbered anew.
    #[test]
    fn what_counts_is_where_a_block_begins() {
        assert_eq!(judge(with(128), block1(4, true, 32), 32), Part::Next);
        assert_eq!(judge(with(128), block1(1, true, 32), 32), Part::Again);
        assert_eq!(judge(with(128), block1(5, true, 32), 32), Part::Missing);
    }

    /// Whoever lost our answer sends the block again with another Message ID.
    #[test]
    fn a_block_that_is_there_is_no_news_and_one_behind_a_gap_is_missing_its_beginning() {
        assert_eq!(judge(with(256), block1(0, true, 128), 128), Part::Again);
        assert_eq!(judge(with(256), block1(1, true, 128), 128), Part::Again);
        assert_eq!(judge(with(256), block1(3, true, 128), 128), Part::Missing);
        assert_eq!(judge(with(256), block1(1, false, 128), 128), Part::Missing, "another body's");
        assert_eq!(judge(Collect::default(), block1(1, false, 64), 5), Part::Missing);
    }

    #[test]
    fn a_part_is_as_long_as_its_size_says_and_the_last_as_it_likes() {
        for (bytes, expected) in [(127, Part::Malformed), (128, Part::Next), (129, Part::Malformed)]
        {
            assert_eq!(judge(Collect::default(), block1(0, true, 128), bytes), expected);
        }
        for bytes in [0, 1, 128, 300] {
            assert_eq!(judge(with(128), block1(1, false, 128), bytes), Part::Last);
        }
    }

    /// Section 2.9.3, at both sides of the limit, by what is there and by what Size1 announces.
    #[test]
    fn a_body_is_as_long_as_it_may_be() {
        let begun = |longest| Collect::default().judge(block1(0, true, 512), 512, None, longest);
        assert_eq!((begun(513), begun(512)), (Part::Next, Part::TooLarge));
        let last = |bytes| judge(with(512), block1(1, false, 512), bytes);
        assert_eq!((last(488), last(489)), (Part::Last, Part::TooLarge));
        let announced =
            |size1| Collect::default().judge(block1(0, true, 128), 128, Some(size1), LONGEST);
        assert_eq!((announced(1_000), announced(1_001)), (Part::Next, Part::TooLarge));
    }
}
