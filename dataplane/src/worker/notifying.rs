//! How does a device hear that a resource it observes has another state (RFC 7641 section 4)? By a
//! CON of ours with the token of its request, in the same line as every message for it.
//!
//! The control plane knows who observes what, and sends one notification of an observation at a
//! time: the next one, with the state that is current then, follows the outcome. All are CONs, so a
//! device that went away is found out by the first (section 4.5). Of a body longer than a block the
//! notification has the first one; the device asks for the others (RFC 7959 section 2.6).

use super::Worker;
use super::blocks::{Ours, write_with};
use super::lines::Downlink;
use super::uplink::OutcomeOf;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use tidegate_coap::block::Block;
use tidegate_coap::message::{Message, Type};
use tidegate_coap::option::Number;
use tidegate_coap::outbound::Outbound;
use tidegate_ring::contract::{self as wire, FailReason};

impl Worker {
    /// A notification for a device.
    pub(super) fn on_notify(
        &mut self,
        now: Now,
        notify: &wire::Downlink,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        let (message_id, device) = (notify.message_id, notify.device);
        let Some(slot) = self.session_of(notify.session.get(), &device) else {
            let told = OutcomeOf { message_id, device, network: 0 };
            return self.refuse_downlink(now, &told, FailReason::NoSession);
        };
        let told = OutcomeOf { message_id, device, network: self.slab.get(slot).network };
        let Some(coap) = self.notification(bytes, notify.body_bytes.get() as usize) else {
            return self.refuse_downlink(now, &told, FailReason::Malformed);
        };
        self.forget_values(now, &device, outbox);
        let new = Downlink::new(coap, &self.slab, slot, told, notify.terms);
        match self.put_in_line(new.notifying()) {
            Ok(_) => {
                self.counters.tally(Tally::Notify);
                self.start_next(now, slot, outbox);
            }
            Err(reason) => self.refuse_downlink(now, &told, reason),
        }
    }

    /// As it goes out: of a long body the first block.
    fn notification(&self, bytes: &[u8], body_bytes: usize) -> Option<Outbound> {
        let message = Message::parse(bytes).ok().filter(|message| message.code.is_response())?;
        let size = self.block_size();
        let total = body_bytes.max(message.payload.len());
        let mut ours = Ours::new();
        let mut payload = message.payload;
        if total > size.bytes() {
            payload = payload.get(..size.bytes())?;
            ours.push((Number::BLOCK2, Block::new(0, true, size)?.value()));
            ours.push((Number::SIZE2, total as u32));
        }
        Outbound::new(Type::Con, message.code, message.token, |writer| {
            write_with(writer, message.options.iter(), &ours);
            writer.payload(payload);
        })
        .ok()
    }
}
