//! How is a request written? What is the same for all devices once, the rest for each; bodies that
//! are too long in blocks (RFC 7959).

use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type, Writer};
use tidegate_coap::option::Number;

use super::pace::Dice;
use crate::scenario::{self, Request};

/// What all requests of one kind have in common.
#[derive(Debug)]
pub(super) struct Template {
    request: Request,
    pub(super) code: Code,
    pub(super) message_type: Type,
    /// Options as they stand in the message, when they are the same for all devices.
    options: Option<Vec<u8>>,
    /// Longer bodies go in blocks of this size: log2 less 4.
    block_szx: Option<u8>,
}

/// Part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins, bytes.
    pub(super) offset: u32,
    /// Block size: log2 less 4.
    pub(super) szx: u8,
    /// The whole body, bytes.
    pub(super) body_bytes: u32,
}

/// What a Block1 or Block2 option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockOption {
    pub(super) number: u32,
    pub(super) is_more: bool,
    pub(super) szx: u8,
}

/// Size1 (RFC 7959 section 4).
const SIZE1: Number = Number(60);

impl Template {
    pub(super) fn new(request: &Request) -> Self {
        let block_szx = (request.block_bytes > 0)
            .then(|| (request.block_bytes.trailing_zeros() as u8).saturating_sub(4));
        let mut template = Self {
            request: request.clone(),
            code: Code(request.method.code()),
            message_type: match request.message_type {
                scenario::Type::Con => Type::Con,
                scenario::Type::Non => Type::Non,
            },
            options: None,
            block_szx,
        };
        if !request.path.contains("{n}") {
            let mut message = [0; 2_048];
            let len = template.write(&mut message, 0, &Token::EMPTY, 0, &[], None);
            template.options = len.map(|len| message[4..len].to_vec());
        }
        template
    }

    /// How long the next body is, and in blocks of which size it goes, if in blocks.
    pub(super) fn body(&self, dice: &mut Dice) -> (u32, Option<u8>) {
        let [low, high] = self.request.payload_bytes.range();
        let bytes = if low == high { low } else { low + dice.below(high - low + 1) };
        (bytes, self.block_szx.filter(|szx| bytes > 16 << szx))
    }

    /// Writes the message; `None` when there is no room. `number` is the device's.
    pub(super) fn write(
        &self,
        out: &mut [u8],
        mid: u16,
        token: &Token,
        number: u32,
        payload: &[u8],
        block: Option<Block>,
    ) -> Option<usize> {
        let (ty, code) = (self.message_type, self.code);
        if let (Some(options), None) = (&self.options, block) {
            let head = Writer::new(out, ty, code, mid, token).finish().ok()?;
            let after = head + options.len();
            out.get_mut(head..after)?.copy_from_slice(options);
            if payload.is_empty() {
                return Some(after);
            }
            let room = out.get_mut(after..after + 1 + payload.len())?;
            room[0] = PAYLOAD_MARKER;
            room[1..].copy_from_slice(payload);
            return Some(after + 1 + payload.len());
        }
        let mut writer = Writer::new(out, ty, code, mid, token);
        for segment in self.request.segments(number) {
            writer.option(Number::URI_PATH, segment.as_bytes());
        }
        if let Some(format) = self.request.content_format {
            writer.option_uint(Number::CONTENT_FORMAT, format.into());
        }
        for argument in self.request.query(number) {
            writer.option(Number::URI_QUERY, argument.as_bytes());
        }
        if let Some(block) = block {
            writer.option_uint(Number::BLOCK1, block.option().value());
            if block.offset == 0 {
                writer.option_uint(SIZE1, block.body_bytes);
            }
        }
        writer.payload(payload).finish().ok()
    }
}

const PAYLOAD_MARKER: u8 = 0xff;

impl Block {
    /// Its bytes.
    pub(super) fn len(self) -> usize {
        (self.body_bytes - self.offset).min(16 << self.szx) as usize
    }

    fn option(self) -> BlockOption {
        let number = self.offset >> (4 + self.szx);
        let is_more = self.offset + (16 << self.szx) < self.body_bytes;
        BlockOption { number, is_more, szx: self.szx }
    }

    /// What follows after the server's answer to this block: `Ok(None)` when it was the last, an
    /// error when the answer is about another block. A smaller size is taken up (RFC 7959 section
    /// 2.5).
    pub(super) fn next(self, answer: Option<u32>) -> Result<Option<Self>, ()> {
        let sent = self.option();
        if !sent.is_more {
            return Ok(None);
        }
        let answer = BlockOption::from_value(answer.ok_or(())?);
        // The number counts in the sender's size.
        if answer.number != sent.number || answer.szx > 6 {
            return Err(());
        }
        let offset = self.offset + (16 << self.szx);
        Ok(Some(Self { offset, szx: self.szx.min(answer.szx), body_bytes: self.body_bytes }))
    }
}

impl BlockOption {
    pub(super) fn value(self) -> u32 {
        self.number << 4 | u32::from(self.is_more) << 3 | u32::from(self.szx)
    }

    pub(super) fn from_value(value: u32) -> Self {
        Self { number: value >> 4, is_more: value & 8 != 0, szx: (value & 7) as u8 }
    }
}

/// What bodies are made of: printable, the same at the same place.
#[derive(Debug)]
pub(super) struct Filler(Vec<u8>);

/// Bodies repeat after that, bytes.
const PERIOD: usize = 4_096;

impl Filler {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut bytes: Vec<u8> = (0..PERIOD).map(|_| b'a' + dice.below(26) as u8).collect();
        bytes.extend_from_within(..2_048);
        Self(bytes)
    }

    /// `len` bytes of a body from `offset` on.
    pub(super) fn part(&self, offset: u32, len: usize) -> &[u8] {
        &self.0[offset as usize % PERIOD..][..len]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scenario::{Method, Payload};
    use tidegate_coap::message::Message;

    fn request(path: &str) -> Request {
        Request {
            path: path.to_owned(),
            payload_bytes: Payload::Between([3, 5]),
            content_format: Some(60),
            ..Request::default()
        }
    }

    fn written(template: &Template, number: u32, payload: &[u8], block: Option<Block>) -> Vec<u8> {
        let mut out = [0; 2_048];
        let token = Token::new(b"tok");
        let len = template.write(&mut out, 7, &token, number, payload, block).unwrap();
        assert_eq!(template.write(&mut out[..len - 1], 7, &token, number, payload, block), None);
        let _ = template.write(&mut out, 7, &token, number, payload, block);
        out[..len].to_vec()
    }

    #[test]
    fn fixed_and_numbered_paths_make_the_same_message() {
        let fixed = Template::new(&request("/a/7?x=1"));
        let numbered = Template::new(&request("/a/{n}?x=1"));
        assert!(fixed.options.is_some() && numbered.options.is_none());
        for payload in [&b""[..], b"body"] {
            let message = written(&fixed, 1, payload, None);
            assert_eq!(message, written(&numbered, 7, payload, None));
            let message = Message::parse(&message).unwrap();
            let path: Vec<_> = message.options.uri_path().flatten().collect();
            assert_eq!((message.code, message.mid, path), (Code::PUT, 7, vec!["a", "7"]));
            assert_eq!(message.options.content_format(), Some(60));
            assert_eq!(message.options.first(Number::URI_QUERY), Some(&b"x=1"[..]));
            assert_eq!((message.payload, message.token.as_bytes()), (payload, &b"tok"[..]));
        }
    }

    #[test]
    fn bodies_have_every_length_of_their_range_and_only_long_ones_go_in_blocks() {
        let blockwise = Request { block_bytes: 16, ..request("/") };
        let (template, mut dice) = (Template::new(&request("/")), Dice::new(3));
        let lengths: Vec<_> = (0..100).map(|_| template.body(&mut dice).0).collect();
        assert!((3..=5).all(|len| lengths.contains(&len)) && lengths.iter().all(|l| *l < 6));
        for (bytes, szx) in [(16, None), (17, Some(0))] {
            let payload_bytes = Payload::Fixed(bytes);
            let template = Template::new(&Request { payload_bytes, ..blockwise.clone() });
            assert_eq!(template.body(&mut dice), (bytes, szx));
        }
        let large = Request {
            block_bytes: 1_024,
            payload_bytes: Payload::Fixed(1_025),
            method: Method::Post,
            ..Request::default()
        };
        assert_eq!(Template::new(&large).body(&mut dice), (1_025, Some(6)));
    }

    /// RFC 7959 section 3.2, figure 9: block by block, each confirmed by 2.31.
    #[test]
    fn a_body_goes_block_by_block() {
        let template = Template::new(&Request { block_bytes: 16, ..request("/a") });
        let filler = Filler::new(1);
        let mut block = Block { offset: 0, szx: 0, body_bytes: 40 };
        let mut body = Vec::new();
        for (number, is_more) in [(0, true), (1, true), (2, false)] {
            let part = filler.part(block.offset, block.len());
            let message = written(&template, 0, part, Some(block));
            let message = Message::parse(&message).unwrap();
            let option = BlockOption::from_value(message.options.uint(Number::BLOCK1).unwrap());
            assert_eq!(option, BlockOption { number, is_more, szx: 0 });
            assert_eq!(message.options.uint(SIZE1), (number == 0).then_some(40));
            body.extend_from_slice(message.payload);
            match block.next(Some(option.value())).unwrap() {
                Some(next) => block = next,
                None => assert!(!is_more),
            }
        }
        assert_eq!(body, filler.part(0, 40));
    }

    /// RFC 7959 section 3.2, figure 10: the server wants smaller blocks.
    #[test]
    fn a_smaller_block_size_is_taken_up() {
        let block = Block { offset: 0, szx: 3, body_bytes: 400 };
        let smaller = BlockOption { number: 0, is_more: true, szx: 1 };
        let next = block.next(Some(smaller.value())).unwrap().unwrap();
        assert_eq!(next, Block { offset: 128, szx: 1, body_bytes: 400 });
        assert_eq!(next.option(), BlockOption { number: 4, is_more: true, szx: 1 });
        assert_eq!(block.next(None), Err(()), "2.31 without Block1");
        let another = BlockOption { number: 1, ..smaller };
        assert_eq!(block.next(Some(another.value())), Err(()));
    }
}
