//! May this request be served? What RFC 7252 lets a server refuse before it looks at its own
//! resources: methods, critical options, proxying, paths.

use crate::code::Code;
use crate::message::{Message, Type};
use crate::option::list::Entry;
use crate::option::{self, Number, Understood};

/// Judges a request of a message that triage called one.
#[inline]
pub fn admit(request: &Message<'_>, understood: Understood) -> Admission {
    // An option that is not recognised weighs more than what is wrong with the others, so the walk
    // goes to the end.
    let (mut previous, mut at_fault, mut blocks) = (None, None, Blocks::default());
    for entry in &request.options {
        let is_first = previous != Some(entry.number);
        if option::is_unrecognised(&entry, previous.replace(entry.number), understood) {
            return if request.ty == Type::Con {
                Admission::Refuse { code: Code::BAD_OPTION, option: Some(entry.number) }
            } else {
                Admission::Reject
            };
        }
        at_fault = at_fault.or_else(|| Some((fault(&entry, is_first)?, entry.number)));
        blocks.see(entry.number);
    }
    if !request.code.is_known_method() {
        return Admission::Refuse { code: Code::METHOD_NOT_ALLOWED, option: None };
    }
    match at_fault.or_else(|| blocks.fault()) {
        Some((code, option)) => Admission::Refuse { code, option: Some(option) },
        None => Admission::Serve,
    }
}

/// The code that refuses an option for what it says. `is_first`: of its number, the only one that
/// counts where an option is not repeatable.
#[inline]
fn fault(option: &Entry<'_>, is_first: bool) -> Option<Code> {
    match option.number {
        // RFC 8768 section 3: 1 to 255. The edge is where a request ends, so it counts no further.
        Number::HOP_LIMIT if is_first && !is_hop_limit(option.value) => Some(Code::BAD_REQUEST),
        Number::PROXY_URI | Number::PROXY_SCHEME => Some(Code::PROXYING_NOT_SUPPORTED),
        Number::URI_PATH if matches!(option.value, b"." | b"..") => Some(Code::BAD_REQUEST),
        Number::URI_HOST | Number::URI_PATH | Number::URI_QUERY
            if core::str::from_utf8(option.value).is_err() =>
        {
            Some(Code::BAD_REQUEST)
        }
        _ => None,
    }
}

/// Which options about blocks there are.
#[derive(Default)]
struct Blocks {
    has_block: bool,
    quick: Option<Number>,
    has_q_block1: bool,
    has_size1: bool,
    has_tag: bool,
}

impl Blocks {
    #[inline]
    fn see(&mut self, number: Number) {
        match number {
            Number::BLOCK1 | Number::BLOCK2 => self.has_block = true,
            Number::Q_BLOCK1 => (self.quick, self.has_q_block1) = (Some(number), true),
            Number::Q_BLOCK2 => self.quick = self.quick.or(Some(number)),
            Number::SIZE1 => self.has_size1 = true,
            Number::REQUEST_TAG => self.has_tag = true,
            _ => {}
        }
    }

    /// RFC 9177 section 4.1: no mix of both kinds in one message; section 4.3: Q-Block1 comes with
    /// Request-Tag and Size1.
    #[inline]
    fn fault(&self) -> Option<(Code, Number)> {
        let quick = self.quick?;
        if self.has_block {
            return Some((Code::BAD_OPTION, quick));
        }
        let is_alone = self.has_q_block1 && !(self.has_size1 && self.has_tag);
        is_alone.then_some((Code::BAD_REQUEST, quick))
    }
}

/// A number from 1 to 255, whatever zeros stand before it.
fn is_hop_limit(value: &[u8]) -> bool {
    match value {
        [zeros @ .., limit] => *limit > 0 && zeros.iter().all(|byte| *byte == 0),
        [] => false,
    }
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Serve it.
    Serve,
    /// Answer with an error, and nothing else.
    Refuse {
        /// 4.00, 4.02, 4.05 or 5.05.
        code: Code,
        /// The option that is to blame, for the diagnostic payload.
        option: Option<Number>,
    },
    /// Ignore it silently: a Non-confirmable message with an unrecognised critical option is not
    /// answered (section 5.4.1).
    Reject,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::message::{Token, Writer};

    fn judge(ty: Type, code: Code, options: &[(Number, &[u8])]) -> Admission {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, ty, code, 1, &Token::EMPTY);
        for (number, value) in options {
            writer.option(*number, value);
        }
        let len = writer.finish().unwrap();
        admit(&Message::parse(&buffer[..len]).unwrap(), Understood::EDGE_REQUEST)
    }

    fn refused(code: Code, option: Number) -> Admission {
        Admission::Refuse { code, option: Some(option) }
    }

    #[test]
    fn known_methods_are_served_and_others_not_allowed() {
        for detail in 1..=31 {
            let expected = if detail <= 7 {
                Admission::Serve
            } else {
                Admission::Refuse { code: Code::METHOD_NOT_ALLOWED, option: None }
            };
            assert_eq!(judge(Type::Con, Code::new(0, detail), &[]), expected, "0.{detail:02}");
        }
    }

    #[test]
    fn an_unrecognised_critical_option_is_named_or_met_with_silence() {
        let oscore = [(Number::OSCORE, &b""[..])];
        let refusal = refused(Code::BAD_OPTION, Number::OSCORE);
        assert_eq!(judge(Type::Con, Code::PUT, &oscore), refusal);
        assert_eq!(judge(Type::Non, Code::PUT, &oscore), Admission::Reject);
        assert_eq!(judge(Type::Ack, Code::GET, &oscore), Admission::Reject);
    }

    #[test]
    fn the_edge_is_no_forward_proxy() {
        for number in [Number::PROXY_URI, Number::PROXY_SCHEME] {
            let refusal = refused(Code::PROXYING_NOT_SUPPORTED, number);
            assert_eq!(judge(Type::Con, Code::GET, &[(number, b"coap")]), refusal);
            assert_eq!(judge(Type::Non, Code::GET, &[(number, b"coap")]), refusal);
        }
    }

    /// RFC 8768 section 3: nothing below 1 or above 255; a second one does not count.
    #[test]
    fn a_hop_limit_has_a_byte_that_is_not_zero() {
        let hop = |values: &[&'static [u8]]| {
            let options: Vec<_> = values.iter().map(|value| (Number::HOP_LIMIT, *value)).collect();
            judge(Type::Con, Code::PUT, &options)
        };
        for good in [&b"\x01"[..], b"\xff", b"\x00\x10"] {
            assert_eq!(hop(&[good]), Admission::Serve, "{good:?}");
        }
        for bad in [&b""[..], b"\x00", b"\x01\x00", b"\x01\x01"] {
            assert_eq!(hop(&[bad]), refused(Code::BAD_REQUEST, Number::HOP_LIMIT), "{bad:?}");
        }
        assert_eq!(hop(&[b"\x01", b"\x00"]), Admission::Serve);
    }

    /// RFC 9177 sections 4.1 and 4.3; where Q-Block is not served it is no option at all.
    #[test]
    fn q_block_comes_with_its_company_and_without_block() {
        let [tag, size1] = [(Number::REQUEST_TAG, &b"t"[..]), (Number::SIZE1, &b"\x20"[..])];
        let [q1, q2] = [(Number::Q_BLOCK1, &b"\x0e"[..]), (Number::Q_BLOCK2, &b"\x0e"[..])];
        let [b1, b2] = [(Number::BLOCK1, &b"\x0e"[..]), (Number::BLOCK2, &b"\x0e"[..])];
        for ty in [Type::Con, Type::Non] {
            let judge = |options: &[(Number, &[u8])]| judge(ty, Code::PUT, options);
            assert_eq!(judge(&[q1, size1, tag]), Admission::Serve);
            assert_eq!(judge(&[q1, q2, size1, tag]), Admission::Serve);
            assert_eq!(judge(&[q2, q2]), Admission::Serve);
            for alone in [&[q1][..], &[q1, size1], &[q1, tag]] {
                assert_eq!(judge(alone), refused(Code::BAD_REQUEST, Number::Q_BLOCK1));
            }
            for (mix, named) in [
                (&[q1, b1, size1, tag][..], Number::Q_BLOCK1),
                (&[q1, b2, size1, tag], Number::Q_BLOCK1),
                (&[b2, q2], Number::Q_BLOCK2),
                (&[b1, q2], Number::Q_BLOCK2),
            ] {
                assert_eq!(judge(mix), refused(Code::BAD_OPTION, named));
            }
        }
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer, Type::Con, Code::PUT, 1, &Token::EMPTY);
        writer.option_uint(Number::Q_BLOCK2, 14);
        let len = writer.finish().unwrap();
        let request = Message::parse(&buffer[..len]).unwrap();
        let plain = admit(&request, Understood::PLAIN_REQUEST);
        assert_eq!(plain, refused(Code::BAD_OPTION, Number::Q_BLOCK2));
    }

    #[test]
    fn paths_are_utf_8_without_dot_segments() {
        let path = |segment| judge(Type::Con, Code::PUT, &[(Number::URI_PATH, segment)]);
        for good in [&b""[..], b"...", b".d", "\u{3053}".as_bytes()] {
            assert_eq!(path(good), Admission::Serve, "{good:?}");
        }
        for bad in [&b"."[..], b"..", b"\xff", b"\xe3\x81"] {
            assert_eq!(path(bad), refused(Code::BAD_REQUEST, Number::URI_PATH), "{bad:?}");
        }
        let bad_query = [(Number::URI_QUERY, &b"\xc0\x80"[..])];
        let refusal = refused(Code::BAD_REQUEST, Number::URI_QUERY);
        assert_eq!(judge(Type::Con, Code::GET, &bad_query), refusal);
    }
}
