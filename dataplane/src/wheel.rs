//! When is the next timer due, and which are due now? A hierarchical timer wheel.
//!
//! A timer is a number in `0..capacity` that the owner maps to a handshake or an exchange; it is
//! either idle or armed once. Arming, disarming and firing are O(1) and allocate nothing.
//! Resolution 1 ms; a timer never fires early. Bound: one node per number, made at start.

/// The wheel: four levels of 64 buckets, of 1 ms, 64 ms, 4 s and 4.4 min a bucket.
#[derive(Debug)]
pub struct Wheel {
    /// Everything due before this instant has been taken out, ms.
    now_ms: u64,
    /// First node of each bucket's list; the last list is the one being fired.
    heads: [u32; LEVELS * BUCKETS + 1],
    /// One bit per bucket that is not empty.
    occupied: [u64; LEVELS],
    nodes: Vec<Node>,
}

impl Wheel {
    /// A wheel for the timers `0..capacity`, all idle.
    pub fn new(now_ms: u64, capacity: u32) -> Self {
        let node = Node { due_ms: 0, next: NIL, previous: NIL, list: IDLE };
        Self {
            now_ms,
            heads: [NIL; LEVELS * BUCKETS + 1],
            occupied: [0; LEVELS],
            nodes: vec![node; capacity as usize],
        }
    }

    /// Arms `timer` for `due_ms`, moving it when it was armed already.
    pub fn arm(&mut self, timer: u32, due_ms: u64) {
        self.disarm(timer);
        self.nodes[timer as usize].due_ms = due_ms;
        let list = if due_ms < self.now_ms { FIRING } else { self.list_for(due_ms) };
        self.link(timer, list);
    }

    /// Arms or disarms, as `due_ms` says.
    pub fn set(&mut self, timer: u32, due_ms: Option<u64>) {
        match due_ms {
            Some(due_ms) => self.arm(timer, due_ms),
            None => self.disarm(timer),
        }
    }

    /// Takes `timer` out; nothing happens when it was idle.
    pub fn disarm(&mut self, timer: u32) {
        if self.nodes[timer as usize].list != IDLE {
            self.unlink(timer);
        }
    }

    /// The next timer due at `now_ms`, idle from then on; `None` when no more are due.
    pub fn fire(&mut self, now_ms: u64) -> Option<u32> {
        loop {
            let first = self.heads[FIRING as usize];
            if first != NIL {
                self.unlink(first);
                return Some(first);
            }
            if !self.advance(now_ms) {
                return None;
            }
        }
    }

    /// When to call [`Self::fire`] next: never later than the first armed timer, perhaps earlier
    /// (then nothing fires, and the answer gets closer). `None` when no timer is armed.
    pub fn due_ms(&self) -> Option<u64> {
        if self.heads[FIRING as usize] != NIL {
            return Some(self.now_ms);
        }
        (0..LEVELS).filter_map(|level| self.bucket_start(level)).min()
    }

    /// Moves the clock to the next occupied bucket not after `now_ms` and spreads that bucket's
    /// timers; false when there is none, and the clock then stands at `now_ms + 1`.
    fn advance(&mut self, now_ms: u64) -> bool {
        let next = (0..LEVELS)
            .filter_map(|level| self.bucket_start(level).map(|start| (start, level)))
            .min_by_key(|&(start, level)| (start, LEVELS - level));
        match next {
            Some((start, level)) if start <= now_ms => {
                self.now_ms = self.now_ms.max(start);
                self.spread(level, start);
                true
            }
            _ => {
                self.now_ms = self.now_ms.max(now_ms.saturating_add(1));
                false
            }
        }
    }

    /// Empties one bucket: what is due goes to the firing list, the rest to finer buckets.
    fn spread(&mut self, level: usize, start_ms: u64) {
        let list = list_index(level, start_ms);
        let mut timer = self.heads[list as usize];
        while timer != NIL {
            let next = self.nodes[timer as usize].next;
            self.unlink(timer);
            let due_ms = self.nodes[timer as usize].due_ms;
            let to = if due_ms <= self.now_ms { FIRING } else { self.list_for(due_ms) };
            self.link(timer, to);
            timer = next;
        }
    }

    /// Start of the first occupied bucket of a level at or after the clock, ms.
    fn bucket_start(&self, level: usize) -> Option<u64> {
        let bits = self.occupied[level];
        if bits == 0 {
            return None;
        }
        let here = self.now_ms >> (level as u32 * BUCKET_BITS);
        let ahead = bits.rotate_right((here % BUCKETS as u64) as u32).trailing_zeros();
        // The bucket the clock stands in began in the past: it is due at once.
        Some(((here + u64::from(ahead)) << (level as u32 * BUCKET_BITS)).max(self.now_ms))
    }

    /// The finest bucket that can hold `due_ms`; the coarsest holds everything beyond it too.
    fn list_for(&self, due_ms: u64) -> u16 {
        for level in 0..LEVELS {
            let shift = level as u32 * BUCKET_BITS;
            if (due_ms >> shift) - (self.now_ms >> shift) < BUCKETS as u64 {
                return list_index(level, due_ms);
            }
        }
        let furthest = (self.now_ms >> TOP_SHIFT) + BUCKETS as u64 - 1;
        list_index(LEVELS - 1, furthest << TOP_SHIFT)
    }

    fn link(&mut self, timer: u32, list: u16) {
        let head = self.heads[list as usize];
        let node = &mut self.nodes[timer as usize];
        (node.next, node.previous, node.list) = (head, NIL, list);
        if head != NIL {
            self.nodes[head as usize].previous = timer;
        }
        self.heads[list as usize] = timer;
        if list != FIRING {
            self.occupied[list as usize / BUCKETS] |= 1 << (list as usize % BUCKETS);
        }
    }

    fn unlink(&mut self, timer: u32) {
        let Node { next, previous, list, .. } = self.nodes[timer as usize];
        if next != NIL {
            self.nodes[next as usize].previous = previous;
        }
        if previous == NIL {
            self.heads[list as usize] = next;
            if next == NIL && list != FIRING {
                self.occupied[list as usize / BUCKETS] &= !(1 << (list as usize % BUCKETS));
            }
        } else {
            self.nodes[previous as usize].next = next;
        }
        self.nodes[timer as usize].list = IDLE;
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    due_ms: u64,
    next: u32,
    previous: u32,
    list: u16,
}

fn list_index(level: usize, at_ms: u64) -> u16 {
    let bucket = (at_ms >> (level as u32 * BUCKET_BITS)) % BUCKETS as u64;
    (level * BUCKETS) as u16 + bucket as u16
}

const LEVELS: usize = 4;
const BUCKET_BITS: u32 = 6;
const BUCKETS: usize = 1 << BUCKET_BITS;
const TOP_SHIFT: u32 = (LEVELS as u32 - 1) * BUCKET_BITS;
const NIL: u32 = u32::MAX;
const IDLE: u16 = u16::MAX;
const FIRING: u16 = (LEVELS * BUCKETS) as u16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeMap;

    /// Fires everything due at `now_ms`, in no particular order.
    fn fired(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
        let mut timers: Vec<u32> = std::iter::from_fn(|| wheel.fire(now_ms)).collect();
        timers.sort_unstable();
        timers
    }

    #[test]
    fn a_timer_fires_at_its_instant_and_not_a_millisecond_before() {
        for due_ms in [1_000, 1_001, 1_063, 1_064, 5_096, 263_144, 16_778_216, 40_000_000] {
            let mut wheel = Wheel::new(1_000, 4);
            wheel.arm(2, due_ms);
            if due_ms > 1_000 {
                assert_eq!(fired(&mut wheel, due_ms - 1), [], "{due_ms}");
            }
            assert_eq!(fired(&mut wheel, due_ms), [2], "{due_ms}");
            assert_eq!(wheel.due_ms(), None);
        }
    }

    #[test]
    fn arming_again_moves_and_disarming_removes() {
        let mut wheel = Wheel::new(0, 3);
        wheel.arm(0, 10);
        wheel.arm(0, 20);
        wheel.arm(1, 10);
        wheel.disarm(1);
        wheel.disarm(2);
        assert_eq!(fired(&mut wheel, 19), []);
        assert_eq!(fired(&mut wheel, 20), [0]);
    }

    #[test]
    fn a_timer_in_the_past_fires_at_once() {
        let mut wheel = Wheel::new(50_000, 1);
        wheel.arm(0, 3);
        assert!(wheel.due_ms().unwrap() <= 50_000);
        assert_eq!(fired(&mut wheel, 50_000), [0]);
    }

    /// The wheel against a sorted map, with clocks that crawl and clocks that leap.
    #[test]
    fn the_wheel_agrees_with_a_sorted_map() {
        const TIMERS: u32 = 200;
        for seed in 0..20 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut now_ms = random.random_range(0..1u64 << 40);
            let mut wheel = Wheel::new(now_ms, TIMERS);
            let mut model = BTreeMap::new();
            for _ in 0..2_000 {
                let timer = random.random_range(0..TIMERS);
                match random.random_range(0..4) {
                    0 => {
                        wheel.disarm(timer);
                        model.remove(&timer);
                    }
                    1 | 2 => {
                        let reach_bits = random.random_range(1..28);
                        let due_ms = now_ms + random.random_range(0..1u64 << reach_bits);
                        wheel.arm(timer, due_ms);
                        model.insert(timer, due_ms);
                    }
                    _ => {
                        let leap_bits = random.random_range(1..27);
                        now_ms += random.random_range(0..1u64 << leap_bits);
                        let due: Vec<u32> = model
                            .iter()
                            .filter(|(_, due)| **due <= now_ms)
                            .map(|(t, _)| *t)
                            .collect();
                        model.retain(|_, due| *due > now_ms);
                        assert_eq!(fired(&mut wheel, now_ms), due, "seed {seed}");
                        let first = model.values().min().copied();
                        assert_eq!(wheel.due_ms().is_some(), first.is_some());
                        assert!(wheel.due_ms() <= first || first.is_none());
                    }
                }
            }
        }
    }
}
