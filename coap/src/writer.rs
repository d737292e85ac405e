//! How does a message become bytes? Writes into a lent buffer, options in ascending order.
//!
//! A buffer that is too small is remembered and told once, by [`Writer::finish`]; a wrong order is
//! our own bug and panics.

use core::fmt;

use crate::code::Code;
use crate::message::{HEADER_BYTES, TOKEN_BYTES_MAX, Token, Type, VERSION};
use crate::option::Number;
use crate::option::list::{EXTENDED_1, EXTENDED_2, Options, PAYLOAD_MARKER};

const EXTENDED_TOKEN_FROM: usize = 13;
const _: () = assert!(TOKEN_BYTES_MAX < 269, "two bytes of length are never needed");

/// Writes one message.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    /// Bytes written.
    len: usize,
    /// Number of the last option.
    number: u16,
    stage: Stage,
}

impl<'b> Writer<'b> {
    /// Starts a message in `buffer`.
    #[inline]
    pub fn new(buffer: &'b mut [u8], ty: Type, code: Code, mid: u16, token: &Token) -> Self {
        let mut writer = Self { buffer, len: 0, number: 0, stage: Stage::Options };
        let token = token.as_bytes();
        let [mid_high, mid_low] = mid.to_be_bytes();
        // RFC 8974 section 2.1: from 13 on the length has a byte of its own.
        let nibble = token.len().min(EXTENDED_TOKEN_FROM) as u8;
        let first = VERSION << 6 | (ty as u8) << 4 | nibble;
        let header: [u8; HEADER_BYTES] = [first, code.0, mid_high, mid_low];
        writer.put(&header);
        if let Some(extended) = token.len().checked_sub(EXTENDED_TOKEN_FROM) {
            writer.put(&[extended as u8]);
        }
        writer.put(token);
        writer
    }

    /// Adds an option whose number is not below the last one's.
    pub fn option(&mut self, number: Number, value: &[u8]) -> &mut Self {
        assert!(self.stage != Stage::Payload, "options stand before the payload");
        assert!(number.0 >= self.number, "options are written in ascending order");
        let (delta, delta_bytes, delta_len) = extend(u32::from(number.0 - self.number));
        let Ok(value_len) = u16::try_from(value.len()) else {
            self.stage = Stage::Full;
            return self;
        };
        let (len, len_bytes, len_len) = extend(u32::from(value_len));
        self.number = number.0;
        self.put(&[delta << 4 | len]);
        self.put(&delta_bytes[..delta_len]);
        self.put(&len_bytes[..len_len]);
        self.put(value);
        self
    }

    /// Adds an unsigned option in its shortest form (RFC 7252 section 3.2).
    pub fn option_uint(&mut self, number: Number, value: u32) -> &mut Self {
        let zeros = value.leading_zeros() as usize / 8;
        self.option(number, &value.to_be_bytes()[zeros..])
    }

    /// Adds all options of another message.
    pub fn options(&mut self, options: &Options<'_>) -> &mut Self {
        for option in options {
            self.option(option.number, option.value);
        }
        self
    }

    /// Ends the message with a payload; an empty one writes nothing.
    pub fn payload(&mut self, payload: &[u8]) -> &mut Self {
        assert!(self.stage != Stage::Payload, "a message has one payload");
        if !payload.is_empty() {
            self.put(&[PAYLOAD_MARKER]);
            self.put(payload);
            self.end_options();
        }
        self
    }

    /// Ends the message with a diagnostic payload (RFC 7252 section 5.5.2).
    pub fn diagnostic(&mut self, text: fmt::Arguments<'_>) -> &mut Self {
        assert!(self.stage != Stage::Payload, "a message has one payload");
        self.put(&[PAYLOAD_MARKER]);
        let before = self.len;
        let _full_is_remembered = fmt::Write::write_fmt(&mut Text(self), text);
        if self.len == before && self.stage != Stage::Full {
            self.len -= 1;
        }
        self.end_options();
        self
    }

    /// Length of the message, bytes.
    #[inline]
    pub fn finish(&self) -> Result<usize, WriteError> {
        if self.stage == Stage::Full { Err(WriteError::Full) } else { Ok(self.len) }
    }

    #[inline]
    fn end_options(&mut self) {
        if self.stage == Stage::Options {
            self.stage = Stage::Payload;
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if self.stage == Stage::Full {
            return;
        }
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.stage = Stage::Full,
        }
    }
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It does not fit into the buffer.
    Full,
}

/// The payload, as text goes into it.
struct Text<'w, 'b>(&'w mut Writer<'b>);

impl fmt::Write for Text<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.put(text.as_bytes());
        if self.0.stage == Stage::Full { Err(fmt::Error) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Options,
    Payload,
    Full,
}

/// A delta or length as its nibble and extension bytes.
fn extend(value: u32) -> (u8, [u8; 2], usize) {
    if value < EXTENDED_1 {
        (value as u8, [0; 2], 0)
    } else if value < EXTENDED_2 {
        (13, [(value - EXTENDED_1) as u8, 0], 1)
    } else {
        (14, ((value - EXTENDED_2) as u16).to_be_bytes(), 2)
    }
}
