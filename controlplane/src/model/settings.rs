//! What holds for all devices of an account, or for one: log levels, events, metrics. In the
//! shapes of AWS IoT Wireless, which are stored as they are.

use serde::{Deserialize, Serialize};

/// What is logged of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Nothing.
    Disabled,
    /// What went wrong.
    Error,
    /// Everything.
    Info,
}

/// What is logged of devices, where nothing is said of one by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogLevels {
    /// Of everything that no option names.
    pub default_log_level: LogLevel,
    /// By technology: `CoAP` counts here, others are kept.
    pub wireless_device_log_options: Vec<LogOption>,
    /// Kept.
    pub wireless_gateway_log_options: Vec<LogOption>,
    /// Kept.
    pub fuota_task_log_options: Vec<LogOption>,
}

/// What is logged of one technology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogOption {
    /// `CoAP`, `LoRaWAN`, `Sidewalk`.
    #[serde(rename = "Type")]
    pub technology: String,
    /// Of every event that is not named.
    pub log_level: LogLevel,
    /// Of single events.
    #[serde(default)]
    pub events: Vec<EventLogOption>,
}

/// What is logged of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventLogOption {
    /// `Join`, `Rejoin`, `Uplink_Data`, `Downlink_Data`, `Registration`.
    pub event: String,
    /// What is logged of it.
    pub log_level: LogLevel,
}

/// What was said of one resource alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceLogLevel {
    /// Of every event.
    pub log_level: LogLevel,
}

impl Default for LogLevels {
    fn default() -> Self {
        Self {
            default_log_level: LogLevel::Error,
            wireless_device_log_options: Vec::new(),
            wireless_gateway_log_options: Vec::new(),
            fuota_task_log_options: Vec::new(),
        }
    }
}

impl LogLevels {
    /// The level of an event (`Uplink_Data` …) of a device of ours that nothing is said of by
    /// itself: the event's option, else the technology's, else the default.
    pub fn of(&self, event: &str) -> LogLevel {
        let options = &self.wireless_device_log_options;
        let Some(option) = options.iter().find(|option| option.technology == "CoAP") else {
            return self.default_log_level;
        };
        let named = option.events.iter().find(|named| named.event == event);
        named.map_or(option.log_level, |named| named.log_level)
    }
}

/// Whether summary metrics are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Switch {
    /// Yes.
    Enabled,
    /// No.
    #[default]
    Disabled,
}

/// `SummaryMetric` of GetMetricConfiguration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MetricConfiguration {
    /// Are they counted?
    pub summary_metric: SummaryMetric,
}

/// The one member of [`MetricConfiguration`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryMetric {
    /// Are they counted?
    pub status: Switch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_comes_before_the_technology_and_that_before_the_default() {
        let option = |technology: &str, events| LogOption {
            technology: technology.to_owned(),
            log_level: LogLevel::Info,
            events,
        };
        let mut levels = LogLevels::default();
        assert_eq!(levels.of("Join"), LogLevel::Error);
        levels.wireless_device_log_options.push(option("LoRaWAN", Vec::new()));
        assert_eq!(levels.of("Join"), LogLevel::Error, "another technology");
        let join = EventLogOption { event: "Join".to_owned(), log_level: LogLevel::Disabled };
        levels.wireless_device_log_options.push(option("CoAP", vec![join]));
        assert_eq!(levels.of("Join"), LogLevel::Disabled);
        assert_eq!(levels.of("Uplink_Data"), LogLevel::Info);
    }
}
