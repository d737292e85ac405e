//! Does the worker allocate in steady state? It does not, and the counter that says so can count.

use tidegate_bench::rig::{Rig, Route};

const ROUNDS: usize = 200;
const BATCH: usize = 64;

/// Allocations of the worker over many batches, once what grows on first use has grown: ring
/// buffers, tables of waiting requests.
fn counted(rig: &mut Rig) -> u64 {
    let before = rig.replies();
    let counted = allocations(rig);
    assert_eq!(rig.replies() - before, 2 * (ROUNDS * BATCH) as u64, "every request is answered");
    counted
}

/// The same, whatever is answered.
fn allocations(rig: &mut Rig) -> u64 {
    for _ in 0..ROUNDS {
        rig.fill(BATCH, 44);
        rig.turn(BATCH);
    }
    let mut counted = 0;
    for _ in 0..ROUNDS {
        rig.fill(BATCH, 44);
        counted += allocation_counter::measure(|| {
            rig.turn(BATCH);
        })
        .count_total;
    }
    counted
}

#[test]
fn a_request_costs_no_allocation() {
    for route in [Route::Echo, Route::Publish] {
        assert_eq!(counted(&mut Rig::new(1_000, route)), 0, "{route:?}");
    }
}

/// Every second block makes a body whole, which is published and answered.
#[test]
fn a_body_in_bursts_costs_no_allocation() {
    let mut rig = Rig::new(1_000, Route::Publish);
    rig.burst();
    assert_eq!(allocations(&mut rig), 0);
    let whole = rig.worker().counters().of(tidegate_dataplane::fate::Tally::UploadWhole);
    assert!(whole > (ROUNDS * BATCH) as u64 * 9 / 10, "{whole}");
}

/// Behind a NAT that forgets, every request of a device comes from another port.
#[test]
fn a_device_that_moves_with_every_request_costs_no_allocation() {
    for route in [Route::Echo, Route::Publish] {
        let mut rig = Rig::new(1_000, route);
        rig.rebind();
        assert_eq!(counted(&mut rig), 0, "{route:?}");
        let moved = rig.worker().counters().of(tidegate_dataplane::fate::Tally::AddressMoved);
        assert!(moved > (ROUNDS * BATCH) as u64, "they did move: {moved}");
    }
}

/// The control: the counter sees one boxed byte.
#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1u8))));
    assert_eq!(counted.count_total, 1);
}
