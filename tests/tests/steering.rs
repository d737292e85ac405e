//! Do datagrams of real devices land where their session lives? Three workers on real sockets of
//! one reuseport group, devices that change their port and resume, and the share handed over.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_crypto::secret::Secret;
use tidegate_dataplane::clock::Now;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::{Fate, Tally};
use tidegate_dataplane::handover::Handover;
use tidegate_dataplane::net::batch::Outbox;
use tidegate_dataplane::net::{Net, Shared};
use tidegate_dataplane::resumptions::{Resumptions, Tables};
use tidegate_dataplane::slab::Slab;
use tidegate_dataplane::worker::{Parts, Worker};
use tidegate_dtls::client;
use tidegate_loadgen::device::Device;
use tidegate_ring::contract as wire;
use tidegate_ring::{Consumer, Doorbell, heap_pair};
use tidegate_tests::place::Directory;
use tidegate_tests::story::{KEY, device_id, identity, request, seen};
use zerocopy::IntoBytes;

const WORKERS: u8 = 3;
const DEVICES: usize = 16;
const ROUNDS: u8 = 4;

struct Seat {
    net: Net,
    worker: Worker,
    up: Consumer,
    _bell: Doorbell,
}

/// The workers of one process, turned one after the other.
struct Group {
    seats: Vec<Seat>,
    outbox: Outbox,
    handover: Handover,
    edge: SocketAddr,
    random: StdRng,
    _directory: Directory,
}

impl Group {
    fn new() -> Self {
        let mut random = StdRng::seed_from_u64(1);
        let directory = Directory::new("steering");
        let (handover, tables) = (Handover::new(WORKERS), Tables::anonymous(WORKERS, 64));
        let mut listen: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let mut seats = Vec::new();
        for index in 0..WORKERS {
            let config = Arc::new(Config { listen: vec![listen], ..Config::default() });
            let bell = Doorbell::create(&directory.path().join(format!("{index}.bell")));
            let bell = bell.expect("a FIFO");
            let shared = Shared::open(&config, WORKERS);
            let net = Net::open_with(&config, &shared, index, bell.as_fd()).expect("a socket");
            listen = net.local_addresses().expect("bound")[0];
            let (up, consumer) = heap_pair(1 << 20);
            let now = Now::read();
            let parts = Parts {
                index,
                workers: WORKERS,
                config,
                slab: Slab::anonymous(index, 64).expect("memory"),
                resumptions: Resumptions::new(now.s(), tables.clone(), index, 600).0,
                up,
                handover: handover.clone(),
                seed: random.random(),
            };
            let worker = Worker::new(now, parts).expect("defaults are good");
            seats.push(Seat { net, worker, up: consumer, _bell: bell });
        }
        let outbox = Outbox::new();
        Self { seats, outbox, handover, edge: listen, random, _directory: directory }
    }

    /// One turn of each worker.
    fn turns(&mut self) {
        for (index, seat) in (0..).zip(&mut self.seats) {
            seat.net.wait(Duration::ZERO);
            let now = Now::read();
            let mut batch = seat.net.reap();
            seat.worker.on_datagrams(now, &mut batch, &mut self.outbox);
            drop(batch);
            while let Some(mut letter) = self.handover.take(index) {
                seat.worker.on_letter(now, &mut letter, &mut self.outbox);
            }
            seat.control(now, &mut self.outbox);
            seat.worker.on_due(now, &mut self.outbox);
            seat.net.flush(&mut self.outbox);
        }
    }

    fn fate(&self, fate: Fate) -> u64 {
        self.seats.iter().map(|seat| seat.worker.counters().fate(fate)).sum()
    }

    fn of(&self, tally: Tally) -> Vec<u64> {
        self.seats.iter().map(|seat| seat.worker.counters().of(tally)).collect()
    }
}

impl Seat {
    /// The control plane knows every device and confirms every publication.
    fn control(&mut self, now: Now, outbox: &mut Outbox) {
        let mut answers = Vec::new();
        while let Some(entry) = self.up.next().expect("our own ring") {
            if entry.kind == wire::Kind::CredentialWanted as u8 {
                let (wanted, identity) = wire::CredentialWanted::split(entry.bytes).expect("whole");
                let number = std::str::from_utf8(identity).expect("digits").parse();
                let known = wire::Credential {
                    request: wanted.request,
                    device: device_id(number.expect("digits")),
                    stamp: 1.into(),
                    class: 0.into(),
                    verdict: wire::Verdict::Known as u8,
                    network: wire::Network::Cellular as u8,
                };
                answers.push((wire::Kind::Credential, [known.as_bytes(), KEY].concat()));
            } else if entry.kind == wire::Kind::Uplink as u8 {
                let (uplink, _) = wire::Uplink::split(entry.bytes).expect("whole");
                let confirmed = wire::Publication::Confirmed;
                let published = wire::Published::new(uplink.exchange, 0, confirmed);
                answers.push((wire::Kind::Published, published.as_bytes().to_vec()));
            }
            let seq = entry.seq;
            self.up.release(seq);
        }
        for (kind, entry) in answers {
            self.worker.on_entry(now, kind as u8, &entry, outbox);
        }
    }
}

/// A device with a socket of its own.
struct Party {
    number: usize,
    device: Device,
    socket: UdpSocket,
    mid: u16,
}

impl Party {
    fn new(group: &mut Group, number: usize) -> Self {
        let device = Self::hello(group, number, None);
        Self { number, device, socket: socket(group.edge), mid: 0 }
    }

    fn hello(group: &mut Group, number: usize, session: Option<&client::Session>) -> Device {
        let identity = identity(number);
        let credential = client::Credential::Psk { identity, psk: Secret::new(KEY) };
        let randoms = client::Randoms::expand(&group.random.random());
        let config = Arc::new(client::Config::default());
        let now_ms = Now::read().ms;
        Device::new(&config, now_ms, 0, Some(b""), &randoms, credential, session)
    }

    /// From now on it speaks from another port.
    fn rebinds(&mut self, group: &Group) {
        self.socket = socket(group.edge);
    }

    /// It says close_notify, and comes back from another port with what it kept.
    fn comes_back(&mut self, group: &mut Group) {
        let kept = self.device.resumable().cloned().expect("the server names its sessions");
        let mut out = [0; 200];
        let length = self.device.close(&mut out).expect("a session");
        self.socket.send(&out[..length]).expect("loopback");
        self.rebinds(group);
        self.device = Self::hello(group, self.number, Some(&kept));
    }

    /// The device hears what came and says what it has to say to that.
    fn turn(&mut self) {
        let mut bytes = [0; 2_048];
        loop {
            match self.socket.recv(&mut bytes) {
                Ok(length) => self.device.on_datagram(Now::read().ms, &mut bytes[..length]),
                Err(e) => break assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
        while let Some(length) = self.device.poll_transmit(&mut bytes) {
            self.socket.send(&bytes[..length]).expect("loopback");
        }
    }

    fn asks(&mut self) {
        self.mid += 1;
        let mut out = [0; 200];
        let put = request(Type::Con, Code::PUT, self.mid, "/t", b"1");
        let length = self.device.seal(&put, &mut out).expect("a session");
        self.socket.send(&out[..length]).expect("loopback");
    }
}

fn socket(edge: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(edge).expect("loopback");
    socket.set_nonblocking(true).expect("a flag");
    socket
}

/// Turns everyone until `is_done` for every device. What never comes ends the test by its own
/// count: a turn that finds nothing takes no time worth counting.
fn until(group: &mut Group, parties: &mut [Party], mut is_done: impl FnMut(&mut Party) -> bool) {
    let mut waiting: Vec<&mut Party> = parties.iter_mut().collect();
    for _ in 0..1_000_000 {
        for party in &mut waiting {
            party.turn();
        }
        waiting.retain_mut(|party| !is_done(party));
        group.turns();
        if waiting.is_empty() {
            return;
        }
    }
    panic!("{} devices are still waiting", waiting.len());
}

#[test]
fn records_reach_their_worker_and_hellos_resume_on_any() {
    let mut group = Group::new();
    let mut parties: Vec<Party> = (0..DEVICES).map(|n| Party::new(&mut group, n)).collect();
    let answered = |party: &mut Party| {
        let expected = Some((Type::Ack, Code::CHANGED, party.mid));
        party.device.take_message().is_some_and(|message| seen(Some(message)) == expected)
    };
    until(&mut group, &mut parties, |party| party.device.is_up());
    for _ in 0..ROUNDS {
        for party in &mut parties {
            party.rebinds(&group);
        }
        parties.iter_mut().for_each(Party::asks);
        until(&mut group, &mut parties, answered);
        for party in &mut parties {
            party.comes_back(&mut group);
        }
        until(&mut group, &mut parties, |party| party.device.is_up());
        assert!(parties.iter().all(|party| party.device.is_resumed()));
        parties.iter_mut().for_each(Party::asks);
        until(&mut group, &mut parties, answered);
    }
    let resumed = group.of(Tally::SessionResumed);
    assert_eq!(resumed.iter().sum::<u64>(), DEVICES as u64 * u64::from(ROUNDS));
    assert!(resumed.iter().all(|count| *count > 0), "on every worker: {resumed:?}");
    let (right, wrong) = (group.fate(Fate::Accepted), group.fate(Fate::HandedOver));
    assert!(right > 200, "{right}");
    assert_eq!(wrong, 0, "of {right} the kernel gave the wrong worker so many");
}
