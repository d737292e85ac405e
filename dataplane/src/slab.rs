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

mod slot;

pub use slot::{SLOT_BYTES, Slot, State};

use crate::net::peer::Peer;
use slot::{HOT_BYTES, LINE_BYTES};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tidegate_coap::dedup::Window;
use tidegate_dtls::established::Established;
use tidegate_faults::{Point, may_die};
use tidegate_ring::contract::{DeviceId, SessionRef};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroize;

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
    /// The file was of another layout, boot or worker: none of its sessions go on.
    pub is_other: bool,
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
        let is_there = {
            use std::os::unix::fs::FileExt;
            file.read_exact_at(&mut head, 0).is_ok()
        };
        let kept = is_there && Head::kept_capacity(&head, worker, boot_id).is_some();
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
        let (slab, found) = Self::over(map, worker, capacity, boot_id);
        Ok((slab, Recovered { is_other: is_there && !kept, ..found }))
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
        // Few large pages are looked up sooner than many small ones, and a million sessions lie in
        // 60 000 small ones. Where the kernel has none to give, nothing is lost.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
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
        may_die(Point::SlotReserved);
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
        may_die(Point::SlotBegun);
        entry.device = device;
        entry.network = network;
        entry.state = state as u8;
        may_die(Point::SlotHalf);
        entry.dtls = dtls;
        entry.next_mid = mid;
        entry.dedup = Window::default();
        entry.told = 0;
        may_die(Point::SlotWritten);
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
        may_die(Point::SlotWiped);
        debug_assert_eq!(entry.generation, odd);
        entry.last_seen_s = free;
        entry.generation = generation;
        self.free = slot;
    }

    /// The slot a Connection ID of ours names, when it is in use and the tag fits.
    #[inline]
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

    /// Has the memory of the slot that a Connection ID names brought near, for [`Self::find`] and
    /// what follows; whatever the Connection ID, this is but a hint.
    #[inline]
    pub fn prefetch(&self, cid: [u8; CID_BYTES]) {
        let slot = u32::from_be_bytes([0, cid[1], cid[2], cid[3]]);
        let Some(bytes) = self.map.get(Self::range(slot)) else { return };
        // Its last byte may lie in one line more than there are steps.
        for at in (0..HOT_BYTES).step_by(LINE_BYTES).chain([HOT_BYTES - 1]) {
            prefetch(&bytes[at..]);
        }
    }

    /// The Connection ID of a slot: `worker:1 | slot:3 | tag:2`.
    pub fn cid(&self, slot: u32) -> [u8; CID_BYTES] {
        let [_, a, b, c] = slot.to_be_bytes();
        let [high, low] = self.get(slot).tag.to_be_bytes();
        [self.worker, a, b, c, high, low]
    }

    /// The reference other processes know this session by.
    #[inline]
    pub fn session(&self, slot: u32) -> SessionRef {
        SessionRef::new(self.worker, slot, self.get(slot).generation)
    }

    /// The slot of a reference, while that session lives.
    #[inline]
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

    /// Slots there are.
    pub fn capacity(&self) -> u32 {
        self.capacity
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
    #[inline]
    pub fn get(&self, slot: u32) -> &Slot {
        Slot::ref_from_bytes(&self.map[Self::range(slot)]).expect("slots are aligned to 8 bytes")
    }

    /// One slot.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> &mut Slot {
        Slot::mut_from_bytes(&mut self.map[Self::range(slot)])
            .expect("slots are aligned to 8 bytes")
    }

    #[inline]
    fn range(slot: u32) -> std::ops::Range<usize> {
        let start = HEAD_BYTES + slot as usize * SLOT_BYTES;
        start..start + SLOT_BYTES
    }

    #[inline]
    fn head(&self) -> &Head {
        Head::ref_from_prefix(&self.map).expect("the map is page-aligned").0
    }

    fn head_mut(&mut self) -> &mut Head {
        Head::mut_from_prefix(&mut self.map).expect("the map is page-aligned").0
    }
}

/// Asks for a cache line without waiting for it.
#[inline]
fn prefetch(line: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86_64, and a hint neither reads nor writes.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
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

/// Bytes of our Connection IDs. *Why 6:* up to 7 the additional data of a CID record fits two
/// blocks of the CCM MAC.
pub const CID_BYTES: usize = 6;
const HEAD_BYTES: usize = 4_096;
/// Which layout the slots have: sessions of another one are not taken over.
pub const LAYOUT: u8 = 5;
const MAGIC: [u8; 8] = [b'T', b'G', b'S', b'L', b'A', b'B', 0, LAYOUT];
const NIL: u32 = u32::MAX;

#[cfg(test)]
mod tests;
