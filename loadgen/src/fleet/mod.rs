//! What does a fleet of devices do to a server? Runs a scenario: threads, each with its devices.
//!
//! ```text
//! scenario ─▶ Setup ─▶ Engine (one a core) ─┬ pace: who begins when
//!                                           ├ requests, handshakes: what comes next
//!                                           ├ outbox, inbox: sealed and opened in batches
//!                                           └ sockets: out and in
//! ```

pub mod command;
mod devices;
mod engine;
mod exchanges;
mod handshakes;
mod inbox;
mod messages;
mod outbox;
mod pace;
mod requests;
mod setup;
mod sockets;
mod sources;
mod timers;

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};

use self::engine::{Engine, Second};
use self::setup::Setup;
use crate::measurement::Measurement;
use crate::progress::Progress;
use crate::scenario::Scenario;

/// How a scenario is run on this machine.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// One thread on each of these cores; one that may run anywhere if there are none.
    pub cores: Vec<usize>,
}

/// Runs every phase and returns what was measured in each. `stop` ends it early; `progress` is
/// told what happens, as long as anybody listens.
pub fn run(
    scenario: &Scenario,
    options: &Options,
    stop: &AtomicBool,
    progress: &Sender<Progress>,
) -> io::Result<Vec<Measurement>> {
    let setup = Arc::new(Setup::new(scenario, options.cores.len().max(1) as u32)?);
    let phases = &setup.scenario.phases;
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let orders: Vec<_> = (0..setup.threads)
            .map(|thread| {
                let (order, orders) = mpsc::channel();
                let (setup, tell) = (Arc::clone(&setup), tell.clone());
                let core = options.cores.get(thread as usize).copied();
                scope.spawn(move || serve(&setup, thread, core, &orders, stop, &tell));
                order
            })
            .collect();
        drop(tell);
        let mut crew = Crew { told, progress, gauges: vec![(0, 0); orders.len()] };
        crew.await_all(orders.len())?;
        let mut measurements = Vec::with_capacity(phases.len());
        for phase in 0..phases.len() {
            let _ = progress.send(Progress::PhaseBegun(phase));
            let start = Instant::now();
            for order in &orders {
                let _ = order.send((phase, start));
            }
            let measurement = crew.await_all(orders.len())?.unwrap_or_default();
            let _ = progress.send(Progress::PhaseOver(Box::new(measurement.clone())));
            measurements.push(measurement);
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
        }
        Ok(measurements)
    })
}

/// What a thread tells the one that began the run.
enum Told {
    Second {
        thread: u32,
        second: Box<Second>,
    },
    /// Ready for the next phase; with what was measured in the one before.
    Ready(io::Result<Option<Box<Measurement>>>),
}

/// The threads, seen from the one that began the run.
struct Crew<'a> {
    told: Receiver<Told>,
    progress: &'a Sender<Progress>,
    /// Sessions and units under way, of each thread.
    gauges: Vec<(u32, u32)>,
}

impl Crew<'_> {
    /// Until all are ready: what they measured, merged.
    fn await_all(&mut self, threads: usize) -> io::Result<Option<Measurement>> {
        let (mut ready, mut merged) = (0, None::<Measurement>);
        while ready < threads {
            match self.told.recv() {
                Ok(Told::Second { thread, second }) => self.show(thread, *second),
                Ok(Told::Ready(outcome)) => {
                    ready += 1;
                    if let Some(measurement) = outcome? {
                        match &mut merged {
                            Some(merged) => merged.merge(*measurement),
                            None => merged = Some(*measurement),
                        }
                    }
                }
                Err(_) => return Err(io::Error::other("a thread of the fleet panicked")),
            }
        }
        Ok(merged)
    }

    fn show(&mut self, thread: u32, second: Second) {
        let Second { interval, sessions, outstanding } = second;
        self.gauges[thread as usize] = (sessions, outstanding);
        let (sessions, outstanding) =
            self.gauges.iter().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        let _ = self.progress.send(Progress::Interval(Box::new(interval)));
        let _ = self.progress.send(Progress::Gauges { sessions, outstanding });
    }
}

/// One thread, until there are no more phases.
fn serve(
    setup: &Arc<Setup>,
    thread: u32,
    core: Option<usize>,
    orders: &Receiver<(usize, Instant)>,
    stop: &AtomicBool,
    told: &Sender<Told>,
) {
    let made = settle(core).and_then(|()| Engine::new(setup, setup.share(thread)));
    let mut engine = match made {
        Ok(engine) => engine,
        Err(error) => return drop(told.send(Told::Ready(Err(error)))),
    };
    let _ = told.send(Told::Ready(Ok(None)));
    while let Ok((phase, start)) = orders.recv() {
        let mut tell = |second| {
            let _ = told.send(Told::Second { thread, second: Box::new(second) });
        };
        let outcome = engine.run(phase, start, stop, &mut tell);
        let outcome = outcome.map(|measurement| Some(Box::new(measurement)));
        if told.send(Told::Ready(outcome)).is_err() {
            return;
        }
    }
}

/// The thread's core, and timers that are not late for convenience.
fn settle(core: Option<usize>) -> io::Result<()> {
    if let Some(core) = core {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("no core {core}"));
        let mut cores = CpuSet::new();
        if core >= CpuSet::MAX_CPU {
            return Err(invalid());
        }
        cores.set(core);
        sched_setaffinity(None, &cores).map_err(|_| invalid())?;
    }
    set_current_timer_slack(NonZeroU64::new(1))?;
    Ok(())
}

/// As many sockets as devices: asks for as many as we may have.
fn allow_files(wanted: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
