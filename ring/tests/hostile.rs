//! What can a peer do to us that writes anything anywhere in the shared file, at any moment?
//! Make us read wrong bytes and say `Corrupt`. Never a panic, never a read outside, never a hang.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod run_dir;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use run_dir::RunDir;
use tidegate_ring::link::{ControlEnds, WorkerEnds, control_side, worker_side};
use tidegate_ring::{Corrupt, ENTRY_BYTES_MAX, ReleaseLedger};

const CAPACITY: usize = 4096;
const HEADER_BYTES: u64 = 512;
const FILE_BYTES: u64 = HEADER_BYTES + CAPACITY as u64;
const HEAD_AT: u64 = 128;
const TAIL_AT: u64 = 256;
const SLEEP_AT: u64 = 384;

struct Attack {
    worker: WorkerEnds,
    control: ControlEnds,
    file: File,
    dir: RunDir,
}

impl Attack {
    fn new() -> Self {
        let dir = RunDir::new();
        let worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
        let control = control_side(dir.path(), 0).unwrap();
        let path = dir.path().join("worker-0.up");
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        Self { worker, control, file, dir }
    }

    fn write(&self, at: u64, value: u64) {
        self.file.write_all_at(&value.to_le_bytes(), at).unwrap();
    }

    fn read(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, at).unwrap();
        u64::from_le_bytes(word)
    }

    /// Everything our two ends can be asked to do; how many entries came out.
    fn use_both_ends(&mut self) -> usize {
        let mut ledger = ReleaseLedger::new(4096);
        let mut taken = 0;
        let _ = self.worker.up.push(2, &[b"good entry"], 64);
        self.worker.up.wake_if_sleeping();
        // Bound: an entry takes 8 bytes at least, so a lap ends.
        while let Ok(Some(entry)) = self.control.up.next() {
            assert!(entry.bytes.len() <= ENTRY_BYTES_MAX);
            let seq = entry.seq;
            ledger.taken(seq).unwrap();
            if let Some(seq) = ledger.done(seq) {
                self.control.up.release(seq);
            }
            taken += 1;
            assert!(taken <= CAPACITY / 8, "more entries than fit");
        }
        if self.control.up.prepare_sleep() {
            self.control.up.awake();
        }
        assert!(self.worker.up.free_bytes() <= CAPACITY);
        taken
    }
}

/// Impossible cursors are reported by whoever reads them, and heal with the next possible one.
#[test]
fn impossible_cursors_are_corrupt_until_they_are_possible() {
    let mut attack = Attack::new();
    attack.use_both_ends();
    let good = attack.read(HEAD_AT);
    for bad in [good - 8, good + 4, good + CAPACITY as u64 + 8, 1 << 63, !7, u64::MAX] {
        attack.write(HEAD_AT, bad);
        assert_eq!(attack.control.up.next(), Err(Corrupt::Cursors), "head {bad:#x}");
        assert!(!attack.control.up.prepare_sleep(), "no sleep on a corrupt ring");
        assert_eq!(attack.control.up.discard(), Err(Corrupt::Cursors));
    }
    attack.write(HEAD_AT, good);
    assert_eq!(attack.control.up.next(), Ok(None));

    let good = attack.read(TAIL_AT);
    for bad in [good + 8, good + 4, !7, u64::MAX] {
        attack.write(TAIL_AT, bad);
        assert_eq!(attack.worker.up.free_bytes(), 0, "tail {bad:#x}");
        assert!(attack.worker.up.is_corrupt());
    }
    attack.write(TAIL_AT, good);
    assert_eq!((attack.worker.up.free_bytes(), attack.worker.up.is_corrupt()), (CAPACITY, false));
}

/// Each bit of an entry's header, flipped: the entry is refused, not misread; `discard` is the
/// way out.
#[test]
fn every_bit_of_an_entry_header_is_checked() {
    let mut attack = Attack::new();
    for bit in 0..64 {
        let at = HEADER_BYTES + attack.read(HEAD_AT) % CAPACITY as u64;
        attack.worker.up.push(2, &[b"0123456789abcdef"], 0).unwrap();
        attack.write(at, attack.read(at) ^ 1 << bit);
        assert_eq!(attack.control.up.next(), Err(Corrupt::Entry), "bit {bit}");
        assert_eq!(attack.control.up.next(), Err(Corrupt::Entry), "and stays so");
        assert_eq!(attack.control.up.discard(), Ok(24));
        assert_eq!(attack.control.up.next(), Ok(None));
    }
}

/// A head that is possible but lies: the entry there would end behind it, or there is none.
#[test]
fn a_head_inside_an_entry_is_corrupt() {
    let mut attack = Attack::new();
    let start = attack.read(HEAD_AT);
    attack.worker.up.push(2, &[b"0123456789abcdef"], 0).unwrap();
    attack.write(HEAD_AT, start + 16);
    assert_eq!(attack.control.up.next(), Err(Corrupt::Entry));

    let mut attack = Attack::new();
    attack.write(HEAD_AT, 64);
    assert_eq!(attack.control.up.next(), Err(Corrupt::Entry), "zeros are no entry");
}

/// Random words everywhere, with a liking for cursors and for values near those that pass.
#[test]
fn random_bytes_over_the_file() {
    let mut random = StdRng::seed_from_u64(20_261_121);
    let (mut attack, mut taken) = (Attack::new(), 0);
    for _ in 0..200_000 {
        scribble(&mut random, &attack);
        taken += attack.use_both_ends();
        if random.random_ratio(1, 16) {
            let _ = attack.control.up.discard();
        }
    }
    assert!(taken > 1_000, "the good entries between attacks pass: {taken}");
}

fn scribble(random: &mut StdRng, attack: &Attack) {
    let at = match random.random_range(0..6) {
        0 => HEAD_AT,
        1 => TAIL_AT,
        2 => SLEEP_AT,
        _ => random.random_range(0..FILE_BYTES / 8) * 8,
    };
    let near = attack.read([HEAD_AT, TAIL_AT, at][random.random_range(0..3)]);
    let value = match random.random_range(0..4) {
        0 => random.random(),
        1 => near ^ 1 << random.random_range(0..64),
        2 => near.wrapping_add(random.random_range(0..64) * 8),
        _ => near.wrapping_sub(random.random_range(0..64) * 8),
    };
    attack.write(at, value);
}

/// The same while we run: the attacker is another thread, so values change between any two of our
/// reads. What is parsed is what was copied.
#[test]
fn a_peer_that_scribbles_while_we_read() {
    let mut attack = Attack::new();
    let scribbler = Attack { file: attack.file.try_clone().unwrap(), ..Attack::new() };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = StdRng::seed_from_u64(7);
            while !done.load(Ordering::Relaxed) {
                scribble(&mut random, &scribbler);
            }
        });
        for _ in 0..50_000 {
            attack.use_both_ends();
            let _ = attack.control.up.discard();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Files of random bytes, and good files with a few random words: attaching never panics, and
/// what attaches can be used.
#[test]
fn attaching_to_random_files() {
    let mut random = StdRng::seed_from_u64(42);
    let mut attached = 0;
    for round in 0..500 {
        let attack = Attack::new();
        if round % 8 == 0 {
            let mut bytes = vec![0; FILE_BYTES as usize];
            random.fill(&mut bytes[..]);
            attack.file.write_all_at(&bytes, 0).unwrap();
        }
        (0..round % 4).for_each(|_| scribble(&mut random, &attack));
        let Attack { worker, control, file, dir } = attack;
        drop((worker, control));
        let Ok(control) = control_side(dir.path(), 0) else { continue };
        let worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
        Attack { worker, control, file, dir }.use_both_ends();
        attached += 1;
    }
    assert!(attached > 100, "{attached} of 500 attached");
}
