//! Does the command line device say what happened? Against a server of ours behind a real socket:
//! one device at a time, which may resume, and may move once it has answered a path check.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Parser;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Type};
use tidegate_coap::option::Number;
use tidegate_coap::writer::Writer;
use tidegate_dtls::Established;
use tidegate_dtls::control::{Control, on_control};
use tidegate_dtls::cookie::{CookieJar, Greeting, PERIOD_MS, greet};
use tidegate_dtls::record::{ContentType, Record, protected_part};
use tidegate_dtls::resumption::Resumable;
use tidegate_dtls::return_routability::{Cookie, Outcome, Validation};
use tidegate_dtls::server::{self, Answer, Claim, Config, Event, Handshake, Randoms};
use tidegate_loadgen::request;

const PSK: &str = "0123456789abcdef";
const CID_BYTES: usize = 6;

/// A server that answers every request with what it says; `/missing` it does not have.
struct Edge {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Edge {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (address, over) = (socket.local_addr().unwrap(), Arc::<AtomicBool>::default());
        let mut serving = Serving {
            config: Arc::new(Config { own_cid_len: CID_BYTES, ..Config::default() }),
            jar: CookieJar::new(0, &[42; 32], PERIOD_MS),
            handshake: None,
            session: None,
            validation: None,
            held: Vec::new(),
            sessions: HashMap::new(),
            made: 0,
            socket,
        };
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut datagram = [0; 2048];
            while !until.load(Ordering::Relaxed) {
                if let Ok((len, from)) = serving.socket.recv_from(&mut datagram) {
                    serving.on_datagram(from, &mut datagram[..len]);
                }
            }
        });
        Self { address, over, thread: Some(thread) }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

struct Serving {
    config: Arc<Config>,
    jar: CookieJar,
    handshake: Option<(SocketAddr, Handshake)>,
    session: Option<(SocketAddr, Established)>,
    validation: Option<Validation<SocketAddr>>,
    /// The request that came from the address in question.
    held: Vec<u8>,
    sessions: HashMap<Vec<u8>, Resumable>,
    made: u8,
    socket: UdpSocket,
}

impl Serving {
    fn on_datagram(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        let mut used = 0;
        if protected_part(datagram, CID_BYTES) != Some(0) {
            used = self.on_handshake(from, datagram);
        } else if let Some((_, handshake)) = &mut self.handshake {
            used = handshake.on_datagram(0, datagram);
            self.settle();
        }
        while let Some((_, session)) = &mut self.session
            && let Ok(record) = Record::parse(datagram, used, session.own_cid_len())
        {
            used = record.end();
            let Ok(opened) = session.open(&record, datagram) else { continue };
            let content = datagram[opened.content].to_vec();
            self.on_record(from, datagram.len(), opened.content_type, &content);
        }
    }

    fn on_handshake(&mut self, from: SocketAddr, datagram: &mut [u8]) -> usize {
        let known = self.handshake.as_ref().filter(|(peer, _)| *peer == from);
        if known.is_none_or(|(_, handshake)| handshake.is_stranger(datagram)) {
            let mut out = [0; 2048];
            match greet(&self.jar, 0, from.to_string().as_bytes(), datagram, &mut out) {
                Greeting::Proven => self.open(from, datagram),
                Greeting::Verify(len) => {
                    self.socket.send_to(&out[..len], from).unwrap();
                    return datagram.len();
                }
                Greeting::Drop(_) => return datagram.len(),
            }
        }
        let used = self.handshake.as_mut().unwrap().1.on_datagram(0, datagram);
        self.settle();
        used
    }

    fn open(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.made += 1;
        let (random, seed) = ([self.made; 32], [self.made; 48]);
        let session_id = Some([self.made; 32]);
        let randoms = Randoms { random, fake_key: [3; 32], ephemeral_seed: seed, session_id };
        let kept = server::session_id(datagram).and_then(|id| self.sessions.get(id));
        let cid = [self.made; CID_BYTES];
        let handshake = Handshake::new(&self.config, 0, 1_800_000_000, &cid, &randoms, kept);
        self.handshake = Some((from, handshake));
    }

    fn settle(&mut self) {
        let Some((peer, handshake)) = &mut self.handshake else { return };
        let (peer, mut is_over) = (*peer, false);
        while let Some(event) = handshake.poll_event() {
            match event {
                Event::CredentialWanted => {
                    let is_known = matches!(handshake.claim(), Some(Claim::Psk(b"dev1")));
                    let answer =
                        if is_known { Answer::Psk(PSK.as_bytes()) } else { Answer::Unknown };
                    handshake.on_credential(0, answer);
                }
                Event::Established(session) => {
                    let kept = handshake.resumable().map(|kept| (vec![self.made; 32], kept));
                    self.sessions.extend(kept);
                    self.session = Some((peer, session));
                    self.validation = None;
                    is_over = true;
                }
                Event::Failed(_) => is_over = true,
            }
        }
        let mut out = [0; 2048];
        while let Some(len) = handshake.poll_transmit(&mut out) {
            self.socket.send_to(&out[..len], peer).unwrap();
        }
        if is_over {
            self.handshake = None;
        }
    }

    fn on_record(&mut self, from: SocketAddr, bytes: usize, kind: ContentType, content: &[u8]) {
        let Some((bound, session)) = &mut self.session else { return };
        let mut out = [0; 2048];
        if from != *bound && self.validation.is_none() && session.has_return_routability() {
            let validation = Validation::new(from, Cookie([9; 8]), 0, 1_000, bytes);
            let len = session.path_message(validation.challenge(), &mut out).unwrap();
            self.socket.send_to(&out[..len], from).unwrap();
            self.validation = Some(validation);
        }
        if kind != ContentType::APPLICATION_DATA {
            match on_control(kind, content) {
                Control::CloseNotify => self.session = None,
                Control::Path(message) => {
                    let outcome = self.validation.map(|check| check.on_message(1, from, message));
                    assert_eq!(outcome, Some(Outcome::Validated));
                    *bound = from;
                    let held = std::mem::take(&mut self.held);
                    self.answer(&held);
                }
                other => panic!("{other:?}"),
            }
        } else if from == *bound {
            self.answer(content);
        } else {
            self.held = content.to_vec();
        }
    }

    fn answer(&mut self, content: &[u8]) {
        let request = Message::parse(content).unwrap();
        let is_missing = request.options.first(Number::URI_PATH) == Some(b"missing");
        let code = if is_missing { Code::NOT_FOUND } else { Code::CONTENT };
        let mut reply = [0; 256];
        let len = Writer::new(&mut reply, Type::Ack, code, request.mid, &request.token)
            .payload(request.payload)
            .finish()
            .unwrap();
        let (bound, session) = self.session.as_mut().unwrap();
        let mut out = [0; 2048];
        let len = session.seal(ContentType::APPLICATION_DATA, &reply[..len], &mut out).unwrap();
        self.socket.send_to(&out[..len], *bound).unwrap();
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: request::Arguments,
}

/// Whether all went well, and the lines.
fn asks(edge: &Edge, path: &str, options: &[&str]) -> (bool, Vec<String>) {
    let uri = format!("coaps://{}/{path}", edge.address);
    let always = ["request", &uri, "--psk-identity", "dev1", "-m", "put", "-e", "hello"];
    let line = Line::parse_from(always.iter().chain(options));
    let mut out = Vec::new();
    let is_good = request::run(&line.arguments, &mut out).unwrap();
    (is_good, String::from_utf8(out).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn a_request_is_answered_and_says_what_was_negotiated() {
    let edge = Edge::new();
    let (is_good, lines) = asks(&edge, "t", &["--psk", PSK, "--suite", "PSK_WITH_AES_128_CCM"]);
    assert!(is_good, "{lines:?}");
    assert_eq!(
        lines[0],
        "negotiated: handshake=full suite=TLS_PSK_WITH_AES_128_CCM cid_out=6 cid_in=0 \
         extended_master_secret=yes return_routability=yes resumable=yes record_bytes_max=16384"
    );
    assert_eq!(lines[1..], ["response: 2.05", "payload: hello"]);
    let options = ["--psk", PSK, "--no-cid", "--no-ems", "--max-fragment-length", "1"];
    let (is_good, lines) = asks(&edge, "t", &options);
    assert!(is_good, "{lines:?}");
    assert!(lines[0].ends_with(
        "cid_out=0 cid_in=0 extended_master_secret=no return_routability=no resumable=no \
         record_bytes_max=512"
    ));
}

#[test]
fn a_session_is_closed_and_resumed_as_often_as_asked() {
    let edge = Edge::new();
    let options = ["--psk", PSK, "--resume", "2", "--suite", "ECDHE_PSK_WITH_AES_128_CCM_SHA256"];
    let (is_good, lines) = asks(&edge, "t", &options);
    let word = |line: &String| line.split(' ').nth(1).unwrap().to_owned();
    let handshakes: Vec<_> =
        lines.iter().filter(|line| line.starts_with("negotiated")).map(word).collect();
    assert!(is_good, "{lines:?}");
    assert_eq!(handshakes, ["handshake=full", "handshake=resumed", "handshake=resumed"]);
}

/// RFC 9146 section 6 and RFC 9853 section 5.1.
#[test]
fn a_session_with_a_connection_id_goes_on_from_another_port() {
    let edge = Edge::new();
    let options = ["--psk", PSK, "--rebind", "--cid", "0102"];
    let (is_good, lines) = asks(&edge, "t", &options);
    assert!(is_good, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "rebound: challenges=1");
}

#[test]
fn anything_but_success_is_told() {
    let edge = Edge::new();
    let (is_good, lines) = asks(&edge, "missing", &["--psk", PSK]);
    assert!(!is_good);
    assert_eq!(lines[1], "response: 4.04");
    let (is_good, lines) = asks(&edge, "t", &["--psk", "wrong key", "--timeout", "1"]);
    assert_eq!((is_good, &lines[..]), (false, &["failed: Timeout".to_owned()][..]));
}
