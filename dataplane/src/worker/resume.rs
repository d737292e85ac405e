//! Which session does a ClientHello go on with, and which may one go on with later?
//!
//! A full handshake that is complete leaves an entry in this worker's table; a ClientHello that
//! names one is looked up in the table of whichever worker the session id says. What the device
//! may do is not decided here: `SessionUp` carries the stamp of the credential the session was
//! made with, and the control plane ends it when that is not the device's any more.

use super::Worker;
use crate::fate::Tally;
use crate::handover::Letter;
use tidegate_ring::contract::DeviceId;

impl Worker {
    /// A fatal alert has ended the session in `slot`: it is not resumed (RFC 5246 section 7.2.2).
    /// Only its owner knows the entry; an alert that no key protects never comes here.
    pub(super) fn invalidate(&mut self, slot: u32) {
        let (device, at) = (self.slab.get(slot).device, self.slab.get(slot).resumable_at);
        match at.checked_sub(1) {
            None => {}
            Some(worker) if worker == self.index => self.forget_resumable(&device),
            Some(worker) if self.post(worker, Letter::NotResumable(device)) => {}
            Some(_) => self.counters.tally(Tally::LetterLost),
        }
    }

    /// Nothing of this device that this worker keeps is resumed any more.
    pub(super) fn forget_resumable(&mut self, device: &DeviceId) {
        if self.resumptions.forget(device) {
            self.counters.tally(Tally::ResumptionForgotten);
        }
    }
}
