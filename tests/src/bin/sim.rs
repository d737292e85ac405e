//! What does one ask of the simulator from a shell? Many seeds for some minutes, or one seed with
//! all that happens in it.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use tidegate_tests::sim::plan::{Climate, Plan};
use tidegate_tests::sim::shrink::shrink;
use tidegate_tests::sim::{Outcome, run, runner};

const USAGE: &str = "tidegate-sim seeds FIRST COUNT MINUTES | seed SEED";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["seeds", first, count, minutes] => seeds(first, count, minutes),
        ["seed", seed] => number(seed).map(one),
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
