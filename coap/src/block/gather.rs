//! How does a body come in whose blocks come as they like? The responder's side of Q-Block1 (RFC
//! 9177 sections 4.3 and 7.2).
//!
//! ```text
//! block ─▶ judge ─ New ─▶ take ─┐              due ─▶ on_due
//!               └─ Again ───────┴▶ on_block        ├ Ask: 4.08 with what is missing
//!    ├ Whole: serve the request                    └ GiveUp: forget the body
//!    ├ Continue: 2.31, a set of MAX_PAYLOADS is here
//!    ├ Ask: 4.08, another set has begun and something of those before is missing
//!    └ Wait: nothing, NON_RECEIVE_TIMEOUT begins anew
//! ```
//!
//! The sender of Confirmable blocks knows what is missing: none of the answers but Whole is for it.
//! Knows no bytes of the body.
//!
//! *Bound:* `RANGES_MAX` runs of blocks. A block that would begin one more is not taken; it is
//! missing still and asked for like one that was lost.

use super::missing::Missing;
use super::quick::{MAX_PAYLOADS, NON_MAX_RETRANSMIT, set_end, time_to_wait_ms};
use super::{Block, BlockSize};

/// A body on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    size: BlockSize,
    total_bytes: usize,
    /// Runs of blocks that are here, ascending, with gaps between them. The first one begins at 0
    /// and may be empty.
    ranges: [Range; RANGES_MAX],
    used: u8,
    /// The highest block that has come.
    highest: u32,
    /// Behind the set that was under way when we asked last because it had begun.
    asked_at: u32,
    /// How often we asked without a word from the peer.
    asked: u8,
    /// When to ask next, ms; `None`: never.
    due_ms: Option<u64>,
}

/// What a block is to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One that was missing.
    New,
    /// One that is there already: its payload is ignored.
    Again,
    /// One that there is no place to remember for.
    Beyond,
    /// It contradicts the others, or itself: another size, another length.
    Malformed,
}

/// What follows from a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet.
    Wait,
    /// All blocks up to this one are here, and it ends a set.
    Continue(Block),
    /// Ask for these.
    Ask(Missing),
    /// The body is whole.
    Whole,
}

/// What to do when time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Ask for these.
    Ask(Missing),
    /// Forget the body: NON_MAX_RETRANSMIT is used up.
    GiveUp,
}

impl Gather {
    /// A body of so many bytes, of which nothing is here; `None` when there are more blocks than
    /// numbers, or none.
    pub fn new(size: BlockSize, total_bytes: usize) -> Option<Self> {
        let last = total_bytes.div_ceil(size.bytes()).checked_sub(1)?;
        Block::new(u32::try_from(last).ok()?, false, size)?;
        Some(Self {
            size,
            total_bytes,
            ranges: [Range::default(); RANGES_MAX],
            used: 1,
            highest: 0,
            asked_at: MAX_PAYLOADS,
            asked: 0,
            due_ms: None,
        })
    }

    /// Judges a block with so much payload of a body that is `size1` bytes long. Changes nothing.
    pub fn judge(&self, block: Block, payload_bytes: usize, size1: usize) -> Place {
        let left = self.total_bytes.saturating_sub(block.offset());
        let is_of_it = block.size == self.size
            && size1 == self.total_bytes
            && payload_bytes == left.min(self.size.bytes())
            && block.more == (left > self.size.bytes())
            && left > 0;
        let number = block.number();
        match self.find(number) {
            _ if !is_of_it => Place::Malformed,
            at if self.has(at, number) => Place::Again,
            at if self.needs_place(at, number) && self.is_full() => Place::Beyond,
            _ => Place::New,
        }
    }

    /// The block is kept: it was judged to be new.
    pub fn take(&mut self, block: Block) {
        let number = block.number();
        let at = self.find(number);
        if self.needs_place(at, number) {
            debug_assert!(!self.is_full(), "it was judged");
            self.ranges[at..=usize::from(self.used)].rotate_right(1);
            self.ranges[at] = Range { from: number, to: number + 1 };
            self.used += 1;
        } else if self.ranges[at].to == number {
            self.ranges[at].to += 1;
            let next = at + 1;
            if next < usize::from(self.used) && self.ranges[next].from == number + 1 {
                self.ranges[at].to = self.ranges[next].to;
                self.ranges[next..usize::from(self.used)].rotate_left(1);
                self.used -= 1;
            }
        } else {
            self.ranges[at].from = number;
        }
        self.highest = self.highest.max(number);
    }

    /// A Non-confirmable block came, new or again: what does its sender hear?
    pub fn on_block(&mut self, now_ms: u64, block: Block) -> Next {
        if self.is_whole() {
            self.due_ms = None;
            return Next::Whole;
        }
        self.asked = 0;
        self.due_ms = Some(now_ms + time_to_wait_ms(0));
        let here = self.ranges[0].to;
        if here > self.highest && here.is_multiple_of(MAX_PAYLOADS) {
            let last = Block::new(here - 1, true, self.size).expect("it has come");
            return Next::Continue(last);
        }
        let set = set_end(block.number());
        if set > self.asked_at && here < set - MAX_PAYLOADS {
            self.asked_at = set;
            return Next::Ask(self.missing(set - MAX_PAYLOADS));
        }
        Next::Wait
    }

    /// Nothing is asked for until another block comes: its sender knows what is missing.
    pub fn keep_quiet(&mut self) {
        self.due_ms = None;
    }

    /// When to call [`Self::on_due`], ms; `None`: never.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// The clock says `now_ms`.
    pub fn on_due(&mut self, now_ms: u64) -> Due {
        if self.due_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return Due::Nothing;
        }
        if self.asked == NON_MAX_RETRANSMIT {
            self.due_ms = None;
            return Due::GiveUp;
        }
        self.asked += 1;
        self.due_ms = Some(now_ms + time_to_wait_ms(self.asked));
        // To the end of the set under way, or of the next one where that is here.
        Due::Ask(self.missing(set_end(self.highest.max(self.ranges[0].to))))
    }

    /// Whether every block is here.
    pub fn is_whole(&self) -> bool {
        self.ranges[0].to == self.blocks()
    }

    /// Its bytes, once it is whole.
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// What is missing below a block.
    fn missing(&self, below: u32) -> Missing {
        let below = below.min(self.blocks());
        let ranges = &self.ranges[..usize::from(self.used)];
        let gaps = ranges.iter().enumerate().map(|(at, range)| {
            let next = ranges.get(at + 1).map_or(below, |next| next.from);
            range.to..next.min(below)
        });
        Missing::of(gaps.flatten())
    }

    fn blocks(&self) -> u32 {
        self.total_bytes.div_ceil(self.size.bytes()) as u32
    }

    /// The range that a block is in or next to; else where one for it belongs.
    fn find(&self, number: u32) -> usize {
        self.ranges[..usize::from(self.used)].partition_point(|range| range.to < number)
    }

    fn has(&self, at: usize, number: u32) -> bool {
        let range = self.ranges[..usize::from(self.used)].get(at);
        range.is_some_and(|range| (range.from..range.to).contains(&number))
    }

    fn needs_place(&self, at: usize, number: u32) -> bool {
        let range = self.ranges[..usize::from(self.used)].get(at);
        range.is_none_or(|range| number + 1 < range.from)
    }

    fn is_full(&self) -> bool {
        usize::from(self.used) == RANGES_MAX
    }
}

/// Blocks from one up to before another.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    from: u32,
    to: u32,
}

/// Runs of blocks that are remembered. *Why 16:* a sender has two sets under way, of which every
/// second block may be lost.
pub const RANGES_MAX: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BYTES: usize = 1_024;

    /// A body of so many blocks, the last of which has one byte.
    struct Body {
        gather: Gather,
        blocks: u32,
    }

    impl Body {
        fn of(blocks: u32) -> Self {
            let total = (blocks as usize - 1) * BYTES + 1;
            Self { gather: Gather::new(BlockSize::MAX, total).unwrap(), blocks }
        }

        /// QB1:NUM/M/1024 arrives.
        fn comes(&mut self, now_ms: u64, number: u32) -> Next {
            let block = Block::new(number, number + 1 < self.blocks, BlockSize::MAX).unwrap();
            let bytes = if block.more { BYTES } else { 1 };
            let total = self.gather.total_bytes();
            match self.gather.judge(block, bytes, total) {
                Place::New => self.gather.take(block),
                place => assert_eq!(place, Place::Again),
            }
            self.gather.on_block(now_ms, block)
        }

        fn come(&mut self, numbers: impl Iterator<Item = u32>) -> Next {
            numbers.map(|number| self.comes(0, number)).last().unwrap()
        }
    }

    fn ask(numbers: &[u32]) -> Missing {
        Missing::of(numbers.iter().copied())
    }

    fn continued(number: u32) -> Next {
        Next::Continue(Block::new(number, true, BlockSize::MAX).unwrap())
    }

    /// RFC 9177 figures 2 and 3.
    #[test]
    fn a_set_is_acknowledged_and_a_whole_body_served() {
        let mut body = Body::of(4);
        assert_eq!(body.come(0..3), Next::Wait);
        assert_eq!(body.comes(0, 3), Next::Whole);
        assert_eq!(body.gather.due_ms(), None);

        let mut body = Body::of(11);
        assert_eq!(body.come(0..9), Next::Wait);
        assert_eq!(body.comes(0, 9), continued(9));
        assert_eq!(body.comes(0, 9), continued(9), "again as for the first time");
        assert_eq!(body.comes(0, 10), Next::Whole);
    }

    /// Figures 4 and 5.
    #[test]
    fn a_payload_of_another_set_asks_for_what_is_missing_of_those_before() {
        let mut body = Body::of(13);
        assert_eq!(body.come([0, 2, 3, 4, 5, 6, 7, 8].into_iter()), Next::Wait);
        assert_eq!(body.comes(2_500, 11), Next::Ask(ask(&[1, 9])));
        assert_eq!(body.comes(2_510, 1), Next::Wait);
        assert_eq!(body.comes(2_520, 9), Next::Wait, "the next set has begun");
        assert_eq!(body.comes(2_530, 12), Next::Wait, "asked once for a set");
        assert_eq!(body.gather.due_ms(), Some(6_530));
        assert_eq!(body.gather.on_due(6_529), Due::Nothing);
        assert_eq!(body.gather.on_due(6_530), Due::Ask(ask(&[10])));
        assert_eq!(body.comes(6_600, 10), Next::Whole);
    }

    /// Figure 6, to the second; a word from the peer begins the count anew.
    #[test]
    fn what_stays_missing_is_asked_for_four_times() {
        let mut body = Body::of(3);
        body.come([0, 2].into_iter());
        let mut now_ms = 0;
        for wait_ms in [4_000, 8_000, 16_000, 32_000] {
            now_ms += wait_ms;
            assert_eq!(body.gather.due_ms(), Some(now_ms));
            assert_eq!(body.gather.on_due(now_ms), Due::Ask(ask(&[1])));
        }
        let mut heard = body.gather;
        now_ms += 64_000;
        assert_eq!(body.gather.on_due(now_ms - 1), Due::Nothing);
        assert_eq!(body.gather.on_due(now_ms), Due::GiveUp);
        assert_eq!(body.gather.due_ms(), None);
        let block = Block::new(0, true, BlockSize::MAX).unwrap();
        assert_eq!(heard.on_block(now_ms, block), Next::Wait);
        assert_eq!(heard.due_ms(), Some(now_ms + 4_000));
    }

    /// Section 7.2: 2.31 was sent and nothing more came.
    #[test]
    fn the_set_behind_an_acknowledged_one_is_asked_for() {
        let mut body = Body::of(25);
        body.come(0..10);
        assert_eq!(body.gather.on_due(4_000), Due::Ask(Missing::of(10..20)));
        body.come(10..20);
        assert_eq!(body.gather.on_due(4_000), Due::Ask(Missing::of(20..25)));
    }

    #[test]
    fn of_the_set_under_way_the_end_is_missing_too() {
        let mut body = Body::of(25);
        body.come([0, 1, 3].into_iter());
        assert_eq!(body.gather.on_due(4_000), Due::Ask(ask(&[2, 4, 5, 6, 7, 8, 9])));
    }

    /// Any order, each block twice.
    #[test]
    fn the_order_does_not_matter() {
        for stride in [1, 3, 7, 11] {
            let mut body = Body::of(16);
            let order = (0..16).map(|at| at * stride % 16);
            let mut whole = 0;
            for number in order.flat_map(|number| [number, number]).take(31) {
                whole += u32::from(body.comes(0, number) == Next::Whole);
            }
            assert_eq!(whole, 1, "{stride}");
        }
    }

    /// Runs of blocks: as many as are remembered, one more, and those that close gaps.
    #[test]
    fn a_block_beyond_the_last_run_is_missing_still() {
        let mut body = Body::of(64);
        let judge = |gather: &Gather, number| {
            let block = Block::new(number, true, BlockSize::MAX).unwrap();
            gather.judge(block, BYTES, gather.total_bytes())
        };
        // The first run is the empty one at 0.
        for number in (2..).step_by(2).take(RANGES_MAX - 1) {
            body.comes(0, number);
        }
        assert_eq!(judge(&body.gather, 40), Place::Beyond);
        assert_eq!(judge(&body.gather, 31), Place::New, "next to one");
        assert_eq!(judge(&body.gather, 0), Place::New, "the first is always taken");
        assert_eq!(judge(&body.gather, 2), Place::Again);
        body.come([0, 1].into_iter());
        assert_eq!(judge(&body.gather, 40), Place::New);
        assert_eq!(body.come((0..40).rev()), continued(39));
        assert_eq!(body.come(40..64), Next::Whole);
    }

    #[test]
    fn blocks_of_a_body_agree_on_its_size() {
        let gather = Gather::new(BlockSize::within(64).unwrap(), 150).unwrap();
        let judge = |number, more, size, bytes, size1| {
            let block = Block::new(number, more, BlockSize::within(size).unwrap()).unwrap();
            gather.judge(block, bytes, size1)
        };
        assert_eq!(judge(0, true, 64, 64, 150), Place::New);
        assert_eq!(judge(2, false, 64, 22, 150), Place::New);
        for wrong in [
            judge(0, true, 64, 63, 150),
            judge(0, true, 64, 64, 151),
            judge(0, true, 32, 32, 150),
            judge(0, false, 64, 64, 150),
            judge(2, true, 64, 64, 150),
            judge(2, false, 64, 23, 150),
            judge(3, false, 64, 0, 150),
        ] {
            assert_eq!(wrong, Place::Malformed);
        }
        assert!(Gather::new(BlockSize::MIN, 0).is_none());
        assert!(Gather::new(BlockSize::MIN, 16 << 20).is_some());
        assert!(Gather::new(BlockSize::MIN, (16 << 20) + 1).is_none());
    }
}
