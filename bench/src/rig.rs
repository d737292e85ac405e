//! What do the benches of the worker measure? A real worker with many sessions, real devices that
//! fill its batches, and a control plane that confirms every publication at once.
//!
//! The devices and the control plane work outside the measured part: [`Rig::fill`] seals a batch,
//! [`Rig::turn`] is what a worker does with it, from datagrams in to datagrams out. The sessions
//! are those of an earlier life, so that a million of them need no handshakes; devices speak in an
//! order that no hardware guesses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_coap::block::{Block, BlockSize};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_dataplane::bounds::BATCH_MAX;
use tidegate_dataplane::clock::Now;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::handover::Handover;
use tidegate_dataplane::net::batch::{Batch, Datagram, Outbox};
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::resumptions::{Resumptions, Tables};
use tidegate_dataplane::slab::{CID_BYTES, Slab};
use tidegate_dataplane::worker::{Parts, Worker};
use tidegate_dtls::established::{Established, Negotiated};
use tidegate_dtls::key_schedule::{DirectionKeys, KeyBlock};
use tidegate_dtls::record::ContentType;
use tidegate_dtls::{Role, Suite};
use tidegate_ring::contract::{self as wire, Kind};
use tidegate_ring::policy::{self, Class, Effect, Item, METHODS_ALL};
use tidegate_ring::{Consumer, Producer, heap_pair};
use zerocopy::IntoBytes;

/// A worker and its devices.
pub struct Rig {
    worker: Worker,
    /// Both rings: its ends of the control plane, and the worker's of the second.
    up: Consumer,
    down: Producer,
    entries: Consumer,
    outbox: Outbox,
    now: Now,
    devices: Vec<Established>,
    /// The device that speaks next, and how far it is from one to the next.
    next: usize,
    stride: usize,
    route: Route,
    /// Devices speak from another port each time.
    is_rebinding: bool,
    /// They send bodies of two Non-confirmable blocks.
    is_bursting: bool,
    mid: u16,
    replies: u64,
    batch: Vec<(Peer, usize, [u8; RECORD_BYTES_MAX])>,
}

/// Where the requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the path of `[echo]`.
    Echo,
    /// Through the rings.
    Publish,
}

impl Rig {
    /// A worker with `sessions` sessions, whose devices send CON PUTs.
    pub fn new(sessions: usize, route: Route) -> Self {
        let now = Now { ms: 1_000_000, unix_ms: 1_700_000_000_000 };
        let mut config = Config::default();
        config.sessions.per_worker = sessions as u32;
        config.echo.path = "echo".into();
        let (mut slab, mut devices) =
            (Slab::anonymous(0, sessions as u32).expect("memory"), vec![]);
        for number in 0..sessions {
            let (edge, device) = session(number, &mut slab, now);
            assert_eq!(edge as usize, number, "slots are taken in order");
            devices.push(device);
        }
        let (worker_up, up) = heap_pair(1 << 20);
        let (down, entries) = heap_pair(1 << 20);
        let parts = Parts {
            index: 0,
            workers: 1,
            slab,
            resumptions: Resumptions::new(now.s(), Tables::anonymous(1, 0), 0, 1).0,
            config: Arc::new(config),
            up: worker_up,
            handover: Handover::new(1),
            seed: [7; 32],
        };
        Self {
            worker: Worker::new(now, parts).expect("defaults are good"),
            up,
            down,
            entries,
            outbox: Outbox::new(),
            now,
            devices,
            next: 0,
            stride: stride(sessions),
            route,
            is_rebinding: false,
            is_bursting: false,
            mid: 0,
            replies: 0,
            batch: vec![(Peer::default(), 0, [0; RECORD_BYTES_MAX]); BATCH_MAX],
        }
    }

    /// From now on a policy of eight statements counts for every device, and allows what they ask
    /// for, or not.
    pub fn judge(&mut self, is_allowed: bool) {
        let mut statements = Vec::new();
        for number in 0..7 {
            let pattern = format!("elsewhere/{number}/*");
            policy::write_statement(
                &mut statements,
                Effect::Allow,
                METHODS_ALL,
                pattern.as_bytes(),
            );
        }
        let pattern: &[u8] = if is_allowed { b"*" } else { b"nowhere/*" };
        policy::write_statement(&mut statements, Effect::Allow, METHODS_ALL, pattern);
        let mut sheet = Vec::new();
        let class = Class { own: 1, ..Class::default() };
        let fits = policy::write(&mut sheet, &Item::Policy(&statements))
            && policy::write(&mut sheet, &Item::Class(0, class));
        assert!(fits, "a short sheet");
        let total = (sheet.len() as u32).into();
        let piece = wire::Policies { generation: 1.into(), offset: 0.into(), total };
        let parts = [piece.as_bytes(), &sheet[..]];
        self.down.push(Kind::Policies as u8, &parts, 0).expect("room");
        let taken = self.worker.on_entries(self.now, &mut self.entries, &mut self.outbox);
        taken.expect("our own ring");
    }

    /// From now on devices speak from another port each time.
    pub fn rebind(&mut self) {
        self.is_rebinding = true;
    }

    /// From now on devices send bodies of two Non-confirmable blocks each, in any order (RFC 9177).
    pub fn burst(&mut self) {
        self.is_bursting = true;
    }

    /// The next devices seal a CON PUT each, `payload_bytes` long, a batch of `count` in all.
    pub fn fill(&mut self, count: usize, payload_bytes: usize) {
        let payload = [b'x'; 64];
        let path: &[u8] = if self.route == Route::Echo { b"echo" } else { b"t" };
        for (peer, bytes, record) in &mut self.batch[..count] {
            let index = self.next;
            self.next = (self.next + self.stride) % self.devices.len();
            if self.next == 0 {
                self.mid = self.mid.wrapping_add(1);
                // A Message ID comes again after 65 536 rounds; by then its lifetime is over.
                self.now.ms += ROUND_MS;
                self.now.unix_ms += ROUND_MS;
            }
            *peer = peer_of(index, if self.is_rebinding { self.mid } else { 0 });
            let mut message = [0; 96];
            let token = Token::new(&self.mid.to_be_bytes());
            let ty = if self.is_bursting { Type::Non } else { Type::Con };
            let mut writer = Writer::new(&mut message, ty, Code::PUT, self.mid, &token);
            writer.option(Number::URI_PATH, path);
            if self.is_bursting {
                write_half(&mut writer, self.mid);
            } else {
                writer.payload(&payload[..payload_bytes]);
            }
            let length = writer.finish().expect("it fits");
            let content = &message[..length];
            let sealed = self.devices[index].seal(ContentType::APPLICATION_DATA, content, record);
            *bytes = sealed.expect("a session");
        }
    }

    /// One turn of the worker over the filled batch: requests in, confirmations, replies out. How
    /// long the worker's part took.
    pub fn turn(&mut self, count: usize) -> Duration {
        let mut batch = Batch::new();
        for (peer, length, bytes) in &mut self.batch[..count] {
            batch.push(Datagram { peer: *peer, bytes: &mut bytes[..*length], truncated: false });
        }
        let begun = Instant::now();
        self.worker.on_datagrams(self.now, &mut batch, &mut self.outbox);
        let mut elapsed = begun.elapsed();
        drop(batch);
        self.control();
        let begun = Instant::now();
        let taken = self.worker.on_entries(self.now, &mut self.entries, &mut self.outbox);
        self.worker.on_due(self.now, &mut self.outbox);
        elapsed += begun.elapsed();
        taken.expect("our own ring");
        self.replies += self.outbox.datagrams().count() as u64;
        self.outbox.clear();
        elapsed
    }

    /// Replies sent so far.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// The worker.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Confirms every publication.
    fn control(&mut self) {
        let mut last = None;
        while let Some(entry) = self.up.next().expect("our own ring") {
            last = Some(entry.seq);
            if Kind::from_wire(entry.kind) != Some(Kind::Uplink) {
                continue;
            }
            let (uplink, _) = wire::Uplink::split(entry.bytes).expect("whole");
            let confirmed = wire::Publication::Confirmed;
            let answer = wire::Published::new(uplink.exchange, 0, confirmed);
            self.down.push(Kind::Published as u8, &[answer.as_bytes()], 0).expect("room");
        }
        if let Some(seq) = last {
            self.up.release(seq);
        }
    }
}

/// A session with keys of its own: its slot, and the device's end.
fn session(number: usize, slab: &mut Slab, now: Now) -> (u32, Established) {
    let direction = |which: u8| {
        let mut keys = DirectionKeys { key: [which; 32], iv: [which; 4] };
        keys.key[..8].copy_from_slice(&number.to_le_bytes());
        keys
    };
    let keys = KeyBlock { client: direction(1), server: direction(2) };
    let slot = slab.reserve(peer_of(number, 0), number as u16, now.s()).expect("room");
    let cid = slab.cid(slot);
    let end = |role, own_cid_len, peer_cid: &[u8]| {
        let negotiated = Negotiated {
            suite: Suite::PskAes128Ccm8,
            own_cid_len,
            peer_cid,
            extended_master_secret: true,
            max_fragment_length: None,
            return_routability: false,
        };
        Established::new(&negotiated, &keys, role)
    };
    let device = (number as u128 + 1).to_be_bytes();
    slab.establish(slot, device, 1, end(Role::Server, CID_BYTES, &[]), 0);
    slab.get_mut(slot).told = 1;
    (slot, end(Role::Client, 0, &cid))
}

fn peer_of(number: usize, port: u16) -> Peer {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    Peer::new(SocketAddr::from(([127, a, b, c], 1_024 + port % 50_000)), 0)
}

/// Half of a body: the second one first, so that the other is put before it.
fn write_half(writer: &mut Writer<'_>, mid: u16) {
    let size = BlockSize::MIN;
    let number = u32::from(mid & 1 ^ 1);
    let block = Block::new(number, number == 0, size).expect("a number");
    writer.option_uint(Number::Q_BLOCK1, block.value());
    writer.option_uint(Number::SIZE1, 2 * size.bytes() as u32);
    writer.option(Number::REQUEST_TAG, &(mid >> 1).to_be_bytes()).payload(&[b'x'; 16]);
}

/// A step that visits every device once a round, far from the last one each time.
fn stride(devices: usize) -> usize {
    let golden = (devices as f64 * 0.618) as usize;
    let has_common_divisor = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a != 1
    };
    (golden.max(1)..=devices).find(|step| !has_common_divisor(*step, devices)).unwrap_or(1)
}

/// Longest record of a device here, bytes.
const RECORD_BYTES_MAX: usize = 160;
/// Time between a device's requests, ms: 65 536 of them outlast EXCHANGE_LIFETIME.
const ROUND_MS: u64 = 4;
