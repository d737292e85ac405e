//! Which block of a response goes next, and when? The responder's side of Q-Block2 (RFC 9177
//! sections 4.4 and 7).
//!
//! ```text
//! Non-confirmable: a set of MAX_PAYLOADS ─▶ pause ─▶ the next set
//!                                            └ NON_TIMEOUT_RANDOM, or the client says go on
//! Confirmable:     a block ─▶ its ACK ─▶ the next block (NSTART is 1)
//! missing blocks go before the others; a pause that is under way begins anew behind them
//! ```
//!
//! *Bound:* NON_MAX_RETRANSMIT pauses without a word from the client; then it is waited for. *Why:*
//! a body may be long, and nobody there.
//!
//! Knows no bytes of the body.

use super::NUMBER_MAX;
use super::missing::Missing;
use super::quick::{MAX_PAYLOADS, NON_MAX_RETRANSMIT, set_end};

/// A response on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// The next block that nobody has asked for.
    next: u32,
    /// Such blocks may go below this one.
    until: u32,
    blocks: u32,
    /// Blocks that were asked for, and how many of them went.
    missing: Missing,
    missing_sent: usize,
    /// NON_TIMEOUT_RANDOM, ms; `None`: each block waits for the ACK of the one before.
    pause_ms: Option<u64>,
    due_ms: Option<u64>,
    /// Pauses that passed without a word from the client.
    unheard: u8,
    awaits_ack: bool,
}

/// A block to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number.
    pub number: u32,
    /// The client asked for it: the response has the token of that request.
    pub is_missing: bool,
}

impl Burst {
    /// A body of so many blocks, from this one on; `None`: there are more blocks than numbers.
    /// `pause_ms` is NON_TIMEOUT_RANDOM for Non-confirmable responses, `None` for Confirmable ones.
    pub fn new(blocks: usize, from: u32, pause_ms: Option<u64>) -> Option<Self> {
        let blocks = u32::try_from(blocks).ok().filter(|blocks| *blocks <= NUMBER_MAX + 1)?;
        let (missing, missing_sent) = (Missing::default(), 0);
        let (next, until) = (from.min(blocks), set_end(from).min(blocks));
        let until = if pause_ms.is_some() { until } else { blocks };
        Some(Self {
            next,
            until,
            blocks,
            missing,
            missing_sent,
            pause_ms,
            due_ms: None,
            unheard: 0,
            awaits_ack: false,
        })
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Whether every block went, and all that were missing.
    pub fn is_done(&self) -> bool {
        self.next == self.blocks && self.missing_sent == self.missing.as_slice().len()
    }

    /// What may go now.
    pub fn next(&self) -> Option<Turn> {
        if self.awaits_ack {
            return None;
        }
        if let Some(number) = self.missing.as_slice().get(self.missing_sent) {
            return Some(Turn { number: *number, is_missing: true });
        }
        (self.next < self.until).then_some(Turn { number: self.next, is_missing: false })
    }

    /// What [`Self::next`] said has left; its ACK is to be waited for, or not.
    pub fn on_sent(&mut self, now_ms: u64, awaits_ack: bool) {
        let Some(turn) = self.next() else { return };
        if turn.is_missing {
            self.missing_sent += 1;
        } else {
            self.next += 1;
        }
        self.awaits_ack = awaits_ack;
        let is_paused = self.next == self.until && self.next < self.blocks;
        if let Some(pause_ms) = self.pause_ms
            && is_paused
        {
            self.due_ms = Some(now_ms + pause_ms);
        }
    }

    /// The block that was sent last is acknowledged.
    pub fn on_ack(&mut self) {
        self.awaits_ack = false;
    }

    /// The client has all blocks before this one, the first of a set: the set goes, unless it went.
    pub fn on_continue(&mut self, number: u32) {
        self.unheard = 0;
        if number == self.next && number == self.until {
            self.go_on();
        }
    }

    /// The client misses these blocks; what it asked for before that does not count any more.
    pub fn on_missing(&mut self, missing: Missing) {
        let there = missing.as_slice().iter().copied().filter(|number| *number < self.blocks);
        (self.missing, self.missing_sent, self.unheard) = (Missing::of(there), 0, 0);
    }

    /// When to call [`Self::on_due`], ms; `None`: never.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// The clock says `now_ms`.
    pub fn on_due(&mut self, now_ms: u64) {
        if self.due_ms.take_if(|due_ms| *due_ms <= now_ms).is_some()
            && self.unheard < NON_MAX_RETRANSMIT
        {
            self.unheard += 1;
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        self.due_ms = None;
        self.until = (self.until + MAX_PAYLOADS).min(self.blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Option<u64> = Some(2_500);

    fn begun(blocks: usize, from: u32, pause_ms: Option<u64>) -> Burst {
        Burst::new(blocks, from, pause_ms).expect("there are numbers for them")
    }

    /// Everything that may go now goes.
    fn sent(burst: &mut Burst, now_ms: u64) -> Vec<u32> {
        let mut numbers = Vec::new();
        while let Some(turn) = burst.next() {
            numbers.push(turn.number);
            burst.on_sent(now_ms, burst.pause_ms.is_none());
        }
        numbers
    }

    fn missing(numbers: &[u32]) -> Missing {
        Missing::of(numbers.iter().copied())
    }

    /// RFC 9177 figures 7 and 8.
    #[test]
    fn a_set_goes_at_once_and_the_next_when_the_client_says_so() {
        let mut burst = begun(4, 0, PAUSE);
        assert_eq!(sent(&mut burst, 0), [0, 1, 2, 3]);
        assert_eq!((burst.due_ms(), burst.is_done()), (None, true));

        let mut burst = begun(21, 0, PAUSE);
        assert_eq!(sent(&mut burst, 0), (0..10).collect::<Vec<_>>());
        assert!(!burst.is_done());
        burst.on_continue(20);
        assert_eq!(sent(&mut burst, 0), [], "nobody has what was not sent");
        burst.on_continue(10);
        assert_eq!(sent(&mut burst, 100), (10..20).collect::<Vec<_>>());
        burst.on_continue(10);
        assert_eq!(sent(&mut burst, 100), [], "it went");
        burst.on_continue(20);
        assert_eq!((sent(&mut burst, 200), burst.due_ms()), (vec![20], None));
    }

    /// Section 7.2: a delay after every set, if nothing is heard.
    #[test]
    fn the_next_set_goes_after_a_pause() {
        let mut burst = begun(25, 0, PAUSE);
        sent(&mut burst, 0);
        assert_eq!(burst.due_ms(), PAUSE);
        burst.on_due(2_499);
        assert_eq!(sent(&mut burst, 2_499), []);
        burst.on_due(2_500);
        assert_eq!(sent(&mut burst, 2_500), (10..20).collect::<Vec<_>>());
        assert_eq!(burst.due_ms(), Some(5_000));
        burst.on_due(5_000);
        assert_eq!((sent(&mut burst, 5_000), burst.due_ms()), ((20..25).collect(), None));
    }

    /// Whoever says nothing gets five sets, and what is next when it says something.
    #[test]
    fn a_client_that_is_not_heard_gets_nothing_more() {
        for is_asked in [false, true] {
            let mut burst = begun(100, 0, PAUSE);
            let mut count = sent(&mut burst, 0).len();
            while let Some(due_ms) = burst.due_ms() {
                burst.on_due(due_ms);
                count += sent(&mut burst, due_ms).len();
            }
            assert_eq!(count, 50);
            if is_asked {
                burst.on_continue(50);
                assert_eq!(sent(&mut burst, 0).len(), 10);
            } else {
                burst.on_missing(missing(&[3]));
                assert_eq!((sent(&mut burst, 0), burst.due_ms()), (vec![3], PAUSE));
            }
        }
    }

    #[test]
    fn there_is_a_number_for_each_block() {
        assert!(Burst::new(1 << 20, 0, PAUSE).is_some());
        assert!(Burst::new((1 << 20) + 1, 0, PAUSE).is_none());
    }

    /// Figure 9, and the delay behind what was missing.
    #[test]
    fn missing_blocks_go_first_and_the_pause_begins_anew() {
        let mut burst = begun(21, 0, PAUSE);
        sent(&mut burst, 0);
        burst.on_missing(missing(&[1, 9, 21]));
        let first = burst.next();
        assert_eq!(first, Some(Turn { number: 1, is_missing: true }));
        assert_eq!(sent(&mut burst, 1_000), [1, 9], "there is no block 21");
        assert_eq!(burst.due_ms(), Some(3_500));
        burst.on_missing(missing(&[1]));
        burst.on_continue(10);
        let all: Vec<u32> = std::iter::once(1).chain(10..20).collect();
        assert_eq!(sent(&mut burst, 1_100), all);
        burst.on_due(9_000);
        sent(&mut burst, 9_000);
        burst.on_missing(missing(&[0]));
        assert_eq!((sent(&mut burst, 9_100), burst.due_ms()), (vec![0], None));
    }

    /// RFC 9177 appendix A.2 with NSTART = 1.
    #[test]
    fn confirmable_blocks_wait_for_the_ack_of_the_one_before() {
        let mut burst = begun(12, 0, None);
        for number in 0..12 {
            assert_eq!(sent(&mut burst, 0), [number]);
            assert_eq!(burst.due_ms(), None);
            burst.on_ack();
        }
        assert_eq!(sent(&mut burst, 0), []);
    }

    #[test]
    fn a_body_may_begin_behind_its_first_set_or_not_at_all() {
        assert_eq!(sent(&mut begun(12, 10, PAUSE), 0), [10, 11]);
        let mut burst = begun(12, u32::MAX / 2, PAUSE);
        assert_eq!(sent(&mut burst, 0), []);
        burst.on_missing(missing(&[11]));
        assert_eq!((sent(&mut burst, 0), burst.due_ms()), (vec![11], None));
    }
}
