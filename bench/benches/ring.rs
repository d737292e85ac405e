//! What does an entry cost on its way through a ring? Within one thread (the instructions alone)
//! and between two (and the cache lines that travel). Across processes: the ring crate's example
//! `two_processes`.

use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate_ring::{Consumer, Producer, ReleaseLedger, heap_pair};

const CAPACITY_BYTES: usize = 1 << 20;
const BATCH: u64 = 64;
const KIND: u8 = 2;

/// Batches of reserve, fill, commit; then next and one release.
fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring/one_thread");
    group.throughput(Throughput::Elements(BATCH));
    for len in [32, 256, 1024, 2048] {
        group.bench_with_input(BenchmarkId::from_parameter(len), &len, |b, &len| {
            let (mut producer, mut consumer) = heap_pair(CAPACITY_BYTES);
            b.iter(|| {
                for _ in 0..BATCH {
                    assert!(put(&mut producer, len));
                }
                assert_eq!(take(&mut consumer), BATCH);
            });
        });
    }
    group.finish();
}

/// The same from one thread to another, the ring never waiting for a sleeper.
fn two_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring/two_threads");
    group.throughput(Throughput::Elements(1));
    for len in [32, 256, 1024] {
        group.bench_with_input(BenchmarkId::from_parameter(len), &len, |b, &len| {
            b.iter_custom(|entries| cross(entries, len));
        });
    }
    group.finish();
}

fn cross(entries: u64, len: usize) -> Duration {
    let (mut producer, mut consumer) = heap_pair(CAPACITY_BYTES);
    thread::scope(|scope| {
        let begin = Instant::now();
        scope.spawn(move || {
            for _ in 0..entries {
                while !put(&mut producer, len) {
                    spin_loop();
                }
            }
        });
        let mut taken = 0;
        while taken < entries {
            taken += take(&mut consumer);
        }
        begin.elapsed()
    })
}

/// Completion out of order: pairs swapped, as PUBACKs of two connections come.
fn ledger(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring/ledger");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("swapped_pairs", |b| {
        let (mut producer, mut consumer) = heap_pair(CAPACITY_BYTES);
        let mut ledger = ReleaseLedger::new(BATCH as usize);
        b.iter(|| {
            let mut seqs = [None; BATCH as usize];
            for seq in &mut seqs {
                *seq = producer.push(KIND, &[], 0).ok();
            }
            while let Ok(Some(entry)) = consumer.next() {
                let _ = ledger.taken(entry.seq);
            }
            for pair in seqs.chunks(2) {
                for seq in pair.iter().rev().flatten() {
                    if let Some(seq) = ledger.done(*seq) {
                        consumer.release(seq);
                    }
                }
            }
            assert_eq!(ledger.outstanding(), 0);
        });
    });
    group.finish();
}

fn put(producer: &mut Producer, len: usize) -> bool {
    let Ok(mut grant) = producer.reserve(KIND, len, 0) else { return false };
    grant.bytes_mut().fill(0x5a);
    grant.commit();
    true
}

/// Up to a batch, one release for all of it; how many.
fn take(consumer: &mut Consumer) -> u64 {
    let (mut count, mut last) = (0, None);
    while count < BATCH
        && let Ok(Some(entry)) = consumer.next()
    {
        black_box(entry.bytes);
        last = Some(entry.seq);
        count += 1;
    }
    if let Some(seq) = last {
        consumer.release(seq);
    }
    count
}

criterion_group!(benches, one_thread, two_threads, ledger);
criterion_main!(benches);
