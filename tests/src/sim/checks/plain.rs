//! Does a plain device have one session as long as it stays, and nobody one who may not?

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tidegate_dataplane::fate::Tally;
use tidegate_dataplane::slab::State;
use tidegate_dataplane::worker::Worker;
use tidegate_ring::contract::SessionRef;

use super::Interruptions;
use crate::sim::dataplane::Seat;
use crate::sim::provision::number_of;

/// Devices without security, as the workers have them.
#[derive(Default)]
pub(crate) struct Plain {
    devices: BTreeMap<usize, Known>,
    /// Those that may not be one now.
    barred: BTreeSet<usize>,
    stamps: u64,
    /// Their sessions so far.
    pub(crate) begun: u64,
    /// Plain datagrams from elsewhere.
    pub(crate) of_strangers: u64,
}

#[derive(Default)]
struct Known {
    from: Option<SocketAddr>,
    /// How often it spoke from another address than before.
    moved: u64,
    /// Whether its standing was ever changed: it may speak while it does, and is sent away again.
    is_changed: bool,
    /// By worker, its session there and what it is the session of.
    sessions: BTreeMap<usize, (SessionRef, Reasons)>,
}

/// What has to be another one for there to be another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reasons {
    moved: u64,
    deaths: u32,
    evicted: u64,
}

/// Stamps of ours begin here.
const STAMP: u64 = 1 << 32;

impl Plain {
    /// A device may be one from now on, or not; the stamp of its standing.
    pub(crate) fn on_ordered(&mut self, device: usize, allows: bool) -> u64 {
        if allows {
            self.barred.remove(&device);
        } else {
            self.barred.insert(device);
        }
        self.devices.entry(device).or_default().is_changed = true;
        self.stamps += 1;
        STAMP + self.stamps
    }

    pub(crate) fn is_barred(&self, device: usize) -> bool {
        self.barred.contains(&device)
    }

    /// It speaks from there.
    pub(super) fn on_datagram(&mut self, device: usize, from: SocketAddr) {
        let known = self.devices.entry(device).or_default();
        known.moved += u64::from(known.from.replace(from) != Some(from));
    }

    /// A worker has had a turn: the devices that have another session now.
    pub(crate) fn on_turn(
        &mut self,
        index: usize,
        worker: &Worker,
        now: Interruptions,
    ) -> Result<Vec<usize>, String> {
        let mut begun = Vec::new();
        for (session, device) in sessions(worker) {
            let device = number_of(device).ok_or("a plain session of nobody")?;
            let known = self.devices.entry(device).or_default();
            let evicted = worker.counters().of(Tally::Evicted);
            let reasons = Reasons { moved: known.moved, deaths: now.dataplane, evicted };
            let before = known.sessions.get(&index).copied();
            if before.is_some_and(|(before, _)| before == session) {
                continue;
            }
            // Rings of two workers have no order: which of its sessions there is the newer one, the
            // control plane may get wrong.
            let is_elsewhere = known.sessions.keys().any(|worker| *worker != index);
            let may_change = known.is_changed || is_elsewhere;
            if !may_change && before.is_some_and(|(_, before)| before == reasons) {
                return Err(format!("the plain session of device {device} became another one"));
            }
            known.sessions.insert(index, (session, reasons));
            self.begun += 1;
            begun.push(device);
        }
        Ok(begun)
    }

    /// Long after all is well no worker has a session of who may not have one.
    pub(crate) fn nobody_barred(&self, seats: &[Seat]) -> Result<(), String> {
        for worker in seats.iter().filter_map(|seat| seat.worker.as_ref()) {
            let mut devices = sessions(worker).filter_map(|(_, device)| number_of(device));
            if let Some(device) = devices.find(|device| self.is_barred(*device)) {
                return Err(format!("device {device} may not be without security and is served"));
            }
        }
        Ok(())
    }
}

fn sessions(worker: &Worker) -> impl Iterator<Item = (SessionRef, [u8; 16])> {
    let slab = worker.slab();
    let plain = (0..slab.used()).filter(|slot| slab.get(*slot).state() == State::NoSec);
    plain.map(|slot| (slab.session(slot), slab.get(slot).device))
}
