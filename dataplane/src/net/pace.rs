//! Is it worth waiting for more? A turn has its price, whatever its number of datagrams: under load
//! a short sleep fills it, and when little comes whoever comes is served at once.
//!
//! The rate is that of the last millisecond or more, known when a worker has nothing to do; one
//! that always has something never asks. Below [`BUSY_INTERVAL`] nobody waits, so waiting never
//! takes a peer that waits for its answer further than there.

use crate::bounds::BATCH_MAX;
use std::time::{Duration, Instant};

/// How fast datagrams come.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long a fuller batch may be waited for; zero: never.
    gather_max: Duration,
    since: Instant,
    datagrams: u32,
    /// Time between two of them, while they come fast.
    interval: Option<Duration>,
}

impl Pace {
    pub(super) fn new(now: Instant, gather_max: Duration) -> Self {
        Self { gather_max, since: now, datagrams: 0, interval: None }
    }

    /// So many have come.
    pub(super) fn count(&mut self, datagrams: usize) {
        self.datagrams = self.datagrams.saturating_add(datagrams as u32);
    }

    /// Whether anything may be waited for at all.
    pub(super) fn may_gather(&self) -> bool {
        !self.gather_max.is_zero()
    }

    /// How long to wait until `have` datagrams are as many as a turn is good for; `None` if that is
    /// not worth it.
    pub(super) fn gather(
        &mut self,
        have: usize,
        now: impl FnOnce() -> Instant,
    ) -> Option<Duration> {
        if !self.may_gather() {
            return None;
        }
        let now = now();
        let elapsed = now.duration_since(self.since);
        if elapsed >= WINDOW {
            let interval = elapsed.checked_div(self.datagrams);
            self.interval = interval.filter(|interval| *interval <= BUSY_INTERVAL);
            (self.since, self.datagrams) = (now, 0);
        }
        let missing = FULL.saturating_sub(have as u32);
        let gather = self.interval? * missing;
        (gather >= GATHER_MIN).then_some(gather.min(self.gather_max))
    }
}

/// Datagrams between which there is no more time than this are a load: 80 000 in a second.
const BUSY_INTERVAL: Duration = Duration::from_nanos(12_500);
/// What a turn is good for: more would hardly make its datagrams cheaper, and a batch overflows.
const FULL: u32 = BATCH_MAX as u32 * 3 / 4;
/// A sleep has its price too.
const GATHER_MIN: Duration = Duration::from_micros(10);
const WINDOW: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_micros(200);

    /// How long more is waited for after a millisecond with so many datagrams.
    fn after(
        pace: &mut Pace,
        now: &mut Instant,
        datagrams: usize,
        have: usize,
    ) -> Option<Duration> {
        pace.count(datagrams);
        *now += WINDOW;
        pace.gather(have, || *now)
    }

    #[test]
    fn the_rate_decides_whether_and_how_long() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, MAX);
        assert_eq!(after(&mut pace, &mut now, 79, 0), None);
        assert_eq!(after(&mut pace, &mut now, 80, 0), Some(MAX));
        // One each 2 us.
        assert_eq!(after(&mut pace, &mut now, 500, 0), Some(Duration::from_micros(96)));
        assert_eq!(pace.gather(43, || now), Some(Duration::from_micros(10)));
        assert_eq!(pace.gather(44, || now), None, "too little is missing");
        assert_eq!(pace.gather(1_000, || now), None, "nothing is missing");
        assert_eq!(after(&mut pace, &mut now, 0, 0), None);
    }

    #[test]
    fn what_was_long_ago_does_not_count_and_a_moment_decides_nothing() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, MAX);
        assert!(after(&mut pace, &mut now, 1_000, 0).is_some());
        assert!(pace.gather(0, || now + WINDOW / 2).is_some(), "not yet known better");
        pace.count(1_000);
        assert!(pace.gather(0, || now + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn who_may_not_wait_does_not_even_ask_for_the_time() {
        let mut pace = Pace::new(Instant::now(), Duration::ZERO);
        pace.count(1_000);
        assert_eq!(pace.gather(0, || unreachable!("the time is not asked for")), None);
    }
}
