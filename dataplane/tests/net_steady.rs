//! Does the network allocate once it is open? Not for datagrams of any length, bursts, bells, sends
//! that fail, or receives that must be begun again.
#![allow(clippy::unwrap_used, unsafe_code)]

mod net_rig;

use net_rig::{LONG, Rig, client};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;
use tidegate_dataplane::bounds::BATCH_MAX;
use tidegate_dataplane::config::Backend;
use tidegate_dataplane::net::peer::Peer;

on_both_backends! {
    nothing_is_allocated_after_the_start;
}

fn nothing_is_allocated_after_the_start(backend: Backend) {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let mut rig = Rig::open(backend, &[listen]);
        let mut address = rig.addresses[0];
        address.set_ip("127.0.0.1".parse().unwrap());
        let client = client(address);
        // A broadcast address, which the kernel refuses.
        let refused = Peer::new("255.255.255.255:9".parse().unwrap(), 0);
        let before = allocations();
        for round in 0..100 {
            let count = if round % 7 == 0 { 2 * BATCH_MAX + 3 } else { round % 60 + 1 };
            turn(&mut rig, &client, refused, count);
        }
        assert_eq!(allocations(), before, "{listen}");
        let stats = rig.net.stats();
        assert!(stats.zero_length > 0 && stats.truncated > 0 && stats.send_errors.forbidden > 0);
    }
}

/// `count` datagrams come and go back, of 0 to 1 599 bytes.
fn turn(rig: &mut Rig, client: &UdpSocket, refused: Peer, count: usize) {
    let mut bytes = [0; 2_048];
    for number in 0..count {
        client.send(&bytes[..number * 13 % 1_600]).unwrap();
    }
    rig.bell.ring();
    let mut reaped = 0;
    while reaped < count {
        rig.net.wait(LONG);
        let mut batch = rig.net.reap();
        reaped += batch.len();
        for datagram in batch.iter_mut() {
            let index = rig.outbox.begin(datagram.peer).unwrap();
            rig.outbox.commit(index, datagram.bytes.len());
        }
        drop(batch);
        let index = rig.outbox.begin(refused).unwrap();
        rig.outbox.commit(index, 1);
        rig.net.flush(&mut rig.outbox);
    }
    client.set_nonblocking(true).unwrap();
    while client.recv(&mut bytes).is_ok() {}
}

/// Counts this thread's allocations.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn allocations() -> usize {
    ALLOCATIONS.get()
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is the system allocator's, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(memory, layout) }
    }
}
