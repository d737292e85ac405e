//! How fast may the edge send to a device that does not respond? PROBING_RATE bytes a second on
//! average (RFC 7252 section 4.7).
//!
//! ```text
//! NON sent ─▶ no response in its time, nor any sign of life ─▶ pause: its bytes / PROBING_RATE
//! sign of life, or the pause is over ─▶ the next message
//! ```
//!
//! *Why only NONs:* a CON that is not acknowledged backs off by itself, and who acknowledges one
//! responds. *Bound:* `PAUSES_MAX` devices; beyond it the pause that is over first ends at once.

use std::collections::BTreeSet;

use super::messages::encode_request;
use super::{ByDevice, Core, Now};
use crate::model::{DeviceId, MessageId};
use crate::store::queue;

/// Devices that have not responded, until when each is left alone.
#[derive(Default)]
pub(super) struct Probing {
    until_ms: ByDevice<u64>,
    /// The same by time.
    due: BTreeSet<(u64, DeviceId)>,
}

/// PROBING_RATE of RFC 7252 section 4.8, bytes a second.
pub(super) const PROBING_RATE: u32 = 1;
const PAUSES_MAX: usize = 1 << 18;
/// Token of a request of ours, bytes.
const TOKEN_BYTES: usize = 4;

impl Probing {
    pub(super) fn is_paused(&self, device: DeviceId) -> bool {
        self.until_ms.contains_key(&device)
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Whatever there was, the device may be sent to.
    pub(super) fn end(&mut self, device: DeviceId) {
        if let Some(until_ms) = self.until_ms.remove(&device) {
            self.due.remove(&(until_ms, device));
        }
    }

    pub(super) fn begin(&mut self, device: DeviceId, until_ms: u64) {
        self.end(device);
        if self.due.len() >= PAUSES_MAX
            && let Some((_, first)) = self.due.pop_first()
        {
            self.until_ms.remove(&first);
        }
        self.until_ms.insert(device, until_ms);
        self.due.insert((until_ms, device));
    }
}

impl Core {
    /// The device has shown that it is there.
    pub(super) fn on_sign_of_life(&mut self, now: Now, device: DeviceId) {
        self.sessions.wake(now, device);
        self.probing.end(device);
    }

    /// Nothing came back for a NON, which has not ended yet.
    pub(super) fn on_unanswered(&mut self, now: Now, device: DeviceId, id: MessageId) {
        let Some(open) = self.messages.get_mut(device, id) else { return };
        let (place, sent_unix_ms) = (open.place, open.message.status.sent_unix_ms);
        let since_ms = now.unix_ms.saturating_sub(sent_unix_ms.unwrap_or(now.unix_ms));
        let sent_ms = now.ms.saturating_sub(since_ms);
        if self.sessions.awake_ms(device).is_some_and(|heard_ms| heard_ms > sent_ms) {
            return;
        }
        let queued = queue::claim(&*self.store, device, place).ok().flatten();
        let request = queued.and_then(|queued| queued.request().ok());
        let written = request.and_then(|request| encode_request(&request).ok());
        let bytes = written.map_or(0, |(message, _)| message.len() + TOKEN_BYTES) as u64;
        let terms = self.terms(device).ok().flatten();
        let rate = terms.map_or(PROBING_RATE, |terms| terms.probing_rate);
        let until_ms = sent_ms + bytes * 1_000 / u64::from(rate.max(1));
        if until_ms > now.ms {
            self.probing.begin(device, until_ms);
        }
    }

    /// Devices that were left alone long enough.
    pub(super) fn on_pauses_due(&mut self, now: Now) {
        while let Some((due_ms, device)) = self.probing.due.first().copied()
            && due_ms <= now.ms
        {
            self.probing.end(device);
            self.hand_over(now, device);
        }
    }
}
