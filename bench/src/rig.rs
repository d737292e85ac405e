//! What do the benches of the worker measure? A real worker with many sessions, real devices that
//! fill its batches, and a control plane that confirms every publication at once.
//!
//! The devices work outside the measured part: [`Rig::fill`] seals a batch, [`Rig::turn`] is what
//! a worker does with it, from datagrams in to datagrams out.

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_crypto::secret::Secret;
use tidegate_dataplane::bounds::BATCH_MAX;
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
use tidegate_ring::contract::{self as wire, Kind};
use tidegate_ring::{Consumer, heap_pair};
use zerocopy::IntoBytes;

/// A worker and its devices.
pub struct Rig {
    worker: Worker,
    up: Consumer,
    outbox: Outbox,
    now: Now,
    devices: Vec<(Peer, Device)>,
    next: usize,
    mid: u16,
    replies: u64,
    batch: Vec<(Peer, usize, [u8; 128])>,
}

impl Rig {
    /// A worker on which `sessions` devices have completed their handshakes.
    pub fn new(sessions: usize) -> Self {
        let now = Now { ms: 1_000_000, unix_ms: 1_700_000_000_000 };
        let mut config = Config::default();
        config.sessions.per_worker = sessions as u32;
        let (up, consumer) = heap_pair(1 << 20);
        let parts = Parts {
            index: 0,
            workers: 1,
            slab: Slab::anonymous(0, sessions as u32).expect("memory"),
            resumptions: Resumptions::new(now.s(), Tables::anonymous(1, 0), 0, 1).0,
            config: Arc::new(config),
            up,
            handover: Handover::new(1),
            seed: [7; 32],
        };
        let mut rig = Self {
            worker: Worker::new(now, parts).expect("defaults are good"),
            up: consumer,
            outbox: Outbox::new(),
            now,
            devices: Vec::with_capacity(sessions),
            next: 0,
            mid: 0,
            replies: 0,
            batch: vec![(Peer::default(), 0, [0; 128]); BATCH_MAX],
        };
        let client = Arc::new(client::Config::default());
        for number in 0..sessions {
            rig.connect(&client, number);
        }
        rig
    }

    fn connect(&mut self, config: &Arc<client::Config>, number: usize) {
        let address = SocketAddr::from(([127, 0, 0, 1], (number % 60_000) as u16 + 1_024));
        let peer = Peer::new(address, 0);
        let credential = client::Credential::Psk {
            identity: format!("{number:032}").into_bytes(),
            psk: Secret::new(KEY),
        };
        let mut seed = [3; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let randoms = client::Randoms::expand(&seed);
        let (now, cid) = (self.now, Some(&[][..]));
        let mut device = Device::new(config, now.ms, 0, cid, &randoms, credential, None);
        let mut out = [0; 1_452];
        while let Some(length) = device.poll_transmit(&mut out) {
            let mut batch = Batch::of_one(peer, &mut out[..length]);
            self.worker.on_datagrams(self.now, &mut batch, &mut self.outbox);
            self.control();
            for (_, bytes) in self.outbox.datagrams() {
                device.on_datagram(self.now.ms, &mut bytes.to_vec());
            }
            self.outbox.clear();
        }
        assert!(device.is_up(), "the handshake completes");
        self.devices.push((peer, device));
    }

    /// The next devices seal a CON PUT each, `payload_bytes` long, a batch of `count` in all.
    pub fn fill(&mut self, count: usize, payload_bytes: usize) {
        let payload = [b'x'; 64];
        for slot in &mut self.batch[..count] {
            let index = self.next;
            self.next = (self.next + 1) % self.devices.len();
            if self.next == 0 {
                self.mid = self.mid.wrapping_add(1);
                // A Message ID comes again after 65 536 rounds; by then its lifetime is over.
                self.now.ms += 50_000;
                self.now.unix_ms += 50_000;
            }
            let (peer, device) = &mut self.devices[index];
            let mut message = [0; 96];
            let token = Token::new(&self.mid.to_be_bytes());
            let length = Writer::new(&mut message, Type::Con, Code::PUT, self.mid, &token)
                .option(Number::URI_PATH, b"t")
                .payload(&payload[..payload_bytes])
                .finish()
                .expect("it fits");
            let sealed = device.seal(&message[..length], &mut slot.2).expect("a session");
            (slot.0, slot.1) = (*peer, sealed);
        }
    }

    /// One turn of the worker over the filled batch: requests in, confirmations, replies out.
    pub fn turn(&mut self, count: usize) {
        let mut batch = Batch::new();
        for (peer, length, bytes) in &mut self.batch[..count] {
            batch.push(Datagram { peer: *peer, bytes: &mut bytes[..*length], truncated: false });
        }
        self.worker.on_datagrams(self.now, &mut batch, &mut self.outbox);
        drop(batch);
        self.control();
        self.replies += self.outbox.datagrams().count() as u64;
        self.outbox.clear();
    }

    /// Replies sent so far.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// Confirms every publication and knows every device.
    fn control(&mut self) {
        while let Some(entry) = self.up.next().expect("our own ring") {
            let (seq, bytes) = (entry.seq, entry.bytes);
            match Kind::from_wire(entry.kind) {
                Some(Kind::Uplink) => {
                    let (uplink, _) = wire::Uplink::split(bytes).expect("whole");
                    let answer = wire::Published {
                        exchange: uplink.exchange,
                        max_age_s: 0.into(),
                        publication: wire::Publication::Confirmed as u8,
                    };
                    let (kind, bytes) = (Kind::Published as u8, answer.as_bytes());
                    self.worker.on_entry(self.now, kind, bytes, &mut self.outbox);
                }
                Some(Kind::CredentialWanted) => {
                    let (wanted, _) = wire::CredentialWanted::split(bytes).expect("whole");
                    let answer = wire::Credential {
                        request: wanted.request,
                        device: [1; 16],
                        stamp: 1.into(),
                        verdict: wire::Verdict::Known as u8,
                        network: wire::Network::Cellular as u8,
                    };
                    let bytes = [answer.as_bytes(), KEY].concat();
                    let kind = Kind::Credential as u8;
                    self.worker.on_entry(self.now, kind, &bytes, &mut self.outbox);
                }
                _ => {}
            }
            self.up.release(seq);
        }
    }
}

const KEY: &[u8] = b"0123456789abcdef";
