//! The table of registered options: number, name, repeatable or not, format and length.

use super::Number;

/// What the registry says about one option.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Which option.
    pub number: Number,
    /// Its name.
    pub name: &'static str,
    /// May occur more than once in a message.
    pub is_repeatable: bool,
    /// How its value reads.
    pub format: Format,
    /// Shortest value, bytes.
    pub len_min: u16,
    /// Longest value, bytes.
    pub len_max: u16,
}

impl Definition {
    /// Whether a value may have this length, bytes.
    pub const fn allows_len(&self, len: usize) -> bool {
        len >= self.len_min as usize && len <= self.len_max as usize
    }
}

/// How an option's value reads (RFC 7252 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// No bytes: the option's presence is its meaning.
    Empty,
    /// Any bytes.
    Opaque,
    /// Big-endian, zero is no bytes.
    Uint,
    /// UTF-8.
    String,
}

use Format::{Empty, Opaque, String, Uint};

macro_rules! options {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal,
       $repeat:ident, $format:ident $min:literal..=$max:literal;)+) => {
        impl Number { $($(#[$doc])* pub const $constant: Self = Self($number);)+ }
        /// Every registered option this crate knows, ascending.
        pub const DEFINITIONS: &[Definition] = &[$(Definition {
            number: Number::$constant,
            name: $name,
            is_repeatable: is_repeatable!($repeat),
            format: $format,
            len_min: $min,
            len_max: $max,
        },)+];
    };
}

macro_rules! is_repeatable {
    (once) => {
        false
    };
    (many) => {
        true
    };
}

options! {
    /// The request holds only if the resource has one of these ETags (empty: exists).
    IF_MATCH = 1, "If-Match", many, Opaque 0..=8;
    /// The virtual host.
    URI_HOST = 3, "Uri-Host", once, String 1..=255;
    /// Names a representation. Repeatable in requests; a response carries one.
    ETAG = 4, "ETag", many, Opaque 1..=8;
    /// The request holds only if the resource does not exist.
    IF_NONE_MATCH = 5, "If-None-Match", once, Empty 0..=0;
    /// Registers (0), deregisters (1), or numbers a notification (RFC 7641).
    OBSERVE = 6, "Observe", once, Uint 0..=3;
    /// The port of the request's URI.
    URI_PORT = 7, "Uri-Port", once, Uint 0..=2;
    /// A path segment of what was created.
    LOCATION_PATH = 8, "Location-Path", many, String 0..=255;
    /// Protected content (RFC 8613).
    OSCORE = 9, "OSCORE", once, Opaque 0..=255;
    /// A path segment.
    URI_PATH = 11, "Uri-Path", many, String 0..=255;
    /// The format of the payload.
    CONTENT_FORMAT = 12, "Content-Format", once, Uint 0..=2;
    /// Seconds a response stays fresh; 60 when absent.
    MAX_AGE = 14, "Max-Age", once, Uint 0..=4;
    /// A query argument.
    URI_QUERY = 15, "Uri-Query", many, String 0..=255;
    /// Proxies left to pass (RFC 8768).
    HOP_LIMIT = 16, "Hop-Limit", once, Uint 1..=1;
    /// The format wanted.
    ACCEPT = 17, "Accept", once, Uint 0..=2;
    /// A block of a request's body (RFC 9177).
    Q_BLOCK1 = 19, "Q-Block1", once, Uint 0..=3;
    /// A query argument of what was created.
    LOCATION_QUERY = 20, "Location-Query", many, String 0..=255;
    /// The request starts EDHOC and carries OSCORE (RFC 9668).
    EDHOC = 21, "EDHOC", once, Empty 0..=0;
    /// A block of a response's body (RFC 7959).
    BLOCK2 = 23, "Block2", once, Uint 0..=3;
    /// A block of a request's body (RFC 7959).
    BLOCK1 = 27, "Block1", once, Uint 0..=3;
    /// Size of a response's body, bytes.
    SIZE2 = 28, "Size2", once, Uint 0..=4;
    /// A block of a response's body (RFC 9177).
    Q_BLOCK2 = 31, "Q-Block2", many, Uint 0..=3;
    /// The whole URI, for a forward-proxy.
    PROXY_URI = 35, "Proxy-Uri", once, String 1..=1034;
    /// The scheme of the URI, for a forward-proxy.
    PROXY_SCHEME = 39, "Proxy-Scheme", once, String 1..=255;
    /// Size of a request's body, bytes.
    SIZE1 = 60, "Size1", once, Uint 0..=4;
    /// Proof of freshness (RFC 9175).
    ECHO = 252, "Echo", once, Opaque 1..=40;
    /// Classes of response the requester does not want (RFC 7967).
    NO_RESPONSE = 258, "No-Response", once, Uint 0..=1;
    /// Tells block-wise requests apart (RFC 9175).
    REQUEST_TAG = 292, "Request-Tag", many, Opaque 0..=8;
}

/// Index into [`DEFINITIONS`] of each number below 64, beyond its end where there is none. *Why:*
/// these are the options of nearly every message.
pub(super) const LOW_NUMBERS: [u8; 64] = {
    let mut indices = [u8::MAX; 64];
    let mut index = 0;
    while index < DEFINITIONS.len() {
        let number = DEFINITIONS[index].number.0 as usize;
        if number < indices.len() {
            indices[number] = index as u8;
        }
        index += 1;
    }
    indices
};
