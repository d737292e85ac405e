//! What does a device of a soak do? It shakes hands once, counts upwards in confirmable PUTs, and
//! remembers which numbers it was promised.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use rand::Rng as _;
use rand::rngs::StdRng;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_coap::writer::Writer;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::client::{Config, Credential, Randoms};
use tidegate_loadgen::device::{Device, OUT_BYTES};

/// A device with its socket.
pub(super) struct SoakDevice {
    number: u32,
    identity: String,
    secret: String,
    socket: UdpSocket,
    machine: Device,
    /// Handshakes begun after the first: sessions that were lost.
    pub(super) lost_sessions: u32,
    mid: u16,
    /// The number it counts at: the one it sends, or the last that it sent.
    count: u32,
    sending: Option<Sending>,
    next_ms: u64,
    /// Numbers that were answered 2.04, in order.
    pub(super) promised: Vec<u32>,
    /// Answers that were no promise: 5.03 and the like.
    pub(super) refused: u32,
    /// When it was promised something last, milliseconds.
    pub(super) promised_ms: Option<u64>,
}

/// A request under way.
struct Sending {
    message: Vec<u8>,
    token: Token,
    again_ms: Option<u64>,
    timeout_ms: u64,
    sent: u32,
    give_up_ms: u64,
}

/// What all devices share.
pub(super) struct Shared {
    pub(super) edge: SocketAddr,
    pub(super) config: Arc<Config>,
    pub(super) random: StdRng,
    /// From one promise to the next request, milliseconds.
    pub(super) pause_ms: u64,
}

impl SoakDevice {
    pub(super) fn new(shared: &mut Shared, number: u32, identity: String, secret: String) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.connect(shared.edge).expect("loopback");
        socket.set_nonblocking(true).expect("a socket");
        let machine = hello(shared, 0, &identity, &secret);
        let next_ms = shared.random.random_range(0..=shared.pause_ms);
        let mid = shared.random.random();
        Self {
            number,
            identity,
            secret,
            socket,
            machine,
            lost_sessions: 0,
            mid,
            count: 0,
            sending: None,
            next_ms,
            promised: Vec::new(),
            refused: 0,
            promised_ms: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.machine.is_up()
    }

    /// The highest number it ever sent.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Nothing of it is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.sending.is_none()
    }

    /// Hears what came, does what is due. `sends`: whether it begins anything new.
    pub(super) fn turn(&mut self, now_ms: u64, shared: &mut Shared, sends: bool) {
        let mut bytes = [0; OUT_BYTES];
        loop {
            match self.socket.recv(&mut bytes) {
                Ok(length) => self.machine.on_datagram(now_ms, &mut bytes[..length]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                // Nobody is at that port just now: the timers decide.
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
                Err(e) => panic!("a socket of a soak: {e}"),
            }
        }
        while let Some(message) = self.machine.take_message() {
            self.hear(now_ms, shared, &message);
        }
        if self.machine.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            self.machine.on_due(now_ms);
        }
        self.flush(&mut bytes);
        if self.machine.is_up() {
            self.request(now_ms, shared, sends);
        }
    }

    fn hear(&mut self, now_ms: u64, shared: &mut Shared, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else { return };
        if message.ty == Type::Con {
            self.say(&empty(Type::Ack, message.mid));
        }
        let Some(sending) = &mut self.sending else { return };
        if message.code == Code::EMPTY {
            // It is taken, and the response follows.
            sending.again_ms = None;
        } else if message.token == sending.token {
            self.sending = None;
            if message.code == Code::CHANGED {
                self.promised.push(self.count);
                self.promised_ms = Some(now_ms);
                self.next_ms = now_ms + shared.random.random_range(0..=2 * shared.pause_ms);
            } else {
                // The number was refused: it may arrive, nobody promised it.
                self.refused += 1;
                self.next_ms = now_ms + REFUSED_PAUSE_MS;
            }
        }
    }

    fn request(&mut self, now_ms: u64, shared: &mut Shared, sends: bool) {
        if let Some(sending) = &mut self.sending {
            if sending.give_up_ms <= now_ms {
                self.sending = None;
            } else if sending.again_ms.is_some_and(|again_ms| again_ms <= now_ms) {
                sending.sent += 1;
                sending.timeout_ms *= 2;
                let is_last = sending.sent > MAX_RETRANSMIT;
                sending.again_ms = (!is_last).then_some(now_ms + sending.timeout_ms);
                let message = sending.message.clone();
                self.say(&message);
            }
            return;
        }
        if !sends || now_ms < self.next_ms {
            return;
        }
        self.count += 1;
        self.mid = self.mid.wrapping_add(1);
        let token = Token::new(&shared.random.random::<[u8; 4]>());
        let mut buffer = [0; 128];
        let payload = format!("{} {}", self.number, self.count);
        let mut writer = Writer::new(&mut buffer, Type::Con, Code::PUT, self.mid, &token);
        let written = writer.option(Number::URI_PATH, b"soak").payload(payload.as_bytes()).finish();
        let message = buffer[..written.expect("room")].to_vec();
        self.say(&message);
        // RFC 7252 section 4.8: between ACK_TIMEOUT and 1.5 times that.
        let timeout_ms = shared.random.random_range(2_000..=3_000);
        self.sending = Some(Sending {
            message,
            token,
            again_ms: Some(now_ms + timeout_ms),
            timeout_ms,
            sent: 0,
            give_up_ms: now_ms + GIVE_UP_MS,
        });
    }

    fn say(&mut self, message: &[u8]) {
        let mut out = [0; OUT_BYTES];
        if let Some(length) = self.machine.seal(message, &mut out) {
            let _ = self.socket.send(&out[..length]);
        }
        self.flush(&mut out);
    }

    fn flush(&mut self, out: &mut [u8]) {
        while let Some(length) = self.machine.poll_transmit(out) {
            let _ = self.socket.send(&out[..length]);
        }
    }

    /// The edge forgot it, or never heard it: it shakes hands anew, and that is counted.
    pub(super) fn comes_again(&mut self, now_ms: u64, shared: &mut Shared) {
        self.lost_sessions += 1;
        self.sending = None;
        self.machine = hello(shared, now_ms, &self.identity, &self.secret);
    }

    /// Whether its session is over, or every transmission of a request stayed without an answer.
    pub(super) fn is_cut_off(&self, now_ms: u64) -> bool {
        let silent = self
            .sending
            .as_ref()
            .is_some_and(|sending| sending.give_up_ms <= now_ms && sending.sent > MAX_RETRANSMIT);
        self.machine.end().is_some() || silent
    }
}

fn hello(shared: &mut Shared, now_ms: u64, identity: &str, secret: &str) -> Device {
    let psk = Secret::new(secret.as_bytes());
    let credential = Credential::Psk { identity: identity.as_bytes().to_vec(), psk };
    let randoms = Randoms::expand(&shared.random.random());
    Device::new(&shared.config, now_ms, 0, Some(b""), &randoms, credential, None)
}

const MAX_RETRANSMIT: u32 = 4;
/// MAX_TRANSMIT_WAIT (RFC 7252 section 4.8.2), milliseconds.
const GIVE_UP_MS: u64 = 93_000;
/// The edge's Max-Age of a 5.03 is 5 s; less, so that its way back is seen soon.
const REFUSED_PAUSE_MS: u64 = 1_000;
