//! Did the run reach what it had to? Each limit of the scenario against its figure.

use crate::report::figures::Figures;
use crate::scenario::Thresholds;

/// The exit code of a run that missed a limit. 0: all reached; 1: it could not be carried out;
/// 2: the command line or the scenario is wrong.
pub const EXIT_MISSED: u8 = 3;

/// One limit, held against what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The limit's key in the scenario.
    pub name: &'static str,
    /// What the scenario asks for.
    pub limit: f64,
    /// Whether that is the least or the most.
    pub is_minimum: bool,
    /// What was measured; `None`: there is no such figure, which counts as missed.
    pub actual: Option<f64>,
}

impl Verdict {
    /// Whether the limit was reached.
    pub fn is_reached(&self) -> bool {
        self.actual.is_some_and(|actual| {
            if self.is_minimum { actual >= self.limit } else { actual <= self.limit }
        })
    }
}

/// All limits that there are, in the order of the documentation.
pub fn judge(thresholds: &Thresholds, figures: &Figures) -> Vec<Verdict> {
    let latency = figures.latency_ms.as_ref();
    let most = |name, limit: Option<f64>, actual: Option<f64>| {
        limit.map(|limit| Verdict { name, limit, is_minimum: false, actual })
    };
    let least = |name, limit: Option<f64>, actual: f64| {
        limit.map(|limit| Verdict { name, limit, is_minimum: true, actual: Some(actual) })
    };
    let t = thresholds;
    [
        most("p50_ms", t.p50_ms, latency.map(|l| l.p50)),
        most("p90_ms", t.p90_ms, latency.map(|l| l.p90)),
        most("p99_ms", t.p99_ms, latency.map(|l| l.p99)),
        most("p999_ms", t.p999_ms, latency.map(|l| l.p999)),
        most("max_ms", t.max_ms, latency.map(|l| l.max)),
        most("error_ratio", t.error_ratio, Some(figures.error_ratio)),
        most("retransmission_ratio", t.retransmission_ratio, Some(figures.retransmission_ratio)),
        least("completed_min", t.completed_min.map(|min| min as f64), figures.completed as f64),
        least("rate_min_per_s", t.rate_min_per_s, figures.rate_per_s),
        most("server_cpu_us", t.server_cpu_us, figures.server_cpu_us),
        most("own_cpu_ratio", t.own_cpu_ratio, Some(figures.own_cpu_ratio)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::measurement::{ErrorKind, Latency, Measurement};
    use crate::scenario::Phase;

    /// 100 requests in a second, one unanswered, latencies 1..=99 ms.
    fn figures() -> Figures {
        let phase =
            "name = 'a'\nkind = 'requests'\noutstanding = 1\nduration_s = 1\nrequest = [{}]";
        let phase: Phase = toml::from_str(phase).unwrap();
        let mut measurement = Measurement::new();
        for ms in 1..=100 {
            measurement.record_request();
            let latency = Latency { since_due_ns: ms * 1_000_000, since_sent_ns: None };
            if ms < 100 {
                measurement.record_response(0x44, latency);
            }
        }
        measurement.record_error(ErrorKind::Timeout);
        measurement.record_own_cpu(500_000_000);
        measurement.finish(1_000_000_000);
        Figures::new(&phase, &measurement)
    }

    fn is_reached(limit: &str) -> bool {
        let thresholds: Thresholds = toml::from_str(limit).unwrap();
        let [verdict] = &judge(&thresholds, &figures())[..] else { panic!("one limit: {limit}") };
        assert!(limit.starts_with(verdict.name));
        verdict.is_reached()
    }

    #[test]
    fn each_limit_holds_on_one_side_and_not_on_the_other() {
        for (reached, missed) in [
            ("p50_ms = 51", "p50_ms = 49"),
            ("p90_ms = 91", "p90_ms = 89"),
            ("p99_ms = 100", "p99_ms = 98"),
            ("p999_ms = 100", "p999_ms = 98"),
            ("max_ms = 100", "max_ms = 98"),
            ("error_ratio = 0.01", "error_ratio = 0.009"),
            ("completed_min = 99", "completed_min = 100"),
            ("rate_min_per_s = 99", "rate_min_per_s = 99.1"),
            ("own_cpu_ratio = 0.5", "own_cpu_ratio = 0.49"),
        ] {
            assert!(is_reached(reached), "{reached}");
            assert!(!is_reached(missed), "{missed}");
        }
        assert!(is_reached("retransmission_ratio = 0.0"));
    }

    #[test]
    fn what_was_not_measured_was_not_reached() {
        assert!(!is_reached("server_cpu_us = 1000"), "no process was named");
    }

    #[test]
    fn no_limits_no_verdicts() {
        assert!(judge(&Thresholds::default(), &figures()).is_empty());
    }
}
