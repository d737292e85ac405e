//! Which metrics of AWS IoT Wireless are measured here, and what comes of their samples?

use crate::store::measured::Counts;

/// What is measured, of a device or of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests of devices that were published.
    UplinkCount,
    /// Those that could not be published.
    UplinkLostCount,
    /// Those of both, percent.
    UplinkLostRate,
    /// Messages sent to devices.
    DownlinkCount,
    /// Handshakes that devices began.
    JoinRequestCount,
    /// Those that came to a session.
    JoinAcceptCount,
    /// Devices that there are; of an account.
    DeviceCount,
    /// Devices that sent something; of an account.
    ActiveDeviceCount,
}

/// Of what a metric is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricOf {
    /// The device of a dimension.
    Device,
    /// The caller's account.
    Account,
}

/// How long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// One hour.
    Hour,
    /// One day, UTC.
    Day,
    /// Seven days.
    Week,
}

/// What comes of the samples of a period, one an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All together; `None`: it would mean nothing.
    pub sum: Option<f64>,
    /// Their mean.
    pub avg: f64,
    /// Their standard deviation.
    pub std: f64,
    /// 90 % of them are not above.
    pub p90: f64,
}

/// Every name that AWS has.
pub const METRIC_NAMES: [&str; 32] = [
    "DeviceRSSI",
    "DeviceSNR",
    "DeviceRoamingRSSI",
    "DeviceRoamingSNR",
    "DeviceUplinkCount",
    "DeviceDownlinkCount",
    "DeviceUplinkLostCount",
    "DeviceUplinkLostRate",
    "DeviceJoinRequestCount",
    "DeviceJoinAcceptCount",
    "DeviceRoamingUplinkCount",
    "DeviceRoamingDownlinkCount",
    "GatewayUpTime",
    "GatewayDownTime",
    "GatewayRSSI",
    "GatewaySNR",
    "GatewayUplinkCount",
    "GatewayDownlinkCount",
    "GatewayJoinRequestCount",
    "GatewayJoinAcceptCount",
    "AwsAccountUplinkCount",
    "AwsAccountDownlinkCount",
    "AwsAccountUplinkLostCount",
    "AwsAccountUplinkLostRate",
    "AwsAccountJoinRequestCount",
    "AwsAccountJoinAcceptCount",
    "AwsAccountRoamingUplinkCount",
    "AwsAccountRoamingDownlinkCount",
    "AwsAccountDeviceCount",
    "AwsAccountGatewayCount",
    "AwsAccountActiveDeviceCount",
    "AwsAccountActiveGatewayCount",
];

impl Metric {
    /// The metric of a name; `None`: devices here have no such thing (radio, roaming, gateways).
    pub fn named(name: &str) -> Option<(Self, MetricOf)> {
        let (of, rest) = match name.strip_prefix("AwsAccount") {
            Some(rest) => (MetricOf::Account, rest),
            None => (MetricOf::Device, name.strip_prefix("Device")?),
        };
        let metric = match (rest, of) {
            ("UplinkCount", _) => Self::UplinkCount,
            ("UplinkLostCount", _) => Self::UplinkLostCount,
            ("UplinkLostRate", _) => Self::UplinkLostRate,
            ("DownlinkCount", _) => Self::DownlinkCount,
            ("JoinRequestCount", _) => Self::JoinRequestCount,
            ("JoinAcceptCount", _) => Self::JoinAcceptCount,
            ("DeviceCount", MetricOf::Account) => Self::DeviceCount,
            ("ActiveDeviceCount", MetricOf::Account) => Self::ActiveDeviceCount,
            _ => return None,
        };
        Some((metric, of))
    }

    /// What its values are.
    pub fn unit(self) -> &'static str {
        if self == Self::UplinkLostRate { "Percent" } else { "Count" }
    }

    /// Its value in an hour; `None`: that hour has none.
    fn sample(self, counts: &Counts) -> Option<f64> {
        Some(f64::from(match self {
            Self::UplinkCount => counts.uplinks,
            Self::UplinkLostCount => counts.uplinks_lost,
            Self::UplinkLostRate => {
                let all = f64::from(counts.uplinks) + f64::from(counts.uplinks_lost);
                let is_any = all > 0.0;
                return is_any.then(|| f64::from(counts.uplinks_lost) * 100.0 / all);
            }
            Self::DownlinkCount => counts.downlinks,
            Self::JoinRequestCount => counts.join_requests,
            Self::JoinAcceptCount => counts.join_accepts,
            Self::DeviceCount => counts.devices?,
            Self::ActiveDeviceCount => counts.active_devices,
        }))
    }

    /// What comes of these hours; `None`: none of them has a value.
    pub fn statistics(self, hours: &[Counts]) -> Option<Statistics> {
        let mut samples: Vec<f64> = hours.iter().filter_map(|hour| self.sample(hour)).collect();
        samples.sort_by(f64::total_cmp);
        let (min, max) = (*samples.first()?, *samples.last()?);
        let count = samples.len();
        let sum: f64 = samples.iter().sum();
        let avg = sum / count as f64;
        let variance = samples.iter().map(|s| (s - avg) * (s - avg)).sum::<f64>() / count as f64;
        // The least of them that 90 % are not above.
        let p90 = samples[(count * 9).div_ceil(10) - 1];
        // A device may be counted in many hours, and rates have no sum.
        let adds_up =
            !matches!(self, Self::UplinkLostRate | Self::DeviceCount | Self::ActiveDeviceCount);
        let sum = adds_up.then_some(sum);
        Some(Statistics { min, max, sum, avg, std: variance.sqrt(), p90 })
    }
}

impl Period {
    /// The period of a name of AWS's.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "OneHour" => Some(Self::Hour),
            "OneDay" => Some(Self::Day),
            "OneWeek" => Some(Self::Week),
            _ => None,
        }
    }

    /// Its length.
    pub fn hours(self) -> u32 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
        }
    }

    /// The first period of a question begins then: an hour's at a full hour, the others at midnight
    /// UTC.
    pub fn begin(self, hour: u32) -> u32 {
        if self == Self::Hour { hour } else { hour - hour % 24 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn metrics_of_radio_gateways_and_roaming_are_not_measured() {
        let measured = METRIC_NAMES.iter().filter(|name| Metric::named(name).is_some());
        assert_eq!(measured.count(), 6 + 8);
        assert_eq!(
            Metric::named("DeviceUplinkCount"),
            Some((Metric::UplinkCount, MetricOf::Device))
        );
        for name in ["DeviceRSSI", "GatewayUplinkCount", "AwsAccountGatewayCount", "DeviceCount"] {
            assert_eq!(Metric::named(name), None, "{name}");
        }
    }

    #[test]
    fn samples_of_hours_come_to_statistics() {
        let hours: Vec<Counts> =
            (1..=10).map(|uplinks| Counts { uplinks, ..Counts::default() }).collect();
        let all = Metric::UplinkCount.statistics(&hours).unwrap();
        assert_eq!((all.min, all.max, all.sum, all.avg), (1.0, 10.0, Some(55.0), 5.5));
        assert_eq!((all.p90, (all.std * 1e6).round()), (9.0, 2_872_281.0));
        let one = Metric::UplinkCount.statistics(&hours[9..]).unwrap();
        assert_eq!((one.min, one.p90, one.std), (10.0, 10.0, 0.0));
        assert_eq!(Metric::UplinkCount.statistics(&[]), None);
    }

    #[test]
    fn a_rate_has_no_sum_and_an_hour_without_uplinks_no_rate() {
        let hour = |uplinks, uplinks_lost| Counts { uplinks, uplinks_lost, ..Counts::default() };
        let rate = Metric::UplinkLostRate.statistics(&[hour(3, 1), hour(0, 0)]).unwrap();
        assert_eq!((rate.min, rate.max, rate.sum), (25.0, 25.0, None));
        assert_eq!(Metric::UplinkLostRate.statistics(&[hour(0, 0)]), None);
        assert_eq!(Metric::DeviceCount.statistics(&[hour(1, 1)]), None, "they were not counted");
    }

    #[test]
    fn days_begin_at_midnight() {
        assert_eq!(Period::Hour.begin(49), 49);
        assert_eq!((Period::Day.begin(49), Period::Day.begin(48)), (48, 48));
        assert_eq!((Period::Week.begin(47), Period::Week.hours()), (24, 168));
    }
}
