//! What is an option, and may a message carry it? The registry (RFC 7252 section 12.2 and the
//! RFCs that added to it) and the rules for options a receiver does not recognise.

pub mod list;
mod registry;

use core::fmt;

use list::{Entry, Options};
pub use registry::{DEFINITIONS, Definition, Format};

/// An option number. Its lowest bits say how to treat it when it is unknown (section 5.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(pub u16);

impl Number {
    /// Odd: a receiver that does not recognise it must refuse the message.
    pub const fn is_critical(self) -> bool {
        self.0 & 1 != 0
    }

    /// A proxy that does not recognise it must not forward it.
    pub const fn is_unsafe(self) -> bool {
        self.0 & 2 != 0
    }

    /// Safe to forward and no part of the cache key.
    pub const fn is_no_cache_key(self) -> bool {
        self.0 & 0x1e == 0x1c
    }

    /// What the registry says; `None` for an unregistered number.
    #[inline]
    pub fn definition(self) -> Option<&'static Definition> {
        let index = match registry::LOW_NUMBERS.get(usize::from(self.0)) {
            Some(&index) => usize::from(index),
            None => DEFINITIONS.binary_search_by_key(&self, |known| known.number).ok()?,
        };
        DEFINITIONS.get(index)
    }

    /// The registered name, such as `Uri-Path`.
    pub fn name(self) -> Option<&'static str> {
        self.definition().map(|known| known.name)
    }
}

/// `Uri-Path`, or `option 9999` without a name.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "option {}", self.0),
        }
    }
}

/// The critical options that a receiver implements for one kind of message. Elective ones need no
/// list: those not implemented are ignored.
#[derive(Clone, Copy, Debug)]
pub struct Understood {
    numbers: &'static [Number],
    /// Bit `n`: option `n` is among them. *Why:* nearly all are below 64.
    low: u64,
}

impl Understood {
    /// No critical option: right for responses, for which RFC 7252 defines none.
    pub const NONE: Self = Self::new(&[]);
    /// What the edge reads in a response.
    pub const RESPONSE: Self = Self::new(&[Number::BLOCK2, Number::BLOCK1]);
    /// What the edge reads in a request of a device that it trusts. Proxy-Uri and Proxy-Scheme are
    /// here to be answered 5.05.
    pub const EDGE_REQUEST: Self = Self::new(&[
        Number::IF_MATCH,
        Number::IF_NONE_MATCH,
        Number::URI_HOST,
        Number::URI_PORT,
        Number::URI_PATH,
        Number::URI_QUERY,
        Number::ACCEPT,
        Number::Q_BLOCK1,
        Number::BLOCK2,
        Number::BLOCK1,
        Number::Q_BLOCK2,
        Number::PROXY_URI,
        Number::PROXY_SCHEME,
    ]);
    /// The same without security. *Why without Q-Block:* RFC 9177 section 11 advises against it;
    /// one small datagram from a forged address would cause a burst to it.
    pub const PLAIN_REQUEST: Self = Self::new(&[
        Number::IF_MATCH,
        Number::IF_NONE_MATCH,
        Number::URI_HOST,
        Number::URI_PORT,
        Number::URI_PATH,
        Number::URI_QUERY,
        Number::ACCEPT,
        Number::BLOCK2,
        Number::BLOCK1,
        Number::PROXY_URI,
        Number::PROXY_SCHEME,
    ]);

    /// A list of critical option numbers.
    pub const fn new(numbers: &'static [Number]) -> Self {
        let (mut low, mut at) = (0, 0);
        while at < numbers.len() {
            low |= bit(numbers[at]);
            at += 1;
        }
        Self { numbers, low }
    }

    #[inline]
    fn contains(self, number: Number) -> bool {
        if number.0 < 64 { self.low & bit(number) != 0 } else { self.numbers.contains(&number) }
    }
}

/// The bit of a number below 64; of another one, none.
const fn bit(number: Number) -> u64 {
    if number.0 < 64 { 1 << number.0 } else { 0 }
}

/// The first critical option that must be treated as unrecognised: not in `understood`, of a
/// length outside its range (section 5.4.3), or a repetition of one that is not repeatable (5.4.5).
pub fn first_unrecognised(options: &Options<'_>, understood: Understood) -> Option<Number> {
    let mut previous = None;
    let mut options = options.iter();
    let found =
        options.find(|option| is_unrecognised(option, previous.replace(option.number), understood));
    found.map(|option| option.number)
}

/// The same of one option; `previous` is the number of the option before it.
#[inline]
pub(crate) fn is_unrecognised(
    option: &Entry<'_>,
    previous: Option<Number>,
    understood: Understood,
) -> bool {
    let Entry { number, value } = *option;
    if !number.is_critical() {
        return false;
    }
    let is_repeated = previous == Some(number);
    !understood.contains(number)
        || number.definition().is_some_and(|known| {
            !known.allows_len(value.len()) || (is_repeated && !known.is_repeatable)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C, U, N and R columns of RFC 7252 table 4 and of the RFCs that added options.
    #[test]
    fn numbers_say_how_to_treat_an_option() {
        let columns = |number: Number| {
            let known = DEFINITIONS.iter().find(|known| known.number == number);
            let mark = |is, letter| if is { letter } else { '-' };
            [
                mark(number.is_critical(), 'C'),
                mark(number.is_unsafe(), 'U'),
                mark(number.is_no_cache_key() && !number.is_unsafe(), 'N'),
                mark(known.is_some_and(|known| known.is_repeatable), 'R'),
            ]
            .iter()
            .collect::<String>()
        };
        let table = [
            (1, "C--R"),
            (3, "CU--"),
            (4, "---R"),
            (5, "C---"),
            (6, "-U--"),
            (7, "CU--"),
            (8, "---R"),
            (9, "C---"),
            (11, "CU-R"),
            (12, "----"),
            (14, "-U--"),
            (15, "CU-R"),
            (16, "----"),
            (17, "C---"),
            (19, "CU--"),
            (20, "---R"),
            (21, "C---"),
            (23, "CU--"),
            (27, "CU--"),
            (28, "--N-"),
            (31, "CU-R"),
            (35, "CU--"),
            (39, "CU--"),
            (60, "--N-"),
            (252, "--N-"),
            (258, "-U--"),
            (292, "---R"),
        ];
        for (number, expected) in table {
            assert_eq!(columns(Number(number)), expected, "{number}");
        }
        assert_eq!(DEFINITIONS.len(), table.len());
        assert!(DEFINITIONS.is_sorted_by_key(|known| known.number), "the search needs it");
        let found = |number| Number(number).definition().map(|known| known.number.0);
        for number in 0..=u16::MAX {
            let is_listed = table.iter().any(|(listed, _)| *listed == number);
            assert_eq!(found(number), is_listed.then_some(number));
        }
    }

    #[test]
    fn names_are_those_of_the_registry() {
        assert_eq!(Number::URI_PATH.to_string(), "Uri-Path");
        assert_eq!(Number(9_999).to_string(), "option 9999");
    }

    /// Encodes `(number, length)` pairs and judges them.
    fn judge(options: &[(u16, usize)], understood: Understood) -> Option<Number> {
        let mut buffer = [0; 4_096];
        let (ty, code) = (crate::message::Type::Con, crate::code::Code::GET);
        let token = crate::message::Token::EMPTY;
        let mut writer = crate::writer::Writer::new(&mut buffer, ty, code, 1, &token);
        for &(number, len) in options {
            writer.option(Number(number), &[b'a'; 2_048][..len]);
        }
        let len = writer.finish().unwrap_or(0);
        let (options, _) = Options::parse(&buffer[4..len]).unwrap_or_default();
        first_unrecognised(&options, understood)
    }

    /// Every critical option the edge understands, at both ends of its length and one beyond.
    #[test]
    fn lengths_outside_the_range_count_as_unrecognised() {
        let edge = Understood::EDGE_REQUEST;
        for number in edge.numbers {
            let Some(known) = number.definition() else { panic!("{number} has a definition") };
            let (min, max) = (usize::from(known.len_min), usize::from(known.len_max));
            assert_eq!(judge(&[(number.0, min)], edge), None, "{number}");
            assert_eq!(judge(&[(number.0, max)], edge), None, "{number}");
            assert_eq!(judge(&[(number.0, max + 1)], edge), Some(*number), "{number}");
            if min > 0 {
                assert_eq!(judge(&[(number.0, min - 1)], edge), Some(*number), "{number}");
            }
        }
    }

    #[test]
    fn supernumerary_critical_options_count_as_unrecognised() {
        let edge = Understood::EDGE_REQUEST;
        assert_eq!(judge(&[(11, 3), (11, 3), (15, 3), (15, 3)], edge), None);
        assert_eq!(judge(&[(17, 1), (17, 1)], edge), Some(Number::ACCEPT));
        assert_eq!(judge(&[(12, 1), (12, 1)], edge), None, "elective");
    }

    #[test]
    fn unknown_options_are_refused_when_critical_and_ignored_when_elective() {
        let edge = Understood::EDGE_REQUEST;
        assert_eq!(judge(&[(11, 3), (65_000, 9)], edge), None);
        assert_eq!(judge(&[(9, 0), (11, 3), (65_001, 9)], edge), Some(Number::OSCORE));
        assert_eq!(judge(&[(11, 3), (65_001, 9)], edge), Some(Number(65_001)));
        assert_eq!(judge(&[(11, 3)], Understood::NONE), Some(Number::URI_PATH));
    }

    /// An elective option of a wrong length is ignored where it is read (section 5.4.3).
    #[test]
    fn values_of_a_wrong_length_are_not_read() {
        let read = |bytes: &[u8]| {
            let (options, _) = Options::parse(bytes).unwrap_or_default();
            options.content_format()
        };
        assert_eq!(read(&[0xc0]), Some(0), "no bytes are zero");
        assert_eq!(read(&[0xc2, 0x2d, 0x16]), Some(11_542));
        assert_eq!(read(&[0xc3, 0, 0, 50]), None);
        assert_eq!(read(&[0xc1, 50, 0x01, 60]), Some(50), "the second occurrence does not count");
        assert_eq!(read(&[0xc3, 0, 0, 50, 0x01, 60]), None, "the first one is ignored");
    }
}
