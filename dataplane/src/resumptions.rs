//! Which sessions can be resumed, and with what? One table for each worker, in the run directory;
//! every worker reads all of them, so a device resumes wherever its ClientHello lands.
//!
//! A session id is `worker:1 | index:3 | random:28` and leads to its entry like a Connection ID to
//! its slot. Entries outlive the process as sessions do, and for the same boot only: their age
//! counts by its clock.
//!
//! *Bound:* `[resumption] per_worker` entries, the oldest given away first; `age_s` seconds each;
//! one for each device in each worker.

mod order;
mod table;

pub use table::LAYOUT;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use order::{List, Order};
use std::io;
use std::path::Path;
use std::sync::Arc;
use table::{ENTRY_WORDS, Table, Words};
use tidegate_dtls::resumption::Resumable;
use tidegate_ring::contract::{Claim, DeviceId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroizing;

/// What a server's hello calls a session.
pub type SessionId = [u8; SESSION_ID_BYTES];

/// The tables of all workers.
#[derive(Clone, Debug)]
pub struct Tables(Arc<[Table]>);

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The authenticated device.
    pub device: DeviceId,
    /// Of the credential it used: the control plane refuses the session once it changed.
    pub stamp: u64,
    /// `ring::contract::Network` of the credential.
    pub network: u8,
    /// How it had said who it is.
    pub claim: Claim,
    /// As in `ring::contract::Credential`, then.
    pub class: u16,
}

/// A session that can be resumed.
#[derive(Debug)]
pub struct Found {
    /// The worker whose table holds it.
    pub worker: u8,
    /// Whose it is.
    pub origin: Origin,
    /// The secret, and what was agreed upon.
    pub resumable: Resumable,
}

impl Drop for Found {
    fn drop(&mut self) {
        self.resumable.wipe();
    }
}

/// An entry kept for a handshake that is not complete; what it held counts until then.
#[derive(Clone, Copy, Debug)]
pub struct Reservation {
    /// What the session will be called.
    pub id: SessionId,
    /// Of the entry when it was reserved.
    generation: u32,
}

/// What was found in a worker's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Sessions that can still be resumed.
    pub kept: u32,
    /// Entries discarded because a crash tore them, or because they say nothing sensible.
    pub discarded: u32,
}

/// All tables, one of them this worker's to write.
#[derive(Debug)]
pub struct Resumptions {
    tables: Tables,
    own: u8,
    age_s: u32,
    order: Order,
    by_device: HashMap<DeviceId, u32, RandomState>,
}

impl Tables {
    /// Maps `worker-N.resume` of every worker in `run_dir`.
    pub fn open(
        run_dir: &Path,
        workers: u8,
        per_worker: u32,
        boot_id: [u8; 16],
    ) -> io::Result<Self> {
        let open = |worker| {
            let path = run_dir.join(format!("worker-{worker}.resume"));
            Table::open(&path, worker, per_worker, boot_id)
        };
        (0..workers).map(open).collect::<io::Result<_>>().map(Self)
    }

    /// Tables that end with this process, for tests and simulation.
    pub fn anonymous(workers: u8, per_worker: u32) -> Self {
        Self((0..workers).map(|_| Table::anonymous(per_worker)).collect())
    }
}

impl Resumptions {
    /// The tables as worker `own` uses them. Looks through its own: what a crash tore, what is too
    /// old and what no version wrote is wiped.
    pub fn new(now_s: u32, tables: Tables, own: u8, age_s: u32) -> (Self, Recovered) {
        let by_device = HashMap::with_hasher(RandomState::default());
        let mut all = Self { tables, own, age_s, order: Order::new(), by_device };
        let mut found = Recovered::default();
        let mut live: Vec<(u32, u32, DeviceId)> = Vec::new();
        for index in 0..all.table().used() {
            all.order.grow(List::Free);
            match all.table().read(index).map(Entry::from_words) {
                Some(entry) if entry.state == FREE => {}
                Some(entry) if entry.is_usable(now_s, age_s) => {
                    live.push((entry.at_s, index, entry.device));
                }
                _ => {
                    found.discarded += 1;
                    all.wipe(index);
                }
            }
        }
        live.sort_unstable();
        for (_, index, device) in live {
            all.forget(&device);
            all.order.put_last(index, List::InUse);
            all.by_device.insert(device, index);
        }
        found.kept = all.by_device.len() as u32;
        (all, found)
    }

    /// Takes the next entry for a handshake: `None` when sessions are not resumable. `random`
    /// makes the session id hard to guess.
    pub fn reserve(&mut self, random: [u8; 28]) -> Option<Reservation> {
        if self.order.first(List::Free).is_none() && self.order.len() < self.table().capacity() {
            let index = self.order.grow(List::Free);
            self.table().set_used(index + 1);
        }
        // The next reservation gets another one, unless there are more of them than entries.
        let lists = [List::Free, List::InUse, List::Reserved];
        let (list, index) =
            lists.into_iter().find_map(|list| Some((list, self.order.first(list)?)))?;
        // A session stays where it is found until another one takes its place.
        let list = if list == List::InUse { List::InUse } else { List::Reserved };
        self.order.put_last(index, list);
        let mut id = [0; SESSION_ID_BYTES];
        id[..4].copy_from_slice(&index.to_be_bytes());
        id[0] = self.own;
        id[4..].copy_from_slice(&random);
        Some(Reservation { id, generation: self.table().generation(index) })
    }

    /// The handshake came to nothing, or resumed another session.
    pub fn cancel(&mut self, reservation: &Reservation) {
        let index = index_of(&reservation.id);
        if self.table().generation(index) == reservation.generation {
            let list = if self.is_free(index) { List::Free } else { List::InUse };
            self.order.put_first(index, list);
        }
    }

    /// The full handshake is complete: from now on its session can be resumed, and an earlier one
    /// of the device not any more.
    pub fn store(
        &mut self,
        now_s: u32,
        reservation: &Reservation,
        origin: &Origin,
        resumable: &Resumable,
    ) {
        let index = index_of(&reservation.id);
        self.forget(&origin.device);
        self.release(index);
        let mut entry = Entry {
            generation: 0,
            at_s: now_s,
            device: origin.device,
            stamp: origin.stamp,
            random: *reservation.id.last_chunk().expect("an id is longer"),
            state: IN_USE,
            who: origin.network << 4 | origin.claim as u8,
            class: origin.class,
            resumable: *resumable,
        };
        self.table().write(index, &Zeroizing::new(zerocopy::transmute!(entry)));
        entry.resumable.wipe();
        self.by_device.insert(origin.device, index);
        self.order.put_last(index, List::InUse);
    }

    /// The session of that id, when it is here and not too old; in whichever worker's table.
    pub fn find(&self, now_s: u32, id: &[u8]) -> Option<Found> {
        let id: &SessionId = id.try_into().ok()?;
        let table = self.tables.0.get(usize::from(id[0]))?;
        let mut entry = Entry::from_words(table.read(index_of(id))?);
        // No secret is compared: a session id travels in the clear.
        let found = (entry.random == id[4..] && entry.is_usable(now_s, self.age_s)).then(|| {
            let Entry { device, stamp, class, resumable, .. } = entry;
            let (network, claim) = (entry.who >> 4, entry.claim().expect("it is usable"));
            let origin = Origin { device, stamp, network, claim, class };
            Found { worker: id[0], origin, resumable }
        });
        entry.resumable.wipe();
        found
    }

    /// Nothing of this device can be resumed any more, as far as this worker's table goes. Says
    /// whether something could.
    pub fn forget(&mut self, device: &DeviceId) -> bool {
        let Some(index) = self.by_device.remove(device) else { return false };
        self.wipe(index);
        true
    }

    /// Nothing that was made by such a claim can be resumed any more.
    pub fn forget_all(&mut self, claim: Claim) {
        let made_by = |index: &u32| {
            let entry = self.table().read(*index).map(Entry::from_words);
            entry.is_some_and(|entry| entry.claim() == Some(claim))
        };
        let devices = self.by_device.iter().filter(|(_, index)| made_by(index));
        for device in devices.map(|(device, _)| *device).collect::<Vec<_>>() {
            self.forget(&device);
        }
    }

    /// Wipes what is too old, a few at a time.
    pub fn sweep(&mut self, now_s: u32, count_max: usize) {
        for _ in 0..count_max {
            let Some(index) = self.order.first(List::InUse) else { return };
            let entry = self.table().read(index).map(Entry::from_words);
            if entry.is_some_and(|entry| entry.is_usable(now_s, self.age_s)) {
                return;
            }
            self.release(index);
        }
    }

    /// How many sessions of this worker's table can be resumed.
    pub fn len(&self) -> usize {
        self.by_device.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_device.is_empty()
    }

    /// The tables, for the next life of the worker.
    pub fn into_tables(self) -> Tables {
        self.tables
    }

    /// Whatever session an entry holds is given up.
    fn release(&mut self, index: u32) {
        let Some(entry) = self.table().read(index).map(Entry::from_words) else { return };
        if entry.state == IN_USE && self.by_device.get(&entry.device) == Some(&index) {
            self.by_device.remove(&entry.device);
        }
        self.wipe(index);
    }

    /// Overwrites an entry and puts it among the free ones.
    fn wipe(&mut self, index: u32) {
        self.table().write(index, &[0; ENTRY_WORDS]);
        self.order.put_first(index, List::Free);
    }

    fn is_free(&self, index: u32) -> bool {
        let entry = self.table().read(index).map(Entry::from_words);
        entry.is_none_or(|entry| entry.state == FREE)
    }

    fn table(&self) -> &Table {
        &self.tables.0[usize::from(self.own)]
    }
}

/// One entry, 128 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Entry {
    /// The table's.
    generation: u32,
    /// When its handshake was complete, seconds of `CLOCK_BOOTTIME`.
    at_s: u32,
    device: DeviceId,
    stamp: u64,
    /// The rest of its session id.
    random: [u8; 28],
    /// [`FREE`] or [`IN_USE`].
    state: u8,
    /// `ring::contract::Network` in the upper half, `ring::contract::Claim` in the lower.
    who: u8,
    class: u16,
    resumable: Resumable,
}

const _: () = assert!(size_of::<Entry>() == 8 * ENTRY_WORDS);

impl Entry {
    fn from_words(words: Zeroizing<Words>) -> Self {
        zerocopy::transmute!(*words)
    }

    fn claim(&self) -> Option<Claim> {
        Claim::from_wire(self.who & 15)
    }

    fn is_usable(&self, now_s: u32, age_s: u32) -> bool {
        let age = now_s.checked_sub(self.at_s);
        let is_one = self.state == IN_USE && self.claim().is_some();
        is_one && age.is_some_and(|age| age < age_s)
    }
}

/// The entry an id of ours names. The caller has seen that it is of ours, or checks the index.
fn index_of(id: &SessionId) -> u32 {
    u32::from_be_bytes([0, id[1], id[2], id[3]])
}

const SESSION_ID_BYTES: usize = 32;
const FREE: u8 = 0;
const IN_USE: u8 = 1;

#[cfg(test)]
mod tests;
