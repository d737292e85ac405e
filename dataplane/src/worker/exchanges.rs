//! Which requests of devices wait for something? Their exchanges, and the replies kept for copies.

use super::uploads::Name;
use crate::bounds::KEPT_REPLIES;
use crate::pool::{Key, Pool};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use tidegate_coap::block::Block;
use tidegate_coap::code::Code;
use tidegate_coap::inbound::{Inbound, Kept};
use tidegate_ring::contract::{self as wire, SessionRef};

/// All requests of devices that wait for something.
#[derive(Debug)]
pub(super) struct Exchanges {
    pub(super) pool: Pool<Exchange>,
    /// Exchanges that keep a piggybacked reply, by slot and the request's Message ID.
    pub(super) by_request: HashMap<u64, u32, RandomState>,
    /// Replies too long to stand in their exchange.
    pub(super) kept: Pool<Kept>,
    /// Answered exchanges that only wait for copies of their request, oldest first; they give way
    /// when there is no room.
    pub(super) answered: VecDeque<Key>,
}

/// One request of a device.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) coap: Inbound,
    pub(super) session: SessionRef,
    pub(super) slot: u32,
    pub(super) device: wire::DeviceId,
    pub(super) method: Code,
    pub(super) is_con: bool,
    /// Which block of its body the request carried.
    pub(super) block1: Option<Block>,
    /// What names the request among those of its device, and which block of the answer it wants;
    /// where an answer is awaited.
    pub(super) asked: Option<(Name, Option<Block>)>,
    /// What it asks for is a later block of an answer.
    pub(super) follows_up: bool,
    pub(super) received_ms: u64,
    /// Number in `Exchanges::kept`.
    pub(super) kept: Option<u32>,
    /// The application's answer, whose outcomes are told.
    pub(super) answer: Option<wire::MessageId>,
}

impl Exchanges {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            pool: Pool::new(capacity),
            by_request: HashMap::with_capacity_and_hasher(
                capacity as usize,
                RandomState::default(),
            ),
            kept: Pool::new(KEPT_REPLIES),
            answered: VecDeque::with_capacity(capacity as usize),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.pool.len() as u32
    }

    /// From now on an exchange only waits for copies of its request.
    pub(super) fn on_answered(&mut self, number: u32) {
        // All wait equally long, so those forgotten by their timers stand in front.
        while self.answered.front().is_some_and(|key| self.pool.resolve(*key).is_none()) {
            self.answered.pop_front();
        }
        self.answered.push_back(self.pool.key(number));
    }

    /// The exchange of this session that keeps the reply to a request.
    pub(super) fn replied(&self, session: SessionRef, key: u64) -> Option<u32> {
        let number = *self.by_request.get(&key)?;
        self.pool.get(number).is_some_and(|kept| kept.session == session).then_some(number)
    }

    /// Makes room by forgetting the oldest answered exchange. A later copy of its request is met
    /// with silence, and the device asks anew.
    pub(super) fn oldest_answered(&mut self) -> Option<u32> {
        while let Some(key) = self.answered.pop_front() {
            if let Some(number) = self.pool.resolve(key) {
                return Some(number);
            }
        }
        None
    }
}
