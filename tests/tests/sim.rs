//! Does everything hold when everything goes wrong? Some seeds of the simulator; `make sim` runs
//! more. A failure names the command that plays it again.

use tidegate_tests::sim::plan::{Climate, Plan};
use tidegate_tests::sim::runner;

#[cfg(not(feature = "armed"))]
const _: () = assert!(!tidegate_faults::IS_ARMED, "what is played here is what ships");

/// Seeds of one `make test`.
const SEEDS: u64 = 60;

/// The first thing a simulator has to show: nothing in it happens by chance.
#[test]
fn the_same_seed_leaves_the_same_trace() {
    for seed in 0..4 {
        let plan = Plan::new(seed, Climate::Foul);
        let (one, other) = (tidegate_tests::sim::run(&plan, false), runner::again(&plan));
        assert_eq!((one.hash, one.events), (other.hash, other.events), "seed {seed}");
        assert!(one.events > 300, "seed {seed}: something happened");
    }
}

/// Where nothing goes wrong nothing is missing, nothing doubles and nobody hears an error.
#[test]
fn in_fair_weather_everything_arrives_once() {
    for seed in 0..6 {
        let outcome = tidegate_tests::sim::run(&Plan::new(seed, Climate::Fair), false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert_eq!(outcome.count("events published again"), 0, "seed {seed}");
        assert!(outcome.count("uplinks acknowledged") > 10, "seed {seed}: {:?}", outcome.counts);
    }
}

#[test]
fn it_holds_in_foul_weather() {
    let summary = runner::run_seeds(0..SEEDS, None);
    assert_eq!(summary.failed, None, "{}", summary.describe());
    assert_eq!(summary.runs, SEEDS);
}
