//! Is a device told to slow down (4.29) only where it may be, and when it was too fast?

use std::collections::BTreeMap;

use tidegate_ring::policy::Rate;

/// When devices asked, and how often they may.
#[derive(Default)]
pub(crate) struct Quota {
    rate: Rate,
    asked_ms: BTreeMap<usize, Vec<(u32, u64)>>,
}

/// A request may arrive so much later than it was asked: repetitions, and the network's delay.
const LATE_MS: u64 = 120_000;

impl Quota {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, ..Self::default() }
    }

    /// A device asks, or asks for more of a response, which may be a request of its own.
    pub(crate) fn on_asked(&mut self, (device, serial): (usize, u32), ms: u64) {
        self.asked_ms.entry(device).or_default().push((serial, ms));
    }

    /// It was told to slow down. What it asked in the time in which its burst comes back, and what
    /// may have arrived in that time, is more than the burst. `is_plain`: strangers may have said
    /// again what it said long ago.
    pub(crate) fn on_limited(
        &self,
        (device, serial): (usize, u32),
        is_plain: bool,
    ) -> Result<(), String> {
        let burst = self.rate.burst as usize;
        let back_ms = u64::from(self.rate.interval_us / 1_000) * u64::from(self.rate.burst);
        let asked = self.asked_ms.get(&device).map(Vec::as_slice).unwrap_or_default();
        let first_ms = asked.iter().find(|(of, _)| *of == serial).map_or(0, |(_, ms)| *ms);
        let from_ms = first_ms.saturating_sub(back_ms + LATE_MS);
        let others = asked.iter().filter(|(of, ms)| *of != serial && *ms >= from_ms).count();
        if self.rate.interval_us == 0 || (others < burst && !is_plain) {
            return Err(format!("device {device} was limited after {others} requests of {burst}"));
        }
        Ok(())
    }
}
