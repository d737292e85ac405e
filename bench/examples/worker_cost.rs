//! What does a request cost in the worker on a machine that others use too? Nanoseconds a request:
//! the best and the median of many short slices, 44 bytes over DTLS with a Connection ID.
//!
//! ```sh
//! cargo run --release -p tidegate-bench --example worker_cost [echo|publish] [sessions] [seconds]
//! ```

use std::time::{Duration, Instant};
use tidegate_bench::rig::{Rig, Route};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize| arguments.get(n).and_then(|text| text.parse::<usize>().ok());
    let routes: &[Route] = match arguments.first().map(String::as_str) {
        Some("echo") => &[Route::Echo],
        Some("publish") => &[Route::Publish],
        _ => &[Route::Echo, Route::Publish],
    };
    let sizes = number(1).map_or_else(|| vec![1_000, 100_000, 1_000_000], |size| vec![size]);
    let span = Duration::from_secs(number(2).unwrap_or(1) as u64);
    for route in routes {
        for sessions in &sizes {
            let (best, median) = cost_ns(&mut Rig::new(*sessions, *route), span);
            println!("{route:?} {sessions} sessions: {best:.0} ns best, {median:.0} ns median");
        }
    }
}

/// Best and median of the slices that fit into `span`, ns a request.
fn cost_ns(rig: &mut Rig, span: Duration) -> (f64, f64) {
    let mut slice = || {
        let turn = |_| {
            rig.fill(BATCH, 44);
            rig.turn(BATCH)
        };
        let elapsed: Duration = (0..TURNS).map(turn).sum();
        elapsed.as_nanos() as f64 / (TURNS * BATCH) as f64
    };
    for _ in 0..20 {
        slice();
    }
    let begun = Instant::now();
    let mut slices = Vec::new();
    while begun.elapsed() < span {
        slices.push(slice());
    }
    slices.sort_by(f64::total_cmp);
    (slices[0], slices[slices.len() / 2])
}

const BATCH: usize = 64;
const TURNS: usize = 100;
