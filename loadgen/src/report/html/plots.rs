//! Which plots over time does a phase have? Rate, latency and CPU time, and the errors.

use std::fmt::Write as _;

use super::escape;
use super::plot::{Line, Mark, Plot};
use super::scale::Scale;
use crate::measurement::{ErrorKind, Interval, Measurement};
use crate::report::Outcome;
use crate::report::figures::Unit;
use crate::report::number::{count, duration, measured, percent, trim};
use crate::scenario::Load;

/// More points than that say no more, and take room.
const POINTS_MAX: usize = 240;

/// One stretch of a phase, as plots show it.
#[derive(Debug)]
pub(super) struct Stretch {
    interval: Interval,
    /// The middle of it, s.
    at_s: f64,
    pub(super) length_s: f64,
}

/// At most [`POINTS_MAX`] stretches of the phase.
pub(super) fn stretches(measurement: &Measurement) -> Vec<Stretch> {
    let intervals = measurement.intervals();
    let each = intervals.len().div_ceil(POINTS_MAX);
    let wall_s = measurement.wall_ns as f64 / 1e9;
    let stretches = intervals.chunks(each).map(|chunk| {
        let mut interval = chunk[0].clone();
        chunk[1..].iter().for_each(|other| interval.absorb(other));
        let own_s = interval.length_ns as f64 / 1e9;
        let begin_s = interval.index as f64 * own_s;
        let end_s = (begin_s + own_s * chunk.len() as f64).min(wall_s.max(begin_s));
        Stretch { interval, at_s: f64::midpoint(begin_s, end_s), length_s: end_s - begin_s }
    });
    let mut stretches: Vec<_> = stretches.collect();
    // The rest of a second at the end has too few events for a rate.
    let longest_s = stretches.first().map_or(0.0, |stretch| stretch.length_s);
    stretches.retain(|stretch| stretch.length_s > longest_s * 0.2);
    stretches
}

/// Completed per second, beside what was to be.
pub(super) fn rate(outcome: &Outcome, stretches: &[Stretch], load: Load) -> Plot {
    let unit = outcome.figures.unit;
    let completed = |stretch: &Stretch| match unit {
        Unit::Requests => stretch.interval.tally.completed,
        Unit::Handshakes => stretch.interval.tally.handshakes(),
    };
    let per_s = |stretch: &Stretch| completed(stretch) as f64 / stretch.length_s;
    let points = steps(stretches, |stretch| Some(per_s(stretch)));
    let mut highest = points.iter().filter_map(|(_, value)| *value).fold(0.0, f64::max);
    let mut marks = Vec::new();
    if let Load::Open { rate_per_s } = load {
        highest = highest.max(rate_per_s);
        marks.push(Mark { at: None, value: rate_per_s, name: "intended".to_owned() });
    }
    let reading = |stretch: &Stretch| {
        let errors = stretch.interval.tally.errors();
        let errors = if errors > 0 { format!(", {} errors", count(errors)) } else { String::new() };
        (stretch.at_s, format!("{}: {}/s{errors}", at(stretch), measured(per_s(stretch))))
    };
    Plot {
        description: format!(
            "Completed {} per second over time, {} on average",
            unit.name(),
            measured(outcome.figures.rate_per_s)
        ),
        x: time(stretches),
        y: Scale::linear(highest * 1.02),
        unit: match unit {
            Unit::Requests => "requests per second",
            Unit::Handshakes => "handshakes per second",
        },
        lines: vec![Line { name: String::new(), class: "one", is_area: true, points }],
        marks,
        readings: stretches.iter().map(reading).collect(),
    }
}

/// Percentiles of each second.
pub(super) fn latency(outcome: &Outcome, stretches: &[Stretch]) -> Option<Plot> {
    const LINES: [(&str, &str, f64); 4] =
        [("max", "max", 100.0), ("p99", "p99", 99.0), ("p90", "p90", 90.0), ("p50", "p50", 50.0)];
    let unit = outcome.figures.unit;
    let latency = outcome.figures.latency_ms?;
    let ms = |stretch: &Stretch, percentile: f64| {
        let histogram = match unit {
            Unit::Requests => &stretch.interval.latency_ns,
            Unit::Handshakes => &stretch.interval.handshake_ns,
        };
        let value = || histogram.value_at_percentile(percentile) as f64 / 1e6;
        (!histogram.is_empty()).then(value)
    };
    let lines = LINES.map(|(name, class, percentile)| {
        let points = steps(stretches, |stretch| ms(stretch, percentile));
        Line { name: name.to_owned(), class, is_area: false, points }
    });
    let reading = |stretch: &Stretch| {
        let each = LINES.iter().rev().filter_map(|(name, _, percentile)| {
            Some(format!("{name} {}", measured(ms(stretch, *percentile)?)))
        });
        (stretch.at_s, format!("{}: {}", at(stretch), each.collect::<Vec<_>>().join("  ")))
    };
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let low = values.fold(f64::MAX, f64::min);
    Some(Plot {
        description: "Latency over time: median, 90th and 99th percentile and maximum".to_owned(),
        x: time(stretches),
        y: Scale::log(low.min(latency.max), latency.max),
        unit: "ms",
        readings: stretches.iter().map(reading).collect(),
        lines: lines.into(),
        marks: Vec::new(),
    })
}

/// How busy the server and we kept the processor, in percent of one core.
pub(super) fn cpu(outcome: &Outcome, stretches: &[Stretch]) -> Option<Plot> {
    let own = |s: &Stretch| s.interval.tally.own_cpu_ns as f64 / 1e7 / s.length_s;
    let server = |s: &Stretch| s.interval.tally.server_cpu_ns as f64 / 1e7 / s.length_s;
    let has_server = outcome.measurement.has_server_cpu;
    let line = |name: &str, class, share: &dyn Fn(&Stretch) -> f64| Line {
        name: name.to_owned(),
        class,
        is_area: false,
        points: steps(stretches, |stretch| Some(share(stretch))),
    };
    let mut lines = vec![line("ours", "two", &own)];
    if has_server {
        lines.push(line("server", "one", &server));
    }
    let highest = stretches.iter().map(|s| own(s).max(server(s))).fold(0.0, f64::max);
    if highest == 0.0 {
        return None;
    }
    let reading = |s: &Stretch| {
        let server =
            if has_server { format!("server {} %, ", measured(server(s))) } else { String::new() };
        (s.at_s, format!("{}: {server}ours {} %", at(s), measured(own(s))))
    };
    Some(Plot {
        description: "CPU time over time, in percent of one core".to_owned(),
        x: time(stretches),
        y: Scale::linear(highest * 1.02),
        unit: "% of a core",
        lines,
        marks: Vec::new(),
        readings: stretches.iter().map(reading).collect(),
    })
}

/// A row for each kind of error: how often, and when.
pub(super) fn errors(outcome: &Outcome, stretches: &[Stretch]) -> String {
    let total = &outcome.figures.total;
    let most = total.errors.into_iter().max().unwrap_or(0);
    if most == 0 {
        return "<p class=\"none\">No errors.</p>".to_owned();
    }
    let mut rows = String::new();
    let mut kinds: Vec<_> =
        ErrorKind::ALL.into_iter().filter(|kind| total.error(*kind) > 0).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(total.error(*kind)));
    for kind in kinds {
        let number = total.error(kind);
        let width = (number as f64 / most as f64 * 100.0).max(0.5);
        let share = percent(number as f64 / outcome.figures.begun.max(number) as f64);
        write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td class=\"bar\"><span style=\"width:{width:.1}%\"></span>\
             </td><td class=\"number\">{}</td><td class=\"number\">{share}</td><td>{}</td></tr>",
            escape(kind.title()),
            count(number),
            when(kind, stretches)
        )
        .expect("memory");
    }
    format!(
        "<table class=\"errors\"><thead><tr><th scope=\"col\">what</th><th scope=\"col\"></th>\
         <th scope=\"col\" class=\"number\">count</th><th scope=\"col\" class=\"number\">share</th>\
         <th scope=\"col\">when</th></tr></thead><tbody>{rows}</tbody></table>"
    )
}

/// A small column for each stretch.
fn when(kind: ErrorKind, stretches: &[Stretch]) -> String {
    let most = stretches.iter().map(|s| s.interval.tally.error(kind)).max().unwrap_or(0).max(1);
    let width = 160.0 / stretches.len().max(1) as f64;
    let mut svg = String::new();
    for (index, stretch) in stretches.iter().enumerate() {
        let number = stretch.interval.tally.error(kind);
        if number > 0 {
            let height = (number as f64 / most as f64 * 22.0).max(2.0);
            let (x, y, at) = (index as f64 * width, 22.0 - height, at(stretch));
            let (column, number) = ((width * 0.85).max(1.0), count(number));
            write!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{column:.1}\" height=\"{height:.1}\">\
                 <title>{at}: {number}</title></rect>"
            )
            .expect("memory");
        }
    }
    format!(
        "<svg class=\"when\" viewBox=\"0 0 160 23\" role=\"img\" aria-label=\"when it happened\">\
         <path d=\"M0 22.5H160\"/>{svg}</svg>"
    )
}

/// Each value stands for the whole of its stretch.
fn steps(
    stretches: &[Stretch],
    value: impl Fn(&Stretch) -> Option<f64>,
) -> Vec<(f64, Option<f64>)> {
    let ends = |s: &Stretch| [s.at_s - s.length_s / 2.0, s.at_s + s.length_s / 2.0];
    stretches.iter().flat_map(|s| ends(s).map(|at_s| (at_s, value(s)))).collect()
}

fn time(stretches: &[Stretch]) -> Scale {
    Scale::time(stretches.last().map_or(1.0, |stretch| stretch.at_s + stretch.length_s / 2.0))
}

/// `12–13 s`
fn at(stretch: &Stretch) -> String {
    let (begin, end) =
        (stretch.at_s - stretch.length_s / 2.0, stretch.at_s + stretch.length_s / 2.0);
    if end < 600.0 {
        let second = |value: f64| trim(&format!("{value:.1}")).to_owned();
        return format!("{}–{} s", second(begin), second(end));
    }
    format!("{}–{}", duration(begin), duration(end))
}
