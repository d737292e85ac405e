//! Which requests of a device are served? None twice, and none that CoAP, policy or quota bars.
//!
//! ```text
//! request ─▶ dedup ─▶ admission ─▶ permits, freshness ─▶ echo, block of a body, or uplink
//!            a copy: the same reply      4.xx, 5.03: each a line of the customer's log
//! ```

use super::Worker;
use super::blocks::{Ours, Served, write_with};
use super::messages::sent_key;
use super::permits::Refusal;
use super::uplink::fill_code;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::slab::State;
use tidegate_coap::admission::{Admission, admit};
use tidegate_coap::block::{Block, Wants};
use tidegate_coap::code::Code;
use tidegate_coap::dedup::{Seen, Told};
use tidegate_coap::message::{Message, Type, Writer};
use tidegate_coap::no_response::Unwanted;
use tidegate_coap::option::{Number, Understood};
use tidegate_faults::{Point, may_die};

impl Worker {
    /// A CON or NON request.
    pub(super) fn on_request(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        if is_unconfirmed_part(request) {
            return self.on_fresh_request(now, slot, request, bytes, outbox);
        }
        let window = &mut self.slab.get_mut(slot).dedup;
        match window.on_arrival(now.ms, self.lifetimes, request.ty, request.mid) {
            Seen::Fresh => {
                may_die(Point::RequestRemembered);
                self.on_fresh_request(now, slot, request, bytes, outbox);
            }
            Seen::Full => self.counters.tally(Tally::UplinkRefused),
            copy => {
                self.counters.tally(Tally::RequestRepeated);
                self.on_copy(now, slot, request, copy, outbox);
            }
        }
    }

    fn on_fresh_request(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        self.counters.tally(Tally::Request);
        let refusal = match admit(request, self.understood(slot)) {
            Admission::Serve => match self.serve(now, slot, request, bytes, outbox) {
                Ok(()) => return,
                Err(refusal) => refusal,
            },
            Admission::Refuse { code, .. } => {
                let max_age_s = self.config.coap.busy_max_age_s;
                Refusal { code, max_age_s, tally: Tally::RequestRejected }
            }
            Admission::Reject => return self.counters.tally(Tally::RequestRejected),
        };
        self.refuse(now, slot, request, refusal, outbox);
    }

    /// A request that may be served if its policies and quotas allow it and there is room.
    fn serve(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(), Refusal> {
        self.permit(slot, request)?;
        if is_discovery(request) {
            let (code, max_age_s) = (Code::NOT_FOUND, 0);
            return Err(Refusal { code, max_age_s, tally: Tally::RequestRejected });
        }
        self.check_freshness(now, slot, request)?;
        if self.echo.answers(request) {
            self.counters.tally(Tally::Echo);
            self.reply_code(now, slot, request, Code::CHANGED, 0, outbox);
            return Ok(());
        }
        if self.on_block_wanted(now, slot, request, outbox)? {
            return Ok(());
        }
        let begun = match self.on_block(now, slot, request, outbox)? {
            Served::Kept => return Ok(()),
            Served::Whole(begun) => begun,
        };
        let taken = self.take_uplink(now, slot).and_then(|()| {
            self.uplink(now, slot, request, bytes, begun).ok_or(Refusal {
                code: Code::SERVICE_UNAVAILABLE,
                max_age_s: self.config.coap.busy_max_age_s,
                tally: Tally::UplinkRefused,
            })
        });
        match (taken, begun) {
            (Err(refusal), Some(begun)) if begun.is_whole => {
                self.refuse_aloud(now, slot, request, refusal, outbox);
                self.uploads.forget(begun.number);
                Ok(())
            }
            (taken, _) => taken,
        }
    }

    /// Says why not. A NON hears it, too, where its whole body is here: no block of that would come
    /// again by itself.
    fn refuse_aloud(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        refusal: Refusal,
        outbox: &mut Outbox,
    ) {
        let Refusal { code, max_age_s, tally } = refusal;
        self.counters.tally(tally);
        self.reply_code(now, slot, request, code, max_age_s, outbox);
        self.note_refused(now, slot, request, code, true);
    }

    /// The critical options that requests of a session may have.
    fn understood(&self, slot: u32) -> Understood {
        match self.slab.get(slot).state() {
            State::NoSec => Understood::PLAIN_REQUEST,
            _ => Understood::EDGE_REQUEST,
        }
    }

    /// What a reply of the worker's own says of the blocks of the request, and that it speaks
    /// Q-Block: a client finds out by that (RFC 9177 section 4.1).
    fn about_request(&self, slot: u32, code: Code, request: &Message<'_>) -> Ours {
        let mut ours = self.about_block(slot, code, Block::of(&request.options, Number::BLOCK1));
        let wants = Wants::of(&request.options).ok().flatten();
        if let Some(wants) = wants.filter(|_| code != Code::BAD_OPTION) {
            let only = Block::new(0, false, wants.size).expect("0 is a number");
            let at = ours.iter().position(|(number, _)| *number > Number::Q_BLOCK2);
            ours.insert(at.unwrap_or(ours.len()), (Number::Q_BLOCK2, only.value()));
        }
        ours
    }

    /// Says why not. A NON that may come again later is met with silence, and its copies are new.
    fn refuse(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        refusal: Refusal,
        outbox: &mut Outbox,
    ) {
        let code = refusal.code;
        let is_temporary = matches!(code, Code::SERVICE_UNAVAILABLE | Code::TOO_MANY_REQUESTS);
        if request.ty != Type::Con && is_temporary {
            self.counters.tally(refusal.tally);
            self.slab.get_mut(slot).dedup.forget(request.mid);
            return self.note_refused(now, slot, request, code, false);
        }
        self.refuse_aloud(now, slot, request, refusal, outbox);
    }

    /// A copy of an earlier request: the same reply again.
    fn on_copy(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        copy: Seen,
        outbox: &mut Outbox,
    ) {
        match copy {
            Seen::EmptyAcked => self.send_empty(slot, Type::Ack, request.mid, outbox),
            Seen::Reset => self.send_empty(slot, Type::Rst, request.mid, outbox),
            Seen::Replied(code) => {
                let max_age_s = self.config.coap.busy_max_age_s;
                self.send_code(now, slot, request, code, max_age_s, outbox);
            }
            Seen::ReplyKept => {
                let session = self.slab.session(slot);
                let key = sent_key(slot, request.mid);
                if let Some(number) = self.exchanges.replied(session, key) {
                    self.send_response(number, outbox);
                }
            }
            Seen::Fresh | Seen::Full | Seen::Waiting | Seen::Silent => {}
        }
    }

    /// Answers at once with a code of the worker's own.
    pub(super) fn reply_code(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        code: Code,
        max_age_s: u32,
        outbox: &mut Outbox,
    ) {
        self.slab.get_mut(slot).dedup.settle(request.mid, Told::Replied(code));
        self.send_code(now, slot, request, code, max_age_s, outbox);
    }

    /// Sends a reply that follows from the request and the code alone; of one that the device does
    /// not want to hear, the ACK.
    fn send_code(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        code: Code,
        max_age_s: u32,
        outbox: &mut Outbox,
    ) {
        if Unwanted::of(&request.options).covers(code) {
            if request.ty == Type::Con {
                self.send_empty(slot, Type::Ack, request.mid, outbox);
            }
            return;
        }
        let (ty, mid) = match request.ty {
            Type::Con => (Type::Ack, request.mid),
            _ => (Type::Non, self.slab.get_mut(slot).take_mid()),
        };
        let understood = self.understood(slot);
        let ours = self.about_request(slot, code, request);
        let is_challenge = code == Code::UNAUTHORIZED;
        let echo = is_challenge.then(|| self.freshness.value(now, &self.slab.get(slot).device));
        self.send_message(slot, outbox, |out| {
            let mut writer = Writer::new(out, ty, code, mid, &request.token);
            fill_code(&mut writer, code, max_age_s);
            write_with(&mut writer, std::iter::empty(), &ours);
            if let Some(echo) = &echo {
                writer.option(Number::ECHO, echo);
            }
            if code.class() != 2
                && let Admission::Refuse { option: Some(option), .. } = admit(request, understood)
            {
                writer.diagnostic(format_args!("{option}"));
            }
            writer.finish().ok()
        });
    }
}

/// A part of a body that is remembered by its Request-Tag: see `gathering`.
fn is_unconfirmed_part(request: &Message<'_>) -> bool {
    request.ty == Type::Non
        && Block::of(&request.options, Number::Q_BLOCK1)
            .is_some_and(|block| block.number() > 0 || block.more)
}

/// The service has no discovery: `/.well-known/core` is not found.
fn is_discovery(request: &Message<'_>) -> bool {
    request.code == Code::GET
        && request.options.all(Number::URI_PATH).eq([&b".well-known"[..], &b"core"[..]])
}
