//! What of a request goes next, and what has come of its response? Long bodies go and come block by
//! block (RFC 7959), each block by a message of its own.

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type};
use tidegate_coap::option::Number;

use crate::story::message;

/// A request of the device's, from its first message to the end of its response.
pub(super) struct Request {
    pub(super) serial: u32,
    pub(super) method: Code,
    pub(super) ty: Type,
    /// It observes what the edge has for the device.
    pub(super) is_watch: bool,
    body: Vec<u8>,
    /// SZX: blocks are of 16 << szx bytes.
    szx: u32,
    /// Where the block begins that goes next.
    from: usize,
    /// What has come of a long response, and which body that is.
    read: Vec<u8>,
    tag: Option<Vec<u8>>,
    is_reading: bool,
    /// Of the first block: it is observed, and this is the version that is read.
    pub(super) version: Option<u32>,
    observed: Option<Token>,
    /// What says that it is of now (RFC 9175), once the edge has asked for it.
    pub(super) echo: Option<Vec<u8>>,
    /// How often it was asked.
    challenges: u8,
    /// Messages so far.
    messages: u16,
    /// How often the body went again from its beginning.
    restarts: u8,
}

/// What follows a response.
pub(super) enum Follows {
    /// The next message of the request.
    Message,
    /// That was the response.
    End(Code, Vec<u8>),
    /// Nothing: it belongs to a block that is done with.
    Nothing,
    /// The response can't be had any more.
    Loss,
}

/// Longer bodies go block by block, bytes.
pub(super) const MESSAGE_BODY_BYTES: usize = 700;
/// How often a request may have to say that it is of now.
const CHALLENGES_MAX: u8 = 3;
/// How often a body goes again from its beginning.
const RESTARTS_MAX: u8 = 3;

impl Request {
    pub(super) fn new(serial: u32, method: u8, confirmable: bool, body: String, szx: u32) -> Self {
        let is_long = body.len() > MESSAGE_BODY_BYTES;
        Self {
            serial,
            method: method_for(method, is_long),
            ty: if confirmable || is_long { Type::Con } else { Type::Non },
            is_watch: false,
            body: body.into_bytes(),
            szx,
            from: 0,
            read: Vec::new(),
            tag: None,
            is_reading: false,
            version: None,
            observed: None,
            echo: None,
            challenges: 0,
            messages: 0,
            restarts: 0,
        }
    }

    /// A GET with Observe of what the edge has.
    pub(super) fn watch(serial: u32, szx: u32) -> Self {
        let get = Self::new(serial, Code::GET.0, true, String::new(), szx);
        Self { is_watch: true, ..get }
    }

    /// By what it is observed from now on, and the version that is read.
    pub(super) fn take_observed(&mut self) -> Option<(Token, u32)> {
        Some((self.observed.take()?, self.version?))
    }

    fn is_long(&self) -> bool {
        self.body.len() > MESSAGE_BODY_BYTES
    }

    /// Whether this message answers the request whole, and not a part of it: such an answer counts
    /// although it comes late.
    pub(super) fn is_whole(response: &Message<'_>) -> bool {
        let is_part = [Code::CONTINUE, Code::REQUEST_ENTITY_INCOMPLETE].contains(&response.code);
        let is_block = |number| response.options.first(number).is_some();
        !is_part && !is_block(Number::BLOCK2) && !is_block(Number::Q_BLOCK2)
    }

    /// The token of the newest message: each has one of its own.
    pub(super) fn token(&self) -> Token {
        let [a, b, c, d] = self.serial.to_be_bytes();
        let [high, low] = self.messages.to_be_bytes();
        Token::new(&[a, b, c, d, high, low])
    }

    /// Writes the next message.
    pub(super) fn write(&mut self, mid: u16) -> Vec<u8> {
        self.messages += 1;
        let size = 16 << self.szx;
        let end = self.body.len().min(self.from + size);
        let block1 = block(self.from, end < self.body.len(), self.szx);
        message(self.ty, self.method, mid, &self.token(), |writer| {
            if self.is_watch && !self.is_reading {
                writer.option_uint(Number::OBSERVE, 0);
            }
            writer.option(Number::URI_PATH, if self.is_watch { b"c" } else { b"t" });
            if self.is_reading {
                writer.option_uint(Number::BLOCK2, block(self.read.len(), false, self.szx));
            } else if self.is_long() {
                writer.option_uint(Number::BLOCK1, block1);
                if self.from == 0 {
                    writer.option_uint(Number::SIZE1, self.body.len() as u32);
                }
            }
            if let Some(echo) = &self.echo {
                writer.option(Number::ECHO, echo);
            }
            if self.is_long() {
                writer.option(Number::REQUEST_TAG, &self.serial.to_be_bytes());
            }
            if self.is_long() && !self.is_reading {
                writer.payload(&self.body[self.from..end]);
            } else if !self.is_reading || self.method == Code::GET {
                // Who asks a second time asks the same.
                writer.payload(&self.body);
            }
        })
    }

    /// A response to the newest message.
    pub(super) fn on_response(&mut self, response: &Message<'_>) -> Follows {
        let asked = response.options.first(Number::ECHO);
        if let Some(echo) = asked.filter(|_| self.challenges < CHALLENGES_MAX)
            && response.code == Code::UNAUTHORIZED
        {
            self.echo = Some(echo.to_vec());
            self.challenges += 1;
            return Follows::Message;
        }
        match response.code {
            Code::CONTINUE if self.is_long() && !self.is_reading => self.goes_on(response),
            Code::REQUEST_ENTITY_INCOMPLETE
                if self.is_long() && !self.is_reading && self.restarts < RESTARTS_MAX =>
            {
                self.restarts += 1;
                self.from = 0;
                Follows::Message
            }
            code if code.is_success() => self.reads(response),
            code => Follows::End(code, response.payload.to_vec()),
        }
    }

    /// A block has arrived: the next one goes, as large as the edge wants it.
    fn goes_on(&mut self, response: &Message<'_>) -> Follows {
        let Some(value) = response.options.uint(Number::BLOCK1) else {
            return Follows::End(response.code, Vec::new());
        };
        let size = 16 << self.szx;
        if (value >> 4) as usize != self.from / size {
            return Follows::Nothing;
        }
        self.from += size;
        self.szx = self.szx.min(value & 7);
        if self.from >= self.body.len() {
            return Follows::End(response.code, Vec::new());
        }
        Follows::Message
    }

    /// A response, or the first or next block of one.
    fn reads(&mut self, response: &Message<'_>) -> Follows {
        if !self.is_reading {
            self.version = response.options.uint(Number::OBSERVE);
            self.observed = self.version.map(|_| response.token);
        }
        let Some(value) = response.options.uint(Number::BLOCK2) else {
            return Follows::End(response.code, response.payload.to_vec());
        };
        let (number, more, szx) = ((value >> 4) as usize, value & 8 != 0, value & 7);
        if number << (szx + 4) != self.read.len() {
            return Follows::Nothing;
        }
        let tag = response.options.first(Number::ETAG).map(<[u8]>::to_vec);
        if number > 0 && tag != self.tag {
            return Follows::Loss;
        }
        (self.tag, self.szx, self.is_reading) = (tag, szx, true);
        self.read.extend_from_slice(response.payload);
        if more {
            return Follows::Message;
        }
        Follows::End(response.code, std::mem::take(&mut self.read))
    }
}

/// A CoAP method, or the one next to it that may have a long body.
pub(super) fn method_for(method: u8, is_long: bool) -> Code {
    match Code(method) {
        Code::GET if is_long => Code::POST,
        Code::DELETE if is_long => Code::PUT,
        method => method,
    }
}

/// The value of a Block option (section 2.2): the block that begins at this byte.
pub(super) fn block(from: usize, more: bool, szx: u32) -> u32 {
    ((from >> (szx + 4)) as u32) << 4 | u32::from(more) << 3 | szx
}
