//! Does the subscriber get what devices tell of observed states, each that was acknowledged, and
//! nothing else?

use std::collections::{BTreeMap, BTreeSet};

/// States of devices that the application observes.
#[derive(Default)]
pub(crate) struct States {
    devices: BTreeMap<usize, Told>,
    /// Seen by the subscriber.
    pub(crate) published: u64,
}

#[derive(Default)]
struct Told {
    newest: u32,
    /// Acknowledged by the edge, and not seen by the subscriber yet.
    acknowledged: BTreeSet<u32>,
    seen: BTreeSet<u32>,
    /// It has rejected to be observed: of two that ask, the other one may find it willing.
    has_rejected: bool,
}

impl States {
    /// A device has this state from now on.
    pub(crate) fn on_changed(&mut self, device: usize) {
        self.devices.entry(device).or_default().newest += 1;
    }

    /// The edge has acknowledged this one.
    pub(crate) fn on_acknowledged(&mut self, device: usize, state: u32) {
        let told = self.devices.entry(device).or_default();
        if !told.seen.contains(&state) {
            told.acknowledged.insert(state);
        }
    }

    /// A device does not want to be observed, at least now.
    pub(crate) fn on_rejected(&mut self, device: usize) {
        self.devices.entry(device).or_default().has_rejected = true;
    }

    /// The rings are gone, and what was on them.
    pub(crate) fn on_memory_lost(&mut self) {
        self.devices.values_mut().for_each(|told| told.acknowledged.clear());
    }

    /// The subscriber has an event with this payload; `None`: it tells no state.
    pub(crate) fn on_published(
        &mut self,
        device: usize,
        payload: &str,
    ) -> Option<Result<(), String>> {
        let state = payload.strip_prefix(&format!("s{device}."))?.parse().ok()?;
        let told = self.devices.entry(device).or_default();
        if state > told.newest {
            return Some(Err(format!("device {device} never had state {state}")));
        }
        told.acknowledged.remove(&state);
        told.seen.insert(state);
        self.published += 1;
        Some(Ok(()))
    }

    /// The run is over: what was acknowledged is with the subscriber. `is_observed`: the device has
    /// agreed to it, and the application knows.
    pub(crate) fn at_the_end(&self, is_observed: impl Fn(usize) -> bool) -> Result<(), String> {
        let promised =
            |(device, told): &(&usize, &Told)| !told.has_rejected && is_observed(**device);
        let lost = |(device, told): (&usize, &Told)| Some((*device, *told.acknowledged.first()?));
        match self.devices.iter().filter(promised).find_map(lost) {
            Some((device, state)) => {
                Err(format!("state {state} of device {device} was acknowledged and lost"))
            }
            None => Ok(()),
        }
    }
}
