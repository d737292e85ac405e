//! What does a datagram say? A view of one message (RFC 7252 section 3), nothing copied but the
//! token.
//!
//! Parsing is strict and total: a [`Message`] has well-formed options, a payload that is absent or
//! not empty, and when its code is 0.00 nothing after the Message ID.

use crate::code::Code;
use crate::option::list::{OptionFault, Options};
pub use crate::writer::{WriteError, Writer};

/// Largest message this crate keeps or writes into its own buffers, bytes. *Why:* one message in
/// one DTLS record on an IPv6 path; larger bodies go block by block.
pub const MESSAGE_BYTES_MAX: usize = 1280;
/// Bytes before the token.
pub const HEADER_BYTES: usize = 4;

/// One message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Confirmable or not, or what it says about an earlier message.
    pub ty: Type,
    /// Request, response or Empty.
    pub code: Code,
    /// Message ID.
    pub mid: u16,
    /// Ties a response to its request.
    pub token: Token,
    /// In the order of their numbers.
    pub options: Options<'a>,
    /// Empty when the message has none.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, FormatError> {
        let Some((&[first, code, mid_high, mid_low], rest)) = datagram.split_first_chunk() else {
            return Err(FormatError { fault: Fault::TooShort, reset_mid: None });
        };
        if first >> 6 != VERSION {
            return Err(FormatError { fault: Fault::Version, reset_mid: None });
        }
        let ty = Type::from_bits(first >> 4);
        let mid = u16::from_be_bytes([mid_high, mid_low]);
        let reset_mid = (ty == Type::Con).then_some(mid);
        let fail = |fault| FormatError { fault, reset_mid };

        let code = Code(code);
        if code == Code::EMPTY && (first & 15 != 0 || !rest.is_empty()) {
            return Err(fail(Fault::EmptyNotBare));
        }
        let (token, rest) = split_token(first & 15, rest).map_err(fail)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(FormatError { fault: Fault::TokenTooLong, reset_mid: None });
        }
        let (options, payload) = Options::parse(rest).map_err(|fault| fail(fault.into()))?;
        Ok(Self { ty, code, mid, token: Token::new(token), options, payload })
    }
}

/// The token, and what is behind it. Lengths above 12 stand in one or two bytes of their own (RFC
/// 8974 section 2.1).
#[inline]
fn split_token(nibble: u8, rest: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let (len, rest) = match (nibble, rest) {
        (0..=12, rest) => (usize::from(nibble), rest),
        (13, [extended, rest @ ..]) => (13 + usize::from(*extended), rest),
        (14, [high, low, rest @ ..]) => {
            (269 + usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        (13 | 14, _) => return Err(Fault::Truncated),
        _ => return Err(Fault::TokenLength),
    };
    rest.split_at_checked(len).ok_or(Fault::Truncated)
}

/// Writes the 4.00 for a request whose token is too long for us ([`Fault::TokenTooLong`]): with
/// that token, as RFC 8974 section 2.2.2 asks. Its length; `None`: it is no request, or does not
/// fit. `non_mid`: a free Message ID of ours, for the answer to a NON.
pub fn refuse_token(datagram: &[u8], non_mid: u16, out: &mut [u8]) -> Option<usize> {
    let (&[first, code, mid_high, mid_low], rest) = datagram.split_first_chunk()?;
    let (_, behind) = split_token(first & 15, rest).ok()?;
    let token = &rest[..rest.len() - behind.len()];
    if first >> 6 != VERSION || !Code(code).is_request() {
        return None;
    }
    let (ty, mid) = match Type::from_bits(first >> 4) {
        Type::Con => (Type::Ack, u16::from_be_bytes([mid_high, mid_low])),
        Type::Non => (Type::Non, non_mid),
        Type::Ack | Type::Rst => return None,
    };
    let len = HEADER_BYTES + token.len();
    let (head, room) = out.get_mut(..len)?.split_at_mut(HEADER_BYTES);
    let [mid_high, mid_low] = mid.to_be_bytes();
    head.copy_from_slice(&[
        VERSION << 6 | (ty as u8) << 4 | first & 15,
        Code::BAD_REQUEST.0,
        mid_high,
        mid_low,
    ]);
    room.copy_from_slice(token);
    Some(len)
}

/// The type of a message (RFC 7252 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Type {
    /// Confirmable: sent again until it is acknowledged.
    Con = 0,
    /// Non-confirmable.
    Non = 1,
    /// Acknowledgement.
    Ack = 2,
    /// Reset: the receiver had no context for the message.
    Rst = 3,
}

impl Type {
    /// The type in the low 2 bits.
    #[inline]
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Con,
            1 => Self::Non,
            2 => Self::Ack,
            _ => Self::Rst,
        }
    }

    /// As the service's API prints it.
    pub const fn service_name(self) -> &'static str {
        match self {
            Self::Con => "CONFIRMABLE",
            Self::Non => "NON_CONFIRMABLE",
            Self::Ack => "ACKNOWLEDGEMENT",
            Self::Rst => "RESET",
        }
    }

    /// Reads `CONFIRMABLE`, `NON_CONFIRMABLE`, `CON` or `NON`, letters in any case: the types a
    /// sender may choose.
    pub fn parse_sendable(text: &str) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        match () {
            () if is("CONFIRMABLE") || is("CON") => Some(Self::Con),
            () if is("NON_CONFIRMABLE") || is("NON") => Some(Self::Non),
            () => None,
        }
    }
}

/// A token (RFC 7252 section 5.3.1), perhaps an extended one (RFC 8974).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Token {
    /// Zero beyond `len`, so that equality is that of the token.
    bytes: [u8; TOKEN_BYTES_MAX],
    len: u8,
}

impl Token {
    /// The token of no bytes.
    pub const EMPTY: Self = Self { bytes: [0; TOKEN_BYTES_MAX], len: 0 };

    /// A token of these bytes; at most [`TOKEN_BYTES_MAX`].
    #[inline]
    pub fn new(token: &[u8]) -> Self {
        assert!(token.len() <= TOKEN_BYTES_MAX, "a longer token is refused");
        let mut bytes = [0; TOKEN_BYTES_MAX];
        for (place, byte) in bytes.iter_mut().zip(token) {
            *place = *byte;
        }
        Self { bytes, len: token.len() as u8 }
    }

    /// The token's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl core::fmt::Debug for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("0x")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a datagram is no message, and what to say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// What is wrong.
    pub fault: Fault,
    /// The datagram was Confirmable: send it a Reset with this Message ID (RFC 7252 section 4.2).
    /// `None`: ignore it silently.
    pub reset_mid: Option<u16>,
}

/// What is wrong with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Fewer than 4 bytes.
    TooShort,
    /// Not version 1: ignored silently (RFC 7252 section 3).
    Version,
    /// The reserved token length 15 (RFC 8974 section 2.1).
    TokenLength,
    /// A token of more than [`TOKEN_BYTES_MAX`] bytes: answered, not reset ([`refuse_token`]).
    TokenTooLong,
    /// Code 0.00 with a token or bytes after the Message ID.
    EmptyNotBare,
    /// Ends within the token or an option.
    Truncated,
    /// An option delta or length of 15, or an option number above 65535.
    Option,
    /// A payload marker without payload.
    PayloadMissing,
}

impl From<OptionFault> for Fault {
    fn from(fault: OptionFault) -> Self {
        match fault {
            OptionFault::Truncated => Self::Truncated,
            OptionFault::Reserved | OptionFault::Number => Self::Option,
            OptionFault::PayloadMissing => Self::PayloadMissing,
        }
    }
}

/// An Empty message: the ACK or RST that echoes `mid`, or with [`Type::Con`] a ping.
#[inline]
pub const fn empty(ty: Type, mid: u16) -> [u8; HEADER_BYTES] {
    let [high, low] = mid.to_be_bytes();
    [VERSION << 6 | (ty as u8) << 4, 0, high, low]
}

/// Longest token that we keep, bytes. *Why 32:* what a client without state of its own puts there,
/// sealed, fits (RFC 8974 section 3.1), and each exchange has room for one.
pub const TOKEN_BYTES_MAX: usize = 32;
pub(crate) const VERSION: u8 = 1;
