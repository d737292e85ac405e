//! Does the peer really receive at the address its newest record came from? (RFC 9853)
//!
//! ```text
//!   initiator                                     responder
//!   session bound to address A       ◀───────     a newer record, from address B
//!   path_challenge(cookie) to B      ───────▶
//!                                    ◀───────     path_response(cookie), from B
//!   session bound to address B
//! ```
//!
//! This is the basic check of section 5.1. Until the answer the session stays with the old address,
//! and what goes to the new one is limited to three times what came from it.

use crate::Drop;
use crate::established::Established;
use crate::record::ContentType;

/// What ties an answer to its question: 8 random bytes, used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cookie(pub [u8; 8]);

/// A `return_routability_check` message (RFC 9853 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMessage {
    /// Whoever receives this says the cookie back, at once, to where it came from.
    Challenge(Cookie),
    /// The answer.
    Response(Cookie),
    /// The answer of a peer that has left this path on purpose.
    Drop(Cookie),
}

impl PathMessage {
    /// Length of every message, bytes.
    pub const BYTES: usize = 9;

    /// Reads the content of an authenticated record. A message of an unknown kind is ignored
    /// gracefully: [`Drop::Unexpected`].
    pub fn parse(content: &[u8]) -> Result<Self, Drop> {
        let (kind, rest) = content.split_first().ok_or(Drop::Malformed)?;
        let message = match kind {
            0 => Self::Challenge,
            1 => Self::Response,
            2 => Self::Drop,
            _ => return Err(Drop::Unexpected),
        };
        rest.try_into().map(|cookie| message(Cookie(cookie))).map_err(|_| Drop::Malformed)
    }

    /// The content of its record.
    pub fn bytes(self) -> [u8; Self::BYTES] {
        let (kind, Cookie(cookie)) = match self {
            Self::Challenge(cookie) => (0, cookie),
            Self::Response(cookie) => (1, cookie),
            Self::Drop(cookie) => (2, cookie),
        };
        let mut bytes = [kind; Self::BYTES];
        bytes[1..].copy_from_slice(&cookie);
        bytes
    }
}

impl Established {
    /// Writes a record with the message and returns its length; `None` when the extension was not
    /// negotiated (RFC 9853 section 3), or nothing can be sealed.
    pub fn path_message(&mut self, message: PathMessage, out: &mut [u8]) -> Option<usize> {
        let kind = ContentType::RETURN_ROUTABILITY_CHECK;
        self.has_return_routability().then(|| self.seal(kind, &message.bytes(), out).ok())?
    }
}

/// How long an answer is waited for unless configured, milliseconds (RFC 9853 section 5.5).
pub const TIMEOUT_MS: u64 = 1_000;
/// How much more may be sent to an address than came from it, while it is not validated.
pub const AMPLIFICATION_MAX: usize = 3;

/// One check of one new address, on the side that asks. `P` is whatever names an address.
#[derive(Clone, Copy, Debug)]
pub struct Validation<P> {
    peer: P,
    cookie: Cookie,
    due_ms: u64,
    /// What may still be sent to `peer`, bytes.
    budget_bytes: usize,
}

/// What a message of the peer means to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer receives there: bind the session to [`Validation::peer`].
    Validated,
    /// The peer receives there and wants nothing there: the session stays with the old address.
    Dropped,
    /// No answer to this check, or from elsewhere: go on waiting.
    Invalid,
}

impl<P: Copy + PartialEq> Validation<P> {
    /// A check of `peer`, from which an authenticated record has come in a datagram of
    /// `received_bytes`. Send [`challenge`](Self::challenge) there; `cookie` is random.
    pub fn new(
        peer: P,
        cookie: Cookie,
        now_ms: u64,
        timeout_ms: u64,
        received_bytes: usize,
    ) -> Self {
        let mut check =
            Self { peer, cookie, due_ms: now_ms.saturating_add(timeout_ms), budget_bytes: 0 };
        check.on_received(peer, received_bytes);
        check
    }

    /// The address in question.
    pub fn peer(&self) -> P {
        self.peer
    }

    /// What to ask.
    pub fn challenge(&self) -> PathMessage {
        PathMessage::Challenge(self.cookie)
    }

    /// When to give the check up: the session stays with the old address, and the next record from
    /// the new one begins another check.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// A datagram of the peer with a record in it that was not dropped.
    pub fn on_received(&mut self, from: P, bytes: usize) {
        if from == self.peer {
            let more = bytes.saturating_mul(AMPLIFICATION_MAX);
            self.budget_bytes = self.budget_bytes.saturating_add(more);
        }
    }

    /// Whether a datagram of so many bytes may be sent to the address in question; if so it counts
    /// as sent.
    pub fn take_budget(&mut self, bytes: usize) -> bool {
        let rest = self.budget_bytes.checked_sub(bytes);
        self.budget_bytes = rest.unwrap_or(self.budget_bytes);
        rest.is_some()
    }

    /// An authenticated message of the peer. An answer from a third address shows that the peer
    /// has moved again, not that it receives here.
    pub fn on_message(&self, now_ms: u64, from: P, message: PathMessage) -> Outcome {
        if from != self.peer || now_ms >= self.due_ms {
            return Outcome::Invalid;
        }
        match message {
            PathMessage::Response(cookie) if cookie == self.cookie => Outcome::Validated,
            PathMessage::Drop(cookie) if cookie == self.cookie => Outcome::Dropped,
            _ => Outcome::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: Cookie = Cookie(*b"8 bytes.");
    const NEW: u8 = 2;
    const ELSEWHERE: u8 = 3;

    fn check() -> Validation<u8> {
        Validation::new(NEW, COOKIE, 100, TIMEOUT_MS, 50)
    }

    #[test]
    fn a_message_is_a_kind_and_a_cookie() {
        let kinds = [PathMessage::Challenge, PathMessage::Response, PathMessage::Drop];
        for (number, message) in (0..).zip(kinds.map(|kind| kind(COOKIE))) {
            let bytes = message.bytes();
            assert_eq!((bytes[0], &bytes[1..]), (number, &COOKIE.0[..]));
            assert_eq!(PathMessage::parse(&bytes), Ok(message));
            assert_eq!(PathMessage::parse(&bytes[..8]), Err(Drop::Malformed));
            assert_eq!(PathMessage::parse(&[&bytes[..], &[0]].concat()), Err(Drop::Malformed));
        }
        assert_eq!(PathMessage::parse(&[]), Err(Drop::Malformed));
    }

    /// RFC 9853 section 4: known by nobody, so of any length.
    #[test]
    fn an_unknown_kind_is_ignored_gracefully() {
        assert_eq!(PathMessage::parse(&[3, 1, 2]), Err(Drop::Unexpected));
        assert_eq!(PathMessage::parse(&[255]), Err(Drop::Unexpected));
    }

    #[test]
    fn the_cookie_said_back_from_the_new_address_validates_it() {
        assert_eq!(check().challenge(), PathMessage::Challenge(COOKIE));
        let response = PathMessage::Response(COOKIE);
        assert_eq!(check().on_message(200, NEW, response), Outcome::Validated);
        assert_eq!(check().on_message(200, NEW, PathMessage::Drop(COOKIE)), Outcome::Dropped);
    }

    #[test]
    fn anything_else_validates_nothing() {
        let other = Cookie([0; 8]);
        for (from, message) in [
            (ELSEWHERE, PathMessage::Response(COOKIE)),
            (NEW, PathMessage::Response(other)),
            (NEW, PathMessage::Drop(other)),
            (NEW, PathMessage::Challenge(COOKIE)),
        ] {
            assert_eq!(check().on_message(200, from, message), Outcome::Invalid);
        }
    }

    #[test]
    fn an_answer_counts_until_the_timer_and_not_after() {
        let response = PathMessage::Response(COOKIE);
        assert_eq!(check().due_ms(), 1_100);
        assert_eq!(check().on_message(1_099, NEW, response), Outcome::Validated);
        assert_eq!(check().on_message(1_100, NEW, response), Outcome::Invalid);
    }

    #[test]
    fn three_times_what_came_may_be_sent_and_no_more() {
        let mut check = check();
        assert!(check.take_budget(100) && !check.take_budget(51) && check.take_budget(50));
        assert!(!check.take_budget(1));
        check.on_received(ELSEWHERE, 1_000);
        assert!(!check.take_budget(1), "what came from elsewhere does not count");
        check.on_received(NEW, 1);
        assert!(check.take_budget(3) && !check.take_budget(1));
    }
}
