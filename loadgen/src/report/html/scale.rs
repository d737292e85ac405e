//! Where does a value stand on an axis, and which values are written beside it?

use crate::report::number::{measured, trim};

/// One axis: from a value to its place between 0.0 and 1.0.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    /// From 0 to a round number.
    Linear { high: f64 },
    /// From a round number to a round number, both above 0.
    Log { low: f64, high: f64 },
    /// Seconds, from 0.
    Time { high: f64 },
    /// Quantiles by the nines that they have: 0.9, 0.99, 0.999 stand equally far apart.
    Nines { high: f64 },
}

/// A value that is written at an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Scale {
    /// From 0 to at least `high`.
    pub(super) fn linear(high: f64) -> Self {
        let step = step(high);
        Self::Linear { high: if high > 0.0 { (high / step - 1e-9).ceil() * step } else { 1.0 } }
    }

    /// At least from `low` to `high`.
    pub(super) fn log(low: f64, high: f64) -> Self {
        let low = low.clamp(1e-6, 1e9);
        let (low, high) = (round(low, false), round(high.max(low), true));
        Self::Log { low, high: if high > low { high } else { round(low * 1.5, true) } }
    }

    /// From 0 to `high` seconds.
    pub(super) fn time(high: f64) -> Self {
        Self::Time { high: high.max(0.001) }
    }

    /// For as many samples as there are: a percentile that rests on less than one says nothing.
    pub(super) fn nines(samples: u64) -> Self {
        Self::Nines { high: 1.0 - 1.0 / samples.max(10) as f64 }
    }

    /// 0.0..=1.0 for what is on the axis; what is not stands at its end.
    pub(super) fn place(self, value: f64) -> f64 {
        let nines = |quantile: f64| -(1.0 - quantile).max(1e-12).log10();
        let place = match self {
            Self::Linear { high } | Self::Time { high } => value / high,
            Self::Log { low, high } => (value.max(1e-9) / low).ln() / (high / low).ln(),
            Self::Nines { high } => nines(value) / nines(high),
        };
        place.clamp(0.0, 1.0)
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        match self {
            Self::Linear { high } => {
                let step = step(high);
                let values = (0..=(high / step).round() as u32).map(|n| f64::from(n) * step);
                values
                    .map(|value| Tick { value, label: trim(&measured(value)).to_owned() })
                    .collect()
            }
            Self::Log { low, high } => log_ticks(low, high),
            Self::Time { high } => time_ticks(high),
            Self::Nines { high } => {
                let all = [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9")];
                let rare = [(0.9999, "99.99"), (0.999_99, "99.999"), (0.999_999, "99.9999")];
                let each = all.into_iter().chain(rare).filter(|(value, _)| *value <= high + 1e-9);
                each.map(|(value, label)| Tick { value, label: format!("{label} %") }).collect()
            }
        }
    }
}

/// So that there are three to six of them: 1, 2, 2.5 or 5 times a power of ten.
fn step(high: f64) -> f64 {
    if high <= 0.0 {
        return 1.0;
    }
    let raw = high / 5.0;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * power >= raw * 0.999);
    step.unwrap_or(10.0) * power
}

/// The nearest 1, 2 or 5 times a power of ten, upward or downward.
fn round(value: f64, is_up: bool) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let rounds = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let found = if is_up {
        rounds.into_iter().find(|&round| round >= value * 0.999_999)
    } else {
        rounds.into_iter().rev().find(|&round| round <= value * 1.000_001)
    };
    found.unwrap_or(value)
}

fn log_ticks(low: f64, high: f64) -> Vec<Tick> {
    let decades = (high / low).log10();
    let digits: &[f64] = match decades {
        ..2.2 => &[1.0, 2.0, 5.0],
        ..4.0 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let values = (first..=last)
        .flat_map(|exponent| digits.iter().map(move |digit| digit * 10_f64.powi(exponent)));
    let on_axis = values.filter(|value| (low * 0.999..=high * 1.001).contains(value));
    on_axis.map(|value| Tick { value, label: trim(&measured(value)).to_owned() }).collect()
}

fn time_ticks(high: f64) -> Vec<Tick> {
    const STEPS_S: [f64; 22] = [
        0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0,
        120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0,
    ];
    let step = STEPS_S.into_iter().find(|step| high / step <= 8.0).unwrap_or(86_400.0);
    let (unit_s, unit) = match step {
        ..0.1 => (0.001, "ms"),
        ..60.0 => (1.0, "s"),
        ..1_800.0 => (60.0, "min"),
        _ => (3_600.0, "h"),
    };
    let values = (0..=(high / step + 1e-9).floor() as u32).map(|n| f64::from(n) * step);
    let label = |value: f64| format!("{} {unit}", trim(&measured(value / unit_s)));
    values.map(|value| Tick { value, label: label(value) }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // exact by construction
    use super::*;

    fn labels(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn a_linear_axis_ends_with_a_round_number() {
        assert_eq!(
            labels(Scale::linear(4_321.0)),
            ["0", "1 000", "2 000", "3 000", "4 000", "5 000"]
        );
        assert_eq!(labels(Scale::linear(1.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(Scale::linear(4_321.0).place(2_500.0), 0.5);
        assert_eq!(Scale::linear(0.0).place(0.0), 0.0, "nothing happened");
    }

    #[test]
    fn a_logarithmic_axis_writes_one_two_and_five() {
        assert_eq!(labels(Scale::log(0.13, 4.2)), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(labels(Scale::log(1.2, 1.3)), ["1", "2"]);
        assert_eq!(labels(Scale::log(1.0, 1.0)), ["1", "2"]);
        assert_eq!(labels(Scale::log(0.01, 100_000.0)).len(), 8);
        let scale = Scale::log(0.1, 10.0);
        assert!((scale.place(1.0) - 0.5).abs() < 1e-9);
        assert_eq!((scale.place(0.01), scale.place(1e3)), (0.0, 1.0));
    }

    #[test]
    fn time_is_written_in_the_unit_that_fits() {
        assert_eq!(labels(Scale::time(0.08))[..3], ["0 ms", "10 ms", "20 ms"]);
        assert_eq!(labels(Scale::time(10.0)), ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]);
        assert_eq!(labels(Scale::time(500.0)), ["0 min", "2 min", "4 min", "6 min", "8 min"]);
        assert_eq!(labels(Scale::time(10_800.0)).last().map(String::as_str), Some("3 h"));
    }

    #[test]
    fn quantiles_stand_by_their_nines_as_far_as_there_are_samples() {
        assert_eq!(
            labels(Scale::nines(10_000)),
            ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]
        );
        assert_eq!(labels(Scale::nines(100)), ["0 %", "50 %", "90 %", "99 %"]);
        let scale = Scale::nines(10_000);
        assert!((scale.place(0.99) - 0.5).abs() < 1e-9 && (scale.place(0.9) - 0.25).abs() < 1e-9);
        assert_eq!(scale.place(1.0), 1.0);
    }
}
