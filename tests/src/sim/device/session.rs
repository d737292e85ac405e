//! By what does a device reach the edge? A DTLS session that it opens as a client, or nothing at
//! all: one without security sends its messages as they are.

use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::Established;
use tidegate_dtls::client::{Config, Credential, Randoms, Session as Kept};
use tidegate_loadgen::device::{Device as Client, OUT_BYTES};

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
    /// It has ended.
    Over,
}

impl Session {
    pub(super) fn new(plan: &DevicePlan) -> Self {
        let config = Config { return_routability: plan.return_routability, ..Config::default() };
        Self {
            number: plan.number,
            cid: plan.cid,
            resumes: plan.resumes,
            security: plan.security,
            config: Arc::new(config),
            client: None,
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
        self.is_plain() || self.client.as_ref().is_some_and(Client::is_up)
    }

    /// When the device may begin one; `None`: it has one, or needs none.
    pub(super) fn begins_ms(&self) -> Option<u64> {
        (!self.is_plain() && self.client.is_none()).then_some(self.retry_ms)
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.client.as_ref().and_then(Client::due_ms)
    }

    pub(super) fn on_due(&mut self, now_ms: u64) {
        if let Some(client) = &mut self.client
            && client.due_ms().is_some_and(|due_ms| due_ms <= now_ms)
        {
            client.on_due(now_ms);
        }
    }

    /// The messages of a datagram; `None`: nobody reads it.
    pub(super) fn on_datagram(&mut self, now_ms: u64, bytes: &mut [u8]) -> Option<Vec<Vec<u8>>> {
        if self.is_plain() {
            return Some(vec![bytes.to_vec()]);
        }
        let client = self.client.as_mut()?;
        client.on_datagram(now_ms, bytes);
        let mut messages = Vec::new();
        while let Some(message) = client.take_message() {
            messages.push(message);
        }
        Some(messages)
    }

    /// Sends what it wants to send by itself; what is new.
    pub(super) fn polls(&mut self, now_ms: u64, sent: &mut Vec<Vec<u8>>) -> Option<News> {
        let client = self.client.as_mut()?;
        let mut out = [0; OUT_BYTES];
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
        self.kept = self.kept.take().filter(|_| self.resumes);
    }

    /// Not before so long again.
    pub(super) fn rests(&mut self, after_ms: u64) {
        self.retry_ms += after_ms;
    }

    pub(super) fn established(&mut self) -> Option<&mut Established> {
        self.client.as_mut()?.session()
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
        let mut out = [0; OUT_BYTES];
        let len = self.client.as_mut()?.seal(message, &mut out)?;
        Some(out[..len].to_vec())
    }
}
