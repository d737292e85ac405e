//! Whom does the edge trust, and who does it say it is? The trust sheet, made from the store.
//!
//! Every worker gets it when it is attached, when it says Hello, and when it has changed. Changes
//! are gathered for a moment. *Why:* a thousand devices provisioned one by one are few sheets.

use std::collections::HashSet;

use tidegate_ring::contract::{Kind, TAIL_BYTES_MAX, TRUST_BYTES_MAX, Trust as Piece};
use tidegate_ring::trust::{self, Item, NOSEC_MAX, NoSec, Redacted};
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

use super::classes::Classes;
use super::credentials::on_the_wire;
use super::{Core, LinkId, Now};
use crate::control::{AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX};
use crate::identity::ServerIdentity;
use crate::model::{DeviceId, SecurityMode};
use crate::store::names::{self, Name, Owner, Standing};
use crate::store::records::{self, Authority};
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// Keys, chains and names of the server together, bytes: more than the configuration allows.
pub(super) const IDENTITIES_BYTES_MAX: usize = 256 << 10;
/// What an item needs beside its body, bytes.
const ITEM_BYTES: usize = 5;
/// A NoSec item, whole, bytes.
const NOSEC_BYTES: usize = ITEM_BYTES + 16 + 2 + 1 + 16 + 8 + 2;

/// What may be configured and provisioned always fits.
const _: () = assert!(
    AUTHORITIES_MAX * (ITEM_BYTES + CERTIFICATE_BYTES_MAX)
        + IDENTITIES_BYTES_MAX
        + NOSEC_MAX * NOSEC_BYTES
        <= TRUST_BYTES_MAX
);

/// Longest part of the sheet in one piece, bytes.
const PIECE_BYTES: usize = TAIL_BYTES_MAX;
/// Changes are gathered so long, milliseconds.
const GATHER_MS: u64 = 50;
/// A store that can't be read is asked again after this, milliseconds.
const RETRY_MS: u64 = 1_000;
/// More than the API lets anyone register, active or not.
const SCAN_ENTRIES: usize = 1_024;

/// The sheet that counts.
pub(super) struct Trust {
    identities: Vec<ServerIdentity>,
    /// It has private keys.
    sheet: Zeroizing<Vec<u8>>,
    generation: u64,
    /// Devices on it.
    unsecured: HashSet<DeviceId>,
    /// Made anew then.
    due_ms: Option<u64>,
    omitted: usize,
}

/// A sheet just made.
struct Sheet {
    bytes: Zeroizing<Vec<u8>>,
    unsecured: HashSet<DeviceId>,
    omitted: usize,
}

impl Trust {
    /// The first sheet of this life; its number is greater than any of the lives before.
    pub(super) fn restore(
        store: &dyn Store,
        classes: &Classes,
        now: Now,
        identities: Vec<ServerIdentity>,
    ) -> Result<Self, StoreError> {
        let stored = store.get(Table::Meta, keys::TRUST_GENERATION)?;
        let stored = stored.and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
        let made = make(store, classes, &identities)?;
        Ok(Self {
            identities,
            sheet: made.bytes,
            generation: (stored.unwrap_or(0) + 1).max(now.unix_ms),
            unsecured: made.unsecured,
            due_ms: None,
            omitted: made.omitted,
        })
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Items that are damaged or found no room: more than the API accepts.
    pub(super) fn omitted(&self) -> usize {
        self.omitted
    }

    /// In its place in every later life.
    pub(super) fn remember(&self) -> Transaction {
        let mut tx = Transaction::new();
        tx.put(Table::Meta, keys::TRUST_GENERATION, self.generation.to_be_bytes());
        tx
    }
}

impl Core {
    /// Something on the sheet has changed.
    pub(super) fn trust_changed(&mut self, now: Now) {
        self.trust.due_ms.get_or_insert(now.ms + GATHER_MS);
    }

    /// A device has changed: was it on the sheet, or does it belong there?
    pub(super) fn trust_changed_by(&mut self, now: Now, device: DeviceId) {
        let belongs = match Standing::of(&*self.store, device) {
            Ok(standing) => standing.is_some_and(|now| now.permits_anywhere(SecurityMode::NoSec)),
            Err(_) => true,
        };
        if belongs || self.trust.unsecured.contains(&device) {
            self.trust_changed(now);
        }
    }

    pub(super) fn on_trust_due(&mut self, now: Now) {
        if self.trust.due_ms.is_none_or(|due_ms| due_ms > now.ms) {
            return;
        }
        let Ok(made) = make(&*self.store, &self.classes, &self.trust.identities) else {
            self.trust.due_ms = Some(now.ms + RETRY_MS);
            return;
        };
        self.trust.due_ms = None;
        (self.trust.unsecured, self.trust.omitted) = (made.unsecured, made.omitted);
        if made.bytes == self.trust.sheet {
            return;
        }
        self.trust.sheet = made.bytes;
        self.trust.generation = (self.trust.generation + 1).max(now.unix_ms);
        self.write(self.trust.remember(), None);
        let links: Vec<_> = self.links.iter().map(|link| link.id).collect();
        for link in links {
            self.send_trust(link);
        }
    }

    /// The whole sheet, also when nothing stands on it.
    pub(super) fn send_trust(&mut self, link: LinkId) {
        let sheet = std::mem::take(&mut self.trust.sheet);
        let pieces = sheet.len().div_ceil(PIECE_BYTES).max(1);
        for at in 0..pieces {
            let offset = at * PIECE_BYTES;
            let body = &sheet[offset..sheet.len().min(offset + PIECE_BYTES)];
            let piece = Piece {
                generation: self.trust.generation.into(),
                offset: (offset as u32).into(),
                total: (sheet.len() as u32).into(),
            };
            self.post(link, Kind::Trust, &[piece.as_bytes(), body], None);
        }
        self.trust.sheet = sheet;
    }
}

/// Server identities first: without them nobody with a certificate gets in. A record that is
/// damaged is left out.
fn make(
    store: &dyn Store,
    classes: &Classes,
    identities: &[ServerIdentity],
) -> Result<Sheet, StoreError> {
    let (authorities, mut omitted) = active_authorities(store)?;
    let (devices, damaged) = unsecured_devices(store, classes)?;
    omitted += damaged;
    let mut items = Vec::new();
    for identity in identities {
        items.push(Item::Key(Redacted(identity.key.as_bytes())));
        items.extend(identity.chain.iter().map(|der| Item::Chain(der)));
        items.extend(identity.names.iter().map(|name| Item::Name(name)));
    }
    items.extend(authorities.iter().map(|der| Item::Authority(der)));
    items.extend(devices.iter().copied().map(Item::NoSec));
    // Room for all of it at once: a buffer that grows leaves keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(items.iter().map(bytes_of).sum()));
    omitted += items.iter().filter(|item| !trust::write(&mut bytes, item)).count();
    let unsecured = devices.iter().map(|device| DeviceId(device.device)).collect();
    Ok(Sheet { bytes, unsecured, omitted })
}

fn bytes_of(item: &Item<'_>) -> usize {
    ITEM_BYTES
        + match item {
            Item::Authority(der) | Item::Chain(der) => der.len(),
            Item::Key(key) => key.0.len(),
            Item::Name(name) => name.len(),
            Item::NoSec(_) => NOSEC_BYTES,
        }
}

/// The certificates of those that may vouch, and how many more there are.
fn active_authorities(store: &dyn Store) -> Result<(Vec<Vec<u8>>, usize), StoreError> {
    let (mut authorities, mut omitted) = (Vec::new(), 0);
    for (_, value) in store.scan(Table::Authorities, &[], None, SCAN_ENTRIES)? {
        match records::decode::<Authority>(&value, "authority") {
            Ok(authority) if !authority.is_active => {}
            Ok(authority) if authorities.len() < AUTHORITIES_MAX => {
                authorities.push(authority.certificate.0);
            }
            Ok(_) | Err(_) => omitted += 1,
        }
    }
    Ok((authorities, omitted))
}

/// Every device that may use NoSec, in the order of addresses, and how many more were seen.
fn unsecured_devices(
    store: &dyn Store,
    classes: &Classes,
) -> Result<(Vec<NoSec>, usize), StoreError> {
    let (mut devices, mut omitted) = (Vec::new(), 0);
    let mut after: Option<Vec<u8>> = None;
    loop {
        // One page more says whether there are others.
        let is_last = devices.len() >= NOSEC_MAX;
        let found = store.scan(Table::Names, names::ADDRESSES, after.as_deref(), SCAN_ENTRIES)?;
        for (key, value) in &found {
            match unsecured_device(store, classes, key, value) {
                Ok(None) => {}
                Ok(Some(device)) if devices.len() < NOSEC_MAX => devices.push(device),
                Ok(Some(_)) | Err(StoreError::Corrupt(_)) => omitted += 1,
                Err(error) => return Err(error),
            }
        }
        match found.last() {
            Some((key, _)) if found.len() == SCAN_ENTRIES && !is_last => {
                after = Some(key.clone());
            }
            _ => return Ok((devices, omitted)),
        }
    }
}

/// `None`: it may not use NoSec.
fn unsecured_device(
    store: &dyn Store,
    classes: &Classes,
    key: &[u8],
    value: &[u8],
) -> Result<Option<NoSec>, StoreError> {
    let owner = Owner::decode(value)?;
    let (ip, port) = Name::address(key).ok_or(StoreError::Corrupt("name"))?;
    let standing = Standing::of(store, owner.device)?;
    let permitted = standing.filter(|now| now.permits(owner.network, SecurityMode::NoSec));
    let class = permitted.as_ref().map_or(0, |_| classes.find(store, owner.device));
    let (device, network) = (owner.device.0, on_the_wire(owner.network));
    Ok(permitted.map(|now| NoSec { ip, port, network, device, stamp: now.stamp, class }))
}
