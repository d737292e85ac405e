//! How does a message end? By what its worker says, by its age, or by the application's wish.
//!
//! *Invariant:* a message ends once: [`Core::end`] takes it out of its lane, and what is said of
//! it later finds nothing.

use tidegate_coap::message::Message as CoapMessage;
use tidegate_faults::{Bug, has};
use tidegate_ring::Seq;
use tidegate_ring::contract::{
    Cancel, FailReason, Kind, Outcome, SessionRef, Step, name_of_message,
};
use zerocopy::IntoBytes;

use super::credentials::from_the_wire;
use super::lane::Phase;
use super::measure::Happened;
use super::messages::{OUTCOME_MAX_MS, rest_ms};
use super::uplink_json::{Circumstances, uplink_json};
use super::{Core, Kept, LinkId, Now, Reply, RequestId, Ticket};
use crate::model::{
    DeviceId, Failure, MessageId, MessageState, MessageStatus, Refused, ResourceType, SecurityMode,
};
use crate::store::queue::{self, Waiting};
use crate::store::{Transaction, queue as store_queue};

/// Bound: how often a QueueMode 1 message is handed over before a timeout is final. *Why 3:* the
/// device was awake each time, so what is lost is probably the message's fault.
const ATTEMPTS_MAX: u8 = 3;

impl Core {
    /// The ring entry is finished when what it says is durable.
    pub(super) fn on_outcome(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (outcome, response) = Outcome::split(bytes)?;
        let step = Step::from_wire(outcome.step)?;
        let reason = FailReason::from_wire(outcome.reason)?;
        let name = name_of_message(&outcome.message_id);
        let body = self.body_of(link, name, outcome.body_bytes.get(), &[])?;
        let (device, id) = (DeviceId(outcome.device), MessageId(outcome.message_id));
        let told = (outcome, response, &*body);
        let Some((is_first, is_step)) = self.take_step(now, (device, id), step, outcome) else {
            let what = (step, reason, outcome.is_final != 0);
            if self.on_notified(id, what)
                || self.on_reregistered(now, (device, id), what, told, (link, seq)).is_none()
            {
                self.done(link, seq);
            }
            return Some(());
        };
        let mut tx = Transaction::new();
        let mut ticket = Ticket::Entry { link, seq };
        if step == Step::Failed {
            self.on_failed(now, &mut tx, (device, id), reason)?;
        } else if step == Step::Responded {
            if let Some(kept) = self.on_responded(now, &mut tx, (device, id), told) {
                ticket = Ticket::Response { link, seq, kept };
            }
        } else if outcome.is_final != 0 {
            self.on_silence(now, &mut tx, (device, id));
        } else if is_step && let Some(open) = self.messages.get_mut(device, id) {
            queue::note(&mut tx, &open.message);
        }
        self.write(tx, Some(ticket));
        if is_first {
            self.count(now, device, Happened::Downlink);
        }
        if is_step {
            self.tell_step(now, (device, id), step, response);
        }
        self.serve_cells(now);
        self.hand_over(now, device);
        Some(())
    }

    /// A message takes a step: has it left for the first time, and is that new? `None`: it has
    /// ended.
    fn take_step(
        &mut self,
        now: Now,
        (device, id): (DeviceId, MessageId),
        step: Step,
        outcome: &Outcome,
    ) -> Option<(bool, bool)> {
        let open = self.messages.get_mut(device, id)?;
        let was_waiting = !matches!(open.phase, Phase::UnderWay);
        open.phase = Phase::UnderWay;
        let status = &mut open.message.status;
        let before = status.sent_unix_ms;
        let is_step = advance(status, step, outcome.at_unix_ms.get());
        let is_first = before.is_none() && status.sent_unix_ms.is_some();
        let span_ms = status.delivered_unix_ms.zip(status.sent_unix_ms);
        let span_ms = span_ms.map_or(0, |(delivered, sent)| delivered.saturating_sub(sent));
        if was_waiting {
            // It went back to the queue while a worker had it: what follows may be lost as well.
            self.messages.set_due(device, id, now.ms + OUTCOME_MAX_MS);
        }
        if matches!(step, Step::Delivered | Step::Responded) {
            self.on_sign_of_life(now, device);
        }
        // A NON has no ACK: its response, which may take any time, is its first step behind Sent.
        if is_step && step == Step::Delivered {
            self.on_acknowledged(now, device, id, span_ms);
        }
        Some((is_first, is_step))
    }

    /// Nothing more is expected of the device: a CON stays delivered, a NON sent.
    fn on_silence(&mut self, now: Now, tx: &mut Transaction, (device, id): (DeviceId, MessageId)) {
        let Some(open) = self.messages.get_mut(device, id) else { return };
        let state = open.message.status.state;
        if state == MessageState::Sent {
            self.on_unanswered(now, device, id);
        }
        self.end_in(tx, now, device, id, state);
    }

    /// The message has ended; what of its response is kept for the application.
    fn on_responded(
        &mut self,
        now: Now,
        tx: &mut Transaction,
        (device, id): (DeviceId, MessageId),
        (outcome, response, body): (&Outcome, &[u8], &[u8]),
    ) -> Option<Kept> {
        self.begin_subscription(now, tx, (device, id), response);
        let open = &self.messages.get_mut(device, id)?.message;
        let (state, by) = (open.status.state, open.session);
        let mode = by.and_then(|session| self.sessions.mode(device, session));
        self.end_in(tx, now, device, id, state);
        let json = response_json(outcome, response, body, mode)?;
        self.keep_response(now, tx, (device, id), &json)
    }

    /// Once more, if it may; else that was it.
    fn on_failed(
        &mut self,
        now: Now,
        tx: &mut Transaction,
        (device, id): (DeviceId, MessageId),
        reason: FailReason,
    ) -> Option<()> {
        let message = &self.messages.get_mut(device, id)?.message;
        let (sent_to, state) = (message.session, message.status.state);
        if let Some(session) = sent_to.filter(|_| reason == FailReason::NoSession) {
            self.session_is_gone(device, session);
        }
        self.cells.free(id);
        if self.goes_again(device, id, reason) {
            self.requeue(now, tx, device, id, reason, sent_to);
        } else {
            self.end_in(tx, now, device, id, final_state(state, reason));
        }
        Some(())
    }

    /// The device has shown that it has the message.
    fn tell_step(&mut self, now: Now, of: (DeviceId, MessageId), step: Step, response: &[u8]) {
        let state = match step {
            Step::Delivered => MessageState::Delivered,
            Step::Responded => MessageState::Responded,
            Step::Sent | Step::Failed => return,
        };
        let response = CoapMessage::parse(response).ok().filter(|_| step == Step::Responded);
        self.event_of_acknowledgement(now, of, state, response.map(|response| response.code));
    }

    /// A message ends now.
    pub(super) fn end(&mut self, now: Now, device: DeviceId, id: MessageId, state: MessageState) {
        let mut tx = Transaction::new();
        self.end_in(&mut tx, now, device, id, state);
        self.write(tx, None);
    }

    /// What the application wants gone: one that waits, or all that wait.
    pub(super) fn delete(
        &mut self,
        now: Now,
        to: RequestId,
        device: DeviceId,
        message: Option<MessageId>,
    ) {
        if message.is_some_and(|message| self.unsubscribe(to, device, message)) {
            return;
        }
        let lane = self.messages.lanes.get(&device);
        let open = lane.map(|lane| &lane.open[..]).unwrap_or_default();
        let is_waiting = |phase: &Phase| matches!(phase, Phase::Waiting);
        let mut waiting = Vec::new();
        for open in open.iter().filter(|open| open.waiting != Waiting::Answer) {
            let id = open.message.status.id;
            if message.is_none_or(|wanted| wanted == id) && is_waiting(&open.phase) {
                waiting.push(id);
            }
        }
        if let Some(wanted) = message.filter(|_| waiting.is_empty()) {
            let is_open = open.iter().any(|open| open.message.status.id == wanted);
            let refused = if is_open {
                let why = "the message is on its way to the device";
                Refused::conflict(ResourceType::Message, wanted, why)
            } else {
                Refused::not_found(ResourceType::Message, wanted)
            };
            return self.reply(to, Err(refused));
        }
        let mut tx = Transaction::new();
        for id in waiting {
            self.end_in(&mut tx, now, device, id, MessageState::Deleted);
        }
        if tx.changes.is_empty() {
            return self.reply(to, Ok(Reply::Done));
        }
        self.write(tx, Some(Ticket::Replied { to }));
    }

    /// The device is gone, and every message with it.
    pub(super) fn delete_lane(&mut self, now: Now, device: DeviceId) {
        let Some(lane) = self.messages.lanes.get(&device) else { return };
        let open = lane.open.iter();
        let open: Vec<_> =
            open.map(|open| (open.message.status.id, open.message.session)).collect();
        for (id, session) in open {
            if let Some(session) = session.map(SessionRef) {
                self.cancel(device, id, session);
            }
            self.end(now, device, id, MessageState::Deleted);
        }
    }

    /// What that worker had is lost: QueueMode 1 goes back to the queue, the rest has failed,
    /// unless it was delivered.
    pub(super) fn on_worker_restarted(&mut self, now: Now, worker: u8) {
        let mut lost = Vec::new();
        for (device, lane) in &self.messages.lanes {
            for open in &lane.open {
                let session = open.message.session.map(SessionRef);
                let was_there = session.is_none_or(|session| session.worker() == worker);
                if was_there && matches!(open.phase, Phase::UnderWay) {
                    let status = &open.message.status;
                    lost.push((*device, status.id, status.state));
                }
            }
        }
        // Not in the order of a table that no two processes have alike.
        lost.sort_unstable_by_key(|(device, id, _)| (*device, *id));
        for (device, id, state) in lost {
            if self.goes_again(device, id, FailReason::NoSession) {
                let mut tx = Transaction::new();
                self.requeue(now, &mut tx, device, id, FailReason::NoSession, None);
                self.write(tx, None);
            } else if state == MessageState::Delivered {
                self.end(now, device, id, state);
            } else {
                self.end(now, device, id, MessageState::Failed(Failure::Restarted));
            }
        }
    }

    /// Expired in the queue, or never heard of again.
    pub(super) fn on_messages_due(&mut self, now: Now) {
        while let Some((due_ms, device, id)) = self.messages.due.first().copied() {
            if due_ms > now.ms {
                return;
            }
            let Some(open) = self.messages.get_mut(device, id) else {
                self.messages.due.remove(&(due_ms, device, id));
                continue;
            };
            let is_queued = open.waiting == Waiting::Queued;
            let mut given_up = final_state(open.message.status.state, FailReason::Timeout);
            let is_unheard = open.waiting == Waiting::Immediate && open.message.session.is_none();
            if is_unheard && matches!(open.phase, Phase::UnderWay) {
                // This process has not handed it over, and nobody heard that an earlier one did.
                given_up = MessageState::Failed(Failure::Restarted);
            }
            if matches!(open.phase, Phase::UnderWay)
                && self.goes_again(device, id, FailReason::Timeout)
            {
                let mut tx = Transaction::new();
                self.requeue(now, &mut tx, device, id, FailReason::Timeout, None);
                self.write(tx, None);
            } else if is_queued && self.is_waiting(device, id) {
                self.end(now, device, id, MessageState::Expired);
            } else {
                self.end(now, device, id, given_up);
            }
            self.hand_over(now, device);
        }
    }

    fn is_waiting(&mut self, device: DeviceId, id: MessageId) -> bool {
        let open = self.messages.get_mut(device, id);
        open.is_some_and(|open| !matches!(open.phase, Phase::UnderWay))
    }

    /// Does a QueueMode 1 message that failed so go back to the queue? One that the device has
    /// acknowledged does not: it is there.
    fn goes_again(&mut self, device: DeviceId, id: MessageId, reason: FailReason) -> bool {
        let open = self.messages.get_mut(device, id);
        open.is_some_and(|open| {
            (open.waiting == Waiting::Queued || has(Bug::ImmediateGoesAgain))
                && open.message.status.state != MessageState::Delivered
                && match reason {
                    FailReason::NoSession | FailReason::Busy => true,
                    FailReason::Timeout => open.message.attempts < ATTEMPTS_MAX,
                    _ => false,
                }
        })
    }

    /// Back to its place; it goes at the next sign of life, or at once when there was one.
    fn requeue(
        &mut self,
        now: Now,
        tx: &mut Transaction,
        device: DeviceId,
        id: MessageId,
        reason: FailReason,
        sent_to: Option<u64>,
    ) {
        let session = self.sessions.session(device).map(|session| session.0);
        let Some(open) = self.messages.get_mut(device, id) else { return };
        open.requeue();
        queue::note(tx, &open.message);
        let rest_ms = rest_ms(now, &open.message.status, &self.limits);
        self.messages.set_due(device, id, now.ms + rest_ms);
        let has_moved = reason == FailReason::NoSession && sent_to.is_some() && session.is_some();
        if let Some(lane) = self.messages.lanes.get_mut(&device) {
            lane.awake = has_moved && session != sent_to;
        }
    }

    fn end_in(
        &mut self,
        tx: &mut Transaction,
        now: Now,
        device: DeviceId,
        id: MessageId,
        state: MessageState,
    ) {
        let Some(mut open) = self.messages.remove(device, id) else { return };
        self.cells.free(id);
        open.message.status.state = state;
        open.message.status.ended_unix_ms = Some(now.unix_ms);
        self.long.forget(id);
        store_queue::settle(tx, &open.message, open.place);
        self.event_of_message(now, &open.message.status);
        self.log_message(now, device, id, state);
    }

    pub(super) fn cancel(&mut self, device: DeviceId, id: MessageId, session: SessionRef) {
        if let Some(link) = self.link_of_worker(session.worker()).map(|link| link.id) {
            let cancel = Cancel { message_id: id.0, device: device.0, session: session.0.into() };
            self.post(link, Kind::Cancel, &[cancel.as_bytes()], None);
        }
    }
}

/// Moves a status on; never back. False: nothing new.
fn advance(status: &mut MessageStatus, step: Step, at_unix_ms: u64) -> bool {
    let (state, rank) = match step {
        Step::Sent => (MessageState::Sent, 1),
        Step::Delivered => (MessageState::Delivered, 2),
        Step::Responded => (MessageState::Responded, 3),
        Step::Failed => return false,
    };
    let before = match status.state {
        MessageState::Queued => 0,
        MessageState::Sent => 1,
        MessageState::Delivered => 2,
        _ => 3,
    };
    if rank <= before {
        return false;
    }
    status.state = state;
    status.sent_unix_ms = status.sent_unix_ms.or(Some(at_unix_ms));
    if rank >= 2 {
        status.delivered_unix_ms = status.delivered_unix_ms.or(Some(at_unix_ms));
    }
    true
}

/// The state of a message that failed for good. What was delivered stays delivered when only its
/// response is missing; it has failed when the device takes that back, or has sent a response that
/// can't be had.
fn final_state(before: MessageState, reason: FailReason) -> MessageState {
    let is_missing = matches!(
        reason,
        FailReason::None | FailReason::Timeout | FailReason::NoSession | FailReason::Cancelled
    );
    if before == MessageState::Delivered && is_missing {
        return before;
    }
    MessageState::Failed(match reason {
        FailReason::Cancelled => return MessageState::Deleted,
        FailReason::Reset => Failure::Reset,
        FailReason::NoSession => Failure::NoSession,
        FailReason::Busy => Failure::Busy,
        FailReason::TokenGone => Failure::TokenGone,
        FailReason::Malformed => Failure::Malformed,
        FailReason::TooLarge => Failure::TooLarge,
        FailReason::Timeout | FailReason::None => Failure::Timeout,
    })
}

/// What the application reads of the device's response.
fn response_json(
    outcome: &Outcome,
    response: &[u8],
    body: &[u8],
    security_mode: Option<SecurityMode>,
) -> Option<Vec<u8>> {
    let mut message = CoapMessage::parse(response).ok()?;
    if !body.is_empty() {
        message.payload = body;
    }
    let about = Circumstances {
        device: DeviceId(outcome.device),
        message: MessageId(outcome.message_id),
        received_unix_ms: outcome.at_unix_ms.get(),
        network: from_the_wire(outcome.network)?,
        security_mode,
        response_token: None,
    };
    Some(uplink_json(&message, &about))
}
