//! Which method or response is it? The code of RFC 7252 section 3: a class and a detail.

use core::fmt;

/// A code as it stands in byte 1 of a message: class in the upper 3 bits, detail in the lower 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $class:literal . $detail:literal, $name:literal;)+) => {
        impl Code { $($(#[$doc])* pub const $constant: Self = Self::new($class, $detail);)+ }
        /// Every code with a name, ascending.
        const NAMED: &[(Code, &str)] = &[$((Code::$constant, $name),)+];
    };
}

codes! {
    /// 0.00, an Empty message.
    EMPTY = 0 . 0, "EMPTY";
    /// 0.01.
    GET = 0 . 1, "GET";
    /// 0.02.
    POST = 0 . 2, "POST";
    /// 0.03.
    PUT = 0 . 3, "PUT";
    /// 0.04.
    DELETE = 0 . 4, "DELETE";
    /// 0.05 (RFC 8132).
    FETCH = 0 . 5, "FETCH";
    /// 0.06 (RFC 8132).
    PATCH = 0 . 6, "PATCH";
    /// 0.07 (RFC 8132).
    IPATCH = 0 . 7, "IPATCH";
    /// 2.01.
    CREATED = 2 . 1, "CREATED";
    /// 2.02.
    DELETED = 2 . 2, "DELETED";
    /// 2.03.
    VALID = 2 . 3, "VALID";
    /// 2.04.
    CHANGED = 2 . 4, "CHANGED";
    /// 2.05.
    CONTENT = 2 . 5, "CONTENT";
    /// 2.31 (RFC 7959).
    CONTINUE = 2 . 31, "CONTINUE";
    /// 4.00.
    BAD_REQUEST = 4 . 0, "BAD_REQUEST";
    /// 4.01.
    UNAUTHORIZED = 4 . 1, "UNAUTHORIZED";
    /// 4.02.
    BAD_OPTION = 4 . 2, "BAD_OPTION";
    /// 4.03.
    FORBIDDEN = 4 . 3, "FORBIDDEN";
    /// 4.04.
    NOT_FOUND = 4 . 4, "NOT_FOUND";
    /// 4.05.
    METHOD_NOT_ALLOWED = 4 . 5, "METHOD_NOT_ALLOWED";
    /// 4.06.
    NOT_ACCEPTABLE = 4 . 6, "NOT_ACCEPTABLE";
    /// 4.08 (RFC 7959).
    REQUEST_ENTITY_INCOMPLETE = 4 . 8, "REQUEST_ENTITY_INCOMPLETE";
    /// 4.09 (RFC 8132).
    CONFLICT = 4 . 9, "CONFLICT";
    /// 4.12.
    PRECONDITION_FAILED = 4 . 12, "PRECONDITION_FAILED";
    /// 4.13.
    REQUEST_ENTITY_TOO_LARGE = 4 . 13, "REQUEST_ENTITY_TOO_LARGE";
    /// 4.15.
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15, "UNSUPPORTED_CONTENT_FORMAT";
    /// 4.22 (RFC 8132).
    UNPROCESSABLE_ENTITY = 4 . 22, "UNPROCESSABLE_ENTITY";
    /// 4.29 (RFC 8516).
    TOO_MANY_REQUESTS = 4 . 29, "TOO_MANY_REQUESTS";
    /// 5.00.
    INTERNAL_SERVER_ERROR = 5 . 0, "INTERNAL_SERVER_ERROR";
    /// 5.01.
    NOT_IMPLEMENTED = 5 . 1, "NOT_IMPLEMENTED";
    /// 5.02.
    BAD_GATEWAY = 5 . 2, "BAD_GATEWAY";
    /// 5.03.
    SERVICE_UNAVAILABLE = 5 . 3, "SERVICE_UNAVAILABLE";
    /// 5.04.
    GATEWAY_TIMEOUT = 5 . 4, "GATEWAY_TIMEOUT";
    /// 5.05.
    PROXYING_NOT_SUPPORTED = 5 . 5, "PROXYING_NOT_SUPPORTED";
    /// 5.08 (RFC 8768).
    HOP_LIMIT_REACHED = 5 . 8, "HOP_LIMIT_REACHED";
}

impl Code {
    /// A code from its class (0..=7) and detail (0..=31).
    pub const fn new(class: u8, detail: u8) -> Self {
        assert!(class < 8 && detail < 32);
        Self(class << 5 | detail)
    }

    /// The class, 0..=7.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The detail, 0..=31.
    pub const fn detail(self) -> u8 {
        self.0 & 31
    }

    /// 0.01–0.31: a request, of a known method or not.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.detail() != 0
    }

    /// 2.00–5.31: a response (RFC 7252 section 12.1.2).
    pub const fn is_response(self) -> bool {
        self.class() >= 2 && self.class() <= 5
    }

    /// 2.00–2.31.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// A method this crate knows: 0.01–0.07. Another one is answered 4.05 (RFC 7252 section 5.8).
    pub const fn is_known_method(self) -> bool {
        self.0 >= Self::GET.0 && self.0 <= Self::IPATCH.0
    }

    /// The registered name in capitals (`"CONTENT"`, `"PUT"`); `None` for an unregistered code.
    pub fn name(self) -> Option<&'static str> {
        let index = NAMED.binary_search_by_key(&self, |&(code, _)| code).ok()?;
        Some(NAMED[index].1)
    }

    /// The code as the service's API prints it: `CONTENT(2.05)` for a response, `PUT` for a
    /// method, `4.25` where there is no name.
    pub fn service_name(self) -> impl fmt::Display {
        ServiceName(self)
    }

    /// Reads a response code: `CONTENT(2.05)`, `CONTENT` or `2.05`, letters in any case. Name and
    /// number must agree; requests and reserved classes are `None`.
    pub fn parse_response(text: &str) -> Option<Self> {
        let code = match text.split_once('(') {
            Some((name, number)) => {
                let code = Self::parse_dotted(number.strip_suffix(')')?)?;
                let agrees = code.name().is_some_and(|known| known.eq_ignore_ascii_case(name));
                agrees.then_some(code)?
            }
            None => Self::parse_dotted(text).or_else(|| Self::from_name(text))?,
        };
        code.is_response().then_some(code)
    }

    /// Reads a method: `GET`, `put`, `0.03`. Only known methods.
    pub fn parse_method(text: &str) -> Option<Self> {
        let code = Self::parse_dotted(text).or_else(|| Self::from_name(text))?;
        code.is_known_method().then_some(code)
    }

    fn from_name(name: &str) -> Option<Self> {
        NAMED.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|&(code, _)| code)
    }

    /// `c.dd`: one digit, a dot, two digits (RFC 7252 section 3).
    fn parse_dotted(text: &str) -> Option<Self> {
        let &[class, b'.', tens, units] = text.as_bytes() else { return None };
        let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
        let (class, detail) = (digit(class)?, digit(tens)? * 10 + digit(units)?);
        (class < 8 && detail < 32).then(|| Self::new(class, detail))
    }
}

/// `2.05` (RFC 7252 section 3).
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

struct ServiceName(Code);

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) if self.0.class() == 0 => f.write_str(name),
            Some(name) => write!(f, "{name}({})", self.0),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_class_and_detail() {
        assert_eq!(Code::CONTENT.0, 69, "RFC 7252 figure 16");
        assert_eq!((Code(0x9f).class(), Code(0x9f).detail()), (4, 31));
        assert_eq!(Code::CONTENT.to_string(), "2.05");
        assert_eq!(Code::new(5, 31).to_string(), "5.31");
    }

    #[test]
    fn names_are_sorted_so_that_the_search_finds_each() {
        assert!(NAMED.is_sorted());
        for &(code, name) in NAMED {
            assert_eq!(code.name(), Some(name));
        }
    }

    #[test]
    fn responses_read_as_the_service_prints_them() {
        for &(code, name) in NAMED.iter().filter(|(code, _)| code.is_response()) {
            assert_eq!(Code::parse_response(&code.service_name().to_string()), Some(code));
            assert_eq!(Code::parse_response(&code.to_string()), Some(code));
            assert_eq!(Code::parse_response(name), Some(code));
        }
        assert_eq!(Code::CONTENT.service_name().to_string(), "CONTENT(2.05)");
        assert_eq!(Code::new(4, 25).service_name().to_string(), "4.25");
        assert_eq!(Code::parse_response("changed(2.04)"), Some(Code::CHANGED));
        assert_eq!(Code::parse_response("4.25"), Some(Code::new(4, 25)));
        for wrong in
            ["", "CONTENT(2.04)", "CONTENT(2.05", "(2.05)", "2.5", "2.32", "8.00", "2.050", "0.01"]
        {
            assert_eq!(Code::parse_response(wrong), None, "{wrong:?}");
        }
        for reserved in ["GET", "EMPTY", "0.00", "1.00", "6.31", "7.01"] {
            assert_eq!(Code::parse_response(reserved), None, "{reserved:?}");
        }
    }

    #[test]
    fn methods_are_the_seven_known_ones() {
        for (number, name) in
            ["GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "IPATCH"].into_iter().enumerate()
        {
            let code = Code::parse_method(name).unwrap();
            assert_eq!(code, Code(number as u8 + 1));
            assert_eq!(code.service_name().to_string(), name);
            assert_eq!(Code::parse_method(&name.to_lowercase()), Some(code));
        }
        assert_eq!(Code::parse_method("0.07"), Some(Code::IPATCH));
        assert_eq!(Code::parse_method("0.08"), None);
        assert_eq!(Code::parse_method("EMPTY"), None);
        assert_eq!(Code::parse_method("CONTENT"), None);
    }

    #[test]
    fn classes_are_told_apart() {
        for byte in 0..=255 {
            let code = Code(byte);
            let is_reserved = matches!(code.class(), 1 | 6 | 7);
            let kinds = [code == Code::EMPTY, code.is_request(), code.is_response(), is_reserved];
            assert_eq!(kinds.into_iter().filter(|&is| is).count(), 1, "{code}");
        }
    }
}
