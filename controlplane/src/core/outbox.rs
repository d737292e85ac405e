//! Whose turn is it, of all that waits in the store to be published? One lane for each device of
//! which something is kept: in it order holds, and lanes take turns.
//!
//! ```text
//! kept ─▶ lane ─▶ ready ─▶ under way ─▶ confirmed: deleted, and the lane has its next turn
//!                 ▲   │       └───────▶ not: later ──┐
//!                 │   └▶ parked, while the broker is away
//!                 └────────────────────────────────◀─┘
//! ```
//!
//! One of each device is under way at a time: who has hours waiting keeps nobody else waiting.
//! *Invariant:* a lane that is not empty is ready, parked, later or under way, and only one of
//! these. *Bound:* [`OutboxLimits`]; in memory a lane for each device, however much it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::kept::Keeping;
use super::{ByDevice, Now};
use crate::model::{DeviceId, MessageId};
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// When does a device hear that its uplink is there?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfirmedBy {
    /// Once every destination and rule action has it.
    #[default]
    Destination,
    /// Once it lies in the store, synced: the outbox has it from there to its destinations.
    Store,
    /// Once nothing speaks against it, and it lies in the ring, which outlives both processes but
    /// not the host; from there it goes to the outbox.
    Ring,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Uplinks and responses; uplinks take nine tenths of it at most.
    pub entries_max: u64,
    /// Their bytes; the same.
    pub bytes_max: u64,
    /// An uplink that its rule's actions still refuse after so long is dropped, milliseconds.
    pub give_up_ms: u64,
}

/// Something of a device that lies in the store until it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// Whose.
    pub device: DeviceId,
    /// Ascending over the life of the store: when it came, Unix milliseconds, and a count.
    pub number: u64,
    /// Its MessageId.
    pub message: MessageId,
    /// Bytes it takes.
    pub bytes: u32,
    /// The device was told that it is kept; else it is a response, which nobody waits for.
    pub is_uplink: bool,
}

/// Everything kept, by device.
pub(super) struct Outbox {
    lanes: ByDevice<Lane>,
    ready: VecDeque<DeviceId>,
    parked: VecDeque<DeviceId>,
    /// In the order of their time.
    later: VecDeque<(u64, DeviceId)>,
    /// Kept after others behind them had left: the store had refused them at first.
    late: BTreeSet<Kept>,
    /// Devices of which something earlier is not in the store yet.
    held: BTreeSet<DeviceId>,
    /// Uplinks whose write is under way, by number.
    keeping: BTreeMap<u64, Keeping>,
    /// Of these, those whose devices have been told, in the order of each device.
    promised: BTreeSet<(DeviceId, u64)>,
    pub(super) publishing: usize,
    entries: u64,
    bytes: u64,
    next: u64,
}

#[derive(Default)]
struct Lane {
    entries: u64,
    bytes: u64,
    /// Those up to this number have left.
    left: u64,
}

/// What is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutboxHealth {
    /// Uplinks and responses.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Devices that they are of.
    pub devices: u64,
}

/// After a failure, milliseconds.
const RETRY_MS: u64 = 5_000;
/// Bits of the count in a number.
const COUNT_BITS: u32 = 16;
/// Entries read at a time when the process starts.
const PAGE_ENTRIES: usize = 1_024;

impl Kept {
    /// When it came, Unix milliseconds.
    pub(super) fn unix_ms(&self) -> u64 {
        self.number >> COUNT_BITS
    }

    pub(super) fn key(&self) -> Vec<u8> {
        keys::kept(self.device, self.number, self.message)
    }

    /// As it lies in the store, and the rest of its value.
    fn read<'a>(key: &[u8], value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (device, number, message) = keys::kept_parts(key)?;
        let bytes = u32::try_from(key.len() + value.len()).ok()?;
        let (kind, rest) = value.split_first()?;
        Some((Self { device, number, message, bytes, is_uplink: *kind == UPLINK }, rest))
    }

    /// What is stored: `kind:1 | path length:2 | path | JSON`.
    pub(super) fn value(is_uplink: bool, path: &[u8], json: &[u8]) -> Vec<u8> {
        let kind = if is_uplink { UPLINK } else { RESPONSE };
        let path = &path[..path.len().min(u16::MAX.into())];
        let path_len = path.len() as u16;
        [&[kind], &path_len.to_be_bytes()[..], path, json].concat()
    }

    /// The path and the JSON in what follows the kind.
    pub(super) fn parts(rest: &[u8]) -> Option<(&[u8], &[u8])> {
        let (path_len, rest) = rest.split_first_chunk::<2>()?;
        rest.split_at_checked(u16::from_be_bytes(*path_len).into())
    }
}

const RESPONSE: u8 = 0;
const UPLINK: u8 = 1;

impl Outbox {
    /// Finds what the process before this one left.
    pub(super) fn restore(store: &dyn Store) -> Result<Self, StoreError> {
        move_responses(store)?;
        let mut outbox = Self {
            lanes: ByDevice::default(),
            ready: VecDeque::new(),
            parked: VecDeque::new(),
            later: VecDeque::new(),
            late: BTreeSet::new(),
            held: BTreeSet::new(),
            keeping: BTreeMap::new(),
            promised: BTreeSet::new(),
            publishing: 0,
            entries: 0,
            bytes: 0,
            next: 0,
        };
        let mut after = None::<Vec<u8>>;
        loop {
            let found = store.scan(Table::Outbox, &[], after.as_deref(), PAGE_ENTRIES)?;
            for (key, value) in &found {
                let (kept, _) = Kept::read(key, value).ok_or(StoreError::Corrupt("outbox"))?;
                outbox.reserve(kept.bytes);
                outbox.next = outbox.next.max(kept.number + 1);
                if outbox.join(kept) {
                    outbox.ready.push_back(kept.device);
                }
            }
            match found.last() {
                Some((key, _)) if found.len() == PAGE_ENTRIES => after = Some(key.clone()),
                _ => return Ok(outbox),
            }
        }
    }

    /// Names the next thing of a device.
    pub(super) fn name(
        &mut self,
        now: Now,
        device: DeviceId,
        message: MessageId,
        (is_uplink, value_bytes): (bool, usize),
    ) -> Kept {
        let number = self.next.max(now.unix_ms << COUNT_BITS);
        self.next = number + 1;
        let bytes = u32::try_from(keys::KEPT_BYTES + value_bytes).unwrap_or(u32::MAX);
        Kept { device, number, message, bytes, is_uplink }
    }

    /// Whether one more of so many bytes has room, with that much less of all of it.
    pub(super) fn has_room(&self, limits: &OutboxLimits, bytes: usize, is_uplink: bool) -> bool {
        let of = |most: u64| if is_uplink { most - most / 10 } else { most };
        self.entries < of(limits.entries_max) && self.bytes + bytes as u64 <= of(limits.bytes_max)
    }

    /// Takes the room.
    pub(super) fn reserve(&mut self, bytes: u32) {
        self.entries += 1;
        self.bytes += u64::from(bytes);
    }

    /// Gives it back.
    pub(super) fn release(&mut self, bytes: u32) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes.into());
    }

    /// It is in the store; true: nothing of its device waits, so that it may go at once.
    pub(super) fn join(&mut self, kept: Kept) -> bool {
        let is_first = !self.lanes.contains_key(&kept.device);
        let lane = self.lanes.entry(kept.device).or_default();
        if is_first {
            lane.left = kept.number - 1;
        } else if kept.number <= lane.left {
            self.late.insert(kept);
        }
        lane.entries += 1;
        lane.bytes += u64::from(kept.bytes);
        is_first
    }

    /// Its write is under way.
    pub(super) fn keep(&mut self, kept: Kept, keeping: Keeping) {
        if keeping.is_promised() {
            self.promised.insert((kept.device, kept.number));
        }
        self.keeping.insert(kept.number, keeping);
    }

    /// It is not any more.
    pub(super) fn take_kept(&mut self, number: u64) -> Option<Keeping> {
        let keeping = self.keeping.remove(&number)?;
        self.promised.remove(&(keeping.device(), number));
        Some(keeping)
    }

    /// How many writes are under way.
    pub(super) fn keeping(&self) -> usize {
        self.keeping.len()
    }

    /// Is there an earlier one of its device that the store does not have yet? (Those that it
    /// refused are tried again, while later ones may get there.) Then the lane is held.
    pub(super) fn holds(&mut self, kept: Kept) -> bool {
        let earlier = (kept.device, 0)..(kept.device, kept.number);
        let is_held = self.promised.range(earlier).next().is_some();
        if is_held {
            self.held.insert(kept.device);
        }
        is_held
    }

    /// One more of the device is in the store: if that held others, they have their turn.
    pub(super) fn release_held(&mut self, device: DeviceId) {
        if self.held.remove(&device) {
            self.ready(device);
        }
    }

    /// It has left: what is behind it may go.
    pub(super) fn leave(&mut self, kept: Kept) {
        self.release(kept.bytes);
        self.late.remove(&kept);
        let Some(lane) = self.lanes.get_mut(&kept.device) else { return };
        lane.left = lane.left.max(kept.number);
        lane.entries -= 1;
        lane.bytes = lane.bytes.saturating_sub(kept.bytes.into());
        if lane.entries == 0 {
            self.lanes.remove(&kept.device);
        } else {
            self.ready.push_back(kept.device);
        }
    }

    /// What the device has first, and its value behind the kind. `None`: it is gone with its
    /// account, and so is the lane.
    pub(super) fn first(
        &mut self,
        store: &dyn Store,
        device: DeviceId,
    ) -> Result<Option<(Kept, Vec<u8>)>, StoreError> {
        let late = self.late.iter().find(|kept| kept.device == device);
        let found = if let Some(late) = late {
            let key = late.key();
            store.get(Table::Outbox, &key)?.map(|value| (key, value))
        } else {
            let left = self.lanes.get(&device).map_or(0, |lane| lane.left);
            let after = keys::kept(device, left, MessageId([0xff; 16]));
            store.scan(Table::Outbox, &device.0, Some(&after), 1)?.pop()
        };
        let found = found.and_then(|(key, value)| {
            let (kept, rest) = Kept::read(&key, &value)?;
            Some((kept, rest.to_vec()))
        });
        if found.is_none() {
            self.forget(device);
        }
        Ok(found)
    }

    /// Nothing of the device can be read any more.
    fn forget(&mut self, device: DeviceId) {
        let Some(lane) = self.lanes.remove(&device) else { return };
        self.held.remove(&device);
        self.late.retain(|kept| kept.device != device);
        self.entries = self.entries.saturating_sub(lane.entries);
        self.bytes = self.bytes.saturating_sub(lane.bytes);
    }

    pub(super) fn next_ready(&mut self) -> Option<DeviceId> {
        self.ready.pop_front()
    }

    /// It may go when its turn comes.
    pub(super) fn ready(&mut self, device: DeviceId) {
        self.ready.push_back(device);
    }

    /// It may go when the publisher is there.
    pub(super) fn park(&mut self, device: DeviceId) {
        self.parked.push_back(device);
    }

    /// The publisher is there.
    pub(super) fn unpark(&mut self) {
        self.ready.append(&mut self.parked);
    }

    /// It goes again after a while.
    pub(super) fn again(&mut self, now: Now, device: DeviceId) {
        self.later.push_back((now.ms + RETRY_MS, device));
    }

    /// Whose time has come are ready.
    pub(super) fn on_due(&mut self, now: Now) {
        while let Some((_, device)) = self.later.pop_front_if(|(due_ms, _)| *due_ms <= now.ms) {
            self.ready.push_back(device);
        }
    }

    /// `has_room`: something may be published.
    pub(super) fn due_ms(&self, has_room: bool) -> Option<u64> {
        if has_room && !self.ready.is_empty() {
            return Some(0);
        }
        self.later.front().map(|(due_ms, _)| *due_ms)
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn health(&self) -> OutboxHealth {
        let devices = self.lanes.len() as u64;
        OutboxHealth { entries: self.entries, bytes: self.bytes, devices }
    }
}

/// Puts responses where they lie since there are uplinks beside them. Before, that was under
/// `ended unix ms:8 | message`, `device:16 | JSON`.
fn move_responses(store: &dyn Store) -> Result<(), StoreError> {
    let (mut after, mut count) = (None::<Vec<u8>>, 0);
    loop {
        let found = store.scan(Table::Outbox, &[], after.as_deref(), PAGE_ENTRIES)?;
        for (key, value) in &found {
            let Some((unix_ms, message)) = keys::ended_parts(key) else { continue };
            let Some((device, json)) = value.split_first_chunk::<16>() else { continue };
            let number = (unix_ms << COUNT_BITS) + count;
            count += 1;
            let mut tx = Transaction::new();
            // First what there is: it says whose it is.
            tx.delete(Table::Outbox, key.clone());
            let moved = keys::kept(DeviceId(*device), number, message);
            tx.put(Table::Outbox, moved, Kept::value(false, &[], json));
            let (told, moved) = std::sync::mpsc::channel();
            let tell = move |result: Result<_, StoreError>| {
                let _ = told.send(result.map(|_| ()));
            };
            store.submit(tx, Box::new(tell));
            let gone = || StoreError::Failed("the writer is gone".to_owned());
            moved.recv().map_err(|_| gone())??;
        }
        match found.last() {
            Some((key, _)) if found.len() == PAGE_ENTRIES => after = Some(key.clone()),
            _ => return Ok(()),
        }
    }
}
