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
    #[inline]
    pub fn on_arrival(&mut self, now_ms: u64, lifetimes: Lifetimes, ty: Type, mid: u16) -> Seen {
        debug_assert!(matches!(ty, Type::Con | Type::Non), "ACK and RST are not deduplicated");
        let now_s = whole_seconds(now_ms);
        let is_non = ty == Type::Non;
        let (mut most, mut place) = (STAYS, None);
        for entry in &mut self.entries {
            if entry.is_used() && entry.mid == mid {
                // A CON and a NON are no copies of each other: the peer used an ID too early.
                if entry.is_non() == is_non && entry.is_alive(now_s, lifetimes) {
                    return entry.seen();
                }
                place = Some(entry);
                break;
            }
            let rank = entry.rank(now_s, lifetimes);
            if rank > most {
                (most, place) = (rank, Some(entry));
            }
        }
        let Some(entry) = place else { return Seen::Full };
        *entry = Entry::fresh(mid, is_non, now_s);
        Seen::Fresh
    }

    /// The message was told this; a copy of it is told the same. What was told once stays: an
    /// empty ACK is never followed by another kind of ACK (section 5.2.2), a NON never gets one.
    /// Only [`Told::ReplyKept`] may become [`Told::Replied`], when its payload is kept no longer.
    #[inline]
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

    #[inline]
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
    #[inline]
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

    #[inline]
    fn is_used(self) -> bool {
        matches!(self.state, WAITING..=SILENT)
    }

    #[inline]
    fn is_non(self) -> bool {
        self.state == SILENT
    }

    /// Seconds are cut off on both sides, so an entry lives up to one second longer than asked,
    /// never shorter. One from the future (a clock that started anew) is dead.
    #[inline]
    fn is_alive(self, now_s: u32, lifetimes: Lifetimes) -> bool {
        let lifetime_s = if self.is_non() { lifetimes.non_s } else { lifetimes.con_s };
        self.is_used() && now_s.wrapping_sub(self.at_s) <= lifetime_s
    }

    /// Who gives way to a new message: the highest. Free places and dead messages, then settled
    /// messages by age, a waiting one never.
    #[inline]
    fn rank(self, now_s: u32, lifetimes: Lifetimes) -> u64 {
        let age_rank = 1 + u64::from(now_s.wrapping_sub(self.at_s));
        let living_rank = if self.state == WAITING { STAYS } else { age_rank };
        if self.is_alive(now_s, lifetimes) { living_rank } else { u64::MAX }
    }
}

/// How long messages are remembered, whole seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    con_s: u32,
    non_s: u32,
}

impl Lifetimes {
    /// EXCHANGE_LIFETIME and NON_LIFETIME, rounded up.
    pub const fn new(timing: &Timing) -> Self {
        Self {
            con_s: whole_seconds(timing.exchange_lifetime_ms().next_multiple_of(1_000)),
            non_s: whole_seconds(timing.non_lifetime_ms().next_multiple_of(1_000)),
        }
    }
}

/// 136 years of seconds; wrapping is harmless, ages are differences.
const fn whole_seconds(now_ms: u64) -> u32 {
    (now_ms / 1_000) as u32
}

/// Messages remembered.
pub const ENTRIES: usize = 6;
const _: () = assert!(size_of::<Window>() == 48);

/// The rank of a message that keeps its place.
const STAYS: u64 = 0;
const WAITING: u8 = 1;
const EMPTY_ACKED: u8 = 2;
const REPLIED: u8 = 3;
const REPLY_KEPT: u8 = 4;
const RESET: u8 = 5;
const SILENT: u8 = 6;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes::new(&Timing::DEFAULT);

    fn arrive(window: &mut Window, now_ms: u64, mid: u16) -> Seen {
        window.on_arrival(now_ms, LIFETIMES, Type::Con, mid)
    }

    #[test]
    fn a_copy_is_told_what_the_original_was_told() {
        for (told, seen) in [
            (Told::EmptyAck, Seen::EmptyAcked),
            (Told::Replied(Code::CHANGED), Seen::Replied(Code::CHANGED)),
            (Told::ReplyKept, Seen::ReplyKept),
            (Told::Reset, Seen::Reset),
        ] {
            let mut window = Window::default();
            assert_eq!(arrive(&mut window, 0, 7), Seen::Fresh);
            assert_eq!(arrive(&mut window, 1, 7), Seen::Waiting);
            window.settle(7, told);
            assert_eq!(arrive(&mut window, 2, 7), seen);
            assert_eq!(arrive(&mut window, 2, 8), Seen::Fresh);
        }
    }

    #[test]
    fn what_was_told_stays_but_for_a_reply_no_longer_kept() {
        let mut window = Window::default();
        arrive(&mut window, 0, 7);
        window.settle(7, Told::EmptyAck);
        window.settle(7, Told::Replied(Code::CONTENT));
        assert_eq!(arrive(&mut window, 0, 7), Seen::EmptyAcked);

        arrive(&mut window, 0, 8);
        window.settle(8, Told::ReplyKept);
        window.settle(8, Told::EmptyAck);
        assert_eq!(arrive(&mut window, 0, 8), Seen::ReplyKept);
        window.settle(8, Told::Replied(Code::SERVICE_UNAVAILABLE));
        assert_eq!(arrive(&mut window, 0, 8), Seen::Replied(Code::SERVICE_UNAVAILABLE));
    }

    #[test]
    fn copies_of_a_non_are_met_with_silence() {
        let mut window = Window::default();
        let mut arrive_non = |now_ms, mid| window.on_arrival(now_ms, LIFETIMES, Type::Non, mid);
        assert_eq!(arrive_non(0, 7), Seen::Fresh);
        assert_eq!(arrive_non(1, 7), Seen::Silent);
        window.settle(7, Told::Replied(Code::CHANGED));
        assert_eq!(window.on_arrival(2, LIFETIMES, Type::Non, 7), Seen::Silent);
    }

    /// A peer that uses an ID too early for a message of the other kind is still served.
    #[test]
    fn a_con_and_a_non_are_no_copies_of_each_other() {
        let mut window = Window::default();
        assert_eq!(window.on_arrival(0, LIFETIMES, Type::Non, 7), Seen::Fresh);
        assert_eq!(window.on_arrival(1, LIFETIMES, Type::Con, 7), Seen::Fresh);
        assert_eq!(window.on_arrival(2, LIFETIMES, Type::Con, 7), Seen::Waiting);
        assert_eq!(window.on_arrival(3, LIFETIMES, Type::Non, 7), Seen::Fresh);
        assert_eq!(window.entries.iter().filter(|entry| entry.is_used()).count(), 1);
    }

    /// Whole seconds: never shorter than the lifetime, at most one second longer.
    #[test]
    fn lifetimes_end() {
        let still = |ty, now_ms| {
            let mut window = Window::default();
            window.on_arrival(999, LIFETIMES, ty, 7);
            window.on_arrival(now_ms, LIFETIMES, ty, 7) != Seen::Fresh
        };
        assert!(still(Type::Con, 999 + 247_000));
        assert!(!still(Type::Con, 999 + 248_001));
        assert!(still(Type::Non, 999 + 145_000));
        assert!(!still(Type::Non, 999 + 146_001));
    }

    /// At the bound the oldest settled message gives way.
    #[test]
    fn the_seventh_message_takes_the_place_of_the_oldest_settled() {
        let mut window = Window::default();
        for mid in 0..6 {
            assert_eq!(arrive(&mut window, u64::from(mid) * 1_000, mid), Seen::Fresh);
        }
        assert_eq!(arrive(&mut window, 6_000, 0), Seen::Waiting, "six fit");
        window.settle(4, Told::EmptyAck);
        window.settle(2, Told::Replied(Code::CHANGED));
        assert_eq!(arrive(&mut window, 6_000, 6), Seen::Fresh);
        assert_eq!(arrive(&mut window, 6_000, 4), Seen::EmptyAcked, "settled, but younger");
        assert_eq!(arrive(&mut window, 6_000, 0), Seen::Waiting, "older, but waiting");
        assert_eq!(arrive(&mut window, 6_000, 2), Seen::Fresh, "forgotten");
    }

    #[test]
    fn six_waiting_messages_leave_no_room_until_one_settles_or_dies() {
        let six = || {
            let mut window = Window::default();
            (0..6).for_each(|mid| assert_eq!(arrive(&mut window, 0, mid), Seen::Fresh));
            assert_eq!(arrive(&mut window, 247_000, 6), Seen::Full);
            assert_eq!(arrive(&mut window, 247_000, 6), Seen::Full, "a refusal is not remembered");
            window
        };
        let mut window = six();
        window.settle(3, Told::EmptyAck);
        assert_eq!(arrive(&mut window, 247_000, 6), Seen::Fresh);
        assert_eq!(arrive(&mut six(), 248_000, 6), Seen::Fresh);
        let mut window = six();
        window.forget(3);
        assert_eq!(arrive(&mut window, 247_000, 3), Seen::Fresh);
    }

    #[test]
    fn after_a_restart_waiting_messages_are_fresh_and_told_ones_are_not() {
        let mut window = Window::default();
        arrive(&mut window, 0, 1);
        arrive(&mut window, 0, 2);
        window.settle(2, Told::Replied(Code::CHANGED));
        window.on_arrival(0, LIFETIMES, Type::Non, 3);
        window.forget_waiting();
        assert_eq!(arrive(&mut window, 1, 1), Seen::Fresh);
        assert_eq!(arrive(&mut window, 1, 2), Seen::Replied(Code::CHANGED));
        assert_eq!(window.on_arrival(1, LIFETIMES, Type::Non, 3), Seen::Silent);
    }

    /// The window lives in shared memory: any bytes are some window, and those of a clock that
    /// started anew are forgotten.
    #[test]
    fn any_bytes_are_a_window() {
        for byte in 0..=255 {
            let mut window = Window::read_from_bytes(&[byte; 48]).unwrap();
            for mid in 0..8 {
                arrive(&mut window, 1_000, mid);
                window.settle(mid, Told::EmptyAck);
            }
            assert_eq!(arrive(&mut window, 2_000, 7), Seen::EmptyAcked, "{byte}");
        }
        let mut window = Window::default();
        arrive(&mut window, 5_000_000, 7);
        assert_eq!(arrive(&mut window, 1_000, 7), Seen::Fresh, "from the future");
    }
}
