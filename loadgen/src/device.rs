//! What does a device do? One sans-IO DTLS client with a CoAP message in each record.
//!
//! The stories, the benches and the load generator drive the same type; it has no socket, clock or
//! random source of its own.

use std::sync::Arc;

use tidegate_dtls::client::{Config, Credential, Event, Handshake};
use tidegate_dtls::control::{Control, on_control};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::{Established, Failure};

/// A device, from its first ClientHello on.
#[derive(Debug)]
pub struct Device {
    own_cid: Vec<u8>,
    state: State,
    /// CoAP messages received and not taken yet.
    inbox: Vec<Vec<u8>>,
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
    /// The server said close_notify, or a fatal alert.
    Closed,
}

impl Device {
    /// A device that is about to shake hands. `own_cid`: as in [`Handshake::new`].
    pub fn new(
        config: &Arc<Config>,
        now_ms: u64,
        random: [u8; 32],
        credential: Credential,
        own_cid: Option<&[u8]>,
    ) -> Self {
        let handshake = Handshake::new(config, now_ms, random, credential, own_cid);
        Self {
            own_cid: own_cid.unwrap_or_default().to_vec(),
            state: State::Handshake(Box::new(handshake)),
            inbox: Vec::new(),
        }
    }

    /// Takes a datagram of the server.
    pub fn on_datagram(&mut self, now_ms: u64, datagram: &mut [u8]) {
        let mut rest = 0;
        let mut held = Vec::new();
        if let State::Handshake(handshake) = &mut self.state {
            rest = handshake.on_datagram(now_ms, datagram);
            match handshake.poll_event() {
                Some(Event::Established(session)) => {
                    held = handshake.take_held();
                    self.state = State::Session(Box::new(session));
                }
                Some(Event::Failed(failure)) => self.state = State::Over(End::Failed(failure)),
                None => {}
            }
        }
        self.on_records(&mut held, 0);
        self.on_records(datagram, rest);
    }

    fn on_records(&mut self, datagram: &mut [u8], mut at: usize) {
        while let State::Session(session) = &mut self.state
            && let Ok(record) = Record::parse(datagram, at, self.own_cid.len())
        {
            at = record.end();
            let Ok(opened) = session.open(&record, datagram) else { continue };
            let content = &datagram[opened.content];
            if opened.content_type == ContentType::APPLICATION_DATA {
                self.inbox.push(content.to_vec());
            } else if let Control::CloseNotify | Control::FatalAlert(_) =
                on_control(opened.content_type, content)
            {
                self.state = State::Over(End::Closed);
            }
        }
    }

    /// The next handshake datagram to send.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
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
            if let Some(Event::Failed(failure)) = handshake.poll_event() {
                self.state = State::Over(End::Failed(failure));
            }
        }
    }

    /// Seals a CoAP message into a datagram; `None` without a session, or when it does not fit.
    pub fn seal(&mut self, message: &[u8], out: &mut [u8]) -> Option<usize> {
        self.session()?.seal(ContentType::APPLICATION_DATA, message, out).ok()
    }

    /// Writes close_notify; the session is over then.
    pub fn close(&mut self, out: &mut [u8]) -> Option<usize> {
        let written = self.session()?.close_notify(out).ok();
        self.state = State::Over(End::Closed);
        written
    }

    /// The next CoAP message received.
    pub fn take_message(&mut self) -> Option<Vec<u8>> {
        (!self.inbox.is_empty()).then(|| self.inbox.remove(0))
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
