//! What becomes of a request of the peer? From its arrival to the last word about our response
//! (RFC 7252 sections 4.2 and 5.2).
//!
//! ```text
//!            ┌─ respond ─▶ Piggybacked ─ lifetime ─▶ Ended
//! CON ─▶ Held┤                              ┌──────────────────────────────┐
//!            └─ window over ─▶ Acked ─ respond Con ─▶ Confirming ─ ACK, RST, given up ─▶ Ended
//!                                │                      ▲
//! NON ─▶ Unconfirmed ────────────┴─ respond Non ─▶ Ended (a CON response is possible, too)
//! ```
//!
//! Small and without a message buffer: a short reply stands inside, a longer one in a [`Kept`] that
//! the owner lends. Copies of the request are first shown to
//! [`dedup::Window`](crate::dedup::Window).

use crate::code::Code;
use crate::message::{self, HEADER_BYTES, MESSAGE_BYTES_MAX, Message, Token, Type, Writer};
use crate::retransmission::{Retransmission, Tick};
use crate::timing::Timing;

/// One request that we answer.
#[derive(Clone, Debug)]
pub struct Inbound {
    state: State,
    /// Of the request; for [`Type::Ack`] it is ours and never echoed.
    mid: u16,
    token: Token,
    /// When the owner must find a response by itself, ms; `None` once told, or answered.
    response_due_ms: Option<u64>,
    /// Until when copies of the request may come, ms.
    lifetime_ends_ms: u64,
    /// Message ID of our separate response.
    own_mid: Option<u16>,
    reply: Reply,
}

impl Inbound {
    /// A fresh request came. A CON holds its ACK back for `windows.piggyback_ms`; zero makes the
    /// empty ACK due at once.
    pub fn new(now_ms: u64, request: &Message<'_>, windows: Windows, timing: &Timing) -> Self {
        let state = match request.ty {
            Type::Con => State::Held { ack_due_ms: now_ms + u64::from(windows.piggyback_ms) },
            Type::Non | Type::Ack | Type::Rst => State::Unconfirmed,
        };
        Self {
            state,
            mid: request.mid,
            token: request.token,
            response_due_ms: Some(now_ms + u64::from(windows.response_ms)),
            lifetime_ends_ms: now_ms + timing.exchange_lifetime_ms(),
            own_mid: None,
            reply: Reply::None,
        }
    }

    /// One more response to a request that got its first one (RFC 9177 section 4.4), with the
    /// request's token. No copy of the request is answered by it.
    pub fn following(now_ms: u64, token: Token) -> Self {
        Self {
            state: State::Unconfirmed,
            mid: 0,
            token,
            response_due_ms: None,
            lifetime_ends_ms: now_ms,
            own_mid: None,
            reply: Reply::None,
        }
    }

    /// When to call [`Self::on_due`], ms; `None`: never by itself.
    pub fn due_ms(&self) -> Option<u64> {
        let earlier = |ms: u64| Some(self.response_due_ms.map_or(ms, |due_ms| due_ms.min(ms)));
        match &self.state {
            State::Held { ack_due_ms } => earlier(*ack_due_ms),
            State::Acked | State::Unconfirmed => self.response_due_ms,
            State::Piggybacked => Some(self.lifetime_ends_ms),
            State::Confirming(timer) => Some(timer.due_ms()),
            State::Ended(_) => None,
        }
    }

    /// The clock says `now_ms`: does one thing. Call until [`Act::Nothing`].
    pub fn on_due(&mut self, now_ms: u64) -> Act {
        if let State::Confirming(timer) = &mut self.state {
            return match timer.on_due(now_ms) {
                Tick::Early | Tick::Missed => Act::Nothing,
                Tick::Again => Act::Retransmit,
                Tick::GiveUp => {
                    self.state = State::Ended(End::TimedOut);
                    Act::GiveUp
                }
            };
        }
        if self.due_ms().is_none_or(|due_ms| now_ms < due_ms) {
            return Act::Nothing;
        }
        if self.response_due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
            self.response_due_ms = None;
            return Act::ResponseTimeout;
        }
        match self.state {
            State::Held { .. } => {
                self.state = State::Acked;
                Act::SendEmptyAck(self.empty_ack())
            }
            State::Piggybacked => {
                self.state = State::Ended(End::Answered);
                Act::Forget
            }
            _ => Act::Nothing,
        }
    }

    /// Moves the end of the window in which the ACK is held back: the owner has learnt how long
    /// the response will take. Without effect once the ACK has left.
    pub fn hold_until(&mut self, until_ms: u64) {
        if let State::Held { ack_due_ms } = &mut self.state {
            *ack_due_ms = until_ms;
        }
    }

    /// Moves the time at which the owner must find a response by itself. Without effect once it was
    /// told so, or there is a response.
    pub fn answer_by(&mut self, due_ms: u64) {
        if let Some(response_due_ms) = &mut self.response_due_ms {
            *response_due_ms = due_ms;
        }
    }

    /// Whether a response given now leaves on the ACK and needs no Message ID of ours.
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Writes the response; the bytes to send are then [`Self::message`]. On the ACK while that is
    /// held back, else as a message of its own in the way `separate` says.
    ///
    /// A reply longer than [`SHORT_REPLY_BYTES`] needs `kept`, which then must be lent to
    /// [`Self::message`] unchanged until this exchange ends. After an error nothing has changed.
    pub fn respond(
        &mut self,
        now_ms: u64,
        timing: &Timing,
        code: Code,
        separate: Separate,
        kept: Option<&mut Kept>,
        fill: impl FnOnce(&mut Writer<'_>),
    ) -> Result<Manner, RespondError> {
        assert!(code.is_response(), "{code} is no response");
        let (manner, ty, mid) = match (&self.state, separate) {
            (State::Held { .. }, _) => (Manner::Piggybacked, Type::Ack, self.mid),
            (State::Acked | State::Unconfirmed, Separate::Con { mid, .. }) => {
                (Manner::Confirmable, Type::Con, mid)
            }
            (State::Acked | State::Unconfirmed, Separate::Non { mid }) => {
                (Manner::NonConfirmable, Type::Non, mid)
            }
            _ => return Err(RespondError::Answered),
        };
        let write = |buffer: &mut [u8]| {
            let mut writer = Writer::new(buffer, ty, code, mid, &self.token);
            fill(&mut writer);
            writer.finish().map_err(|_| RespondError::TooLong)
        };
        self.reply = if let Some(kept) = kept {
            kept.len = write(&mut kept.bytes)? as u16;
            Reply::Kept
        } else {
            let mut bytes = [0; SHORT_REPLY_BYTES];
            Reply::Short { len: write(&mut bytes)? as u8, bytes }
        };
        self.response_due_ms = None;
        self.own_mid = (manner != Manner::Piggybacked).then_some(mid);
        self.state = match separate {
            _ if manner == Manner::Piggybacked => State::Piggybacked,
            Separate::Con { jitter, .. } => {
                State::Confirming(Retransmission::start(now_ms, timing, jitter))
            }
            Separate::Non { .. } => State::Ended(End::Answered),
        };
        Ok(manner)
    }

    /// The response as it was sent; no bytes before there is one. `kept` is the buffer lent to
    /// [`Self::respond`].
    pub fn message<'a>(&'a self, kept: Option<&'a Kept>) -> &'a [u8] {
        match (&self.reply, kept) {
            (Reply::None, _) => &[],
            (Reply::Short { len, bytes }, _) => &bytes[..usize::from(*len)],
            (Reply::Kept, Some(kept)) => kept.as_bytes(),
            (Reply::Kept, None) => panic!("the reply stands in the buffer lent to respond"),
        }
    }

    /// An ACK came, with whatever in it (section 5.2.2): true when it is for our CON response,
    /// which has then arrived.
    pub fn on_ack(&mut self, mid: u16) -> bool {
        self.end_confirming(mid, End::Acknowledged)
    }

    /// A RST came: true when it is for our CON response, which the peer can't place.
    pub fn on_reset(&mut self, mid: u16) -> bool {
        self.end_confirming(mid, End::Reset)
    }

    /// Message ID of the CON response that waits for its ACK.
    pub fn confirming_mid(&self) -> Option<u16> {
        self.own_mid.filter(|_| matches!(self.state, State::Confirming(_)))
    }

    /// Message ID of our separate response, once there is one.
    pub fn own_mid(&self) -> Option<u16> {
        self.own_mid
    }

    /// How it ended; `None` while it goes on. An ended exchange may be dropped, its buffer lent to
    /// another.
    pub fn end(&self) -> Option<End> {
        if let State::Ended(end) = self.state { Some(end) } else { None }
    }

    /// Whether a response has been written.
    pub fn is_answered(&self) -> bool {
        !matches!(self.reply, Reply::None)
    }

    /// Message ID of the request.
    pub fn mid(&self) -> u16 {
        self.mid
    }

    /// Token of the request.
    pub fn token(&self) -> Token {
        self.token
    }

    fn end_confirming(&mut self, mid: u16, end: End) -> bool {
        let is_ours = self.confirming_mid() == Some(mid);
        if is_ours {
            self.state = State::Ended(end);
        }
        is_ours
    }

    fn empty_ack(&self) -> [u8; HEADER_BYTES] {
        message::empty(Type::Ack, self.mid)
    }
}

/// How long a request may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How long the ACK of a CON is held back for a piggybacked response, ms. Below the peer's
    /// ACK_TIMEOUT, or it sends the request again for nothing.
    pub piggyback_ms: u32,
    /// When [`Act::ResponseTimeout`] is due, ms after arrival.
    pub response_ms: u32,
}

/// How a response travels when it is not piggybacked. RFC 7252 section 5.2.3: NON for a NON, unless
/// there is a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separate {
    /// Sent again until the peer acknowledges it.
    Con {
        /// A Message ID of ours that is free.
        mid: u16,
        /// Random over all of `u16`: see [`Timing::first_timeout_ms`].
        jitter: u16,
    },
    /// Sent once.
    Non {
        /// A Message ID of ours that is free.
        mid: u16,
    },
}

/// How a response left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// On the ACK, with the request's Message ID; the one in [`Separate`] was not used.
    Piggybacked,
    /// As a CON; its ACK is awaited.
    Confirmable,
    /// As a NON.
    NonConfirmable,
}

/// What to do when time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing (yet).
    Nothing,
    /// Send these bytes, and tell the window: the request got an empty ACK.
    SendEmptyAck([u8; HEADER_BYTES]),
    /// No response in time: respond now (5.04), or drop the exchange.
    ResponseTimeout,
    /// Send [`Inbound::message`] again.
    Retransmit,
    /// The CON response was never acknowledged.
    GiveUp,
    /// No copy of the request can come any more; the reply need not be kept.
    Forget,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Answered in a way that nobody acknowledges.
    Answered,
    /// The peer acknowledged the CON response.
    Acknowledged,
    /// The peer rejected the CON response.
    Reset,
    /// MAX_RETRANSMIT without an ACK.
    TimedOut,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RespondError {
    /// There is one already.
    Answered,
    /// It does not fit: lend a [`Kept`], or refuse it.
    TooLong,
}

/// A message that must stay at hand to be sent again. Made once, lent again and again.
#[derive(Clone, Debug)]
pub struct Kept {
    bytes: [u8; MESSAGE_BYTES_MAX],
    len: u16,
}

impl Kept {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self { bytes: [0; MESSAGE_BYTES_MAX], len: 0 }
    }

    /// The message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Debug)]
enum State {
    /// A CON without ACK so far.
    Held {
        ack_due_ms: u64,
    },
    /// A CON that got an empty ACK.
    Acked,
    /// A request that gets no ACK.
    Unconfirmed,
    /// The ACK carried the response; copies may come.
    Piggybacked,
    /// The CON response is on its way.
    Confirming(Retransmission),
    Ended(End),
}

#[derive(Clone, Debug)]
enum Reply {
    None,
    Short { len: u8, bytes: [u8; SHORT_REPLY_BYTES] },
    Kept,
}

/// Longest reply that stands inside the exchange, bytes: header, token, and room for Max-Age or a
/// block option.
pub const SHORT_REPLY_BYTES: usize = 40;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::option::Number;

    const TIMING: Timing = Timing::DEFAULT;
    const WINDOWS: Windows = Windows { piggyback_ms: 1_500, response_ms: 30_000 };

    fn inbound(ty: u8) -> Inbound {
        let request = [0x48 | ty << 4, 1, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8];
        Inbound::new(0, &Message::parse(&request).unwrap(), WINDOWS, &TIMING)
    }

    fn respond(
        inbound: &mut Inbound,
        kept: Option<&mut Kept>,
        payload_bytes: usize,
    ) -> Result<Manner, RespondError> {
        let separate = Separate::Con { mid: 9, jitter: 0 };
        inbound.respond(1_000, &TIMING, Code::CONTENT, separate, kept, |writer| {
            writer.payload(&[7; 2_000][..payload_bytes]);
        })
    }

    /// 4 header, 8 token, 1 marker.
    const OVERHEAD_BYTES: usize = 13;

    #[test]
    fn a_short_reply_stands_inside_and_a_longer_one_needs_a_buffer() {
        let fits = SHORT_REPLY_BYTES - OVERHEAD_BYTES;
        assert_eq!(respond(&mut inbound(0), None, fits), Ok(Manner::Piggybacked));
        let mut waiting = inbound(0);
        assert_eq!(respond(&mut waiting, None, fits + 1), Err(RespondError::TooLong));
        assert!(waiting.is_held() && !waiting.is_answered(), "nothing has changed");

        let mut kept = Kept::new();
        assert_eq!(respond(&mut waiting, Some(&mut kept), fits + 1), Ok(Manner::Piggybacked));
        assert_eq!(waiting.message(Some(&kept)).len(), SHORT_REPLY_BYTES + 1);
    }

    #[test]
    fn a_kept_reply_reaches_to_the_largest_message() {
        let mut kept = Kept::new();
        let fits = MESSAGE_BYTES_MAX - OVERHEAD_BYTES;
        assert!(respond(&mut inbound(0), Some(&mut kept), fits).is_ok());
        assert_eq!(kept.as_bytes().len(), MESSAGE_BYTES_MAX);
        let too_long = respond(&mut inbound(0), Some(&mut kept), fits + 1);
        assert_eq!(too_long, Err(RespondError::TooLong));
    }

    #[test]
    fn a_mere_code_with_max_age_stands_inside_with_the_longest_token() {
        let mut inbound = inbound(0);
        let separate = Separate::Non { mid: 9 };
        let code = Code::SERVICE_UNAVAILABLE;
        let manner = inbound.respond(0, &TIMING, code, separate, None, |writer| {
            writer.option_uint(Number::MAX_AGE, u32::MAX);
        });
        assert_eq!(manner, Ok(Manner::Piggybacked));
        let reply = Message::parse(inbound.message(None)).unwrap();
        assert_eq!((reply.ty, reply.code, reply.mid), (Type::Ack, code, 0x1234));
        assert_eq!(reply.options.uint(Number::MAX_AGE), Some(u32::MAX));
    }

    /// RFC 9177 figure 7: the same token, other Message IDs.
    #[test]
    fn a_response_may_follow_another() {
        let token = Token::new(b"same");
        for ty in [Type::Non, Type::Con] {
            let mut following = Inbound::following(0, token);
            assert_eq!((following.due_ms(), following.is_held()), (None, false));
            let separate = match ty {
                Type::Con => Separate::Con { mid: 77, jitter: 0 },
                _ => Separate::Non { mid: 77 },
            };
            following.respond(0, &TIMING, Code::CONTENT, separate, None, |_| ()).unwrap();
            let sent = Message::parse(following.message(None)).unwrap();
            assert_eq!((sent.ty, sent.mid, sent.token), (ty, 77, token));
            assert_eq!(following.on_ack(77), ty == Type::Con);
        }
    }

    #[test]
    fn there_is_one_response() {
        for ty in [0, 1] {
            let mut inbound = inbound(ty);
            assert!(respond(&mut inbound, None, 0).is_ok());
            assert_eq!(respond(&mut inbound, None, 0), Err(RespondError::Answered));
        }
    }

    #[test]
    fn the_ack_is_held_back_to_the_end_of_the_window() {
        let mut inbound = inbound(0);
        assert_eq!(inbound.due_ms(), Some(1_500));
        assert_eq!(inbound.on_due(1_499), Act::Nothing);
        assert_eq!(inbound.on_due(1_500), Act::SendEmptyAck([0x60, 0, 0x12, 0x34]));
        assert_eq!(inbound.on_due(1_500), Act::Nothing);
        assert_eq!(inbound.due_ms(), Some(30_000));
        assert_eq!(respond(&mut inbound, None, 0), Ok(Manner::Confirmable));
        assert_eq!(inbound.confirming_mid(), Some(9));
    }

    #[test]
    fn the_window_may_be_moved_until_the_ack_has_left() {
        let mut inbound = inbound(0);
        inbound.hold_until(200);
        assert_eq!((inbound.due_ms(), inbound.on_due(199)), (Some(200), Act::Nothing));
        inbound.hold_until(300);
        assert_eq!(inbound.on_due(299), Act::Nothing);
        assert!(matches!(inbound.on_due(300), Act::SendEmptyAck(_)));
        inbound.hold_until(400);
        assert_eq!((inbound.is_held(), inbound.due_ms()), (false, Some(30_000)));
    }

    /// The timeout is told once; the owner may still respond later.
    #[test]
    fn the_response_timeout_is_told_once() {
        let mut inbound = inbound(1);
        assert_eq!(inbound.on_due(29_999), Act::Nothing);
        assert_eq!(inbound.on_due(30_000), Act::ResponseTimeout);
        assert_eq!((inbound.on_due(30_000), inbound.due_ms()), (Act::Nothing, None));
        assert_eq!(respond(&mut inbound, None, 0), Ok(Manner::Confirmable));
    }

    #[test]
    fn only_the_response_s_own_message_id_ends_it() {
        let mut inbound = inbound(1);
        assert!(!inbound.on_ack(9), "there is no response yet");
        respond(&mut inbound, None, 0).unwrap();
        assert!(!inbound.on_ack(0x1234) && !inbound.on_reset(8));
        assert!(inbound.on_ack(9));
        assert!(!inbound.on_ack(9) && !inbound.on_reset(9), "once");
        assert_eq!((inbound.end(), inbound.due_ms()), (Some(End::Acknowledged), None));
    }
}
