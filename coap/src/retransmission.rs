//! When is a Confirmable message sent again, and when given up? (RFC 7252 section 4.2.)
//!
//! The timeout doubles from its random first value. A timer that fires late sends late and catches
//! up on the next, ACK_TIMEOUT later at the earliest; nothing is sent after MAX_TRANSMIT_SPAN.

use tidegate_faults::{Bug, has};

use crate::timing::Timing;

/// The timer and the counter of one Confirmable message in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retransmission {
    /// When the message was sent first, ms.
    started_ms: u64,
    /// When the timeout fires, ms.
    due_ms: u64,
    first_timeout_ms: u64,
    span_ms: u64,
    ack_timeout_ms: u32,
    /// Timeouts that have fired.
    count: u8,
    count_max: u8,
}

impl Retransmission {
    /// The message was sent just now.
    pub(crate) fn start(now_ms: u64, timing: &Timing, jitter: u16) -> Self {
        let first_timeout_ms = timing.first_timeout_ms(jitter);
        Self {
            started_ms: now_ms,
            due_ms: now_ms + first_timeout_ms / if has(Bug::RepeatedTooEarly) { 2 } else { 1 },
            first_timeout_ms,
            span_ms: timing.max_transmit_span_ms() * if has(Bug::RepeatedTooOften) { 3 } else { 1 },
            ack_timeout_ms: timing.ack_timeout_ms,
            count: 0,
            count_max: timing.max_retransmit + u8::from(has(Bug::RepeatedTooOften)),
        }
    }

    /// When to call [`Self::on_due`].
    pub(crate) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// The clock says `now_ms`.
    pub(crate) fn on_due(&mut self, now_ms: u64) -> Tick {
        if now_ms < self.due_ms {
            return Tick::Early;
        }
        if self.count == self.count_max {
            return Tick::GiveUp;
        }
        self.count += 1;
        let timeouts_passed = (2 << self.count) - 1;
        let planned_ms = self.started_ms + self.first_timeout_ms * timeouts_passed;
        if now_ms > self.started_ms + self.span_ms {
            self.due_ms = planned_ms;
            return Tick::Missed;
        }
        self.due_ms = planned_ms.max(now_ms + u64::from(self.ack_timeout_ms));
        Tick::Again
    }
}

/// What a timer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Nothing yet.
    Early,
    /// Too late for this transmission; the next timeout is set.
    Missed,
    /// Send the message again.
    Again,
    /// MAX_RETRANSMIT is used up.
    GiveUp,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instants of the transmissions and of giving up, when the timer is never late.
    fn instants(timing: &Timing, jitter: u16) -> Vec<(u64, Tick)> {
        let mut timer = Retransmission::start(0, timing, jitter);
        let mut seen = Vec::new();
        loop {
            let now_ms = timer.due_ms();
            assert_eq!(timer.on_due(now_ms - 1), Tick::Early);
            let tick = timer.on_due(now_ms);
            seen.push((now_ms, tick));
            if tick == Tick::GiveUp {
                return seen;
            }
        }
    }

    #[test]
    fn four_retransmissions_then_giving_up_at_both_ends_of_the_jitter() {
        let expect = |ms: [u64; 5]| {
            let [a, b, c, d, end] = ms;
            vec![
                (a, Tick::Again),
                (b, Tick::Again),
                (c, Tick::Again),
                (d, Tick::Again),
                (end, Tick::GiveUp),
            ]
        };
        let timing = Timing::DEFAULT;
        assert_eq!(instants(&timing, 0), expect([2_000, 6_000, 14_000, 30_000, 62_000]));
        assert_eq!(instants(&timing, u16::MAX), expect([3_000, 9_000, 21_000, 45_000, 93_000]));
    }

    #[test]
    fn without_retransmissions_the_first_timeout_gives_up() {
        let timing = Timing { max_retransmit: 0, ..Timing::DEFAULT };
        assert_eq!(instants(&timing, 0), [(2_000, Tick::GiveUp)]);
    }

    #[test]
    fn a_late_timer_catches_up_but_not_faster_than_ack_timeout() {
        let mut timer = Retransmission::start(0, &Timing::DEFAULT, 0);
        assert_eq!(timer.on_due(5_500), Tick::Again);
        assert_eq!(timer.due_ms(), 7_500, "6 000 was planned");
        assert_eq!(timer.on_due(7_500), Tick::Again);
        assert_eq!(timer.due_ms(), 14_000, "back on plan");
    }

    #[test]
    fn nothing_is_sent_after_max_transmit_span() {
        let last = |now_ms| {
            let mut timer = Retransmission::start(0, &Timing::DEFAULT, u16::MAX);
            for on_time_ms in [3_000, 9_000, 21_000] {
                assert_eq!(timer.on_due(on_time_ms), Tick::Again);
            }
            (timer.on_due(now_ms), timer.due_ms())
        };
        assert_eq!(last(45_000), (Tick::Again, 93_000));
        assert_eq!(last(45_001), (Tick::Missed, 93_000));
    }

    #[test]
    fn a_sender_that_slept_through_it_all_gives_up_without_sending() {
        let mut timer = Retransmission::start(0, &Timing::DEFAULT, 0);
        let ticks: Vec<_> = (0..5).map(|_| timer.on_due(1_000_000)).collect();
        assert_eq!(ticks[..4], [Tick::Missed; 4]);
        assert_eq!(ticks[4], Tick::GiveUp);
    }
}
