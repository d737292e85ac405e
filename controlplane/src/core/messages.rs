//! How does a message get to its device? Accepted and stored, then handed over in order, one at a
//! time, when the device is there; [`super::outcomes`] has the rest of its life.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_coap::code::Code;
use tidegate_coap::message::{MESSAGE_BYTES_MAX, TOKEN_BYTES_MAX, Token, Type, WriteError, Writer};
use tidegate_coap::option::Number;
use tidegate_faults::{Bug, has};
use tidegate_ring::contract::{self, Answer, Downlink, Kind, SessionRef};
use zerocopy::IntoBytes;

use super::effect::{Body, store_failed};
use super::lane::{Lane, Open, Phase};
use super::subscriptions::observes;
use super::terms::Terms;
use super::token::ResponseToken;
use super::{ByDevice, Core, Effect, LinkId, Now, Post, Reply, RequestId, Ticket};
use crate::control::{Limits, PAYLOAD_BYTES_MAX};
use crate::iam::quota::Quota;
use crate::model::{
    CoapOption, DeviceId, DownlinkRequest, DownlinkResponse, Failure, MessageId, MessageState,
    MessageStatus, MessageType, PayloadReference, Priority, QueueMode, Refused, ResourceType,
};
use crate::store::keys::Place;
use crate::store::queue::{self, Queued, Waiting};
use crate::store::records::{self, Message, read};
use crate::store::{Store, StoreError, Table, Transaction};

/// Every open message. *Bound:* per device by `queue_messages_per_device_max`; what is to be sent
/// stays on disk.
pub(super) struct Messages {
    pub(super) lanes: ByDevice<Lane>,
    /// By deadline.
    pub(super) due: BTreeSet<(u64, DeviceId, MessageId)>,
    last_order: u64,
}

/// A message handed to a worker that nothing was heard of for so long is given up, milliseconds.
/// *Why:* longer than EXCHANGE_LIFETIME (RFC 7252 section 4.8.2) and any response timeout; it only
/// ever happens when an outcome was lost with a process.
pub(super) const OUTCOME_MAX_MS: u64 = 600_000;
/// The same of a QueueMode 0 message that an earlier life of this process accepted, and perhaps
/// handed over, milliseconds. *Why so short:* a worker that has it has said that it left in the
/// turn that read it, so nothing is heard only of one that was never handed over.
pub(super) const RESTORED_MAX_MS: u64 = 15_000;
const SCAN_ENTRIES: usize = 1_024;

impl Messages {
    /// What the store remembers. A QueueMode 1 message that was not heard to be sent may have been
    /// handed over: it is again, under the same id, and the worker knows it if it still has it.
    pub(super) fn restore(
        store: &dyn Store,
        now: Now,
        limits: &Limits,
    ) -> Result<Self, StoreError> {
        let mut messages = Self { lanes: ByDevice::default(), due: BTreeSet::new(), last_order: 0 };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = store.scan(Table::Queue, &[], after.as_deref(), SCAN_ENTRIES)?;
            for (key, value) in &found {
                let queued = Queued::decode(key, value)?;
                let message = read::<Message>(store, Table::Messages, &queued.id.0)?
                    .ok_or(StoreError::Corrupt("queue without message"))?;
                let state = message.status.state;
                let waits = queued.waiting == Waiting::Queued && state == MessageState::Queued;
                let phase = if waits { Phase::Waiting } else { Phase::UnderWay };
                let rest_ms = rest_ms(now, &message.status, limits);
                let is_unheard =
                    queued.waiting == Waiting::Immediate && state == MessageState::Queued;
                let time_ms = match (waits, is_unheard) {
                    (true, _) => rest_ms,
                    (false, true) => RESTORED_MAX_MS,
                    (false, false) => OUTCOME_MAX_MS,
                };
                let due_ms = now.ms + time_ms;
                let (place, waiting) = (queued.place, queued.waiting);
                messages.insert(Open { message, place, waiting, phase, due_ms });
            }
            match found.last() {
                Some((key, _)) if found.len() == SCAN_ENTRIES => after = Some(key.clone()),
                _ => return Ok(messages),
            }
        }
    }

    pub(super) fn open(&self) -> usize {
        self.due.len()
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, ..)| *due_ms)
    }

    pub(super) fn get_mut(&mut self, device: DeviceId, id: MessageId) -> Option<&mut Open> {
        self.lanes.get_mut(&device)?.get_mut(id)
    }

    pub(super) fn insert(&mut self, open: Open) {
        let status = &open.message.status;
        self.due.insert((open.due_ms, status.device, status.id));
        self.last_order = self.last_order.max(open.place.order);
        self.lanes.entry(status.device).or_default().insert(open);
    }

    pub(super) fn remove(&mut self, device: DeviceId, id: MessageId) -> Option<Open> {
        let lane = self.lanes.get_mut(&device)?;
        let open = lane.remove(id)?;
        if lane.open.is_empty() {
            self.lanes.remove(&device);
        }
        self.due.remove(&(open.due_ms, device, id));
        Some(open)
    }

    pub(super) fn set_due(&mut self, device: DeviceId, id: MessageId, due_ms: u64) {
        if let Some(open) = self.lanes.get_mut(&device).and_then(|lane| lane.get_mut(id)) {
            self.due.remove(&(open.due_ms, device, id));
            open.due_ms = due_ms;
            self.due.insert((due_ms, device, id));
        }
    }

    /// Later than every place before, also those of an earlier life (unless the clock went back
    /// and nothing is open: then nothing is overtaken).
    fn next_place(&mut self, now: Now, priority: Priority) -> Place {
        self.last_order = (self.last_order + 1).max(now.unix_ms << 16);
        Place { priority: priority as u8, order: self.last_order }
    }
}

impl Core {
    pub(super) fn send(&mut self, now: Now, to: RequestId, device: DeviceId, body: Body) {
        let terms = match self.admit(device, &body) {
            Ok(terms) => terms,
            Err(refused) => return self.reply(to, Err(refused)),
        };
        let id = MessageId::drawn(&mut self.random);
        let (waiting, answer) = match &body {
            Body::Request(request) if request.queue_mode == QueueMode::Queued => {
                (Waiting::Queued, None)
            }
            Body::Request(_) => (Waiting::Immediate, None),
            Body::Response(response) => match self.answer(device, id, response, terms.wire) {
                Ok(answer) => (Waiting::Answer, answer.map(Box::new)),
                Err(refused) => return self.reply(to, Err(refused)),
            },
        };
        let request = match &body {
            Body::Request(request) => Some(request),
            Body::Response(_) => None,
        };
        let own_ttl_ms = request.and_then(|request| request.ttl_s).map(|s| u64::from(s) * 1_000);
        let ttl_ms = own_ttl_ms.unwrap_or(terms.queue_ttl_ms);
        let time_ms = if waiting == Waiting::Queued { ttl_ms } else { OUTCOME_MAX_MS };
        let priority = request.map(|request| request.priority).unwrap_or_default();
        let place = self.messages.next_place(now, priority);
        let mut status = MessageStatus::accepted(id, device, now.unix_ms);
        status.expires_unix_ms = (waiting == Waiting::Queued).then(|| now.unix_ms + ttl_ms);
        let message = Message { status, attempts: 0, session: None };
        let mut tx = Transaction::new();
        queue::enqueue(&mut tx, &message, place, waiting, &kept(&body));
        let due_ms = now.ms + time_ms;
        let phase = Phase::Storing(answer);
        let listens =
            !self.messages.lanes.contains_key(&device) && self.is_window_open(now, device);
        self.messages.insert(Open { message, place, waiting, phase, due_ms });
        if let Some(lane) = self.messages.lanes.get_mut(&device) {
            lane.awake |= listens;
        }
        if has(Bug::AcceptedBeforeDurable) {
            self.reply(to, Ok(Reply::Accepted(id)));
        }
        self.write(tx, Some(Ticket::Accepted { to, device, message: id }));
    }

    /// May one more message go to the device? What counts for it, or why not.
    fn admit(&mut self, device: DeviceId, body: &Body) -> Result<Arc<Terms>, Refused> {
        let terms = self.terms(device).map_err(|_| store_failed())?;
        let missing = || Refused::not_found(ResourceType::WirelessDevice, device);
        let terms = terms.ok_or_else(missing)?;
        let most = terms.downlink_payload_bytes;
        let (member, bytes, most) = match body {
            Body::Request(DownlinkRequest { reference: Some(reference), .. })
            | Body::Response(DownlinkResponse { reference: Some(reference), .. }) => {
                ("CoAP.PayloadReference", reference.bytes as usize, most.unwrap_or(usize::MAX))
            }
            Body::Request(DownlinkRequest { payload, .. })
            | Body::Response(DownlinkResponse { payload, .. }) => {
                ("PayloadData", payload.len(), most.unwrap_or(PAYLOAD_BYTES_MAX))
            }
        };
        if bytes > most {
            let constraint = format!("Member must decode to at most {most} bytes");
            return Err(Refused::invalid(member, constraint));
        }
        if matches!(body, Body::Request(request) if observes(request)) {
            self.admit_subscription(device)?;
        }
        let depth = self.messages.lanes.get(&device).map_or(0, |lane| lane.open.len());
        let allowed = self.store.allowance(terms.account, Quota::QueueDepth);
        let allowed = allowed.map_or(usize::MAX, |allowed| allowed as usize);
        if depth >= terms.queue_depth.min(allowed) {
            let message = format!("the queue of the device is full ({depth} messages)");
            return Err(Refused::Throttled { message });
        }
        Ok(terms)
    }

    /// The message is durable, or was not taken.
    pub(super) fn on_accepted(
        &mut self,
        now: Now,
        to: RequestId,
        device: DeviceId,
        id: MessageId,
        result: Result<(), StoreError>,
    ) {
        if result.is_err() {
            self.messages.remove(device, id);
            return self.reply(to, Err(store_failed()));
        }
        if !has(Bug::AcceptedBeforeDurable) {
            self.reply(to, Ok(Reply::Accepted(id)));
        }
        // It may be gone already: its device was deleted meanwhile.
        let Some(open) = self.messages.get_mut(device, id) else { return };
        let is_answer = open.waiting == Waiting::Answer;
        match std::mem::replace(&mut open.phase, Phase::Waiting) {
            Phase::Storing(Some(post)) => {
                open.phase = Phase::UnderWay;
                self.out.push(Effect::Post(*post));
            }
            Phase::Storing(None) if is_answer => {
                self.end(now, device, id, MessageState::Failed(Failure::TokenGone));
            }
            _ => self.hand_over(now, device),
        }
    }

    /// The device has shown itself: what waits for that may go.
    pub(super) fn on_awake(&mut self, now: Now, device: DeviceId) {
        self.on_sign_of_life(now, device);
        self.register_again(device);
        self.notify_observers(device);
        if let Some(lane) = self.messages.lanes.get_mut(&device) {
            lane.awake = true;
            self.hand_over(now, device);
        }
    }

    /// Hands over the next message that may go, if any.
    pub(super) fn hand_over(&mut self, now: Now, device: DeviceId) {
        if !self.messages.lanes.contains_key(&device) {
            return;
        }
        if self.is_window_closed(now, device) {
            self.sleeps(device);
        }
        let terms = self.terms(device).ok().flatten();
        let nstart = terms.as_ref().map_or(1, |terms| terms.nstart);
        let wire = terms.as_ref().map_or(contract::Terms::OWN, |terms| terms.wire);
        while !self.probing.is_paused(device) {
            let Some(lane) = self.messages.lanes.get_mut(&device) else { return };
            let Some(next) = lane.next(nstart) else {
                return self.wants_session_for_queue(now, device);
            };
            let (id, place, waiting) = (next.message.status.id, next.place, next.waiting);
            let session = self.sessions.session(device);
            let there = session.and_then(|session| {
                let link = self.links.iter().find(|link| link.worker == session.worker())?;
                Some((session, link.id))
            });
            match there {
                Some(_) if !self.has_place(now, device, terms.as_deref()) => return,
                Some((session, link)) => match self.downlink((device, id), place, session, wire) {
                    Ok(entry) => {
                        if let Some(cell) = terms.as_ref().and_then(|terms| terms.cell) {
                            self.cells.take(now, &cell, id);
                        }
                        self.post_downlink(now, device, id, (link, session), &entry);
                    }
                    Err(Unsendable::Never) => {
                        self.end(now, device, id, MessageState::Failed(Failure::Malformed));
                    }
                    Err(Unsendable::NotNow) => {
                        self.sleeps(device);
                        return;
                    }
                },
                None if waiting == Waiting::Immediate => {
                    if self.wants_session(now, device) {
                        return;
                    }
                    self.end(now, device, id, MessageState::Failed(Failure::NoSession));
                }
                None => {
                    self.sleeps(device);
                    return self.wants_session_for_queue(now, device);
                }
            }
        }
    }

    pub(super) fn sleeps(&mut self, device: DeviceId) {
        if let Some(lane) = self.messages.lanes.get_mut(&device) {
            lane.awake = false;
        }
    }

    fn post_downlink(
        &mut self,
        now: Now,
        device: DeviceId,
        id: MessageId,
        to: (LinkId, SessionRef),
        entry: &[u8],
    ) {
        self.messages.set_due(device, id, now.ms + OUTCOME_MAX_MS);
        let Some(open) = self.messages.get_mut(device, id) else { return };
        open.phase = Phase::UnderWay;
        open.message.attempts = open.message.attempts.saturating_add(1);
        open.message.session = Some(to.1.0);
        self.post(to.0, Kind::Downlink, &[entry], None);
    }

    /// The entry for a worker, read from the store now.
    fn downlink(
        &self,
        (device, id): (DeviceId, MessageId),
        place: Place,
        session: SessionRef,
        terms: contract::Terms,
    ) -> Result<Vec<u8>, Unsendable> {
        let queued = queue::claim(&*self.store, device, place).map_err(|_| Unsendable::NotNow)?;
        let queued = queued.ok_or(Unsendable::Never)?;
        let request = queued.request().map_err(|_| Unsendable::Never)?;
        let (message, body_bytes) = encode_request(&request).map_err(|_| Unsendable::Never)?;
        let head = Downlink {
            message_id: id.0,
            device: device.0,
            session: session.0.into(),
            terms,
            body_bytes: (body_bytes as u32).into(),
        };
        Ok([head.as_bytes(), &message].concat())
    }

    /// The entry that answers a request of the device; `None`: the request is gone.
    fn answer(
        &self,
        device: DeviceId,
        id: MessageId,
        response: &DownlinkResponse,
        terms: contract::Terms,
    ) -> Result<Option<Post>, Refused> {
        const PATH: &str = "CoAP.ResponseToken";
        let token = ResponseToken::decode(&response.token, self.vault.tokens(), device);
        let token = token.ok_or_else(|| {
            Refused::invalid(PATH, "Member must be a ResponseToken of an uplink of this device")
        })?;
        let (message, body_bytes) = encode_response(response)
            .map_err(|_| Refused::invalid("CoAP", "Its options must fit one CoAP message"))?;
        let link = self.link_of_worker(token.worker);
        let link = link.filter(|link| link.incarnation.unwrap_or(0) == token.incarnation);
        let head = Answer {
            exchange: token.exchange.into(),
            message_id: id.0,
            device: device.0,
            terms,
            body_bytes: (body_bytes as u32).into(),
        };
        Ok(link.map(|link| Post::new(link.id, Kind::Answer, &[head.as_bytes(), &message], None)))
    }
}

/// How long a queued message may still wait, milliseconds. (One of an earlier version says none.)
pub(super) fn rest_ms(now: Now, status: &MessageStatus, limits: &Limits) -> u64 {
    let earlier_ms = status.accepted_unix_ms + limits.queue_ttl_ms;
    status.expires_unix_ms.unwrap_or(earlier_ms).saturating_sub(now.unix_ms)
}

enum Unsendable {
    Never,
    NotNow,
}

/// Longest message for a worker, bytes: it still adds a token, whose length may take a byte.
const ENCODED_BYTES_MAX: usize = MESSAGE_BYTES_MAX - TOKEN_BYTES_MAX - 1;
/// A longer payload goes block by block.
const BLOCK_BYTES_MAX: usize = 1_024;

/// Do the options of a request fit a message?
pub fn check_request(request: &DownlinkRequest) -> Result<(), WriteError> {
    encode_request(request).map(|_| ())
}

/// Do the options of a response?
pub fn check_response(response: &DownlinkResponse) -> Result<(), WriteError> {
    encode_response(response).map(|_| ())
}

/// What stays in the queue: a request whole; of a response the payload, when it is longer than the
/// largest block or does not fit beside its options, and where it lies when that is elsewhere.
fn kept(body: &Body) -> queue::Kept {
    match body {
        Body::Request(request) => queue::Kept::Request(records::encode(request)),
        Body::Response(DownlinkResponse { reference: Some(reference), .. }) => {
            queue::Kept::Reference(records::encode(reference))
        }
        Body::Response(response) => {
            let is_long = encode_response(response).is_ok_and(|(_, body_bytes)| body_bytes > 0);
            let payload = is_long.then(|| response.payload.clone());
            queue::Kept::Payload(payload.unwrap_or_default())
        }
    }
}

/// The payload as it stands in the message, and how long it is when it does not.
fn split(payload: &[u8], room: usize) -> (&[u8], usize) {
    if payload.len() <= BLOCK_BYTES_MAX.min(room) { (payload, 0) } else { (&[], payload.len()) }
}

/// A request as the worker wants it: Message ID and token are the worker's. With it, how long its
/// payload is when that is not in it.
pub(super) fn encode_request(request: &DownlinkRequest) -> Result<(Vec<u8>, usize), WriteError> {
    let ty = match request.message_type {
        MessageType::Confirmable => Type::Con,
        MessageType::NonConfirmable => Type::Non,
    };
    let mut options = request.options.clone();
    let texts = |number, texts: &[String]| -> Vec<CoapOption> {
        texts.iter().map(|text| CoapOption::new(number, text.as_bytes())).collect()
    };
    options.extend(texts(Number::URI_PATH, &request.uri_paths));
    options.extend(texts(Number::URI_QUERY, &request.uri_query));
    let format = |number, format: Option<u16>| Some(CoapOption::uint(number, format?.into()));
    options.extend(format(Number::CONTENT_FORMAT, request.content_format));
    options.extend(format(Number::ACCEPT, request.accept));
    let code = Code(request.method as u8);
    let (message, here) = encode((ty, code), &Token::EMPTY, options, &request.payload)?;
    Ok((message, elsewhere(request.reference.as_ref()).unwrap_or(here)))
}

/// The same of a response.
fn encode_response(response: &DownlinkResponse) -> Result<(Vec<u8>, usize), WriteError> {
    let mut options = response.options.clone();
    let segments = response.location_path.iter();
    options.extend(segments.map(|text| CoapOption::new(Number::LOCATION_PATH, text.as_bytes())));
    let format = response.content_format;
    options.extend(format.map(|format| CoapOption::uint(Number::CONTENT_FORMAT, format.into())));
    let code = Code(response.status);
    let (message, here) = encode((Type::Con, code), &Token::EMPTY, options, &response.payload)?;
    Ok((message, elsewhere(response.reference.as_ref()).unwrap_or(here)))
}

fn elsewhere(reference: Option<&PayloadReference>) -> Option<usize> {
    reference.map(|reference| reference.bytes as usize)
}

/// Writes a message for a worker; options of one number stay in their order.
pub(super) fn encode(
    (ty, code): (Type, Code),
    token: &Token,
    mut options: Vec<CoapOption>,
    payload: &[u8],
) -> Result<(Vec<u8>, usize), WriteError> {
    options.sort_by_key(|option| option.number);
    let mut buffer = vec![0; ENCODED_BYTES_MAX];
    let mut writer = Writer::new(&mut buffer, ty, code, 0, token);
    for option in &options {
        writer.option(Number(option.number), &option.value);
    }
    let room = ENCODED_BYTES_MAX.saturating_sub(writer.finish()? + 1);
    let (payload, body_bytes) = split(payload, room);
    let len = writer.payload(payload).finish()?;
    buffer.truncate(len);
    Ok((buffer, body_bytes))
}
