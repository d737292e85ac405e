//! How fast are the rings between two processes? As `ring/examples/two_processes.rs` tells it.

use std::io;
use std::process::Command;

use super::figure::{Figure, Goal};
use super::servers::built;

/// Millions of 256-byte messages a second, against the 20 that are wanted.
pub fn messages() -> io::Result<Figure> {
    let program = built("tidegate-ratio")?.with_file_name("examples").join("two_processes");
    let told = Command::new("taskset").args(["-c", "0,1"]).arg(program).output()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let rates = told.lines().filter_map(|line| {
        let (_, rest) = line.split_once("entries: ")?;
        rest.split_once(" M/s")?.0.trim().parse::<f64>().ok()
    });
    let pairs: Vec<(f64, f64)> = rates.map(|rate| (rate, WANTED)).collect();
    if pairs.is_empty() {
        return Err(io::Error::other("the example of the rings told no rate"));
    }
    let name = "ring: 256-byte messages across processes, against the 20 M/s wanted";
    Ok(Figure::from_pairs(name, "M/s", &pairs, Some(Goal::AtLeast(1.0))))
}

const WANTED: f64 = 20.0;
