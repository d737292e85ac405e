//! What does the owner of a device get to know of it? Entries in the shape of AWS IoT Wireless's
//! logs: refusals, failed handshakes, sessions that come and go, downlinks that fail.
//!
//! ```text
//! worker ─ Notice ─▶ core ─▶ store (GET /customer-logs)
//!  (sheds)            └────▶ feed ─▶ file, OpenTelemetry, followers   (each may lose, and says so)
//! ```
//!
//! *Bound:* of the store by count, bytes and age; of the feed [`FEED_ENTRIES_MAX`] entries for the
//! slowest; of one device [`DEVICE_RATE`], beyond which its entries are counted and left out.

pub mod feed;
pub mod file;
pub mod otlp;

use serde::{Deserialize, Serialize};

use crate::model::{DeviceId, LogLevel, MessageId};

/// How much is logged: an entry is kept when its level is not above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Nothing.
    Disabled,
    /// What went wrong.
    Error,
    /// Also what went as it should.
    Info,
}

impl Level {
    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
            Self::Info => "INFO",
        }
    }
}

/// What an entry is about, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    /// A session, or a handshake.
    Join,
    /// A request of the device.
    #[serde(rename = "Uplink_Data")]
    UplinkData,
    /// A request for the device, or an answer to one of its own.
    #[serde(rename = "Downlink_Data")]
    DownlinkData,
}

impl About {
    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "Join",
            Self::UplinkData => "Uplink_Data",
            Self::DownlinkData => "Downlink_Data",
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Info => Self::Info,
            LogLevel::Error => Self::Error,
            LogLevel::Disabled => Self::Disabled,
        }
    }
}

/// One entry, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// ISO 8601, milliseconds.
    pub timestamp: String,
    /// Always `WirelessDevice`.
    pub resource: String,
    /// Whose device.
    pub wireless_device_id: DeviceId,
    /// Always `CoAP`.
    pub wireless_device_type: String,
    /// What it is about.
    pub event: About,
    /// How grave it is.
    pub log_level: Level,
    /// The downlink it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(rename = "CoAP", default, skip_serializing_if = "CoapDetail::is_empty")]
    pub coap: CoapDetail,
}

/// What is particular to CoAP and DTLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CoapDetail {
    /// `PUT` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_method: Option<String>,
    /// As policies have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri_path: Option<String>,
    /// `FORBIDDEN(4.03)` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_status: Option<String>,
    /// `CONFIRMABLE` or `NON_CONFIRMABLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl CoapDetail {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An entry and what is known of it beside.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Where it lies: Unix milliseconds, number.
    pub at: (u64, u64),
    /// Whose: 0 is the operator's own account.
    pub account: u64,
    /// The entry.
    pub entry: LogEntry,
}

/// What the log keeps.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Entries.
    pub entries_max: u64,
    /// Bytes, keys included.
    pub bytes_max: u64,
    /// Age, milliseconds.
    pub age_max_ms: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { entries_max: 100_000, bytes_max: 64 << 20, age_max_ms: 7 * 24 * 3_600_000 }
    }
}

/// Bound: entries that wait for the slowest of those that follow.
pub const FEED_ENTRIES_MAX: usize = 4_096;
/// Bound: entries of one device in a minute.
pub const DEVICE_ENTRIES_PER_MINUTE: u32 = 120;
