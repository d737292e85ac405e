//! How does a finished run read on a terminal? A block for each phase, then the sum of it.

use std::fmt::Write as _;

use tidegate_coap::code::Code;

use super::figures::{Figures, Percentiles, Unit};
use super::number::{bytes, count, duration, measured, percent, trim};
use super::{Outcome, Run};
use crate::measurement::{ErrorKind, Measurement};
use crate::scenario::{Kind, Load, Phase, Wake};
use crate::thresholds::Verdict;

pub(super) fn of(run: &Run) -> String {
    let mut text = String::new();
    for outcome in run.outcomes() {
        text.push_str(&phase(&outcome, run.scenario.fleet.devices));
        text.push('\n');
    }
    text.push_str(&conclusion(run));
    text.push('\n');
    text
}

/// One line: did it pass, and if not, why not?
pub(super) fn conclusion(run: &Run) -> String {
    let phases = run.scenario.phases.len();
    if !run.is_whole() {
        return format!("broken off: {} of {phases} phases were begun", run.measurements.len());
    }
    let verdicts: Vec<Verdict> = run.outcomes().flat_map(|outcome| outcome.verdicts).collect();
    let missed = verdicts.iter().filter(|verdict| !verdict.is_reached()).count();
    match (verdicts.len(), missed) {
        (0, _) => "done; the scenario sets no limits".to_owned(),
        (all, 0) => format!("passed: {all} of {all} limits reached"),
        (all, missed) => format!("failed: {missed} of {all} limits missed"),
    }
}

/// One phase.
pub(crate) fn phase(outcome: &Outcome, devices: u32) -> String {
    let Outcome { phase, measurement, figures, verdicts } = outcome;
    let mut text = format!("{}: {}\n", phase.name, intent(phase, devices));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            writeln!(text, "  {name:<18}{value}").expect("memory");
        }
    };
    line("completed", completed(figures));
    line("errors", errors(figures));
    let codes = responses(measurement).map(|(code, number)| format!("{code} {}", count(number)));
    line("responses", codes.collect::<Vec<_>>().join(", "));
    let unit = figures.unit;
    if unit == Unit::Requests {
        line("latency, ms", latency(Percentiles::of(&measurement.latency_ns)));
        line("  since sent", latency(Percentiles::of(&measurement.since_sent_ns)));
    }
    let total = &figures.total;
    if total.handshakes_begun > 0 {
        let (full, resumed) = (count(total.handshakes_full), count(total.handshakes_resumed));
        line("handshakes", format!("{full} full, {resumed} resumed"));
        line("  latency, ms", latency(Percentiles::of(&measurement.handshake_ns)));
    }
    for (name, number) in [
        ("retransmissions", total.retransmissions),
        ("downlinks answered", total.downlinks),
        ("moves", total.rebinds),
    ] {
        line(name, if number > 0 { count(number) } else { String::new() });
    }
    line("traffic", traffic(figures));
    line(&format!("CPU/{}, us", unit.singular()), cpu(figures));
    for verdict in verdicts {
        let mark = if verdict.is_reached() { "limit reached" } else { "LIMIT MISSED" };
        line(mark, judged(verdict));
    }
    if figures.is_bottleneck() {
        line("warning", bottleneck(figures));
    }
    text
}

/// What the phase was to do, in words.
pub(crate) fn intent(phase: &Phase, devices: u32) -> String {
    let what = match phase.kind {
        Kind::Connect => format!("{} devices shake hands", count(devices.into())),
        Kind::Requests => format!("requests from {} devices", count(devices.into())),
        Kind::Sleepy => {
            format!("{} devices wake, send one request and sleep", count(devices.into()))
        }
        Kind::Storm if phase.resume_percent > 0 => {
            format!("handshakes, {} % of them resuming", phase.resume_percent)
        }
        Kind::Storm => "full handshakes".to_owned(),
    };
    let load = match phase.load(devices) {
        Load::Open { rate_per_s } => format!("{}/s (open loop)", trim(&measured(rate_per_s))),
        Load::Closed { outstanding } => {
            format!("{} at a time (closed loop)", count(outstanding.into()))
        }
    };
    let mut text = format!("{what}, {load}");
    if let Some(number) = phase.count {
        write!(text, ", {} in all", count(number)).expect("memory");
    }
    if let Some(duration_s) = phase.duration_s {
        write!(text, ", for {}", duration(duration_s)).expect("memory");
    }
    match phase.wake {
        Wake::Session => {}
        Wake::Resumed => text.push_str(", each resuming its session"),
        Wake::Full => text.push_str(", each with a new session"),
    }
    if phase.rebind_every > 0 {
        let every = count(phase.rebind_every);
        write!(text, ", a new source port every {every} requests").expect("memory");
    }
    text
}

/// Why the figures are to be doubted.
pub(crate) fn bottleneck(figures: &Figures) -> String {
    format!(
        "our busiest thread was on the CPU {} of the time: this may be the generator's limit, \
         not the server's; give it more cores or less to do",
        percent(figures.own_cpu_ratio)
    )
}

/// Response codes that came, and how often, most often first.
pub(crate) fn responses(measurement: &Measurement) -> impl Iterator<Item = (String, u64)> {
    let mut each: Vec<(u8, u64)> =
        (0..=255).zip(*measurement.codes).filter(|(_, number)| *number > 0).collect();
    each.sort_by_key(|&(code, number)| (std::cmp::Reverse(number), code));
    each.into_iter().map(|(code, number)| {
        let code = Code(code);
        (format!("{}.{:02}", code.class(), code.detail()), number)
    })
}

/// `p99_ms: 1.23, at most 5`.
pub(crate) fn judged(verdict: &Verdict) -> String {
    let actual = verdict.actual.map_or("not measured".to_owned(), measured);
    let bound = if verdict.is_minimum { "at least" } else { "at most" };
    format!("{}: {actual}, {bound} {}", verdict.name, trim(&measured(verdict.limit)))
}

fn completed(figures: &Figures) -> String {
    format!(
        "{} of {} in {}: {}/s",
        count(figures.completed),
        count(figures.begun),
        duration(figures.active_s),
        measured(figures.rate_per_s)
    )
}

fn errors(figures: &Figures) -> String {
    if figures.errors == 0 {
        return "none".to_owned();
    }
    let kinds = ErrorKind::ALL.into_iter().filter(|kind| figures.total.error(*kind) > 0);
    let kinds = kinds.map(|kind| format!("{} {}", count(figures.total.error(kind)), kind.title()));
    let all = format!("{} ({}): ", count(figures.errors), percent(figures.error_ratio));
    all + &kinds.collect::<Vec<_>>().join(", ")
}

fn latency(percentiles: Option<Percentiles>) -> String {
    let Some(percentiles) = percentiles else { return String::new() };
    let each = Percentiles::NAMES.into_iter().zip(percentiles.values());
    each.map(|(name, ms)| format!("{name} {}", measured(ms))).collect::<Vec<_>>().join("  ")
}

fn traffic(figures: &Figures) -> String {
    let total = &figures.total;
    format!(
        "{} datagrams out ({}), {} in ({})",
        count(total.datagrams_out),
        bytes(total.bytes_out),
        count(total.datagrams_in),
        bytes(total.bytes_in)
    )
}

fn cpu(figures: &Figures) -> String {
    let Some(own_us) = figures.own_cpu_us else { return String::new() };
    let server = figures.server_cpu_us.map(|us| format!("server {}, ", measured(us)));
    format!(
        "{}ours {} (busiest thread {})",
        server.unwrap_or_default(),
        measured(own_us),
        percent(figures.own_cpu_ratio)
    )
}
