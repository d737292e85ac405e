//! What becomes of a request for a device? Its turn, its retransmissions, its response.
//!
//! ```text
//! Downlink ─▶ line of its session ─ its turn (NSTART) ─▶ Sent ─ ACK ─▶ Delivered ─▶ Responded
//!                                                         └─ RST, no ACK, session gone ─▶ Failed
//! ```
//!
//! Every step is told by an `Outcome` entry, exactly one of them final. The store of the control
//! plane is the queue; a line here holds only what was sent straight on.

use super::Worker;
use super::downlink_blocks::{Follows, Written};
use super::lines::{Downlink, token_key, token_of};
use super::messages::{Sent, sent_key};
use super::observing::Notified;
use super::uplink::OutcomeOf;
use crate::bounds::OUTBOUND_PER_DEVICE_MAX;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use rand::Rng;
use tidegate_coap::dedup::{Seen, Told};
use tidegate_coap::message::{MESSAGE_BYTES_MAX, Message, Token, Type};
use tidegate_coap::observe::Wish;
use tidegate_coap::option::Understood;
use tidegate_coap::outbound::{Act, Outbound, Reply, Turn, rejection};
use tidegate_coap::timing::{MAX_RETRANSMIT_MAX, Timing};
use tidegate_faults::{Bug, has};
use tidegate_ring::contract::{self as wire, FailReason, NSTART_MAX, Step};
use zerocopy::IntoBytes;

impl Worker {
    /// A request for a device of ours.
    pub(super) fn on_downlink(
        &mut self,
        now: Now,
        downlink: &wire::Downlink,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        let (message_id, device) = (downlink.message_id, downlink.device);
        let Some(slot) = self.session_of(downlink.session.get(), &device) else {
            let told = OutcomeOf { message_id, device, network: 0 };
            return self.refuse_downlink(now, &told, FailReason::NoSession);
        };
        let told = OutcomeOf { message_id, device, network: self.slab.get(slot).network };
        let wish = Message::parse(bytes).ok().and_then(|request| Wish::of(&request.options));
        let observed = wish.map(|wish| self.observe(slot, &told, wish, bytes));
        let (token, observation) = match observed {
            None => (self.random.random(), None),
            Some(Ok(observed)) => observed,
            Some(Err(reason)) => return self.refuse_downlink(now, &told, reason),
        };
        let Some(coap) = outbound(bytes, token) else {
            self.end_registration_of(observation);
            return self.refuse_downlink(now, &told, FailReason::Malformed);
        };
        let body_bytes = downlink.body_bytes.get() as usize;
        let downlink =
            Downlink { observation, ..Downlink::new(coap, &self.slab, slot, told, downlink.terms) };
        let begun = self.put_in_line(downlink).and_then(|number| {
            let sending = self.begin_sending(number, (message_id, device), bytes, body_bytes);
            sending.map(|sending| (number, sending)).inspect_err(|_| {
                self.downlinks.pool.remove(number);
                self.leave_line(slot, number);
            })
        });
        match begun {
            Ok((number, sending)) => {
                let downlink = self.downlinks.get_mut(number).expect("it was just made");
                downlink.sending = sending;
                self.downlinks.by_token.insert(token_key(slot, token), number);
                self.counters.tally(Tally::Downlink);
                self.start_next(now, slot, outbox);
            }
            Err(reason) => {
                self.end_registration_of(observation);
                self.refuse_downlink(now, &told, reason);
            }
        }
    }

    /// The last of its session's line from now on, if there is room.
    pub(super) fn put_in_line(&mut self, downlink: Downlink) -> Result<u32, FailReason> {
        let slot = downlink.slot;
        let line = self.downlinks.lines.get(&slot);
        let waiting = line.map_or(0, |line| line.waiting.len());
        if waiting >= OUTBOUND_PER_DEVICE_MAX as usize {
            return Err(FailReason::Busy);
        }
        let key = self.downlinks.pool.insert(0, downlink).ok_or(FailReason::Busy)?;
        self.downlinks.lines.entry(slot).or_default().waiting.push_back(key.number);
        Ok(key.number)
    }

    fn leave_line(&mut self, slot: u32, number: u32) {
        if let Some(line) = self.downlinks.lines.get_mut(&slot) {
            line.waiting.retain(|waiting| *waiting != number);
            line.is_over(number);
        }
    }

    /// The rest of a notification is asked for before what waits; its number, or `None`: there is
    /// no room, or nothing to ask for.
    pub(super) fn begin_fetch(
        &mut self,
        now: Now,
        slot: u32,
        (coap, token): (Outbound, u32),
        notified: Notified,
        first: &Message<'_>,
        outbox: &mut Outbox,
    ) -> Option<u32> {
        let told = OutcomeOf { message_id: UNTOLD, ..notified.of };
        let new = Downlink::new(coap, &self.slab, slot, told, wire::Terms::OWN);
        let number = self.put_in_line(Downlink { notified: Some(notified), ..new }).ok()?;
        self.downlinks.by_token.insert(token_key(slot, token), number);
        if self.on_block_response(number, first) != Follows::Block {
            self.drop_fetch(now, number, outbox);
            return None;
        }
        let line = self.downlinks.lines.entry(slot).or_default();
        line.waiting.retain(|waiting| *waiting != number);
        line.waiting.push_front(number);
        self.start_next(now, slot, outbox);
        Some(number)
    }

    /// Nobody wants it any more.
    pub(super) fn drop_fetch(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let reason = FailReason::Cancelled;
        self.finish_downlink(now, number, Step::Failed, reason, &[], outbox);
    }

    pub(super) fn refuse_downlink(&mut self, now: Now, told: &OutcomeOf, reason: FailReason) {
        self.counters.tally(Tally::DownlinkRefused);
        self.tell(now, told, Step::Failed, reason, true, &[]);
    }

    /// Starts the next downlinks of a line, as many as may be outstanding.
    pub(super) fn start_next(&mut self, now: Now, slot: u32, outbox: &mut Outbox) {
        while let Some(number) = self.take_next(slot) {
            self.start(now, slot, number, outbox);
        }
    }

    /// The next downlink of a line whose turn it is; a line with nothing left is forgotten.
    fn take_next(&mut self, slot: u32) -> Option<u32> {
        let line = self.downlinks.lines.get_mut(&slot)?;
        let outstanding = line.outstanding();
        let Some(next) = line.waiting.front() else {
            if outstanding == 0 {
                self.downlinks.lines.remove(&slot);
            }
            return None;
        };
        let next = self.downlinks.pool.get(*next).expect("a line names live downlinks");
        let nstart = match next.terms.nstart {
            0 => self.timing.nstart,
            told => told,
        };
        if outstanding >= usize::from(nstart).min(NSTART_MAX) {
            return None;
        }
        let number = line.waiting.pop_front()?;
        line.begins(number);
        Some(number)
    }

    pub(super) fn start(&mut self, now: Now, slot: u32, number: u32, outbox: &mut Outbox) {
        match self.write_block(now, number) {
            Written::Ready => {}
            Written::Waits => return,
            Written::Never(reason) => {
                return self.finish_downlink(now, number, Step::Failed, reason, &[], outbox);
            }
        }
        let mid = self.slab.get_mut(slot).take_mid();
        let jitter = self.random.random();
        let downlink = self.downlinks.pool.get_mut(number).expect("a line names live downlinks");
        let told = downlink.told;
        let timing = timing(&downlink.terms, &self.timing);
        let response_ms = match downlink.terms.response_timeout_ms.get() {
            0 => self.config.coap.response_timeout_ms,
            told_ms => told_ms,
        };
        downlink.coap.start(now.ms, &timing, mid, jitter, response_ms);
        let is_first = !std::mem::replace(&mut downlink.is_sent, true);
        self.sent.insert(sent_key(slot, mid), Sent::Downlink(number));
        self.send_downlink(number, outbox);
        if is_first {
            let step = if has(Bug::DeliveredWhenSent) { Step::Delivered } else { Step::Sent };
            self.tell(now, &told, step, FailReason::None, false, &[]);
        }
        self.arm_downlink(number);
    }

    /// The device has the request; the next of its line may start.
    pub(super) fn on_downlink_acked(
        &mut self,
        now: Now,
        slot: u32,
        number: u32,
        mid: u16,
        outbox: &mut Outbox,
    ) {
        let Some(downlink) = self.live_downlink(slot, number) else {
            return self.counters.tally(Tally::MessageStray);
        };
        let (told, is_last) = (downlink.told, downlink.is_last_block());
        let is_notification = downlink.is_notification;
        if downlink.coap.on_ack(now.ms, mid) == Turn::Acknowledged {
            if is_notification {
                let (step, none) = (Step::Delivered, FailReason::None);
                return self.finish_downlink(now, number, step, none, &[], outbox);
            }
            if is_last {
                self.tell(now, &told, Step::Delivered, FailReason::None, false, &[]);
            }
            self.arm_downlink(number);
            self.on_turn_over(now, slot, number, outbox);
        }
    }

    /// The device has no context for the request.
    pub(super) fn on_downlink_reset(
        &mut self,
        now: Now,
        slot: u32,
        number: u32,
        mid: u16,
        outbox: &mut Outbox,
    ) {
        let Some(downlink) = self.live_downlink(slot, number) else {
            return self.counters.tally(Tally::MessageStray);
        };
        if downlink.coap.on_reset(mid) == Turn::Reset {
            self.finish_downlink(now, number, Step::Failed, FailReason::Reset, &[], outbox);
        }
    }

    /// A response: to a downlink, or stray.
    pub(super) fn on_response(
        &mut self,
        now: Now,
        slot: u32,
        response: &Message<'_>,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        if response.ty != Type::Ack {
            let window = &mut self.slab.get_mut(slot).dedup;
            match window.on_arrival(now.ms, self.lifetimes, response.ty, response.mid) {
                Seen::Fresh => {}
                Seen::EmptyAcked => return self.send_empty(slot, Type::Ack, response.mid, outbox),
                Seen::Reset => return self.send_empty(slot, Type::Rst, response.mid, outbox),
                _ => return,
            }
        }
        let number = self.downlink_of_token(slot, response.token);
        let is_con = response.ty == Type::Con;
        if number.is_some() && is_con && !self.up.has_room(bytes.len()) {
            // As if it had not come: the device sends it again.
            return self.slab.get_mut(slot).dedup.forget(response.mid);
        }
        let Some(downlink) = number.and_then(|number| self.live_downlink(slot, number)) else {
            if response.ty == Type::Ack {
                // RFC 7252 section 5.2.2: whatever is in it, it acknowledges.
                return self.on_ack(now, slot, response.mid, outbox);
            }
            if self.on_notification(now, slot, response, bytes, outbox) {
                return;
            }
            self.counters.tally(Tally::MessageStray);
            return self.reply(slot, response, rejection(response), Told::Reset, outbox);
        };
        let (told, is_last) = (downlink.told, downlink.is_last_block());
        match downlink.coap.on_response(response, Understood::RESPONSE) {
            Turn::Responded { reply, acknowledges } => {
                self.reply(slot, response, reply, Told::EmptyAck, outbox);
                let number = number.expect("it was just found");
                let delivered = (acknowledges && is_last).then_some(told);
                self.on_responded_downlink(now, slot, number, delivered, (response, bytes), outbox);
            }
            Turn::Rejected(reply) => {
                self.counters.tally(Tally::MessageStray);
                self.reply(slot, response, reply, Told::Reset, outbox);
            }
            Turn::Nothing | Turn::Acknowledged | Turn::Reset => {}
        }
    }

    /// Its response, or the one to a block of it. `delivered`: it acknowledges the request's end.
    fn on_responded_downlink(
        &mut self,
        now: Now,
        slot: u32,
        number: u32,
        delivered: Option<OutcomeOf>,
        (response, bytes): (&Message<'_>, &[u8]),
        outbox: &mut Outbox,
    ) {
        let none = FailReason::None;
        // Only the first block says whether the device agrees.
        let first = self.downlinks.get_mut(number).filter(|downlink| downlink.fetching.is_none());
        if let Some(observation) = first.and_then(|downlink| downlink.observation) {
            self.on_registered(now, observation, response);
        }
        let follows = self.on_block_response(number, response);
        let is_read = self.downlinks.get_mut(number).is_some_and(|it| it.fetching.is_some());
        // Who wants the request once more, from its beginning or with Echo, has not taken it.
        let wants_it_again = matches!(follows, Follows::Block) && !is_read;
        let is_taken = !wants_it_again || has(Bug::DeliveredByABlock);
        if let Some(told) = delivered.filter(|_| is_taken) {
            self.tell(now, &told, Step::Delivered, none, false, &[]);
        }
        match follows {
            Follows::Nothing => {
                self.finish_downlink(now, number, Step::Responded, none, bytes, outbox);
            }
            Follows::Failure(reason) => {
                self.finish_downlink(now, number, Step::Failed, reason, &[], outbox);
            }
            Follows::Block => {
                self.wheel.disarm(self.timers.downlink(number));
                let line = self.downlinks.lines.entry(slot).or_default();
                line.is_over(number);
                line.waiting.push_front(number);
                self.start_next(now, slot, outbox);
            }
        }
    }

    pub(super) fn reply(
        &mut self,
        slot: u32,
        to: &Message<'_>,
        reply: Reply,
        told: Told,
        outbox: &mut Outbox,
    ) {
        if let Reply::Send(message) = reply {
            self.slab.get_mut(slot).dedup.settle(to.mid, told);
            self.send_message(slot, outbox, |out| {
                out.get_mut(..message.len())?.copy_from_slice(&message);
                Some(message.len())
            });
        }
    }

    /// A downlink's timer.
    pub(super) fn on_downlink_due(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(downlink) = self.downlinks.pool.get_mut(number) else { return };
        if self.slab.resolve(downlink.session).is_none() {
            self.finish_downlink(now, number, Step::Failed, FailReason::NoSession, &[], outbox);
            return;
        }
        if !downlink.coap.is_started() {
            // It waits for a piece of its body.
            let slot = downlink.slot;
            return self.start(now, slot, number, outbox);
        }
        let is_confirmable = downlink.coap.message()[0] >> 4 & 3 == Type::Con as u8;
        match downlink.coap.on_due(now.ms) {
            Act::Nothing => self.arm_downlink(number),
            Act::Retransmit => {
                self.counters.tally(Tally::Retransmission);
                self.send_downlink(number, outbox);
                self.arm_downlink(number);
            }
            Act::GiveUp => {
                self.finish_downlink(now, number, Step::Failed, FailReason::Timeout, &[], outbox);
            }
            Act::ResponseTimeout => {
                let step = if is_confirmable { Step::Delivered } else { Step::Sent };
                self.finish_downlink(now, number, step, FailReason::None, &[], outbox);
            }
        }
    }

    /// Takes back a downlink that waits for its turn; one that has left takes its course, but what
    /// it observes is observed no more.
    pub(super) fn on_cancel(&mut self, now: Now, cancel: &wire::Cancel, outbox: &mut Outbox) {
        let Some(slot) = self.session_of(cancel.session.get(), &cancel.device) else { return };
        self.unregister(slot, &cancel.message_id);
        let Some(line) = self.downlinks.lines.get(&slot) else { return };
        let is_it = |number: &&u32| {
            let downlink = self.downlinks.pool.get(**number);
            downlink.is_some_and(|d| d.told.message_id == cancel.message_id)
        };
        if let Some(number) = line.waiting.iter().find(is_it).copied() {
            self.finish_downlink(now, number, Step::Failed, FailReason::Cancelled, &[], outbox);
        }
    }

    /// The session ended: nothing in its line will be sent. Those that wait for a response notice
    /// by their timers.
    pub(super) fn end_downlinks(&mut self, now: Now, slot: u32) {
        let Some(line) = self.downlinks.lines.remove(&slot) else { return };
        for number in line.outstanding.into_iter().flatten().chain(line.waiting) {
            if let Some(mut downlink) = self.forget_downlink(number) {
                let reason = FailReason::NoSession;
                self.forget_bodies(&mut downlink);
                self.tell(now, &downlink.told, Step::Failed, reason, true, &[]);
            }
        }
    }

    /// Tells the final outcome, forgets the downlink and starts the next.
    fn finish_downlink(
        &mut self,
        now: Now,
        number: u32,
        step: Step,
        reason: FailReason,
        response: &[u8],
        outbox: &mut Outbox,
    ) {
        if step == Step::Responded {
            self.tell_agreement(number);
        }
        if let Some(mut downlink) = self.forget_downlink(number) {
            self.end_observing(&downlink, step);
            if matches!(reason, FailReason::Reset | FailReason::Malformed | FailReason::TooLarge) {
                self.unregister(downlink.slot, &downlink.told.message_id);
            }
            let is_told = if step == Step::Responded {
                self.tell_response(now, &mut downlink, response)
            } else {
                self.tell(now, &downlink.told, step, reason, true, response)
            };
            if !is_told {
                // The control plane asks once more when it has heard nothing for long.
                self.unregister(downlink.slot, &downlink.told.message_id);
            }
            self.forget_bodies(&mut downlink);
            if self.slab.resolve(downlink.session).is_some() {
                self.on_turn_over(now, downlink.slot, number, outbox);
            }
        }
    }

    fn end_observing(&mut self, downlink: &Downlink, step: Step) {
        self.end_registration_of(downlink.observation);
        if let Some(notified) = &downlink.notified {
            self.end_fetch(notified);
            if step != Step::Responded {
                self.counters.tally(Tally::NotificationLost);
            }
        }
    }

    fn on_turn_over(&mut self, now: Now, slot: u32, number: u32, outbox: &mut Outbox) {
        self.leave_line(slot, number);
        self.start_next(now, slot, outbox);
    }

    fn forget_downlink(&mut self, number: u32) -> Option<Downlink> {
        let downlink = self.downlinks.pool.remove(number)?;
        self.wheel.disarm(self.timers.downlink(number));
        if let Some(token) = token_of(downlink.coap.token()) {
            let key = token_key(downlink.slot, token);
            if self.downlinks.by_token.get(&key) == Some(&number) {
                self.downlinks.by_token.remove(&key);
            }
        }
        if downlink.coap.is_started() {
            self.sent.remove(&sent_key(downlink.slot, downlink.coap.mid()));
        }
        Some(downlink)
    }

    fn send_downlink(&mut self, number: u32, outbox: &mut Outbox) {
        let downlink = self.downlinks.pool.get(number).expect("the caller found it");
        let (slot, message) = (downlink.slot, downlink.coap.message());
        let mut copy = [0; MESSAGE_BYTES_MAX];
        let length = message.len();
        copy[..length].copy_from_slice(message);
        self.send_message(slot, outbox, |out| {
            out.get_mut(..length)?.copy_from_slice(&copy[..length]);
            Some(length)
        });
    }

    fn arm_downlink(&mut self, number: u32) {
        let due_ms = self.downlinks.pool.get(number).and_then(|d| d.coap.due_ms());
        self.wheel.set(self.timers.downlink(number), due_ms);
    }

    fn downlink_of_token(&self, slot: u32, token: Token) -> Option<u32> {
        self.downlinks.by_token.get(&token_key(slot, token_of(token)?)).copied()
    }

    fn live_downlink(&mut self, slot: u32, number: u32) -> Option<&mut Downlink> {
        let session = self.slab.session(slot);
        self.downlinks.pool.get_mut(number).filter(|downlink| downlink.session == session)
    }

    /// Tells the control plane a step in a downlink's life; false: there is no room.
    pub(super) fn tell(
        &mut self,
        now: Now,
        of: &OutcomeOf,
        step: Step,
        reason: FailReason,
        is_final: bool,
        response: &[u8],
    ) -> bool {
        if of.message_id == UNTOLD {
            return true;
        }
        let outcome = outcome(now, of, step, reason, is_final);
        self.notify(wire::Kind::Outcome, outcome.as_bytes(), response)
    }
}

/// An outcome whose response, if it has one, stands in the tail.
pub(super) fn outcome(
    now: Now,
    of: &OutcomeOf,
    step: Step,
    reason: FailReason,
    is_final: bool,
) -> wire::Outcome {
    wire::Outcome {
        message_id: of.message_id,
        device: of.device,
        at_unix_ms: now.unix_ms.into(),
        step: step as u8,
        reason: reason as u8,
        is_final: is_final.into(),
        network: of.network,
        body_bytes: 0.into(),
    }
}

/// What the control plane says of a device, over the worker's own. Every field is checked as if
/// hostile.
pub(super) fn timing(terms: &wire::Terms, own: &Timing) -> Timing {
    let mut timing = *own;
    if terms.ack_timeout_ms.get() != 0 {
        timing.ack_timeout_ms = terms.ack_timeout_ms.get();
    }
    if terms.ack_random_percent.get() >= 100 {
        timing.ack_random_percent = terms.ack_random_percent.get();
    }
    if let Some(max_retransmit) = terms.max_retransmit_plus_1.checked_sub(1) {
        timing.max_retransmit = max_retransmit.min(MAX_RETRANSMIT_MAX);
    }
    timing
}

/// The request as it goes out; `None` when the bytes are no request.
fn outbound(bytes: &[u8], token: u32) -> Option<Outbound> {
    let request = Message::parse(bytes).ok()?;
    if !request.code.is_request() || !matches!(request.ty, Type::Con | Type::Non) {
        return None;
    }
    let token = Token::new(&token.to_be_bytes());
    Outbound::new(request.ty, request.code, token, |writer| {
        writer.options(&request.options).payload(request.payload);
    })
    .ok()
}

/// What has this id is no message of an application: nobody is told of it.
pub(super) const UNTOLD: wire::MessageId = [0; 16];
