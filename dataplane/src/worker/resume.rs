//! Which session does a ClientHello go on with, and which may one go on with later?
//!
//! A full handshake that is complete leaves an entry in this worker's table; a ClientHello that
//! names one is looked up in the table of whichever worker the session id says. What the device
//! may do is not decided here: `SessionUp` carries the stamp of the credential the session was
//! made with, and the control plane ends it when that is not the device's any more.

use super::Worker;
use super::credentials::{Name, Owner};
use crate::clock::Now;
use crate::fate::Tally;
use crate::handover::Letter;
use crate::resumptions::{Found, Origin, Reservation, SessionId};
use rand::Rng;
use tidegate_dtls::resumption::Resumable;
use tidegate_dtls::server::Handshake;
use tidegate_ring::contract::{Claim, DeviceId};

/// What a handshake may resume, and what can be resumed after it.
#[derive(Debug, Default)]
pub(super) struct Resumption {
    /// The session that its ClientHello names.
    found: Option<Found>,
    /// Where a new session will be kept.
    reservation: Option<Reservation>,
}

impl Resumption {
    /// What the handshake may go on with.
    pub(super) fn resumable(&self) -> Option<&Resumable> {
        self.found.as_ref().map(|found| &found.resumable)
    }

    /// Whose session it is. The name under which its device was let in is not kept: empty.
    pub(super) fn owner(&self) -> Option<(Owner, Name)> {
        let Origin { device, stamp, network, claim, class } = self.found.as_ref()?.origin;
        Some((Owner { device, network, stamp, class }, Name { claim, bytes: [].into() }))
    }

    /// What a new session will be called; `None`: it can't be resumed.
    pub(super) fn new_id(&self) -> Option<SessionId> {
        self.reservation.as_ref().map(|reservation| reservation.id)
    }
}

impl Worker {
    /// A handshake begins with a ClientHello that names `session_id`, perhaps empty.
    pub(super) fn begin_resumption(&mut self, now: Now, session_id: &[u8]) -> Resumption {
        let found = self.resumptions.find(now.s(), session_id);
        if found.is_none() && !session_id.is_empty() {
            self.counters.tally(Tally::ResumptionUnknown);
        }
        let mut random = [0; 28];
        self.random.fill(&mut random);
        let reservation = self.resumptions.reserve(random);
        Resumption { found, reservation }
    }

    /// The handshake came to nothing.
    pub(super) fn cancel_resumption(&mut self, resumption: &Resumption) {
        if let Some(reservation) = &resumption.reservation {
            self.resumptions.cancel(reservation);
        }
    }

    /// The full handshake in `slot` is complete: its session can be resumed from now on.
    pub(super) fn keep_resumable(
        &mut self,
        now: Now,
        slot: u32,
        resumption: &Resumption,
        owner: &Owner,
        claim: Claim,
        handshake: &Handshake,
    ) {
        match (&resumption.reservation, handshake.resumable()) {
            (Some(reservation), Some(mut resumable)) => {
                let Owner { device, network, stamp, class } = *owner;
                let origin = Origin { device, stamp, network, claim, class };
                self.resumptions.store(now.s(), reservation, &origin, &resumable);
                self.slab.get_mut(slot).set_resumable_at(self.index);
                resumable.wipe();
            }
            _ => self.cancel_resumption(resumption),
        }
    }

    /// The handshake in `slot` has resumed what it found.
    pub(super) fn on_resumed(&mut self, slot: u32, resumption: &Resumption) {
        self.cancel_resumption(resumption);
        self.counters.tally(Tally::SessionResumed);
        if let Some(found) = &resumption.found {
            self.slab.get_mut(slot).set_resumable_at(found.worker);
        }
    }

    /// A fatal alert has ended the session in `slot`: it is not resumed (RFC 5246 section 7.2.2).
    /// Only its owner knows the entry; an alert that no key protects never comes here.
    pub(super) fn invalidate(&mut self, slot: u32) {
        let device = self.slab.get(slot).device;
        match self.slab.get(slot).resumable_at() {
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
