//! Does the edge keep its promises for hours? Kills under load, round after round, each piece one
//! line of JSON, which `make soak` appends to the record.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidegate_tests::soak::{self, Options};

fn main() -> ExitCode {
    let minutes = argument("SOAK_MINUTES", 60);
    let devices = argument("SOAK_DEVICES", 500) as u32;
    let seed = argument("SOAK_SEED", rand::random::<u32>().into());
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut is_well = true;
    // In pieces: each has its own seed and edge, and is on record whatever comes later.
    for piece in 0.. {
        let options = Options {
            devices,
            rounds: ROUNDS,
            seed: seed.wrapping_add(piece),
            pause_ms: PAUSE_MS.max(devices.into()),
            victims: soak::VICTIMS,
        };
        let report = soak::run(&options, |number, round| {
            eprintln!(
                "round {number}: {:?}, first reply {:?}, most devices {:?}",
                round.victim, round.first, round.most
            );
        });
        println!("{}", report.json(&options));
        is_well &= report.lost == 0 && report.invented == 0;
        if Instant::now() >= end {
            break;
        }
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A whole number from the environment.
fn argument(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(or)
}

/// A device's pause, on average, milliseconds; more than so many devices send a thousand requests a
/// second together: two cores have to run them, the edge and the broker.
const PAUSE_MS: u64 = 500;
/// Kills of one piece.
const ROUNDS: u32 = 25;
