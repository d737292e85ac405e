//! What does it cost to find a session by its Connection ID? Among few, and among so many that each
//! is read from memory: one at a time, and a batch that is asked for at once.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tidegate_dataplane::bounds::BATCH_MAX;
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::slab::{CID_BYTES, Slab};
use tidegate_dtls::Established;
use zerocopy::FromZeros;

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session lookup");
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    for sessions in [1_000, 1_000_000] {
        let (slab, cids) = filled(sessions);
        for (name, is_asked_for) in [("one by one", false), ("prefetched", true)] {
            let mut at = 0;
            group.bench_function(BenchmarkId::new(name, sessions), |bencher| {
                bencher.iter(|| {
                    at = (at + BATCH_MAX) % (cids.len() - BATCH_MAX);
                    let batch = &cids[at..at + BATCH_MAX];
                    if is_asked_for {
                        for cid in batch {
                            slab.prefetch(*cid);
                        }
                    }
                    let found = batch.iter().filter_map(|cid| slab.find(cid));
                    black_box(found.map(|slot| slab.get(slot).last_seen_s).sum::<u32>())
                });
            });
        }
    }
    group.finish();
}

/// A slab full of sessions, and their Connection IDs in an order that no hardware guesses.
fn filled(sessions: usize) -> (Slab, Vec<[u8; CID_BYTES]>) {
    let mut slab = Slab::anonymous(0, sessions as u32).expect("memory");
    for number in 0..sessions {
        let slot = slab.reserve(Peer::default(), number as u16, 1).expect("room");
        slab.establish(slot, [1; 16], 1, Established::new_zeroed(), 0);
    }
    // A prime that divides neither: every session comes once.
    let cids = (0..sessions).map(|n| slab.cid((n * 611_953 % sessions) as u32)).collect();
    (slab, cids)
}

criterion_group!(benches, lookup);
criterion_main!(benches);
