//! Who may attach to a worker's rings, when, and what does each find there?
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod run_dir;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::time::Duration;

use run_dir::RunDir;
use tidegate_ring::link::{ControlEnds, LinkError, WorkerEnds, control_side, scan, worker_side};
use tidegate_ring::{Consumer, Corrupt, Doorbell};

const CAPACITY: usize = 4096;
const OTHER_VERSION: u64 = 0x1_ffff_ffff;

fn both(dir: &RunDir) -> (WorkerEnds, ControlEnds) {
    let worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
    (worker, control_side(dir.path(), 0).unwrap())
}

fn kinds(consumer: &mut Consumer) -> Vec<u8> {
    std::iter::from_fn(|| consumer.next().unwrap().map(|entry| entry.kind)).collect()
}

fn overwrite(dir: &RunDir, name: &str, word: u64, value: u64) {
    let file = fs::OpenOptions::new().write(true).open(dir.path().join(name)).unwrap();
    file.write_all_at(&value.to_le_bytes(), word * 8).unwrap();
}

#[test]
fn entries_cross_both_ways_and_ring_the_bells() {
    let dir = RunDir::new();
    let (mut worker, mut control) = both(&dir);
    assert!(control.up.prepare_sleep() && worker.down.prepare_sleep());

    worker.up.push(2, &[b"uplink"], 0).unwrap();
    assert!(!control.bell.wait(Duration::ZERO), "committed, not rung");
    assert!(worker.up.wake_if_sleeping());
    assert!(control.bell.wait(Duration::ZERO) && !worker.bell.wait(Duration::ZERO));
    control.bell.drain();
    assert!(!control.bell.wait(Duration::ZERO));
    assert_eq!(control.up.next().unwrap().unwrap().bytes, b"uplink");

    control.down.push(36, &[b"down", b"link"], 0).unwrap();
    assert!(control.down.wake_if_sleeping() && worker.bell.wait(Duration::ZERO));
    assert_eq!(worker.down.next().unwrap().unwrap().bytes, b"downlink");
}

/// Either side goes and comes back, in any order; what was not released is there again, and the
/// writer goes on behind what it had committed.
#[test]
fn either_side_restarts_at_every_step() {
    let dir = RunDir::new();
    let mut worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
    worker.up.push(1, &[], 0).unwrap();
    drop(worker); // before the control plane was ever there

    let mut control = control_side(dir.path(), 0).unwrap();
    assert_eq!(kinds(&mut control.up), [1]);
    drop(control); // read, not released; the worker is away
    let mut control = control_side(dir.path(), 0).unwrap();

    let mut worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
    worker.up.reserve(9, 100, 0).unwrap().bytes_mut().fill(9);
    drop(worker); // reserved, not committed

    let mut worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
    let second = worker.up.push(2, &[b"x"], 0).unwrap();
    assert_eq!(kinds(&mut control.up), [1, 2]);
    control.up.release(second);
    drop(worker);
    drop(control); // both are away

    let mut control = control_side(dir.path(), 0).unwrap();
    let mut worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
    assert_eq!(kinds(&mut control.up), []);
    assert_eq!(worker.up.free_bytes(), CAPACITY);
    worker.up.push(3, &[], 0).unwrap();
    assert_eq!(kinds(&mut control.up), [3]);
}

/// A worker killed between its commit and the bell: its successor rings.
#[test]
fn a_restarted_producer_rings_for_its_former_self() {
    let dir = RunDir::new();
    let (mut worker, mut control) = both(&dir);
    assert!(control.up.prepare_sleep());
    worker.up.push(1, &[], 0).unwrap();
    drop(worker);
    assert!(!control.bell.wait(Duration::ZERO));
    let _worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
    assert!(control.bell.wait(Duration::ZERO));
}

#[test]
fn one_live_process_per_side() {
    let dir = RunDir::new();
    let (worker, control) = both(&dir);
    let refused = worker_side(dir.path(), 0, CAPACITY).err().unwrap();
    assert!(matches!(refused, LinkError::Busy { side: "dataplane", .. }));
    assert!(refused.to_string().starts_with("another dataplane is running: it holds "));
    let refused = control_side(dir.path(), 0).err().unwrap();
    assert!(matches!(refused, LinkError::Busy { side: "controlplane", .. }));

    drop(control);
    drop(worker);
    both(&dir);
}

#[test]
fn the_control_plane_takes_what_it_finds() {
    let dir = RunDir::new();
    assert_eq!(scan(dir.path()).unwrap(), []);
    assert!(matches!(control_side(dir.path(), 0), Err(LinkError::Absent { .. })));
    for n in [10, 2, 255] {
        worker_side(dir.path(), n, CAPACITY).unwrap();
    }
    fs::write(dir.path().join("worker-256.up"), b"").unwrap();
    fs::write(dir.path().join("worker-x.up"), b"").unwrap();
    assert_eq!(scan(dir.path()).unwrap(), [2, 10, 255]);
    assert_eq!(control_side(dir.path(), 10).unwrap().worker, 10);
}

#[test]
fn everything_is_private_to_the_user() {
    let dir = RunDir::new();
    let _ends = both(&dir);
    let mut names = Vec::new();
    for file in fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    let expected = ["controlplane.lock", "dataplane.lock", "down", "down.bell", "up", "up.bell"];
    assert_eq!(names, expected.map(|name| format!("worker-0.{name}")), "no temporary file stays");
}

/// A ring of another contract is refused by the control plane and replaced by the worker; a
/// control plane that held the old one notices.
#[test]
fn a_ring_of_another_version_is_replaced() {
    let dir = RunDir::new();
    let (worker, control) = both(&dir);
    drop(worker);
    overwrite(&dir, "worker-0.up", 1, OTHER_VERSION);
    assert!(control.is_current());
    let _worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
    assert!(!control.is_current());
    drop(control);
    assert!(control_side(dir.path(), 0).unwrap().is_current());

    overwrite(&dir, "worker-0.down", 1, OTHER_VERSION);
    let refused = control_side(dir.path(), 0).err().unwrap();
    let LinkError::Unusable { corrupt, .. } = refused else { panic!("{refused}") };
    assert_eq!(corrupt, Corrupt::Version(OTHER_VERSION));
}

/// Impossible cursors: the control plane refuses, the worker starts anew.
#[test]
fn a_ring_with_impossible_cursors_is_replaced() {
    for (word, value) in [(16, 4), (16, 4104), (32, 8), (16, u64::MAX - 7), (32, u64::MAX)] {
        let dir = RunDir::new();
        drop(both(&dir));
        overwrite(&dir, "worker-0.up", word, value);
        let refused = control_side(dir.path(), 0).err().unwrap();
        let LinkError::Unusable { corrupt, .. } = refused else { panic!("{refused}") };
        assert_eq!(corrupt, Corrupt::Cursors);
        let (mut worker, mut control) = both(&dir);
        worker.up.push(1, &[], 0).unwrap();
        assert_eq!(kinds(&mut control.up), [1]);
    }
}

/// A configured capacity takes effect when nothing would be lost by it.
#[test]
fn another_capacity_waits_for_an_empty_ring() {
    let dir = RunDir::new();
    let (mut worker, mut control) = both(&dir);
    let seq = worker.up.push(1, &[], 0).unwrap();
    drop(worker);
    let worker = worker_side(dir.path(), 0, 2 * CAPACITY).unwrap();
    assert_eq!((worker.up.capacity(), worker.down.capacity()), (CAPACITY, 2 * CAPACITY));
    assert_eq!(kinds(&mut control.up), [1]);
    control.up.release(seq);
    drop(worker);
    let worker = worker_side(dir.path(), 0, 2 * CAPACITY - 1).unwrap();
    assert_eq!(worker.up.capacity(), 2 * CAPACITY);
}

/// Rings cannot be swapped, cut short, or be something else.
#[test]
fn what_is_no_ring_is_refused() {
    let dir = RunDir::new();
    drop(both(&dir));
    let (up, down) = (dir.path().join("worker-0.up"), dir.path().join("worker-0.down"));
    let good = fs::read(&up).unwrap();
    let mut no_power_of_two = good.clone();
    no_power_of_two[16..24].copy_from_slice(&5000_u64.to_le_bytes());
    let cases: [&[u8]; 6] = [
        &[],
        &good[..511],
        &good[..good.len() - 8],
        &[good.clone(), vec![0; 8]].concat(),
        &fs::read(&down).unwrap(),
        &no_power_of_two,
    ];
    for bytes in cases {
        fs::write(&up, bytes).unwrap();
        let refused = control_side(dir.path(), 0).err().unwrap();
        let LinkError::Unusable { corrupt, .. } = refused else { panic!("{refused}") };
        assert_eq!(corrupt, Corrupt::Header);
    }
    fs::write(&up, &good).unwrap();
    control_side(dir.path(), 0).unwrap();

    fs::rename(&up, dir.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &up).unwrap();
    assert!(matches!(control_side(dir.path(), 0), Err(LinkError::Io { .. })), "a symlink");
}

#[test]
fn a_bell_that_is_no_fifo_is_refused() {
    let dir = RunDir::new();
    fs::write(dir.path().join("worker-0.up.bell"), b"").unwrap();
    assert!(matches!(worker_side(dir.path(), 0, CAPACITY), Err(LinkError::Io { .. })));
}

/// A bell rung 100 000 times while nobody listens holds no one up, and one drain silences it.
#[test]
fn a_full_bell_still_rings() {
    let dir = RunDir::new();
    let bell = Doorbell::create(&dir.path().join("bell")).unwrap();
    let ringer = Doorbell::open(&dir.path().join("bell")).unwrap();
    for _ in 0..100_000 {
        ringer.ring();
    }
    assert!(bell.wait(Duration::ZERO));
    bell.drain();
    assert!(!bell.wait(Duration::ZERO));
    ringer.ring();
    assert!(bell.wait(Duration::MAX), "rings again");
}
