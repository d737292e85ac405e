//! Does a device receive where its newest record came from? (RFC 9853, the basic check)
//!
//! A session whose hellos both had the extension keeps its address until the device has answered
//! a challenge at the new one. What is sent meanwhile goes to the new address as long as it is no
//! more than three times what came from there, and else to the old one. Sessions without the
//! extension move at once (RFC 9146 section 6).
//!
//! *Bound:* `PATHS_MAX` checks, one for each session; a session that finds no room keeps its
//! address, and its next record tries again.

use super::Worker;
use crate::bounds::PATHS_MAX;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::net::peer::Peer;
use crate::pool::Pool;
use crate::slab::CID_BYTES;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use rand::Rng;
use tidegate_dtls::established::Established;
use tidegate_dtls::record::HEADER_BYTES;
use tidegate_dtls::return_routability::{Cookie, Outcome, PathMessage, Validation};
use tidegate_faults::{Bug, Point, has, may_die};

/// The checks under way.
#[derive(Debug)]
pub(super) struct Paths {
    checks: Pool<Check>,
    by_slot: HashMap<u32, u32, RandomState>,
}

#[derive(Debug)]
struct Check {
    slot: u32,
    validation: Validation<Peer>,
}

impl Paths {
    pub(super) fn new() -> Self {
        let by_slot = HashMap::with_capacity_and_hasher(PATHS_MAX as usize, RandomState::default());
        Self { checks: Pool::new(PATHS_MAX), by_slot }
    }

    fn find(&mut self, slot: u32) -> Option<&mut Validation<Peer>> {
        let number = self.by_slot.get(&slot)?;
        self.checks.get_mut(*number).map(|check| &mut check.validation)
    }

    /// A datagram of the session stands in the outbox: it goes to the address that is being
    /// checked when it may.
    pub(super) fn lead(&mut self, slot: u32, index: usize, outbox: &mut Outbox) {
        if self.by_slot.is_empty() {
            return;
        }
        let Some(validation) = self.find(slot) else { return };
        if validation.take_budget(outbox.len_of(index)) {
            outbox.readdress(index, validation.peer());
        }
    }
}

impl Worker {
    /// An authentic record with `content_bytes` of content has come from `peer`.
    pub(super) fn on_path(
        &mut self,
        now: Now,
        slot: u32,
        peer: Peer,
        is_newest: bool,
        content_bytes: usize,
        outbox: &mut Outbox,
    ) {
        let is_newest = is_newest || has(Bug::AddressMovedByOldRecord);
        let entry = self.slab.get_mut(slot);
        if entry.peer == peer {
            // It is where it was all along.
            if is_newest && !self.paths.by_slot.is_empty() {
                self.end_check(slot);
            }
        } else if !entry.dtls.has_return_routability() {
            if is_newest {
                entry.peer = peer;
                may_die(Point::AddressMoved);
                self.counters.tally(Tally::AddressMoved);
            }
        } else if let Some(validation) = self.paths.find(slot) {
            // Of a third address nothing is known before this check is over (section 5).
            validation.on_received(peer, content_bytes + OVERHEAD_BYTES_MIN);
        } else if is_newest {
            self.begin_check(now, slot, peer, content_bytes + OVERHEAD_BYTES_MIN, outbox);
        }
    }

    fn begin_check(
        &mut self,
        now: Now,
        slot: u32,
        peer: Peer,
        received_bytes: usize,
        outbox: &mut Outbox,
    ) {
        let cookie = Cookie(self.random.random());
        let timeout_ms = self.config.sessions.path_timeout_ms.into();
        let validation = Validation::new(peer, cookie, now.ms, timeout_ms, received_bytes);
        let (challenge, due_ms) = (validation.challenge(), validation.due_ms());
        let Some(key) = self.paths.checks.insert(0, Check { slot, validation }) else {
            return self.counters.tally(Tally::PathNoRoom);
        };
        self.paths.by_slot.insert(slot, key.number);
        self.wheel.arm(self.timers.path(key.number), due_ms);
        self.counters.tally(Tally::PathChallenge);
        // It is led to the new address: the record that came from there was longer than a third.
        self.send_record(slot, outbox, |dtls, out| dtls.path_message(challenge, out));
    }

    /// A `return_routability_check` message that came from `peer`.
    pub(super) fn on_path_message(
        &mut self,
        now: Now,
        slot: u32,
        peer: Peer,
        message: PathMessage,
        outbox: &mut Outbox,
    ) {
        if let PathMessage::Challenge(cookie) = message {
            // Exactly one answer to each, at once, to where it came from (section 5.4). It is as
            // long as the challenge, so nobody is flooded by it.
            let answer = PathMessage::Response(cookie);
            let write = |dtls: &mut Established, out: &mut [u8]| dtls.path_message(answer, out);
            match self.send_record(slot, outbox, write) {
                Some(index) => {
                    outbox.readdress(index, peer);
                    self.counters.tally(Tally::PathAnswered);
                }
                None => self.counters.tally(Tally::PathInvalid),
            }
            return;
        }
        let outcome = self.paths.find(slot).map(|check| check.on_message(now.ms, peer, message));
        match outcome {
            Some(Outcome::Validated) => {
                self.end_check(slot);
                self.slab.get_mut(slot).peer = peer;
                may_die(Point::AddressMoved);
                self.counters.tally(Tally::AddressMoved);
            }
            Some(Outcome::Dropped) => {
                self.end_check(slot);
                self.counters.tally(Tally::PathDropped);
            }
            Some(Outcome::Invalid) | None => self.counters.tally(Tally::PathInvalid),
        }
    }

    /// No answer in time: the session stays where it was.
    pub(super) fn on_path_due(&mut self, number: u32) {
        if let Some(check) = self.paths.checks.remove(number) {
            self.paths.by_slot.remove(&check.slot);
            self.counters.tally(Tally::PathTimeout);
        }
    }

    /// The session in `slot` has ended, or its check has.
    pub(super) fn end_check(&mut self, slot: u32) {
        if let Some(number) = self.paths.by_slot.remove(&slot) {
            self.paths.checks.remove(number);
            self.wheel.disarm(self.timers.path(number));
        }
    }
}

/// What every record of a session with a Connection ID has beside its content: header, Connection
/// ID, explicit nonce, content type and the shortest tag.
const OVERHEAD_BYTES_MIN: usize = HEADER_BYTES + CID_BYTES + 8 + 1 + 8;
