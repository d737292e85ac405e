//! What must a phase reach for the run to pass? Limits, each of them optional.

use serde::{Deserialize, Serialize};

/// Limits of one phase. Latencies are those of requests, or of handshakes in a phase without
/// requests.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Median latency at most, ms.
    pub p50_ms: Option<f64>,
    /// 90th percentile at most, ms.
    pub p90_ms: Option<f64>,
    /// 99th percentile at most, ms.
    pub p99_ms: Option<f64>,
    /// 99.9th percentile at most, ms.
    pub p999_ms: Option<f64>,
    /// Longest latency at most, ms.
    pub max_ms: Option<f64>,
    /// Errors at most, as a share of what was begun, 0.0..=1.0.
    pub error_ratio: Option<f64>,
    /// Retransmissions at most, as a share of what was begun.
    pub retransmission_ratio: Option<f64>,
    /// Requests (handshakes in a phase without requests) completed at least.
    pub completed_min: Option<u64>,
    /// The same per second, at least.
    pub rate_min_per_s: Option<f64>,
    /// CPU time of the server per request (or handshake) completed at most, us; needs `server_pid`.
    pub server_cpu_us: Option<f64>,
    /// Share of its time that our busiest thread may spend on the CPU, 0.0..=1.0: above about 0.9
    /// we measure ourselves.
    pub own_cpu_ratio: Option<f64>,
}

impl Thresholds {
    /// These, and the others where these say nothing.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            p50_ms: self.p50_ms.or(others.p50_ms),
            p90_ms: self.p90_ms.or(others.p90_ms),
            p99_ms: self.p99_ms.or(others.p99_ms),
            p999_ms: self.p999_ms.or(others.p999_ms),
            max_ms: self.max_ms.or(others.max_ms),
            error_ratio: self.error_ratio.or(others.error_ratio),
            retransmission_ratio: self.retransmission_ratio.or(others.retransmission_ratio),
            completed_min: self.completed_min.or(others.completed_min),
            rate_min_per_s: self.rate_min_per_s.or(others.rate_min_per_s),
            server_cpu_us: self.server_cpu_us.or(others.server_cpu_us),
            own_cpu_ratio: self.own_cpu_ratio.or(others.own_cpu_ratio),
        }
    }

    pub(super) fn check(&self, place: &str) -> Result<(), String> {
        for (name, value, high) in [
            ("p50_ms", self.p50_ms, f64::MAX),
            ("p90_ms", self.p90_ms, f64::MAX),
            ("p99_ms", self.p99_ms, f64::MAX),
            ("p999_ms", self.p999_ms, f64::MAX),
            ("max_ms", self.max_ms, f64::MAX),
            ("error_ratio", self.error_ratio, 1.0),
            ("retransmission_ratio", self.retransmission_ratio, f64::MAX),
            ("rate_min_per_s", self.rate_min_per_s, f64::MAX),
            ("server_cpu_us", self.server_cpu_us, f64::MAX),
            ("own_cpu_ratio", self.own_cpu_ratio, 1.0),
        ] {
            if let Some(value) = value.filter(|value| !(0.0..=high).contains(value)) {
                return Err(format!("{place}.{name} = {value} is outside of its range"));
            }
        }
        Ok(())
    }
}
