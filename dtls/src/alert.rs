//! What does an alert say? (RFC 5246 section 7.2)
//!
//! Sent: fatal ones to a peer whose address is proven, when its handshake can't go on;
//! `close_notify` and `no_renegotiation` inside an established association. Everything that did
//! not authenticate is ignored in silence, as RFC 6347 section 4.1.2.7 prefers.

/// An alert as it travels: two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Fatal, or a warning.
    pub level: Level,
    /// What it is about.
    pub description: Description,
}

/// How an alert is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// 1: the association goes on.
    Warning,
    /// 2: the association is over.
    Fatal,
}

/// What an alert is about; any byte may arrive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Description(pub u8);

macro_rules! descriptions {
    ($($name:ident = $value:literal $text:literal),+ $(,)?) => {
        impl Description {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Self = Self($value);)+
            /// The name RFC 5246 gives it; `unknown` for a number without one.
            pub const fn name(self) -> &'static str {
                match self.0 { $($value => $text,)+ _ => "unknown" }
            }
        }
    };
}

descriptions! {
    CLOSE_NOTIFY = 0 "close_notify",
    UNEXPECTED_MESSAGE = 10 "unexpected_message",
    BAD_RECORD_MAC = 20 "bad_record_mac",
    RECORD_OVERFLOW = 22 "record_overflow",
    HANDSHAKE_FAILURE = 40 "handshake_failure",
    BAD_CERTIFICATE = 42 "bad_certificate",
    UNSUPPORTED_CERTIFICATE = 43 "unsupported_certificate",
    CERTIFICATE_EXPIRED = 45 "certificate_expired",
    CERTIFICATE_UNKNOWN = 46 "certificate_unknown",
    ILLEGAL_PARAMETER = 47 "illegal_parameter",
    UNKNOWN_CA = 48 "unknown_ca",
    ACCESS_DENIED = 49 "access_denied",
    DECODE_ERROR = 50 "decode_error",
    DECRYPT_ERROR = 51 "decrypt_error",
    PROTOCOL_VERSION = 70 "protocol_version",
    INSUFFICIENT_SECURITY = 71 "insufficient_security",
    INTERNAL_ERROR = 80 "internal_error",
    USER_CANCELED = 90 "user_canceled",
    NO_RENEGOTIATION = 100 "no_renegotiation",
    UNSUPPORTED_EXTENSION = 110 "unsupported_extension",
    UNRECOGNIZED_NAME = 112 "unrecognized_name",
    UNKNOWN_PSK_IDENTITY = 115 "unknown_psk_identity",
    NO_APPLICATION_PROTOCOL = 120 "no_application_protocol",
}

impl Alert {
    /// Length, bytes.
    pub const BYTES: usize = 2;

    /// An alert that ends the association.
    pub const fn fatal(description: Description) -> Self {
        Self { level: Level::Fatal, description }
    }
    /// An alert after which the association may go on.
    pub const fn warning(description: Description) -> Self {
        Self { level: Level::Warning, description }
    }
    /// `None` unless it is two bytes with a known level.
    pub const fn parse(content: &[u8]) -> Option<Self> {
        match *content {
            [1, description] => Some(Self::warning(Description(description))),
            [2, description] => Some(Self::fatal(Description(description))),
            _ => None,
        }
    }
    /// The bytes of the record's content.
    pub const fn bytes(self) -> [u8; Self::BYTES] {
        let level = match self.level {
            Level::Warning => 1,
            Level::Fatal => 2,
        };
        [level, self.description.0]
    }
}

impl std::fmt::Debug for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_two_bytes_with_a_level_of_one_or_two() {
        let fatal = Alert::fatal(Description::DECRYPT_ERROR);
        assert_eq!(fatal.bytes(), [2, 51]);
        assert_eq!(Alert::parse(&[2, 51]), Some(fatal));
        assert_eq!(Alert::parse(&[1, 0]), Some(Alert::warning(Description::CLOSE_NOTIFY)));
        for bad in [&[][..], &[2], &[0, 0], &[3, 0], &[1, 0, 0]] {
            assert_eq!(Alert::parse(bad), None);
        }
    }

    #[test]
    fn descriptions_print_their_names() {
        assert_eq!(Description::HANDSHAKE_FAILURE.to_string(), "handshake_failure(40)");
        assert_eq!(Description(200).to_string(), "unknown(200)");
    }
}
