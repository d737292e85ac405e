//! How fast are the rings between two processes, and how long does a wake-up take?
//!
//! ```sh
//! cargo run --release -p tidegate-ring --example two_processes [run_dir]
//! ```
//! Prints messages/s of 256-byte entries, and the wake-up latency of a sleeping consumer by FIFO
//! and by eventfd: the same poll over both descriptors, rung in turn, so that both see the same
//! moments of the machine. The run directory should be on tmpfs, as in production.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::{ClockId, clock_gettime};
use tidegate_ring::Consumer;
use tidegate_ring::link::{ControlEnds, WorkerEnds, control_side, worker_side};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ENTRY_BYTES: usize = 256;
const ENTRIES: u64 = 4_000_000;
const ROUNDS: usize = 5;
const WAKEUPS: usize = 4_000;
const BATCH_MAX: usize = 64;
const CAPACITY_BYTES: usize = 1 << 20;

const FLOOD: u8 = 1;
const FLOOD_ENDS: u8 = 2;
const WAKE: u8 = 3;
const STOP: u8 = 4;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(role), Some(run_dir)) if role == "consumer" => consumer(run_dir.as_ref()),
        (run_dir, _) => {
            let parent = run_dir.map_or_else(default_dir, PathBuf::from);
            let run_dir = parent.join(format!("tidegate-ring-{}", std::process::id()));
            std::fs::create_dir(&run_dir)?;
            let outcome = measure(&run_dir);
            std::fs::remove_dir_all(&run_dir)?;
            outcome
        }
    }
}

fn default_dir() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.into() } else { std::env::temp_dir() }
}

fn measure(run_dir: &Path) -> Outcome<()> {
    let mut ends = worker_side(run_dir, 0, CAPACITY_BYTES)?;
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("consumer")
        .arg(run_dir)
        .stdin(Stdio::from(event.try_clone()?)) // the one way to hand an eventfd over: inherit it
        .spawn()?;
    answer(&mut ends.down)?; // it is there
    for _ in 0..ROUNDS {
        flood(&mut ends)?;
    }
    wakeups(&mut ends, &event)?;
    ends.up.push(STOP, &[], 0)?;
    ends.up.wake_if_sleeping();
    child.wait()?;
    Ok(())
}

fn flood(ends: &mut WorkerEnds) -> Outcome<()> {
    let payload = [0x5a; ENTRY_BYTES];
    let begin = Instant::now();
    for n in 0..=ENTRIES {
        let kind = if n == ENTRIES { FLOOD_ENDS } else { FLOOD };
        loop {
            if let Ok(mut grant) = ends.up.reserve(kind, ENTRY_BYTES, 0) {
                grant.bytes_mut().copy_from_slice(&payload);
                grant.commit();
                break;
            }
            std::hint::spin_loop();
        }
    }
    answer(&mut ends.down)?;
    let elapsed = begin.elapsed();
    println!(
        "{ENTRY_BYTES}-byte entries: {:.1} M/s, {:.1} ns each",
        ENTRIES as f64 / elapsed.as_secs_f64() / 1e6,
        elapsed.as_secs_f64() * 1e9 / ENTRIES as f64
    );
    Ok(())
}

/// Rings by turns, each time the consumer has been asleep for a while.
fn wakeups(ends: &mut WorkerEnds, event: &OwnedFd) -> Outcome<()> {
    // [FIFO, eventfd]
    let (mut latency_ns, mut call_ns) = ([vec![], vec![]], [vec![], vec![]]);
    for round in 0..WAKEUPS * 2 {
        let by_event = round % 2;
        std::thread::sleep(Duration::from_micros(150));
        let begin = now_ns();
        ends.up.push(WAKE, &[&begin.to_le_bytes()], 0)?;
        let before_call = now_ns();
        if by_event == 1 {
            if ends.up.wake_wanted() {
                rustix::io::write(event, &1_u64.to_ne_bytes())?;
            }
        } else {
            ends.up.wake_if_sleeping();
        }
        call_ns[by_event].push(now_ns() - before_call);
        latency_ns[by_event].push(answer(&mut ends.down)?.saturating_sub(begin));
    }
    for (name, at) in [("FIFO   ", 0), ("eventfd", 1)] {
        let (latency, call) = (&mut latency_ns[at], &mut call_ns[at]);
        println!(
            "wake-up by {name}: p50 {:.1} µs, p99 {:.1} µs; the call p50 {:.1} µs",
            percentile_us(latency, 50),
            percentile_us(latency, 99),
            percentile_us(call, 50)
        );
    }
    Ok(())
}

fn consumer(run_dir: &Path) -> Outcome<()> {
    let stdin = io::stdin();
    let event = stdin.as_fd();
    let mut ends = control_side(run_dir, 0)?;
    ends.down.push(WAKE, &[&0_u64.to_le_bytes()], 0)?;
    let mut is_flooded = true;
    loop {
        match take_batch(&mut ends)? {
            Some(STOP) => return Ok(()),
            Some(WAKE) => is_flooded = false,
            Some(_) => is_flooded = true,
            None if is_flooded => std::hint::spin_loop(),
            None if ends.up.prepare_sleep() => {
                let mut polled = [
                    PollFd::new(&ends.bell, PollFlags::IN),
                    PollFd::from_borrowed_fd(event, PollFlags::IN),
                ];
                poll(&mut polled, None)?;
                ends.up.awake();
                ends.bell.drain();
                let _ = rustix::io::read(event, &mut [0_u8; 8]);
            }
            None => {}
        }
    }
}

/// Takes up to a batch of what is there, one release for all of it; the last kind.
fn take_batch(ends: &mut ControlEnds) -> Outcome<Option<u8>> {
    let (mut last, mut checksum) = (None, 0_u64);
    for _ in 0..BATCH_MAX {
        let Some(entry) = ends.up.next()? else { break };
        let arrived = now_if(entry.kind == WAKE);
        checksum =
            entry.bytes.iter().step_by(64).fold(checksum, |sum, byte| sum + u64::from(*byte));
        last = Some((entry.seq, entry.kind));
        if matches!(entry.kind, WAKE | FLOOD_ENDS) {
            ends.down.push(WAKE, &[&arrived.to_le_bytes()], 0)?;
            break;
        }
    }
    std::hint::black_box(checksum);
    let Some((seq, kind)) = last else { return Ok(None) };
    ends.up.release(seq);
    Ok(Some(kind))
}

/// Spins for the other side's next answer.
fn answer(down: &mut Consumer) -> Outcome<u64> {
    loop {
        if let Some(entry) = down.next()? {
            let value = u64::from_le_bytes(entry.bytes.try_into()?);
            let seq = entry.seq;
            down.release(seq);
            return Ok(value);
        }
        std::hint::spin_loop();
    }
}

fn now_if(wanted: bool) -> u64 {
    if wanted { now_ns() } else { 0 }
}

/// The same clock in both processes.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn percentile_us(sample_ns: &mut [u64], percent: usize) -> f64 {
    sample_ns.sort_unstable();
    sample_ns[(sample_ns.len() - 1) * percent / 100] as f64 / 1000.0
}
