//! Does the client want to hear of it? The No-Response option (RFC 7967 section 2).

use crate::code::Code;
use crate::option::Number;
use crate::option::list::Options;

/// The classes of responses that a client does not want. A CON is acknowledged all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwanted(u8);

impl Unwanted {
    /// What the options of a request say; without the option, or with a longer value than it can
    /// have, everything is wanted.
    #[inline]
    pub fn of(options: &Options<'_>) -> Self {
        Self(options.uint(Number::NO_RESPONSE).map_or(0, |bits| bits as u8))
    }

    /// Whether a response of this code stays unsaid. A 2.31 never does: without it the client can't
    /// go on with its body.
    #[inline]
    pub fn covers(self, code: Code) -> bool {
        self.0 != 0 && code != Code::CONTINUE && self.0 >> (code.class().max(1) - 1) & 1 != 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::message::{Message, Token, Type, Writer};

    fn unwanted(value: Option<&[u8]>) -> Unwanted {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer, Type::Con, Code::PUT, 1, &Token::EMPTY);
        if let Some(value) = value {
            writer.option(Number::NO_RESPONSE, value);
        }
        let len = writer.finish().unwrap();
        Unwanted::of(&Message::parse(&buffer[..len]).unwrap().options)
    }

    /// Table 2: each bit is a class, and only that.
    #[test]
    fn each_bit_is_a_class() {
        let codes = [Code::CHANGED, Code::NOT_FOUND, Code::SERVICE_UNAVAILABLE];
        for (value, expected) in [
            (0, [false, false, false]),
            (2, [true, false, false]),
            (8, [false, true, false]),
            (16, [false, false, true]),
            (18, [true, false, true]),
            (26, [true, true, true]),
            (0xe5, [false, false, false]),
        ] {
            let unwanted = unwanted(Some(&[value]));
            assert_eq!(codes.map(|code| unwanted.covers(code)), expected, "{value}");
        }
    }

    #[test]
    fn without_a_value_of_the_right_length_everything_is_wanted() {
        for value in [None, Some(&b""[..]), Some(&[0x1a, 0x1a])] {
            assert_eq!(unwanted(value), Unwanted::default(), "{value:?}");
        }
    }

    #[test]
    fn a_body_can_always_go_on() {
        assert!(!unwanted(Some(&[26])).covers(Code::CONTINUE));
    }
}
