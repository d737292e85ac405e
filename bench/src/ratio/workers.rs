//! What do two workers do on two cores? The load is on one of those cores too, so that throughput
//! says nothing here; what each worker pays for a request does: twice the capacity is the same cost
//! twice.

use std::io;
use std::time::Duration;

use super::figure::{Figure, Goal, median};
use super::load::Load;
use super::process::{OWN_CORE, Place, SERVER_CORE};
use super::servers::Edge;
use super::steady::plan;
use super::{Side, by_turns};

/// Requests that two workers could serve a second, each with a core to itself, against one.
pub fn two_against_one(pairs: usize, stretch: Duration) -> io::Result<Figure> {
    let cores = format!("{SERVER_CORE},{OWN_CORE}");
    let place = Place { cores, namespace: None };
    let server = Edge { workers: 2, place, ..Edge::default() }.start()?;
    let load = Load::dtls(server.address, &plan())?;
    let mut two = Side { server, load };
    let server = Edge::default().start()?;
    let load = Load::dtls(server.address, &plan())?;
    let mut one = Side { server, load };

    two.cost_ns(stretch)?;
    one.cost_ns(stretch)?;
    // Both workers serve about half of the devices: what a request costs on average is what each
    // worker pays, and two workers can serve twice as many as one would at that cost.
    let capacity = |ns: f64, workers: f64| workers * 1e9 / ns;
    let pairs = by_turns(
        pairs,
        || Ok(capacity(two.cost_ns(stretch)?, 2.0)),
        || Ok(capacity(one.cost_ns(stretch)?, 1.0)),
    )?;
    let shares = two.server.process.cpu_of_threads()?;
    let times: Vec<f64> = shares.iter().map(|(_, time)| time.as_secs_f64()).collect();
    let total: f64 = times.iter().sum();
    let share = median(times.iter().map(|time| time / total));
    let name = format!(
        "two workers against one, requests a CPU second times workers (shares {:.0}/{:.0} %)",
        share.min(times[0] / total) * 100.0,
        (1.0 - share.min(times[0] / total)) * 100.0
    );
    Ok(Figure::from_pairs(name, "requests/s", &pairs, Some(Goal::AtLeast(1.8))))
}
