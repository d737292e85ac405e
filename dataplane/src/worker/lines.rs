//! Which messages of ours for devices are there, and in which line does each wait?

use super::downlink_blocks::{Fetching, Sending};
use super::observing::Notified;
use super::uplink::OutcomeOf;
use crate::pool::Pool;
use crate::slab::Slab;
use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use tidegate_coap::message::Token;
use tidegate_coap::outbound::Outbound;
use tidegate_ring::contract::{self as wire, NSTART_MAX, SessionRef};

/// All requests of ours, and their lines.
#[derive(Debug)]
pub(super) struct Downlinks {
    pub(super) pool: Pool<Downlink>,
    /// By slot and token.
    pub(super) by_token: HashMap<u64, u32, RandomState>,
    /// By slot; only sessions with a downlink have one.
    pub(super) lines: HashMap<u32, Line, RandomState>,
}

/// One request of ours.
#[derive(Debug)]
pub(super) struct Downlink {
    pub(super) coap: Outbound,
    pub(super) session: SessionRef,
    pub(super) slot: u32,
    pub(super) told: OutcomeOf,
    pub(super) terms: wire::Terms,
    /// Its body, when that goes block by block.
    pub(super) sending: Option<Sending>,
    /// Its response, when that comes block by block.
    pub(super) fetching: Option<Fetching>,
    /// What the device has asked for to see that the request is fresh; empty: it has not.
    pub(super) echo: ArrayVec<u8, 40>,
    /// What it registers for.
    pub(super) observation: Option<u32>,
    /// What it fetches the rest of; it is no message of an application.
    pub(super) notified: Option<Notified>,
    /// It tells the device of a change: an ACK is all that follows.
    pub(super) is_notification: bool,
    /// The control plane knows that it has left.
    pub(super) is_sent: bool,
}

/// The downlinks of one session that are not acknowledged yet.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Left, and neither ACK nor response has come. *Bound:* NSTART of whoever is next.
    pub(super) outstanding: [Option<u32>; NSTART_MAX],
    pub(super) waiting: VecDeque<u32>,
}

impl Line {
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.iter().flatten().count()
    }

    pub(super) fn begins(&mut self, number: u32) {
        if let Some(free) = self.outstanding.iter_mut().find(|place| place.is_none()) {
            *free = Some(number);
        }
    }

    pub(super) fn is_over(&mut self, number: u32) {
        for place in &mut self.outstanding {
            place.take_if(|outstanding| *outstanding == number);
        }
    }
}

impl Downlink {
    pub(super) fn new(
        coap: Outbound,
        slab: &Slab,
        slot: u32,
        told: OutcomeOf,
        terms: wire::Terms,
    ) -> Self {
        Self {
            coap,
            session: slab.session(slot),
            slot,
            told,
            terms,
            sending: None,
            fetching: None,
            echo: ArrayVec::new(),
            observation: None,
            notified: None,
            is_notification: false,
            is_sent: false,
        }
    }

    /// The same as a notification.
    pub(super) fn notifying(self) -> Self {
        Self { is_notification: true, ..self }
    }
}

impl Downlinks {
    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.pool.len() as u32
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Downlink> {
        self.pool.get_mut(number)
    }

    /// A downlink has another token from now on.
    pub(super) fn rename(&mut self, slot: u32, before: Token, token: u32, number: u32) {
        if let Some(before) = token_of(before) {
            self.by_token.remove(&token_key(slot, before));
        }
        self.by_token.insert(token_key(slot, token), number);
    }

    pub(super) fn new(capacity: u32) -> Self {
        let size = capacity as usize;
        Self {
            pool: Pool::new(capacity),
            by_token: HashMap::with_capacity_and_hasher(size, RandomState::default()),
            lines: HashMap::with_hasher(RandomState::default()),
        }
    }
}

/// A token of ours; another one is none.
pub(super) fn token_of(token: Token) -> Option<u32> {
    token.as_bytes().try_into().ok().map(u32::from_be_bytes)
}

/// Of what is by slot and token of ours.
pub(super) fn token_key(slot: u32, token: u32) -> u64 {
    u64::from(slot) << 32 | u64::from(token)
}
