//! By what does a device reach the edge? A DTLS session that it opens as a client, or that the edge
//! opens to it, or nothing at all: one without security sends its messages as they are.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::Established;
use tidegate_dtls::client::{Config, Credential, Randoms, Session as Kept};
use tidegate_loadgen::device::{Device as Client, OUT_BYTES};

use super::listening::{Listening, Speaker};
use super::{identity, key};
use crate::sim::plan::{Cid, DevicePlan, Security};

/// The device's end of it.
pub(super) struct Session {
    number: usize,
    cid: Cid,
    resumes: bool,
    security: Security,
    config: Arc<Config>,
    client: Option<Client>,
    /// Where it waits for the edge.
    listening: Option<Listening>,
    /// It was seen to be up.
    is_told: bool,
    /// What it offers the next time.
    kept: Option<Kept>,
    /// It does not shake hands before this.
    retry_ms: u64,
}

/// What has become of a session.
pub(super) enum News {
    /// Its handshake is complete.
    Up,
    /// The same, and the edge has begun it.
    Opened,
    /// It has ended.
    Over,
}

impl Session {
    pub(super) fn new(run_seed: u64, plan: &DevicePlan) -> Self {
        let config = Config { return_routability: plan.return_routability, ..Config::default() };
        Self {
            number: plan.number,
            cid: plan.cid,
            resumes: plan.resumes,
            security: plan.security,
            config: Arc::new(config),
            client: None,
            listening: plan.listens.then(|| Listening::new(run_seed, plan)),
            is_told: false,
            kept: None,
            retry_ms: 0,
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.security.is_plain()
    }

    /// Whether messages can be sent.
    pub(super) fn is_up(&self) -> bool {
        self.is_plain() || self.is_opened() || self.client.as_ref().is_some_and(Client::is_up)
    }

    /// Whether the session is one that the edge has opened.
    fn is_opened(&self) -> bool {
        self.listening.as_ref().is_some_and(Listening::is_up)
    }

    /// When the device may begin one; `None`: it has one, or needs none.
    pub(super) fn begins_ms(&self) -> Option<u64> {
        let has_one = self.is_plain() || self.is_opened() || self.client.is_some();
        (!has_one).then_some(self.retry_ms)
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        let client = self.client.as_ref().and_then(Client::due_ms);
        let listening = self.listening.as_ref().and_then(Listening::due_ms);
        client.into_iter().chain(listening).min()
    }

    pub(super) fn on_due(&mut self, now_ms: u64) {
        if let Some(client) = &mut self.client
            && client.due_ms().is_some_and(|due_ms| due_ms <= now_ms)
        {
            client.on_due(now_ms);
        }
        if let Some(listening) = &mut self.listening {
            listening.on_due(now_ms);
        }
    }

    /// The messages of a datagram; `None`: nobody reads it.
    pub(super) fn on_datagram(&mut self, now_ms: u64, bytes: &mut [u8]) -> Option<Vec<Vec<u8>>> {
        if self.is_plain() {
            return Some(vec![bytes.to_vec()]);
        }
        if self.client.is_none() && self.listening.is_none() {
            return None;
        }
        let speaker = Speaker::of(bytes);
        let mut messages = Vec::new();
        if let Some(listening) = self.listening.as_mut().filter(|_| speaker != Speaker::Server) {
            messages = listening.on_datagram(now_ms, &mut bytes.to_vec());
        }
        if let Some(client) = self.client.as_mut().filter(|_| speaker != Speaker::Client) {
            client.on_datagram(now_ms, bytes);
            while let Some(message) = client.take_message() {
                messages.push(message);
            }
        }
        Some(messages)
    }

    /// Sends what it wants to send by itself; what is new.
    pub(super) fn polls(&mut self, now_ms: u64, sent: &mut Vec<Vec<u8>>) -> Option<News> {
        let mut out = [0; OUT_BYTES];
        if let Some(listening) = &mut self.listening {
            sent.extend(listening.take_out());
            if listening.take_new() {
                self.client = None;
                return Some(News::Opened);
            }
            if listening.take_closed() {
                self.retry_ms = now_ms;
                return Some(News::Over);
            }
        }
        let client = self.client.as_mut()?;
        while let Some(len) = client.poll_transmit(&mut out) {
            sent.push(out[..len].to_vec());
        }
        if client.is_up() && !self.is_told {
            self.is_told = true;
            self.kept = client.resumable().cloned();
            return Some(News::Up);
        }
        client.end()?;
        self.client = None;
        self.retry_ms = now_ms;
        Some(News::Over)
    }

    /// Begins a handshake.
    pub(super) fn begins(&mut self, now_ms: u64, random: &mut StdRng) {
        let cid: Option<Vec<u8>> = match self.cid {
            Cid::Without => None,
            Cid::Empty => Some(Vec::new()),
            Cid::Of(len) => Some((0..len).map(|_| random.random()).collect()),
        };
        let randoms = Randoms::expand(&random.random());
        let credential = Credential::Psk {
            identity: identity(self.number).into_bytes(),
            psk: Secret::new(&key(self.number)),
        };
        let kept = self.kept.as_ref().filter(|_| self.resumes);
        let cid = cid.as_deref();
        self.client = Some(Client::new(&self.config, now_ms, 0, cid, &randoms, credential, kept));
        self.is_told = false;
    }

    /// Gives it up, and does not come back for so long.
    pub(super) fn ends(&mut self, now_ms: u64, after_ms: u64) {
        self.forgets();
        self.retry_ms = now_ms + after_ms;
    }

    /// What a device without power has left of it.
    pub(super) fn forgets(&mut self) {
        self.client = None;
        if let Some(listening) = &mut self.listening {
            listening.forgets();
        }
        self.kept = self.kept.take().filter(|_| self.resumes);
    }

    /// Not before so long again.
    pub(super) fn rests(&mut self, after_ms: u64) {
        self.retry_ms += after_ms;
    }

    pub(super) fn established(&mut self) -> Option<&mut Established> {
        let opened = self.listening.as_mut().and_then(Listening::session);
        opened.or_else(|| self.client.as_mut()?.session())
    }

    /// Length of the Connection ID in records toward it.
    pub(super) fn cid_len(&self) -> usize {
        if let Cid::Of(len) = self.cid { len } else { 0 }
    }

    /// The datagram that has this message.
    pub(super) fn seal(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if self.is_plain() {
            return Some(message.to_vec());
        }
        if let Some(listening) = self.listening.as_mut().filter(|listening| listening.is_up()) {
            return listening.seal(message);
        }
        let mut out = [0; OUT_BYTES];
        let len = self.client.as_mut()?.seal(message, &mut out)?;
        Some(out[..len].to_vec())
    }
}
