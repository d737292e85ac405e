//! Who hears of changes of what the edge has for a device (RFC 7641 section 4)?
//!
//! ```text
//! changed ─▶ every observer: one notification at a time, the state current then
//!   outcome: acknowledged ─▶ changed meanwhile? the next one
//!            RST, no ACK, session gone ─▶ off the list (section 4.5); the device registers anew
//! ```
//!
//! An entry of the list is a session and a token (section 4.1), and outlives both processes.
//! *Bound:* `OBSERVERS_PER_DEVICE_MAX`, `OBSERVERS_MAX`; beyond them a GET is just a GET.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tidegate_coap::block::Block;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type};
use tidegate_coap::observe::Wish;
use tidegate_coap::option::Number;
use tidegate_ring::contract::{self, Downlink, FailReason, Kind, SessionRef, Step};
use zerocopy::IntoBytes;

use super::edge_resources::{about, everything};
use super::messages::encode;
use super::{ByDevice, Core};
use crate::model::{DeviceId, EdgeResource, MessageId, RESOURCE_FIRST_BYTES as FIRST_BYTES_MAX};
use crate::store::{Store, StoreError, Table, Transaction, keys, records};

/// The list.
#[derive(Default)]
pub(super) struct Observers {
    by_device: ByDevice<Vec<Observer>>,
    count: usize,
    /// Notifications under way.
    sent: HashMap<MessageId, DeviceId>,
}

/// An entry of the list of observers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Observer {
    #[serde(with = "crate::model::base64_text")]
    token: Vec<u8>,
    session: u64,
    path: String,
    /// Of the first representation: all others have the same (section 4.2).
    content_format: Option<u16>,
    /// The notification that has no outcome yet.
    #[serde(skip)]
    under_way: Option<MessageId>,
    /// There is a state that it has not heard of.
    #[serde(skip)]
    is_behind: bool,
}

impl Observer {
    /// Whoever asks this.
    fn of(session: u64, request: &Message<'_>, resource: &EdgeResource) -> Self {
        Self {
            token: request.token.as_bytes().to_vec(),
            session,
            path: resource.path.clone(),
            content_format: resource.content_format,
            under_way: None,
            is_behind: false,
        }
    }
}

const OBSERVERS_PER_DEVICE_MAX: usize = 16;
const OBSERVERS_MAX: usize = 1 << 18;

impl Observers {
    /// Who was on it before.
    pub(super) fn restore(store: &dyn Store) -> Result<Self, StoreError> {
        let mut observers = Self::default();
        for (key, value) in everything(store, Table::Observed)? {
            if let Some(device) = keys::observer_of(&key) {
                observers.add(device, records::decode(&value, "observer")?);
            }
        }
        Ok(observers)
    }

    fn add(&mut self, device: DeviceId, observer: Observer) {
        let all = self.by_device.entry(device).or_default();
        let before = all.len();
        all.retain(|known| known.token != observer.token || known.session != observer.session);
        all.push(observer);
        self.count = self.count + all.len() - before;
    }

    /// Takes out who is on a device's list and meant by `is_meant`.
    fn take(&mut self, device: DeviceId, is_meant: impl Fn(&Observer) -> bool) -> Vec<Observer> {
        let Some(all) = self.by_device.get_mut(&device) else { return Vec::new() };
        let taken: Vec<_> = all.extract_if(.., |observer| is_meant(observer)).collect();
        if all.is_empty() {
            self.by_device.remove(&device);
        }
        self.count -= taken.len();
        taken
    }
}

impl Core {
    /// Does a GET of what the edge has observe it from now on? Without Observe it changes nothing.
    pub(super) fn observes(
        &mut self,
        device: DeviceId,
        session: u64,
        request: &Message<'_>,
        resource: &EdgeResource,
    ) -> bool {
        let block = Block::of(&request.options, Number::BLOCK2);
        let is_first = block.is_none_or(|block| block.number() == 0);
        match Wish::of(&request.options).filter(|_| is_first) {
            Some(Wish::Register) => {
                self.add_observer(device, Observer::of(session, request, resource))
            }
            Some(Wish::Deregister) => {
                let token = request.token.as_bytes();
                let is_it = |known: &Observer| known.token == token && known.session == session;
                self.drop_observers(device, is_it);
                false
            }
            None => false,
        }
    }

    /// False: the list is full.
    fn add_observer(&mut self, device: DeviceId, observer: Observer) -> bool {
        let all = self.observers.by_device.get(&device).map_or(&[][..], Vec::as_slice);
        let is_known = all.iter().any(|known| known.token == observer.token);
        let is_full =
            all.len() >= OBSERVERS_PER_DEVICE_MAX || self.observers.count >= OBSERVERS_MAX;
        if is_full && !is_known {
            return false;
        }
        let mut tx = Transaction::new();
        let key = keys::observer(device, observer.session, &observer.token);
        tx.put(Table::Observed, key, records::encode(&observer));
        self.observers.add(device, observer);
        self.write(tx, None);
        true
    }

    /// A value has changed, or is gone.
    pub(super) fn on_value_changed(&mut self, device: DeviceId, path: &str) {
        for observer in self.observers.by_device.get_mut(&device).into_iter().flatten() {
            observer.is_behind |= observer.path == path;
        }
        self.notify_observers(device);
    }

    /// Sends a notification to everyone of the device's list who is behind and has none under way.
    pub(super) fn notify_observers(&mut self, device: DeviceId) {
        let Some(all) = self.observers.by_device.get(&device) else { return };
        let behind = all.iter().filter(|known| known.is_behind && known.under_way.is_none());
        for observer in behind.cloned().collect::<Vec<_>>() {
            self.notify_observer(device, &observer);
        }
    }

    fn notify_observer(&mut self, device: DeviceId, observer: &Observer) {
        let is_it =
            |known: &Observer| known.token == observer.token && known.session == observer.session;
        let session = SessionRef(observer.session);
        let Some(link) = self.link_of_worker(session.worker()).map(|link| link.id) else { return };
        let resource = self.edge_resource(device, &observer.path);
        let (code, options) = match &resource {
            None => (Code::NOT_FOUND, Vec::new()),
            Some(resource) if resource.content_format != observer.content_format => {
                (Code::NOT_ACCEPTABLE, Vec::new())
            }
            Some(resource) => (Code::CONTENT, about(resource, true, true)),
        };
        let told = resource.filter(|_| code == Code::CONTENT);
        let bytes = told.as_ref().map_or(0, EdgeResource::bytes);
        let payload = told.map(|resource| resource.payload).unwrap_or_default();
        let first = &payload[..payload.len().min(FIRST_BYTES_MAX)];
        let token = Token::new(&observer.token);
        let Ok((message, 0)) = encode((Type::Con, code), &token, options, first) else { return };
        let id = MessageId::drawn(&mut self.random);
        let terms = self.terms(device).ok().flatten();
        let head = Downlink {
            message_id: id.0,
            device: device.0,
            session: observer.session.into(),
            terms: terms.map_or(contract::Terms::OWN, |terms| terms.wire),
            body_bytes: (if first.len() < bytes { bytes as u32 } else { 0 }).into(),
        };
        self.post(link, Kind::Notify, &[head.as_bytes(), &message], None);
        if code.class() != 2 {
            // Section 4.2: the last word.
            return self.drop_observers(device, is_it);
        }
        let all = self.observers.by_device.get_mut(&device);
        if let Some(known) = all.and_then(|all| all.iter_mut().find(|known| is_it(known))) {
            (known.under_way, known.is_behind) = (Some(id), false);
            self.observers.sent.insert(id, device);
        }
    }

    /// What became of a notification; false: it is none.
    pub(super) fn on_notified(
        &mut self,
        id: MessageId,
        (step, reason, is_final): (Step, FailReason, bool),
    ) -> bool {
        let Some(device) = self.observers.sent.get(&id).copied() else { return false };
        if !is_final {
            return true;
        }
        self.observers.sent.remove(&id);
        let is_lost = matches!(
            reason,
            FailReason::Reset | FailReason::Timeout | FailReason::NoSession | FailReason::Malformed
        );
        if step == Step::Failed && is_lost {
            self.drop_observers(device, |observer| observer.under_way == Some(id));
            return true;
        }
        for observer in self.observers.by_device.get_mut(&device).into_iter().flatten() {
            if observer.under_way == Some(id) {
                observer.under_way = None;
                observer.is_behind |= step == Step::Failed;
            }
        }
        // A line that was full is tried again when the device shows itself.
        if step != Step::Failed {
            self.notify_observers(device);
        }
        true
    }

    /// The device has another session, and who was on the list with another one is gone.
    pub(super) fn on_other_session(&mut self, device: DeviceId, session: u64) {
        self.drop_observers(device, |observer| observer.session != session);
    }

    /// A session has ended.
    pub(super) fn on_observer_gone(&mut self, device: DeviceId, session: u64) {
        self.drop_observers(device, |observer| observer.session == session);
    }

    /// The device is gone.
    pub(super) fn forget_observers(&mut self, device: DeviceId) {
        self.drop_observers(device, |_| true);
    }

    fn drop_observers(&mut self, device: DeviceId, is_meant: impl Fn(&Observer) -> bool) {
        let taken = self.observers.take(device, is_meant);
        if taken.is_empty() {
            return;
        }
        let mut tx = Transaction::new();
        for observer in taken {
            if let Some(id) = observer.under_way {
                self.observers.sent.remove(&id);
            }
            let key = keys::observer(device, observer.session, &observer.token);
            tx.delete(Table::Observed, key);
        }
        self.write(tx, None);
    }

    /// What was under way with that worker is lost: it is sent again.
    pub(super) fn on_notifications_lost(&mut self, worker: u8) {
        let mut devices = Vec::new();
        for (device, all) in &mut self.observers.by_device {
            for observer in all.iter_mut() {
                let is_there = SessionRef(observer.session).worker() == worker;
                if let Some(id) = observer.under_way.take_if(|_| is_there) {
                    self.observers.sent.remove(&id);
                    observer.is_behind = true;
                    devices.push(*device);
                }
            }
        }
        // Not in the order of a table that no two processes have alike.
        devices.sort_unstable();
        devices.dedup();
        for device in devices {
            self.notify_observers(device);
        }
    }
}
