//! What does an attacker send, as fast as one core can? Each kind from many sockets, as many
//! sources, which never read what is answered unless the attack needs it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::RngCore;
use tidegate_coap::code::Code;
use tidegate_coap::message::{self, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_dataplane::slab::CID_BYTES;
use tidegate_dtls::Established;
use tidegate_dtls::client::Config;
use tidegate_dtls::record::ContentType;
use tidegate_loadgen::device::{Device, OUT_BYTES};

use crate::ratio::load::{self, Plan, put};
use crate::ratio::servers::Server;
use crate::ratio::steady::plan;

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// ClientHellos without a cookie, as from spoofed sources.
    Hellos,
    /// ClientHellos with their cookie, and then silence.
    HalfOpen,
    /// Whole handshakes of known identities with a wrong key.
    WrongKeys,
    /// One genuine record again and again.
    Replays,
    /// Records with Connection IDs that were never given.
    ForgedIds,
    /// Records with the Connection ID of a session, and a tag that is wrong.
    ForgedTags,
    /// Datagrams of 1 472 bytes that are no records.
    Oversized,
    /// First fragments of ClientHellos.
    Fragments,
    /// Devices that begin to upload a body with each request, and never go on.
    Uploads,
}

impl Flood {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Hellos,
        Self::HalfOpen,
        Self::WrongKeys,
        Self::Replays,
        Self::ForgedIds,
        Self::ForgedTags,
        Self::Oversized,
        Self::Fragments,
        Self::Uploads,
    ];

    /// Whether it comes to the sockets for strangers; else each of its datagrams looks, to the
    /// kernel, like one of a device.
    pub fn is_of_strangers(self) -> bool {
        use Flood::{ForgedIds, ForgedTags, Replays, Uploads};
        !matches!(self, Replays | ForgedIds | ForgedTags | Uploads)
    }

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Hellos => "ClientHellos of spoofed sources",
            Self::HalfOpen => "datagrams of handshakes left half open",
            Self::WrongKeys => "datagrams of handshakes with a wrong key",
            Self::Replays => "replayed records",
            Self::ForgedIds => "records with forged Connection IDs",
            Self::ForgedTags => "records of a session with forged tags",
            Self::Oversized => "datagrams of 1472 B that are no records",
            Self::Fragments => "fragments of ClientHellos",
            Self::Uploads => "first blocks of uploads that never go on",
        }
    }
}

/// Does something while the attack goes on; with it, how many datagrams the attacker sent.
pub fn beside<T>(
    flood: Flood,
    server: &Server,
    act: impl FnOnce() -> io::Result<T>,
) -> io::Result<(T, u64)> {
    let mut attacker = Attacker::new(flood, server.address)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let attack = scope.spawn(|| {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                sent += attacker.send_some()?;
            }
            Ok::<u64, io::Error>(sent)
        });
        let acted = act();
        over.store(true, Ordering::Relaxed);
        let sent = attack.join().map_err(|_| io::Error::other("the attacker panicked"))??;
        Ok((acted?, sent))
    })
}

struct Attacker {
    flood: Flood,
    sources: Vec<UdpSocket>,
    turn: usize,
    /// What is sent, where it never changes.
    bytes: Vec<u8>,
    config: Arc<Config>,
    plan: Plan,
    /// Handshakes begun, or requests sent.
    count: usize,
    sessions: Vec<Established>,
}

impl Attacker {
    fn new(flood: Flood, server: SocketAddr) -> io::Result<Self> {
        let plan = Plan { identity: "hostile-", ..plan() };
        let mut attacker = Self {
            flood,
            sources: Vec::with_capacity(SOURCES),
            turn: 0,
            bytes: Vec::new(),
            config: load::client_config(),
            plan,
            count: 0,
            sessions: Vec::new(),
        };
        for number in 0..SOURCES {
            let source = if flood == Flood::Uploads {
                let (socket, session) = load::established(server, number, &attacker.plan)?;
                attacker.sessions.push(session);
                socket
            } else {
                let socket = UdpSocket::bind(SocketAddr::from(([127, 9, 0, number as u8], 0)))?;
                socket.connect(server)?;
                socket
            };
            source.set_nonblocking(true)?;
            attacker.sources.push(source);
        }
        attacker.bytes = attacker.prepare(server)?;
        Ok(attacker)
    }

    fn prepare(&mut self, server: SocketAddr) -> io::Result<Vec<u8>> {
        let mut bytes = match self.flood {
            Flood::Hellos | Flood::Fragments => self.hello(0),
            Flood::Replays | Flood::ForgedIds | Flood::ForgedTags => {
                let (socket, mut session) = load::established(server, 0, &self.plan)?;
                let (mut message, mut datagram) = ([0; OUT_BYTES], [0; OUT_BYTES]);
                let len = put(1, &self.plan, &mut message);
                let content = &message[..len];
                let sealed = session.seal(ContentType::APPLICATION_DATA, content, &mut datagram);
                let len = sealed.map_err(|error| io::Error::other(format!("{error:?}")))?;
                socket.send(&datagram[..len])?;
                datagram[..len].to_vec()
            }
            Flood::Oversized => vec![0x55; 1_472],
            Flood::HalfOpen | Flood::WrongKeys | Flood::Uploads => Vec::new(),
        };
        match self.flood {
            // A record of 12 + 1 bytes: of the handshake message its header says a fragment of one.
            Flood::Fragments => {
                bytes.truncate(RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES + 1);
                bytes[11..13].copy_from_slice(&13_u16.to_be_bytes());
                bytes[22..25].copy_from_slice(&[0, 0, 1]);
            }
            Flood::ForgedTags => {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                // A number that the replay window has not seen.
                bytes[10] = bytes[10].wrapping_add(200);
            }
            _ => {}
        }
        Ok(bytes)
    }

    fn device(&self, number: usize) -> Device {
        let key: &[u8] =
            if self.flood == Flood::WrongKeys { b"fedcba9876543210" } else { self.plan.key };
        load::device(&self.config, number, &Plan { key, ..self.plan.clone() })
    }

    fn hello(&self, number: usize) -> Vec<u8> {
        let mut datagram = [0; OUT_BYTES];
        let len = self.device(number).poll_transmit(&mut datagram).unwrap_or(0);
        datagram[..len].to_vec()
    }

    /// Sends a few; how many.
    fn send_some(&mut self) -> io::Result<u64> {
        match self.flood {
            Flood::HalfOpen => self.shake_hands(2),
            Flood::WrongKeys => self.shake_hands(usize::MAX),
            Flood::Uploads => self.upload(),
            _ => {
                for _ in 0..BURST {
                    if self.flood == Flood::ForgedIds {
                        // Its first byte stays: the worker's.
                        let id = RECORD_HEADER_BYTES - 1..RECORD_HEADER_BYTES - 2 + CID_BYTES;
                        rand::rng().fill_bytes(&mut self.bytes[id]);
                    }
                    self.turn = (self.turn + 1) % SOURCES;
                    send(&self.sources[self.turn], &self.bytes)?;
                }
                Ok(BURST)
            }
        }
    }

    /// Begins handshakes from every source, and answers so many flights.
    fn shake_hands(&mut self, flights_max: usize) -> io::Result<u64> {
        let (mut sent, mut datagram) = (0, [0; OUT_BYTES]);
        let mut devices: Vec<_> = (0..SOURCES).map(|n| self.device(self.count + n)).collect();
        self.count += SOURCES;
        for _ in 0..flights_max.min(4) {
            for (device, source) in devices.iter_mut().zip(&self.sources) {
                while let Some(len) = device.poll_transmit(&mut datagram) {
                    send(source, &datagram[..len])?;
                    sent += 1;
                }
            }
            // A pause that the edge may use to answer: as long as a real attacker would take.
            thread::sleep(Duration::from_millis(1));
            for (device, source) in devices.iter_mut().zip(&self.sources) {
                while let Ok(len) = source.recv(&mut datagram) {
                    device.on_datagram(0, &mut datagram[..len]);
                }
            }
        }
        Ok(sent)
    }

    /// The first block of another body from every device.
    fn upload(&mut self) -> io::Result<u64> {
        self.count += 1;
        let tag = (self.count as u32).to_be_bytes();
        for (session, source) in self.sessions.iter_mut().zip(&self.sources) {
            let (mut message, mut datagram) = ([0; OUT_BYTES], [0; OUT_BYTES]);
            let token = message::Token::new(&tag);
            let len = Writer::new(&mut message, Type::Con, Code::PUT, self.count as u16, &token)
                .option(Number::URI_PATH, b"upload")
                .option(Number::BLOCK1, &[FIRST_OF_MORE])
                .option(Number::REQUEST_TAG, &tag)
                .payload(&[0x55; 1_024])
                .finish()
                .expect("a block fits");
            let content = &message[..len];
            let sealed = session.seal(ContentType::APPLICATION_DATA, content, &mut datagram);
            let len = sealed.map_err(|error| io::Error::other(format!("{error:?}")))?;
            send(source, &datagram[..len])?;
        }
        Ok(SOURCES as u64)
    }
}

/// As on a network: what does not go is lost.
fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    match socket.send(bytes) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// So few that each is written to often: an edge that limits what a source may do must not be
/// saved by that alone.
const SOURCES: usize = 64;
const BURST: u64 = 64;
const RECORD_HEADER_BYTES: usize = 13;
const MESSAGE_HEADER_BYTES: usize = 12;
/// Block number 0, more to come, 1 024 bytes.
const FIRST_OF_MORE: u8 = 0x0e;
