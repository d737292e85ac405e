//! What turns a worker? One thread: wait, reap, work, flush, again.
//!
//! Also the start of all workers, in order: sockets of a reuseport group are numbered in the order
//! they are bound, and the steering program counts on each worker's two standing together.

use crate::bounds::{OUTBOX_SLOTS, RING_BYTES};
use crate::clock::Now;
use crate::config::Config;
use crate::confine::Sandbox;
use crate::handover::Handover;
use crate::net::batch::Outbox;
use crate::net::kept::Kept;
use crate::net::{Net, Shared};
use crate::resumptions::{self, Resumptions, Tables};
use crate::slab::{self, Slab};
use crate::worker::{Parts, Worker};
use crossbeam_utils::CachePadded;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate_ring::contract::Kind;
use tidegate_ring::link::{self, WorkerEnds};
use tidegate_ring::{Consumer, Corrupt, Doorbell, Seq};

/// All workers of one process.
pub struct Workers {
    threads: Vec<JoinHandle<Result<(), String>>>,
    /// One each, until [`Workers::serve`]; a worker whose gate is gone ends.
    gates: Vec<mpsc::Sender<()>>,
    bells: Arc<[Doorbell]>,
    stop: Arc<AtomicBool>,
    turned: Turned,
}

/// Which workers have turned since they were last asked, each flag in a cache line of its own.
type Turned = Arc<[CachePadded<AtomicBool>]>;

/// What one worker has to say about its start.
#[derive(Debug)]
pub struct Started {
    /// Which worker.
    pub worker: u8,
    /// The backend in use, and why it is not the first choice.
    pub backend: String,
    /// Sessions it goes on with, and slots a crash had torn.
    pub sessions: slab::Recovered,
    /// Sessions that can still be resumed, and entries that can't.
    pub resumptions: resumptions::Recovered,
    /// Its sockets, by their names, for who keeps them when this process ends.
    pub sockets: Vec<(String, OwnedFd)>,
}

impl Workers {
    /// Opens every worker, with the sockets that were kept, if any; `tell` hears of each. All are
    /// in the sandbox when this returns, and none serves before [`Workers::serve`].
    pub fn open(
        config: &Arc<Config>,
        sandbox: &Sandbox,
        kept: Kept,
        mut tell: impl FnMut(Started),
    ) -> Result<Self, String> {
        let count = config.worker_count();
        let run_dir = &config.run_dir;
        let handover = Handover::new(count);
        let boot_id = slab::boot_id();
        let links = (0..count)
            .map(|n| link::worker_side(run_dir, n, RING_BYTES).map_err(|e| e.to_string()))
            .collect::<Result<Vec<WorkerEnds>, String>>()?;
        let bells = (0..count)
            .map(|n| open_bell(run_dir, n))
            .collect::<Result<Arc<[Doorbell]>, String>>()?;
        let tables = Tables::open(run_dir, count, config.resumption.per_worker, boot_id)
            .map_err(|e| format!("{}: resumable sessions: {e}", run_dir.display()))?;
        let mut workers = Self {
            threads: Vec::new(),
            gates: Vec::new(),
            bells: Arc::clone(&bells),
            stop: Arc::default(),
            turned: (0..count).map(|_| CachePadded::default()).collect(),
        };
        let shared = Shared::open(config, count).with_kept(kept);
        for (index, link) in (0..count).zip(links) {
            let (slab, sessions) = open_slab(config, index, boot_id)?;
            let now_s = Now::read().s();
            let (resumptions, found) =
                Resumptions::new(now_s, tables.clone(), index, config.resumption.age_s);
            let shell = Shell {
                index,
                count,
                config: Arc::clone(config),
                shared: shared.clone(),
                handover: handover.clone(),
                bells: Arc::clone(&bells),
                stop: Arc::clone(&workers.stop),
                turned: Arc::clone(&workers.turned),
                sandbox: sandbox.clone(),
            };
            let (ready, is_ready) = mpsc::channel();
            let (gate, opens) = mpsc::channel();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || shell.run(link, slab, resumptions, &ready, &opens))
                .map_err(|e| format!("worker {index}: {e}"))?;
            workers.threads.push(thread);
            let Ok(opened) = is_ready.recv() else {
                return Err(workers.join().err().unwrap_or_else(|| "a worker ended".into()));
            };
            workers.gates.push(gate);
            let Opened { backend, sockets } = opened;
            tell(Started { worker: index, backend, sessions, resumptions: found, sockets });
        }
        Ok(workers)
    }

    /// Only now does anyone serve: while sockets join a group, the kernel's choice for an address
    /// changes, and a handshake would go on at a worker that never heard its beginning. A worker
    /// that has ended meanwhile is noticed by [`Workers::has_ended`].
    pub fn serve(&mut self) {
        for gate in self.gates.drain(..) {
            let _ = gate.send(());
        }
    }

    /// Asks every worker to stop after its turn.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.bells.iter().for_each(Doorbell::ring);
    }

    /// Whether every worker has turned since this was last true: an idle one does each second.
    pub fn have_turned(&self) -> bool {
        let all = self.turned.iter().all(|turned| turned.load(Ordering::Relaxed));
        if all {
            self.turned.iter().for_each(|turned| turned.store(false, Ordering::Relaxed));
        }
        all
    }

    /// Whether a worker has ended, asked or not.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits for all of them; the first error counts.
    pub fn join(self) -> Result<(), String> {
        drop(self.gates);
        let ends = self.threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err("a worker panicked; see the message above".into()))
        });
        ends.fold(Ok(()), Result::and)
    }
}

/// What a worker's thread says when it is ready to serve.
struct Opened {
    backend: String,
    sockets: Vec<(String, OwnedFd)>,
}

/// What a worker's thread needs besides its worker.
struct Shell {
    index: u8,
    count: u8,
    config: Arc<Config>,
    shared: Shared,
    handover: Handover,
    bells: Arc<[Doorbell]>,
    stop: Arc<AtomicBool>,
    turned: Turned,
    sandbox: Sandbox,
}

impl Shell {
    fn run(
        self,
        mut link: WorkerEnds,
        slab: Slab,
        resumptions: Resumptions,
        ready: &mpsc::Sender<Opened>,
        opens: &mpsc::Receiver<()>,
    ) -> Result<(), String> {
        let fail = |e: &dyn std::fmt::Display| format!("worker {}: {e}", self.index);
        let net = Net::open_with(&self.config, &self.shared, self.index, link.bell.as_fd());
        let mut net = net.map_err(|e| fail(&e))?;
        let left = take_left(&mut link.down)
            .or_else(|_| link.down.discard().map(|_| Vec::new()))
            .map_err(|e| fail(&format_args!("downlink ring: {e:?}")))?;
        let parts = Parts {
            index: self.index,
            workers: self.count,
            config: Arc::clone(&self.config),
            slab,
            resumptions,
            up: link.up,
            handover: self.handover.clone(),
            seed: rand::random(),
        };
        let mut worker = Worker::new(Now::read(), parts).map_err(|e| fail(&e))?;
        let mut outbox = Outbox::new();
        for (kind, bytes) in left {
            worker.on_entry(Now::read(), kind, &bytes, &mut outbox);
        }
        worker.up().wake_if_sleeping();
        let sockets = net.copies(&self.config).map_err(|e| fail(&e))?;
        self.sandbox.enter().map_err(|e| fail(&e))?;
        let _ = ready.send(Opened { backend: net.describe().into(), sockets });
        if opens.recv().is_err() {
            return Ok(());
        }
        self.serve(&mut worker, &mut link.down, &mut net, &mut outbox).map_err(|e| fail(&e))
    }

    /// Turns until it is told to stop.
    fn serve(
        &self,
        worker: &mut Worker,
        down: &mut Consumer,
        net: &mut Net,
        outbox: &mut Outbox,
    ) -> Result<(), String> {
        let (mut told, mut counted_s) = (worker.up().committed(), 0);
        while !self.stop.load(Ordering::Relaxed) {
            self.turned[usize::from(self.index)].store(true, Ordering::Relaxed);
            let is_idle = down.prepare_sleep();
            let timeout = if is_idle { until_due(worker) } else { Duration::ZERO };
            net.wait(timeout);
            down.awake();

            let now = Now::read();
            let mut batch = net.reap();
            // Orders first: what the API said is done counts for every datagram sent after it.
            let read = worker.on_entries(now, down, outbox);
            read.map_err(|e| format!("downlink ring: {e:?}"))?;
            worker.on_datagrams(now, &mut batch, outbox);
            drop(batch);
            net.flush(outbox);
            self.take_letters(now, worker, outbox);
            if now.s() != counted_s {
                counted_s = now.s();
                worker.on_network(&net.stats());
            }
            worker.on_due(now, outbox);
            net.flush(outbox);
            self.wake_others(worker, &mut told);
        }
        Ok(())
    }

    /// Deals with what other workers received for this one.
    fn take_letters(&self, now: Now, worker: &mut Worker, outbox: &mut Outbox) {
        while outbox.room() > OUTBOX_SLOTS / 2
            && let Some(mut letter) = self.handover.take(self.index)
        {
            worker.on_letter(now, &mut letter, outbox);
        }
    }

    /// Rings for those that have something to read. `told`: the newest entry the control plane has
    /// been rung for, if it slept; who sleeps again without a new one sleeps well.
    fn wake_others(&self, worker: &mut Worker, told: &mut Seq) {
        let newest = worker.up().committed();
        if newest != *told {
            *told = newest;
            worker.up().wake_if_sleeping();
        }
        let posted = worker.take_posted();
        for (other, bell) in self.bells.iter().enumerate() {
            if posted >> other & 1 == 1 {
                bell.ring();
            }
        }
    }
}

/// What the last process had not read: what ends sessions still counts, because they outlived it.
/// The rest is void: its exchanges are gone, and the control plane takes up what was under way
/// when it hears this worker's Hello.
pub fn take_left(down: &mut Consumer) -> Result<Vec<(u8, Vec<u8>)>, Corrupt> {
    let mut left = Vec::new();
    let mut last = None;
    while let Some(entry) = down.next()? {
        last = Some(entry.seq);
        if matches!(
            Kind::from_wire(entry.kind),
            Some(Kind::SessionEnd | Kind::CredentialDropped | Kind::Class)
        ) {
            left.push((entry.kind, entry.bytes.to_vec()));
        }
    }
    if let Some(seq) = last {
        down.release(seq);
    }
    Ok(left)
}

/// How long nothing is due, at most a second: a peer that was killed between writing to its ring
/// and ringing the bell rings only once it is back.
fn until_due(worker: &Worker) -> Duration {
    let due_ms = worker.due_ms().unwrap_or(u64::MAX);
    Duration::from_millis(due_ms.saturating_sub(Now::read().ms).min(1_000))
}

fn open_slab(
    config: &Config,
    index: u8,
    boot_id: [u8; 16],
) -> Result<(Slab, slab::Recovered), String> {
    let path = config.run_dir.join(format!("worker-{index}.slab"));
    Slab::open(&path, index, config.sessions.per_worker, boot_id)
        .map_err(|e| format!("{}: {e}", path.display()))
}

fn open_bell(run_dir: &Path, worker: u8) -> Result<Doorbell, String> {
    let path = run_dir.join(format!("worker-{worker}.down.bell"));
    Doorbell::create(&path).map_err(|e| format!("{}: {e}", path.display()))
}
