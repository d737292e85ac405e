//! Can strangers, a device that is let in, or the other process bring a worker down? Datagrams,
//! messages in a device's session and ring entries, cut out of the input, in any order.

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_crypto::secret::Secret;
use tidegate_dataplane::clock::Now;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::handover::Handover;
use tidegate_dataplane::net::batch::{Batch, Outbox};
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::resumptions::{Resumptions, Tables};
use tidegate_dataplane::slab::Slab;
use tidegate_dataplane::worker::{Parts, Worker};
use tidegate_dtls::client;
use tidegate_loadgen::device::{Device, OUT_BYTES};
use tidegate_ring::contract as wire;
use tidegate_ring::{Consumer, heap_pair};
use zerocopy::IntoBytes;

const KEY: &[u8] = b"0123456789abcdef";

pub(crate) fn run(input: &[u8]) {
    let mut edge = Edge::new();
    edge.lets_the_device_in();
    let mut rest = input;
    // Each turn: what to do, a number for it, and how many bytes it is of.
    while let Some((&[choice, number, low, high], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high]) % 2_048);
        let (bytes, tail) = tail.split_at(len.min(tail.len()));
        rest = tail;
        match choice % 4 {
            0 => edge.hears(stranger(number), &mut bytes.to_vec()),
            1 => edge.hears_from_device(bytes),
            2 => edge.reads(number, bytes),
            _ => edge.waits(u64::from(number) * 500),
        }
    }
    // Everything that was begun ends: nothing is due for ever.
    edge.waits(600_000);
    assert!(edge.worker.slab().live() <= SESSIONS);
}

const SESSIONS: u32 = 64;

struct Edge {
    now: Now,
    worker: Worker,
    outbox: Outbox,
    up: Consumer,
    device: Device,
}

fn stranger(number: u8) -> Peer {
    Peer::new(SocketAddr::from(([127, 0, 0, 2 + number % 4], 5_000)), 0)
}

fn home() -> Peer {
    Peer::new(SocketAddr::from(([127, 0, 0, 1], 5_000)), 0)
}

impl Edge {
    fn new() -> Self {
        let now = Now { ms: 1_000_000, unix_ms: 1_795_000_000_000 };
        let mut config = Config::default();
        config.sessions.per_worker = SESSIONS;
        config.handshake.half_open = 16;
        config.coap.exchanges = 16;
        config.coap.downlinks = 16;
        let config = Arc::new(config);
        let (producer, up) = heap_pair(1 << 18);
        let parts = Parts {
            index: 0,
            workers: 1,
            config: Arc::clone(&config),
            slab: Slab::anonymous(0, SESSIONS).expect("memory"),
            resumptions: Resumptions::new(now.s(), Tables::anonymous(1, 16), 0, 3_600).0,
            up: producer,
            handover: Handover::new(1),
            seed: [7; 32],
        };
        let worker = Worker::new(now, parts).expect("the configuration is one");
        let credential =
            client::Credential::Psk { identity: b"device".to_vec(), psk: Secret::new(KEY) };
        let randoms = client::Randoms::expand(&[9; 32]);
        let device = Device::new(
            &Arc::new(client::Config::default()),
            now.ms,
            now.unix_ms / 1_000,
            Some(b"c"),
            &randoms,
            credential,
            None,
        );
        Self { now, worker, outbox: Outbox::new(), up, device }
    }

    fn lets_the_device_in(&mut self) {
        for _ in 0..8 {
            let mut out = [0; OUT_BYTES];
            while let Some(len) = self.device.poll_transmit(&mut out) {
                self.hears(home(), &mut out[..len]);
            }
        }
        assert!(self.device.is_up(), "the handshake completes");
    }

    fn hears(&mut self, peer: Peer, datagram: &mut [u8]) {
        let mut batch = Batch::of_one(peer, datagram);
        self.worker.on_datagrams(self.now, &mut batch, &mut self.outbox);
        drop(batch);
        self.settles();
    }

    fn hears_from_device(&mut self, message: &[u8]) {
        let mut out = [0; OUT_BYTES];
        if let Some(len) = self.device.seal(&message[..message.len().min(1_400)], &mut out) {
            self.hears(home(), &mut out[..len]);
        }
    }

    fn reads(&mut self, kind: u8, entry: &[u8]) {
        self.worker.on_entry(self.now, kind, entry, &mut self.outbox);
        self.settles();
    }

    fn waits(&mut self, ms: u64) {
        let until_ms = self.now.ms + ms;
        while let Some(due_ms) = self.worker.due_ms().filter(|due_ms| *due_ms <= until_ms) {
            self.now.unix_ms += due_ms.saturating_sub(self.now.ms);
            self.now.ms = self.now.ms.max(due_ms);
            self.worker.on_due(self.now, &mut self.outbox);
            self.settles();
        }
        self.now.unix_ms += until_ms - self.now.ms;
        self.now.ms = until_ms;
    }

    /// What the worker says reaches the device, and its ring a control plane that knows one device.
    fn settles(&mut self) {
        for (_, bytes) in self.outbox.datagrams().filter(|(peer, _)| *peer == home()) {
            self.device.on_datagram(self.now.ms, &mut bytes.to_vec());
        }
        self.outbox.clear();
        let mut answers = Vec::new();
        while let Ok(Some(entry)) = self.up.next() {
            if entry.kind == wire::Kind::CredentialWanted as u8 {
                let (wanted, name) = wire::CredentialWanted::split(entry.bytes).expect("whole");
                let is_it = name == b"device";
                let verdict =
                    if is_it { wire::Verdict::Known } else { wire::Verdict::Unknown } as u8;
                let head = wire::Credential {
                    request: wanted.request,
                    device: [1; 16],
                    stamp: 1.into(),
                    class: 0.into(),
                    verdict,
                    network: wire::Network::Cellular as u8,
                };
                let key = if is_it { KEY } else { b"" };
                answers.push([head.as_bytes(), key].concat());
            }
            let seq = entry.seq;
            self.up.release(seq);
        }
        for answer in answers {
            self.reads(wire::Kind::Credential as u8, &answer);
        }
    }
}
