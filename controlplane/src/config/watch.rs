//! What may be set about quotas of uplinks, the customer's log and metrics?

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_ring::policy::Rate;

use super::within;
use crate::core::MetricLimits;
use crate::customer_log::LogLimits;

/// What one device may send; who sends more is answered 4.29.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceQuotasConfig {
    /// Uplinks of one device in a minute, 0..=600000; 0: no limit.
    pub uplinks_per_minute: u32,
    /// At once after a pause, 1..=100000.
    pub uplinks_burst: u32,
}

impl DeviceQuotasConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        let per_minute = u64::from(self.uplinks_per_minute);
        within("device_quotas.uplinks_per_minute", per_minute, 0, 600_000)?;
        within("device_quotas.uplinks_burst", self.uplinks_burst.into(), 1, 100_000)
    }

    pub(super) fn uplinks(&self) -> Rate {
        let interval_us = 60_000_000_u32.checked_div(self.uplinks_per_minute);
        let interval_us = interval_us.map_or(0, |interval_us| interval_us.max(1));
        Rate { interval_us, burst: self.uplinks_burst }
    }
}

impl Default for DeviceQuotasConfig {
    fn default() -> Self {
        Self { uplinks_per_minute: 0, uplinks_burst: 60 }
    }
}

/// The customer's log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CustomerLogConfig {
    /// Entries kept, 1..=10000000.
    pub entries_max: u64,
    /// Bytes kept, 65536..=1099511627776.
    pub bytes_max: u64,
    /// Age of the oldest entry kept, s, 1..=31536000.
    pub age_max_s: u64,
    /// Entries go to this file too, a line of JSON each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The file begins anew when it is so long, bytes, 65536..=1099511627776.
    pub file_bytes_max: u64,
    /// And so many are kept beside it, 0..=100.
    pub files_max: u32,
    /// Entries go to this OpenTelemetry collector too: `http://host:port/v1/logs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
}

impl CustomerLogConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        within("customer_log.entries_max", self.entries_max, 1, 10_000_000)?;
        within("customer_log.bytes_max", self.bytes_max, 65_536, 1 << 40)?;
        within("customer_log.age_max_s", self.age_max_s, 1, super::YEAR_S)?;
        within("customer_log.file_bytes_max", self.file_bytes_max, 65_536, 1 << 40)?;
        within("customer_log.files_max", self.files_max.into(), 0, 100)?;
        if let Some(url) = &self.otlp {
            crate::customer_log::otlp::Target::parse(url)
                .ok_or("customer_log.otlp must be http://host[:port]/path")?;
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> LogLimits {
        LogLimits {
            entries_max: self.entries_max,
            bytes_max: self.bytes_max,
            age_max_ms: self.age_max_s * 1_000,
        }
    }
}

impl Default for CustomerLogConfig {
    fn default() -> Self {
        let limits = LogLimits::default();
        Self {
            entries_max: limits.entries_max,
            bytes_max: limits.bytes_max,
            age_max_s: limits.age_max_ms / 1_000,
            file: None,
            file_bytes_max: 16 << 20,
            files_max: 5,
            otlp: None,
        }
    }
}

/// What is kept for GetMetrics.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SummaryMetricsConfig {
    /// Devices counted by themselves in one hour, 0..=1000000.
    pub devices_max: usize,
    /// Age of the oldest hour kept, s, 3600..=31536000.
    pub age_max_s: u64,
}

impl SummaryMetricsConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        within("summary_metrics.devices_max", self.devices_max as u64, 0, 1_000_000)?;
        within("summary_metrics.age_max_s", self.age_max_s, HOUR_S, super::YEAR_S)
    }

    pub(super) fn limits(&self) -> MetricLimits {
        MetricLimits {
            devices_max: self.devices_max,
            hours_max: u32::try_from(self.age_max_s / HOUR_S).unwrap_or(u32::MAX),
        }
    }
}

impl Default for SummaryMetricsConfig {
    fn default() -> Self {
        let limits = MetricLimits::default();
        let age_max_s = u64::from(limits.hours_max) * HOUR_S;
        Self { devices_max: limits.devices_max, age_max_s }
    }
}

const HOUR_S: u64 = 3_600;

/// Metrics for Prometheus.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address and port of `GET /metrics`; absent: none. A loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

impl MetricsConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        match self.listen {
            Some(listen) if !listen.ip().is_loopback() => Err(format!(
                "metrics.listen = {listen} is not a loopback address: metrics name no device, but \
                 they are nobody else's business; let a proxy on this host publish them"
            )),
            _ => Ok(()),
        }
    }
}
