//! How do we compare? Ours and another, by turns in one run, on the same core under the same load.
//!
//! Servers run on core 0, and this process, which is also the load, on core 1. A figure is the
//! median over pairs of short stretches, ours and the other's, which see the same moment of the
//! machine; the spread of the pairs' ratios stands beside it.

pub mod broker;
pub mod figure;
pub mod load;
pub mod memory;
pub mod permits;
pub mod process;
pub mod records;
pub mod report;
pub mod rings;
pub mod rows;
pub mod scale;
pub mod segments;
pub mod servers;
pub mod steady;
pub mod steering;
pub mod storm;
pub mod veth;
pub mod workers;

use std::io;
use std::time::Duration;

use load::Load;
use servers::Server;

/// A server and its load.
pub struct Side {
    /// Who is measured.
    pub server: Server,
    /// Who keeps it busy.
    pub load: Load,
}

impl Side {
    /// Server CPU of a request over one stretch, ns.
    pub fn cost_ns(&mut self, stretch: Duration) -> io::Result<f64> {
        let before = self.server.process.cpu()? + process::soft_interrupts();
        let slice = self.load.run(stretch)?;
        let after = self.server.process.cpu()? + process::soft_interrupts();
        let cpu = after.saturating_sub(before);
        if slice.completed == 0 {
            return Err(io::Error::other("no request was answered"));
        }
        if std::env::var_os(VERBOSE).is_some() {
            let rate = slice.completed as f64 / slice.wall.as_secs_f64();
            let busy = cpu.as_secs_f64() / slice.wall.as_secs_f64() * 100.0;
            let each = cpu.as_nanos() as f64 / slice.completed as f64;
            eprintln!("  {each:.0} ns, {rate:.0}/s, {busy:.0} % busy, {} lost", slice.lost);
        }
        Ok(cpu.as_nanos() as f64 / slice.completed as f64)
    }
}

/// Measures both by turns, the first of a pair first and last: A B, B A, A B…
pub fn by_turns(
    pairs: usize,
    mut ours: impl FnMut() -> io::Result<f64>,
    mut other: impl FnMut() -> io::Result<f64>,
) -> io::Result<Vec<(f64, f64)>> {
    let mut measured = Vec::with_capacity(pairs);
    for pair in 0..pairs {
        measured.push(if pair % 2 == 0 {
            let ours = ours()?;
            (ours, other()?)
        } else {
            let other = other()?;
            (ours()?, other)
        });
    }
    Ok(measured)
}

/// When this variable is set, each stretch is told, and servers may speak.
pub const VERBOSE: &str = "TIDEGATE_RATIO_VERBOSE";
