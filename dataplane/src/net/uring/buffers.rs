//! Where does the kernel put datagrams? Into buffers it takes from a shared ring and we give back.
//!
//! A buffer is the kernel's (in the ring), the worker's (lent in a batch) or between the two
//! (received, not lent yet), never two of these: its number is the token that moves.
#![allow(unsafe_code)]

use super::super::name::{CONTROL_BYTES, NAME_BYTES};
use super::ring::Ring;
use crate::bounds::DATAGRAM_BYTES_MAX;
use io_uring::types::BufRingEntry;
use memmap2::MmapMut;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// The ring of buffers, then the buffers, in one piece of memory.
pub(super) struct Buffers {
    /// Keeps the memory; only reached through `first`.
    _memory: MmapMut,
    first: *mut BufRingEntry,
    /// How many there are; a power of two.
    count: usize,
    /// Buffers given to the kernel so far, modulo 2^16.
    tail: u16,
}

impl Buffers {
    /// Makes so many buffers and lends all of them to the kernel, as this group.
    pub(super) fn new(ring: &Ring, count: usize, group: u16) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "{count} buffers");
        let mut memory = MmapMut::map_anon(buffers_offset(count) + count * STRIDE)?;
        // A mapping begins on a page.
        #[allow(clippy::cast_ptr_alignment)]
        let first = memory.as_mut_ptr().cast::<BufRingEntry>();
        let mut buffers = Self { _memory: memory, first, count, tail: 0 };
        // SAFETY: the memory begins on a page, has room for the ring, and its owner is dropped
        // after the `Ring` (order of fields in `Uring`).
        unsafe { ring.lend_buffers(first as u64, count as u16, group) }?;
        (0..count as u16).for_each(|number| buffers.give_back(number));
        buffers.publish();
        Ok(buffers)
    }

    /// Puts a buffer into the ring; the kernel sees it after `publish`. The caller's `number` is
    /// spent: nobody else may hold it.
    pub(super) fn give_back(&mut self, number: u16) {
        let address = self.start_of(number) as u64;
        let index = usize::from(self.tail) % self.count;
        let entry = self.first.wrapping_add(index);
        // SAFETY: the entry is inside the ring, which is ours to write behind the published tail.
        // It is a struct of integers, valid from the start (zeroed), and the tail, which shares
        // memory with entry 0, lies in a field of it that is not written here.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(STRIDE as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was given back.
    pub(super) fn publish(&mut self) {
        // SAFETY: `first` is the address of the ring's first entry.
        let tail = unsafe { BufRingEntry::tail(self.first) };
        // SAFETY: the tail is an aligned u16 in memory of ours that the kernel only reads.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// What the kernel put into buffer `number`.
    ///
    /// # Safety
    /// The caller holds the number: it came from a completion and was not given back, and no other
    /// slice of the buffer exists. The slice is gone before the number is given back.
    pub(super) unsafe fn received<'a>(&self, number: u16, len: usize) -> &'a mut [u8] {
        let start = self.start_of(number);
        // SAFETY: at most STRIDE initialised bytes (zeroed at first) inside the memory, which the
        // caller's promise makes exclusive for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(start, len.min(STRIDE)) }
    }

    fn start_of(&self, number: u16) -> *mut u8 {
        let count = self.count;
        assert!(usize::from(number) < count, "the kernel knows {count} buffers, not {number}");
        self.first.cast::<u8>().wrapping_add(buffers_offset(count) + usize::from(number) * STRIDE)
    }
}

/// Bytes of a buffer: the kernel's header, name, control message, payload. *Why odd in cache
/// lines:* a power of two would put every header into the same few sets of the first-level cache.
const STRIDE: usize = {
    let lines = (HEADER_BYTES + NAME_BYTES + 4 + CONTROL_BYTES + DATAGRAM_BYTES_MAX).div_ceil(64);
    (lines | 1) * 64
};
/// `struct io_uring_recvmsg_out`.
pub(super) const HEADER_BYTES: usize = 16;
/// Where the buffers begin behind their ring.
const fn buffers_offset(count: usize) -> usize {
    (count * size_of::<BufRingEntry>()).next_multiple_of(4_096)
}
