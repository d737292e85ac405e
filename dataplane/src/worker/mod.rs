//! What does one worker do? Datagrams, ring entries and timers in; datagrams and ring entries out.
//!
//! Pure: no socket, clock or thread. The binary, the benches and the simulator are shells around
//! the same type. Each door takes the time; randomness comes from a seed given at the start.
//!
//! ```text
//! on_datagrams ─▶ records (classify, open) ─▶ messages ─▶ uplink (ring)   ─┐
//! on_entry ─────▶ Published, Answer, Downlink, Credential … ───────────────┼─▶ seals ─▶ outbox
//! on_due ───────▶ handshake flights, CoAP retransmissions, timeouts ───────┘
//! ```

mod answers;
mod assembly;
mod blocks;
mod bodies;
mod connect;
mod credentials;
mod downlink;
mod downlink_blocks;
mod echo;
mod entries;
mod exchanges;
mod finished;
mod freshness;
mod gathering;
mod handshakes;
mod lines;
mod messages;
mod nosec;
mod notices;
mod notifying;
mod observing;
mod permits;
mod policies;
mod quick_answers;
mod quota;
mod records;
mod requests;
mod resume;
mod return_routability;
mod sessions;
mod timers;
mod trust;
mod up;
mod uplink;
mod uploads;

use crate::bounds::{BATCH_MAX, DATAGRAM_BYTES_MAX, OUTBOX_SLOTS, TIMERS_PER_TURN_MAX};
use crate::clock::Now;
use crate::config::Config;
use crate::fate::{Counters, Tally};
use crate::handover::Handover;
use crate::net::batch::Outbox;
use crate::net::peer::Peer;
use crate::pool::Pool;
use crate::resumptions::Resumptions;
use crate::slab::{CID_BYTES, Slab, State};
use crate::wheel::Wheel;
use answers::Answers;
use arrayvec::ArrayVec;
use assembly::Assembly;
use bodies::Bodies;
use connect::Connects;
use credentials::Credentials;
use echo::Echo;
use exchanges::Exchanges;
use finished::Finished;
use foldhash::quality::RandomState;
use freshness::Freshness;
use handshakes::HalfOpen;
use hashbrown::HashMap;
use lines::Downlinks;
use messages::Sent;
use nosec::NoSec;
use notices::Notices;
use observing::Observations;
use policies::Policies;
use quota::Quota;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use return_routability::Paths;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidegate_coap::dedup::Lifetimes;
use tidegate_coap::timing::Timing;
use tidegate_crypto::aead;
use tidegate_dtls::Link;
use tidegate_dtls::cookie::{CookieJar, PERIOD_MS as COOKIE_PERIOD_MS};
use tidegate_dtls::established::{Established, SealPlan};

use tidegate_dtls::record::ContentType;
use tidegate_dtls::server;
use tidegate_faults::{Point, may_die};
use tidegate_ring::Producer;
use tidegate_ring::contract as wire;
use timers::{Due, Timers};
use up::Up;
use uploads::Uploads;

/// One worker: its sessions, its exchanges, its end of the uplink ring.
pub struct Worker {
    index: u8,
    config: Arc<Config>,
    dtls_config: Arc<server::Config>,
    timing: Timing,
    lifetimes: Lifetimes,
    cookies: CookieJar,
    slab: Slab,
    /// Sessions whose records carry no Connection ID, by address.
    by_peer: HashMap<Peer, u32, RandomState>,
    /// In boxes: a handshake is 2 KiB, and moves into the pool and out of it.
    handshakes: Pool<Box<HalfOpen>>,
    by_peer_handshake: HashMap<Peer, u32, RandomState>,
    quota: Quota,
    credentials: Credentials,
    resumptions: Resumptions,
    /// What has come of the next trust sheet.
    trust_sheet: Assembly,
    /// The authorities of the last one.
    trusted: BTreeSet<trust::Fingerprint>,
    /// Devices without security.
    nosec: NoSec,
    /// What devices may ask for, and how often.
    policies: Policies,
    notices: Notices,
    exchanges: Exchanges,
    /// Bodies that come block by block.
    uploads: Uploads,
    /// Bodies that came so a short while ago, in any order of their blocks.
    finished: Finished,
    /// Bodies that go to devices block by block.
    bodies: Bodies,
    answers: Answers,
    echo: Echo,
    freshness: Freshness,
    downlinks: Downlinks,
    /// Resources of devices that applications observe.
    observations: Observations,
    /// Our Confirmable messages that wait for their ACK, by slot and Message ID.
    sent: HashMap<u64, Sent, RandomState>,
    wheel: Wheel,
    timers: Timers,
    /// Checks of new addresses under way.
    paths: Paths,
    /// Sessions being opened to devices.
    connects: Connects,
    /// Records written into the outbox and not sealed yet.
    seals: ArrayVec<Seal, BATCH_MAX>,
    up: Up,
    handover: Handover,
    /// Workers that letters were posted to in this turn, one bit each.
    posted: u64,
    /// A handed-over datagram is being dealt with: it is not handed on.
    handed_over: bool,
    random: StdRng,
    counters: Counters,
    /// The counters as the control plane knows them.
    counters_told: Counters,
    sweep_at: u32,
}

/// A record whose sequence number is taken and whose plaintext stands in the outbox.
#[derive(Debug)]
struct Seal {
    slot: u32,
    index: usize,
    plan: SealPlan,
}

/// What a worker is made of.
pub struct Parts {
    /// Which worker, from 0.
    pub index: u8,
    /// How many there are.
    pub workers: u8,
    /// Checked.
    pub config: Arc<Config>,
    /// With the sessions of an earlier life.
    pub slab: Slab,
    /// What can be resumed, of all workers.
    pub resumptions: Resumptions,
    /// The worker's end of its uplink ring.
    pub up: Producer,
    /// The mailboxes of all workers.
    pub handover: Handover,
    /// From the operating system, or from the simulator.
    pub seed: [u8; 32],
}

impl Worker {
    /// A worker that goes on with the sessions in the slab. Says Hello on the ring.
    pub fn new(now: Now, parts: Parts) -> Result<Self, String> {
        let Parts { index, workers, config, slab, resumptions, up, handover, seed } = parts;
        let mut random = StdRng::from_seed(seed);
        let up = Up::new(up, random.random(), index, workers);
        let dtls_config = Arc::new(dtls_config(&config)?);
        let (half_open, exchanges, downlinks) =
            (config.handshake.half_open, config.coap.exchanges, config.coap.downlinks);
        let connects = Connects::new(&dtls_config);
        let timers = Timers::of(&config);
        let timing = Timing {
            ack_timeout_ms: config.coap.ack_timeout_ms,
            max_retransmit: config.coap.max_retransmit,
            ..Timing::default()
        };
        let mut worker = Self {
            index,
            dtls_config,
            lifetimes: Lifetimes::new(&timing),
            timing,
            cookies: CookieJar::new(now.ms, &random.random(), COOKIE_PERIOD_MS),
            by_peer: table(0),
            handshakes: Pool::new(half_open),
            by_peer_handshake: table(half_open),
            quota: Quota::new(config.handshake.half_open_per_source, half_open),
            credentials: Credentials::new(),
            resumptions,
            trust_sheet: Assembly::new(wire::TRUST_BYTES_MAX),
            trusted: BTreeSet::new(),
            nosec: NoSec::default(),
            policies: Policies::new(),
            notices: Notices::default(),
            exchanges: Exchanges::new(exchanges),
            uploads: Uploads::new(config.coap.uploads_kib),
            finished: Finished::new(),
            bodies: Bodies::new(),
            answers: Answers::new(),
            echo: Echo::new(&config.echo.path),
            freshness: Freshness::new(&random.random()),
            downlinks: Downlinks::new(downlinks),
            observations: Observations::new(),
            sent: table(exchanges + downlinks),
            wheel: Wheel::new(now.ms, timers.count()),
            timers,
            paths: Paths::new(),
            connects,
            seals: ArrayVec::new(),
            posted: 0,
            handed_over: false,
            random,
            counters: Counters::default(),
            counters_told: Counters::default(),
            sweep_at: 0,
            config,
            slab,
            up,
            handover,
        };
        worker.begin(now);
        Ok(worker)
    }

    /// A new life: the other side hears of it, and of the sessions that outlived the last one.
    fn begin(&mut self, now: Now) {
        self.wheel.arm(self.timers.housekeeping(), now.ms + HOUSEKEEPING_MS);
        // Where there is no room now, whoever has something to say tries again, or housekeeping.
        let _ = self.up.greet();
        self.take_over_sessions(now);
    }

    /// Fires what is due; call again while [`Self::due_ms`] is not in the future.
    pub fn on_due(&mut self, now: Now, outbox: &mut Outbox) {
        for _ in 0..TIMERS_PER_TURN_MAX {
            if outbox.room() < SENDS_PER_TIMER_MAX {
                break;
            }
            let Some(timer) = self.wheel.fire(now.ms) else { break };
            match self.timers.due(timer) {
                Due::Handshake(number) => self.on_handshake_due(now, number, outbox),
                Due::Exchange(number) => self.on_exchange_due(now, number, outbox),
                Due::Downlink(number) => self.on_downlink_due(now, number, outbox),
                Due::Path(number) => self.on_path_due(number),
                Due::Connect(number) => self.on_connect_due(now, number, outbox),
                Due::Upload(number) => self.on_upload_due(now, number, outbox),
                Due::Answer(number) => self.on_answer_due(now, number, outbox),
                Due::Housekeeping => self.on_housekeeping(now, outbox),
            }
        }
        self.seal_all(outbox);
    }

    /// When to call [`Self::on_due`] next, ms of `CLOCK_BOOTTIME`.
    pub fn due_ms(&self) -> Option<u64> {
        self.wheel.due_ms()
    }

    /// Workers that have mail from this one since the last call, one bit each.
    pub fn take_posted(&mut self) -> u64 {
        std::mem::take(&mut self.posted)
    }

    /// The worker's end of its uplink ring, for the shell to wake the other side.
    pub fn up(&mut self) -> &mut Producer {
        self.up.ring()
    }

    /// Memory in use for bodies that are not whole, bytes.
    pub fn upload_bytes(&self) -> u64 {
        self.uploads.memory().0
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The sessions.
    pub fn slab(&self) -> &Slab {
        &self.slab
    }

    /// The sessions that can be resumed.
    pub fn resumptions(&self) -> &Resumptions {
        &self.resumptions
    }

    /// Ends this worker's life and gives back what outlives it.
    pub fn into_slab(self) -> (Slab, Producer) {
        (self.slab, self.up.into_ring())
    }

    /// Writes content into the outbox as the session's next record; it is sealed with the others.
    /// `write` gets the room for the content and says how much it used, or `None` to send nothing.
    fn send(
        &mut self,
        slot: u32,
        content_type: ContentType,
        outbox: &mut Outbox,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let entry = self.slab.get_mut(slot);
        let Some(index) = outbox.begin(entry.peer) else {
            self.counters.tally(Tally::OutboxFull);
            return false;
        };
        let out = outbox.buffer_mut(index);
        if entry.state() == State::NoSec {
            // Plain CoAP has no other content than messages (RFC 7252 section 9).
            let room = &mut out[..DATAGRAM_BYTES_MAX];
            let is_message = content_type == ContentType::APPLICATION_DATA;
            let Some(written) = is_message.then(|| write(room)).flatten() else { return false };
            outbox.commit(index, written);
            self.counters.tally(Tally::Sent);
            return true;
        }
        let room = entry.dtls.content_room(out.len());
        let Some(written) = out.get_mut(room).and_then(write) else { return false };
        let Ok(plan) = entry.dtls.plan_seal(content_type, written, out) else {
            // The sequence is used up: the session can't speak any more and will idle out.
            return false;
        };
        may_die(Point::NumberTaken);
        outbox.commit(index, plan.datagram_len());
        self.paths.lead(slot, index, outbox);
        self.counters.tally(Tally::Sent);
        self.seals.push(Seal { slot, index, plan });
        if self.seals.is_full() {
            self.seal_all(outbox);
        }
        true
    }

    /// Puts a ready record (alert, repeated flight) of a session into the outbox; says into which
    /// slot.
    fn send_record(
        &mut self,
        slot: u32,
        outbox: &mut Outbox,
        write: impl FnOnce(&mut Established, &mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let entry = self.slab.get_mut(slot);
        let Some(index) = outbox.begin(entry.peer) else {
            self.counters.tally(Tally::OutboxFull);
            return None;
        };
        let bytes = write(&mut entry.dtls, outbox.buffer_mut(index))?;
        outbox.commit(index, bytes);
        self.paths.lead(slot, index, outbox);
        self.counters.tally(Tally::Sent);
        Some(index)
    }

    /// Seals everything written since the last call, in one batch.
    fn seal_all(&mut self, outbox: &mut Outbox) {
        if self.seals.is_empty() {
            return;
        }
        let mut jobs: ArrayVec<aead::Job<'_>, BATCH_MAX> = ArrayVec::new();
        let mut next = self.seals.iter().peekable();
        for (index, out) in outbox.buffers_mut().enumerate() {
            // Outbox slots are begun in order, so the seals are in order too.
            if let Some(seal) = next.next_if(|seal| seal.index == index) {
                jobs.push(self.slab.get(seal.slot).dtls.seal_job(&seal.plan, out));
            }
        }
        assert_eq!(jobs.len(), self.seals.len(), "every written record is sealed before it leaves");
        aead::seal(&mut jobs);
        drop(jobs);
        may_die(Point::RecordSealed);
        for seal in self.seals.drain(..) {
            self.slab.get_mut(seal.slot).dtls.on_sealed();
        }
    }

    /// Tells the control plane something it can live without when the ring is full to the brim;
    /// false: it is.
    fn notify(&mut self, kind: wire::Kind, entry: &[u8], tail: &[u8]) -> bool {
        let is_told = self.up.push(kind, &[entry, tail], 0).is_ok();
        if !is_told {
            self.counters.tally(Tally::NoticeLost);
        }
        is_told
    }
}

fn table<K, V>(capacity: u32) -> HashMap<K, V, RandomState> {
    HashMap::with_capacity_and_hasher(capacity as usize, RandomState::default())
}

fn dtls_config(config: &Config) -> Result<server::Config, String> {
    let timing = tidegate_dtls::Timing {
        initial_ms: config.handshake.retransmit_ms.into(),
        retransmissions_max: config.handshake.retransmissions,
        ..tidegate_dtls::Timing::default()
    };
    Ok(server::Config {
        suites: config.handshake.suites()?,
        groups: config.handshake.groups()?,
        own_cid_len: if config.handshake.connection_id { CID_BYTES } else { 0 },
        return_routability: config.handshake.return_routability,
        require_extended_master_secret: config.handshake.require_extended_master_secret,
        link: Link { mtu: config.handshake.mtu, timing, ..Link::default() },
        ..server::Config::default()
    })
}

/// Cookies turn, idle sessions are looked for and counters are told so often, milliseconds.
const HOUSEKEEPING_MS: u64 = 1_000;
/// Datagrams one timer can cause: a handshake flight of small fragments.
const SENDS_PER_TIMER_MAX: usize = OUTBOX_SLOTS / 4;
