//! What does docs/reliability.md say? What the seeds came to, which bugs were found how soon, and
//! how the processes came back in the recorded soaks.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;
use tidegate_faults::Point;

use super::device::PADDING;
use super::planted::Hunt;
use super::runner::Summary;

/// The part about the simulator.
pub fn simulator(summary: &Summary) -> String {
    let mut text = String::new();
    let hours = summary.simulated_ms / 3_600_000;
    let times = summary.simulated_ms / summary.wall_ms.max(1);
    let seconds = summary.wall_ms.div_ceil(1_000);
    let _ = writeln!(text, "| | |\n|---|---|");
    let _ = writeln!(text, "| seeds | {} |", summary.runs);
    let failed = summary
        .failed
        .as_ref()
        .map_or("none".to_owned(), |(seed, how)| format!("seed {seed} {how}"));
    let _ = writeln!(text, "| of them failed | {failed} |");
    let _ = writeln!(text, "| time | {hours} h simulated in {seconds} s, {times} : 1 |");
    let _ = writeln!(text, "| events | {} |", summary.events);
    for (name, count) in &summary.counts {
        let _ = writeln!(text, "| {name} | {count} |");
    }
    let (died, points) = (summary.died_at.len(), Point::ALL.len());
    let _ = writeln!(text, "| crash points exercised | {died} / {points} |");
    for (what, counted) in
        [("ends of datagrams seen", &summary.fates), ("other counters moved", &summary.tallies)]
    {
        let seen = counted.values().filter(|count| **count > 0).count();
        let _ = writeln!(text, "| {what} | {seen} / {} |", counted.len());
    }
    let _ = writeln!(text, "\n| crash point | exercised |\n|---|---|");
    for point in Point::ALL {
        let is = if summary.died_at.contains(point) { "yes" } else { "no" };
        let _ = writeln!(text, "| {} | {is} |", point.help());
    }
    let _ = writeln!(text, "\n| end of a datagram | seen |\n|---|---|");
    for (name, count) in &summary.fates {
        let _ = writeln!(text, "| `{name}` | {count} |");
    }
    let missing = summary.tallies.iter().filter(|(_, count)| **count == 0);
    let missing: Vec<_> = missing.map(|(name, _)| format!("`{name}`")).collect();
    let _ = writeln!(text, "\nCounters that no seed moved: {}.", missing.join(", "));
    text
}

/// The part about planted bugs.
pub fn planted(hunts: &[Hunt], budget: u64) -> String {
    let mut text = String::new();
    let found = hunts.iter().filter(|hunt| hunt.found.is_some()).count();
    let _ = writeln!(text, "{found} of {} are found within {budget} seeds.\n", hunts.len());
    let _ = writeln!(text, "| bug | seeds | what does not hold |\n|---|---|---|");
    for Hunt { bug, found } in hunts {
        let (seeds, how) = match found {
            Some((seeds, how)) => (seeds.to_string(), how.as_str()),
            None => ("–".to_owned(), "not found"),
        };
        let how = how.split_once(" s: ").map_or(how, |(_, how)| how);
        // Without what makes bodies long.
        let how = how.replace(PADDING, "").replace('|', "\\|");
        let _ = writeln!(text, "| {} | {seeds} | {how} |", bug.help());
    }
    text
}

/// The part about recovery, from the record of soaks: one line of JSON each.
pub fn recovery(record: &str) -> String {
    let soaks: Vec<Value> =
        record.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if soaks.is_empty() {
        return "No soak is on record (docs/soak.jsonl).".to_owned();
    }
    let total = |name: &str| soaks.iter().filter_map(|soak| soak[name].as_u64()).sum::<u64>();
    let of = |name: &str| soaks.iter().filter_map(|soak| soak[name].as_u64()).max().unwrap_or(0);
    let mut text = format!(
        "{} runs, up to {} devices each, {} kills: {} requests acknowledged, of these lost **{}**; \
         {} arrived more than once; {} sessions lost.\n\n",
        soaks.len(),
        of("devices"),
        total("rounds"),
        total("acknowledged"),
        total("acknowledged_lost"),
        total("doubled"),
        total("sessions_lost"),
    );
    text.push_str(
        "| devices | killed | rounds | first reply, ms: median of medians, worst | \
         99 % back, ms | sessions kept | arrived twice |\n|---|---|---|---|---|---|---|\n",
    );
    let fleets: BTreeSet<u64> = soaks.iter().filter_map(|soak| soak["devices"].as_u64()).collect();
    let victims = ["dataplane", "controlplane", "both", "broker"];
    for (devices, victim) in fleets.iter().flat_map(|fleet| victims.map(|victim| (*fleet, victim)))
    {
        let of_fleet = soaks.iter().filter(|soak| soak["devices"] == devices);
        let rows = of_fleet.flat_map(|soak| soak["recovery"].as_array().into_iter().flatten());
        let rows: Vec<_> = rows.filter(|row| row["victim"] == victim).collect();
        let rounds: u64 = rows.iter().filter_map(|row| row["rounds"].as_u64()).sum();
        if rounds == 0 {
            continue;
        }
        let _ = writeln!(
            text,
            "| {devices} | {victim} | {rounds} | {} | {} | {} | {} |",
            times(&rows, "first_reply_ms"),
            times(&rows, "most_devices_ms"),
            kept(&rows),
            sum(&rows, "doubled").map_or("–".to_owned(), |doubled| doubled.to_string()),
        );
    }
    text
}

fn times(rows: &[&Value], name: &str) -> String {
    let of = |which: &str| -> Vec<u64> {
        rows.iter().filter_map(|row| row[name][which].as_u64()).collect()
    };
    let mut medians = of("median");
    medians.sort_unstable();
    match (medians.get(medians.len() / 2), of("worst").into_iter().max()) {
        (Some(median), Some(worst)) => format!("{median}, {worst}"),
        _ => "–".to_owned(),
    }
}

/// Sums a column that older lines of the record do not have.
fn sum(rows: &[&Value], name: &str) -> Option<u64> {
    let values: Vec<_> = rows.iter().filter_map(|row| row[name].as_u64()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

fn kept(rows: &[&Value]) -> String {
    match (sum(rows, "sessions"), sum(rows, "sessions_lost")) {
        (Some(sessions), Some(lost)) if sessions > 0 => {
            format!("{:.2} %", 100.0 * (1.0 - lost as f64 / sessions as f64))
        }
        _ => "–".to_owned(),
    }
}
