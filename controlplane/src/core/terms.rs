//! How does the edge speak with a device? What its application profile says, over what the edge
//! does by itself.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_ring::contract::{self, OWN_WINDOW};

use super::cells::CellTerms;
use super::probing::PROBING_RATE;
use super::{ByDevice, Core};
use crate::control::Limits;
use crate::model::{ApplicationProfile, Device, DeviceId, LayoutRow, ProfileId, ProfileTerms};
use crate::store::account::Account;
use crate::store::records::read;
use crate::store::{Store, StoreError, Table};

/// What counts for one device.
#[derive(Debug)]
pub(super) struct Terms {
    /// Whose the device is.
    pub(super) account: Account,
    /// Requests outstanding with the device.
    pub(super) nstart: usize,
    /// Open messages.
    pub(super) queue_depth: usize,
    /// A queued message is that old at most, milliseconds.
    pub(super) queue_ttl_ms: u64,
    /// Longest payload of a device's request, bytes.
    pub(super) uplink_payload_bytes: usize,
    /// Longest payload of a request for the device, bytes, where its profile says so.
    pub(super) downlink_payload_bytes: Option<usize>,
    /// How long after a sign of life the device listens, milliseconds; `None`: it may always.
    pub(super) window_ms: Option<u64>,
    /// As it crosses in a published request's answer.
    pub(super) piggyback_window_ms: u32,
    /// The radio cell that its devices share, where its profile says so.
    pub(super) cell: Option<CellTerms>,
    /// PROBING_RATE, bytes a second.
    pub(super) probing_rate: u32,
    /// What its paths are for.
    pub(super) layout: Arc<[LayoutRow]>,
    /// As it crosses with each request for the device and each response to it.
    pub(super) wire: contract::Terms,
}

/// Terms found before. Forgotten whole when a profile changes.
#[derive(Default)]
pub(super) struct KnownTerms {
    known: ByDevice<Arc<Terms>>,
    /// Layouts are long, and many devices have the same.
    layouts: HashMap<ProfileId, Arc<[LayoutRow]>>,
}

/// Bound: devices whose terms are kept; at the bound all are looked up anew.
const KNOWN_MAX: usize = 65_536;

impl KnownTerms {
    pub(super) fn forget(&mut self, device: DeviceId) {
        self.known.remove(&device);
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.layouts.clear();
    }
}

impl Terms {
    fn new(
        limits: &Limits,
        (profile, said): (Option<ProfileId>, &ProfileTerms),
        layout: Arc<[LayoutRow]>,
        account: Account,
    ) -> Self {
        let cell = profile.zip(said.cell_window);
        let or_own = |told: Option<u32>| told.unwrap_or(0);
        Self {
            account,
            layout,
            cell: cell.map(|(profile, most)| CellTerms::new(profile, most, said)),
            probing_rate: said.probing_rate.unwrap_or(PROBING_RATE),
            nstart: said.nstart.unwrap_or(1) as usize,
            queue_depth: said
                .queue_depth
                .map_or(limits.queue_messages_per_device_max, |depth| depth as usize),
            queue_ttl_ms: said.queue_ttl_s.map_or(limits.queue_ttl_ms, |s| u64::from(s) * 1_000),
            uplink_payload_bytes: said
                .uplink_payload_bytes
                .map_or(usize::MAX, |bytes| bytes as usize),
            downlink_payload_bytes: said.downlink_payload_bytes.map(|bytes| bytes as usize),
            window_ms: said.listening_s.filter(|s| *s > 0).map(|s| u64::from(s) * 1_000),
            piggyback_window_ms: said.piggyback_window_ms.unwrap_or(OWN_WINDOW),
            wire: contract::Terms {
                ack_timeout_ms: or_own(said.ack_timeout_ms).into(),
                response_timeout_ms: or_own(said.response_timeout_ms).into(),
                ack_random_percent: (or_own(said.ack_random_percent) as u16).into(),
                max_retransmit_plus_1: said.max_retransmit.map_or(0, |times| times as u8 + 1),
                nstart: or_own(said.nstart) as u8,
            },
        }
    }
}

impl Core {
    /// `None`: there is no such device.
    pub(super) fn terms(&mut self, device: DeviceId) -> Result<Option<Arc<Terms>>, StoreError> {
        if let Some(terms) = self.terms.known.get(&device) {
            return Ok(Some(terms.clone()));
        }
        let Some((account, profile)) = find(&self.store, device)? else { return Ok(None) };
        if self.terms.known.len() >= KNOWN_MAX {
            self.terms.clear();
        }
        let of = profile.as_ref().map(|profile| profile.id);
        let (layout, said) = match profile {
            None => (Arc::default(), ProfileTerms::default()),
            Some(ApplicationProfile { id, mut terms, .. }) => {
                let rows = terms.layout.take().unwrap_or_default();
                (self.terms.layouts.entry(id).or_insert_with(|| rows.into()).clone(), terms)
            }
        };
        let terms = Arc::new(Terms::new(&self.limits, (of, &said), layout, account));
        self.terms.known.insert(device, terms.clone());
        Ok(Some(terms))
    }
}

fn find(
    store: &Arc<dyn Store>,
    device: DeviceId,
) -> Result<Option<(Account, Option<ApplicationProfile>)>, StoreError> {
    let Some(owner) = store.owner(device)? else { return Ok(None) };
    let store = &*store.within(owner).unwrap_or_else(|| store.clone());
    let Some(device) = read::<Device>(store, Table::Devices, &device.0)? else {
        return Ok(None);
    };
    let Some(profile) = device.application_profile else {
        return Ok(Some((owner, None)));
    };
    let profile = read::<ApplicationProfile>(store, Table::Profiles, &profile.0)?;
    Ok(Some((owner, profile)))
}
