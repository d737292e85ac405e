//! Which options does a message carry? A view over their encoded bytes (RFC 7252 section 3.1).

use core::fmt;

use super::{Format, Number};

/// The options of one message, checked to be well formed.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// *Invariant:* decodes to the end without fault.
    encoded: &'a [u8],
}

impl<'a> Options<'a> {
    /// No options.
    pub const NONE: Self = Self { encoded: &[] };

    /// Splits what follows the token into options and payload.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), OptionFault> {
        let mut rest = bytes;
        let mut number = 0;
        while let Some((&first, _)) = rest.split_first() {
            if first == PAYLOAD_MARKER {
                let encoded = &bytes[..bytes.len() - rest.len()];
                let payload = &rest[1..];
                if payload.is_empty() {
                    return Err(OptionFault::PayloadMissing);
                }
                return Ok((Self { encoded }, payload));
            }
            take_option(&mut rest, &mut number)?;
        }
        Ok((Self { encoded: bytes }, &[]))
    }

    /// Every option in order, unknown ones included.
    #[inline]
    pub fn iter(&self) -> Iter<'a> {
        Iter { rest: self.encoded, number: 0 }
    }

    /// The values of one option that have a length in its defined range. Supernumerary
    /// occurrences of a non-repeatable option are left out (RFC 7252 sections 5.4.3 and 5.4.5).
    pub fn all(&self, number: Number) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let definition = number.definition();
        let occurrences_max =
            if definition.is_none_or(|known| known.is_repeatable) { usize::MAX } else { 1 };
        self.iter()
            .skip_while(move |option| option.number < number)
            .take_while(move |option| option.number == number)
            .take(occurrences_max)
            .map(|option| option.value)
            .filter(move |value| definition.is_none_or(|known| known.allows_len(value.len())))
    }

    /// The first value of one option.
    pub fn first(&self, number: Number) -> Option<&'a [u8]> {
        self.all(number).next()
    }

    /// The value of an unsigned option, at most 4 bytes.
    pub fn uint(&self, number: Number) -> Option<u32> {
        debug_assert!(number.definition().is_none_or(|known| known.format == Format::Uint));
        uint(self.first(number)?)
    }

    /// Content-Format of the payload.
    pub fn content_format(&self) -> Option<u16> {
        self.uint(Number::CONTENT_FORMAT).map(|format| format as u16)
    }

    /// The format a requester accepts.
    pub fn accept(&self) -> Option<u16> {
        self.uint(Number::ACCEPT).map(|format| format as u16)
    }

    /// The segments of the path; `None` items are not UTF-8.
    pub fn uri_path(&self) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        self.all(Number::URI_PATH).map(|segment| core::str::from_utf8(segment).ok())
    }

    /// The arguments of the query; `None` items are not UTF-8.
    pub fn uri_query(&self) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        self.all(Number::URI_QUERY).map(|argument| core::str::from_utf8(argument).ok())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// The options as they stand in the message.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.encoded
    }
}

impl<'a> IntoIterator for &Options<'a> {
    type Item = Entry<'a>;
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|option| (option.number, option.value))).finish()
    }
}

/// One option of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Which option.
    pub number: Number,
    /// Its value; any length, whatever the registry says.
    pub value: &'a [u8],
}

/// Goes through the options of a message.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let value = take_option(&mut self.rest, &mut self.number);
        let value = value.expect("options were checked when the message was parsed");
        Some(Entry { number: Number(self.number), value })
    }
}

/// Why bytes are no list of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionFault {
    /// Ends within an option.
    Truncated,
    /// A delta or length nibble of 15 outside the payload marker.
    Reserved,
    /// The numbers add up to more than 65535.
    Number,
    /// A payload marker without payload.
    PayloadMissing,
}

/// An unsigned value of at most 4 bytes; leading zeros are accepted (RFC 7252 section 3.2).
pub fn uint(value: &[u8]) -> Option<u32> {
    let is_wide = value.len() > 4;
    (!is_wide).then(|| value.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
}

#[inline]
fn take_option<'a>(rest: &mut &'a [u8], number: &mut u16) -> Result<&'a [u8], OptionFault> {
    let &first = rest.split_off_first().ok_or(OptionFault::Truncated)?;
    let delta = take_extended(rest, first >> 4)?;
    let len = take_extended(rest, first & 15)?;
    let sum = u32::from(*number) + delta;
    *number = u16::try_from(sum).map_err(|_| OptionFault::Number)?;
    rest.split_off(..len as usize).ok_or(OptionFault::Truncated)
}

/// The number a nibble stands for, with its extension bytes.
#[inline]
fn take_extended(rest: &mut &[u8], nibble: u8) -> Result<u32, OptionFault> {
    match nibble {
        0..=12 => Ok(u32::from(nibble)),
        13 => {
            let &byte = rest.split_off_first().ok_or(OptionFault::Truncated)?;
            Ok(u32::from(byte) + EXTENDED_1)
        }
        14 => {
            let bytes = rest.split_off(..2).ok_or(OptionFault::Truncated)?;
            Ok(u32::from(bytes[0]) << 8 | u32::from(bytes[1])).map(|value| value + EXTENDED_2)
        }
        _ => Err(OptionFault::Reserved),
    }
}

/// Ends the options when a payload follows.
pub(crate) const PAYLOAD_MARKER: u8 = 0xff;
/// What a nibble of 13 adds to its extension byte.
pub(crate) const EXTENDED_1: u32 = 13;
/// What a nibble of 14 adds to its two extension bytes.
pub(crate) const EXTENDED_2: u32 = 269;
