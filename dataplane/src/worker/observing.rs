//! Which resources of devices do applications observe (RFC 7641)? What a device tells of them, in
//! the order in which it happened.
//!
//! ```text
//! Downlink GET, Observe 0 ─▶ response with Observe ─▶ registered: its token stays
//!   notification ─▶ newer? ─▶ Notification on the ring ─▶ ACK      no: counted, ACK
//!                   └ more blocks: fetched first (RFC 7959 section 2.6), then told
//! Downlink GET, Observe 1 ─▶ forgotten; what still comes is answered RST
//! ```
//!
//! A session that ends takes its observations with it; the control plane registers them again in
//! the next one. *Bound:* `OBSERVATIONS_MAX`, `OBSERVATIONS_PER_DEVICE_MAX`.

use super::Worker;
use super::lines::token_key;
use super::uplink::OutcomeOf;
use crate::bounds::{OBSERVATIONS_MAX, OBSERVATIONS_PER_DEVICE_MAX, RING_HEADROOM_BYTES};
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::pool::Pool;
use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use rand::Rng;
use tidegate_coap::block::Block;
use tidegate_coap::dedup::Told;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::observe::{Freshest, Wish, sequence};
use tidegate_coap::option::{self, Number, Understood};
use tidegate_coap::outbound::{Outbound, Reply, rejection};
use tidegate_ring::contract::{self as wire, FailReason};
use zerocopy::IntoBytes;

/// All observations of one worker.
#[derive(Debug)]
pub(super) struct Observations {
    pool: Pool<Observation>,
    /// By slot and token.
    by_token: HashMap<u64, u32, RandomState>,
    of_slot: HashMap<u32, ArrayVec<u32, OBSERVATIONS_PER_DEVICE_MAX>, RandomState>,
}

/// One resource of one device.
#[derive(Debug)]
struct Observation {
    slot: u32,
    token: u32,
    /// The message that asked for it.
    told: OutcomeOf,
    /// That message as it came, to fetch what does not fit a notification.
    request: Box<[u8]>,
    /// `None`: the device has not agreed yet.
    freshest: Option<Freshest>,
    /// The control plane knows that it has, and of all that follows.
    is_told: bool,
    /// The downlink that fetches the rest of the last notification.
    fetching: Option<u32>,
}

/// What a downlink fetches: the rest of a notification.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notified {
    pub(super) of: OutcomeOf,
    pub(super) sequence: Option<u32>,
    observation: u32,
}

impl Observations {
    pub(super) fn new() -> Self {
        Self {
            pool: Pool::new(OBSERVATIONS_MAX),
            by_token: HashMap::with_hasher(RandomState::default()),
            of_slot: HashMap::with_hasher(RandomState::default()),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.pool.len()
    }

    /// The number of the last state that the device has told; `None`: it has not agreed.
    pub(super) fn sequence(&self, number: u32) -> Option<u32> {
        self.pool.get(number)?.freshest.map(Freshest::sequence)
    }

    fn find(&self, slot: u32, id: &wire::MessageId) -> Option<u32> {
        let is_it = |number: &u32| {
            let observation = self.pool.get(*number);
            observation.is_some_and(|observation| observation.told.message_id == *id)
        };
        self.of_slot.get(&slot)?.iter().copied().find(is_it)
    }

    fn of_token(&self, slot: u32, token: Token) -> Option<u32> {
        let token = token.as_bytes().try_into().ok().map(u32::from_be_bytes)?;
        self.by_token.get(&token_key(slot, token)).copied()
    }

    /// A place for one more; `None`: there is none.
    fn insert(&mut self, observation: Observation) -> Option<u32> {
        let (slot, token) = (observation.slot, observation.token);
        if self.of_slot.get(&slot).is_some_and(ArrayVec::is_full) {
            return None;
        }
        let number = self.pool.insert(0, observation)?.number;
        self.of_slot.entry(slot).or_default().push(number);
        self.by_token.insert(token_key(slot, token), number);
        Some(number)
    }

    fn remove(&mut self, number: u32) -> Option<Observation> {
        let observation = self.pool.remove(number)?;
        let Observation { slot, token, .. } = observation;
        self.by_token.remove(&token_key(slot, token));
        if let Some(all) = self.of_slot.get_mut(&slot) {
            all.retain(|there| *there != number);
            if all.is_empty() {
                self.of_slot.remove(&slot);
            }
        }
        Some(observation)
    }
}

impl Worker {
    /// The token of a request that begins or ends an observation, and the one it begins.
    pub(super) fn observe(
        &mut self,
        slot: u32,
        told: &OutcomeOf,
        wish: Wish,
        bytes: &[u8],
    ) -> Result<(u32, Option<u32>), FailReason> {
        let found = self.observations.find(slot, &told.message_id);
        let known = found.and_then(|number| self.observations.pool.get_mut(number));
        match (wish, found, known) {
            // Asked anew: the device replaces what it has under this token (section 4.1). Until it
            // answers, and if it never does, what it agreed to before counts.
            (Wish::Register, Some(number), Some(observation)) => {
                Ok((observation.token, Some(number)))
            }
            (Wish::Register, ..) => {
                let token: u32 = self.random.random();
                let (told, request) = (*told, bytes.into());
                let (freshest, is_told, fetching) = (None, false, None);
                let observation =
                    Observation { slot, token, told, request, freshest, is_told, fetching };
                let number = self.observations.insert(observation).ok_or(FailReason::Busy)?;
                Ok((token, Some(number)))
            }
            (Wish::Deregister, Some(number), Some(observation)) => {
                let token = observation.token;
                self.observations.remove(number);
                Ok((token, None))
            }
            (Wish::Deregister, ..) => Err(FailReason::TokenGone),
        }
    }

    /// The request goes again under another token, and so does what it asks for.
    pub(super) fn rename_observation(&mut self, number: u32, token: u32) {
        let Some(observation) = self.observations.pool.get_mut(number) else { return };
        let before = std::mem::replace(&mut observation.token, token);
        let slot = observation.slot;
        self.observations.by_token.remove(&token_key(slot, before));
        self.observations.by_token.insert(token_key(slot, token), number);
    }

    /// The device has answered: does it agree?
    pub(super) fn on_registered(&mut self, now: Now, number: u32, response: &Message<'_>) {
        let agreed = sequence(&response.options).filter(|_| response.code.class() == 2);
        if let Some(observation) = self.observations.pool.get_mut(number) {
            observation.freshest = agreed.map(|sequence| Freshest::new(now.ms, sequence));
        }
    }

    /// The request is over: without the device's agreement there is nothing to observe.
    pub(super) fn end_registration_of(&mut self, number: Option<u32>) {
        let observation = number.and_then(|number| self.observations.pool.get(number));
        if let Some(number) = number
            && observation.is_some_and(|known| known.freshest.is_none() || !known.is_told)
        {
            self.observations.remove(number);
        }
    }

    /// A response to no request: is it what is observed? False: it is not.
    pub(super) fn on_notification(
        &mut self,
        now: Now,
        slot: u32,
        response: &Message<'_>,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) -> bool {
        let number = self.observations.of_token(slot, response.token);
        let observation = number.and_then(|number| self.observations.pool.get(number));
        let (Some(number), Some(observation)) = (number, observation) else { return false };
        let (told, Some(mut freshest)) = (observation.told, observation.freshest) else {
            return false;
        };
        if !observation.is_told {
            // The response is still fetched. As if it had not come: the device sends a CON again.
            self.slab.get_mut(slot).dedup.forget(response.mid);
            return true;
        }
        if option::first_unrecognised(&response.options, Understood::RESPONSE).is_some() {
            self.counters.tally(Tally::MessageStray);
            self.reply(slot, response, rejection(response), Told::Reset, outbox);
            return true;
        }
        let sequence = sequence(&response.options).filter(|_| response.code.class() == 2);
        // Section 3.4, but for the last word, which has no number.
        if sequence.is_some_and(|sequence| !freshest.takes(now.ms, sequence)) {
            self.counters.tally(Tally::NotificationStale);
            self.acknowledge(slot, response, outbox);
            return true;
        }
        let block2 = Block::of(&response.options, Number::BLOCK2);
        let notified = Notified { of: told, sequence, observation: number };
        let is_taken = if block2.is_some_and(|block| block.more && block.number() == 0) {
            self.fetch_rest(now, slot, notified, response, outbox)
        } else {
            self.tell_notification(now, &notified, 0, bytes)
        };
        if !is_taken {
            // As if it had not come: the device sends a CON again.
            self.slab.get_mut(slot).dedup.forget(response.mid);
            return true;
        }
        self.acknowledge(slot, response, outbox);
        match self.observations.pool.get_mut(number) {
            Some(observation) if sequence.is_some() => observation.freshest = Some(freshest),
            _ => {
                self.observations.remove(number);
            }
        }
        true
    }

    /// The control plane hears that the device has agreed, if it has.
    pub(super) fn tell_agreement(&mut self, downlink: u32) {
        let Some(downlink) = self.downlinks.get_mut(downlink) else { return };
        let number = self.observations.find(downlink.slot, &downlink.told.message_id);
        let observation = number.and_then(|number| self.observations.pool.get_mut(number));
        if let Some(observation) = observation {
            observation.is_told = true;
        }
    }

    /// The device has rejected a registration, made anew perhaps, or the response to it can't be
    /// had: the control plane observes nothing there any more.
    pub(super) fn unregister(&mut self, slot: u32, id: &wire::MessageId) {
        if let Some(number) = self.observations.find(slot, id) {
            self.observations.remove(number);
        }
    }

    /// An empty ACK, if the message is Confirmable.
    pub(super) fn acknowledge(&mut self, slot: u32, message: &Message<'_>, outbox: &mut Outbox) {
        if message.ty == Type::Con {
            let ack = Reply::Send(empty(Type::Ack, message.mid));
            self.reply(slot, message, ack, Told::EmptyAck, outbox);
        }
    }

    /// Puts a notification on the ring; false: there is no room.
    pub(super) fn tell_notification(
        &mut self,
        now: Now,
        notified: &Notified,
        body_bytes: usize,
        bytes: &[u8],
    ) -> bool {
        let entry = wire::Notification {
            message_id: notified.of.message_id,
            device: notified.of.device,
            at_unix_ms: now.unix_ms.into(),
            sequence: notified.sequence.unwrap_or(0).into(),
            body_bytes: (body_bytes as u32).into(),
            is_last: notified.sequence.is_none().into(),
            network: notified.of.network,
        };
        let parts = [entry.as_bytes(), bytes];
        let kind = wire::Kind::Notification;
        let is_told = self.up.push(kind, &parts, RING_HEADROOM_BYTES).is_ok();
        self.counters.tally(if is_told { Tally::Notification } else { Tally::NotificationLost });
        is_told
    }

    /// Asks for the blocks behind the first; false: there is no room for that.
    fn fetch_rest(
        &mut self,
        now: Now,
        slot: u32,
        notified: Notified,
        first: &Message<'_>,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(observation) = self.observations.pool.get_mut(notified.observation) else {
            return false;
        };
        // A body that is of yesterday is not worth its blocks.
        if let Some(before) = observation.fetching.take() {
            self.drop_fetch(now, before, outbox);
        }
        let token: u32 = self.random.random();
        let request = self.observations.pool.get(notified.observation);
        let coap = request.and_then(|observation| plain_get(&observation.request, token));
        let Some(coap) = coap else { return false };
        let fetch = self.begin_fetch(now, slot, (coap, token), notified, first, outbox);
        if let Some(observation) = self.observations.pool.get_mut(notified.observation) {
            observation.fetching = fetch;
        }
        fetch.is_some()
    }

    /// The rest of a notification is here, or will never be.
    pub(super) fn end_fetch(&mut self, notified: &Notified) {
        if let Some(observation) = self.observations.pool.get_mut(notified.observation) {
            observation.fetching = None;
        }
    }

    /// The session has ended, and what was registered in it.
    pub(super) fn forget_observations(&mut self, slot: u32) {
        for number in self.observations.of_slot.remove(&slot).into_iter().flatten() {
            self.observations.remove(number);
        }
    }
}

/// The request without Observe: later blocks are asked for without (RFC 7959 section 2.6).
fn plain_get(request: &[u8], token: u32) -> Option<Outbound> {
    let request = Message::parse(request).ok()?;
    let token = Token::new(&token.to_be_bytes());
    Outbound::new(Type::Con, request.code, token, |writer| {
        for option in request.options.iter().filter(|option| option.number != Number::OBSERVE) {
            writer.option(option.number, option.value);
        }
        writer.payload(request.payload);
    })
    .ok()
}
