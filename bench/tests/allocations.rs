//! Does the worker allocate in steady state? It does not, and the counter that says so can count.

use tidegate_bench::rig::Rig;

const ROUNDS: usize = 200;
const BATCH: usize = 64;

#[test]
fn a_request_costs_no_allocation() {
    let mut rig = Rig::new(1_000);
    // What grows on first use has grown then: ring buffers, tables of waiting requests.
    for _ in 0..ROUNDS {
        rig.fill(BATCH, 44);
        rig.turn(BATCH);
    }
    let before = rig.replies();
    let mut counted = 0;
    for _ in 0..ROUNDS {
        rig.fill(BATCH, 44);
        counted += allocation_counter::measure(|| rig.turn(BATCH)).count_total;
    }
    assert_eq!(rig.replies() - before, (ROUNDS * BATCH) as u64, "every request is answered");
    assert_eq!(counted, 0);
}

/// The control: the counter sees one boxed byte.
#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1u8))));
    assert_eq!(counted.count_total, 1);
}
