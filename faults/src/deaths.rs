//! At which instants may a process die? Between any two effects: each has a name here, so that it
//! can be said which of them were tried.
//!
//! Those of the simulator's shell are there in every build of it, those inside the edge only where
//! it is armed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

macro_rules! points {
    ($($point:ident = $help:literal),+ $(,)?) => {
        /// Between which two effects a process dies.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point { $(#[doc = $help] $point),+ }
        impl Point {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$point),+];
            /// Where that is.
            pub fn help(self) -> &'static str {
                match self { $(Self::$point => $help),+ }
            }
        }
    };
}

points! {
    NumberTaken = "A record's number is taken and the record not sealed.",
    RecordSealed = "Records are sealed and nothing has left.",
    RecordAccepted = "A record is in the replay window and its message not dealt with.",
    RequestRemembered = "A request is in the window of Message IDs and nothing done for it.",
    ReplyTold = "A reply is remembered for copies and has not left.",
    AddressMoved = "A session has its new address and nothing is sent there.",
    SlotReserved = "A slot is reserved and its handshake not begun.",
    SlotBegun = "A slot is marked torn and nothing of it written.",
    SlotHalf = "A slot is half written.",
    SlotWritten = "A slot is written and still marked torn.",
    SlotWhole = "A session is established and the control plane not told.",
    SlotWiped = "A slot is wiped and still marked torn.",
    BlockKept = "A block of a body is kept and not answered.",
    PieceWritten = "A piece of a body is on the ring and what follows it is not.",
    DatagramLeaves = "The next datagram of a turn has not left.",
    TurnSent = "Everything of a turn has left.",
    EntryWritten = "A ring entry is written and not committed.",
    EntryCommitted = "A ring entry is committed and nothing else done.",
    EntryReleased = "A ring entry is released and nothing else done.",
    BeforePost = "The core wants an entry written, which is not yet.",
    BeforeDone = "The core has done with an entry, which is not released yet.",
    BeforePublish = "The core wants something published, which is not ordered yet.",
    BeforeWrite = "The core wants something written, which the store has not got.",
    BeforeReply = "The application is to be answered and is not yet.",
    BeforeOther = "The core wants something else.",
    BeforeFlush = "Entries for a worker wait for the ring.",
    Synced = "The store has synced and the core does not know.",
}

impl Point {
    /// Those that a worker passes.
    pub fn of_workers() -> &'static [Self] {
        &Self::ALL[..=Self::EntryReleased as usize]
    }

    /// Those that the core's process passes.
    pub fn of_core() -> &'static [Self] {
        &Self::ALL[Self::EntryWritten as usize..]
    }
}

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// At the point after so many.
    After(u32),
    /// The next time it passes this one.
    At(Point),
}

/// What a process dies of.
#[derive(Debug)]
pub struct Death;

thread_local! {
    static DOOM: Cell<Option<Doom>> = const { Cell::new(None) };
    static INSIDE: Cell<bool> = const { Cell::new(true) };
    static DIED_AT: RefCell<BTreeSet<Point>> = const { RefCell::new(BTreeSet::new()) };
}

/// This is what the process that runs from now on dies of; `None`: it lives on. Says what is left
/// of the one before.
pub fn runs(doom: Option<Doom>) -> Option<Doom> {
    DOOM.replace(doom)
}

/// Whether the process dies here.
pub fn strikes(point: Point) -> bool {
    let (left, dies) = match DOOM.get() {
        Some(Doom::After(0)) => (None, true),
        Some(Doom::After(left)) => (Some(Doom::After(left - 1)), false),
        Some(Doom::At(at)) if at == point => (None, true),
        other => (other, false),
    };
    DOOM.set(left);
    if dies {
        DIED_AT.with_borrow_mut(|died| died.insert(point));
    }
    dies
}

/// Whether processes of this thread may die inside the edge too, where it is armed.
pub fn may_be_inside(may: bool) {
    INSIDE.set(may);
}

/// See [`may_be_inside`].
pub fn is_inside() -> bool {
    INSIDE.get()
}

/// The points at which a process of this thread has died since the last call.
pub fn take() -> BTreeSet<Point> {
    DIED_AT.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_dies_once_where_it_was_told() {
        assert!(!strikes(Point::Synced), "it lives until it is told");
        runs(Some(Doom::After(1)));
        let struck = [Point::SlotHalf, Point::Synced, Point::Synced].map(strikes);
        assert_eq!(struck, [false, true, false]);
        runs(Some(Doom::At(Point::SlotHalf)));
        let struck = [Point::Synced, Point::SlotHalf, Point::SlotHalf].map(strikes);
        assert_eq!(struck, [false, true, false]);
        assert_eq!(take(), BTreeSet::from([Point::SlotHalf, Point::Synced]));
        assert_eq!(take(), BTreeSet::new());
    }

    #[test]
    fn both_processes_write_and_release_entries() {
        let both = |point: &&Point| Point::of_core().contains(point);
        let both: Vec<_> = Point::of_workers().iter().filter(both).copied().collect();
        assert_eq!(both, [Point::EntryWritten, Point::EntryCommitted, Point::EntryReleased]);
        assert!(!Point::of_core().contains(&Point::TurnSent));
        assert!(!Point::of_workers().contains(&Point::BeforePost));
    }
}
