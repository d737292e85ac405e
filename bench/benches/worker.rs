//! What does a request cost in the worker, sockets aside? Datagram in, reply out.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use tidegate_bench::rig::{Rig, Route};

/// CON PUT of 44 bytes over DTLS with a Connection ID, answered 2.04.
fn con_put(criterion: &mut Criterion) {
    for (route, name) in [(Route::Echo, "worker/echo"), (Route::Publish, "worker/publish")] {
        let mut group = criterion.benchmark_group(name);
        for (sessions, batch) in [(1_000, 1), (1_000, 64), (100_000, 64), (1_000_000, 64)] {
            let mut rig = Rig::new(sessions, route);
            group.throughput(Throughput::Elements(batch as u64));
            let id = BenchmarkId::new(format!("{sessions} sessions"), format!("batch {batch}"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|turns| run(&mut rig, turns, batch));
            });
        }
        group.finish();
    }
}

/// How long the worker took for so many batches.
fn run(rig: &mut Rig, turns: u64, batch: usize) -> Duration {
    let before = rig.replies();
    let turn = |_| {
        rig.fill(batch, 44);
        rig.turn(batch)
    };
    let elapsed = (0..turns).map(turn).sum();
    assert_eq!(rig.replies() - before, turns * batch as u64, "every request is answered");
    elapsed
}

criterion_group!(benches, con_put);
criterion_main!(benches);
