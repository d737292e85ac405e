//! Has this message been seen before, and what was it told? (RFC 7252 section 4.5.)
//!
//! A window of the last Message IDs of one peer, small enough for a session slot in shared memory.
//! It remembers enough to repeat an empty ACK, a RST, or a reply that is a mere code; a reply with
//! more to it is kept by the exchange.
//!
//! Bound: 6 messages. A seventh within their lifetime takes the place of the oldest that is
//! settled: a late copy of that one would be processed again. When all six still wait for their
//! reply the seventh is refused ([`Seen::Full`]). *Why 6:* a device has NSTART = 1 outstanding and
//! its retransmissions end after 45 s; six are one message every 8 s at the lossy worst.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::code::Code;
use crate::message::Type;
use crate::timing::Timing;

/// The last Message IDs of a peer. All zero bytes are an empty window, and every other pattern of
/// bytes is some window.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Window {
    entries: [Entry; ENTRIES],
}

impl Window {
    /// A CON or NON arrived: a request, or a response to a request of ours. Remembers it when it
    /// is fresh. Pings and messages that are rejected unseen need no window.
    pub fn on_arrival(&mut self, now_ms: u64, timing: &Timing, ty: Type, mid: u16) -> Seen {
        debug_assert!(matches!(ty, Type::Con | Type::Non), "ACK and RST are not deduplicated");
        let now_s = whole_seconds(now_ms);
        let is_non = ty == Type::Non;
        for entry in &mut self.entries {
            if !entry.is_alive(now_s, timing) {
                *entry = Entry::default();
            }
        }
        if let Some(entry) = self.find(mid) {
            if entry.is_non() == is_non {
                return entry.seen();
            }
            // A CON and a NON are no copies of each other: the peer used an ID too early.
            *entry = Entry::fresh(mid, is_non, now_s);
            return Seen::Fresh;
        }
        let oldest = self.entries.iter_mut().filter(|entry| entry.state != WAITING);
        match oldest.min_by_key(|entry| entry.age_key(now_s)) {
            Some(entry) => {
                *entry = Entry::fresh(mid, is_non, now_s);
                Seen::Fresh
            }
            None => Seen::Full,
        }
    }

    /// The message was told this; a copy of it is told the same. What was told once stays: an
    /// empty ACK is never followed by another kind of ACK (section 5.2.2), a NON never gets one.
    /// Only [`Told::ReplyKept`] may become [`Told::Replied`], when its payload is kept no longer.
    pub fn settle(&mut self, mid: u16, told: Told) {
        let Some(entry) = self.find(mid) else { return };
        let may_change =
            entry.state == WAITING || entry.state == REPLY_KEPT && matches!(told, Told::Replied(_));
        if !may_change {
            return;
        }
        (entry.state, entry.code) = match told {
            Told::EmptyAck => (EMPTY_ACKED, 0),
            Told::Replied(code) => (REPLIED, code.0),
            Told::ReplyKept => (REPLY_KEPT, 0),
            Told::Reset => (RESET, 0),
        };
    }

    /// Nothing was told and nothing was done: the next copy is fresh.
    pub fn forget(&mut self, mid: u16) {
        if let Some(entry) = self.find(mid) {
            *entry = Entry::default();
        }
    }

    /// The process that was working on the waiting requests is gone: copies of them are fresh. What
    /// was told stays told.
    pub fn forget_waiting(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.state == WAITING) {
            *entry = Entry::default();
        }
    }

    fn find(&mut self, mid: u16) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.is_used() && entry.mid == mid)
    }
}

/// What a message is, compared to the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen within its lifetime: process it.
    Fresh,
    /// Not seen, and no place to remember it: do not process it. Silence lets a CON come again.
    Full,
    /// A copy of a CON that has not been answered: its reply is on its way, say nothing.
    Waiting,
    /// A copy of a CON that got an empty ACK: send that again.
    EmptyAcked,
    /// A copy of a CON that got a piggybacked reply of this code and nothing else: write the same
    /// for the copy's Message ID and token.
    Replied(Code),
    /// A copy of a CON whose piggybacked reply the exchange keeps: send that again.
    ReplyKept,
    /// A copy of a CON that got a RST: send that again.
    Reset,
    /// A copy of a NON: say nothing.
    Silent,
}

/// What a CON was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// An empty ACK; the response, if any, comes separately.
    EmptyAck,
    /// An ACK with this code, without options and payload (or with such as follow from the code).
    Replied(Code),
    /// An ACK with a reply that the exchange keeps.
    ReplyKept,
    /// A RST.
    Reset,
}

/// One message in a [`Window`]: public only because the layout of the window is.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Entry {
    mid: u16,
    /// Of a [`REPLIED`] entry.
    code: u8,
    /// [`FREE`]…[`SILENT`]; any other value counts as free.
    state: u8,
    /// When it arrived, seconds of `now_ms`.
    at_s: u32,
}

impl Entry {
    fn fresh(mid: u16, is_non: bool, now_s: u32) -> Self {
        Self { mid, code: 0, state: if is_non { SILENT } else { WAITING }, at_s: now_s }
    }

    fn seen(self) -> Seen {
        match self.state {
            WAITING => Seen::Waiting,
            EMPTY_ACKED => Seen::EmptyAcked,
            REPLIED => Seen::Replied(Code(self.code)),
            REPLY_KEPT => Seen::ReplyKept,
            RESET => Seen::Reset,
            _ => Seen::Silent,
        }
    }

    fn is_used(self) -> bool {
        matches!(self.state, WAITING..=SILENT)
    }

    fn is_non(self) -> bool {
        self.state == SILENT
    }

    /// Seconds are cut off on both sides, so an entry lives up to one second longer than asked,
    /// never shorter. One from the future (a clock that started anew) is dead.
    fn is_alive(self, now_s: u32, timing: &Timing) -> bool {
        let lifetime_ms =
            if self.is_non() { timing.non_lifetime_ms() } else { timing.exchange_lifetime_ms() };
        let age_s = now_s.wrapping_sub(self.at_s);
        self.is_used() && u64::from(age_s) <= lifetime_ms.div_ceil(1_000)
    }

    /// Free entries first, then the oldest.
    fn age_key(self, now_s: u32) -> (bool, u32) {
        (self.is_used(), u32::MAX - now_s.wrapping_sub(self.at_s))
    }
}

/// 136 years of seconds; wrapping is harmless, ages are differences.
fn whole_seconds(now_ms: u64) -> u32 {
    (now_ms / 1_000) as u32
}

/// Messages remembered.
pub const ENTRIES: usize = 6;
const _: () = assert!(size_of::<Window>() == 48);

const WAITING: u8 = 1;
const EMPTY_ACKED: u8 = 2;
const REPLIED: u8 = 3;
const REPLY_KEPT: u8 = 4;
const RESET: u8 = 5;
const SILENT: u8 = 6;
