//! What does one ask of the simulator from a shell? Many seeds for some minutes, or one seed with
//! all that happens in it.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use tidegate_faults::{Bug, deaths};
use tidegate_tests::document;
use tidegate_tests::repository::root;
use tidegate_tests::sim::plan::{Climate, Plan};
use tidegate_tests::sim::planted::{Hunt, hunt, hunt_all};
use tidegate_tests::sim::shrink::shrink;
use tidegate_tests::sim::{Outcome, report, run, runner};

const USAGE: &str = "tidegate-sim seeds FIRST COUNT MINUTES | seed SEED [outside] \
    | planted SEEDS [BUG] | check COUNT MINUTES SEEDS | report COUNT MINUTES SEEDS";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["seeds", first, count, minutes] => seeds(first, count, minutes),
        ["seed", seed] => number(seed).map(one),
        ["seed", seed, "outside"] => {
            deaths::may_be_inside(false);
            number(seed).map(one)
        }
        ["check", count, minutes, planted] => check(count, minutes, planted, false),
        ["report", count, minutes, planted] => check(count, minutes, planted, true),
        ["planted", seeds] => number(seeds).map(|seeds| planted(seeds, None)),
        ["planted", seeds, bug] => number(seeds).map(|seeds| planted(seeds, Some(bug))),
        _ => None,
    };
    match done {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn seeds(first: &str, count: &str, minutes: &str) -> Option<bool> {
    let (first, count, minutes) = (number(first)?, number(count)?, number(minutes)?);
    let longest = Some(Duration::from_secs(minutes * 60));
    let summary = runner::run_seeds(first..first + count, longest);
    print!("{}", summary.describe());
    Some(summary.failed.is_none())
}

/// Seeds without a bug, and each planted bug; written down when that is wanted.
fn check(count: &str, minutes: &str, planted: &str, writes: bool) -> Option<bool> {
    let (count, minutes, planted) = (number(count)?, number(minutes)?, number(planted)?);
    let summary = runner::run_seeds(0..count, Some(Duration::from_secs(minutes * 60)));
    print!("{}", summary.describe());
    let hunts = hunt_all(planted);
    show_hunts(&hunts, planted);
    if writes {
        let record = root().join("docs/soak.jsonl");
        let record = std::fs::read_to_string(record).unwrap_or_default();
        document::write("reliability.md", "simulator", &report::simulator(&summary));
        document::write("reliability.md", "planted", &report::planted(&hunts, planted));
        document::write("reliability.md", "recovery", &report::recovery(&record));
    }
    Some(summary.failed.is_none() && hunts.iter().all(|hunt| hunt.found.is_some()))
}

/// Every bug is found, or the simulator is what is broken.
fn planted(seeds: u64, only: Option<&str>) -> bool {
    let hunts = match only {
        None => hunt_all(seeds),
        Some(name) => Bug::ALL
            .iter()
            .filter(|bug| bug.name() == name)
            .map(|bug| Hunt { bug: *bug, found: hunt(*bug, seeds) })
            .collect(),
    };
    show_hunts(&hunts, seeds);
    !hunts.is_empty() && hunts.iter().all(|hunt| hunt.found.is_some())
}

fn show_hunts(hunts: &[Hunt], seeds_max: u64) {
    for Hunt { bug, found } in hunts {
        match found {
            Some((seeds, how)) => println!("{seeds:>5} {:<26} {how}", bug.name()),
            None => println!("    - {:<26} not found within {seeds_max} seeds", bug.name()),
        }
    }
}

fn one(seed: u64) -> bool {
    let plan = Plan::new(seed, Climate::Foul);
    println!("{plan:#?}");
    let outcome = run(&plan, true);
    show(seed, &outcome);
    if outcome.violation.is_some()
        && let Some((small, outcome)) = shrink(&plan, SHRINKING_RUNS_MAX)
    {
        println!("\nThis much of it is enough:\n{small:#?}");
        show(seed, &outcome);
    }
    outcome.violation.is_none()
}

fn show(seed: u64, outcome: &Outcome) {
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("hash {:016x}, {} events", outcome.hash, outcome.events);
    for (name, count) in &outcome.counts {
        println!("{count:>9} {name}");
    }
    if let Some(violation) = &outcome.violation {
        println!("seed {seed} {violation}");
    }
}

/// Of a failing plan, to find how little of it fails too.
const SHRINKING_RUNS_MAX: usize = 400;
