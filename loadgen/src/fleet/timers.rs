//! What has to be looked at now? A wheel that nobody cancels in: whoever is looked at says when it
//! wants to be looked at again, or not at all.
//!
//! A place of a slab is put in again only when its deadline moves forward, so that a request that
//! is answered in time costs no timer. Who is put in twice remembers the earlier time and ignores
//! the later one.

/// The wheel. Instants are milliseconds.
#[derive(Debug)]
pub(super) struct Timers {
    buckets: Vec<Vec<u32>>,
    /// The next tick to be looked at.
    tick: u64,
    /// How many are in.
    len: usize,
}

/// How finely time is divided, ms. *Why:* the shortest timeout is a second.
pub(super) const TICK_MS: u64 = 8;
/// Deadlines further away come by once a turn of the wheel, 8 s.
const BUCKETS: u64 = 1_024;

impl Timers {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS as usize], tick: now_ms / TICK_MS, len: 0 }
    }

    /// Looks at `id` at `due_ms` or a little later; far deadlines earlier. Returns when.
    pub(super) fn arm(&mut self, id: u32, due_ms: u64) -> u64 {
        let tick = due_ms.div_ceil(TICK_MS).clamp(self.tick, self.tick + BUCKETS - 1);
        self.buckets[(tick % BUCKETS) as usize].push(id);
        self.len += 1;
        tick * TICK_MS
    }

    /// Takes those to be looked at out of the wheel, into `due`.
    pub(super) fn fire(&mut self, now_ms: u64, due: &mut Vec<u32>) {
        let now = now_ms / TICK_MS;
        // After a long sleep each bucket is looked at once.
        let first = self.tick.max((now + 1).saturating_sub(BUCKETS));
        for tick in first..=now {
            let bucket = &mut self.buckets[(tick % BUCKETS) as usize];
            self.len -= bucket.len();
            due.append(bucket);
        }
        self.tick = self.tick.max(now + 1);
    }

    /// When to call [`Self::fire`] again; `None` when nothing is in.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (self.len > 0).then(|| self.tick * TICK_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(timers: &mut Timers, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        timers.fire(now_ms, &mut due);
        due
    }

    #[test]
    fn nothing_fires_early_and_everything_within_a_tick() {
        let mut timers = Timers::new(1_000);
        for (id, due_ms) in [(1, 1_001), (2, 1_500), (3, 1_500 + TICK_MS), (4, 900)] {
            timers.arm(id, due_ms);
        }
        assert_eq!(fired(&mut timers, 1_000), [4], "the past is due now");
        assert_eq!(fired(&mut timers, 1_000 + TICK_MS), [1]);
        assert!(fired(&mut timers, 1_499).is_empty());
        assert_eq!(fired(&mut timers, 1_500 + TICK_MS - 1), [2]);
        assert_eq!(fired(&mut timers, 1_500 + 2 * TICK_MS - 1), [3]);
        assert_eq!(timers.due_ms(), None);
    }

    #[test]
    fn the_far_future_comes_by_once_a_turn() {
        let mut timers = Timers::new(0);
        timers.arm(7, 1_000_000);
        let turn_ms = BUCKETS * TICK_MS;
        assert!(fired(&mut timers, turn_ms - TICK_MS - 1).is_empty());
        assert_eq!(fired(&mut timers, turn_ms), [7], "to be put in again");
    }

    #[test]
    fn a_long_sleep_forgets_nothing() {
        let mut timers = Timers::new(0);
        timers.arm(1, 10);
        timers.arm(2, 5_000);
        let mut late = fired(&mut timers, 10_000_000);
        late.sort_unstable();
        assert_eq!(late, [1, 2]);
        timers.arm(3, 10_000_000);
        assert_eq!(fired(&mut timers, 10_000_000 + TICK_MS), [3]);
    }
}
