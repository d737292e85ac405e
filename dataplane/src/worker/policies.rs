//! What counts for a session? The policy sheet in use, and what its class says.
//!
//! A sheet counts once it is whole and every item of it is good; until then, and when it is not,
//! the last one does. A batch sees one sheet, because pieces come between batches. A change counts
//! for the sessions that are there: they name their class, and the sheet says what that is.
//!
//! *Bound:* `POLICIES_BYTES_MAX` for the sheet under way, `CLASSES_MAX` classes.

use super::Worker;
use super::assembly::{Assembly, Piece, Place};
use crate::fate::Tally;
use crate::rates::{Devices, Meter};
use tidegate_faults::{Bug, has};
use tidegate_ring::contract::{self as wire, POLICIES_BYTES_MAX};
use tidegate_ring::policy::Sheet;

/// The policies of one worker.
#[derive(Debug)]
pub(super) struct Policies {
    assembly: Assembly,
    pub(super) sheet: Sheet,
    /// What each session has sent, where its class has a limit.
    pub(super) sent: Devices,
}

impl Policies {
    pub(super) fn new() -> Self {
        let assembly = Assembly::new(POLICIES_BYTES_MAX);
        Self { assembly, sheet: Sheet::default(), sent: Devices::default() }
    }

    /// The session in this slot has ended.
    pub(super) fn forget(&mut self, slot: u32) {
        self.sent.set(slot, Meter::default());
    }
}

impl Worker {
    /// A piece of a policy sheet.
    pub(super) fn on_policies(&mut self, piece: &wire::Policies, bytes: &[u8]) {
        let mut place = Place::of_policies(piece);
        if has(Bug::HalfAGeneration) {
            place = place.as_if_whole(bytes);
        }
        let sheet = match self.policies.assembly.on_piece(place, bytes) {
            Piece::Taken => return,
            Piece::Whole(bytes) => Sheet::parse(bytes.as_bytes()),
            Piece::Refused => None,
        };
        self.counters.tally(match sheet {
            Some(sheet) => {
                if sheet.limits_devices() {
                    self.policies.sent.provide(self.slab.capacity());
                }
                self.policies.sheet = sheet;
                Tally::Policies
            }
            None => Tally::PoliciesRefused,
        });
    }

    /// A device belongs to another class from now on.
    pub(super) fn on_class(&mut self, order: &wire::Class) {
        let class = order.class.get();
        self.credentials.reclass(&order.device, class);
        if let Some(slot) = self.session_of(order.session.get(), &order.device) {
            self.slab.get_mut(slot).class = class;
        }
    }
}
