//! How does a long body go, or come, in bursts (Q-Block, RFC 9177)? What a device does that speaks
//! it: its blocks go without a word for each, those of a response come so, and whoever misses some
//! says which.
//!
//! NON blocks go in sets of ten, the next set after a 2.31 or a pause; CON blocks one by one.

use std::collections::{BTreeSet, VecDeque};

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_coap::code::Code;
use tidegate_coap::content_format::MISSING_BLOCKS;
use tidegate_coap::message::{Message, Token, Type, Writer};
use tidegate_coap::option::Number;

use super::exchange::Repeats;
use super::gathered::{Gathered, Heard};
use super::request::{MESSAGE_BODY_BYTES, block, method_for};
use super::{Device, Said, Wish};
use crate::quick::missing;
use crate::story::message;

/// A request under way, from its first block to the last one of its response.
pub(super) struct Burst {
    pub(super) serial: u32,
    method: Code,
    ty: Type,
    body: Vec<u8>,
    /// SZX: blocks are of 16 << szx bytes.
    szx: u32,
    /// Messages so far; each has a token of its own.
    messages: u16,
    /// The first block that never went, and those that go again.
    next: u32,
    again: BTreeSet<u32>,
    /// The next set goes then.
    pause_ms: u64,
    /// A CON without ACK.
    under_way: Option<UnderWay>,
    response: Option<Gathered>,
    questions: VecDeque<Question>,
    give_up_ms: u64,
}

struct UnderWay {
    mid: u16,
    message: Vec<u8>,
    repeats: Repeats,
}

/// Q-Block2 of a request about a response: these blocks, and whether those behind are meant, too.
type Question = Vec<(u32, bool)>;

/// What follows a response, or a time.
pub(super) enum Ends {
    /// Something may go.
    NotYet,
    /// With this response.
    Response(Code, Vec<u8>),
    /// Without one.
    Nothing,
    /// Without an ACK.
    Silence,
}

impl Burst {
    pub(super) fn new(
        now_ms: u64,
        (serial, method): (u32, Code),
        confirmable: bool,
        body: Vec<u8>,
        szx: u32,
    ) -> Self {
        Self {
            serial,
            method,
            ty: if confirmable { Type::Con } else { Type::Non },
            body,
            szx,
            messages: 0,
            next: 0,
            again: BTreeSet::new(),
            pause_ms: 0,
            under_way: None,
            response: None,
            questions: VecDeque::new(),
            give_up_ms: now_ms + PATIENCE_MS,
        }
    }

    /// The newest message's.
    pub(super) fn token(&self) -> Token {
        let [a, b, c, d] = self.serial.to_be_bytes();
        let [high, low] = self.messages.to_be_bytes();
        Token::new(&[a, b, c, d, high, low])
    }

    /// Whether a message belongs to it.
    pub(super) fn is_meant(&self, token: &Token) -> bool {
        token.as_bytes().starts_with(&self.serial.to_be_bytes())
    }

    fn blocks(&self) -> u32 {
        if self.is_long() { self.body.len().div_ceil(16 << self.szx) as u32 } else { 1 }
    }

    fn is_long(&self) -> bool {
        self.body.len() > MESSAGE_BODY_BYTES
    }

    pub(super) fn due_ms(&self) -> u64 {
        if let Some(under_way) = &self.under_way {
            return under_way.repeats.due_ms;
        }
        if !self.questions.is_empty() || !self.again.is_empty() {
            return 0;
        }
        let set = (self.next < self.blocks()).then_some(self.pause_ms);
        let quiet = self.response.as_ref().map(Gathered::due_ms);
        set.into_iter().chain(quiet).chain([self.give_up_ms]).min().unwrap_or_default()
    }

    /// Time has passed; a message that goes again.
    pub(super) fn on_due(&mut self, now_ms: u64) -> (Ends, Option<Vec<u8>>) {
        if let Some(under_way) = &mut self.under_way {
            if under_way.repeats.due_ms > now_ms {
                return (Ends::NotYet, None);
            }
            let again = under_way.repeats.again().then(|| under_way.message.clone());
            return (if again.is_some() { Ends::NotYet } else { Ends::Silence }, again);
        }
        if self.give_up_ms <= now_ms {
            return (Ends::Nothing, None);
        }
        match self.response.as_mut().map(|response| response.on_due(now_ms)) {
            Some(Heard::Missing(numbers)) => self.asks(now_ms, numbers),
            Some(Heard::Lost) => return (Ends::Nothing, None),
            _ => {}
        }
        (Ends::NotYet, None)
    }

    fn asks(&mut self, now_ms: u64, numbers: Vec<u32>) {
        self.questions.push_back(numbers.into_iter().map(|number| (number, false)).collect());
        self.give_up_ms = now_ms + PATIENCE_MS;
    }

    /// The next message, if one may go now.
    pub(super) fn next_message(
        &mut self,
        now_ms: u64,
        mid: u16,
        random: &mut StdRng,
    ) -> Option<Vec<u8>> {
        if self.under_way.is_some() {
            return None;
        }
        let is_con = self.ty == Type::Con;
        let text = if let Some(question) = self.questions.pop_front() {
            self.messages += 1;
            // Who asks a second time asks the same; of what is not safe only blocks are asked for.
            let body = if self.method == Code::GET { &self.body[..] } else { b"" };
            self.question(mid, &question, body)
        } else if let Some(number) = self.again.pop_first() {
            self.part(mid, number)
        } else if self.next < self.blocks() && (is_con || now_ms >= self.pause_ms) {
            let text = self.part(mid, self.next);
            self.next += 1;
            if self.next.is_multiple_of(MAX_PAYLOADS) {
                self.pause_ms = now_ms + random.random_range(2_000..=3_000);
            }
            self.give_up_ms = now_ms + PATIENCE_MS;
            text
        } else {
            return None;
        };
        if is_con {
            let repeats = Repeats::new(now_ms, random);
            self.under_way = Some(UnderWay { mid, message: text.clone(), repeats });
        }
        Some(text)
    }

    /// A block of the request, or all of it.
    fn part(&mut self, mid: u16, number: u32) -> Vec<u8> {
        self.messages += 1;
        if !self.is_long() {
            return self.question(mid, &[(0, true)], &self.body);
        }
        let from = (number as usize) << (self.szx + 4);
        let end = self.body.len().min(from + (16 << self.szx));
        let q_block1 = block(from, end < self.body.len(), self.szx);
        self.message(mid, |writer| {
            writer.option_uint(Number::Q_BLOCK1, q_block1);
            writer.option_uint(Number::SIZE1, self.body.len() as u32);
            writer.option(Number::REQUEST_TAG, &self.serial.to_be_bytes());
            writer.payload(&self.body[from..end]);
        })
    }

    /// The request without a long body: for these blocks of the response.
    fn question(&self, mid: u16, blocks: &[(u32, bool)], body: &[u8]) -> Vec<u8> {
        self.message(mid, |writer| {
            for (number, more) in blocks {
                writer
                    .option_uint(Number::Q_BLOCK2, number << 4 | u32::from(*more) << 3 | self.szx);
            }
            if self.is_long() {
                writer.option(Number::REQUEST_TAG, &self.serial.to_be_bytes());
            }
            writer.payload(body);
        })
    }

    fn message(&self, mid: u16, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        message(self.ty, self.method, mid, &self.token(), |writer| {
            writer.option(Number::URI_PATH, b"t");
            fill(writer);
        })
    }

    /// An ACK, perhaps of its newest message.
    pub(super) fn on_ack(&mut self, now_ms: u64, mid: u16) {
        if self.under_way.take_if(|under_way| under_way.mid == mid).is_some() {
            self.give_up_ms = now_ms + PATIENCE_MS;
        }
    }

    /// An RST, perhaps of its newest message: true, it is over.
    pub(super) fn on_reset(&self, mid: u16) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.mid == mid)
    }

    /// A response to one of its messages.
    pub(super) fn on_response(&mut self, now_ms: u64, response: &Message<'_>) -> Ends {
        if response.ty == Type::Ack {
            self.on_ack(now_ms, response.mid);
        } else if response.token == self.token() {
            // Its ACK was lost (RFC 7252 section 5.3.2).
            self.under_way = None;
        }
        self.give_up_ms = now_ms + PATIENCE_MS;
        if response.code == Code::CONTINUE {
            let here = response.options.uint(Number::Q_BLOCK1).map(|value| value >> 4);
            if here.is_some_and(|here| here + 1 == self.next) {
                self.pause_ms = now_ms;
            }
            return Ends::NotYet;
        }
        if asks_for_blocks(response) {
            let (all, next) = (self.blocks(), self.next);
            let numbers = missing(response).into_iter().filter(|number| *number < all);
            // What never went goes with its set.
            self.again.extend(numbers.filter(|number| *number < next));
            return Ends::NotYet;
        }
        if response.options.first(Number::Q_BLOCK2).is_none() {
            return Ends::Response(response.code, response.payload.to_vec());
        }
        let is_con = self.ty == Type::Con;
        let gathered = self.response.get_or_insert_with(|| Gathered::new(now_ms, is_con));
        match gathered.on_block(now_ms, response) {
            Heard::Nothing => {}
            Heard::Missing(numbers) => self.asks(now_ms, numbers),
            Heard::Set(next) => self.questions.push_back(vec![(next, true)]),
            Heard::Whole(body) => return Ends::Response(response.code, body),
            Heard::Lost => return Ends::Nothing,
        }
        Ends::NotYet
    }
}

impl Device {
    /// Sends a request in bursts, if that is how this device sends such a one.
    pub(super) fn asks_in_bursts(&mut self, now_ms: u64, wish: Wish, text: &str) -> Option<Code> {
        let is_long = text.len() > MESSAGE_BODY_BYTES;
        let method = method_for(wish.method, is_long);
        if !self.plan.is_quick || !(is_long || [Code::GET, Code::POST].contains(&method)) {
            return None;
        }
        let (of, body) = ((self.serial, method), text.as_bytes().to_vec());
        self.burst = Some(Burst::new(now_ms, of, wish.confirmable, body, self.plan.szx));
        Some(method)
    }

    /// Whatever of it may go now goes.
    pub(super) fn bursts(&mut self, now_ms: u64) {
        while let Some(burst) = &mut self.burst {
            let mid = self.mid.wrapping_add(1);
            let Some(text) = burst.next_message(now_ms, mid, &mut self.random) else { return };
            let known = (burst.token(), Some(burst.serial));
            if burst.method == Code::GET && burst.messages > 1 {
                self.said.push(Said::AskedForRest { serial: burst.serial });
            }
            self.mid = mid;
            self.remembers(known);
            self.counts(now_ms);
            self.seals(&text);
        }
    }

    pub(super) fn on_burst_due(&mut self, now_ms: u64) {
        let Some(burst) = &mut self.burst else { return };
        let (ends, again) = burst.on_due(now_ms);
        if let Some(message) = again {
            self.seals(&message);
        }
        self.burst_ends(now_ms, ends);
    }

    /// A response, if it is one to a message of the burst under way; false: to another's.
    pub(super) fn on_burst_response(&mut self, now_ms: u64, message: &Message<'_>) -> bool {
        let is_meant = |burst: &&mut Burst| burst.is_meant(&message.token);
        let Some(burst) = self.burst.as_mut().filter(is_meant) else { return false };
        let ends = burst.on_response(now_ms, message);
        self.burst_ends(now_ms, ends);
        true
    }

    fn burst_ends(&mut self, now_ms: u64, ends: Ends) {
        match ends {
            Ends::NotYet => self.bursts(now_ms),
            Ends::Response(code, payload) => {
                if let Some(burst) = self.burst.take() {
                    self.answered(now_ms, burst.serial, code, payload);
                }
            }
            Ends::Nothing => self.burst = None,
            Ends::Silence => {
                self.burst = None;
                self.gives_up_session(now_ms);
            }
        }
    }
}

/// Whether the edge has a part of a request and wants others.
pub(super) fn asks_for_blocks(response: &Message<'_>) -> bool {
    let is_said = response.options.content_format() == Some(MISSING_BLOCKS);
    is_said && response.code == Code::REQUEST_ENTITY_INCOMPLETE
}

/// RFC 9177 section 7.2.
pub(super) const MAX_PAYLOADS: u32 = 10;
/// Longer than the edge waits for its application, or asks for blocks.
const PATIENCE_MS: u64 = 90_000;
