//! What does a device do? One sans-IO DTLS client with a CoAP message in each record.
//!
//! The stories, the benches and the load generator drive the same type; it has no socket, clock or
//! random source of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_dtls::client::{Config, Credential, Event, Handshake, Randoms, Session};
use tidegate_dtls::control::{Control, on_control};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::return_routability::PathMessage;
use tidegate_dtls::{Established, Failure};

/// A device, from its first ClientHello on.
#[derive(Debug)]
pub struct Device {
    own_cid: Vec<u8>,
    state: State,
    /// What may be resumed after this.
    kept: Option<Session>,
    is_resumed: bool,
    /// How often the server asked whether we receive where we are (RFC 9853).
    challenges: u32,
    /// Datagrams that the session answers with by itself.
    outbox: VecDeque<Vec<u8>>,
    /// CoAP messages received and not taken yet.
    inbox: VecDeque<Vec<u8>>,
}

enum State {
    Handshake(Box<Handshake>),
    Session(Box<Established>),
    Over(End),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The handshake failed.
    Failed(Failure),
    /// The server said close_notify, or a fatal alert; or we did.
    Closed,
}

/// Room for any datagram of ours, bytes.
pub const OUT_BYTES: usize = 2_048;

impl Device {
    /// A device that is about to shake hands; everything is as in [`Handshake::new`].
    pub fn new(
        config: &Arc<Config>,
        now_ms: u64,
        unix_s: u64,
        own_cid: Option<&[u8]>,
        randoms: &Randoms,
        credential: Credential,
        session: Option<&Session>,
    ) -> Self {
        let handshake =
            Handshake::new(config, now_ms, unix_s, own_cid, randoms, credential, session);
        Self {
            own_cid: own_cid.unwrap_or_default().to_vec(),
            state: State::Handshake(Box::new(handshake)),
            kept: None,
            is_resumed: false,
            challenges: 0,
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
        }
    }

    /// Takes a datagram of the server.
    pub fn on_datagram(&mut self, now_ms: u64, datagram: &mut [u8]) {
        let mut rest = 0;
        let mut held = Vec::new();
        if let State::Handshake(handshake) = &mut self.state {
            rest = handshake.on_datagram(now_ms, datagram);
            held = self.settle();
        }
        self.on_records(&mut held, 0);
        self.on_records(datagram, rest);
    }

    /// Sees whether the handshake is over, and returns what it leaves to the session.
    fn settle(&mut self) -> Vec<u8> {
        let State::Handshake(handshake) = &mut self.state else { return Vec::new() };
        let Some(event) = handshake.poll_event() else { return Vec::new() };
        let mut out = [0; OUT_BYTES];
        while let Some(len) = handshake.poll_transmit(&mut out) {
            self.outbox.push_back(out[..len].to_vec());
        }
        let held = handshake.take_held();
        self.state = match event {
            Event::Established(session) => {
                self.kept = handshake.session().cloned();
                self.is_resumed = handshake.is_resumed();
                State::Session(Box::new(session))
            }
            Event::Failed(failure) => State::Over(End::Failed(failure)),
        };
        held
    }

    fn on_records(&mut self, datagram: &mut [u8], mut at: usize) {
        while let State::Session(session) = &mut self.state
            && let Ok(record) = Record::parse(datagram, at, self.own_cid.len())
        {
            at = record.end();
            let Ok(opened) = session.open(&record, datagram) else { continue };
            let content = &datagram[opened.content];
            if opened.content_type == ContentType::APPLICATION_DATA {
                self.inbox.push_back(content.to_vec());
            } else {
                let control = on_control(opened.content_type, content);
                self.on_control(control);
            }
        }
    }

    fn on_control(&mut self, control: Control) {
        let State::Session(session) = &mut self.state else { return };
        let mut out = [0; OUT_BYTES];
        let len = match control {
            Control::CloseNotify | Control::FatalAlert(_) => {
                if matches!(control, Control::FatalAlert(_)) {
                    self.kept = None;
                }
                self.state = State::Over(End::Closed);
                return;
            }
            Control::Path(PathMessage::Challenge(cookie)) => {
                self.challenges += 1;
                session.path_message(PathMessage::Response(cookie), &mut out)
            }
            Control::FinishedAgain => session.last_flight_again(&mut out),
            Control::Renegotiation => session.no_renegotiation(&mut out).ok(),
            Control::Path(_) | Control::Ignored(_) => None,
        };
        self.outbox.extend(len.map(|len| out[..len].to_vec()));
    }

    /// The next datagram of the handshake, or of the session on its own account.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        if let Some(datagram) = self.outbox.pop_front() {
            out[..datagram.len()].copy_from_slice(&datagram);
            return Some(datagram.len());
        }
        match &mut self.state {
            State::Handshake(handshake) => handshake.poll_transmit(out),
            State::Session(_) | State::Over(_) => None,
        }
    }

    /// When to call [`Self::on_due`].
    pub fn due_ms(&self) -> Option<u64> {
        match &self.state {
            State::Handshake(handshake) => handshake.due_ms(),
            State::Session(_) | State::Over(_) => None,
        }
    }

    /// The time [`Self::due_ms`] named has come.
    pub fn on_due(&mut self, now_ms: u64) {
        if let State::Handshake(handshake) = &mut self.state {
            handshake.on_due(now_ms);
            self.settle();
        }
    }

    /// Seals a CoAP message into a datagram; `None` without a session, or when it does not fit.
    pub fn seal(&mut self, message: &[u8], out: &mut [u8]) -> Option<usize> {
        self.session()?.seal(ContentType::APPLICATION_DATA, message, out).ok()
    }

    /// Writes close_notify; the session is over then, and may be resumed.
    pub fn close(&mut self, out: &mut [u8]) -> Option<usize> {
        let written = self.session()?.close_notify(out).ok();
        self.state = State::Over(End::Closed);
        written
    }

    /// The next CoAP message received.
    pub fn take_message(&mut self) -> Option<Vec<u8>> {
        self.inbox.pop_front()
    }

    /// What to offer the next time: once up, if the server lets the session be resumed, and until
    /// a fatal alert.
    pub fn resumable(&self) -> Option<&Session> {
        self.kept.as_ref()
    }

    /// Whether the session is an older one resumed.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// How often the server checked the path (RFC 9853).
    pub fn challenges(&self) -> u32 {
        self.challenges
    }

    /// Whether the handshake is complete and the session open.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Session(_))
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<End> {
        if let State::Over(end) = self.state { Some(end) } else { None }
    }

    /// The session, while it is open.
    pub fn session(&mut self) -> Option<&mut Established> {
        if let State::Session(session) = &mut self.state { Some(session) } else { None }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Handshake(handshake) => handshake.fmt(f),
            Self::Session(_) => f.write_str("Session"),
            Self::Over(end) => end.fmt(f),
        }
    }
}
