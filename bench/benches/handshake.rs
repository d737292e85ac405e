//! What does a handshake cost a server, in every mode, and what does it cost OpenSSL and dimpl?
//!
//! All servers run in this process (`tidegate_bench::handshake`). The table at the end takes them
//! by turns and leaves out handshakes that the kernel interrupted, so that a busy machine distorts
//! little; `cargo bench -p tidegate-bench --bench handshake -- table` makes it alone.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_bench::handshake::{Cost, Credentials, MODES, Rig};
use tidegate_bench::ratio::figure::median;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn handshakes(criterion: &mut Criterion) {
    let credentials = Credentials::new();
    let mut group = criterion.benchmark_group("handshake");
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for mode in MODES {
        let mut rig = Rig::ours(mode, &credentials);
        let mut measure = |name: &str, part: fn(Cost) -> Duration| {
            group.bench_function(format!("{}: {name}", mode.name), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| part(rig.shake())).sum());
            });
        };
        measure("server's share", |cost| cost.server);
        measure("both ends", |cost| cost.server + cost.client);
        let Some(mut rig) = Rig::openssl(mode, &credentials) else { continue };
        group.bench_function(format!("{}: OpenSSL server's share", mode.name), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| rig.shake().server).sum());
        });
    }
    group.finish();
    table(&credentials);
}

/// Handshakes of each server for one row of the table, by turns of so many.
const SAMPLES: usize = 400;
const TURN: usize = 10;

/// Ours beside OpenSSL's and dimpl's.
fn table(credentials: &Credentials) {
    println!("\nthe server's share of a handshake, median of {SAMPLES} that nobody interrupted");
    println!("{} and dimpl 0.9, in the same process, by turns\n", openssl::version::version());
    println!("| mode | µs | a second and core | OpenSSL | µs | ratio | dimpl, µs | ratio |");
    println!("|---|---:|---:|---|---:|---:|---:|---:|");
    for mode in MODES {
        let mut rigs = [
            Some(Rig::ours(mode, credentials)),
            Rig::openssl(mode, credentials),
            Rig::dimpl(mode, credentials),
        ];
        let mut samples = [const { Vec::new() }; 3];
        for _ in 0..SAMPLES / TURN {
            for (rig, samples) in rigs.iter_mut().zip(&mut samples) {
                let Some(rig) = rig else { continue };
                samples.extend((0..TURN).map(|_| rig.uninterrupted_us()));
            }
        }
        let [ours, openssl, dimpl] = samples.map(|us| (!us.is_empty()).then(|| median(us)));
        let us = ours.expect("ours has every mode");
        let beside = |theirs: Option<f64>| {
            theirs.map_or_else(
                || "– | –".to_owned(),
                |theirs| format!("{theirs:.1} | {:.2}", theirs / us),
            )
        };
        let suite = mode.openssl.unwrap_or("not in this version");
        println!(
            "| {} | {us:.1} | {:.0} | {suite} | {} | {} |",
            mode.name,
            1e6 / us,
            beside(openssl),
            beside(dimpl)
        );
    }
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
