//! How much may an account have?

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Quota {
    /// Devices.
    Devices,
    /// Destinations.
    Destinations,
    /// Topic rules.
    Rules,
    /// Application profiles.
    ApplicationProfiles,
    /// Open messages of one device.
    QueueDepth,
    /// Calls of one operation in a second.
    ApiRate,
    /// Uplinks of all its devices in a second.
    UplinksPerSecond,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Devices,
        Self::Destinations,
        Self::Rules,
        Self::ApplicationProfiles,
        Self::QueueDepth,
        Self::ApiRate,
        Self::UplinksPerSecond,
    ];

    /// As it is written on a command line and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Destinations => "destinations",
            Self::Rules => "rules",
            Self::ApplicationProfiles => "application_profiles",
            Self::QueueDepth => "queue_depth",
            Self::ApiRate => "api_rate",
            Self::UplinksPerSecond => "uplinks_per_s",
        }
    }

    /// As the API writes it.
    pub fn member(self) -> &'static str {
        match self {
            Self::Devices => "Devices",
            Self::Destinations => "Destinations",
            Self::Rules => "Rules",
            Self::ApplicationProfiles => "ApplicationProfiles",
            Self::QueueDepth => "QueueDepth",
            Self::ApiRate => "ApiRate",
            Self::UplinksPerSecond => "UplinksPerSecond",
        }
    }

    /// The most that can be set.
    pub fn max(self) -> u64 {
        match self {
            Self::Devices => 100_000_000,
            Self::Destinations | Self::ApiRate | Self::UplinksPerSecond => 1_000_000,
            Self::Rules | Self::ApplicationProfiles | Self::QueueDepth => 10_000,
        }
    }
}

impl FromStr for Quota {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|quota| quota.name() == text);
        let names = || Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| format!("there is no quota {text}: {}", names()))
    }
}

/// The quotas of an account for which none were set. The root account has none.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// 1..=100000000.
    pub devices: u64,
    /// 1..=1000000.
    pub destinations: u64,
    /// 1..=10000.
    pub rules: u64,
    /// 1..=10000.
    pub application_profiles: u64,
    /// Open messages of one device, 1..=10000.
    pub queue_depth: u64,
    /// Calls of one operation in a second, 1..=1000000.
    pub api_rate: u64,
    /// Uplinks in a second, and at once after a pause, 1..=1000000.
    pub uplinks_per_s: u64,
}

impl Quotas {
    /// Says which one is out of its range.
    pub fn check(&self) -> Result<(), String> {
        for quota in Quota::ALL {
            let (value, max) = (self.get(quota), quota.max());
            if !(1..=max).contains(&value) {
                let name = quota.name();
                return Err(format!("account_quotas.{name} = {value} is not within 1..={max}"));
            }
        }
        Ok(())
    }

    /// One of them.
    pub fn get(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Devices => self.devices,
            Quota::Destinations => self.destinations,
            Quota::Rules => self.rules,
            Quota::ApplicationProfiles => self.application_profiles,
            Quota::QueueDepth => self.queue_depth,
            Quota::ApiRate => self.api_rate,
            Quota::UplinksPerSecond => self.uplinks_per_s,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            devices: 100_000,
            destinations: 1_000,
            rules: 1_000,
            application_profiles: 1_000,
            queue_depth: 100,
            api_rate: 100,
            uplinks_per_s: 10_000,
        }
    }
}
