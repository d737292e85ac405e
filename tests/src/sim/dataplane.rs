//! What runs the workers? The same turn as the dataplane's shell, and deaths in the middle of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, RngCore};
use tidegate_dataplane::clock::Now;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Counters;
use tidegate_dataplane::handover::Handover;
use tidegate_dataplane::net::batch::Outbox;
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::resumptions::{Resumptions, Tables};
use tidegate_dataplane::run::take_left;
use tidegate_dataplane::slab::{Slab, State};
use tidegate_dataplane::worker::{Parts, Worker};
use tidegate_faults::{Doom, Point};
use tidegate_ring::contract::{self, SessionRef};
use tidegate_ring::{Consumer, Producer, heap_pair};
use zerocopy::IntoBytes;

use super::death::{dies_at, lives};
use super::plan::Plan;
use super::seed;
use super::unsecured::LISTEN;

/// All workers of one dataplane.
pub(crate) struct Dataplane {
    pub(crate) seats: Vec<Seat>,
    pub(crate) handover: Handover,
    pub(crate) outbox: Outbox,
    /// What it dies of.
    pub(crate) doom: Option<Doom>,
    /// What workers of earlier lives counted.
    counted: Vec<u64>,
    tables: Tables,
    config: Arc<Config>,
    ring_bytes: usize,
    /// Where the kernel's hash begins in this life.
    shift: usize,
    random: StdRng,
}

/// One worker, or what it left behind.
pub(crate) struct Seat {
    pub(crate) worker: Option<Worker>,
    pub(crate) down: Option<Consumer>,
    /// While there is no worker.
    left: Option<Left>,
    /// What arrived and was not dealt with.
    pub(crate) inbox: VecDeque<Datagram>,
    /// Datagrams that this worker was given.
    pub(crate) received: u64,
    /// The turn that is on the agenda.
    pub(crate) turn_ms: Option<u64>,
}

struct Left {
    slab: Slab,
    up: Producer,
    down: Consumer,
}

/// The other ends of a worker's rings.
pub(crate) type OtherEnds = (Consumer, Producer);

/// A datagram at the edge.
#[derive(Clone)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    /// To the socket for plain CoAP.
    pub(crate) is_plain: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) origin: Origin,
}

/// Who made a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// One record of a session, as it was sealed: which session, which number.
    Record(usize, u64),
    /// Of a handshake.
    Handshake,
    /// Plain CoAP of this device, as it said it.
    Plain(usize),
    /// Changed on the way.
    Damaged,
    /// A stranger.
    Stranger,
}

impl Dataplane {
    /// The workers, not yet born.
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut config = Config::default();
        config.nosec.listen = vec![LISTEN.into()];
        config.sessions.per_worker = 48;
        config.resumption.per_worker = 24;
        config.handshake.half_open = 12;
        config.handshake.half_open_per_source = 12;
        config.coap.exchanges = 64;
        config.coap.downlinks = 32;
        config.coap.block_bytes = BLOCK_BYTES as u16;
        config.coap.uploads_kib = if plan.seed.is_multiple_of(4) { 4 } else { 16 };
        Self {
            seats: Vec::new(),
            handover: Handover::new(plan.workers),
            outbox: Outbox::new(),
            doom: None,
            counted: vec![0; Counters::COUNT],
            tables: Tables::anonymous(plan.workers, config.resumption.per_worker),
            config: Arc::new(config),
            ring_bytes: plan.ring_bytes,
            shift: 0,
            random: seed::stream(plan.seed, "workers", 0),
        }
    }

    /// Fresh memory for `workers` workers; the other ends of their rings.
    pub(crate) fn lies_down(&mut self, workers: u8) -> Vec<OtherEnds> {
        self.seats.clear();
        self.tables = Tables::anonymous(workers, self.config.resumption.per_worker);
        let mut others = Vec::new();
        for index in 0..workers {
            let slab = Slab::anonymous(index, self.config.sessions.per_worker).expect("memory");
            let (up, up_end) = heap_pair(self.ring_bytes);
            let (down_end, down) = heap_pair(self.ring_bytes);
            others.push((up_end, down_end));
            self.seats.push(Seat {
                worker: None,
                down: None,
                left: Some(Left { slab, up, down }),
                inbox: VecDeque::new(),
                received: 0,
                turn_ms: None,
            });
        }
        others
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.seats.iter().all(|seat| seat.worker.is_some())
    }

    /// The process starts and goes on with what it finds.
    pub(crate) fn starts(&mut self, now: Now) {
        self.handover = Handover::new(self.seats.len() as u8);
        let workers = self.seats.len() as u8;
        for index in 0..workers {
            let seat = &mut self.seats[usize::from(index)];
            let Some(Left { slab, up, down }) = seat.left.take() else { continue };
            let (slab, _) = slab.reopened([0; 16]);
            let mut down = down.reattached().expect("our own ring");
            let entries = take_left(&mut down).expect("our own ring");
            let mut own_seed = [0; 32];
            self.random.fill_bytes(&mut own_seed);
            self.shift = usize::from(own_seed[0] % 4 / 3);
            let (age_s, tables) = (self.config.resumption.age_s, self.tables.clone());
            let parts = Parts {
                index,
                workers,
                config: Arc::clone(&self.config),
                slab,
                resumptions: Resumptions::new(now.s(), tables, index, age_s).0,
                up: up.reattached().expect("our own ring"),
                handover: self.handover.clone(),
                seed: own_seed,
            };
            let mut worker = Worker::new(now, parts).expect("the configuration was checked");
            for (kind, bytes) in entries {
                worker.on_entry(now, kind, &bytes, &mut self.outbox);
            }
            (seat.worker, seat.down) = (Some(worker), Some(down));
            (seat.received, seat.turn_ms) = (0, None);
        }
        self.doom = None;
    }

    /// The process is gone, with everything that is not in shared memory.
    pub(crate) fn dies(&mut self) {
        self.doom = None;
        self.outbox.clear();
        for seat in &mut self.seats {
            let (Some(worker), Some(down)) = (seat.worker.take(), seat.down.take()) else {
                continue;
            };
            add(&mut self.counted, worker.counters());
            let (slab, up) = worker.into_slab();
            seat.left = Some(Left { slab, up, down });
            // The kernel drops what was not read.
            seat.inbox.clear();
            seat.turn_ms = None;
        }
    }

    /// The plain session that a worker has with this peer.
    pub(crate) fn session_at(&self, worker: usize, peer: &Peer) -> Option<SessionRef> {
        let slab = self.seats[worker].worker.as_ref()?.slab();
        let is_it = |slot: &u32| {
            let entry = slab.get(*slot);
            entry.state() == State::NoSec && entry.peer == *peer
        };
        (0..slab.used()).find(is_it).map(|slot| slab.session(slot))
    }

    /// Other traffic has filled the rings toward the control plane.
    pub(crate) fn fills_rings(&mut self) {
        let nothing = contract::Counters { count: 0.into() };
        let padding = [0; contract::TAIL_BYTES_MAX];
        for worker in self.seats.iter_mut().filter_map(|seat| seat.worker.as_mut()) {
            let parts = [nothing.as_bytes(), &padding];
            while worker.up().push(contract::Kind::Counters as u8, &parts, 0).is_ok() {}
        }
    }

    /// What all workers have counted so far.
    pub(crate) fn counters(&self) -> Vec<u64> {
        let mut all = self.counted.clone();
        let workers = self.seats.iter().filter_map(|seat| seat.worker.as_ref());
        workers.for_each(|worker| add(&mut all, worker.counters()));
        all
    }

    /// Whether the process dies here.
    pub(crate) fn dies_at(&mut self, point: Point) -> bool {
        dies_at(&mut self.doom, point)
    }

    /// A worker does something; `None`: there is none, or the process died of it.
    pub(crate) fn lives<T>(
        &mut self,
        worker: usize,
        act: impl FnOnce(&mut Worker, &mut Consumer, &mut Outbox) -> T,
    ) -> Option<T> {
        let seat = &mut self.seats[worker];
        let (worker, down) = (seat.worker.as_mut()?, seat.down.as_mut()?);
        let outbox = &mut self.outbox;
        lives(&mut self.doom, || act(worker, down, outbox))
    }

    /// The worker whose socket the kernel picks: by Connection ID, else by address; rarely another.
    pub(crate) fn lands_on(&mut self, datagram: &Datagram) -> usize {
        let count = self.seats.len();
        let drawn: usize = self.random.random_range(0..1_000);
        if datagram.is_plain {
            // No program steers these: where one lands changes with the sockets alone.
            return (usize::from(datagram.from.port()) + self.shift) % count;
        }
        if drawn < 20 {
            return drawn % count;
        }
        match datagram.bytes[..] {
            [TLS12_CID, _, _, _, _, _, _, _, _, _, _, worker, ..] => usize::from(worker) % count,
            _ => usize::from(datagram.from.port()) % count,
        }
    }

    /// Milliseconds between an event and the turn that sees it.
    pub(crate) fn wakes_in_ms(&mut self) -> u64 {
        self.random.random_range(0..3)
    }
}

fn add(to: &mut [u64], counters: &Counters) {
    to.iter_mut().zip(counters.values()).for_each(|(all, one)| *all += one);
}

/// Longer bodies of the edge go block by block, bytes.
pub(crate) const BLOCK_BYTES: usize = 256;

const TLS12_CID: u8 = 25;
