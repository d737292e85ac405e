//! What do scripts read? Every figure, second by second too; the shape is in docs/loadgen.md and
//! `version` changes when a key changes its meaning.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::figures::{Figures, Percentiles};
use super::{Outcome, Run, text};
use crate::measurement::{ErrorKind, Interval, Measurement, Tally};
use crate::thresholds::Verdict;

const VERSION: u32 = 1;

pub(super) fn of(run: &Run) -> Value {
    let began = OffsetDateTime::from(run.began).format(&Rfc3339).expect("a year of four digits");
    let scenario: toml::Value =
        toml::from_str(&run.scenario.to_toml()).expect("what was just written");
    json!({
        "version": VERSION,
        "title": run.scenario.title,
        "began": began,
        "server": run.scenario.target.server,
        "passed": run.is_passed(),
        "whole": run.is_whole(),
        "generator": {
            "version": run.machine.version,
            "processor": run.machine.processor,
            "cores": run.machine.cores,
            "kernel": run.machine.kernel,
        },
        "phases": run.outcomes().map(|outcome| phase(&outcome)).collect::<Vec<_>>(),
        "scenario": scenario,
    })
}

fn phase(outcome: &Outcome) -> Value {
    let Outcome { phase, measurement, figures, verdicts } = outcome;
    let total = &figures.total;
    json!({
        "name": phase.name,
        "kind": phase.kind,
        "passed": outcome.is_passed(),
        "wall_s": measurement.wall_ns as f64 / 1e9,
        "active_s": figures.active_s,
        "begun": figures.begun,
        "completed": figures.completed,
        "rate_per_s": figures.rate_per_s,
        "error_ratio": figures.error_ratio,
        "errors": errors(total),
        "responses": responses(measurement),
        "requests": total.requests,
        "handshakes": {
            "begun": total.handshakes_begun,
            "full": total.handshakes_full,
            "resumed": total.handshakes_resumed,
        },
        "retransmissions": total.retransmissions,
        "downlinks": total.downlinks,
        "rebinds": total.rebinds,
        "datagrams": { "out": total.datagrams_out, "in": total.datagrams_in },
        "bytes": { "out": total.bytes_out, "in": total.bytes_in },
        "latency_ms": percentiles(Percentiles::of(&measurement.latency_ns)),
        "since_sent_ms": percentiles(Percentiles::of(&measurement.since_sent_ns)),
        "handshake_ms": percentiles(Percentiles::of(&measurement.handshake_ns)),
        "cpu": cpu(measurement, figures),
        "thresholds": verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "intervals": measurement.intervals().iter().map(interval).collect::<Vec<_>>(),
    })
}

fn errors(tally: &Tally) -> Value {
    let each = ErrorKind::ALL.into_iter().filter(|kind| tally.error(*kind) > 0);
    each.map(|kind| (kind.name().to_owned(), tally.error(kind).into()))
        .collect::<Map<_, _>>()
        .into()
}

fn responses(measurement: &Measurement) -> Value {
    let each = text::responses(measurement).map(|(code, count)| (code, count.into()));
    each.collect::<Map<_, _>>().into()
}

fn percentiles(percentiles: Option<Percentiles>) -> Value {
    let Some(percentiles) = percentiles else { return Value::Null };
    let values = percentiles.values().map(Value::from);
    Percentiles::NAMES.map(str::to_owned).into_iter().zip(values).collect::<Map<_, _>>().into()
}

fn cpu(measurement: &Measurement, figures: &Figures) -> Value {
    json!({
        "server_us_each": figures.server_cpu_us,
        "own_us_each": figures.own_cpu_us,
        "own_threads": measurement.threads,
        "own_busiest_thread": figures.own_cpu_ratio,
        "bottleneck": figures.is_bottleneck(),
    })
}

fn verdict(verdict: &Verdict) -> Value {
    json!({
        "name": verdict.name,
        "limit": verdict.limit,
        "actual": verdict.actual,
        "passed": verdict.is_reached(),
    })
}

fn interval(interval: &Interval) -> Value {
    let tally = &interval.tally;
    let length_s = interval.length_ns as f64 / 1e9;
    let at = |histogram: &hdrhistogram::Histogram<u32>| {
        if histogram.is_empty() {
            return Value::Null;
        }
        let ms = |percentile| histogram.value_at_percentile(percentile) as f64 / 1e6;
        json!({ "p50": ms(50.0), "p90": ms(90.0), "p99": ms(99.0), "max": ms(100.0) })
    };
    json!({
        "at_s": interval.index as f64 * length_s,
        "length_s": length_s,
        "requests": tally.requests,
        "completed": tally.completed,
        "handshakes": tally.handshakes(),
        "retransmissions": tally.retransmissions,
        "errors": errors(tally),
        "latency_ms": at(&interval.latency_ns),
        "handshake_ms": at(&interval.handshake_ns),
        "own_cpu_ms": tally.own_cpu_ns as f64 / 1e6,
        "server_cpu_ms": tally.server_cpu_ns as f64 / 1e6,
    })
}
