//! Which resources of devices do applications observe (RFC 7641)? A GET with Observe that the
//! device has agreed to becomes a subscription under the message's id; every notification is an
//! uplink with that id.
//!
//! ```text
//! message with Observe 0 ─▶ response with Observe ─▶ subscription, durable with the response
//!   Notification ─▶ outbox, as a response        last one: the subscription ends
//!   another session, a worker that restarted ─▶ registered again, at the device's sign of life
//!   nothing new for Max-Age ─▶ the same ([`super::refresh`])
//!   deleted by the application ─▶ GET with Observe 1
//! ```
//!
//! *Bound:* `SUBSCRIPTIONS_PER_DEVICE_MAX`, `SUBSCRIPTIONS_MAX`; a message beyond them is refused.

use serde::{Deserialize, Serialize};
use tidegate_coap::message::Message as CoapMessage;
use tidegate_coap::observe::sequence;
use tidegate_coap::option::Number;
use tidegate_ring::Seq;
use tidegate_ring::contract::{
    self, Downlink, FailReason, Kind, Notification, SessionRef, Step, name_of_message,
};
use zerocopy::IntoBytes;

use super::credentials::from_the_wire;
use super::edge_resources::everything;
use super::messages::encode_request;
use super::refresh::{Stale, fresh_ms};
use super::uplink_json::{Circumstances, uplink_json};
use super::{ByDevice, Core, LinkId, Now, RequestId, Ticket};
use crate::model::{CoapOption, DeviceId, DownlinkRequest, MessageId, Refused};
use crate::store::queue;
use crate::store::records;
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// Every subscription.
#[derive(Default)]
pub(super) struct Subscriptions {
    of: ByDevice<Vec<Subscription>>,
    count: usize,
    /// When states become stale.
    stale: Stale,
}

/// What an application observes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Subscription {
    id: MessageId,
    request: DownlinkRequest,
    /// Where the device has agreed to it; `None`: nowhere that still counts.
    session: Option<u64>,
    /// Where it was asked for and has not been answered yet.
    #[serde(skip)]
    asked: Option<u64>,
    /// When what the device told last is stale, milliseconds; 0: not known.
    #[serde(skip)]
    stale_at_ms: u64,
    /// It is, and the device is to be asked.
    #[serde(skip)]
    is_stale: bool,
}

/// After a restart states are asked for from then on, so many milliseconds apart.
const RESTORED_MS: u64 = 60_000;
const RESTORED_EVERY_MS: u64 = 10;
/// The same bounds as a worker has for its sessions.
const SUBSCRIPTIONS_PER_DEVICE_MAX: usize = 16;
const SUBSCRIPTIONS_MAX: usize = 1 << 16;

impl Subscriptions {
    /// What the store remembers.
    /// How fresh their states are is not known: they are asked for one after the other.
    pub(super) fn restore(store: &dyn Store, now: Now) -> Result<Self, StoreError> {
        let mut subscriptions = Self::default();
        let mut stale_at_ms = now.ms + RESTORED_MS;
        for (key, value) in everything(store, Table::Observed)? {
            if let Some(device) = keys::subscriber_of(&key) {
                let subscription: Subscription = records::decode(&value, "subscription")?;
                let id = subscription.id;
                subscriptions.add(device, subscription);
                subscriptions.set_stale_at(device, id, stale_at_ms);
                stale_at_ms += RESTORED_EVERY_MS;
            }
        }
        Ok(subscriptions)
    }

    fn add(&mut self, device: DeviceId, subscription: Subscription) {
        self.of.entry(device).or_default().push(subscription);
        self.count += 1;
    }

    fn find(&mut self, device: DeviceId, id: MessageId) -> Option<&mut Subscription> {
        self.of.get_mut(&device)?.iter_mut().find(|known| known.id == id)
    }

    fn remove(&mut self, device: DeviceId, id: MessageId) -> Option<Subscription> {
        let all = self.of.get_mut(&device)?;
        let at = all.iter().position(|known| known.id == id)?;
        let removed = all.remove(at);
        self.stale.remove(&(removed.stale_at_ms, device, id));
        if all.is_empty() {
            self.of.remove(&device);
        }
        self.count -= 1;
        Some(removed)
    }
}

impl Subscriptions {
    pub(super) fn first_stale(&self) -> Option<(u64, DeviceId, MessageId)> {
        self.stale.first().copied()
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.first_stale().map(|(due_ms, ..)| due_ms)
    }

    /// Its state is fresh until then.
    pub(super) fn set_stale_at(&mut self, device: DeviceId, id: MessageId, at_ms: u64) {
        let Some(known) = self.find(device, id) else { return };
        let before_ms = std::mem::replace(&mut known.stale_at_ms, at_ms);
        known.is_stale = false;
        self.stale.remove(&(before_ms, device, id));
        self.stale.insert((at_ms, device, id));
    }

    /// Its state is not fresh any more.
    pub(super) fn is_stale(&mut self, device: DeviceId, id: MessageId) {
        let Some(known) = self.find(device, id) else { return };
        let before_ms = std::mem::take(&mut known.stale_at_ms);
        known.is_stale = true;
        self.stale.remove(&(before_ms, device, id));
    }
}

/// Does the request ask for notifications?
pub(super) fn observes(request: &DownlinkRequest) -> bool {
    request.options.iter().any(|option| option.number == Number::OBSERVE.0)
}

/// Does the device agree?
fn agrees(response: &CoapMessage<'_>) -> bool {
    response.code.class() == 2 && sequence(&response.options).is_some()
}

impl Core {
    /// May the device have one more?
    pub(super) fn admit_subscription(&self, device: DeviceId) -> Result<(), Refused> {
        let of_device = self.subscriptions.of.get(&device).map_or(0, Vec::len);
        let is_full = of_device >= SUBSCRIPTIONS_PER_DEVICE_MAX
            || self.subscriptions.count >= SUBSCRIPTIONS_MAX;
        if is_full {
            let message = format!("{of_device} resources of the device are observed");
            return Err(Refused::Throttled { message });
        }
        Ok(())
    }

    /// A message is responded to: has it begun a subscription? With the message's end, durably.
    pub(super) fn begin_subscription(
        &mut self,
        now: Now,
        tx: &mut Transaction,
        (device, id): (DeviceId, MessageId),
        response: &[u8],
    ) {
        let agreed = CoapMessage::parse(response).ok().filter(agrees);
        let Some(fresh_ms) = agreed.as_ref().map(fresh_ms) else { return };
        let Some(open) = self.messages.get_mut(device, id) else { return };
        let (place, session) = (open.place, open.message.session);
        let queued = queue::claim(&*self.store, device, place).ok().flatten();
        let request = queued.and_then(|queued| queued.request().ok());
        let Some(request) = request.filter(observes) else { return };
        let (asked, stale_at_ms, is_stale) = (None, 0, false);
        let subscription = Subscription { id, request, session, asked, stale_at_ms, is_stale };
        let key = keys::subscription(device, id);
        tx.put(Table::Observed, key, records::encode(&subscription));
        self.subscriptions.add(device, subscription);
        self.is_fresh_for(now, (device, id), fresh_ms);
    }

    /// The device tells of what is observed. The ring entry is finished when that is durable.
    pub(super) fn on_notification(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (told, bytes) = Notification::split(bytes)?;
        let (device, id) = (DeviceId(told.device), MessageId(told.message_id));
        let name = name_of_message(&told.message_id);
        let body = self.body_of(link, name, told.body_bytes.get(), &[])?;
        let network = from_the_wire(told.network)?;
        let mut notification = CoapMessage::parse(bytes).ok()?;
        if !body.is_empty() {
            notification.payload = &body;
        }
        let Some(session) = self.subscriptions.find(device, id).map(|known| known.session) else {
            // It ended here and not there: the device is not to be told so for ever.
            if let Some(session) = self.sessions.session(device) {
                self.cancel(device, id, session);
            }
            self.done(link, seq);
            return Some(());
        };
        let about = Circumstances {
            device,
            message: id,
            received_unix_ms: told.at_unix_ms.get(),
            network,
            security_mode: session.and_then(|session| self.sessions.mode(device, session)),
            response_token: None,
        };
        let json = uplink_json(&notification, &about);
        let mut tx = Transaction::new();
        if told.is_last != 0 {
            self.end_subscription(&mut tx, device, id);
        } else {
            self.is_fresh_for(now, (device, id), fresh_ms(&notification));
        }
        self.keep_notification(now, tx, device, &json, (link, seq));
        Some(())
    }

    fn keep_notification(
        &mut self,
        now: Now,
        mut tx: Transaction,
        device: DeviceId,
        json: &[u8],
        (link, seq): (LinkId, Seq),
    ) {
        let message = MessageId::drawn(&mut self.random);
        let kept = self.keep_response(now, &mut tx, (device, message), json);
        let ticket =
            kept.map_or(Ticket::Entry { link, seq }, |kept| Ticket::Response { link, seq, kept });
        self.write(tx, Some(ticket));
    }

    /// What became of a registration that was made again; `None`: it is none.
    pub(super) fn on_reregistered(
        &mut self,
        now: Now,
        (device, id): (DeviceId, MessageId),
        (step, reason, is_final): (Step, FailReason, bool),
        told: (&contract::Outcome, &[u8], &[u8]),
        from: (LinkId, Seq),
    ) -> Option<()> {
        let known = self.subscriptions.find(device, id)?;
        let asked = if is_final { known.asked.take() } else { known.asked };
        if step == Step::Responded {
            return self.on_registration_answered(now, (device, id), asked, told, from);
        }
        let is_refused =
            matches!(reason, FailReason::Reset | FailReason::Malformed | FailReason::TooLarge);
        let mut tx = Transaction::new();
        if step == Step::Failed && is_refused {
            self.end_subscription(&mut tx, device, id);
        } else if is_final {
            self.subscriptions.is_stale(device, id);
        }
        let (link, seq) = from;
        self.write(tx, Some(Ticket::Entry { link, seq }));
        Some(())
    }

    /// The device has told the state as it is now, and whether it tells of others.
    fn on_registration_answered(
        &mut self,
        now: Now,
        (device, id): (DeviceId, MessageId),
        asked: Option<u64>,
        (outcome, response, body): (&contract::Outcome, &[u8], &[u8]),
        from: (LinkId, Seq),
    ) -> Option<()> {
        let network = from_the_wire(outcome.network)?;
        let mut response = CoapMessage::parse(response).ok()?;
        if !body.is_empty() {
            response.payload = body;
        }
        let known = self.subscriptions.find(device, id)?;
        let mut tx = Transaction::new();
        if agrees(&response) {
            known.session = asked;
            let key = keys::subscription(device, id);
            tx.put(Table::Observed, key, records::encode(known));
            self.is_fresh_for(now, (device, id), fresh_ms(&response));
        } else {
            self.end_subscription(&mut tx, device, id);
        }
        let about = Circumstances {
            device,
            message: id,
            received_unix_ms: outcome.at_unix_ms.get(),
            network,
            security_mode: asked.and_then(|asked| self.sessions.mode(device, asked)),
            response_token: None,
        };
        let json = uplink_json(&response, &about);
        self.keep_notification(now, tx, device, &json, from);
        Some(())
    }

    fn end_subscription(&mut self, tx: &mut Transaction, device: DeviceId, id: MessageId) {
        if self.subscriptions.remove(device, id).is_some() {
            tx.delete(Table::Observed, keys::subscription(device, id));
        }
    }

    /// The device has shown itself: what is not registered in its session is registered there.
    pub(super) fn register_again(&mut self, device: DeviceId) {
        let Some(all) = self.subscriptions.of.get(&device) else { return };
        let Some(session) = self.sessions.session(device) else { return };
        let here = Some(session.0);
        let is_lacking = |known: &&Subscription| known.session != here || known.is_stale;
        let wanting = all.iter().filter(is_lacking).filter(|known| known.asked != here);
        let wanting: Vec<_> = wanting.map(|known| (known.id, known.request.clone())).collect();
        for (id, request) in wanting {
            if self.post_registration(device, id, session, &request)
                && let Some(known) = self.subscriptions.find(device, id)
            {
                known.asked = here;
                known.is_stale = false;
            }
        }
    }

    fn post_registration(
        &mut self,
        device: DeviceId,
        id: MessageId,
        session: SessionRef,
        request: &DownlinkRequest,
    ) -> bool {
        let Some(link) = self.link_of_worker(session.worker()).map(|link| link.id) else {
            return false;
        };
        let Ok((message, 0)) = encode_request(request) else { return false };
        let terms = self.terms(device).ok().flatten();
        let head = Downlink {
            message_id: id.0,
            device: device.0,
            session: session.0.into(),
            terms: terms.map_or(contract::Terms::OWN, |terms| terms.wire),
            body_bytes: 0.into(),
        };
        self.post(link, Kind::Downlink, &[head.as_bytes(), &message], None);
        true
    }

    /// The application wants no more of it; false: there is no such subscription.
    pub(super) fn unsubscribe(&mut self, to: RequestId, device: DeviceId, id: MessageId) -> bool {
        let mut tx = Transaction::new();
        let Some(ended) = self.subscriptions.remove(device, id) else { return false };
        tx.delete(Table::Observed, keys::subscription(device, id));
        if let Some(session) = ended.session.map(SessionRef) {
            let mut request = ended.request;
            request.options.retain(|option| option.number != Number::OBSERVE.0);
            request.options.push(CoapOption::uint(Number::OBSERVE, 1));
            self.post_registration(device, id, session, &request);
        }
        self.write(tx, Some(Ticket::Replied { to }));
        true
    }

    /// What that worker had is lost: it is asked for anew, wherever the device is.
    pub(super) fn on_registrations_lost(&mut self, worker: u8) {
        let mut devices = Vec::new();
        for (device, all) in &mut self.subscriptions.of {
            for known in all {
                let is_there = |session: &mut u64| SessionRef(*session).worker() == worker;
                let asked = known.asked.take_if(is_there);
                if known.session.take_if(is_there).or(asked).is_some() {
                    devices.push(*device);
                }
            }
        }
        devices.sort_unstable();
        devices.dedup();
        for device in devices {
            self.register_again(device);
        }
    }

    /// The device is gone.
    pub(super) fn forget_subscriptions(&mut self, device: DeviceId) {
        let Some(all) = self.subscriptions.of.remove(&device) else { return };
        self.subscriptions.count -= all.len();
        let mut tx = Transaction::new();
        for known in all {
            self.subscriptions.stale.remove(&(known.stale_at_ms, device, known.id));
            tx.delete(Table::Observed, keys::subscription(device, known.id));
        }
        self.write(tx, None);
    }
}
