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
    pub fn definition(self) -> Option<&'static Definition> {
        let index = DEFINITIONS.binary_search_by_key(&self, |known| known.number).ok()?;
        Some(&DEFINITIONS[index])
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
}

impl Understood {
    /// No critical option: right for responses, for which RFC 7252 defines none.
    pub const NONE: Self = Self::new(&[]);
    /// What the edge reads in a request. Proxy-Uri and Proxy-Scheme are here to be answered 5.05.
    pub const EDGE_REQUEST: Self = Self::new(&[
        Number::URI_HOST,
        Number::URI_PORT,
        Number::URI_PATH,
        Number::URI_QUERY,
        Number::ACCEPT,
        Number::PROXY_URI,
        Number::PROXY_SCHEME,
    ]);

    /// A list of critical option numbers.
    pub const fn new(numbers: &'static [Number]) -> Self {
        Self { numbers }
    }

    fn contains(self, number: Number) -> bool {
        self.numbers.contains(&number)
    }
}

/// The first critical option that must be treated as unrecognised: not in `understood`, of a
/// length outside its range (section 5.4.3), or a repetition of one that is not repeatable (5.4.5).
pub fn first_unrecognised(options: &Options<'_>, understood: Understood) -> Option<Number> {
    let mut previous = None;
    options.iter().find_map(|Entry { number, value }| {
        let is_repeated = previous.replace(number) == Some(number);
        if !number.is_critical() {
            return None;
        }
        let is_recognised = understood.contains(number)
            && number.definition().is_none_or(|known| {
                known.allows_len(value.len()) && (known.is_repeatable || !is_repeated)
            });
        (!is_recognised).then_some(number)
    })
}
