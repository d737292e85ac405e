//! How does a device take a session that the edge opens? As the server of the handshake, with the
//! key that it would show itself.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_dtls::Established;
use tidegate_dtls::control::{Control, on_control};
use tidegate_dtls::cookie::CookieJar;
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::return_routability::PathMessage;
use tidegate_dtls::server::{Answer, Claim, Config, Event, Greeting, Handshake, Randoms, greet};
use tidegate_loadgen::device::OUT_BYTES;

use super::{identity, key};
use crate::sim::plan::{Cid, DevicePlan};
use crate::sim::seed;

/// The server's side of a device: one handshake and one session at a time.
pub(super) struct Listening {
    number: usize,
    config: Arc<Config>,
    own_cid: Vec<u8>,
    jar: CookieJar,
    random: StdRng,
    handshake: Option<Handshake>,
    session: Option<Established>,
    /// Nobody was told of it yet.
    is_new: bool,
    /// The edge has ended it.
    is_closed: bool,
    out: Vec<Vec<u8>>,
}

/// What the edge writes as a client, or else as a server, in an unprotected record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    Client,
    Server,
    /// The record does not say.
    Either,
}

impl Speaker {
    pub(super) fn of(datagram: &[u8]) -> Self {
        const HANDSHAKE: u8 = 22;
        const CLIENTS: [u8; 2] = [1, 16];
        match datagram {
            [HANDSHAKE, _, _, 0, 0, _, _, _, _, _, _, _, _, message, ..] => {
                if CLIENTS.contains(message) { Self::Client } else { Self::Server }
            }
            _ => Self::Either,
        }
    }
}

impl Listening {
    pub(super) fn new(run_seed: u64, plan: &DevicePlan) -> Self {
        let mut random = seed::stream(run_seed, "listening", plan.number);
        let len = if let Cid::Of(len) = plan.cid { len } else { 0 };
        let config = Config {
            own_cid_len: len,
            return_routability: plan.return_routability,
            ..Config::default()
        };
        Self {
            number: plan.number,
            config: Arc::new(config),
            own_cid: (0..len).map(|_| random.random()).collect(),
            jar: CookieJar::new(0, &random.random(), 1 << 40),
            random,
            handshake: None,
            session: None,
            is_new: false,
            is_closed: false,
            out: Vec::new(),
        }
    }

    /// Everything is gone but the key.
    pub(super) fn forgets(&mut self) {
        (self.handshake, self.session) = (None, None);
        (self.is_new, self.is_closed) = (false, false);
        self.out.clear();
    }

    pub(super) fn session(&mut self) -> Option<&mut Established> {
        self.session.as_mut()
    }

    pub(super) fn is_up(&self) -> bool {
        self.session.is_some()
    }

    /// Whether there is a session since the last call that was not there before.
    pub(super) fn take_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// Whether the edge has ended it since the last call.
    pub(super) fn take_closed(&mut self) -> bool {
        std::mem::take(&mut self.is_closed)
    }

    pub(super) fn take_out(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.handshake.as_ref().and_then(Handshake::due_ms)
    }

    pub(super) fn on_due(&mut self, now_ms: u64) {
        if let Some(handshake) = &mut self.handshake
            && handshake.due_ms().is_some_and(|due_ms| due_ms <= now_ms)
        {
            handshake.on_due(now_ms);
            self.settles(now_ms);
        }
    }

    /// A datagram of the edge: the messages in it.
    pub(super) fn on_datagram(&mut self, now_ms: u64, datagram: &mut [u8]) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let is_hello = |handshake: &Handshake| handshake.is_stranger(datagram);
        let is_another = self.handshake.as_ref().is_none_or(is_hello);
        if is_another && Speaker::of(datagram) == Speaker::Client {
            self.on_hello(now_ms, datagram);
        }
        let Some(handshake) = &mut self.handshake else {
            self.on_records(datagram, 0, &mut messages);
            return messages;
        };
        let mut copy = datagram.to_vec();
        let consumed = handshake.on_datagram(now_ms, &mut copy);
        let mut held = self.settles(now_ms);
        self.on_records(&mut held, 0, &mut messages);
        if self.handshake.is_none() {
            self.on_records(&mut copy, consumed, &mut messages);
        } else {
            // A session that is still there may have it.
            self.on_records(datagram, 0, &mut messages);
        }
        messages
    }

    /// A ClientHello: it has to come from where it says it does, as with any server.
    fn on_hello(&mut self, now_ms: u64, datagram: &[u8]) {
        let mut out = [0; OUT_BYTES];
        match greet(&self.jar, now_ms, b"the edge", datagram, &mut out) {
            Greeting::Drop(_) => {}
            Greeting::Verify(len) => self.out.push(out[..len].to_vec()),
            Greeting::Proven => {
                let randoms = Randoms {
                    random: self.random.random(),
                    fake_key: self.random.random(),
                    ephemeral_seed: self.random.random(),
                    session_id: None,
                };
                let own_cid = &self.own_cid;
                let new = Handshake::new(&self.config, now_ms, 0, own_cid, &randoms, None);
                self.handshake = Some(new);
            }
        }
    }

    /// Does what the handshake asks for; what it leaves to its session, once that is there.
    fn settles(&mut self, now_ms: u64) -> Vec<u8> {
        let Some(handshake) = &mut self.handshake else { return Vec::new() };
        let (mut out, mut held, mut is_over) = ([0; OUT_BYTES], Vec::new(), false);
        while let Some(event) = handshake.poll_event() {
            match event {
                Event::CredentialWanted => {
                    let own = identity(self.number).into_bytes();
                    let is_own = matches!(
                        handshake.claim(),
                        Some(Claim::Psk(name)) if name == own.as_slice()
                    );
                    let key = key(self.number);
                    let answer = if is_own { Answer::Psk(&key) } else { Answer::Unknown };
                    handshake.on_credential(now_ms, answer);
                }
                Event::Established(session) => {
                    held = handshake.take_held();
                    (self.session, self.is_new, is_over) = (Some(session), true, true);
                    self.is_closed = false;
                }
                Event::Failed(_) => is_over = true,
            }
        }
        while let Some(len) = handshake.poll_transmit(&mut out) {
            self.out.push(out[..len].to_vec());
        }
        if is_over {
            self.handshake = None;
        }
        held
    }

    fn on_records(&mut self, datagram: &mut [u8], mut at: usize, messages: &mut Vec<Vec<u8>>) {
        while let Some(session) = &mut self.session
            && let Ok(record) = Record::parse(datagram, at, self.own_cid.len())
        {
            at = record.end();
            let Ok(opened) = session.open(&record, datagram) else { continue };
            let content = &datagram[opened.content];
            if opened.content_type == ContentType::APPLICATION_DATA {
                messages.push(content.to_vec());
                continue;
            }
            let mut out = [0; OUT_BYTES];
            let len = match on_control(opened.content_type, content) {
                Control::CloseNotify | Control::FatalAlert(_) => {
                    (self.session, self.is_closed) = (None, true);
                    return;
                }
                Control::Path(PathMessage::Challenge(cookie)) => {
                    session.path_message(PathMessage::Response(cookie), &mut out)
                }
                Control::FinishedAgain => session.last_flight_again(&mut out),
                Control::Renegotiation => session.no_renegotiation(&mut out).ok(),
                Control::Path(_) | Control::Ignored(_) => None,
            };
            self.out.extend(len.map(|len| out[..len].to_vec()));
        }
    }

    /// The datagram that has this message.
    pub(super) fn seal(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0; OUT_BYTES];
        let session = self.session.as_mut()?;
        let len = session.seal(ContentType::APPLICATION_DATA, message, &mut out).ok()?;
        Some(out[..len].to_vec())
    }
}
