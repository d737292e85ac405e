//! How many uplinks may still come? The generic cell rate algorithm: one instant for each device
//! and each account, and no timer.
//!
//! The instant is when the next uplink would be due if they came evenly; one that comes before it
//! by more than the burst allows is too early, and how much too early is how long to wait.
//!
//! A device's instant lives as long as its session, an account's is shared by all workers.
//! *Bound:* a word for each slot, once any class limits its devices; `ACCOUNTS_MAX` accounts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_ring::policy::{ACCOUNTS_MAX, Rate};

/// Something that may happen so often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Microseconds of the worker's clock.
    due_us: u64,
}

impl Meter {
    /// What the meter says after one more at `now_us`; `Err`: how long it is too early,
    /// microseconds.
    pub fn after(self, now_us: u64, rate: Rate) -> Result<Self, u64> {
        let interval_us = u64::from(rate.interval_us);
        let tolerance_us = interval_us * u64::from(rate.burst.max(1) - 1);
        let due_us = self.due_us.max(now_us);
        match (due_us - now_us).checked_sub(tolerance_us) {
            None | Some(0) => Ok(Self { due_us: due_us + interval_us }),
            Some(early_us) => Err(early_us),
        }
    }
}

/// The meters of one worker's sessions, by slot.
#[derive(Debug, Default)]
pub struct Devices {
    meters: Vec<Meter>,
}

impl Devices {
    /// From now on there is a meter for each slot. What is not used takes no memory.
    pub fn provide(&mut self, slots: u32) {
        if self.meters.len() < slots as usize {
            self.meters.resize(slots as usize, Meter::default());
        }
    }

    /// The meter of a slot.
    pub fn get(&self, slot: u32) -> Meter {
        self.meters.get(slot as usize).copied().unwrap_or_default()
    }

    /// Sets it.
    pub fn set(&mut self, slot: u32, meter: Meter) {
        if let Some(place) = self.meters.get_mut(slot as usize) {
            *place = meter;
        }
    }
}

/// The meters of all accounts; every worker holds a clone.
#[derive(Clone, Debug)]
pub struct Accounts(Arc<[AtomicU64]>);

impl Accounts {
    /// All of them idle.
    pub fn new() -> Self {
        Self((0..ACCOUNTS_MAX).map(|_| AtomicU64::new(0)).collect())
    }

    /// One more of this account, number 1 being the first; `Err`: how long it is too early,
    /// microseconds. *Bound:* whoever finds that another worker was faster tries again; one of
    /// them always gets through.
    pub fn take(&self, account: u16, now_us: u64, rate: Rate) -> Result<(), u64> {
        let place = usize::from(account).checked_sub(1).and_then(|at| self.0.get(at));
        let Some(place) = place else { return Ok(()) };
        let mut early_us = 0;
        let taken = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due_us| {
            match (Meter { due_us }).after(now_us, rate) {
                Ok(meter) => Some(meter.due_us),
                Err(early) => {
                    early_us = early;
                    None
                }
            }
        });
        taken.map(|_| ()).map_err(|_| early_us)
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW_US: u64 = 5_000_000;
    /// Two a second, three at once.
    const RATE: Rate = Rate { interval_us: 500_000, burst: 3 };

    #[test]
    fn a_burst_passes_and_then_one_in_each_interval() {
        let mut meter = Meter::default();
        for _ in 0..3 {
            meter = meter.after(NOW_US, RATE).unwrap();
        }
        assert_eq!(meter.after(NOW_US, RATE), Err(500_000));
        assert_eq!(meter.after(NOW_US + 499_999, RATE), Err(1));
        meter = meter.after(NOW_US + 500_000, RATE).unwrap();
        assert_eq!(meter.after(NOW_US + 500_000, RATE), Err(500_000));
        // After a pause the burst is whole again, and not more than that.
        let later_us = NOW_US + 60_000_000;
        let mut passed = 0;
        while let Ok(next) = meter.after(later_us, RATE) {
            (meter, passed) = (next, passed + 1);
        }
        assert_eq!(passed, 3);
    }

    #[test]
    fn a_burst_of_nothing_is_one() {
        let rate = Rate { burst: 0, ..RATE };
        let meter = Meter::default().after(NOW_US, rate).unwrap();
        assert!(meter.after(NOW_US, rate).is_err());
    }

    #[test]
    fn an_account_is_one_for_all_workers_and_others_are_not_touched() {
        let (mine, yours) = {
            let accounts = Accounts::new();
            (accounts.clone(), accounts)
        };
        assert_eq!(mine.take(1, NOW_US, RATE), Ok(()));
        assert_eq!(yours.take(1, NOW_US, RATE), Ok(()));
        assert_eq!(mine.take(1, NOW_US, RATE), Ok(()));
        assert_eq!(yours.take(1, NOW_US, RATE), Err(500_000));
        assert_eq!(yours.take(2, NOW_US, RATE), Ok(()));
        assert_eq!(yours.take(ACCOUNTS_MAX as u16, NOW_US, RATE), Ok(()));
    }

    #[test]
    fn slots_have_meters_of_their_own() {
        let mut devices = Devices::default();
        let spent = Meter::default().after(NOW_US, RATE).unwrap();
        devices.set(1, spent);
        assert_eq!(devices.get(1), Meter::default(), "there are none yet");
        devices.provide(2);
        devices.set(1, spent);
        assert_eq!((devices.get(0), devices.get(1)), (Meter::default(), spent));
    }
}
