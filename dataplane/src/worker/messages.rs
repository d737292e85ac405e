//! What did the device say? One CoAP message, sorted by RFC 7252 section 4.

use super::Worker;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use tidegate_coap::message::{Fault, Message, Type, empty, refuse_token};
use tidegate_coap::triage::{Triage, triage};
use tidegate_dtls::record::ContentType;

impl Worker {
    /// Application data of a session.
    pub(super) fn on_message(&mut self, now: Now, slot: u32, bytes: &[u8], outbox: &mut Outbox) {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.counters.tally(Tally::MessageMalformed);
                if error.fault == Fault::TokenTooLong {
                    self.refuse_long_token(slot, bytes, outbox);
                } else if let Some(mid) = error.reset_mid {
                    self.send_empty(slot, Type::Rst, mid, outbox);
                }
                return;
            }
        };
        match triage(&message) {
            Triage::Request => self.on_request(now, slot, &message, bytes, outbox),
            Triage::Response => self.on_response(now, slot, &message, bytes, outbox),
            // The request inside is not served: without blockwise bodies there is none to fetch.
            Triage::EmptyAck | Triage::AckWithRequest => {
                self.on_ack(now, slot, message.mid, outbox);
            }
            Triage::Reset => self.on_reset(now, slot, message.mid, outbox),
            Triage::Ping => {
                self.counters.tally(Tally::Ping);
                self.send_empty(slot, Type::Rst, message.mid, outbox);
            }
            Triage::Reject { reset } => {
                self.counters.tally(Tally::MessageMalformed);
                if reset {
                    self.send_empty(slot, Type::Rst, message.mid, outbox);
                }
            }
            Triage::Ignore => self.counters.tally(Tally::MessageMalformed),
        }
    }

    /// RFC 8974 section 2.2.2: 4.00 with the token as it came.
    fn refuse_long_token(&mut self, slot: u32, datagram: &[u8], outbox: &mut Outbox) {
        let mid = self.slab.get_mut(slot).take_mid();
        self.send_message(slot, outbox, |out| refuse_token(datagram, mid, out));
    }

    /// An ACK for a message of ours: a separate response, or a downlink request.
    pub(super) fn on_ack(&mut self, now: Now, slot: u32, mid: u16, outbox: &mut Outbox) {
        match self.sent.get(&sent_key(slot, mid)).copied() {
            Some(Sent::Exchange(number)) => self.on_response_acked(now, slot, number, mid, outbox),
            Some(Sent::Downlink(number)) => self.on_downlink_acked(now, slot, number, mid, outbox),
            None => self.counters.tally(Tally::MessageStray),
        }
    }

    /// A RST for a message of ours.
    fn on_reset(&mut self, now: Now, slot: u32, mid: u16, outbox: &mut Outbox) {
        match self.sent.get(&sent_key(slot, mid)).copied() {
            Some(Sent::Exchange(number)) => self.on_response_reset(now, slot, number, mid),
            Some(Sent::Downlink(number)) => self.on_downlink_reset(now, slot, number, mid, outbox),
            None if self.on_question_reset(slot, mid) => {}
            None => self.counters.tally(Tally::MessageStray),
        }
    }

    /// Sends an empty ACK or RST.
    pub(super) fn send_empty(&mut self, slot: u32, ty: Type, mid: u16, outbox: &mut Outbox) {
        self.send_message(slot, outbox, |out| {
            let message = empty(ty, mid);
            out.get_mut(..message.len())?.copy_from_slice(&message);
            Some(message.len())
        });
    }

    /// Sends one CoAP message that `write` writes.
    pub(super) fn send_message(
        &mut self,
        slot: u32,
        outbox: &mut Outbox,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        self.send(slot, ContentType::APPLICATION_DATA, outbox, write)
    }
}

/// Whose message a Message ID of ours belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    /// A separate response.
    Exchange(u32),
    /// A request.
    Downlink(u32),
}

/// The key of `Worker::sent`: which of our Confirmable messages waits for its ACK.
pub(super) fn sent_key(slot: u32, mid: u16) -> u64 {
    u64::from(slot) << 16 | u64::from(mid)
}
