//! Which bugs can be planted? One line each; the simulator has to find every one of them.

macro_rules! bugs {
    ($($bug:ident = $help:literal),+ $(,)?) => {
        /// A bug that can be planted. Its sentence stands in docs/reliability.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $(#[doc = $help] $bug),+ }
        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$bug),+];
            /// What it does, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $(Self::$bug => $help),+ }
            }
            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$bug => stringify!($bug)),+ }
            }
        }
    };
}

bugs! {
    ConfirmedBeforePublished = "An uplink is acknowledged before the broker has it.",
    ConfirmedBeforeStored = "An uplink is acknowledged before the store has it, which is to keep it.",
    PromiseReleased = "The ring entry of an uplink is released when its device is told, not when the store has it.",
    OutboxForgotten = "An uplink leaves the outbox when it is published, not when it is confirmed.",
    OutboxOvertaken = "An uplink is published before those of its device that wait in the outbox.",
    ReplayBeforeAuthentication = "A record's number enters the replay window before its tag is checked.",
    SequenceTakenAfterSealing = "A record's number is taken after it is sealed, once for a batch.",
    SequenceStoredRarely = "The next record number is stored now and then: a crash takes it back.",
    ReleaseLost = "The ring entry of an uplink that could not be published is never released.",
    HalfAGeneration = "A policy sheet counts as soon as the first piece of it is there.",
    DedupForgotten = "A copy of a request is served as a new one.",
    AddressMovedByOldRecord = "A session's address moves with every authentic record, old ones too.",
    DeliveredWhenSent = "A message counts as delivered when it leaves.",
    RepeatedTooEarly = "The first repetition comes after half of ACK_TIMEOUT.",
    RepeatedTooOften = "A message is repeated once more than MAX_RETRANSMIT says.",
    AcceptedBeforeDurable = "A message is accepted before it is durable.",
    ImmediateGoesAgain = "A message of QueueMode 0 goes once more when nothing was heard of it.",
    CookieNotAsked = "A handshake begins without a cookie.",
    FateForgotten = "A datagram with an unknown Connection ID is not counted.",
    NonceIgnored = "What is said of an exchange reaches whoever has its place now.",
    ResponseNotKept = "A device's response is not kept until the broker has it.",
    QueueFromTheBack = "The last message of a device's queue goes first.",
    ExchangeKept = "An exchange that a NON answers is never forgotten.",
    PieceOfTheDead = "What a dead worker left of a body on the ring is taken for the beginning of the next.",
    BodyKept = "The memory of a response that came block by block is not given back.",
    BurstServedAgain = "Late blocks of a body that was whole make another one of it.",
    DeliveredByABlock = "A message counts as delivered when the first of its blocks is acknowledged.",
    ConnectKept = "A session that could not be opened keeps its slot.",
    PortNotAsked = "A device without security is believed from any port of its address, also where one is named.",
    MessageIdReused = "A message takes a Message ID that another one still has.",
}

#[cfg(feature = "armed")]
pub use armed::{has, plant};

#[cfg(feature = "armed")]
mod armed {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug in this thread, or takes it out.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether this bug is planted in this thread.
    pub fn has(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}
