//! What does it cost that an acknowledged uplink is not lost? An edge for each level of
//! `confirmed_by`, by turns, beside the one that waits for the broker; and what a backlog costs
//! when the control plane starts over it: docs/durability.md.

mod starts;

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::api::edge::{ApiEdge, Data, Medium};
use crate::api::imports;
use crate::ratio::broker::{Broker, DEVICES, IDENTITY, SECRET, free_port, provisioned};
use crate::ratio::figure::{Figure, median, rounded};
use crate::ratio::load::Load;
use crate::ratio::report::{machine, put_between, table_of};
use starts::Backlog;

/// Measures all of it and writes it between the marks of a document.
pub fn write(document: &Path) -> io::Result<()> {
    let levels = levels()?;
    let backlogs = starts::backlogs()?;
    let part = format!("{}\n\n{}\n{}", machine(), table_of(&levels), backlog_table(&backlogs));
    put_between(document, (BEGIN, END), &part)
}

/// An edge with both planes on the servers' core, and its devices.
struct Devices {
    edge: ApiEdge,
    load: Load,
}

impl Devices {
    /// An edge whose devices are answered once `confirmed_by` says so; waits for the broker if it
    /// should be there.
    fn new(confirmed_by: &str, mqtt_port: u16, has_broker: bool) -> io::Result<Self> {
        let lines = format!(
            "[mqtt]\nurl = \"mqtt://127.0.0.1:{mqtt_port}\"\n\
             [publish]\nconfirmed_by = \"{confirmed_by}\"\n\
             [outbox]\nentries_max = 10000000\nbytes_max = 17179869184\n"
        );
        let edge = ApiEdge::start_with(Medium::Disk, &lines)?;
        if has_broker {
            edge.wait_until_well()?;
        } else {
            let wrong = "the workers are not there";
            edge.wait_until(wrong, |health| health["Workers"][0]["Greeted"] == true)?;
        }
        let mut client = edge.client()?;
        imports::make_destination(&mut client)?;
        for number in 0..DEVICES {
            let device = json!({
                "Type": "CoAP", "DestinationName": "run", "Cellular": { "DtlsV1_2": {
                    "PreSharedKeyIdentity": format!("{IDENTITY}{number}"),
                    "PreSharedKeySecret": SECRET,
                }},
            });
            client.succeed("POST", "/wireless-devices", &device)?;
        }
        let load = Load::dtls(edge.address(), &provisioned())?;
        Ok(Self { edge, load })
    }

    /// So many requests on their way for so long; then until the broker has everything.
    fn stretch(&mut self, at_a_time: usize, length: Duration) -> io::Result<Seen> {
        self.load.at_a_time(at_a_time);
        let cpu = self.edge.cpu()?;
        let slice = self.load.run(length)?;
        self.edge.wait_until("the outbox is never empty", is_empty)?;
        let cpu = self.edge.cpu()?.saturating_sub(cpu);
        let seen = Seen {
            answered: slice.completed,
            refused: slice.refused + slice.lost,
            per_s: slice.completed as f64 / slice.wall.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / slice.completed as f64,
            median_ms: self.load.wait_ms(0.5),
            slowest_ms: self.load.wait_ms(0.99),
        };
        if std::env::var_os(crate::ratio::VERBOSE).is_some() {
            eprintln!(
                "  {at_a_time} at a time: {seen:?}, {} refused, {} lost",
                slice.refused, slice.lost
            );
        }
        Ok(seen)
    }
}

fn is_empty(health: &serde_json::Value) -> bool {
    health["Outbox"]["Entries"] == 0
}

/// What came of one stretch.
#[derive(Clone, Copy, Debug)]
struct Seen {
    answered: u64,
    /// Answered 5.03, or not at all.
    refused: u64,
    /// Answers a second.
    per_s: f64,
    /// Both planes, until the broker has it, an uplink.
    cpu_us: f64,
    median_ms: f64,
    slowest_ms: f64,
}

/// `destination`, `store` and `ring`, each in its turn, with many uplinks on their way and few.
fn levels() -> io::Result<Vec<Figure>> {
    let (files, mqtt_port) = (Data::new(Medium::Memory)?, free_port()?);
    let broker = Broker::start(files.path(), mqtt_port)?;
    let mut edges = Vec::new();
    for level in LEVELS {
        edges.push(Devices::new(level, mqtt_port, true)?);
    }
    // Of each load, each level's stretches.
    let mut seen = LOADS.map(|_| LEVELS.map(|_| Vec::new()));
    let (mut answered, mut refused) = (0, 0);
    for round in 0..=ROUNDS {
        for (stretches, at_a_time) in seen.iter_mut().zip(LOADS) {
            for (stretches, edge) in stretches.iter_mut().zip(&mut edges) {
                let stretch = edge.stretch(at_a_time, STRETCH)?;
                answered += stretch.answered;
                refused += stretch.refused;
                // The first is there to warm up.
                if round > 0 {
                    stretches.push(stretch);
                }
            }
        }
    }
    broker.has_passed_on(answered)?;
    if refused > 0 {
        eprintln!("{refused} uplinks were refused or lost, {answered} confirmed");
    }
    let [many, few] = &seen;
    Ok([figures(LOADS[0], many, true), figures(LOADS[1], few, false)].concat())
}

/// What is read off a stretch: in words, its unit, and how.
type What = (&'static str, &'static str, fn(&Seen) -> f64);

fn figures(at_a_time: usize, seen: &[Vec<Seen>; 3], is_full: bool) -> Vec<Figure> {
    let what: [What; 4] = [
        ("answers a second", "1/s", |seen| seen.per_s),
        ("CPU of both planes, until the broker has it", "µs an uplink", |seen| seen.cpu_us),
        ("median of the answers' times", "ms", |seen| seen.median_ms),
        ("99th hundredth of these", "ms", |seen| seen.slowest_ms),
    ];
    let wanted = if is_full { &what[..] } else { &what[2..] };
    let mut figures = Vec::new();
    for (what, unit, of) in wanted {
        for (level, stretches) in LEVELS.iter().zip(seen).skip(1) {
            let pairs: Vec<_> =
                stretches.iter().zip(&seen[0]).map(|(ours, other)| (of(ours), of(other))).collect();
            let name =
                format!("{at_a_time} uplinks at a time: {what}, `{level}` against `{}`", LEVELS[0]);
            figures.push(Figure::from_pairs(name, unit, &pairs, None));
        }
    }
    figures
}

fn backlog_table(backlogs: &[Backlog]) -> String {
    let mut text = "| entries in the outbox | MiB | start, s | of an empty one's | µs an entry | \
                    published, s | entries a second |\n|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let empty = backlogs.first().map_or(f64::NAN, |first| median(first.starts_s.iter().copied()));
    for one in backlogs {
        let start = median(one.starts_s.iter().copied());
        let each_us = (start - empty) * 1e6 / one.entries as f64;
        let is_there = |value: &f64| value.is_finite() && *value != 0.0;
        let cell = |value: f64| {
            Some(value)
                .filter(is_there)
                .map_or("–".to_owned(), |value| rounded(value).to_string())
        };
        let published = one.published_s.unwrap_or(f64::NAN);
        let cells = [
            one.entries.to_string(),
            cell(one.bytes as f64 / f64::from(1 << 20)),
            cell(start),
            cell(start / empty),
            cell(each_us),
            cell(published),
            cell(one.entries as f64 / published),
        ];
        writeln!(text, "| {} |", cells.join(" | ")).expect("memory");
    }
    text
}

/// The first is what the others are compared with.
const LEVELS: [&str; 3] = ["destination", "store", "ring"];
/// Uplinks on their way: as many as there are devices, so that the edge never waits for them, and
/// so few that they do not wait for each other.
const LOADS: [usize; 2] = [DEVICES, 4];
const ROUNDS: usize = 5;
const STRETCH: Duration = Duration::from_millis(1_500);
const BEGIN: &str = "<!-- durability: written by `tidegate-ratio durability` -->";
const END: &str = "<!-- end of durability -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_compared_with_an_empty_start() {
        let empty =
            Backlog { entries: 0, bytes: 0, starts_s: vec![0.1, 0.2, 0.3], published_s: None };
        let full = Backlog {
            entries: 100_000,
            bytes: 52_428_800,
            starts_s: vec![0.4],
            published_s: Some(4.0),
        };
        let table = backlog_table(&[empty, full]);
        assert!(table.contains("| 0 | – | 0.2 | 1 | – | – | – |"), "{table}");
        assert!(table.contains("| 100000 | 50 | 0.4 | 2 | 2 | 4 | 25000 |"), "{table}");
    }

    #[test]
    fn each_level_stands_beside_the_first() {
        let seen = |per_s| {
            vec![Seen {
                answered: 1,
                refused: 0,
                per_s,
                cpu_us: 1.0,
                median_ms: 1.0,
                slowest_ms: 2.0,
            }]
        };
        let levels = [seen(100.0), seen(150.0), seen(200.0)];
        let figures = figures(256, &levels, true);
        assert_eq!(figures.len(), 8);
        assert!((figures[1].ratio - 2.0).abs() < 1e-9 && figures[1].name.contains("`ring`"));
    }
}
