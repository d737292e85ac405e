//! When does a device listen, and why does a message wait?
//!
//! ```text
//! sign of life ─▶ awake ─▶ …ListeningSeconds of its profile ─▶ the window is closed
//!                  └─▶ not answered: asleep ────────────────▶ … until the next sign of life
//! ```
//!
//! *Why by the profile:* a device in PSM or with a long eDRX cycle hears nothing once its radio
//! sleeps, and what is sent then costs it a retransmission, or the message an attempt.

use super::lane::{Lane, Phase};
use super::{Core, Now};
use crate::model::{DeviceId, MessageId, Wait};
use crate::store::queue::Waiting;

impl Core {
    /// Is the device, by its profile, not listening any more? Without a window it may always be.
    pub(super) fn is_window_closed(&mut self, now: Now, device: DeviceId) -> bool {
        let terms = self.terms(device).ok().flatten();
        let Some(window_ms) = terms.and_then(|terms| terms.window_ms) else { return false };
        let last_ms = self.sessions.awake_ms(device);
        last_ms.is_none_or(|last_ms| now.ms.saturating_sub(last_ms) >= window_ms)
    }

    /// Has the device a window, and is it open?
    pub(super) fn is_window_open(&mut self, now: Now, device: DeviceId) -> bool {
        let terms = self.terms(device).ok().flatten();
        terms.is_some_and(|terms| terms.window_ms.is_some()) && !self.is_window_closed(now, device)
    }

    /// Why each of a device's open messages waits; what is with a worker, and said so, does not.
    pub(super) fn waits(&mut self, now: Now, device: DeviceId) -> Vec<(MessageId, Wait)> {
        let terms = self.terms(device).ok().flatten();
        let cell = terms.as_ref().and_then(|terms| terms.cell);
        let nstart = terms.map_or(1, |terms| terms.nstart);
        let is_closed = self.is_window_closed(now, device);
        let there = self.sessions.session(device);
        let is_connecting = self.is_connecting(device);
        let has_worker = there.is_some_and(|at| self.link_of_worker(at.worker()).is_some());
        let is_paused = self.probing.is_paused(device);
        let is_in_line = cell.is_some_and(|cell| self.cells.is_in_line(&cell, device));
        let Some(lane) = self.messages.lanes.get(&device) else { return Vec::new() };
        let of_first = |how: Waiting| {
            if lane.is_full(nstart) {
                return Some(Wait::Nstart);
            }
            match there {
                None if is_connecting => Some(Wait::Connecting),
                None => Some(Wait::NoSession),
                Some(_) if !has_worker => Some(Wait::DataplaneAway),
                Some(_) if is_paused => Some(Wait::ProbingRate),
                Some(_) if is_in_line => Some(Wait::CellWindow),
                Some(_) if how == Waiting::Immediate => None,
                Some(_) if is_closed => Some(Wait::WindowClosed),
                Some(_) => (!lane.awake).then_some(Wait::Asleep),
            }
        };
        reasons(lane, of_first)
    }
}

/// The first of each kind waits for what `of_first` says, those behind it wait for it.
fn reasons(lane: &Lane, of_first: impl Fn(Waiting) -> Option<Wait>) -> Vec<(MessageId, Wait)> {
    let mut seen = Vec::new();
    let reason = |open: &super::lane::Open| match open.phase {
        Phase::UnderWay if open.is_told() => None,
        Phase::UnderWay => Some(Wait::HandedOver),
        Phase::Waiting | Phase::Storing(_) if seen.contains(&open.waiting) => {
            Some(Wait::BehindAnother)
        }
        Phase::Waiting | Phase::Storing(_) => {
            seen.push(open.waiting);
            of_first(open.waiting)
        }
    };
    let ids = lane.open.iter().map(|open| open.message.status.id);
    let reasons: Vec<_> = lane.open.iter().map(reason).collect();
    ids.zip(reasons).filter_map(|(id, reason)| Some((id, reason?))).collect()
}
