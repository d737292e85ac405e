//! Has this message been seen before, and what was it told? (RFC 7252 section 4.5.)
//!
//! A window of the last Message IDs of one peer, small enough for a session slot in shared memory.
//! It remembers enough to repeat an empty ACK, a RST, or a reply that is a mere code; a reply with
//! more to it is kept by the exchange.
//!
//! Bound: 11 messages. A twelfth within their lifetime takes the place of the oldest that is
//! settled: a late copy of that one would be processed again. When all eleven still wait for their
//! reply the twelfth is refused ([`Seen::Full`]). *Why 11:* a device has NSTART = 1 outstanding and
//! its retransmissions end after 45 s; eleven are one message every 4 s at the lossy worst, and no
//! more fit the 48 bytes that a session has for it.

use tidegate_faults::{Bug, has};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::code::Code;
use crate::message::Type;
use crate::timing::Timing;

/// The last Message IDs of a peer. All zero bytes are an empty window, and every other pattern of
/// bytes is some window.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Window {
    /// When the ages were right, seconds of `now_ms`.
    at_s: u32,
    entries: [Entry; ENTRIES],
}

impl Window {
    /// A CON or NON arrived: a request, or a response to a request of ours. Remembers it when it
    /// is fresh. Pings and messages that are rejected unseen need no window.
    #[inline]
    pub fn on_arrival(&mut self, now_ms: u64, lifetimes: Lifetimes, ty: Type, mid: u16) -> Seen {
        debug_assert!(matches!(ty, Type::Con | Type::Non), "ACK and RST are not deduplicated");
        self.ages(whole_seconds(now_ms), lifetimes);
        let is_non = ty == Type::Non;
        let (mut most, mut place) = (STAYS, None);
        for entry in &mut self.entries {
            if entry.is_used() && entry.mid == mid {
                // A CON and a NON are no copies of each other: the peer used an ID too early.
                let is_copy = entry.is_non() == is_non && entry.is_alive(lifetimes);
                if is_copy && !has(Bug::DedupForgotten) {
                    return entry.seen();
                }
                place = Some(entry);
                break;
            }
            let rank = entry.rank(lifetimes);
            if rank > most {
                (most, place) = (rank, Some(entry));
            }
        }
        let Some(entry) = place else { return Seen::Full };
        *entry = Entry { mid, told: if is_non { SILENT } else { WAITING }, age: 0 };
        Seen::Fresh
    }

    /// Time has passed: all messages are that much older.
    #[inline]
    fn ages(&mut self, now_s: u32, lifetimes: Lifetimes) {
        let units = now_s.wrapping_sub(self.at_s) / lifetimes.unit_s;
        if units == 0 {
            return;
        }
        // What is left of a unit counts the next time. A clock that started anew makes all old.
        self.at_s = self.at_s.wrapping_add(units.wrapping_mul(lifetimes.unit_s));
        let units = u8::try_from(units).unwrap_or(u8::MAX);
        for entry in &mut self.entries {
            entry.age = entry.age.saturating_add(units);
        }
    }

    /// The message was told this; a copy of it is told the same. What was told once stays: an
    /// empty ACK is never followed by another kind of ACK (section 5.2.2), a NON never gets one.
    /// Only [`Told::ReplyKept`] may become [`Told::Replied`], when its payload is kept no longer.
    #[inline]
    pub fn settle(&mut self, mid: u16, told: Told) {
        let Some(entry) = self.find(mid) else { return };
        let may_change =
            entry.told == WAITING || entry.told == REPLY_KEPT && matches!(told, Told::Replied(_));
        if !may_change {
            return;
        }
        entry.told = match told {
            Told::EmptyAck => EMPTY_ACKED,
            Told::Replied(code) => code.0.max(CODES_FROM),
            Told::ReplyKept => REPLY_KEPT,
            Told::Reset => RESET,
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
        for entry in self.entries.iter_mut().filter(|entry| entry.told == WAITING) {
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
    /// [`FREE`]…[`SILENT`], or the code of a reply: [`CODES_FROM`] and above.
    told: u8,
    /// How old it is, units of [`Lifetimes`].
    age: u8,
}

impl Entry {
    fn seen(self) -> Seen {
        match self.told {
            WAITING => Seen::Waiting,
            EMPTY_ACKED => Seen::EmptyAcked,
            REPLY_KEPT => Seen::ReplyKept,
            RESET => Seen::Reset,
            code if code >= CODES_FROM => Seen::Replied(Code(code)),
            _ => Seen::Silent,
        }
    }

    #[inline]
    fn is_used(self) -> bool {
        self.told != FREE
    }

    #[inline]
    fn is_non(self) -> bool {
        self.told == SILENT
    }

    /// Whole units are cut off, so an entry lives up to one unit longer than asked, never shorter.
    #[inline]
    fn is_alive(self, lifetimes: Lifetimes) -> bool {
        self.is_used() && self.age <= if self.is_non() { lifetimes.non } else { lifetimes.con }
    }

    /// Who gives way to a new message: the highest. Free places and dead messages, then settled
    /// messages by age, a waiting one never.
    #[inline]
    fn rank(self, lifetimes: Lifetimes) -> u16 {
        let living_rank = if self.told == WAITING { STAYS } else { 1 + u16::from(self.age) };
        if self.is_alive(lifetimes) { living_rank } else { u16::MAX }
    }
}

/// How long messages are remembered.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Seconds of one unit, such that both lifetimes are below [`UNITS_MAX`].
    unit_s: u32,
    con: u8,
    non: u8,
}

impl Lifetimes {
    /// EXCHANGE_LIFETIME and NON_LIFETIME, rounded up.
    pub const fn new(timing: &Timing) -> Self {
        let con_s = whole_seconds(timing.exchange_lifetime_ms().next_multiple_of(1_000));
        let non_s = whole_seconds(timing.non_lifetime_ms().next_multiple_of(1_000));
        let longest_s = if con_s > non_s { con_s } else { non_s };
        let unit_s = if longest_s < UNITS_MAX { 1 } else { longest_s.div_ceil(UNITS_MAX - 1) };
        // Of what came within a unit it is not known how much of the unit is over.
        let more = if unit_s > 1 { 1 } else { 0 };
        let con = con_s.div_ceil(unit_s) + more;
        let non = non_s.div_ceil(unit_s) + more;
        Self { unit_s, con: con as u8, non: non as u8 }
    }
}

/// 136 years of seconds; wrapping is harmless, ages are differences.
const fn whole_seconds(now_ms: u64) -> u32 {
    (now_ms / 1_000) as u32
}

/// Messages remembered.
pub const ENTRIES: usize = 11;
const _: () = assert!(size_of::<Window>() == 48);
/// Bound: units of a lifetime. One more is dead in any case.
const UNITS_MAX: u32 = 254;

/// The rank of a message that keeps its place.
const STAYS: u16 = 0;
const FREE: u8 = 0;
const WAITING: u8 = 1;
const EMPTY_ACKED: u8 = 2;
const REPLY_KEPT: u8 = 3;
const RESET: u8 = 4;
const SILENT: u8 = 5;
/// No code of a response is less: those begin with 2.00.
const CODES_FROM: u8 = 0x40;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes::new(&Timing::DEFAULT);
    /// The first Message ID that finds no free place.
    const LAST: u16 = ENTRIES as u16;

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

    /// Seconds that pass between messages add up, however few they are.
    #[test]
    fn ages_add_up() {
        let mut window = Window::default();
        arrive(&mut window, 0, 7);
        for second in 1..=247 {
            window.on_arrival(second * 1_000, LIFETIMES, Type::Non, second as u16 & 3);
        }
        assert_eq!(arrive(&mut window, 247_999, 7), Seen::Waiting);
        assert_eq!(arrive(&mut window, 248_000, 7), Seen::Fresh);
    }

    /// A configured EXCHANGE_LIFETIME of more seconds than an age has units.
    #[test]
    fn long_lifetimes_are_kept_in_longer_units() {
        let timing = Timing { ack_timeout_ms: 60_000, ..Timing::DEFAULT };
        let lifetimes = Lifetimes::new(&timing);
        let lifetime_ms = timing.exchange_lifetime_ms();
        assert!(lifetime_ms > 1_000_000);
        let unit_ms = u64::from(lifetimes.unit_s) * 1_000;
        for start_ms in [0, 1_999, 17_001] {
            let seen = |now_ms| {
                let mut window = Window::default();
                window.on_arrival(start_ms, lifetimes, Type::Con, 7);
                window.on_arrival(start_ms + lifetime_ms / 3, lifetimes, Type::Con, 8);
                window.on_arrival(now_ms, lifetimes, Type::Con, 7)
            };
            assert_eq!(seen(start_ms + lifetime_ms), Seen::Waiting);
            assert_eq!(seen(start_ms + lifetime_ms + 3 * unit_ms), Seen::Fresh);
        }
    }

    /// At the bound the oldest settled message gives way.
    #[test]
    fn the_twelfth_message_takes_the_place_of_the_oldest_settled() {
        let mut window = Window::default();
        for mid in 0..LAST {
            assert_eq!(arrive(&mut window, u64::from(mid) * 1_000, mid), Seen::Fresh);
        }
        assert_eq!(arrive(&mut window, 12_000, 0), Seen::Waiting, "eleven fit");
        window.settle(4, Told::EmptyAck);
        window.settle(2, Told::Replied(Code::CHANGED));
        assert_eq!(arrive(&mut window, 12_000, LAST), Seen::Fresh);
        assert_eq!(arrive(&mut window, 12_000, 4), Seen::EmptyAcked, "settled, but younger");
        assert_eq!(arrive(&mut window, 12_000, 0), Seen::Waiting, "older, but waiting");
        assert_eq!(arrive(&mut window, 12_000, 2), Seen::Fresh, "forgotten");
    }

    #[test]
    fn eleven_waiting_messages_leave_no_room_until_one_settles_or_dies() {
        let eleven = || {
            let mut window = Window::default();
            (0..LAST).for_each(|mid| assert_eq!(arrive(&mut window, 0, mid), Seen::Fresh));
            assert_eq!(arrive(&mut window, 247_000, LAST), Seen::Full);
            let again = arrive(&mut window, 247_000, LAST);
            assert_eq!(again, Seen::Full, "a refusal is not remembered");
            window
        };
        let mut window = eleven();
        window.settle(3, Told::EmptyAck);
        assert_eq!(arrive(&mut window, 247_000, LAST), Seen::Fresh);
        assert_eq!(arrive(&mut eleven(), 248_000, LAST), Seen::Fresh);
        let mut window = eleven();
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
