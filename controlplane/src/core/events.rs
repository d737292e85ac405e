//! Which events are told, and how do they get to whoever wants them? Published to topics that no
//! rule sees, once somebody enabled them.
//!
//! At least once: an event lies in the store until its publication is confirmed, and one that the
//! broker does not take is tried again, also by the next process.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_coap::code::Code;

use super::uplinks::Pending;
use super::{Core, Effect, Now, PublishResult};
use crate::model::{DeviceId, Failure, MessageId, MessageState, MessageStatus};
use crate::store::account::Account;
use crate::store::settings::{Event, is_told};
use crate::store::{Store, StoreError, Table, Transaction};

/// Events that wait, oldest first.
pub(super) struct Events {
    waiting: VecDeque<Told>,
    publishing: usize,
    /// After a failure: not before this.
    not_before_ms: u64,
    /// Found no room.
    dropped: u64,
    /// The number of the next: no two have the same, not of an earlier process either.
    next: u64,
}

/// One event on its way.
pub(super) struct Told {
    number: u64,
    account: Account,
    topic: Arc<str>,
    json: Vec<u8>,
}

/// Bound: events that wait; a later one is counted and dropped.
const WAITING_MAX: usize = 10_000;
/// Bound: events published at a time; uplinks have the rest of the publisher.
const PUBLISHING_MAX: usize = 64;
/// After a failure, milliseconds.
const RETRY_MS: u64 = 5_000;

impl Told {
    /// As stored: `account:8 | topic length:2 | topic | JSON`.
    fn encode(&self) -> Vec<u8> {
        let topic_len = u16::try_from(self.topic.len()).unwrap_or(0);
        let head = [&self.account.0.to_be_bytes()[..], &topic_len.to_be_bytes()].concat();
        [&head, self.topic.as_bytes(), &self.json].concat()
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(key.try_into().ok()?);
        let (account, rest) = value.split_first_chunk::<8>()?;
        let (topic_len, rest) = rest.split_first_chunk::<2>()?;
        let (topic, json) = rest.split_at_checked(u16::from_be_bytes(*topic_len).into())?;
        let topic = std::str::from_utf8(topic).ok()?.into();
        let account = Account(u64::from_be_bytes(*account));
        Some(Self { number, account, topic, json: json.to_vec() })
    }
}

impl Events {
    /// What was not confirmed when the process before this one ended.
    pub(super) fn restore(store: &dyn Store, now: Now) -> Result<Self, StoreError> {
        let found = store.scan(Table::Events, &[], None, WAITING_MAX)?;
        let waiting: VecDeque<Told> =
            found.iter().filter_map(|(key, value)| Told::decode(key, value)).collect();
        let last = waiting.back().map_or(0, |told| told.number);
        let next = (last + 1).max(now.unix_ms << 16);
        Ok(Self { waiting, publishing: 0, not_before_ms: 0, dropped: 0, next })
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        let is_idle = self.waiting.is_empty() || self.publishing >= PUBLISHING_MAX;
        (!is_idle).then_some(self.not_before_ms)
    }
}

impl Core {
    /// Tells an event of a device, if anybody wants it.
    pub(super) fn event(
        &mut self,
        now: Now,
        device: DeviceId,
        event: Event,
        kind: &str,
        about: Value,
    ) {
        let told = self.store.owner(device).and_then(|owner| {
            let Some(owner) = owner else { return Ok((Account::ROOT, false, false)) };
            let store = self.store.within(owner).unwrap_or_else(|| self.store.clone());
            let (of_all, of_device) = is_told(&*store, device, event)?;
            Ok((owner, of_all, of_device))
        });
        let Ok((account, of_all, of_device)) = told else { return };
        if !of_all && !of_device {
            return;
        }
        let root =
            format!("$aws/iotwireless/events/{}/{kind}/coap/wireless_devices", event.topic());
        let json = json!({
            "eventId": uuid::Uuid::new_v4().to_string(),
            "eventType": kind,
            "WirelessDeviceId": device.to_string(),
            "timestamp": now.unix_ms,
            "CoAP": about,
        });
        let json = json.to_string().into_bytes();
        if of_device {
            let topic = format!("{root}/wireless_device_id/{device}").into();
            self.keep_event(account, topic, json.clone());
        }
        if of_all {
            self.keep_event(account, root.into(), json);
        }
        self.publish_events(now);
    }

    /// A message reached its end.
    pub(super) fn event_of_message(&mut self, now: Now, status: &MessageStatus) {
        let kind = match status.state {
            MessageState::Failed(_) | MessageState::Expired => "error",
            MessageState::Sent | MessageState::Delivered | MessageState::Responded => "success",
            // Its sender wanted it so.
            MessageState::Queued | MessageState::Deleted => return,
        };
        let mut about =
            json!({ "MessageId": status.id.to_string(), "Status": status.state.as_str() });
        if let MessageState::Failed(failure) = status.state {
            about["Reason"] = json!(Failure::as_str(failure));
        }
        let event = Event::MessageDeliveryStatus;
        self.event(now, status.device, event, kind, about);
    }

    /// A device has acknowledged a message, or answered it.
    pub(super) fn event_of_acknowledgement(
        &mut self,
        now: Now,
        (device, id): (DeviceId, MessageId),
        state: MessageState,
        response: Option<Code>,
    ) {
        let kind = if state == MessageState::Responded { "answered" } else { "acknowledged" };
        let mut about = json!({ "MessageId": id.to_string(), "Status": state.as_str() });
        if let Some(code) = response {
            about["ResponseStatus"] = json!(code.service_name().to_string());
        }
        self.event(now, device, Event::MessageAcknowledgement, kind, about);
    }

    fn keep_event(&mut self, account: Account, topic: Arc<str>, json: Vec<u8>) {
        if self.events.waiting.len() >= WAITING_MAX {
            self.events.dropped += 1;
            if self.events.dropped.is_power_of_two() {
                tracing::warn!(dropped = self.events.dropped, "events found no room");
            }
            return;
        }
        let told = Told { number: self.events.next, account, topic, json };
        self.events.next += 1;
        let mut tx = Transaction { account: Some(account), ..Transaction::new() };
        tx.put(Table::Events, told.number.to_be_bytes(), told.encode());
        self.write(tx, None);
        self.events.waiting.push_back(told);
    }

    pub(super) fn publish_events(&mut self, now: Now) {
        while self.publisher_up
            && self.events.not_before_ms <= now.ms
            && self.events.publishing < PUBLISHING_MAX
            && self.uplinks.has_room()
        {
            let Some(told) = self.events.waiting.pop_front() else { return };
            self.events.publishing += 1;
            let (account, topic, payload) = (told.account, told.topic.clone(), told.json.clone());
            let due_ms = now.ms + self.limits.publish_timeout_ms;
            let id = self.uplinks.begin(due_ms, Pending::Event(told));
            self.out.push(Effect::Publish { id, account, topic, payload });
        }
    }

    pub(super) fn on_event_published(&mut self, now: Now, told: Told, result: PublishResult) {
        self.events.publishing -= 1;
        if result == PublishResult::Unavailable {
            self.events.waiting.push_front(told);
            self.events.not_before_ms = now.ms + RETRY_MS;
        } else {
            let mut tx = Transaction { account: Some(told.account), ..Transaction::new() };
            tx.delete(Table::Events, told.number.to_be_bytes());
            self.write(tx, None);
        }
        self.publish_events(now);
    }
}
