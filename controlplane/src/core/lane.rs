//! What waits for one device, and what may go next? The queue's order and one at a time.

use tidegate_faults::{Bug, has};

use crate::model::{MessageId, MessageState};
use crate::store::keys::Place;
use crate::store::queue::Waiting;
use crate::store::records::Message;

/// The open messages of one device, in order of their place.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) open: Vec<Open>,
    /// The device has shown itself and nothing since says that it went back to sleep.
    pub(super) awake: bool,
}

/// One open message.
pub(super) struct Open {
    pub(super) message: Message,
    pub(super) place: Place,
    pub(super) waiting: Waiting,
    pub(super) phase: Phase,
    /// Expires, or is given up (milliseconds).
    pub(super) due_ms: u64,
}

/// Where an open message is.
pub(super) enum Phase {
    /// Not durable yet; an answer's post waits for that.
    Storing(Option<Box<super::Post>>),
    /// May be sent.
    Waiting,
    /// Handed to a worker: an outcome follows.
    UnderWay,
}

impl Lane {
    /// The next message that may be handed over now: QueueMode 0 first (now or never), QueueMode 1
    /// while the device is awake; nothing while NSTART requests are outstanding. A request counts
    /// until it is acknowledged, its response may come later (RFC 7252 section 4.7).
    pub(super) fn next(&self, nstart: usize) -> Option<&Open> {
        if self.is_full(nstart) {
            return None;
        }
        let waits = |open: &&Open, how| matches!(open.phase, Phase::Waiting) && open.waiting == how;
        let immediate = self.open.iter().find(|open| waits(open, Waiting::Immediate));
        let queued = || {
            let in_queue = |open: &&Open| {
                open.waiting == Waiting::Queued && !matches!(open.phase, Phase::UnderWay)
            };
            let last = has(Bug::QueueFromTheBack);
            let first = if last {
                self.open.iter().rev().find(in_queue)
            } else {
                self.open.iter().find(in_queue)
            };
            // A message before it may still be on its way to the disk: order is kept.
            first.filter(|open| matches!(open.phase, Phase::Waiting))
        };
        immediate.or_else(|| self.awake.then(queued).flatten())
    }

    /// Are as many requests outstanding as may be?
    pub(super) fn is_full(&self, nstart: usize) -> bool {
        self.open.iter().filter(|open| open.is_outstanding()).count() >= nstart
    }

    /// Does QueueMode 1 wait for the device, with nothing on its way?
    pub(super) fn is_queue_waiting(&self) -> bool {
        let waits =
            |open: &Open| open.waiting == Waiting::Queued && matches!(open.phase, Phase::Waiting);
        self.open.iter().any(waits) && !self.open.iter().any(Open::is_outstanding)
    }

    /// QueueMode 0 messages that wait.
    pub(super) fn waiting_immediate(&self) -> Vec<MessageId> {
        let waits = |open: &&Open| {
            open.waiting == Waiting::Immediate && matches!(open.phase, Phase::Waiting)
        };
        self.open.iter().filter(waits).map(|open| open.message.status.id).collect()
    }

    pub(super) fn insert(&mut self, open: Open) {
        let at = self.open.partition_point(|other| other.place < open.place);
        self.open.insert(at, open);
    }

    pub(super) fn get_mut(&mut self, id: MessageId) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.message.status.id == id)
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Open> {
        let at = self.open.iter().position(|open| open.message.status.id == id)?;
        Some(self.open.remove(at))
    }
}

impl Open {
    /// Handed to a worker, and the device has not acknowledged it.
    fn is_outstanding(&self) -> bool {
        let is_request = self.waiting != Waiting::Answer;
        is_request && matches!(self.phase, Phase::UnderWay) && !self.is_delivered()
    }

    /// Its worker has said that it was sent.
    pub(super) fn is_told(&self) -> bool {
        self.message.status.state != MessageState::Queued
    }

    fn is_delivered(&self) -> bool {
        self.message.status.state == MessageState::Delivered
    }

    /// Back to the queue: nothing of it counts but the attempts.
    pub(super) fn requeue(&mut self) {
        self.phase = Phase::Waiting;
        self.message.session = None;
        let status = &mut self.message.status;
        status.state = MessageState::Queued;
        status.sent_unix_ms = None;
        status.delivered_unix_ms = None;
    }
}
