//! Does it hold when everything goes wrong? A whole Tidegate on one thread, with a clock that jumps
//! and one seed for all that happens by chance.
//!
//! ```text
//! devices ─▶ network ─▶ workers ═ rings ═ core ─▶ store (what is synced, what is not yet)
//!   CoAP      loses,     real,    real,    real ─▶ broker ─▶ subscriber ─▶ application
//!   by hand   bends      on heap  on heap                                        │
//!     ▲                                       requests for devices, answers ◀────┘
//! ```
//!
//! A [`plan::Plan`] says what a seed decides; [`run`] lets it happen. First the storm, in which
//! only safety is asked for; then everything heals, and every device must get through both ways.
//! The same plan leaves the same hash.

mod broker;
mod checks;
mod controlplane;
mod dataplane;
mod death;
mod device;
mod network;
pub mod plan;
#[cfg(feature = "armed")]
pub mod planted;
mod provision;
#[cfg(feature = "armed")]
pub mod report;
pub mod runner;
mod seed;
pub mod shrink;
mod stranger;
mod trace;
mod unsecured;
mod world;

use std::collections::BTreeSet;

use plan::Plan;
use tidegate_faults::Point;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Over everything that happened, in its order.
    pub hash: u64,
    /// How much that was.
    pub events: u64,
    /// How much time passed in it, milliseconds.
    pub simulated_ms: u64,
    /// What did not hold.
    pub violation: Option<String>,
    /// The last events before that, when they were wanted.
    pub lines: Vec<String>,
    /// What happened, by name.
    pub counts: Vec<(&'static str, u64)>,
    /// What its workers counted, all their lives together.
    pub counters: Vec<u64>,
    /// Where processes died.
    pub died_at: BTreeSet<Point>,
}

impl Outcome {
    /// How often this happened.
    ///
    /// # Panics
    /// If nothing has that name.
    pub fn count(&self, name: &str) -> u64 {
        let counted = self.counts.iter().find(|(counted, _)| *counted == name);
        counted.expect("a name that is counted").1
    }
}

/// Lets a plan happen. `keeps_lines`: for somebody to read.
pub fn run(plan: &Plan, keeps_lines: bool) -> Outcome {
    world::World::new(plan.clone(), keeps_lines).run()
}
