//! Where do sessions live? Fixed-size slots in a shared-memory file that outlives the process.
//!
//! A slot holds everything an idle session needs: keys, sequence numbers, replay window, peer
//! address, device, deduplication. It has no pointers, so a restarted dataplane maps the file and
//! goes on. The file belongs to one boot of one machine: after a crash of the machine a stale
//! copy could hold sequence numbers that were used since, so a file of another boot is discarded.
//!
//! *Invariant:* `generation` is odd while a slot's identity (device, keys, state) is rewritten; a
//! slot found odd at start was torn by a crash and is discarded.
//! *Bound:* `capacity` slots; only slots that were ever used take memory.

use crate::net::peer::Peer;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tidegate_coap::dedup::Window;
use tidegate_dtls::established::Established;
use tidegate_ring::contract::{DeviceId, SessionRef};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroize;

/// One session, 256 bytes: four cache lines.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Slot {
    /// Counts the lives of this slot, two per life; odd while it is rewritten.
    generation: u32,
    /// Random per life; a Connection ID with another tag finds nothing.
    tag: u16,
    /// [`State`] as a byte.
    state: u8,
    /// `ring::contract::Network` of the credential.
    pub network: u8,
    /// The authenticated device.
    pub device: DeviceId,
    /// Where the newest authentic record came from; replies go there.
    pub peer: Peer,
    /// When the last authentic record came, seconds of `CLOCK_BOOTTIME`. In a free slot: the next
    /// free one.
    pub last_seen_s: u32,
    /// Message ID of our next message to this device.
    pub next_mid: u16,
    /// The worker whose table keeps what resumes this session, plus one; 0: nothing does;
    /// [`CONNECTED`]: nothing does, and we opened it.
    origin: u8,
    /// `ring::contract::Claim` by which the device was let in; 0: not known.
    pub claim: u8,
    /// DTLS keys, sequence numbers, replay window.
    pub dtls: Established,
    /// Requests seen lately and what they were answered.
    pub dedup: Window,
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);

/// `origin` of a session that we opened. No worker has this number: there are 64 at most.
const CONNECTED: u8 = u8::MAX;

/// What a slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Free,
    /// A handshake that has this slot's Connection ID is in progress.
    Reserved,
    /// A session.
    Established,
    /// An endpoint without security: a session whose `dtls` is empty and whose identity is its
    /// address.
    NoSec,
}

impl Slot {
    /// What the slot is used for; a byte no version wrote counts as free.
    pub fn state(&self) -> State {
        match self.state {
            1 => State::Reserved,
            2 => State::Established,
            3 => State::NoSec,
            _ => State::Free,
        }
    }

    /// Whether it is in use by more than a handshake.
    pub fn is_session(&self) -> bool {
        matches!(self.state(), State::Established | State::NoSec)
    }

    /// The worker whose table keeps what resumes this session.
    pub fn resumable_at(&self) -> Option<u8> {
        Some(self.origin).filter(|origin| *origin != CONNECTED)?.checked_sub(1)
    }

    /// The table of `worker` keeps what resumes this session.
    pub fn set_resumable_at(&mut self, worker: u8) {
        self.origin = worker + 1;
    }

    /// Whether we opened this session: the device is the server.
    pub fn is_connected(&self) -> bool {
        self.origin == CONNECTED
    }

    /// We opened this session.
    pub fn set_connected(&mut self) {
        self.origin = CONNECTED;
    }

    /// Takes the next Message ID.
    pub fn take_mid(&mut self) -> u16 {
        let mid = self.next_mid;
        self.next_mid = mid.wrapping_add(1);
        mid
    }
}

/// All sessions of one worker.
#[derive(Debug)]
pub struct Slab {
    map: memmap2::MmapMut,
    worker: u8,
    capacity: u32,
    /// First free slot of the list through `last_seen_s`, or `NIL`.
    free: u32,
    live: u32,
}

/// What was found in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Sessions that go on.
    pub kept: u32,
    /// Slots discarded because a crash tore them.
    pub torn: u32,
}

impl Slab {
    /// Maps `path`, keeping its sessions when they are of this boot and layout. Keeps the larger
    /// of the file's capacity and `capacity`.
    pub fn open(
        path: &Path,
        worker: u8,
        capacity: u32,
        boot_id: [u8; 16],
    ) -> io::Result<(Self, Recovered)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut head = [0; HEAD_BYTES];
        let kept = {
            use std::os::unix::fs::FileExt;
            file.read_exact_at(&mut head, 0).is_ok()
                && Head::kept_capacity(&head, worker, boot_id).is_some()
        };
        let capacity = match Head::kept_capacity(&head, worker, boot_id) {
            Some(found) if kept => found.max(capacity),
            _ => {
                file.set_len(0)?;
                capacity
            }
        };
        file.set_len((HEAD_BYTES + capacity as usize * SLOT_BYTES) as u64)?;
        // SAFETY: the file is private to this process: mode 0600, and the worker's link lock keeps
        // a second dataplane out, so nobody else maps or truncates it. Every bit pattern is a Slot.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::MmapMut::map_mut(&file)? };
        Ok(Self::over(map, worker, capacity, boot_id))
    }

    /// A slab that ends with this process, for tests and simulation.
    pub fn anonymous(worker: u8, capacity: u32) -> io::Result<Self> {
        let map = memmap2::MmapMut::map_anon(HEAD_BYTES + capacity as usize * SLOT_BYTES)?;
        Ok(Self::over(map, worker, capacity, [0; 16]).0)
    }

    /// The same memory as a restarted process finds it.
    #[must_use]
    pub fn reopened(self, boot_id: [u8; 16]) -> (Self, Recovered) {
        Self::over(self.map, self.worker, self.capacity, boot_id)
    }

    fn over(
        map: memmap2::MmapMut,
        worker: u8,
        capacity: u32,
        boot_id: [u8; 16],
    ) -> (Self, Recovered) {
        let mut slab = Self { map, worker, capacity, free: NIL, live: 0 };
        let used = slab.head().used.min(capacity);
        *slab.head_mut() = Head {
            magic: MAGIC,
            slot_bytes: SLOT_BYTES as u32,
            capacity,
            worker: u32::from(worker),
            used,
            boot_id,
        };
        let mut found = Recovered::default();
        for slot in 0..used {
            let entry = slab.get(slot);
            if entry.generation % 2 == 1 {
                found.torn += 1;
            } else if entry.is_session() {
                found.kept += 1;
                slab.live += 1;
                continue;
            }
            slab.wipe(slot);
        }
        (slab, found)
    }

    /// Takes a free slot for a handshake with `peer`; `None` when all are in use.
    pub fn reserve(&mut self, peer: Peer, tag: u16, now_s: u32) -> Option<u32> {
        let slot = if self.free != NIL {
            let slot = self.free;
            self.free = self.get(slot).last_seen_s;
            slot
        } else if self.head().used < self.capacity {
            let slot = self.head().used;
            self.head_mut().used += 1;
            slot
        } else {
            return None;
        };
        self.live += 1;
        let entry = self.get_mut(slot);
        entry.tag = tag;
        entry.peer = peer;
        entry.last_seen_s = now_s;
        entry.state = State::Reserved as u8;
        Some(slot)
    }

    /// Turns a reserved slot into a session.
    pub fn establish(
        &mut self,
        slot: u32,
        device: DeviceId,
        network: u8,
        dtls: Established,
        mid: u16,
    ) {
        self.begin(slot, State::Established, device, network, dtls, mid);
    }

    /// Turns a reserved slot into a session without security.
    pub fn admit(&mut self, slot: u32, device: DeviceId, network: u8, mid: u16) {
        self.begin(slot, State::NoSec, device, network, Established::new_zeroed(), mid);
    }

    fn begin(
        &mut self,
        slot: u32,
        state: State,
        device: DeviceId,
        network: u8,
        dtls: Established,
        mid: u16,
    ) {
        let entry = self.get_mut(slot);
        assert_eq!(entry.state(), State::Reserved, "only what is reserved becomes a session");
        entry.generation |= 1;
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        entry.device = device;
        entry.network = network;
        entry.dtls = dtls;
        entry.next_mid = mid;
        entry.dedup = Window::default();
        entry.state = state as u8;
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        entry.generation = entry.generation.wrapping_add(1);
    }

    /// Frees a slot and overwrites its keys.
    pub fn release(&mut self, slot: u32) {
        assert_ne!(self.get(slot).state(), State::Free, "a slot is freed once");
        self.live -= 1;
        self.wipe(slot);
    }

    /// Erases a slot, starts its next life and puts it on the free list.
    fn wipe(&mut self, slot: u32) {
        let free = self.free;
        let entry = self.get_mut(slot);
        let generation = (entry.generation | 1).wrapping_add(1);
        entry.generation |= 1;
        let odd = entry.generation;
        entry.as_mut_bytes()[4..].zeroize();
        debug_assert_eq!(entry.generation, odd);
        entry.last_seen_s = free;
        entry.generation = generation;
        self.free = slot;
    }

    /// The slot a Connection ID of ours names, when it is in use and the tag fits.
    pub fn find(&self, cid: &[u8]) -> Option<u32> {
        let cid: [u8; CID_BYTES] = cid.try_into().ok()?;
        let slot = u32::from_be_bytes([0, cid[1], cid[2], cid[3]]);
        if cid[0] != self.worker || slot >= self.head().used {
            return None;
        }
        let entry = self.get(slot);
        let has_cid = matches!(entry.state(), State::Reserved | State::Established);
        (has_cid && entry.tag == u16::from_be_bytes([cid[4], cid[5]])).then_some(slot)
    }

    /// The Connection ID of a slot: `worker:1 | slot:3 | tag:2`.
    pub fn cid(&self, slot: u32) -> [u8; CID_BYTES] {
        let [_, a, b, c] = slot.to_be_bytes();
        let [high, low] = self.get(slot).tag.to_be_bytes();
        [self.worker, a, b, c, high, low]
    }

    /// The reference other processes know this session by.
    pub fn session(&self, slot: u32) -> SessionRef {
        SessionRef::new(self.worker, slot, self.get(slot).generation)
    }

    /// The slot of a reference, while that session lives.
    pub fn resolve(&self, session: SessionRef) -> Option<u32> {
        let slot = session.slot();
        let named = session.worker() == self.worker && slot < self.head().used;
        (named && self.get(slot).is_session() && self.get(slot).generation == session.generation())
            .then_some(slot)
    }

    /// Whether every slot is in use.
    pub fn is_full(&self) -> bool {
        self.live == self.capacity
    }

    /// Sessions and reservations.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Slots ever used: every session is below this number.
    pub fn used(&self) -> u32 {
        self.head().used
    }

    /// One slot. Panics when `slot` is not below [`Self::used`]'s bound.
    pub fn get(&self, slot: u32) -> &Slot {
        Slot::ref_from_bytes(&self.map[Self::range(slot)]).expect("slots are aligned to 256 bytes")
    }

    /// One slot.
    pub fn get_mut(&mut self, slot: u32) -> &mut Slot {
        Slot::mut_from_bytes(&mut self.map[Self::range(slot)])
            .expect("slots are aligned to 256 bytes")
    }

    fn range(slot: u32) -> std::ops::Range<usize> {
        let start = HEAD_BYTES + slot as usize * SLOT_BYTES;
        start..start + SLOT_BYTES
    }

    fn head(&self) -> &Head {
        Head::ref_from_prefix(&self.map).expect("the map is page-aligned").0
    }

    fn head_mut(&mut self) -> &mut Head {
        Head::mut_from_prefix(&mut self.map).expect("the map is page-aligned").0
    }
}

/// The file's first bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    slot_bytes: u32,
    capacity: u32,
    worker: u32,
    /// Slots ever used; the rest of the file was never touched.
    used: u32,
    boot_id: [u8; 16],
}

impl Head {
    /// The capacity of a file whose sessions this process may go on with.
    fn kept_capacity(bytes: &[u8], worker: u8, boot_id: [u8; 16]) -> Option<u32> {
        let (head, _) = Self::read_from_prefix(bytes).ok()?;
        let same = head.magic == MAGIC
            && head.slot_bytes == SLOT_BYTES as u32
            && head.worker == u32::from(worker)
            && head.boot_id == boot_id;
        (same && head.capacity <= crate::bounds::SESSIONS_MAX).then_some(head.capacity)
    }
}

/// The kernel's name for this boot, or zeros where it has none (then nothing survives a reboot
/// that the run directory itself does not).
pub fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> =
        text.bytes().filter_map(|b| (b as char).to_digit(16).map(|d| d as u8)).collect();
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    id
}

/// Bytes of one slot.
pub const SLOT_BYTES: usize = 256;
/// Bytes of our Connection IDs. *Why 6:* up to 7 the additional data of a CID record fits two
/// blocks of the CCM MAC.
pub const CID_BYTES: usize = 6;
const HEAD_BYTES: usize = 4_096;
/// The last byte is the version of the slot layout.
const MAGIC: [u8; 8] = *b"TGSLAB\0\x01";
const NIL: u32 = u32::MAX;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOOT: [u8; 16] = [9; 16];
    const DEVICE: DeviceId = [7; 16];

    fn session(slab: &mut Slab, tag: u16) -> u32 {
        let slot = slab.reserve(Peer::default(), tag, 5).unwrap();
        slab.establish(slot, DEVICE, 1, Established::new_zeroed(), 1);
        slot
    }

    #[test]
    fn a_connection_id_finds_its_slot_and_a_stale_or_guessed_one_nothing() {
        let mut slab = Slab::anonymous(3, 4).unwrap();
        let slot = session(&mut slab, 0xbeef);
        let cid = slab.cid(slot);
        assert_eq!(slab.find(&cid), Some(slot));
        for i in 0..CID_BYTES {
            let mut guess = cid;
            guess[i] ^= 1;
            assert_eq!(slab.find(&guess), None, "byte {i}");
        }
        assert_eq!(slab.find(&cid[..5]), None);
        slab.release(slot);
        assert_eq!(slab.find(&cid), None);
    }

    #[test]
    fn a_reference_dies_with_its_session() {
        let mut slab = Slab::anonymous(0, 1).unwrap();
        let slot = session(&mut slab, 1);
        let old = slab.session(slot);
        assert_eq!(slab.resolve(old), Some(slot));
        slab.release(slot);
        assert_eq!(slab.resolve(old), None);
        assert_eq!(session(&mut slab, 1), slot);
        assert_eq!(slab.resolve(old), None);
        assert!(slab.resolve(slab.session(slot)).is_some());
    }

    /// An endpoint without security has a reference like any session, and no Connection ID.
    #[test]
    fn no_connection_id_finds_an_endpoint_without_security() {
        let mut slab = Slab::anonymous(0, 2).unwrap();
        let slot = slab.reserve(Peer::default(), 0xbeef, 5).unwrap();
        slab.admit(slot, DEVICE, 1, 1);
        assert_eq!(slab.find(&slab.cid(slot)), None);
        let session = slab.session(slot);
        assert_eq!(slab.resolve(session), Some(slot));
        let (slab, found) = slab.reopened([0; 16]);
        assert_eq!((found, slab.resolve(session)), (Recovered { kept: 1, torn: 0 }, Some(slot)));
    }

    #[test]
    fn all_slots_can_be_used_and_not_one_more() {
        let mut slab = Slab::anonymous(0, 3).unwrap();
        let slots: Vec<u32> = (0..3).map(|tag| session(&mut slab, tag)).collect();
        assert_eq!(slab.reserve(Peer::default(), 9, 0), None);
        assert_eq!(slab.live(), 3);
        slab.release(slots[1]);
        assert_eq!(slab.reserve(Peer::default(), 9, 0), Some(slots[1]));
    }

    #[test]
    fn a_released_slot_keeps_no_secret() {
        let mut slab = Slab::anonymous(0, 1).unwrap();
        let slot = slab.reserve(Peer::default(), 1, 5).unwrap();
        let dtls = Established::read_from_bytes(&[0xa5; size_of::<Established>()]).unwrap();
        slab.establish(slot, DEVICE, 1, dtls, 1);
        slab.release(slot);
        assert!(!slab.get(slot).as_bytes().contains(&0xa5));
    }

    #[test]
    fn sessions_survive_a_restart_but_reservations_and_torn_slots_do_not() {
        let dir = std::env::temp_dir().join(format!("tidegate-slab-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("worker-0.slab");
        let _ = std::fs::remove_file(&path);
        let (mut slab, found) = Slab::open(&path, 0, 8, BOOT).unwrap();
        assert_eq!(found, Recovered::default());
        let kept = session(&mut slab, 0x11);
        let torn = session(&mut slab, 0x22);
        let reserved = slab.reserve(Peer::default(), 0x33, 0).unwrap();
        slab.get_mut(torn).generation |= 1;
        let (cid, reference) = (slab.cid(kept), slab.session(kept));
        drop(slab);

        let (slab, found) = Slab::open(&path, 0, 16, BOOT).unwrap();
        assert_eq!(found, Recovered { kept: 1, torn: 1 });
        assert_eq!((slab.find(&cid), slab.resolve(reference)), (Some(kept), Some(kept)));
        assert_eq!(slab.get(reserved).state(), State::Free);
        assert_eq!((slab.live(), slab.capacity), (1, 16));
        drop(slab);

        let (slab, found) = Slab::open(&path, 0, 8, [8; 16]).unwrap();
        assert_eq!(found, Recovered::default(), "another boot: nothing is trusted");
        assert_eq!(slab.find(&cid), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
