//! Does the simulator see what is wrong? Every bug of `faults/`, planted into the edge by itself,
//! has to be found within so many seeds; a bug that is not shows what the checkers do not look at.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_faults::{Bug, plant};

use super::plan::{Climate, Plan};
use super::run;

/// What became of one planted bug.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Which.
    pub bug: Bug,
    /// Seeds it took, and what did not hold then.
    pub found: Option<(u64, String)>,
}

/// Hunts every bug, as many at a time as there are cores, each for `seeds_max` seeds at most.
pub fn hunt_all(seeds_max: u64) -> Vec<Hunt> {
    // A planted bug may run into an assertion of the edge: that counts as found, and says enough.
    std::panic::set_hook(Box::new(|_| ()));
    let (next, hunts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while let Some((at, bug)) = take(&next) {
            let found = hunt(bug, seeds_max);
            let mut hunts = hunts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            hunts.push((at, Hunt { bug, found }));
        }
    };
    std::thread::scope(|scope| {
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    let mut hunts = hunts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let _ = std::panic::take_hook();
    hunts.sort_by_key(|(at, _)| *at);
    hunts.into_iter().map(|(_, hunt)| hunt).collect()
}

fn take(next: &AtomicUsize) -> Option<(usize, Bug)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Bug::ALL.get(at).map(|bug| (at, *bug))
}

/// How many seeds one bug takes, and what does not hold then.
pub fn hunt(bug: Bug, seeds_max: u64) -> Option<(u64, String)> {
    (0..seeds_max).find_map(|seed| {
        let plan = Plan::new(seed, Climate::Foul);
        plant(Some(bug));
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&plan, false)));
        plant(None);
        let violation = match outcome {
            Ok(outcome) => outcome.violation?,
            // The edge has noticed by itself.
            Err(cause) => {
                let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
                format!("the edge panics: {}", text.unwrap_or_default())
            }
        };
        // What fails without the bug too was not found by it.
        run(&plan, false).violation.is_none().then_some((seed + 1, violation))
    })
}
