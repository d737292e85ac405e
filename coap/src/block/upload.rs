//! How does a body go up block by block? The requester's side of Block1 (RFC 7959 sections 2.3,
//! 2.5 and 2.9): one block under way at a time, each answered before the next.
//!
//! ```text
//! block ─▶ ask the peer ─▶ on_response
//!     ├ 2.31, or 2.xx to a part    ─▶ Next: the block is the next one, perhaps a smaller one
//!     ├ 4.13 with a smaller size   ─▶ Next: from the beginning, smaller
//!     ├ 4.08, the first time       ─▶ Next: from the beginning (the peer lost what it had)
//!     └ anything else              ─▶ Done: this is the response to the whole request
//! ```
//!
//! Knows no bytes of the body, only how many there are.

use core::ops::Range;

use super::{Block, BlockSize, NUMBER_MAX};
use crate::code::Code;

/// A body on its way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    body_bytes: usize,
    /// Where the block under way begins.
    offset: usize,
    size: BlockSize,
    /// It was begun again because the peer had lost the beginning.
    is_repeated: bool,
}

/// What a response means for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send [`Upload::block`], which is another one now.
    Next,
    /// The response is the one to the whole request.
    Done,
}

impl Upload {
    /// A body of `body_bytes` in blocks of `size`; `None` when there are more than block numbers.
    pub const fn new(body_bytes: usize, size: BlockSize) -> Option<Self> {
        let blocks = body_bytes.div_ceil(size.bytes());
        if blocks <= NUMBER_MAX as usize + 1 {
            Some(Self { body_bytes, offset: 0, size, is_repeated: false })
        } else {
            None
        }
    }

    /// The block to send now.
    pub fn block(&self) -> Block {
        let more = self.range().end < self.body_bytes;
        Block::at(self.offset, more, self.size).expect("offsets are multiples of their size")
    }

    /// The part of the body that block carries.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.body_bytes.min(self.offset + self.size.bytes())
    }

    /// Takes the response to the block under way: its code and its Block1.
    pub fn on_response(&mut self, code: Code, block1: Option<Block>) -> Step {
        let sent = self.block();
        let is_of_sent = |block: &Block| block.offset() == sent.offset();
        match (code, block1) {
            (Code::REQUEST_ENTITY_TOO_LARGE, Some(block))
                if block.size < self.size && self.fits(block.size) =>
            {
                (self.offset, self.size) = (0, block.size);
                Step::Next
            }
            (Code::REQUEST_ENTITY_INCOMPLETE, _) if self.offset > 0 && !self.is_repeated => {
                (self.offset, self.is_repeated) = (0, true);
                Step::Next
            }
            // A 2.xx that is not 2.31 says so of a part when the peer keeps none (section 2.3).
            (code, Some(block)) if sent.more && code.class() == 2 && is_of_sent(&block) => {
                self.offset = self.range().end;
                if block.size < self.size && self.fits(block.size) {
                    self.size = block.size;
                }
                Step::Next
            }
            _ => Step::Done,
        }
    }

    /// Whether block numbers reach to the end of the body in blocks of this size.
    fn fits(&self, size: BlockSize) -> bool {
        Self::new(self.body_bytes, size).is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A Block1 as RFC 7959 writes it: NUM/M/size.
    fn block1(number: u32, more: bool, bytes: usize) -> Block {
        Block::new(number, more, BlockSize::within(bytes).unwrap()).unwrap()
    }

    fn upload(body_bytes: usize, block_bytes: usize) -> Upload {
        Upload::new(body_bytes, BlockSize::within(block_bytes).unwrap()).unwrap()
    }

    /// RFC 7959 figure 7: a simple atomic block-wise PUT.
    #[test]
    fn blocks_follow_each_other_to_the_last() {
        let mut upload = upload(300, 128);
        for number in 0..2 {
            let block = block1(number, true, 128);
            assert_eq!(upload.block(), block);
            assert_eq!(upload.on_response(Code::CONTINUE, Some(block)), Step::Next);
        }
        let last = block1(2, false, 128);
        assert_eq!((upload.block(), upload.range()), (last, 256..300));
        assert_eq!(upload.on_response(Code::CHANGED, Some(last)), Step::Done);
    }

    /// RFC 7959 figure 8: a stateless block-wise PUT.
    #[test]
    fn a_peer_that_keeps_nothing_answers_each_part() {
        let mut upload = upload(200, 128);
        let answered = block1(0, false, 128);
        assert_eq!(upload.on_response(Code::CHANGED, Some(answered)), Step::Next);
        assert_eq!(upload.block(), block1(1, false, 128));
    }

    /// RFC 7959 figure 9: negotiation. What the peer has, it has.
    #[test]
    fn a_smaller_size_scales_the_block_number() {
        let mut upload = upload(300, 128);
        assert_eq!(upload.on_response(Code::CONTINUE, Some(block1(0, true, 32))), Step::Next);
        assert_eq!((upload.block(), upload.range()), (block1(4, true, 32), 128..160));
    }

    /// A larger size is not taken up: blocks never grow (section 2.5).
    #[test]
    fn blocks_never_grow() {
        let mut upload = upload(300, 64);
        assert_eq!(upload.on_response(Code::CONTINUE, Some(block1(0, true, 1_024))), Step::Next);
        assert_eq!(upload.block(), block1(1, true, 64));
    }

    /// Section 2.9.3: 4.13 with a smaller size, and the same without, which is the end.
    #[test]
    fn too_large_begins_again_only_with_smaller_blocks() {
        let too_large = Code::REQUEST_ENTITY_TOO_LARGE;
        let mut upload = upload(300, 128);
        assert_eq!(upload.on_response(too_large, Some(block1(0, true, 64))), Step::Next);
        assert_eq!(upload.block(), block1(0, true, 64));
        assert_eq!(upload.on_response(too_large, Some(block1(0, true, 64))), Step::Done);
        assert_eq!(upload.on_response(too_large, None), Step::Done);
    }

    /// Section 2.9.2: the peer lost the beginning; once is a restart, twice is an answer.
    #[test]
    fn incomplete_begins_again_once() {
        let incomplete = Code::REQUEST_ENTITY_INCOMPLETE;
        let mut upload = upload(300, 128);
        assert_eq!(upload.on_response(incomplete, None), Step::Done, "nothing was lost yet");
        for expected in [Step::Next, Step::Done] {
            let block = upload.block();
            assert_eq!(upload.on_response(Code::CONTINUE, Some(block)), Step::Next);
            assert_eq!(upload.on_response(incomplete, None), expected);
        }
    }

    /// An error, a response about another block and one without Block1 end it.
    #[test]
    fn what_is_no_progress_is_the_response() {
        for (code, block) in [
            (Code::NOT_FOUND, Some(block1(0, true, 128))),
            (Code::CONTINUE, Some(block1(7, true, 128))),
            (Code::CHANGED, None),
        ] {
            assert_eq!(upload(300, 128).on_response(code, block), Step::Done, "{code}");
        }
    }

    #[test]
    fn a_body_reaches_to_the_last_block_number() {
        let blocks = NUMBER_MAX as usize + 1;
        assert!(Upload::new(blocks * 16, BlockSize::MIN).is_some());
        assert!(Upload::new(blocks * 16 + 1, BlockSize::MIN).is_none());
        assert_eq!(upload(0, 16).block(), block1(0, false, 16), "an empty body is one block");
        // A size whose numbers would not reach to the end is not taken up.
        let mut upload = upload(blocks * 32, 32);
        assert_eq!(upload.on_response(Code::CONTINUE, Some(block1(0, true, 16))), Step::Next);
        assert_eq!(upload.block(), block1(1, true, 32));
    }
}
