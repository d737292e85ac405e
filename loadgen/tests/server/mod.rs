//! Whom does a fleet load in these tests? A server of ours behind a real socket, for any number of
//! devices, with habits that a test chooses.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidegate_coap::block::{Block, BlockSize};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_coap::writer::Writer;
use tidegate_dtls::Established;
use tidegate_dtls::control::{Control, on_control};
use tidegate_dtls::cookie::{CookieJar, Greeting, PERIOD_MS, greet};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::resumption::Resumable;
use tidegate_dtls::server::{self, Answer, Claim, Config, Event, Handshake, Randoms};

pub(crate) const PSK: &str = "0123456789abcdef";
const CID_BYTES: usize = 6;

/// What the server does to requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// Does not hear every so many datagrams with a request; 0: hears all.
    pub(crate) deaf_every: u32,
    /// Answers in messages of their own, which it wants confirmed.
    pub(crate) separate: bool,
    /// Answers every request so; 2.04 unless named.
    pub(crate) code: Option<Code>,
    /// Answers by a Reset.
    pub(crate) resets: bool,
    /// Takes blocks of at most that many bytes.
    pub(crate) block_bytes: Option<usize>,
    /// Answers with so many bytes, in blocks of 64 (Block2).
    pub(crate) content_bytes: usize,
    /// Asks the device something before it answers.
    pub(crate) asks: bool,
    /// Closes a session after so many requests; 0: never.
    pub(crate) closes_after: u32,
    /// Connection IDs are not for it.
    pub(crate) no_cid: bool,
}

/// What the server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// From where requests came.
    pub(crate) peers: HashSet<SocketAddr>,
    /// Requests heard, repeated ones too.
    pub(crate) requests: u64,
    /// Lengths of the bodies, whole ones.
    pub(crate) bodies: Vec<usize>,
    /// Uri-Paths.
    pub(crate) paths: HashSet<String>,
    /// Codes of the answers to what it asked.
    pub(crate) answers: Vec<Code>,
    /// ACKs of separate responses.
    pub(crate) confirmed: u64,
    /// PSK identities.
    pub(crate) identities: HashSet<String>,
    /// Sessions that came to be: the suite, and whether the device may be called by a Connection
    /// ID.
    pub(crate) sessions: Vec<(&'static str, bool)>,
    /// From where they came.
    pub(crate) callers: HashSet<SocketAddr>,
    /// Sessions that a device closed.
    pub(crate) closed: u64,
    /// Datagrams that belong to nobody.
    pub(crate) stray: u64,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What is spoken to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Echo,
    Coap,
    Dtls,
}

impl Server {
    pub(crate) fn new(speaks: Speaks, habits: Habits) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
        let (address, over) = (socket.local_addr().expect("bound"), Arc::<AtomicBool>::default());
        let seen = Arc::<Mutex<Seen>>::default();
        let own_cid_len = if habits.no_cid { 0 } else { CID_BYTES };
        let mut serving = Serving {
            habits,
            config: Arc::new(Config { own_cid_len, ..Config::default() }),
            jar: CookieJar::new(0, &[42; 32], PERIOD_MS),
            handshakes: HashMap::new(),
            peers: HashMap::new(),
            cids: HashMap::new(),
            kept: HashMap::new(),
            made: 0,
            mid: 0,
            heard: 0,
            socket,
            seen: Arc::clone(&seen),
        };
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut datagram = [0; 2048];
            while !until.load(Ordering::Relaxed) {
                let Ok((len, from)) = serving.socket.recv_from(&mut datagram) else { continue };
                let datagram = &mut datagram[..len];
                match speaks {
                    Speaks::Echo => serving.on_bare(from, datagram),
                    Speaks::Coap => serving.on_message(from, datagram),
                    Speaks::Dtls => serving.on_datagram(from, datagram),
                }
            }
        });
        Self { address, seen, over, thread: Some(thread) }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the server did not panic")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("once").join().expect("the server did not panic");
    }
}

struct Serving {
    habits: Habits,
    config: Arc<Config>,
    jar: CookieJar,
    handshakes: HashMap<SocketAddr, (Handshake, u64)>,
    peers: HashMap<SocketAddr, Peer>,
    /// Where the device with that Connection ID was last.
    cids: HashMap<u64, SocketAddr>,
    kept: HashMap<Vec<u8>, Resumable>,
    made: u64,
    mid: u16,
    heard: u32,
    socket: UdpSocket,
    seen: Arc<Mutex<Seen>>,
}

struct Peer {
    session: Option<Established>,
    cid: u64,
    requests: u32,
    body: usize,
}

impl Serving {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panicked")
    }

    fn is_deaf(&mut self) -> bool {
        self.heard += 1;
        self.habits.deaf_every > 0 && self.heard.is_multiple_of(self.habits.deaf_every)
    }

    fn on_bare(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.seen().peers.insert(from);
        if !self.is_deaf() {
            self.seen().bodies.push(datagram.len());
            self.socket.send_to(datagram, from).expect("sent");
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        let own_cid_len = self.config.own_cid_len;
        let first = Record::parse(datagram, 0, own_cid_len);
        if first.is_ok_and(|record| record.epoch == 0) || self.handshakes.contains_key(&from) {
            self.on_handshake(from, datagram);
            return;
        }
        let Ok(record) = first else { return };
        if record.content_type == ContentType::TLS12_CID {
            let mut cid = [0; 8];
            cid[..CID_BYTES].copy_from_slice(&datagram[record.cid()]);
            let cid = u64::from_le_bytes(cid);
            if let Some(before) = self.cids.insert(cid, from)
                && before != from
                && let Some(peer) = self.peers.remove(&before)
            {
                self.peers.insert(from, peer);
            }
        }
        let Some(session) = self.peers.get_mut(&from).and_then(|peer| peer.session.as_mut()) else {
            self.seen().stray += 1;
            return;
        };
        let Ok(opened) = session.open(&record, datagram) else { return };
        let content = datagram[opened.content].to_vec();
        if opened.content_type == ContentType::APPLICATION_DATA {
            self.on_message(from, &content);
        } else if on_control(opened.content_type, &content) == Control::CloseNotify {
            self.peers.remove(&from);
            self.seen().closed += 1;
        }
    }

    fn on_handshake(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        let mut out = [0; 2048];
        let known = self.handshakes.get(&from);
        if known.is_none_or(|(handshake, _)| handshake.is_stranger(datagram)) {
            match greet(&self.jar, 0, from.to_string().as_bytes(), datagram, &mut out) {
                Greeting::Verify(len) => return drop(self.socket.send_to(&out[..len], from)),
                Greeting::Proven => self.open(from, datagram),
                Greeting::Drop(_) => return,
            }
        }
        let (handshake, made) = self.handshakes.get_mut(&from).expect("opened");
        let made = *made;
        handshake.on_datagram(0, datagram);
        let mut is_over = false;
        while let Some(event) = handshake.poll_event() {
            match event {
                Event::CredentialWanted => {
                    let Some(Claim::Psk(identity)) = handshake.claim() else { panic!("a key") };
                    let identity = String::from_utf8_lossy(identity).into_owned();
                    let is_known = identity.starts_with("dev-");
                    self.seen.lock().expect("nobody panicked").identities.insert(identity);
                    let answer =
                        if is_known { Answer::Psk(PSK.as_bytes()) } else { Answer::Unknown };
                    handshake.on_credential(0, answer);
                }
                Event::Established(session) => {
                    let kept = handshake.resumable();
                    self.kept.extend(kept.map(|kept| (session_id(made).to_vec(), kept)));
                    let suite = session.suite().map_or("", |suite| suite.name());
                    let mut seen = self.seen.lock().expect("nobody panicked");
                    seen.sessions.push((suite, session.own_cid_len() > 0));
                    seen.callers.insert(from);
                    drop(seen);
                    let peer = Peer { session: Some(session), cid: made, requests: 0, body: 0 };
                    self.peers.insert(from, peer);
                    self.cids.insert(made, from);
                    is_over = true;
                }
                Event::Failed(_) => is_over = true,
            }
        }
        while let Some(len) = handshake.poll_transmit(&mut out) {
            self.socket.send_to(&out[..len], from).expect("sent");
        }
        if is_over {
            self.handshakes.remove(&from);
        }
    }

    fn open(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.made += 1;
        let mut seed = [0x5e; 48];
        seed[..8].copy_from_slice(&self.made.to_le_bytes());
        let id = session_id(self.made);
        let randoms =
            Randoms { random: id, fake_key: [3; 32], ephemeral_seed: seed, session_id: Some(id) };
        let kept = server::session_id(datagram).and_then(|id| self.kept.get(id));
        let cid = &self.made.to_le_bytes()[..self.config.own_cid_len];
        let handshake = Handshake::new(&self.config, 0, 1_800_000_000, cid, &randoms, kept);
        self.handshakes.insert(from, (handshake, self.made));
    }

    fn on_message(&mut self, from: SocketAddr, content: &[u8]) {
        let message = Message::parse(content).expect("CoAP");
        if message.code.is_response() {
            return self.seen().answers.push(message.code);
        }
        if !message.code.is_request() {
            self.seen().confirmed += u64::from(message.ty == Type::Ack);
            return;
        }
        self.seen().requests += 1;
        if self.is_deaf() {
            return;
        }
        self.seen().peers.insert(from);
        let path: Vec<_> = message.options.uri_path().flatten().collect();
        self.seen().paths.insert(path.join("/"));
        let peer =
            self.peers.entry(from).or_insert(Peer { session: None, cid: 0, requests: 0, body: 0 });
        peer.requests += 1;
        if self.habits.closes_after > 0 && peer.requests > self.habits.closes_after {
            let mut out = [0; 256];
            let mut peer = self.peers.remove(&from).expect("it asks");
            self.cids.remove(&peer.cid);
            let len = peer.session.as_mut().expect("DTLS").close_notify(&mut out).expect("open");
            return drop(self.socket.send_to(&out[..len], from));
        }
        if self.habits.asks {
            self.ask(from);
        }
        self.answer(from, &message);
    }

    fn ask(&mut self, from: SocketAddr) {
        self.mid = self.mid.wrapping_add(1);
        let mut out = [0; 64];
        let token = Token::new(&self.mid.to_be_bytes());
        let mut writer = Writer::new(&mut out, Type::Con, Code::GET, self.mid, &token);
        let len = writer.option(Number::URI_PATH, b"led").finish().expect("room");
        self.send(from, &out[..len]);
    }

    fn answer(&mut self, from: SocketAddr, request: &Message<'_>) {
        if self.habits.resets {
            return self.send(from, &empty(Type::Rst, request.mid));
        }
        let block = Block::of(&request.options, Number::BLOCK1);
        let peer = self.peers.get_mut(&from).expect("it asks");
        let begun = if block.is_some_and(|block| block.number() > 0) { peer.body } else { 0 };
        peer.body = begun + request.payload.len();
        let mut code = self.habits.code.unwrap_or(Code::CHANGED);
        if block.is_some_and(|block| block.more) {
            code = Code::CONTINUE;
        } else {
            let body = peer.body;
            self.seen().bodies.push(body);
        }
        let (mut ty, mut mid) = (Type::Ack, request.mid);
        if self.habits.separate && request.ty == Type::Con {
            self.send(from, &empty(Type::Ack, mid));
            self.mid = self.mid.wrapping_add(1);
            (ty, mid) = (Type::Con, self.mid);
        } else if request.ty == Type::Non {
            self.mid = self.mid.wrapping_add(1);
            (ty, mid) = (Type::Non, self.mid);
        }
        let mut out = [0; 128];
        let mut writer = Writer::new(&mut out, ty, code, mid, &request.token);
        if self.habits.content_bytes > 0 {
            let block = Block::of(&request.options, Number::BLOCK2);
            let offset = block.map_or(0, Block::offset);
            let rest = self.habits.content_bytes - offset;
            let size = BlockSize::within(64).expect("a size");
            let part = Block::at(offset, rest > 64, size).expect("a small number");
            writer.option_uint(Number::BLOCK2, part.value());
            writer.payload(&[b'c'; 64][..rest.min(64)]);
        } else if let Some(block) = block {
            let least = self.habits.block_bytes.and_then(BlockSize::within).unwrap_or(block.size);
            let size = block.size.min(least);
            let block = Block::new(block.number(), block.more, size).expect("a small number");
            writer.option_uint(Number::BLOCK1, block.value());
        }
        let len = writer.finish().expect("room");
        self.send(from, &out[..len]);
    }

    fn send(&mut self, to: SocketAddr, message: &[u8]) {
        let mut out = [0; 2048];
        let session = self.peers.get_mut(&to).and_then(|peer| peer.session.as_mut());
        let len = if let Some(session) = session {
            session.seal(ContentType::APPLICATION_DATA, message, &mut out).expect("sealed")
        } else {
            out[..message.len()].copy_from_slice(message);
            message.len()
        };
        self.socket.send_to(&out[..len], to).expect("sent");
    }
}

fn session_id(made: u64) -> [u8; 32] {
    let mut id = [0x1d; 32];
    id[..8].copy_from_slice(&made.to_le_bytes());
    id
}
