//! How is a request written? What is the same for all devices once, the rest for each; bodies that
//! are too long in blocks (RFC 7959).

use tidegate_coap::block::{Block, BlockSize, Upload};
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
    /// Longer bodies go in blocks of this size.
    block: Option<BlockSize>,
}

/// Which parts of long bodies a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Of the request's body, and how long that is.
    pub(super) upload: Option<(Block, u32)>,
    /// Of the response's body.
    pub(super) wanted: Option<Block>,
}

impl Parts {
    /// Bodies that fit into one message.
    pub(super) const WHOLE: Self = Self { upload: None, wanted: None };
}

/// Size1 (RFC 7959 section 4).
const SIZE1: Number = Number(60);

impl Template {
    pub(super) fn new(request: &Request) -> Self {
        let mut template = Self {
            request: request.clone(),
            code: Code(request.method.code()),
            message_type: match request.message_type {
                scenario::Type::Con => Type::Con,
                scenario::Type::Non => Type::Non,
            },
            options: None,
            block: BlockSize::within(request.block_bytes.into()),
        };
        if !request.path.contains("{n}") {
            let mut message = [0; 2_048];
            let len = template.write(&mut message, 0, &Token::EMPTY, 0, &[], Parts::WHOLE);
            template.options = len.map(|len| message[4..len].to_vec());
        }
        template
    }

    /// How long the next body is, and how it goes up, if in blocks.
    pub(super) fn body(&self, dice: &mut Dice) -> (u32, Option<Upload>) {
        let [low, high] = self.request.payload_bytes.range();
        let bytes = if low == high { low } else { low + dice.below(high - low + 1) };
        let block = self.block.filter(|block| bytes as usize > block.bytes());
        (bytes, block.and_then(|block| Upload::new(bytes as usize, block)))
    }

    /// Writes the message; `None` when there is no room. `number` is the device's.
    pub(super) fn write(
        &self,
        out: &mut [u8],
        mid: u16,
        token: &Token,
        number: u32,
        payload: &[u8],
        parts: Parts,
    ) -> Option<usize> {
        let (ty, code) = (self.message_type, self.code);
        if let Some(options) = self.options.as_ref().filter(|_| parts == Parts::WHOLE) {
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
        if let Some(block) = parts.wanted {
            writer.option_uint(Number::BLOCK2, block.value());
        }
        if let Some((block, body_bytes)) = parts.upload {
            writer.option_uint(Number::BLOCK1, block.value());
            if block.number() == 0 {
                writer.option_uint(SIZE1, body_bytes);
            }
        }
        writer.payload(payload).finish().ok()
    }
}

const PAYLOAD_MARKER: u8 = 0xff;

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
    use crate::scenario::Payload;
    use tidegate_coap::message::Message;

    fn request(path: &str) -> Request {
        Request {
            path: path.to_owned(),
            payload_bytes: Payload::Between([3, 5]),
            content_format: Some(60),
            ..Request::default()
        }
    }

    fn written(template: &Template, number: u32, payload: &[u8], parts: Parts) -> Vec<u8> {
        let mut out = [0; 2_048];
        let token = Token::new(b"tok");
        let len = template.write(&mut out, 7, &token, number, payload, parts).unwrap();
        let mut short = vec![0; len - 1];
        assert_eq!(template.write(&mut short, 7, &token, number, payload, parts), None);
        out[..len].to_vec()
    }

    #[test]
    fn fixed_and_numbered_paths_make_the_same_message() {
        let fixed = Template::new(&request("/a/7?x=1"));
        let numbered = Template::new(&request("/a/{n}?x=1"));
        assert!(fixed.options.is_some() && numbered.options.is_none());
        for payload in [&b""[..], b"body"] {
            let message = written(&fixed, 1, payload, Parts::WHOLE);
            assert_eq!(message, written(&numbered, 7, payload, Parts::WHOLE));
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
        for (bytes, blocks) in [(16, None), (17, Some(2))] {
            let payload_bytes = Payload::Fixed(bytes);
            let template = Template::new(&Request { payload_bytes, ..blockwise.clone() });
            let (len, upload) = template.body(&mut dice);
            assert_eq!(len, bytes);
            let more = upload.map(|upload| upload.block().more);
            assert_eq!(more, blocks.map(|blocks| blocks > 1));
        }
    }

    /// RFC 7959 section 2.2 and 4: each block says its number, the first one how much there is.
    #[test]
    fn a_body_goes_block_by_block() {
        let template = Template::new(&Request {
            block_bytes: 16,
            payload_bytes: Payload::Fixed(40),
            ..request("/a")
        });
        let filler = Filler::new(1);
        let (body_bytes, upload) = template.body(&mut Dice::new(1));
        let (mut upload, mut body) = (upload.unwrap(), Vec::new());
        for (number, is_more) in [(0, true), (1, true), (2, false)] {
            let range = upload.range();
            let part = filler.part(range.start as u32, range.len());
            let parts = Parts { upload: Some((upload.block(), body_bytes)), ..Parts::WHOLE };
            let message = written(&template, 0, part, parts);
            let message = Message::parse(&message).unwrap();
            let block = Block::of(&message.options, Number::BLOCK1).unwrap();
            assert_eq!((block.number(), block.more), (number, is_more));
            assert_eq!(message.options.uint(SIZE1), (number == 0).then_some(40));
            body.extend_from_slice(message.payload);
            upload.on_response(Code::CONTINUE, Some(block));
        }
        assert_eq!(body, filler.part(0, 40));
    }
}
