//! What does a device do that waits to be called? Our own server role, with one session at a time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Type, Writer};
use tidegate_dataplane::net::peer::Peer;
use tidegate_dtls::Established;
use tidegate_dtls::cookie::CookieJar;
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::server::{Answer, Config, Event, Greeting, Handshake, Randoms, greet};
use zerocopy::IntoBytes;

/// A device that listens. Every request in its session is answered 2.04.
pub struct Listener {
    key: Vec<u8>,
    config: Arc<Config>,
    own_cid: Vec<u8>,
    jar: CookieJar,
    random: StdRng,
    handshake: Option<Handshake>,
    session: Option<Established>,
    /// Requests it heard, oldest first.
    pub heard: VecDeque<Vec<u8>>,
    /// Datagrams it wants to send.
    outbox: VecDeque<Vec<u8>>,
    /// Whether it answers at all.
    pub is_deaf: bool,
}

impl Listener {
    /// A device with this key; its records are addressed by `own_cid`, unless that is empty.
    pub fn new(seed: u64, now_ms: u64, key: &[u8], own_cid: &[u8]) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let config = Config { own_cid_len: own_cid.len(), ..Config::default() };
        Self {
            key: key.to_vec(),
            config: Arc::new(config),
            own_cid: own_cid.to_vec(),
            jar: CookieJar::new(now_ms, &random.random(), 1 << 40),
            random,
            handshake: None,
            session: None,
            heard: VecDeque::new(),
            outbox: VecDeque::new(),
            is_deaf: false,
        }
    }

    /// Where device `number` listens.
    pub fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([127, 8, 8, number], 5_684))
    }

    /// Whether it has a session.
    pub fn is_up(&self) -> bool {
        self.session.is_some()
    }

    /// The session.
    pub fn session(&mut self) -> Option<&mut Established> {
        self.session.as_mut()
    }

    /// The next datagram it wants to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// The device says something by itself.
    pub fn says(&mut self, message: &[u8]) {
        let mut out = [0; 1_452];
        let session = self.session.as_mut().expect("a session");
        let sealed = session.seal(ContentType::APPLICATION_DATA, message, &mut out);
        self.outbox.push_back(out[..sealed.expect("it fits")].to_vec());
    }

    /// Takes a datagram of the edge.
    pub fn on_datagram(&mut self, now_ms: u64, edge: Peer, datagram: &mut [u8]) {
        if self.is_deaf {
            return;
        }
        let mut rest = 0;
        if self.session.is_none() {
            rest = self.on_handshake(now_ms, edge, datagram);
        }
        self.on_records(datagram, rest);
    }

    fn on_handshake(&mut self, now_ms: u64, edge: Peer, datagram: &mut [u8]) -> usize {
        let mut out = [0; 2_048];
        if self.handshake.is_none() {
            match greet(&self.jar, now_ms, edge.as_bytes(), datagram, &mut out) {
                Greeting::Proven => {}
                Greeting::Verify(length) => {
                    self.outbox.push_back(out[..length].to_vec());
                    return datagram.len();
                }
                Greeting::Drop(_) => return datagram.len(),
            }
            let randoms = Randoms {
                random: self.random.random(),
                fake_key: self.random.random(),
                ephemeral_seed: self.random.random(),
                session_id: None,
            };
            let new = Handshake::new(&self.config, now_ms, 0, &self.own_cid, &randoms, None);
            self.handshake = Some(new);
        }
        let handshake = self.handshake.as_mut().expect("made above");
        let consumed = handshake.on_datagram(now_ms, datagram);
        while let Some(event) = handshake.poll_event() {
            match event {
                Event::CredentialWanted => handshake.on_credential(now_ms, Answer::Psk(&self.key)),
                Event::Established(session) => self.session = Some(session),
                Event::Failed(_) => {}
            }
        }
        while let Some(length) = handshake.poll_transmit(&mut out) {
            self.outbox.push_back(out[..length].to_vec());
        }
        consumed
    }

    fn on_records(&mut self, datagram: &mut [u8], mut at: usize) {
        while let Some(session) = &mut self.session
            && let Ok(record) = Record::parse(datagram, at, self.own_cid.len())
        {
            at = record.end();
            let Ok(opened) = session.open(&record, datagram) else { continue };
            if opened.content_type == ContentType::APPLICATION_DATA {
                self.on_message(&datagram[opened.content]);
            }
        }
    }

    fn on_message(&mut self, bytes: &[u8]) {
        self.heard.push_back(bytes.to_vec());
        let message = Message::parse(bytes).expect("the edge sends messages");
        if message.ty != Type::Con || !message.code.is_request() {
            return;
        }
        let mut out = [0; 64];
        let writer = Writer::new(&mut out, Type::Ack, Code::CHANGED, message.mid, &message.token);
        let length = writer.finish().expect("it fits");
        self.says(&out[..length]);
    }
}
