//! Which requests of devices wait for something? Their exchanges, and the replies kept for copies.

use super::Worker;
use super::messages::sent_key;
use super::uploads::Name;
use crate::bounds::{EXCHANGE_PATH_BYTES_MAX, KEPT_REPLIES};
use crate::pool::{Key, Pool};
use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use rand::Rng;
use std::collections::VecDeque;
use tidegate_coap::block::{Block, BlockSize, What};
use tidegate_coap::code::Code;
use tidegate_coap::inbound::{Inbound, Kept};
use tidegate_coap::no_response::Unwanted;
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
    /// What the device does not want to hear of it.
    pub(super) unwanted: Unwanted,
    /// Which block of its body the request carried.
    pub(super) block1: Option<Block>,
    /// The body of the request, if its blocks came as they liked.
    pub(super) finished: Option<Name>,
    /// What it asks for, where an answer is awaited.
    pub(super) asked: Option<Asked>,
    /// What it asks for is a later block of an answer.
    pub(super) follows_up: bool,
    /// The answer that goes on when this response is acknowledged.
    pub(super) feeds: Option<Key>,
    pub(super) received_ms: u64,
    pub(super) path: PathHead,
    /// How a separate response is sent, as the control plane said last.
    pub(super) terms: wire::Terms,
    /// Number in `Exchanges::kept`.
    pub(super) kept: Option<u32>,
    /// The application's answer, whose outcomes are told.
    pub(super) answer: Option<wire::MessageId>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// What names it among the requests of its device.
    pub(super) name: Name,
    /// How large the blocks of a long answer are.
    pub(super) size: BlockSize,
    pub(super) blocks: Blocks,
}

/// Which blocks of a long answer a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blocks {
    /// One at a time: this one.
    One(Block),
    /// As they like to come (RFC 9177).
    Quick(What),
}

/// The beginning of a request's path, for the customer's log: segments, each behind its length.
#[derive(Debug)]
pub(super) struct PathHead(ArrayVec<u8, EXCHANGE_PATH_BYTES_MAX>);

impl PathHead {
    /// As many bytes of the segments as there is room for.
    pub(super) fn of<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut head = ArrayVec::new();
        for segment in segments {
            let room = head.remaining_capacity();
            if room < 2 {
                break;
            }
            let part = &segment[..segment.len().min(room - 1)];
            head.push(part.len() as u8);
            head.extend(part.iter().copied());
        }
        Self(head)
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (segment, after) = after.split_at(usize::from(*length));
            rest = after;
            Some(segment)
        })
    }
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

impl Worker {
    /// A place for an exchange; the oldest that only waits for copies gives way.
    pub(super) fn add_exchange(&mut self, exchange: Exchange) -> Option<Key> {
        if self.exchanges.pool.is_full() {
            let number = self.exchanges.oldest_answered()?;
            self.forget_exchange(number);
        }
        let due_ms = exchange.coap.due_ms();
        let key = self.exchanges.pool.insert(self.random.random(), exchange)?;
        self.wheel.set(self.timers.exchange(key.number), due_ms);
        Some(key)
    }

    pub(super) fn exchange_key(&self, number: u32) -> Key {
        self.exchanges.pool.key(number)
    }

    pub(super) fn live_exchange(&self, key: Key) -> Option<u32> {
        self.exchanges.pool.resolve(key).filter(|number| self.is_session_alive(*number))
    }

    pub(super) fn is_session_alive(&self, number: u32) -> bool {
        self.exchanges.pool.get(number).is_some_and(|e| self.slab.resolve(e.session).is_some())
    }

    pub(super) fn arm_exchange(&mut self, number: u32) {
        let due_ms = self.exchanges.pool.get(number).and_then(|e| e.coap.due_ms());
        self.wheel.set(self.timers.exchange(number), due_ms);
    }

    /// A place for a long reply; the oldest kept one gives way.
    pub(super) fn keep_place(&mut self) -> Option<u32> {
        while self.exchanges.kept.is_full() {
            let number = self.exchanges.oldest_answered()?;
            self.forget_exchange(number);
        }
        self.exchanges.kept.insert(0, Kept::new()).map(|key| key.number)
    }

    pub(super) fn release_kept(&mut self, number: u32) {
        let kept = self.exchanges.pool.get_mut(number).and_then(|e| e.kept.take());
        kept.map(|kept| self.exchanges.kept.remove(kept));
    }

    pub(super) fn forget_exchange(&mut self, number: u32) {
        self.release_kept(number);
        let Some(exchange) = self.exchanges.pool.remove(number) else { return };
        self.wheel.disarm(self.timers.exchange(number));
        if let Some(mid) = exchange.coap.own_mid() {
            self.sent.remove(&sent_key(exchange.slot, mid));
        } else if exchange.coap.is_answered() {
            let request = sent_key(exchange.slot, exchange.coap.mid());
            if self.exchanges.by_request.get(&request) == Some(&number) {
                self.exchanges.by_request.remove(&request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(segments: &[&[u8]]) -> Vec<Vec<u8>> {
        PathHead::of(segments.iter().copied()).segments().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_path_is_kept_as_far_as_there_is_room() {
        let (fits, long) = ([b'x'; EXCHANGE_PATH_BYTES_MAX - 1], [b'x'; 255]);
        assert_eq!(kept(&[]), Vec::<Vec<u8>>::new());
        assert_eq!(kept(&[b"a", b"", b"b/c"]), [&b"a"[..], b"", b"b/c"]);
        assert_eq!(kept(&[&fits]), [&fits]);
        assert_eq!(kept(&[&long]), [&fits]);
        assert_eq!(kept(&[b"a", &long, b"b"]), [&b"a"[..], &long[..EXCHANGE_PATH_BYTES_MAX - 3]]);
        assert_eq!(kept(&[&fits[1..], b"b"]), [&fits[1..]], "no room for a segment's first byte");
    }
}
