//! Is it worth waiting for more? A turn has its price, whatever its number of datagrams: under load
//! a short sleep fills it, and when little comes whoever comes is served at once.
//!
//! The rate is that of the last millisecond or more, known when a worker has nothing to do; one
//! that always has something never asks.

use std::time::{Duration, Instant};

/// How fast datagrams come.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long a fuller batch may be waited for; zero: never.
    gather: Duration,
    since: Instant,
    datagrams: u32,
    is_busy: bool,
}

impl Pace {
    pub(super) fn new(now: Instant, gather: Duration) -> Self {
        Self { gather, since: now, datagrams: 0, is_busy: false }
    }

    /// So many have come.
    pub(super) fn count(&mut self, datagrams: usize) {
        self.datagrams = self.datagrams.saturating_add(datagrams as u32);
    }

    /// How long to wait for a fuller batch: not at all, unless at least [`WORTH`] datagrams are to
    /// be expected meanwhile.
    pub(super) fn gather(&mut self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        if self.gather.is_zero() {
            return None;
        }
        let now = now();
        let elapsed = now.duration_since(self.since);
        if elapsed >= WINDOW {
            self.is_busy = self.gather * self.datagrams >= elapsed * WORTH;
            (self.since, self.datagrams) = (now, 0);
        }
        self.is_busy.then_some(self.gather)
    }
}

/// Datagrams for which a sleep is worth its price, that of some turns.
const WORTH: u32 = 4;
const WINDOW: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const GATHER: Duration = Duration::from_micros(50);

    /// Whether more is waited for after a millisecond with so many datagrams.
    fn gathers_after(pace: &mut Pace, now: &mut Instant, datagrams: usize) -> bool {
        pace.count(datagrams);
        *now += WINDOW;
        pace.gather(|| *now) == Some(GATHER)
    }

    #[test]
    fn the_rate_decides() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, GATHER);
        let enough = (WORTH * (WINDOW.as_micros() / GATHER.as_micros()) as u32) as usize;
        assert!(!gathers_after(&mut pace, &mut now, enough - 1));
        assert!(gathers_after(&mut pace, &mut now, enough));
        assert!(!gathers_after(&mut pace, &mut now, 0));
    }

    #[test]
    fn what_was_long_ago_does_not_count_and_a_moment_decides_nothing() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, GATHER);
        assert!(gathers_after(&mut pace, &mut now, 1_000));
        assert!(pace.gather(|| now + WINDOW / 2).is_some(), "not yet known better");
        pace.count(1_000);
        assert!(pace.gather(|| now + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn who_may_not_wait_does_not_even_ask_for_the_time() {
        let mut pace = Pace::new(Instant::now(), Duration::ZERO);
        pace.count(1_000);
        assert_eq!(pace.gather(|| unreachable!("the time is not asked for")), None);
    }
}
