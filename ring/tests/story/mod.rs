//! The stories of `processes.rs`, and the two processes that get killed in them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tidegate_ring::link::{ControlEnds, LinkError, control_side, worker_side};
use tidegate_ring::{Entry, Producer};

use crate::run_dir::RunDir;

pub(crate) const STORIES: [(&str, fn()); 3] = [
    ("a_writer_killed_at_random_leaves_whole_entries", a_killed_writer),
    ("a_reader_killed_at_random_loses_nothing", a_killed_reader),
    ("a_second_process_is_refused_until_the_first_is_killed", a_second_process),
];

const LIVES: u64 = 25;
const CAPACITY: usize = 16 * 1024;

/// The dataplane side that writes for ever; `life` goes into each entry.
pub(crate) fn writer(run_dir: &Path, life: u64) {
    let mut ends = worker_side(run_dir, 0, CAPACITY).unwrap();
    for n in 0.. {
        write_waiting(&mut ends.up, life, n);
        ends.up.wake_if_sleeping();
    }
}

/// The control plane side that reads for ever, says what it takes and releases it; each line is
/// out before the release.
pub(crate) fn reader(run_dir: &Path) {
    let mut ends = control_side(run_dir, 0).unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        while let Some(entry) = ends.up.next().unwrap() {
            let (_, n) = check(&entry);
            let seq = entry.seq;
            out.write_all(format!("{n}\n").as_bytes()).unwrap(); // one write: no half lines
            out.flush().unwrap();
            ends.up.release(seq);
        }
        sleep(&mut ends);
    }
}

/// A control plane that lives on sees, of each life of the dataplane, entries 0, 1, 2, … without a
/// gap, each whole; and the next life goes on right behind.
fn a_killed_writer() {
    let dir = RunDir::new();
    drop(worker_side(dir.path(), 0, CAPACITY).unwrap());
    let mut control = control_side(dir.path(), 0).unwrap();
    let (mut seen_life, mut expected, mut total) = (0, 0, 0);
    for life in 1..=LIVES {
        let mut child = start("role-writer", dir.path(), Some(life), Stdio::null());
        // Some of this life, so that it is killed in full flight; each life a little later.
        let mut wanted = 1 + life * 97;
        while wanted > 0 {
            wanted = wanted.saturating_sub(drain(&mut control, &mut seen_life, &mut expected));
            sleep(&mut control);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        total += drain(&mut control, &mut seen_life, &mut expected);
        assert_eq!(seen_life, life, "the new life's entries came through");
    }
    assert!(total > 0, "no writer was killed with entries in the ring");
    assert!(control.is_current(), "the rings outlive the writers");
}

/// A dataplane that lives on numbers its entries; over all lives of the control plane each number
/// was taken, in order, and a new life begins at the last release: at most one entry again.
fn a_killed_reader() {
    let dir = RunDir::new();
    let mut worker = worker_side(dir.path(), 0, CAPACITY).unwrap();
    let (mut written, mut taken) = (0, 0);
    for life in 1..=LIVES {
        let mut child = start("role-reader", dir.path(), None, Stdio::piped());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = taken + 1 + life * 7;
        let mut is_first = true;
        let mut take = |line: String, taken: &mut u64| {
            let n: u64 = line.parse().unwrap();
            let again = std::mem::take(&mut is_first) && n + 1 == *taken;
            assert!(again || n == *taken, "{n} after {taken} taken");
            *taken = n + 1;
        };
        while taken < wanted {
            while worker.up.push(2, &[&entry(1, written)], 0).is_ok() {
                written += 1;
            }
            worker.up.wake_if_sleeping();
            take(lines.next().unwrap().unwrap(), &mut taken);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            take(line.unwrap(), &mut taken); // said before it died
        }
    }
    let mut control = control_side(dir.path(), 0).unwrap();
    while let Some(entry) = control.up.next().unwrap() {
        let (_, n) = check(&entry);
        assert!(n == taken || n + 1 == taken, "{n} after {taken} taken");
        taken = n + 1;
    }
    assert_eq!(taken, written, "everything written was taken");
}

fn a_second_process() {
    let dir = RunDir::new();
    let mut child = start("role-writer", dir.path(), Some(1), Stdio::null());
    let mut control = loop {
        match control_side(dir.path(), 0) {
            Ok(control) => break control,
            Err(LinkError::Absent { .. }) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    while control.up.next().unwrap().is_none() {
        sleep(&mut control);
    }
    assert!(matches!(worker_side(dir.path(), 0, CAPACITY), Err(LinkError::Busy { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    worker_side(dir.path(), 0, CAPACITY).unwrap();
}

/// Takes and checks all there is; how many.
fn drain(control: &mut ControlEnds, life: &mut u64, expected: &mut u64) -> u64 {
    let mut count = 0;
    while let Some(entry) = control.up.next().unwrap() {
        let (this_life, n) = check(&entry);
        if this_life != *life {
            assert_eq!((this_life, n), (*life + 1, 0), "a life begins with its entry 0");
            (*life, *expected) = (this_life, 0);
        }
        assert_eq!(n, *expected, "in life {this_life}");
        *expected += 1;
        count += 1;
        let seq = entry.seq;
        control.up.release(seq);
    }
    count
}

/// As a consumer should: bounded, because a producer may be killed between commit and bell.
fn sleep(control: &mut ControlEnds) {
    if control.up.prepare_sleep() {
        control.bell.wait(Duration::from_millis(50));
        control.up.awake();
    }
    control.bell.drain();
}

fn write_waiting(producer: &mut Producer, life: u64, n: u64) {
    while producer.push(2, &[&entry(life, n)], 0).is_err() {
        producer.wake_if_sleeping();
        thread::yield_now();
    }
}

/// 16 to 300 bytes.
fn entry(life: u64, n: u64) -> Vec<u8> {
    let mut bytes = [life.to_le_bytes(), n.to_le_bytes()].concat();
    bytes.resize(16 + (n * 31 % 285) as usize, (life ^ n) as u8);
    bytes
}

fn check(read: &Entry<'_>) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(read.bytes[at..at + 8].try_into().unwrap());
    let (life, n) = (word(0), word(8));
    assert_eq!((read.kind, read.bytes), (2, &entry(life, n)[..]), "a torn entry");
    (life, n)
}

fn start(role: &str, run_dir: &Path, life: Option<u64>, stdout: Stdio) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(role).arg(run_dir).args(life.map(|life| life.to_string()));
    command.stdin(Stdio::null()).stdout(stdout).spawn().unwrap()
}
