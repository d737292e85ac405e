//! Which figures say how a phase went? Rates, ratios, percentiles, CPU time per request: what the
//! thresholds judge and every report shows, worked out once.

use hdrhistogram::Histogram;

use crate::measurement::{BOTTLENECK, Measurement, Tally};
use crate::scenario::{Kind, Phase};

/// How one phase went.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Whether the phase is about requests or handshakes.
    pub unit: Unit,
    /// Requests or handshakes begun.
    pub begun: u64,
    /// Requests or handshakes completed.
    pub completed: u64,
    /// Errors of every kind.
    pub errors: u64,
    /// Of what was begun, or should have been.
    pub error_ratio: f64,
    /// Retransmissions, of what was begun.
    pub retransmission_ratio: f64,
    /// Completed per second, over [`Self::active_s`].
    pub rate_per_s: f64,
    /// From the beginning to the last completion, or as long as load was to be offered, s. What the
    /// phase waited for late answers counts only if they came.
    pub active_s: f64,
    /// Latency of requests or handshakes, ms; `None` when nothing was completed.
    pub latency_ms: Option<Percentiles>,
    /// CPU time of the server per request or handshake completed, us.
    pub server_cpu_us: Option<f64>,
    /// Our CPU time per request or handshake completed, us.
    pub own_cpu_us: Option<f64>,
    /// Share of its time that our busiest thread spent on the CPU.
    pub own_cpu_ratio: f64,
    /// All counters.
    pub total: Tally,
}

/// What is counted in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests and their responses.
    Requests,
    /// Handshakes and nothing else.
    Handshakes,
}

/// Of one histogram, ms.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Percentiles {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub p9999: f64,
    pub max: f64,
}

impl Figures {
    /// Of a phase and what was measured in it.
    pub fn new(phase: &Phase, measurement: &Measurement) -> Self {
        let total = measurement.total();
        let unit = Unit::of(phase.kind);
        let (begun, completed) = match unit {
            Unit::Requests => (total.requests, total.completed),
            Unit::Handshakes => (total.handshakes_begun, total.handshakes()),
        };
        let wall_s = measurement.wall_ns as f64 / 1e9;
        let offered_s = phase.duration_s.map_or(0.0, |duration_s| duration_s.min(wall_s));
        let last_completed_s = measurement.last_completed_ns as f64 / 1e9;
        let active_s = if completed > 0 { offered_s.max(last_completed_s) } else { wall_s };
        let share = |count: u64| count as f64 / begun.max(count).max(1) as f64;
        let each_us = |ns: u64| (completed > 0).then(|| ns as f64 / 1e3 / completed as f64);
        Self {
            unit,
            begun,
            completed,
            errors: total.errors(),
            error_ratio: share(total.errors()),
            retransmission_ratio: total.retransmissions as f64 / begun.max(1) as f64,
            rate_per_s: if active_s > 0.0 { completed as f64 / active_s } else { 0.0 },
            active_s,
            latency_ms: Percentiles::of(unit.histogram(measurement)),
            server_cpu_us: measurement
                .has_server_cpu
                .then(|| each_us(total.server_cpu_ns))
                .flatten(),
            own_cpu_us: each_us(total.own_cpu_ns),
            own_cpu_ratio: measurement.busiest_thread,
            total,
        }
    }

    /// Whether the figures may be ours and not the server's.
    pub fn is_bottleneck(&self) -> bool {
        self.own_cpu_ratio >= BOTTLENECK
    }
}

impl Unit {
    /// What a phase of that kind is about.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Connect | Kind::Storm => Self::Handshakes,
            Kind::Requests | Kind::Sleepy => Self::Requests,
        }
    }

    /// The latencies that count.
    pub const fn histogram(self, measurement: &Measurement) -> &Histogram<u64> {
        match self {
            Self::Requests => &measurement.latency_ns,
            Self::Handshakes => &measurement.handshake_ns,
        }
    }

    /// `requests` or `handshakes`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Handshakes => "handshakes",
        }
    }

    /// `request` or `handshake`.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Requests => "request",
            Self::Handshakes => "handshake",
        }
    }
}

impl Percentiles {
    /// The names they have in reports, in this order.
    pub const NAMES: [&str; 8] = ["min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];

    /// `None` of an empty histogram.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |percentile| histogram.value_at_percentile(percentile) as f64 / 1e6;
        Some(Self {
            min: histogram.min() as f64 / 1e6,
            mean: histogram.mean() / 1e6,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            p9999: at(99.99),
            max: histogram.max() as f64 / 1e6,
        })
    }

    /// In the order of [`Self::NAMES`].
    pub const fn values(&self) -> [f64; 8] {
        [self.min, self.mean, self.p50, self.p90, self.p99, self.p999, self.p9999, self.max]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)] // what is divided here has exact quotients
mod tests {
    use super::*;
    use crate::measurement::{ErrorKind, Latency};

    fn phase(keys: &str) -> Phase {
        let text = format!("name = 'a'\n{keys}");
        toml::from_str(&text).unwrap()
    }

    const SECOND_NS: u64 = 1_000_000_000;

    /// Four requests in four seconds, of which one was never answered.
    fn measured(last_completed_s: u64, wall_s: u64) -> Measurement {
        let mut measurement = Measurement::new();
        for _ in 0..4 {
            measurement.record_request();
        }
        measurement.advance(last_completed_s * SECOND_NS);
        for ms in [1, 2, 3] {
            let latency = Latency { since_due_ns: ms * 1_000_000, since_sent_ns: None };
            measurement.record_response(0x44, latency);
        }
        measurement.record_retransmission();
        measurement.record_own_cpu(30_000);
        measurement.advance(wall_s * SECOND_NS - 1);
        measurement.record_error(ErrorKind::Timeout);
        measurement.finish(wall_s * SECOND_NS);
        measurement
    }

    #[test]
    fn a_phase_that_waits_for_an_answer_that_never_comes_is_no_slower_for_it() {
        let counted = phase("kind = 'requests'\noutstanding = 1\ncount = 4\nrequest = [{}]");
        let figures = Figures::new(&counted, &measured(1, 11));
        assert_eq!((figures.active_s, figures.rate_per_s), (1.0, 3.0));
        assert_eq!((figures.begun, figures.completed, figures.errors), (4, 3, 1));
        assert_eq!((figures.error_ratio, figures.retransmission_ratio), (0.25, 0.25));
        assert_eq!(figures.own_cpu_us, Some(10.0));
        assert_eq!(figures.server_cpu_us, None, "nobody named the server's process");
        let latency = figures.latency_ms.unwrap();
        assert!((latency.p50 - 2.0).abs() < 0.01 && (latency.max - 3.0).abs() < 0.01);
    }

    #[test]
    fn a_server_that_falls_silent_half_way_is_slower_for_it() {
        let timed = phase("kind = 'requests'\noutstanding = 1\nduration_s = 6\nrequest = [{}]");
        let figures = Figures::new(&timed, &measured(1, 11));
        assert_eq!((figures.active_s, figures.rate_per_s), (6.0, 0.5));
        let interrupted = Figures::new(&timed, &measured(1, 3));
        assert_eq!(interrupted.active_s, 3.0, "nothing was offered after the end");
    }

    #[test]
    fn a_storm_counts_handshakes_and_nothing_is_divided_by_nothing() {
        let storm = phase("kind = 'storm'\noutstanding = 1\ncount = 4");
        let mut measurement = Measurement::new();
        let figures = Figures::new(&storm, &measurement);
        assert_eq!((figures.rate_per_s, figures.error_ratio), (0.0, 0.0));
        assert!(figures.latency_ms.is_none() && figures.own_cpu_us.is_none());

        measurement.record_handshake_begun();
        measurement.record_handshake(true, 2_000_000);
        measurement.record_server_cpu(5_000);
        let figures = Figures::new(&storm, &measurement);
        assert_eq!((figures.unit, figures.begun, figures.completed), (Unit::Handshakes, 1, 1));
        assert_eq!(figures.server_cpu_us, Some(5.0));
    }

    #[test]
    fn errors_without_a_beginning_are_no_more_than_all() {
        let counted = phase("kind = 'requests'\nrate_per_s = 1\ncount = 4\nrequest = [{}]");
        let mut measurement = Measurement::new();
        measurement.record_request();
        measurement.record_error(ErrorKind::Unsent);
        measurement.record_error(ErrorKind::Unsent);
        assert_eq!(Figures::new(&counted, &measurement).error_ratio, 1.0);
    }
}
