//! When may the next one begin, and for whom? Closed and open loops, and the order of devices.

use crate::scenario::Load;

/// The pace of one thread in one phase. Instants are nanoseconds since the phase began.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    load: Load,
    begun: u64,
    ended: u64,
    count: u64,
    end_ns: u64,
}

impl Pace {
    /// One thread's part, `of` of them: `count` and `end_ns` say what is reached first.
    pub(super) fn new(
        load: Load,
        count: Option<u64>,
        end_ns: Option<u64>,
        (thread, of): (u32, u32),
    ) -> Self {
        let part = |whole: u64| {
            let (thread, of) = (u64::from(thread), u64::from(of));
            whole / of + u64::from(thread < whole % of)
        };
        let load = match load {
            Load::Closed { outstanding } => {
                Load::Closed { outstanding: part(outstanding.into()) as u32 }
            }
            Load::Open { rate_per_s } => Load::Open { rate_per_s: rate_per_s / f64::from(of) },
        };
        let count = count.map_or(u64::MAX, part);
        Self { load, begun: 0, ended: 0, count, end_ns: end_ns.unwrap_or(u64::MAX) }
    }

    /// The instant at which the next one should begin, if it has come.
    pub(super) fn next(&self, now_ns: u64) -> Option<u64> {
        self.due_ns(now_ns).filter(|due_ns| *due_ns <= now_ns)
    }

    /// When the next one should begin; `None` when that depends on another's end, or never.
    pub(super) fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let due_ns = match self.load {
            Load::Closed { outstanding } => {
                (self.begun - self.ended < u64::from(outstanding)).then_some(now_ns)?
            }
            Load::Open { rate_per_s } => (self.begun as f64 * 1e9 / rate_per_s) as u64,
        };
        (self.begun < self.count && due_ns < self.end_ns).then_some(due_ns)
    }

    pub(super) fn begin(&mut self) {
        self.begun += 1;
    }

    pub(super) fn end(&mut self) {
        self.ended += 1;
    }

    /// What was begun and is not over.
    pub(super) fn outstanding(&self) -> u64 {
        self.begun - self.ended
    }

    /// Nothing more will begin.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        self.begun >= self.count || now_ns >= self.end_ns
    }

    /// No more than so many.
    pub(super) fn limit(&mut self, count: u64) {
        self.count = self.count.min(count);
    }

    /// How many of an open loop should have begun before its end and did not.
    pub(super) fn unsent(&self) -> u64 {
        let Load::Open { rate_per_s } = self.load else { return 0 };
        if self.end_ns == u64::MAX {
            return self.count - self.begun;
        }
        let due = (self.end_ns as f64 / 1e9 * rate_per_s).ceil() as u64;
        due.min(self.count).saturating_sub(self.begun)
    }
}

/// Goes around all devices of a thread so that neighbours are far apart in time. *Why:* a server's
/// caches and prefetchers must not know who comes next.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    devices: u32,
    stride: u32,
    at: u32,
}

impl Rounds {
    pub(super) fn new(devices: u32, seed: u64) -> Self {
        // The golden section of the circle, or what is near it and meets every device.
        let mut stride = (f64::from(devices) * 0.618_034) as u32 | 1;
        while gcd(stride, devices) != 1 {
            stride += 1;
        }
        Self { devices, stride: stride % devices.max(1), at: (seed % u64::from(devices)) as u32 }
    }

    pub(super) fn next(&mut self) -> u32 {
        let device = self.at;
        self.at = ((u64::from(self.at) + u64::from(self.stride)) % u64::from(self.devices)) as u32;
        device
    }
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What only has to be spread, not to be secret: splitmix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        (((self.roll() >> 32) * u64::from(end)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_closed_loop_begins_one_when_one_ends() {
        let mut pace = Pace::new(Load::Closed { outstanding: 2 }, Some(3), None, (0, 1));
        for _ in 0..2 {
            assert_eq!(pace.next(5), Some(5));
            pace.begin();
        }
        assert_eq!((pace.next(9), pace.outstanding()), (None, 2));
        pace.end();
        assert_eq!(pace.next(9), Some(9));
        pace.begin();
        pace.end();
        assert_eq!(pace.next(9), None, "three are enough");
        assert!(pace.is_over(9) && pace.outstanding() == 1);
    }

    #[test]
    fn an_open_loop_waits_for_nobody_and_forgets_no_instant() {
        let mut pace = Pace::new(Load::Open { rate_per_s: 4.0 }, None, Some(S), (0, 1));
        assert_eq!((pace.next(0), pace.due_ns(0)), (Some(0), Some(0)));
        pace.begin();
        assert_eq!((pace.next(S / 4 - 1), pace.due_ns(0)), (None, Some(S / 4)));
        // A thread that comes late begins all that were due, each with its own instant.
        let late_ns = S - 1;
        let mut instants = Vec::new();
        while let Some(due_ns) = pace.next(late_ns) {
            instants.push(due_ns);
            pace.begin();
        }
        assert_eq!(instants, [S / 4, S / 2, S / 4 * 3]);
        assert_eq!(pace.unsent(), 0);
        assert!(!pace.is_over(S - 1) && pace.is_over(S));
    }

    #[test]
    fn what_was_due_and_never_sent_is_known() {
        let mut pace = Pace::new(Load::Open { rate_per_s: 10.0 }, None, Some(S), (0, 1));
        pace.begin();
        assert_eq!(pace.next(2 * S), Some(S / 10), "still due");
        assert_eq!(pace.unsent(), 9);
        let counted = Pace::new(Load::Open { rate_per_s: 10.0 }, Some(4), Some(S), (0, 1));
        assert_eq!(counted.unsent(), 4);
    }

    #[test]
    fn threads_share_what_one_would_do() {
        let parts = |threads: u32| -> Vec<_> {
            (0..threads)
                .map(|thread| {
                    let load = Load::Closed { outstanding: 7 };
                    let pace = Pace::new(load, Some(11), None, (thread, threads));
                    let Load::Closed { outstanding } = pace.load else { unreachable!() };
                    (outstanding, pace.count)
                })
                .collect()
        };
        assert_eq!(parts(1), [(7, 11)]);
        assert_eq!(parts(3), [(3, 4), (2, 4), (2, 3)]);
        let open = Pace::new(Load::Open { rate_per_s: 9.0 }, None, Some(S), (1, 3));
        assert_eq!(open.load, Load::Open { rate_per_s: 3.0 });
    }

    #[test]
    fn every_device_has_its_turn_once_a_round() {
        for devices in [1, 2, 3, 10, 997, 1_000, 4_096] {
            let mut rounds = Rounds::new(devices, 12_345);
            let mut turns: Vec<_> = (0..devices).map(|_| rounds.next()).collect();
            let again = rounds.next();
            assert_eq!(again, turns[0]);
            turns.sort_unstable();
            assert!(turns.into_iter().eq(0..devices), "{devices}");
        }
    }

    #[test]
    fn dice_stay_below_the_end_and_reach_both_sides() {
        let mut dice = Dice::new(1);
        let rolls: Vec<_> = (0..1_000).map(|_| dice.below(10)).collect();
        assert!((0..10).all(|side| rolls.contains(&side)));
        assert!(rolls.iter().all(|roll| *roll < 10));
        assert_eq!(Dice::new(7).roll(), Dice::new(7).roll());
    }
}
