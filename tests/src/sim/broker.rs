//! What does the broker do? It keeps what reaches it, confirms it, and is away at times; the
//! publisher of the control plane beside it publishes again what was not confirmed.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_controlplane::core::PublishId;

use super::seed;

/// The broker, and the publisher that belongs to the control plane.
pub(crate) struct Broker {
    /// It answers.
    pub(crate) is_up: bool,
    /// How long it takes to confirm, beside the way.
    pub(crate) confirm_ms: u64,
    /// The connection of the publisher, by number; `None`: there is none.
    connection: Option<u32>,
    last_connection: u32,
    /// Ordered and not confirmed, in order.
    window: VecDeque<Publish>,
    /// Connects again then.
    pub(crate) connects_ms: Option<u64>,
    random: StdRng,
}

struct Publish {
    id: PublishId,
    payload: Arc<[u8]>,
    is_sent: bool,
}

/// A publish on its way.
#[derive(Clone)]
pub(crate) struct OnItsWay {
    pub(crate) connection: u32,
    pub(crate) id: PublishId,
    pub(crate) payload: Arc<[u8]>,
    /// When it is there.
    pub(crate) after_ms: u64,
    /// When its confirmation is back.
    pub(crate) confirmed_after_ms: u64,
    /// It arrives although the connection breaks.
    pub(crate) is_lucky: bool,
}

impl Broker {
    pub(crate) fn new(run_seed: u64) -> Self {
        Self {
            is_up: true,
            confirm_ms: 0,
            connection: None,
            last_connection: 0,
            window: VecDeque::new(),
            connects_ms: None,
            random: seed::stream(run_seed, "broker", 0),
        }
    }

    /// The control plane's process has started: it tries to connect.
    pub(crate) fn publisher_starts(&mut self, now_ms: u64) {
        self.connects_ms = Some(now_ms + self.random.random_range(1..400));
    }

    /// The control plane's process is gone.
    pub(crate) fn publisher_dies(&mut self) {
        (self.connection, self.connects_ms) = (None, None);
        self.window.clear();
    }

    /// Tries to connect; true: done.
    pub(crate) fn connects(&mut self, now_ms: u64) -> bool {
        if !self.is_up {
            self.connects_ms = Some(now_ms + self.random.random_range(250..8_000));
            return false;
        }
        self.connects_ms = None;
        self.last_connection += 1;
        self.connection = Some(self.last_connection);
        self.window.iter_mut().for_each(|publish| publish.is_sent = false);
        true
    }

    /// The broker is gone; true: a connection broke.
    pub(crate) fn breaks(&mut self, now_ms: u64) -> bool {
        self.is_up = false;
        let had_one = self.connection.take().is_some();
        if had_one {
            self.connects_ms = Some(now_ms + 250);
        }
        had_one
    }

    pub(crate) fn orders(&mut self, id: PublishId, payload: Vec<u8>) {
        self.window.push_back(Publish { id, payload: payload.into(), is_sent: false });
    }

    pub(crate) fn abandons(&mut self, id: PublishId) {
        self.window.retain(|publish| publish.id != id);
    }

    /// What leaves now.
    pub(crate) fn flush(&mut self) -> Vec<OnItsWay> {
        let Some(connection) = self.connection else { return Vec::new() };
        let (random, confirm_ms) = (&mut self.random, self.confirm_ms);
        let unsent = self.window.iter_mut().filter(|publish| !publish.is_sent);
        let leaves = |publish: &mut Publish| {
            publish.is_sent = true;
            let after_ms = random.random_range(1..20);
            OnItsWay {
                connection,
                id: publish.id,
                payload: publish.payload.clone(),
                after_ms,
                confirmed_after_ms: after_ms + confirm_ms + random.random_range(1..20),
                is_lucky: random.random(),
            }
        };
        unsent.map(leaves).collect()
    }

    /// Whether what is on its way by that connection arrives.
    pub(crate) fn receives(&self, publish: &OnItsWay) -> bool {
        self.connection == Some(publish.connection) || publish.is_lucky
    }

    /// A confirmation came back; true: it is news.
    pub(crate) fn confirms(&mut self, publish: &OnItsWay) -> bool {
        if self.connection != Some(publish.connection) {
            return false;
        }
        let before = self.window.len();
        self.abandons(publish.id);
        self.window.len() < before
    }

    /// Nothing is ordered that is not confirmed.
    pub(crate) fn is_idle(&self) -> bool {
        self.window.is_empty()
    }
}
