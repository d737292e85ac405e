//! How does a device speak Q-Block (RFC 9177)? The client's side of both options, by the book, and
//! the link it speaks over.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_coap::block::{Block, BlockSize};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type};
use tidegate_coap::option::Number;

use crate::story::{Story, Who, message};

/// A device that sends a body, or asks for one.
pub struct Quick {
    /// Who it is.
    pub who: Who,
    /// How its messages go.
    pub ty: Type,
    /// What its requests are.
    pub method: Code,
    /// How large its blocks are.
    pub size: BlockSize,
    /// Its Request-Tag.
    pub tag: Vec<u8>,
    /// Of the next message; its token is the same.
    pub mid: u16,
}

impl Quick {
    /// PUT in Non-confirmable blocks of so many bytes.
    pub fn new(who: Who, block_bytes: usize) -> Self {
        let size = BlockSize::exactly(block_bytes).expect("a size");
        Self { who, ty: Type::Non, method: Code::PUT, size, tag: b"tag".to_vec(), mid: 1_000 }
    }

    /// QB1:NUM/M/size with its part of a body, under a new Message ID.
    pub fn part(&mut self, body: &[u8], number: u32) -> Vec<u8> {
        let from = number as usize * self.size.bytes();
        let to = body.len().min(from + self.size.bytes());
        let block = Block::new(number, to < body.len(), self.size).expect("a number");
        let tag = self.tag.clone();
        self.message(|writer| {
            writer.option(Number::URI_PATH, b"log").option_uint(Number::Q_BLOCK1, block.value());
            writer.option_uint(Number::SIZE1, body.len() as u32);
            writer.option(Number::REQUEST_TAG, &tag).payload(&body[from..to]);
        })
    }

    /// A request with QB2:NUM/M/size for each of these.
    pub fn asks(&mut self, blocks: &[(u32, bool)]) -> Vec<u8> {
        let size = self.size;
        self.message(|writer| {
            writer.option(Number::URI_PATH, b"log");
            for (number, more) in blocks {
                let block = Block::new(*number, *more, size).expect("a number");
                writer.option_uint(Number::Q_BLOCK2, block.value());
            }
        })
    }

    fn message(&mut self, fill: impl FnOnce(&mut tidegate_coap::message::Writer<'_>)) -> Vec<u8> {
        self.mid += 1;
        message(self.ty, self.method, self.mid, &Token::new(&self.mid.to_be_bytes()), fill)
    }

    /// Blocks go up.
    pub fn sends(&mut self, story: &mut Story, body: &[u8], numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            let part = self.part(body, number);
            story.sends(self.who, &part);
        }
    }

    /// How many blocks a body has.
    pub fn blocks(&self, body: &[u8]) -> u32 {
        body.len().div_ceil(self.size.bytes()) as u32
    }

    /// A body goes up over a link: sets of ten, the next after a 2.31 or a pause, and what is
    /// missing when a 4.08 says so. The code of the last answer.
    pub fn uploads(&mut self, story: &mut Story, link: &mut Link, body: &[u8]) -> Code {
        let blocks = self.blocks(body);
        let mut queue: VecDeque<u32> = (0..blocks.min(SET)).collect();
        let (mut next, mut quiet_ms) = (blocks.min(SET), 0);
        for _ in 0..PATIENCE_TURNS {
            while let Some(number) = queue.pop_front() {
                let part = self.part(body, number);
                link.carries(story, self.who, part);
                quiet_ms = 0;
            }
            link.hands_over(story, self.who);
            while let Some(answer) = link.hears(story, self.who) {
                let answer = Message::parse(&answer).expect("a message");
                match answer.code {
                    Code::CONTINUE => {
                        let here = Block::of(&answer.options, Number::Q_BLOCK1).expect("Q-Block1");
                        if here.number() + 1 == next {
                            queue.extend(next..blocks.min(next + SET));
                            next = blocks.min(next + SET);
                        }
                    }
                    Code::REQUEST_ENTITY_INCOMPLETE => queue.extend(missing(&answer)),
                    code => return code,
                }
            }
            story.waits_ms(TURN_MS);
            quiet_ms += TURN_MS;
            if quiet_ms > PAUSE_MS && next < blocks {
                queue.extend(next..blocks.min(next + SET));
                next = blocks.min(next + SET);
            } else if quiet_ms > LONG_MS {
                // Neither an answer nor a question: the last block again.
                queue.push_back(blocks - 1);
            }
        }
        panic!("the body does not arrive");
    }

    /// A body comes down over a link, which loses nothing of the first request.
    pub fn downloads(
        &mut self,
        story: &mut Story,
        link: &mut Link,
        answers: impl FnOnce(&mut Story),
    ) -> Vec<u8> {
        let first = self.asks(&[(0, true)]);
        story.sends(self.who, &first);
        answers(story);
        let (mut parts, mut total, mut quiet_ms) = (BTreeMap::new(), usize::MAX, 0);
        for _ in 0..PATIENCE_TURNS {
            while let Some(answer) = link.hears(story, self.who) {
                quiet_ms = 0;
                let answer = Message::parse(&answer).expect("a message");
                assert_eq!(answer.code, Code::CONTENT);
                let block = Block::of(&answer.options, Number::Q_BLOCK2).expect("Q-Block2");
                total = answer.options.uint(Number::SIZE2).expect("Size2") as usize;
                let is_new = parts.insert(block.number(), answer.payload.to_vec()).is_none();
                let here = parts.keys().zip(0..).take_while(|(one, other)| *one == other).count();
                let is_set = (here as u32).is_multiple_of(SET) && here == parts.len();
                if is_new && is_set && here * self.size.bytes() < total {
                    let go_on = self.asks(&[(here as u32, true)]);
                    link.carries(story, self.who, go_on);
                }
            }
            let blocks = total.div_ceil(self.size.bytes()) as u32;
            if parts.len() as u32 == blocks {
                return parts.into_values().flatten().collect();
            }
            story.waits_ms(TURN_MS);
            quiet_ms += TURN_MS;
            if quiet_ms > LONG_MS {
                quiet_ms = 0;
                let last = parts.keys().last().map_or(0, |last| last / SET * SET + SET);
                let missing = (0..blocks.min(last)).filter(|number| !parts.contains_key(number));
                let missing: Vec<_> = missing.take(SET as usize).map(|it| (it, false)).collect();
                let next = [(blocks.min(last), false)];
                let asked = if missing.is_empty() { &next[..] } else { &missing };
                let again = self.asks(asked);
                link.carries(story, self.who, again);
            }
        }
        panic!("the body does not arrive");
    }
}

/// What a device's link does to its messages.
pub struct Link {
    random: StdRng,
    loss_percent: u32,
    /// Held back, to arrive behind others.
    late: Vec<Vec<u8>>,
}

impl Link {
    /// It loses so many of a hundred either way; of those that arrive, every tenth comes twice and
    /// every tenth late.
    pub fn new(seed: u64, loss_percent: u32) -> Self {
        Self { random: StdRng::seed_from_u64(seed), loss_percent, late: Vec::new() }
    }

    fn is(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// A message of the device is on its way.
    pub fn carries(&mut self, story: &mut Story, who: Who, message: Vec<u8>) {
        if self.is(self.loss_percent) {
            return;
        }
        if self.is(10) {
            return self.late.push(message);
        }
        story.sends(who, &message);
        if self.is(10) {
            story.sends(who, &message);
        }
    }

    /// What was held back arrives.
    pub fn hands_over(&mut self, story: &mut Story, who: Who) {
        for message in std::mem::take(&mut self.late) {
            story.sends(who, &message);
        }
    }

    /// The next message of the edge that arrives.
    pub fn hears(&mut self, story: &mut Story, who: Who) -> Option<Vec<u8>> {
        loop {
            let message = story.hears(who)?;
            if !self.is(self.loss_percent) {
                return Some(message);
            }
        }
    }
}

/// The block numbers of a 4.08.
pub fn missing(answer: &Message<'_>) -> Vec<u32> {
    assert_eq!(answer.options.content_format(), Some(272), "missing-blocks+cbor-seq");
    let (mut rest, mut numbers) = (answer.payload, Vec::new());
    while let Some((first, after)) = rest.split_first() {
        let bytes = match first {
            0..=23 => 0,
            24..=26 => 1 << (first - 24),
            other => panic!("{other:#x} begins no number"),
        };
        let (number, after) = after.split_at(bytes);
        let folded = number.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        numbers.push(if bytes == 0 { u32::from(*first) } else { folded });
        rest = after;
    }
    numbers
}

/// MAX_PAYLOADS.
const SET: u32 = 10;
/// What a device looks at its clock for.
const TURN_MS: u64 = 250;
/// NON_TIMEOUT_RANDOM.
const PAUSE_MS: u64 = 2_500;
/// NON_RECEIVE_TIMEOUT, and something.
const LONG_MS: u64 = 5_000;
/// Bound of a story: 20 minutes of its clock.
const PATIENCE_TURNS: usize = 4_800;
