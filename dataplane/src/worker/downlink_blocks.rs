//! How does a request of ours carry a long body, or fetch a long response? Block by block, each a
//! request of its own (RFC 7959 sections 2.4 and 2.5); for the application it is one message.
//!
//! ```text
//! start ─▶ part of the body ─▶ request with Block1 ─▶ 2.31 ─▶ the next one waits for its turn
//!             └ Elsewhere ─▶ Wanted, Piece              └▶ the response to all of them
//! response with Block2, M set ─▶ kept ─▶ request with Block2 n ─▶ … ─▶ Body entries + Outcome
//! ```
//!
//! Each block has a Message ID and token of its own, and its own retransmissions.

use super::Worker;
use super::blocks::{Ours, write_with};
use super::bodies::{ForWhom, Part};
use super::downlink::outcome;
use super::lines::Downlink;
use super::messages::sent_key;
use super::observing::Notified;
use crate::arena::Chain;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::pool::Key;
use arrayvec::ArrayVec;
use rand::Rng;
use tidegate_coap::block::{Block, BlockSize, Step as BlockStep, Upload};
use tidegate_coap::code::Code;
use tidegate_coap::message::{MESSAGE_BYTES_MAX, Message, Token, Writer};
use tidegate_coap::option::Number;
use tidegate_coap::option::list::Entry;
use tidegate_coap::outbound::Outbound;
use tidegate_faults::{Bug, has};
use tidegate_ring::contract::{self as wire, FailReason, Step};
use zerocopy::IntoBytes;

/// The body of a request of ours.
#[derive(Debug)]
pub(super) struct Sending {
    upload: Upload,
    body: Key,
    /// How often the piece that is wanted now was asked for.
    asked: u8,
}

/// A response that comes block by block.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    chain: Chain,
    /// ETag of the first block, to see that the others are of the same body.
    tag: ArrayVec<u8, 8>,
    /// The block to ask for next.
    wanted: Option<Block>,
}

/// What follows a response to one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing: it is the response to the whole request.
    Nothing,
    /// The next block, when it is its turn.
    Block,
    /// The response can't be had.
    Failure(FailReason),
}

impl Worker {
    /// The body that a new downlink has to send in blocks; `Ok(None)`: it has none.
    pub(super) fn begin_sending(
        &mut self,
        number: u32,
        of: (wire::MessageId, wire::DeviceId),
        bytes: &[u8],
        body_bytes: usize,
    ) -> Result<Option<Sending>, FailReason> {
        let Ok(message) = Message::parse(bytes) else { return Err(FailReason::Malformed) };
        let size = self.block_size();
        if body_bytes == 0 && message.payload.len() <= size.bytes() {
            return Ok(None);
        }
        let heads = bytes.len() - message.payload.len() + BLOCK_HEADS_BYTES;
        let room = MESSAGE_BYTES_MAX.saturating_sub(heads);
        let size = BlockSize::within(room).ok_or(FailReason::Malformed)?.min(size);
        let total = body_bytes.max(message.payload.len());
        let upload = Upload::new(total, size).ok_or(FailReason::Malformed)?;
        let for_whom = ForWhom::Downlink(number);
        let body = self.begin_body(of, for_whom, total, message.payload);
        let body = body.ok_or(FailReason::Busy)?;
        Ok(Some(Sending { upload, body, asked: 0 }))
    }

    /// Writes the block whose turn it is, or has it wait for its part of the body.
    pub(super) fn write_block(&mut self, now: Now, number: u32) -> Written {
        let Some(downlink) = self.downlinks.get_mut(number) else { return Written::Waits };
        if let Some(block) = downlink.fetching.as_ref().and_then(|fetching| fetching.wanted) {
            return rewrite(downlink, &[(Number::BLOCK2, block.value())], &[]);
        }
        let Some(sending) = &mut downlink.sending else { return Written::Ready };
        let (block, range, body) = (sending.upload.block(), sending.upload.range(), sending.body);
        match self.bodies.part(body, range.clone()) {
            Part::Here(part) => {
                sending.asked = 0;
                let mut ours = Ours::from_iter([(Number::BLOCK1, block.value())]);
                if block.number() == 0 {
                    ours.push((Number::SIZE1, self.bodies.total_bytes(body) as u32));
                }
                ours.push((Number::REQUEST_TAG, request_tag(&downlink.told.message_id)));
                rewrite(downlink, &ours, part)
            }
            Part::Elsewhere if sending.asked < ASKED_MAX => {
                sending.asked += 1;
                self.wheel.arm(self.timers.downlink(number), now.ms + ASK_AGAIN_MS);
                self.want(body, range.start);
                Written::Waits
            }
            Part::Elsewhere => Written::Never(FailReason::Timeout),
            Part::Gone => Written::Never(FailReason::Cancelled),
        }
    }

    /// A piece of its body is here, or will never be.
    pub(super) fn on_downlink_piece(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(downlink) = self.downlinks.get_mut(number) else { return };
        let slot = downlink.slot;
        let is_waiting = downlink.sending.as_ref().is_some_and(|sending| sending.asked > 0);
        if is_waiting && !downlink.coap.is_started() {
            self.start(now, slot, number, outbox);
        }
    }

    /// What a response means for a request that has blocks, or whose response has.
    pub(super) fn on_block_response(&mut self, number: u32, response: &Message<'_>) -> Follows {
        let longest_bytes = self.downlinks.get_mut(number).map(|downlink| downlink.slot);
        let longest_bytes = longest_bytes.map_or(0, |slot| self.longest_body(slot));
        let Some(downlink) = self.downlinks.get_mut(number) else { return Follows::Nothing };
        if let Some(echo) = challenge(downlink, response) {
            downlink.echo = echo;
            return self.next_block(number);
        }
        if let Some(sending) = &mut downlink.sending
            && downlink.fetching.is_none()
        {
            let block1 = Block::of(&response.options, Number::BLOCK1);
            if sending.upload.on_response(response.code, block1) == BlockStep::Next {
                return self.next_block(number);
            }
        }
        let block2 = Block::of(&response.options, Number::BLOCK2);
        let block2 = block2.filter(|_| response.code.class() == 2);
        let Some(block) = block2.filter(|block| block.more || downlink.fetching.is_some()) else {
            return self.without_block(number, response.code);
        };
        let tag = response.options.first(Number::ETAG).unwrap_or_default();
        let fetching = downlink.fetching.get_or_insert_with(Fetching::default);
        if fetching.chain.is_empty() {
            fetching.tag = tag.iter().copied().collect();
        }
        let end = block.offset() + response.payload.len();
        let is_whole = !block.more || response.payload.len() == block.size.bytes();
        if fetching.tag.as_slice() != tag || block.offset() != fetching.chain.len() || !is_whole {
            return Follows::Failure(FailReason::Malformed);
        }
        if end > longest_bytes || !self.uploads.append(&mut fetching.chain, response.payload) {
            return Follows::Failure(FailReason::TooLarge);
        }
        fetching.wanted = Block::at(end, false, block.size).filter(|_| block.more);
        match fetching.wanted {
            Some(_) => self.next_block(number),
            None => Follows::Nothing,
        }
    }

    /// A response that is no block of one. When it comes instead of the next block, what was
    /// fetched is forgotten: an error is the response then, and anything else is none.
    fn without_block(&mut self, number: u32, code: Code) -> Follows {
        let Some(downlink) = self.downlinks.get_mut(number) else { return Follows::Nothing };
        let Some(mut fetching) = downlink.fetching.take() else { return Follows::Nothing };
        let is_notification = downlink.notified.is_some();
        let (slot, id) = (downlink.slot, downlink.told.message_id);
        self.uploads.release(&mut fetching.chain);
        self.unregister(slot, &id);
        if is_notification {
            self.counters.tally(Tally::NotificationLost);
            return Follows::Failure(FailReason::Cancelled);
        }
        if code.class() == 2 { Follows::Failure(FailReason::Malformed) } else { Follows::Nothing }
    }

    /// The next block takes the place of the last one, under another token.
    fn next_block(&mut self, number: u32) -> Follows {
        let token: u32 = self.random.random();
        let Some(downlink) = self.downlinks.get_mut(number) else { return Follows::Nothing };
        let (slot, mid, before) = (downlink.slot, downlink.coap.mid(), downlink.coap.token());
        let mut kept: ArrayVec<u8, MESSAGE_BYTES_MAX> = ArrayVec::new();
        // A request without blocks goes again as it is.
        if downlink.sending.is_none() && downlink.fetching.is_none() {
            kept.extend(payload_of(&downlink.coap).iter().copied());
        }
        let Some(coap) = written(downlink, Token::new(&token.to_be_bytes()), &[], &kept) else {
            return Follows::Failure(FailReason::Malformed);
        };
        let is_started = downlink.coap.is_started();
        let observation = downlink.observation.filter(|_| downlink.fetching.is_none());
        downlink.coap = coap;
        if is_started {
            self.sent.remove(&sent_key(slot, mid));
        }
        self.downlinks.rename(slot, before, token, number);
        if let Some(observation) = observation {
            self.rename_observation(observation, token);
        }
        Follows::Block
    }

    /// Tells the response of a downlink, with the body that came before it; false: there is no
    /// room.
    pub(super) fn tell_response(
        &mut self,
        now: Now,
        downlink: &mut Downlink,
        response: &[u8],
    ) -> bool {
        if let Some(notified) = downlink.notified {
            let chain = downlink.fetching.take().map(|fetching| fetching.chain);
            self.tell_fetched(now, &notified, chain.unwrap_or_default(), response);
            return true;
        }
        let Some(mut fetching) = downlink.fetching.take() else {
            return self.tell(
                now,
                &downlink.told,
                Step::Responded,
                FailReason::None,
                true,
                response,
            );
        };
        let of = &downlink.told;
        let name = wire::name_of_message(&of.message_id);
        let body_bytes = self.push_response(name, &fetching.chain);
        if !has(Bug::BodyKept) {
            self.uploads.release(&mut fetching.chain);
        }
        let sequence = downlink.observation.and_then(|number| self.observations.sequence(number));
        let (Some(body_bytes), Some(head)) = (body_bytes, head_of(response, sequence)) else {
            return self.tell(now, of, Step::Failed, FailReason::Busy, true, &[]);
        };
        let mut outcome = outcome(now, of, Step::Responded, FailReason::None, true);
        outcome.body_bytes = (body_bytes as u32).into();
        self.notify(wire::Kind::Outcome, outcome.as_bytes(), &head)
    }

    /// The same of a notification.
    fn tell_fetched(&mut self, now: Now, notified: &Notified, mut chain: Chain, last: &[u8]) {
        let name = wire::name_of_message(&notified.of.message_id);
        let body_bytes = self.push_response(name, &chain);
        self.uploads.release(&mut chain);
        let head = head_of(last, notified.sequence);
        let (Some(body_bytes), Some(head)) = (body_bytes, head) else {
            return self.counters.tally(Tally::NotificationLost);
        };
        self.tell_notification(now, notified, body_bytes, &head);
    }

    /// What a downlink had of bodies is forgotten with it.
    pub(super) fn forget_bodies(&mut self, downlink: &mut Downlink) {
        if let Some(sending) = downlink.sending.take() {
            self.bodies.forget(sending.body);
        }
        if let Some(fetching) = &mut downlink.fetching {
            self.uploads.release(&mut fetching.chain);
        }
    }
}

/// Whether a block can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Now.
    Ready,
    /// When its part of the body is here.
    Waits,
    /// Not any more.
    Never(FailReason),
}

impl Downlink {
    /// Whether what is under way is the last block of the request's body: the device has it all
    /// when it acknowledges this one.
    pub(super) fn is_last_block(&self) -> bool {
        has(Bug::DeliveredByABlock)
            || self.sending.as_ref().is_none_or(|sending| !sending.upload.block().more)
                && self.fetching.is_none()
    }
}

/// Writes a downlink's request anew, with these options of ours and this payload.
fn rewrite(downlink: &mut Downlink, ours: &[(Number, u32)], payload: &[u8]) -> Written {
    match written(downlink, downlink.coap.token(), ours, payload) {
        Some(coap) => {
            downlink.coap = coap;
            Written::Ready
        }
        None => Written::Never(FailReason::Malformed),
    }
}

/// The same request with other options about blocks, another payload and another token, and with
/// the Echo that the device has asked for.
fn written(
    before: &Downlink,
    token: Token,
    ours: &[(Number, u32)],
    payload: &[u8],
) -> Option<Outbound> {
    let request = Message::parse(before.coap.message()).ok()?;
    // Later blocks of what is observed are asked for without Observe (RFC 7959 section 2.6).
    let is_later = before.fetching.is_some();
    let is_left = |number| is_ours(number) || is_later && number == Number::OBSERVE;
    let kept = request.options.iter().filter(|option| !is_left(option.number));
    let (echo, number) = (before.echo.as_slice(), Number::ECHO);
    let echo = (!echo.is_empty()).then_some(Entry { number, value: echo });
    let below = kept.clone().take_while(|option| option.number < Number::ECHO);
    let above = kept.skip_while(|option| option.number < Number::ECHO);
    Outbound::new(request.ty, request.code, token, |writer| {
        write_with(writer, below.chain(echo).chain(above), ours);
        writer.payload(payload);
    })
    .ok()
}

/// Options that are written anew with each block.
fn is_ours(number: Number) -> bool {
    matches!(
        number,
        Number::BLOCK1 | Number::BLOCK2 | Number::SIZE1 | Number::ECHO | Number::REQUEST_TAG
    )
}

/// The Echo value of a device that wants to know whether a request is fresh (RFC 9175 section 2.3);
/// it is believed once.
fn challenge(downlink: &Downlink, response: &Message<'_>) -> Option<ArrayVec<u8, 40>> {
    let is_asked = response.code == Code::UNAUTHORIZED && downlink.echo.is_empty();
    let echo = response.options.first(Number::ECHO).filter(|_| is_asked)?;
    ArrayVec::try_from(echo).ok()
}

/// What stands before the payload of the last block, with the Observe option of the first.
fn head_of(last: &[u8], sequence: Option<u32>) -> Option<ArrayVec<u8, MESSAGE_BYTES_MAX>> {
    let last = Message::parse(last).ok()?;
    let mut head = ArrayVec::from([0; MESSAGE_BYTES_MAX]);
    let is_new = |number| sequence.is_some() && number == Number::OBSERVE;
    let options = last.options.iter().filter(|option| !is_new(option.number));
    let ours: Ours = sequence.map(|sequence| (Number::OBSERVE, sequence)).into_iter().collect();
    let mut writer = Writer::new(&mut head, last.ty, last.code, last.mid, &last.token);
    write_with(&mut writer, options, &ours);
    let length = writer.finish().ok()?;
    head.truncate(length);
    Some(head)
}

fn payload_of(request: &Outbound) -> &[u8] {
    Message::parse(request.message()).map_or(&[], |message| message.payload)
}

/// Tells the blocks of one message from those of another to the same path (RFC 9175 section 3.3),
/// however they overtake each other.
fn request_tag(message_id: &wire::MessageId) -> u32 {
    u32::from_le_bytes([message_id[0], message_id[1], message_id[2], message_id[3]])
}

/// How often a piece of a body is asked for, and how long it is waited for, milliseconds.
const ASKED_MAX: u8 = 4;
const ASK_AGAIN_MS: u64 = 10_000;
/// Token, Block1, Block2, Size1, Echo, Request-Tag and the payload marker, bytes: at most.
const BLOCK_HEADS_BYTES: usize = 8 + 5 + 5 + 6 + 43 + 7 + 1;
