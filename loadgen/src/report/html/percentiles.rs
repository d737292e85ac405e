//! How long did how many have to wait? Latency by percentile, of one phase and of several beside
//! each other.

use hdrhistogram::Histogram;

use super::plot::{Line, Mark, Plot};
use super::scale::Scale;
use crate::report::Outcome;
use crate::report::figures::Unit;
use crate::report::number::measured;
use crate::scenario::Thresholds;

/// Classes of the style sheet, in the order in which phases take them.
const CLASSES: [&str; 6] = ["one", "two", "p99", "p90", "max", "p50"];
/// Longer names don't fit beside the plot.
const NAME_CHARACTERS_MAX: usize = 11;

/// One histogram to be drawn.
struct Curve<'a> {
    name: String,
    class: &'static str,
    histogram: &'a Histogram<u64>,
}

/// Of one phase, up to the rarest percentile that has a sample.
pub(super) fn of_phase(outcome: &Outcome, thresholds: &Thresholds) -> Option<Plot> {
    let measurement = outcome.measurement;
    let latency = outcome.figures.latency_ms?;
    let sent = &measurement.since_sent_ns;
    let has_sent = !sent.is_empty() && outcome.figures.unit == Unit::Requests;
    let name = if has_sent { "since due" } else { "" };
    let histogram = outcome.figures.unit.histogram(measurement);
    let mut curves = vec![Curve { name: name.to_owned(), class: "one", histogram }];
    if has_sent {
        curves.push(Curve { name: "since sent".to_owned(), class: "two", histogram: sent });
    }
    let limits = [
        (0.5, "p50", thresholds.p50_ms),
        (0.9, "p90", thresholds.p90_ms),
        (0.99, "p99", thresholds.p99_ms),
        (0.999, "p99.9", thresholds.p999_ms),
    ];
    let marks = limits.into_iter().filter_map(|(at, name, limit)| {
        Some(Mark { at: Some(at), value: limit?, name: format!("{name} limit") })
    });
    let description = format!(
        "Latency by percentile: median {} ms, 99th percentile {} ms, longest {} ms",
        measured(latency.p50),
        measured(latency.p99),
        measured(latency.max)
    );
    Some(plot(description, &curves, marks.collect()))
}

/// Of all phases with requests, if there are several: as many as there are colours.
pub(super) fn of_run(outcomes: &[Outcome]) -> Option<Plot> {
    let with_requests = outcomes.iter().filter(|outcome| {
        outcome.figures.unit == Unit::Requests && outcome.figures.latency_ms.is_some()
    });
    let curves: Vec<_> = with_requests
        .zip(CLASSES)
        .map(|(outcome, class)| {
            let name = &outcome.phase.name;
            let short: String = name.chars().take(NAME_CHARACTERS_MAX).collect();
            let name = if short == *name { short } else { format!("{}…", short.trim_end()) };
            let histogram = &outcome.measurement.latency_ns;
            Curve { name, class, histogram }
        })
        .collect();
    let description = "Latency by percentile of all phases with requests".to_owned();
    (curves.len() > 1).then(|| plot(description, &curves, Vec::new()))
}

fn plot(description: String, curves: &[Curve], marks: Vec<Mark>) -> Plot {
    let ms = |ns: u64| ns as f64 / 1e6;
    let samples = curves.iter().map(|curve| curve.histogram.len()).max().unwrap_or(0);
    let low = curves.iter().map(|curve| ms(curve.histogram.min())).fold(f64::MAX, f64::min);
    let high = curves.iter().map(|curve| ms(curve.histogram.max())).fold(0.0, f64::max);
    let high = marks.iter().fold(high, |high, mark| high.max(mark.value));
    let rarest = 1.0 - 1.0 / samples.max(10) as f64 + 1e-9;
    let readings = [(0.5, "50"), (0.75, "75"), (0.9, "90"), (0.95, "95"), (0.99, "99")];
    let rare = [(0.999, "99.9"), (0.9999, "99.99"), (0.99999, "99.999")];
    let readings = readings.into_iter().chain(rare).filter(|(at, _)| *at <= rarest);
    let reading = |(at, label): (f64, &str)| {
        let each = curves.iter().map(|curve| {
            let ms = measured(ms(curve.histogram.value_at_quantile(at)));
            if curve.name.is_empty() { format!("{ms} ms") } else { format!("{} {ms}", curve.name) }
        });
        (at, format!("{label} %: {}", each.collect::<Vec<_>>().join("  ")))
    };
    Plot {
        description,
        x: Scale::nines(samples),
        y: Scale::log(low, high),
        unit: "ms",
        lines: curves.iter().map(Curve::line).collect(),
        marks,
        readings: readings.map(reading).collect(),
    }
}

impl Curve<'_> {
    fn line(&self) -> Line {
        let ms = |ns: u64| Some(ns as f64 / 1e6);
        let high = 1.0 - 1.0 / self.histogram.len().max(10) as f64;
        let mut points = vec![(0.0, ms(self.histogram.min()))];
        for value in self.histogram.iter_quantiles(8) {
            let quantile = value.quantile_iterated_to();
            if quantile > high {
                break;
            }
            points.push((quantile, ms(value.value_iterated_to())));
        }
        points.push((high, ms(self.histogram.max())));
        Line { name: self.name.clone(), class: self.class, is_area: false, points }
    }
}
