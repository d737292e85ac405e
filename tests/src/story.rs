//! What is a story in memory? A real worker, sans-IO devices and a control plane that does what it
//! is told, on one thread, with a clock that jumps.
//!
//! The lockstep stories of the worker read like the RFC's figures: a device says something, and
//! what the worker sends, what it puts on its ring and when, is looked at.

mod control;
pub mod credentials;
mod listener;
mod message;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

pub use listener::Listener;
pub use message::{message, request, request_with, seen};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_crypto::secret::Secret;
use tidegate_dataplane::clock::Now;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::handover::Handover;
use tidegate_dataplane::net::batch::{Batch, Datagram, Outbox};
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::resumptions::{Resumptions, Tables};
use tidegate_dataplane::slab::Slab;
use tidegate_dataplane::worker::{Parts, Worker};
use tidegate_dtls::client;
use tidegate_loadgen::device::Device;
use tidegate_ring::contract as wire;
use tidegate_ring::{Consumer, Producer, heap_pair};

/// A worker, or several, and everyone around.
pub struct Story {
    /// The clock, milliseconds.
    pub now: Now,
    /// The workers, most often one.
    seats: Vec<Seat>,
    handover: Handover,
    /// What can be resumed: it outlives the workers.
    tables: Tables,
    outbox: Outbox,
    config: Arc<Config>,
    random: StdRng,
    devices: Vec<Party>,
    listeners: Vec<Listening>,
    /// Sessions to devices that the worker could not open.
    pub unconnected: Vec<wire::ConnectFailed>,
    /// Most datagrams that one call of the kernel could send.
    pub longest_run: usize,
    /// Datagrams of the worker to lose, counted down.
    losing: usize,
    /// What the control plane answers an uplink with; `None`: nothing yet.
    pub publishes: Option<wire::Publication>,
    /// Uplinks seen on the ring, with the request's bytes.
    pub uplinks: Vec<(wire::Uplink, Vec<u8>)>,
    /// The bodies of the same, where they came in pieces; else empty.
    pub bodies: Vec<Vec<u8>>,
    /// Of the next one.
    pieces: Vec<u8>,
    /// The bodies of outcomes, where they came in pieces; else empty.
    pub response_bodies: Vec<Vec<u8>>,
    /// The bodies of messages that go block by block.
    pub long: HashMap<wire::MessageId, Vec<u8>>,
    /// Pieces of them that the worker asked for.
    pub wanted_pieces: Vec<wire::Wanted>,
    /// Whether the control plane sends them.
    pub gives_pieces: bool,
    /// Outcomes seen on the ring, with the response's bytes.
    pub outcomes: Vec<(wire::Outcome, Vec<u8>)>,
    /// Notifications seen on the ring, with the notification's bytes and its body, where that came
    /// in pieces.
    pub notifications: Vec<(wire::Notification, Vec<u8>, Vec<u8>)>,
    /// Sessions that came and went, by the ring.
    pub sessions: Vec<SessionNotice>,
    /// The names under which the devices of those sessions were let in.
    pub names: Vec<Vec<u8>>,
    /// Whether the control plane says whose a credential is; else it says nothing at all.
    pub knows_devices: bool,
    /// How often the control plane was asked whose a credential is.
    pub wanted: usize,
    /// Raw public keys it knows; the place of a key is the number of its device.
    pub keys: Vec<Vec<u8>>,
    /// What left the worker's plain CoAP sockets, oldest first.
    plain: VecDeque<(Peer, Vec<u8>)>,
    /// Sheets sent so far.
    generation: u64,
    /// The class of every credential it gives out.
    pub class: u16,
    /// What was told for the customer's log.
    pub notices: Vec<(wire::Notice, Vec<u8>)>,
    /// Datagrams given to the worker.
    pub received: u64,
    /// The last datagrams of the worker, at most `SENT_MAX`, and where they went.
    pub sent: VecDeque<(Peer, Vec<u8>)>,
}

/// What the ring says of a session.
#[derive(Clone, Copy, Debug)]
pub enum SessionNotice {
    /// A handshake completed.
    Up(wire::SessionUp),
    /// A session ended.
    Down(wire::SessionDown),
}

/// A worker and the other end of its ring.
struct Seat {
    /// `None` only while it restarts.
    worker: Option<Worker>,
    up: Consumer,
}

/// A device and the address it speaks from.
struct Party {
    device: Device,
    peer: Peer,
    /// The worker whose socket the kernel picks for it.
    lands_on: usize,
    /// Messages it received, oldest first.
    heard: VecDeque<Vec<u8>>,
    mid: u16,
}

/// A device that waits to be called.
struct Listening {
    listener: Listener,
    peer: Peer,
    lands_on: usize,
}

/// Names a device of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who(pub usize);

/// The key of every device, and its identity's prefix.
pub const KEY: &[u8] = b"0123456789abcdef";

/// Datagrams of the worker that a story remembers.
const SENT_MAX: usize = 1_024;

impl Story {
    /// A fresh worker with default settings.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Config::default())
    }

    /// A fresh worker with these settings.
    pub fn with(seed: u64, config: Config) -> Self {
        Self::with_workers(seed, 1, config)
    }

    /// Several of them, in one process.
    pub fn with_workers(seed: u64, workers: u8, mut config: Config) -> Self {
        config.sessions.per_worker = config.sessions.per_worker.min(4_096);
        config.resumption.per_worker = config.resumption.per_worker.min(4_096);
        let mut random = StdRng::seed_from_u64(seed);
        let now = Now { ms: random.random_range(1 << 20..1 << 40), unix_ms: 1_700_000_000_000 };
        let mut story = Self {
            now,
            seats: Vec::new(),
            handover: Handover::new(workers),
            tables: Tables::anonymous(workers, config.resumption.per_worker),
            outbox: Outbox::new(),
            config: Arc::new(config),
            random,
            devices: Vec::new(),
            listeners: Vec::new(),
            unconnected: Vec::new(),
            longest_run: 0,
            losing: 0,
            publishes: Some(wire::Publication::Confirmed),
            uplinks: Vec::new(),
            bodies: Vec::new(),
            pieces: Vec::new(),
            response_bodies: Vec::new(),
            long: HashMap::new(),
            wanted_pieces: Vec::new(),
            gives_pieces: true,
            outcomes: Vec::new(),
            notifications: Vec::new(),
            sessions: Vec::new(),
            names: Vec::new(),
            knows_devices: true,
            wanted: 0,
            keys: Vec::new(),
            plain: VecDeque::new(),
            generation: 0,
            class: 0,
            notices: Vec::new(),
            received: 0,
            sent: VecDeque::new(),
        };
        for index in 0..workers {
            let slab = Slab::anonymous(index, story.config.sessions.per_worker).expect("memory");
            let (up, consumer) = heap_pair(1 << 20);
            let worker = Some(story.hires(index, workers, slab, up));
            story.seats.push(Seat { worker, up: consumer });
        }
        story
    }

    fn hires(&mut self, index: u8, workers: u8, slab: Slab, up: Producer) -> Worker {
        let (age_s, tables) = (self.config.resumption.age_s, self.tables.clone());
        let parts = Parts {
            index,
            workers,
            config: Arc::clone(&self.config),
            slab,
            resumptions: Resumptions::new(self.now.s(), tables, index, age_s).0,
            up,
            handover: self.handover.clone(),
            seed: self.random.random(),
        };
        Worker::new(self.now, parts).expect("the configuration was checked")
    }

    /// The worker, or the first one.
    pub fn worker(&mut self) -> &mut Worker {
        self.worker_at(0)
    }

    /// One of several workers.
    pub fn worker_at(&mut self, index: usize) -> &mut Worker {
        self.seats[index].worker.as_mut().expect("it is not restarting")
    }

    /// A device with number `number` appears at an address of its own; no datagram has left it.
    pub fn device(&mut self, number: usize, own_cid: Option<&[u8]>, key: &[u8]) -> Who {
        self.device_with(number, own_cid, key, client::Config::default())
    }

    /// The same with DTLS settings of its own.
    pub fn device_with(
        &mut self,
        number: usize,
        own_cid: Option<&[u8]>,
        key: &[u8],
        config: client::Config,
    ) -> Who {
        self.device_named(number, identity(number), own_cid, key, config)
    }

    /// The same with an identity of its own, which nobody may know.
    pub fn device_named(
        &mut self,
        number: usize,
        identity: Vec<u8>,
        own_cid: Option<&[u8]>,
        key: &[u8],
        config: client::Config,
    ) -> Who {
        let credential = client::Credential::Psk { identity, psk: Secret::new(key) };
        self.device_as(number, credential, own_cid, config)
    }

    /// The same with a credential of any kind.
    pub fn device_as(
        &mut self,
        number: usize,
        credential: client::Credential,
        own_cid: Option<&[u8]>,
        config: client::Config,
    ) -> Who {
        self.device_resuming(number, credential, own_cid, config, None)
    }

    /// The same; its hello offers a session to resume.
    pub fn device_resuming(
        &mut self,
        number: usize,
        credential: client::Credential,
        own_cid: Option<&[u8]>,
        config: client::Config,
        session: Option<&client::Session>,
    ) -> Who {
        let randoms = client::Randoms::expand(&self.random.random());
        let (config, now) = (Arc::new(config), self.now);
        let unix_s = now.unix_ms / 1_000;
        let device = Device::new(&config, now.ms, unix_s, own_cid, &randoms, credential, session);
        let mid = self.random.random();
        let peer = Peer::new(address(number), 0);
        let lands_on = 0;
        self.devices.push(Party { device, peer, lands_on, heard: VecDeque::new(), mid });
        Who(self.devices.len() - 1)
    }

    /// Device `number` lost its connection to time, or to a reboot; it comes back from the same
    /// place, and all it has kept is `session`.
    pub fn comes_back(
        &mut self,
        number: usize,
        own_cid: Option<&[u8]>,
        session: Option<&client::Session>,
    ) -> Who {
        let credential =
            client::Credential::Psk { identity: identity(number), psk: Secret::new(KEY) };
        self.device_resuming(number, credential, own_cid, client::Config::default(), session)
    }

    /// A device that listens at [`Listener::address`]; what it sends lands on that worker.
    pub fn listens(&mut self, number: u8, key: &[u8], own_cid: &[u8], lands_on: usize) -> usize {
        let listener = Listener::new(self.random.random(), self.now.ms, key, own_cid);
        let peer = Peer::new(Listener::address(number), 0);
        self.listeners.push(Listening { listener, peer, lands_on });
        self.listeners.len() - 1
    }

    /// The device that listens itself.
    pub fn listener(&mut self, index: usize) -> &mut Listener {
        &mut self.listeners[index].listener
    }

    /// A device with a session.
    pub fn connected(&mut self, number: usize, own_cid: Option<&[u8]>) -> Who {
        let who = self.device(number, own_cid, KEY);
        self.exchange();
        assert!(self.devices[who.0].device.is_up(), "the handshake completes");
        who
    }

    /// The device itself.
    pub fn at(&mut self, who: Who) -> &mut Device {
        &mut self.devices[who.0].device
    }

    /// The device is switched off; whatever is sent to it is lost.
    pub fn forget(&mut self, who: Who) {
        self.devices.remove(who.0);
    }

    /// From now on the device speaks from another address, as after a NAT rebinding.
    pub fn rebinds(&mut self, who: Who) {
        let port = 20_000 + self.random.random_range(0..10_000);
        self.devices[who.0].peer = Peer::new(SocketAddr::from(([127, 9, 9, 9], port)), 0);
    }

    /// From now on the device speaks from this address.
    pub fn speaks_from(&mut self, who: Who, peer: Peer) {
        self.devices[who.0].peer = peer;
    }

    /// From now on the kernel gives what the device sends to this worker.
    pub fn lands_on(&mut self, who: Who, worker: usize) {
        self.devices[who.0].lands_on = worker;
    }

    /// Where the device speaks from.
    pub fn peer(&self, who: Who) -> Peer {
        self.devices[who.0].peer
    }

    /// The next datagrams of the worker are lost.
    pub fn loses(&mut self, count: usize) {
        self.losing = count;
    }

    /// Time passes, and everything that is due on the way happens when it is due.
    pub fn waits_ms(&mut self, ms: u64) {
        let until_ms = self.now.ms + ms;
        loop {
            let devices = self.devices.iter().filter_map(|party| party.device.due_ms()).min();
            let workers = self.seats.iter().filter_map(|seat| seat.worker.as_ref()?.due_ms());
            let due_ms = workers.chain(devices).min();
            match due_ms.filter(|due_ms| *due_ms <= until_ms) {
                None => break,
                Some(due_ms) => self.set_clock(due_ms.max(self.now.ms)),
            }
            let now = self.now;
            for party in &mut self.devices {
                if party.device.due_ms().is_some_and(|due_ms| due_ms <= now.ms) {
                    party.device.on_due(now.ms);
                }
            }
            for index in 0..self.seats.len() {
                self.turn(index, |worker, outbox| worker.on_due(now, outbox));
            }
            self.exchange();
        }
        self.set_clock(until_ms);
    }

    fn set_clock(&mut self, ms: u64) {
        self.now.unix_ms += ms - self.now.ms;
        self.now.ms = ms;
    }

    /// The device sends a request; returns its Message ID.
    pub fn requests(&mut self, who: Who, ty: Type, code: Code, path: &str, payload: &[u8]) -> u16 {
        let mid = self.devices[who.0].mid.wrapping_add(1);
        self.devices[who.0].mid = mid;
        self.sends(who, &request(ty, code, mid, path, payload));
        mid
    }

    /// The device sends CoAP bytes in a record, and everything that follows happens.
    pub fn sends(&mut self, who: Who, message: &[u8]) {
        let mut out = [0; 1_452];
        let length = self.at(who).seal(message, &mut out).expect("a session");
        let peer = self.peer(who);
        self.arrives(peer, &mut out[..length]);
        self.exchange();
    }

    /// A datagram arrives at the worker.
    pub fn arrives(&mut self, peer: Peer, datagram: &mut [u8]) {
        let party = self.devices.iter().rev().find(|party| party.peer == peer);
        let index = party.map_or(0, |party| party.lands_on);
        self.arrives_at(index, peer, datagram);
    }

    /// A datagram arrives at one of several workers.
    pub fn arrives_at(&mut self, index: usize, peer: Peer, datagram: &mut [u8]) {
        let now = self.now;
        self.received += 1;
        self.turn(index, |worker, outbox| {
            let mut batch = Batch::of_one(peer, datagram);
            worker.on_datagrams(now, &mut batch, outbox);
        });
    }

    /// Several datagrams arrive in one batch.
    pub fn arrive_together(&mut self, datagrams: &mut [(Peer, Vec<u8>)]) {
        let now = self.now;
        self.received += datagrams.len() as u64;
        self.turn(0, |worker, outbox| {
            let mut batch = Batch::new();
            for (peer, bytes) in datagrams {
                batch.push(Datagram { peer: *peer, bytes, truncated: false });
            }
            worker.on_datagrams(now, &mut batch, outbox);
        });
    }

    /// The peer at an address, heard on the first plain CoAP socket.
    pub fn plain_peer(&self, address: &str) -> Peer {
        Peer::new(address.parse().expect("an address"), self.config.listen.len() as u8)
    }

    /// A datagram arrives at a plain CoAP socket, and everything that follows happens.
    pub fn sends_plain(&mut self, peer: Peer, message: &[u8]) {
        self.arrives(peer, &mut message.to_vec());
        self.exchange();
    }

    /// The next datagram that a plain CoAP socket sent, and where to.
    pub fn hears_plain(&mut self) -> Option<(Peer, Vec<u8>)> {
        self.plain.pop_front()
    }

    /// The next message the device has heard.
    pub fn hears(&mut self, who: Who) -> Option<Vec<u8>> {
        self.devices[who.0].heard.pop_front()
    }

    /// The process ends here and now, and another one takes its sessions over.
    pub fn restarts(&mut self) {
        let workers = self.seats.len() as u8;
        self.handover = Handover::new(workers);
        for index in 0..workers {
            let worker = self.seats[usize::from(index)].worker.take();
            let (slab, up) = worker.expect("it is not restarting").into_slab();
            let (slab, _) = slab.reopened([0; 16]);
            let worker = self.hires(index, workers, slab, up);
            self.seats[usize::from(index)].worker = Some(worker);
        }
        self.received = 0;
    }

    /// Carries datagrams and ring entries until everyone has said what there was to say.
    pub fn exchange(&mut self) {
        let mut out = [0; 1_452];
        loop {
            let mut quiet = true;
            for index in 0..self.devices.len() {
                while let Some(length) = self.devices[index].device.poll_transmit(&mut out) {
                    quiet = false;
                    let peer = self.devices[index].peer;
                    self.arrives(peer, &mut out[..length]);
                }
            }
            for index in 0..self.listeners.len() {
                while let Some(mut datagram) = self.listeners[index].listener.poll_transmit() {
                    quiet = false;
                    let Listening { peer, lands_on, .. } = self.listeners[index];
                    self.arrives_at(lands_on, peer, &mut datagram);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn turn(&mut self, index: usize, act: impl FnOnce(&mut Worker, &mut Outbox)) {
        act(self.seats[index].worker.as_mut().expect("it is not restarting"), &mut self.outbox);
        self.follow(index);
    }

    /// What a turn of a worker leads to.
    fn follow(&mut self, index: usize) {
        self.deliver();
        self.control(index);
        let now = self.now;
        let posted = self.worker_at(index).take_posted();
        for other in (0..self.seats.len()).filter(|other| posted >> other & 1 == 1) {
            while let Some(mut letter) = self.handover.take(other as u8) {
                self.turn(other, |worker, outbox| worker.on_letter(now, &mut letter, outbox));
            }
        }
    }

    fn deliver(&mut self) {
        let longest = self.outbox.runs(true).map(|run| run.count).max();
        self.longest_run = self.longest_run.max(longest.unwrap_or(0));
        let sent: Vec<(Peer, Vec<u8>)> =
            self.outbox.datagrams().map(|(peer, bytes)| (peer, bytes.to_vec())).collect();
        self.outbox.clear();
        for (peer, mut bytes) in sent {
            if self.sent.len() == SENT_MAX {
                self.sent.pop_front();
            }
            self.sent.push_back((peer, bytes.clone()));
            if self.losing > 0 {
                self.losing -= 1;
                continue;
            }
            if self.config.is_nosec(peer.socket()) {
                self.plain.push_back((peer, bytes));
                continue;
            }
            if let Some(to) = self.listeners.iter_mut().find(|to| to.peer == peer) {
                to.listener.on_datagram(self.now.ms, Peer::default(), &mut bytes);
                continue;
            }
            let Some(party) = self.devices.iter_mut().rev().find(|party| party.peer == peer) else {
                continue;
            };
            party.device.on_datagram(self.now.ms, &mut bytes);
            while let Some(message) = party.device.take_message() {
                party.heard.push_back(message);
            }
        }
    }
}

/// The identity of device `number`.
pub fn identity(number: usize) -> Vec<u8> {
    format!("{number:032}").into_bytes()
}

/// The id of device `number`.
pub fn device_id(number: usize) -> wire::DeviceId {
    (number as u128).to_be_bytes()
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from((
        [127, 0, (number >> 8) as u8, number as u8],
        1_000 + (number % 60_000) as u16,
    ))
}
