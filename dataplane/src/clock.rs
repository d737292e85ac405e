//! What time is it? The only place of the dataplane that asks; everything else is told.

use rustix::time::{ClockId, clock_gettime};

/// One reading of both clocks, taken once a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Milliseconds of `CLOCK_BOOTTIME`. *Why this clock:* it never steps, counts through suspend,
    /// and is the same for the next process, which finds these instants in the session slots.
    pub ms: u64,
    /// Milliseconds of Unix time, for timestamps that people read.
    pub unix_ms: u64,
}

impl Now {
    /// Reads the clocks.
    pub fn read() -> Self {
        Self { ms: milliseconds(ClockId::Boottime), unix_ms: milliseconds(ClockId::Realtime) }
    }

    /// Seconds of `CLOCK_BOOTTIME`: what slots store.
    pub fn s(&self) -> u32 {
        (self.ms / 1_000) as u32
    }
}

fn milliseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000 + time.tv_nsec as u64 / 1_000_000
}
