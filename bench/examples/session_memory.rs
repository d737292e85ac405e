//! How much memory does an idle session take, all told? Resident bytes a session, over sessions
//! that came by full handshakes and said one thing each.
//!
//! ```sh
//! cargo run --release -p tidegate-bench --example session_memory [sessions] [resumable sessions]
//! ```
//! A million take about a minute. The devices are forgotten as soon as they have spoken. What the
//! worker and the allocator take on first use counts too, so few sessions look dearer than many.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_crypto::secret::Secret;
use tidegate_dataplane::clock::Now;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Tally;
use tidegate_dataplane::handover::Handover;
use tidegate_dataplane::net::batch::{Batch, Outbox};
use tidegate_dataplane::net::peer::Peer;
use tidegate_dataplane::resumptions::{Resumptions, Tables};
use tidegate_dataplane::slab::Slab;
use tidegate_dataplane::worker::{Parts, Worker};
use tidegate_dtls::client;
use tidegate_loadgen::device::{Device, OUT_BYTES};
use tidegate_ring::contract::{self as wire, Kind};
use tidegate_ring::{Consumer, heap_pair};
use zerocopy::IntoBytes;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = std::env::args().skip(1).map(|text| text.parse());
    let numbers = arguments.collect::<Result<Vec<u32>, _>>()?;
    let sessions = numbers.first().copied().unwrap_or(1_000_000);
    let resumable = numbers.get(1).copied().unwrap_or(0);
    let mut edge = Edge::new(sessions, resumable)?;
    let before = resident_bytes()?;
    for number in 0..sessions {
        edge.connect(number);
    }
    let grown = resident_bytes()?.saturating_sub(before);
    let counters = edge.worker.counters();
    assert_eq!(counters.of(Tally::SessionUp), u64::from(sessions));
    assert_eq!(counters.of(Tally::Echo), u64::from(sessions));
    println!(
        "{sessions} sessions, {resumable} resumable: {:.2} bytes resident a session",
        grown as f64 / f64::from(sessions)
    );
    Ok(())
}

/// A worker and a control plane that knows every device.
struct Edge {
    worker: Worker,
    up: Consumer,
    outbox: Outbox,
    now: Now,
    client: Arc<client::Config>,
}

impl Edge {
    fn new(sessions: u32, resumable: u32) -> Result<Self, Box<dyn Error>> {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        let now = Now { ms: 1_000_000, unix_ms };
        let mut config = Config::default();
        config.sessions.per_worker = sessions;
        config.resumption.per_worker = resumable;
        config.echo.path = "echo".into();
        let (worker_up, up) = heap_pair(1 << 20);
        let tables = Tables::anonymous(1, resumable);
        let parts = Parts {
            index: 0,
            workers: 1,
            slab: Slab::anonymous(0, sessions)?,
            resumptions: Resumptions::new(now.s(), tables, 0, config.resumption.age_s).0,
            config: Arc::new(config),
            up: worker_up,
            handover: Handover::new(1),
            seed: [7; 32],
        };
        let worker = Worker::new(now, parts)?;
        Ok(Self { worker, up, outbox: Outbox::new(), now, client: Arc::default() })
    }

    /// A device shakes hands, sends one request to the echo path, and is forgotten.
    fn connect(&mut self, number: u32) {
        let [_, a, b, c] = number.to_be_bytes();
        let peer = Peer::new(SocketAddr::from(([127, a, b, c], 5_684)), 0);
        let credential = client::Credential::Psk {
            identity: format!("{number:032}").into_bytes(),
            psk: Secret::new(KEY),
        };
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let randoms = client::Randoms::expand(&seed);
        let (now_ms, unix_s) = (self.now.ms, self.now.unix_ms / 1_000);
        let own_cid = Some(&[][..]);
        let mut device =
            Device::new(&self.client, now_ms, unix_s, own_cid, &randoms, credential, None);
        let mut out = [0; OUT_BYTES];
        while let Some(length) = device.poll_transmit(&mut out) {
            self.arrives(peer, &mut out[..length], Some(&mut device));
        }
        assert!(device.is_up(), "the handshake completes");
        let mut message = [0; 64];
        let length = Writer::new(&mut message, Type::Con, Code::PUT, 1, &Token::EMPTY)
            .option(Number::URI_PATH, b"echo")
            .finish()
            .expect("it fits");
        let length = device.seal(&message[..length], &mut out).expect("a session");
        self.arrives(peer, &mut out[..length], None);
    }

    /// A datagram arrives at the worker; what follows is told to the device.
    fn arrives(&mut self, peer: Peer, bytes: &mut [u8], mut device: Option<&mut Device>) {
        self.worker.on_datagrams(self.now, &mut Batch::of_one(peer, bytes), &mut self.outbox);
        self.control();
        for (_, bytes) in self.outbox.datagrams() {
            if let Some(device) = device.as_deref_mut() {
                device.on_datagram(self.now.ms, &mut bytes.to_vec());
            }
        }
        self.outbox.clear();
    }

    fn control(&mut self) {
        while let Some(entry) = self.up.next().expect("our own ring") {
            let seq = entry.seq;
            if Kind::from_wire(entry.kind) == Some(Kind::CredentialWanted) {
                let (wanted, _) = wire::CredentialWanted::split(entry.bytes).expect("whole");
                let answer = wire::Credential {
                    request: wanted.request,
                    device: [1; 16],
                    stamp: 1.into(),
                    class: 0.into(),
                    verdict: wire::Verdict::Known as u8,
                    network: wire::Network::Cellular as u8,
                };
                let bytes = [answer.as_bytes(), KEY].concat();
                let kind = Kind::Credential as u8;
                self.worker.on_entry(self.now, kind, &bytes, &mut self.outbox);
            }
            self.up.release(seq);
        }
    }
}

/// What this process has in memory, bytes.
fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(kib.parse::<usize>()? << 10)
}

const KEY: &[u8] = b"0123456789abcdef";
