//! How does what a device said get from the store to its destinations, and who hears of it?
//!
//! Responses to downlinks go this way always: a downlink's outcome must not wait for a broker (its
//! ring entry would hold up every other). Uplinks do with [`ConfirmedBy::Store`]: the device hears
//! 2.xx once its uplink lies in the store, and it stays there until every destination has it.
//!
//! *Invariant:* what was acknowledged leaves the store when it is confirmed, when its device is
//! deleted, or when its own rule has refused it for [`super::OutboxLimits::give_up_ms`]; the last
//! two are counted.

use tidegate_coap::message::Message;
use tidegate_faults::{Bug, has};
use tidegate_ring::Seq;
use tidegate_ring::contract::Publication;

use super::outbox::{ConfirmedBy, Kept};
use super::routes::{Route, Ruled};
use super::ruled::{Ran, Said};
use super::uplink_json::{Circumstances, uplink_json};
use super::uplinks::{Pending, Speech, path_of};
use super::{Core, Effect, LinkId, Now, PublishResult, Ticket};
use crate::model::{DeviceId, MessageId};
use crate::store::{Table, Transaction};

/// What does a device know of its uplink while only the ring has it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// Nothing: it hears of it when the store has it, or every destination.
    Later,
    /// It is told at once: [`ConfirmedBy::Ring`], while the store keeps pace.
    Now,
    /// It may have been told, by a process that died before the store had it.
    Before,
}

/// Who waits to hear what becomes of an uplink: a worker, with this exchange of the device.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) from: (LinkId, Seq),
    pub(super) device: DeviceId,
    pub(super) exchange: u64,
    pub(super) answer_awaited: bool,
    pub(super) speech: Speech,
}

/// An uplink whose write is under way.
pub(super) struct Keeping {
    kept: Kept,
    asker: Asker,
    promise: Promise,
    /// Behind the kind: if nothing of its device waits, it goes without being read.
    value: Vec<u8>,
}

impl Keeping {
    pub(super) fn device(&self) -> DeviceId {
        self.kept.device
    }

    /// Its device has been told: it will be in the store, sooner or later.
    pub(super) fn is_promised(&self) -> bool {
        self.promise != Promise::Later
    }
}

/// Bound: published at a time while uplinks are confirmed by their destinations; they have the rest
/// of the publisher.
const PUBLISHING_MAX: usize = 64;
/// Bound: turns of lanes in one go.
const TURNS_MAX: usize = 256;

impl Core {
    /// Writes an uplink into the outbox; its device hears of it as `promise` says, or at once when
    /// there is no room.
    pub(super) fn keep_uplink(
        &mut self,
        now: Now,
        message: &Message<'_>,
        about: &Circumstances,
        asker: Asker,
        promise: Promise,
    ) -> Option<Publication> {
        let value = Kept::value(true, &path_of(message), &uplink_json(message, about));
        let kept = self.outbox.name(now, about.device, about.message, (true, value.len()));
        let has_room = self.outbox.has_room(&self.limits.outbox, kept.bytes as usize, true)
            && self.outbox.keeping() < self.limits.publishes_in_flight_max;
        // *Bound:* of those there is no more than the rings hold.
        if !has_room && promise != Promise::Before {
            self.counts.outbox_refused += 1;
            return Some(Publication::Unavailable);
        }
        self.outbox.reserve(kept.bytes);
        let keeping = Keeping { kept, asker, promise, value: value[1..].to_vec() };
        self.outbox.keep(kept, keeping);
        let mut tx = self.transaction_of(kept.device);
        tx.put(Table::Outbox, kept.key(), value);
        let number = kept.number;
        if promise == Promise::Later {
            self.write(tx, Some(Ticket::Uplink { number }));
        } else {
            self.promise(now, asker);
            self.write(tx, Some(Ticket::Promised { number }));
        }
        None
    }

    /// Are less than half of the writes under way that may be?
    pub(super) fn store_keeps_pace(&self) -> bool {
        self.outbox.keeping() < self.limits.publishes_in_flight_max.div_ceil(2)
    }

    /// The store has the uplink, or did not take it.
    pub(super) fn on_uplink_kept(&mut self, now: Now, number: u64, is_kept: bool) {
        let Some(Keeping { kept, asker, promise, value }) = self.outbox.take_kept(number) else {
            return;
        };
        if promise == Promise::Later {
            self.tell_asker(now, asker, is_kept);
        } else if !has(Bug::PromiseReleased) {
            self.done(asker.from.0, asker.from.1);
        }
        if !is_kept {
            self.counts.outbox_refused += 1;
            self.outbox.release(kept.bytes);
            return;
        }
        let is_first = self.outbox.join(kept) || has(Bug::OutboxOvertaken);
        self.outbox.release_held(kept.device);
        if is_first && !self.outbox.has_ready() && self.may_publish_kept() {
            self.publish_kept(now, kept, &value);
        } else if is_first {
            self.outbox.ready(kept.device);
        }
        self.publish_outbox(now);
    }

    /// Adds a response to the transaction that ends its message. `None`: there is no room.
    pub(super) fn keep_response(
        &mut self,
        now: Now,
        tx: &mut Transaction,
        (device, message): (DeviceId, MessageId),
        json: &[u8],
    ) -> Option<Kept> {
        let value = Kept::value(false, &[], json);
        let kept = self.outbox.name(now, device, message, (false, value.len()));
        let has_room = self.outbox.has_room(&self.limits.outbox, kept.bytes as usize, false);
        if !has_room || has(Bug::ResponseNotKept) {
            self.counts.responses_dropped += 1;
            return None;
        }
        self.outbox.reserve(kept.bytes);
        tx.put(Table::Outbox, kept.key(), value);
        Some(kept)
    }

    /// The response is durable (or the store refused it).
    pub(super) fn on_response_kept(&mut self, now: Now, kept: Kept, is_kept: bool) {
        if !is_kept {
            self.counts.responses_dropped += 1;
            self.outbox.release(kept.bytes);
        } else if self.outbox.join(kept) {
            self.outbox.ready(kept.device);
        }
        self.publish_outbox(now);
    }

    /// Whether one more of the outbox may be published now.
    pub(super) fn may_publish_kept(&self) -> bool {
        let most = match self.limits.confirmed_by {
            ConfirmedBy::Destination => PUBLISHING_MAX,
            // Events have the rest.
            ConfirmedBy::Store | ConfirmedBy::Ring => {
                (self.limits.publishes_in_flight_max / 8 * 7).max(1)
            }
        };
        self.outbox.publishing < most && self.uplinks.has_room()
    }

    /// Lanes have their turns, as long as there is room.
    pub(super) fn publish_outbox(&mut self, now: Now) {
        for _ in 0..TURNS_MAX {
            if !self.may_publish_kept() {
                return;
            }
            let Some(device) = self.outbox.next_ready() else { return };
            match self.outbox.first(&*self.store, device) {
                Ok(Some((kept, value))) => self.publish_kept(now, kept, &value),
                Ok(None) => {}
                Err(_) => self.outbox.again(now, device),
            }
        }
    }

    fn publish_kept(&mut self, now: Now, kept: Kept, value: &[u8]) {
        if self.outbox.holds(kept) {
            return;
        }
        let Some((path, json)) = Kept::parts(value) else { return self.drop_kept(kept) };
        let Ok(route) = self.route(kept.device) else {
            return self.outbox.again(now, kept.device);
        };
        match route {
            Route::Stranger => self.drop_kept(kept),
            Route::Nowhere => self.kept_is_refused(now, kept),
            route if route.wants_publisher() && !self.publisher_up => {
                self.outbox.park(kept.device);
            }
            Route::Topic(topic) => {
                self.outbox.publishing += 1;
                let due_ms = now.ms + self.limits.publish_timeout_ms;
                let id = self.uplinks.begin(due_ms, Pending::Kept(kept));
                let (account, payload) = (self.account_of(kept.device), json.to_vec());
                self.out.push(Effect::Publish { id, account, topic, payload });
                if has(Bug::OutboxForgotten) {
                    self.delete_kept(kept);
                }
            }
            Route::Rules(ruled) => self.publish_ruled(now, kept, &ruled, path, json),
        }
    }

    fn publish_ruled(&mut self, now: Now, kept: Kept, ruled: &Ruled, path: &[u8], json: &[u8]) {
        let Kept { device, message, .. } = kept;
        let said = Said { device, message, path, json, unix_ms: kept.unix_ms() };
        match self.run_rules_over(now, ruled, &said, Pending::Kept(kept)) {
            Ran::Publishing => self.outbox.publishing += 1,
            Ran::Filtered => self.forget_kept(kept),
            Ran::Failed => self.kept_is_refused(now, kept),
        }
    }

    pub(super) fn on_kept_published(&mut self, now: Now, kept: Kept, result: PublishResult) {
        self.outbox.publishing -= 1;
        match result {
            PublishResult::Confirmed => {
                // Uplinks were counted when their devices were told.
                self.counts.confirmed += u64::from(!kept.is_uplink);
                self.forget_kept(kept);
            }
            PublishResult::Unavailable => self.outbox.again(now, kept.device),
            PublishResult::Failed => self.kept_is_refused(now, kept),
        }
        self.publish_outbox(now);
    }

    /// A rule or destination of its device does not take it. What was acknowledged is tried again:
    /// they can be put right.
    fn kept_is_refused(&mut self, now: Now, kept: Kept) {
        let age_ms = now.unix_ms.saturating_sub(kept.unix_ms());
        if kept.is_uplink && age_ms < self.limits.outbox.give_up_ms {
            self.outbox.again(now, kept.device);
        } else {
            self.drop_kept(kept);
        }
    }

    /// One that its device may have been told is there will never be published.
    pub(super) fn drops_uplink(&mut self) {
        self.counts.uplinks_dropped += 1;
        let dropped = self.counts.uplinks_dropped;
        if dropped.is_power_of_two() {
            tracing::error!(dropped, "acknowledged uplinks were dropped");
        }
    }

    fn drop_kept(&mut self, kept: Kept) {
        if kept.is_uplink {
            self.drops_uplink();
        } else {
            self.counts.responses_dropped += 1;
        }
        self.forget_kept(kept);
    }

    fn forget_kept(&mut self, kept: Kept) {
        self.outbox.leave(kept);
        self.delete_kept(kept);
    }

    fn delete_kept(&mut self, kept: Kept) {
        let mut tx = self.transaction_of(kept.device);
        tx.delete(Table::Outbox, kept.key());
        self.write(tx, None);
    }

    /// Writes of the account that the device is of.
    fn transaction_of(&self, device: DeviceId) -> Transaction {
        Transaction { account: Some(self.account_of(device)), ..Transaction::new() }
    }
}
