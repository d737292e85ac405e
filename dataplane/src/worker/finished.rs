//! Which bodies came whole a short while ago? A late block of one is no beginning of another one
//! (RFC 9177 section 4.3).
//!
//! *Bound:* `FINISHED_MAX`; the oldest gives way. A late block of that one would begin a body that
//! is asked for, and the device, which has had its answer, rejects that.

use super::uploads::Name;
use crate::bounds::FINISHED_MAX;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use tidegate_coap::block::quick::NON_PARTIAL_TIMEOUT_MS;
use tidegate_coap::code::Code;
use tidegate_faults::{Bug, has};
use tidegate_ring::contract::SessionRef;

/// Bodies that came whole in any order of their blocks.
#[derive(Debug)]
pub(super) struct Finished {
    bodies: HashMap<(SessionRef, Name), Body, RandomState>,
    /// When each of them was whole, oldest first.
    order: VecDeque<(u64, SessionRef, Name)>,
}

/// What is remembered of one.
#[derive(Clone, Copy, Debug)]
struct Body {
    whole_ms: u64,
    /// What the device was told then, if that was a mere code.
    told: Option<Code>,
}

impl Finished {
    /// None.
    pub(super) fn new() -> Self {
        // Twice the room: a table more than half full grows when it is tidied up.
        let bodies = HashMap::with_capacity_and_hasher(2 * FINISHED_MAX, RandomState::default());
        Self { bodies, order: VecDeque::with_capacity(FINISHED_MAX) }
    }

    /// A body is whole. *Why it belongs to a session:* a device that starts anew may use its
    /// Request-Tags again.
    pub(super) fn add(&mut self, now_ms: u64, session: SessionRef, name: Name) {
        if self.order.len() == FINISHED_MAX {
            self.forget_oldest();
        }
        self.bodies.insert((session, name), Body { whole_ms: now_ms, told: None });
        self.order.push_back((now_ms, session, name));
    }

    /// What a late block of such a body is told; `None`: there is no such body.
    pub(super) fn late(&self, session: SessionRef, name: Name) -> Option<Late> {
        let body = self.bodies.get(&(session, name)).filter(|_| !has(Bug::BurstServedAgain))?;
        Some(body.told.map_or(Late::Nothing, Late::Code))
    }

    /// The device is told what became of a body. One that could not be served may come again.
    pub(super) fn tell(&mut self, session: SessionRef, name: Name, code: Code) {
        if code == Code::SERVICE_UNAVAILABLE {
            self.bodies.remove(&(session, name));
        } else if let Some(body) = self.bodies.get_mut(&(session, name)) {
            body.told = Some(code);
        }
    }

    /// Forgets those of which no block can come any more.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        let before_ms = now_ms.saturating_sub(NON_PARTIAL_TIMEOUT_MS);
        while self.order.front().is_some_and(|(whole_ms, ..)| *whole_ms < before_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((whole_ms, session, name)) = self.order.pop_front() else { return };
        // It may have come whole again.
        if self.bodies.get(&(session, name)).is_some_and(|body| body.whole_ms == whole_ms) {
            self.bodies.remove(&(session, name));
        }
    }
}

/// What a late block is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// No more than that it has arrived.
    Nothing,
    /// What became of the body: all other blocks are here.
    Code(Code),
}
