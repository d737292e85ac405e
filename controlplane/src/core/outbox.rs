//! What becomes of a device's response while the broker is away? It waits in the store.
//!
//! A downlink's outcome must not wait for a broker (its ring entry would hold up every other), so
//! the response is stored with the final state and published from here until it is confirmed.

use std::collections::VecDeque;

use tidegate_faults::{Bug, has};

use super::routes::{Route, Ruled};
use super::ruled::Ran;
use super::uplinks::Pending;
use super::{Core, Effect, Now, PublishResult};
use crate::model::{DeviceId, MessageId};
use crate::rules;
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// A stored response: when its message ended (Unix milliseconds), and which message.
pub(super) type ResponseKey = (u64, MessageId);

/// Responses that wait, oldest first; all of them durable.
pub(super) struct Outbox {
    waiting: VecDeque<ResponseKey>,
    publishing: usize,
    /// After a failure: not before this.
    not_before_ms: u64,
}

/// Bound: responses kept; a later one is counted and dropped.
const RESPONSES_MAX: usize = 100_000;
/// Bound: responses published at a time; uplinks have the rest of the publisher.
const PUBLISHING_MAX: usize = 64;
/// After a failure, milliseconds.
const RETRY_MS: u64 = 5_000;

impl Outbox {
    pub(super) fn restore(store: &dyn Store) -> Result<Self, StoreError> {
        let found = store.scan(Table::Outbox, &[], None, RESPONSES_MAX)?;
        let waiting = found.iter().filter_map(|(key, _)| keys::ended_parts(key)).collect();
        Ok(Self { waiting, publishing: 0, not_before_ms: 0 })
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        let is_idle = self.waiting.is_empty() || self.publishing >= PUBLISHING_MAX;
        (!is_idle).then_some(self.not_before_ms)
    }
}

impl Core {
    /// Adds a response to the transaction that ends its message. `None`: there is no room.
    pub(super) fn keep_response(
        &mut self,
        tx: &mut Transaction,
        device: DeviceId,
        key: ResponseKey,
        json: &[u8],
    ) -> Option<ResponseKey> {
        if self.outbox.waiting.len() >= RESPONSES_MAX || has(Bug::ResponseNotKept) {
            self.counts.responses_dropped += 1;
            return None;
        }
        tx.put(Table::Outbox, keys::ended(key.0, key.1), [&device.0[..], json].concat());
        Some(key)
    }

    /// The response is durable (or the store refused it).
    pub(super) fn on_response_kept(&mut self, now: Now, key: ResponseKey, is_kept: bool) {
        if is_kept {
            self.outbox.waiting.push_back(key);
        } else {
            self.counts.responses_dropped += 1;
        }
        if self.publisher_up && self.outbox.not_before_ms <= now.ms {
            self.publish_outbox(now);
        }
    }

    pub(super) fn publish_outbox(&mut self, now: Now) {
        while self.outbox.publishing < PUBLISHING_MAX && self.uplinks.has_room() {
            let Some(key) = self.outbox.waiting.pop_front() else { return };
            let stored = self.store.get(Table::Outbox, &keys::ended(key.0, key.1));
            let stored = stored.map(|stored| {
                let stored = stored?;
                let (device, json) = stored.split_first_chunk::<16>()?;
                Some((DeviceId(*device), json.to_vec()))
            });
            let routed = stored.and_then(|stored| match stored {
                Some((device, json)) => self.route(device).map(|route| Some((device, route, json))),
                None => Ok(None),
            });
            match routed {
                Ok(Some((device, Route::Rules(ruled), payload))) => {
                    self.publish_ruled(now, key, device, &ruled, &payload);
                }
                Ok(Some((device, Route::Topic(topic), payload))) => {
                    self.outbox.publishing += 1;
                    let id = self.begin_response(now, key);
                    let account = self.account_of(device);
                    self.out.push(Effect::Publish { id, account, topic, payload });
                }
                // Its device or destination is gone: nobody can be told.
                Ok(_) => {
                    self.counts.responses_dropped += 1;
                    self.forget_response(key);
                }
                Err(_) => {
                    self.outbox.waiting.push_front(key);
                    self.outbox.not_before_ms = now.ms + RETRY_MS;
                    return;
                }
            }
        }
    }

    fn publish_ruled(
        &mut self,
        now: Now,
        key: ResponseKey,
        device: DeviceId,
        ruled: &Ruled,
        payload: &[u8],
    ) {
        let (client_id, trace_id) = (device.to_string(), key.1.to_string());
        let message = rules::Message {
            topic: ruled.topic.as_deref().unwrap_or_default(),
            client_id: &client_id,
            account_id: &self.account_id(ruled.account),
            principal: None,
            trace_id: &trace_id,
            now_unix_ms: now.unix_ms,
            payload,
        };
        match self.run_rules(now, ruled, &message, Pending::Response(key)) {
            Ran::Publishing => self.outbox.publishing += 1,
            Ran::Filtered => self.forget_response(key),
            Ran::Failed => {
                self.counts.responses_dropped += 1;
                self.forget_response(key);
            }
        }
    }

    pub(super) fn on_response_published(
        &mut self,
        now: Now,
        key: ResponseKey,
        result: PublishResult,
    ) {
        self.outbox.publishing -= 1;
        match result {
            PublishResult::Confirmed => {
                self.counts.confirmed += 1;
                self.forget_response(key);
            }
            // The rule's actions will not take it, whenever it is tried.
            PublishResult::Failed => {
                self.counts.responses_dropped += 1;
                self.forget_response(key);
            }
            PublishResult::Unavailable => {
                self.outbox.waiting.push_front(key);
                self.outbox.not_before_ms = now.ms + RETRY_MS;
            }
        }
    }

    fn forget_response(&mut self, key: ResponseKey) {
        let mut tx = Transaction::new();
        tx.delete(Table::Outbox, keys::ended(key.0, key.1));
        self.write(tx, None);
    }
}
