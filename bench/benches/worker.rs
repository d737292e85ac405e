//! What does a request cost in the worker, sockets aside? Datagram in, reply out.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::cell::RefCell;
use tidegate_bench::rig::Rig;

fn con_put(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("worker: CON PUT, 44 bytes, DTLS with CID, 2.04");
    for (sessions, batch) in [(1_000, 1), (1_000, 64), (100_000, 64)] {
        let rig = RefCell::new(Rig::new(sessions));
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("{sessions} sessions, batches of {batch}"), |bencher| {
            let fill = || rig.borrow_mut().fill(batch, 44);
            bencher.iter_batched(fill, |()| rig.borrow_mut().turn(batch), BatchSize::PerIteration);
        });
        let rig = rig.into_inner();
        assert!(rig.replies() > 0, "every request is answered");
    }
    group.finish();
}

criterion_group!(benches, con_put);
criterion_main!(benches);
