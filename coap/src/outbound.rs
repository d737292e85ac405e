//! What becomes of a request of ours? From its writing to the response (RFC 7252 sections 4.2, 5.2
//! and 5.3).
//!
//! ```text
//! Written ─ start ─┬ CON ─▶ Confirming ─ ACK ─▶ Expecting ─ response ─▶ Ended
//!                  │            ├─ response (implies the ACK) ───────────▶ Ended
//!                  │            └─ RST, given up ────────────────────────▶ Ended
//!                  └ NON ─▶ Expecting ─ response, RST, timeout ──────────▶ Ended
//! ```
//!
//! Written and started are two steps, so that a request can wait for its turn (NSTART) as bytes.

use crate::code::Code;
use crate::message::{
    self, HEADER_BYTES, MESSAGE_BYTES_MAX, Message, Token, Type, WriteError, Writer,
};
use crate::option::{self, Understood};
use crate::retransmission::{Retransmission, Tick};
use crate::timing::Timing;
use crate::triage::{Triage, triage};

/// One request of ours. About 1.4 KiB: it carries its message.
#[derive(Clone, Debug)]
pub struct Outbound {
    state: State,
    ty: Type,
    mid: u16,
    token: Token,
    /// How long a response is awaited after the ACK, or after a NON was sent, ms.
    response_ms: u32,
    len: u16,
    bytes: [u8; MESSAGE_BYTES_MAX],
}

impl Outbound {
    /// Writes a request, or a notification, for which an ACK is all that comes back (RFC 7641
    /// section 4.5). `token` of a request must not be in use towards the peer.
    pub fn new(
        ty: Type,
        code: Code,
        token: Token,
        fill: impl FnOnce(&mut Writer<'_>),
    ) -> Result<Self, WriteError> {
        assert!(matches!(ty, Type::Con | Type::Non), "a request is a CON or a NON");
        assert!(code.is_request() || code.is_response(), "{code} is neither");
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let mut writer = Writer::new(&mut bytes, ty, code, 0, &token);
        fill(&mut writer);
        let len = writer.finish()? as u16;
        Ok(Self { state: State::Written, ty, mid: 0, token, response_ms: 0, len, bytes })
    }

    /// It is its turn: the bytes to send now. `mid` is a Message ID of ours that is free, `jitter`
    /// random over all of `u16`.
    pub fn start(
        &mut self,
        now_ms: u64,
        timing: &Timing,
        mid: u16,
        jitter: u16,
        response_ms: u32,
    ) -> &[u8] {
        assert!(matches!(self.state, State::Written), "a request is started once");
        self.bytes[2..HEADER_BYTES].copy_from_slice(&mid.to_be_bytes());
        (self.mid, self.response_ms) = (mid, response_ms);
        self.state = match self.ty {
            Type::Con => State::Confirming(Retransmission::start(now_ms, timing, jitter)),
            _ => self.expecting(now_ms),
        };
        self.message()
    }

    /// The request's bytes.
    pub fn message(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// When to call [`Self::on_due`], ms; `None`: never by itself.
    pub fn due_ms(&self) -> Option<u64> {
        match &self.state {
            State::Confirming(timer) => Some(timer.due_ms()),
            State::Expecting { due_ms } => Some(*due_ms),
            State::Written | State::Ended(_) => None,
        }
    }

    /// The clock says `now_ms`.
    pub fn on_due(&mut self, now_ms: u64) -> Act {
        match &mut self.state {
            State::Confirming(timer) => match timer.on_due(now_ms) {
                Tick::Early | Tick::Missed => Act::Nothing,
                Tick::Again => Act::Retransmit,
                Tick::GiveUp => {
                    self.state = State::Ended(End::TimedOut);
                    Act::GiveUp
                }
            },
            State::Expecting { due_ms } if *due_ms <= now_ms => {
                self.state = State::Ended(End::NoResponse);
                Act::ResponseTimeout
            }
            _ => Act::Nothing,
        }
    }

    /// An ACK came (if it carries a response, call [`Self::on_response`] instead).
    pub fn on_ack(&mut self, now_ms: u64, mid: u16) -> Turn {
        if mid != self.mid || !matches!(self.state, State::Confirming(_)) {
            return Turn::Nothing;
        }
        self.state = self.expecting(now_ms);
        Turn::Acknowledged
    }

    /// A RST came.
    pub fn on_reset(&mut self, mid: u16) -> Turn {
        let is_open = match self.state {
            State::Confirming(_) => true,
            State::Expecting { .. } => self.ty == Type::Non,
            State::Written | State::Ended(_) => false,
        };
        if mid != self.mid || !is_open {
            return Turn::Nothing;
        }
        self.state = State::Ended(End::Reset);
        Turn::Reset
    }

    /// A response with our token came: on an ACK, or as a CON or NON that the window calls fresh.
    /// `understood` are the critical options we read in a response.
    pub fn on_response(&mut self, response: &Message<'_>, understood: Understood) -> Turn {
        let is_confirming = matches!(self.state, State::Confirming(_));
        let is_expected = response.token == self.token
            && match response.ty {
                Type::Ack => is_confirming && response.mid == self.mid,
                _ => is_confirming || matches!(self.state, State::Expecting { .. }),
            };
        if !is_expected {
            return Turn::Rejected(rejection(response));
        }
        if option::first_unrecognised(&response.options, understood).is_some() {
            return Turn::Rejected(rejection(response));
        }
        self.state = State::Ended(End::Responded);
        let reply = match response.ty {
            Type::Con => Reply::Send(message::empty(Type::Ack, response.mid)),
            _ => Reply::Silence,
        };
        Turn::Responded { reply, acknowledges: is_confirming }
    }

    /// Nobody wants the response any more: it is not sent again. What still comes is unexpected.
    pub fn cancel(&mut self) {
        if self.end().is_none() {
            self.state = State::Ended(End::Cancelled);
        }
    }

    /// How it ended; `None` while it goes on.
    pub fn end(&self) -> Option<End> {
        if let State::Ended(end) = self.state { Some(end) } else { None }
    }

    /// Whether it has left.
    pub fn is_started(&self) -> bool {
        !matches!(self.state, State::Written)
    }

    /// Whether it counts for NSTART (section 4.7): neither ACK nor response came, and one is still
    /// expected.
    pub fn is_outstanding(&self) -> bool {
        match self.state {
            State::Confirming(_) => true,
            State::Expecting { .. } => self.ty == Type::Non,
            State::Written | State::Ended(_) => false,
        }
    }

    /// Its Message ID, once started.
    pub fn mid(&self) -> u16 {
        self.mid
    }

    /// Its token.
    pub fn token(&self) -> Token {
        self.token
    }

    fn expecting(&self, now_ms: u64) -> State {
        State::Expecting { due_ms: now_ms + u64::from(self.response_ms) }
    }
}

/// How to answer a response that belongs to no request (section 5.3.2) or can't be accepted: a CON
/// gets a RST; a NON and an ACK are ignored.
pub fn rejection(response: &Message<'_>) -> Reply {
    debug_assert_eq!(triage(response), Triage::Response);
    match response.ty {
        Type::Con => Reply::Send(message::empty(Type::Rst, response.mid)),
        _ => Reply::Silence,
    }
}

/// What a message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It was not for this request, or came again.
    Nothing,
    /// The request has arrived; the response is still to come.
    Acknowledged,
    /// The response is accepted.
    Responded {
        /// What to send the peer.
        reply: Reply,
        /// No ACK came before: this also tells that the request has arrived.
        acknowledges: bool,
    },
    /// The peer has no context for the request: it failed.
    Reset,
    /// The response is not accepted; the request goes on as before.
    Rejected(Reply),
}

/// What to send at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Silence,
    /// An empty ACK or a RST.
    Send([u8; HEADER_BYTES]),
}

/// What to do when time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing (yet).
    Nothing,
    /// Send [`Outbound::message`] again.
    Retransmit,
    /// MAX_RETRANSMIT without an ACK: it failed.
    GiveUp,
    /// It arrived (or was a NON), but no response came in time.
    ResponseTimeout,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a response.
    Responded,
    /// With a RST.
    Reset,
    /// MAX_RETRANSMIT without an ACK.
    TimedOut,
    /// Acknowledged or NON, without a response in time.
    NoResponse,
    /// Cancelled.
    Cancelled,
}

#[derive(Clone, Debug)]
enum State {
    /// Waits for its turn.
    Written,
    /// A CON without ACK so far.
    Confirming(Retransmission),
    /// The response is to come.
    Expecting {
        due_ms: u64,
    },
    Ended(End),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::option::Number;

    fn outbound(ty: Type) -> Outbound {
        let fill = |writer: &mut Writer<'_>| {
            writer.option(Number::URI_PATH, b"led").payload(b"on");
        };
        Outbound::new(ty, Code::PUT, Token::new(&[1, 2]), fill).unwrap()
    }

    #[test]
    fn a_request_waits_as_bytes_and_gets_its_message_id_when_it_starts() {
        let mut outbound = outbound(Type::Con);
        assert_eq!((outbound.due_ms(), outbound.is_started()), (None, false));
        assert_eq!(outbound.on_due(u64::MAX), Act::Nothing);
        assert_eq!(outbound.on_ack(0, 0), Turn::Nothing, "nothing was sent that it could be for");
        assert_eq!(outbound.on_reset(0), Turn::Nothing);
        let bytes = outbound.start(1_000, &Timing::DEFAULT, 0xad7b, 0, 30_000).to_vec();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.ty, message.code, message.mid), (Type::Con, Code::PUT, 0xad7b));
        assert_eq!((message.token.as_bytes(), message.payload), (&[1, 2][..], &b"on"[..]));
        assert_eq!(outbound.due_ms(), Some(3_000));
    }

    #[test]
    fn a_request_reaches_to_the_largest_message() {
        let request = |payload_bytes: usize| {
            Outbound::new(Type::Con, Code::PUT, Token::new(&[1]), |writer| {
                writer.payload(&[7; 2_000][..payload_bytes]);
            })
        };
        let fits = MESSAGE_BYTES_MAX - HEADER_BYTES - 2;
        assert_eq!(request(fits).unwrap().message().len(), MESSAGE_BYTES_MAX);
        assert!(request(fits + 1).is_err());
    }

    /// RFC 7252 section 4.7: a CON counts until it is acknowledged, a NON until it is answered.
    #[test]
    fn a_request_is_outstanding_while_something_is_expected_of_the_network() {
        for (ty, after_ack) in [(Type::Con, false), (Type::Non, true)] {
            let mut outbound = outbound(ty);
            assert!(!outbound.is_outstanding());
            outbound.start(0, &Timing::DEFAULT, 5, 0, 30_000);
            assert!(outbound.is_outstanding());
            outbound.on_ack(0, 5);
            assert_eq!(outbound.is_outstanding(), after_ack);
            outbound.cancel();
            assert!(!outbound.is_outstanding());
        }
    }

    #[test]
    fn a_cancelled_request_is_silent_and_its_response_unexpected() {
        let mut outbound = outbound(Type::Con);
        outbound.start(0, &Timing::DEFAULT, 5, 0, 30_000);
        outbound.cancel();
        assert_eq!((outbound.due_ms(), outbound.on_due(2_000)), (None, Act::Nothing));
        let response = [0x42, 0x44, 0, 1, 1, 2];
        let turn = outbound.on_response(&Message::parse(&response).unwrap(), Understood::NONE);
        assert_eq!(turn, Turn::Rejected(Reply::Send([0x70, 0, 0, 1])));
        assert_eq!(outbound.end(), Some(End::Cancelled));
    }

    /// An end stays the end.
    #[test]
    fn a_request_ends_once() {
        let mut outbound = outbound(Type::Con);
        outbound.start(0, &Timing::DEFAULT, 5, 0, 30_000);
        let response = [0x62, 0x44, 0, 5, 1, 2];
        let response = Message::parse(&response).unwrap();
        let accepted = Turn::Responded { reply: Reply::Silence, acknowledges: true };
        assert_eq!(outbound.on_response(&response, Understood::NONE), accepted);
        outbound.cancel();
        assert_eq!(outbound.on_reset(5), Turn::Nothing);
        assert_eq!(outbound.on_ack(0, 5), Turn::Nothing);
        assert_eq!(
            outbound.on_response(&response, Understood::NONE),
            Turn::Rejected(Reply::Silence)
        );
        assert_eq!(outbound.end(), Some(End::Responded));
    }
}
