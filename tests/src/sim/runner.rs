//! How are many seeds played? On every core, until one fails or the time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_dataplane::fate::{Counters, Fate};
use tidegate_faults::{Point, deaths};

use super::plan::{Climate, Plan};
use super::{Outcome, run};

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs without a violation, and with one.
    pub runs: u64,
    /// Simulated milliseconds of all.
    pub simulated_ms: u64,
    /// Wall clock, milliseconds.
    pub wall_ms: u64,
    /// Events of all.
    pub events: u64,
    /// The lowest seed that failed, and what did not hold.
    pub failed: Option<(u64, String)>,
    /// What happened, by name.
    pub counts: Vec<(&'static str, u64)>,
    /// Where processes died.
    pub died_at: BTreeSet<Point>,
    /// How datagrams ended, and what else workers count, by name.
    pub fates: BTreeMap<&'static str, u64>,
    /// See [`Self::fates`].
    pub tallies: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.runs += 1;
        self.simulated_ms += outcome.simulated_ms;
        self.events += outcome.events;
        if self.counts.is_empty() {
            self.counts = outcome.counts;
        } else {
            let pairs = self.counts.iter_mut().zip(&outcome.counts);
            pairs.for_each(|((_, all), (_, one))| *all += one);
        }
        self.died_at.extend(outcome.died_at);
        let names = Counters::names().zip(&outcome.counters);
        for (at, (name, count)) in names.enumerate() {
            let counted = if at < Fate::ALL.len() { &mut self.fates } else { &mut self.tallies };
            *counted.entry(name).or_insert(0) += count;
        }
        let is_first = self.failed.as_ref().is_none_or(|(failed, _)| seed < *failed);
        if let Some(violation) = outcome.violation
            && is_first
        {
            self.failed = Some((seed, violation));
        }
    }

    /// For people: what ran, what failed, and how to see it again.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        if let Some((seed, violation)) = &self.failed {
            let _ = writeln!(text, "seed {seed} {violation}");
            let _ = writeln!(text, "again: {}", command(*seed));
        }
        let times = self.simulated_ms / self.wall_ms.max(1);
        let hours = self.simulated_ms / 3_600_000;
        let _ = writeln!(
            text,
            "{} seeds, {hours} h simulated ({times} times the wall clock), {} events",
            self.runs, self.events
        );
        for (name, count) in &self.counts {
            let _ = writeln!(text, "  {count:>9} {name}");
        }
        let missing = Point::ALL.iter().filter(|point| !self.died_at.contains(point));
        let missing: Vec<_> = missing.map(|point| format!("{point:?}")).collect();
        let (died, points) = (self.died_at.len(), Point::ALL.len());
        let _ = writeln!(text, "crash points {died}/{points}, not {}", missing.join(", "));
        for (what, counted) in [("fates", &self.fates), ("tallies", &self.tallies)] {
            let missing = counted.iter().filter(|(_, count)| **count == 0);
            let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
            let (seen, all) = (counted.len() - missing.len(), counted.len());
            let _ = writeln!(text, "{what} {seen}/{all}, not {}", missing.join(", "));
        }
        text
    }
}

/// The command that plays one seed again.
pub fn command(seed: u64) -> String {
    let inside = tidegate_faults::IS_ARMED && deaths::is_inside();
    format!("make sim SEED={seed}{}", if inside { "" } else { " INSIDE=no" })
}

/// Plays these seeds, as many at a time as there are cores; ends at the first failure, or when
/// `longest` has passed.
pub fn run_seeds(seeds: Range<u64>, longest: Option<Duration>) -> Summary {
    let started = Instant::now();
    let (next, is_over) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let play = || {
        while !is_over.load(Ordering::Relaxed)
            && longest.is_none_or(|longest| started.elapsed() < longest)
        {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run(&Plan::new(seed, Climate::Foul), false);
            is_over.fetch_or(outcome.violation.is_some(), Ordering::Relaxed);
            let mut summary = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            summary.add(seed, outcome);
        }
    };
    std::thread::scope(|scope| {
        (0..cores).for_each(|_| drop(scope.spawn(play)));
    });
    let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.wall_ms = started.elapsed().as_millis() as u64;
    summary
}

/// The same plan in another thread, beside whose tables nothing lies as it did here.
pub fn again(plan: &Plan) -> Outcome {
    std::thread::scope(|scope| {
        let played = scope.spawn(|| run(plan, false)).join();
        played.expect("what ran once runs again")
    })
}
