//! How do frames pass between the kernel and us? By four rings of an AF_XDP socket, each with one
//! producer and one consumer: filled and sent by us, received and completed by the kernel.
#![allow(unsafe_code)]

use super::umem::Mapping;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

/// A ring, seen from one of its sides.
///
/// *Invariant:* `map` holds the kernel's ring of `mask + 1` entries of type `T` at the offsets it
/// named; the entries between its consumer's and producer's counts are the consumer's, all others
/// the producer's.
struct Ring<T> {
    map: Mapping,
    offsets: libc::xdp_ring_offset,
    mask: u32,
    entries: PhantomData<T>,
}

impl<T: Copy> Ring<T> {
    /// Maps the ring of `count` entries that socket `fd` has at `page`.
    fn map(fd: i32, page: i64, count: u32, offsets: libc::xdp_ring_offset) -> io::Result<Self> {
        assert!(count.is_power_of_two());
        let bytes = offsets.desc as usize + count as usize * size_of::<T>();
        let map = Mapping::new(bytes, 0, fd, page)?;
        Ok(Self { map, offsets, mask: count - 1, entries: PhantomData })
    }

    fn counter(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: by the invariant a 32-bit word, aligned, is there as long as `self`; the kernel
        // too changes it atomically.
        unsafe { &*self.map.at(offset as usize).cast() }
    }

    fn producer(&self) -> &AtomicU32 {
        self.counter(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.counter(self.offsets.consumer)
    }

    fn entry(&self, number: u32) -> *mut T {
        let index = (number & self.mask) as usize;
        self.map.at(self.offsets.desc as usize + index * size_of::<T>()).cast()
    }
}

/// The kernel produces, we consume.
pub(super) struct Incoming<T> {
    ring: Ring<T>,
    /// How far we are.
    consumed: u32,
}

impl<T: Copy> Incoming<T> {
    pub(super) fn map(
        fd: i32,
        page: i64,
        count: u32,
        offsets: libc::xdp_ring_offset,
    ) -> io::Result<Self> {
        Ok(Self { ring: Ring::map(fd, page, count, offsets)?, consumed: 0 })
    }

    /// How many entries wait.
    pub(super) fn len(&self) -> u32 {
        let produced = self.ring.producer().load(Ordering::Acquire);
        produced.wrapping_sub(self.consumed).min(self.ring.mask + 1)
    }

    /// A waiting entry, `ahead` of the first.
    pub(super) fn peek(&self, ahead: u32) -> T {
        debug_assert!(ahead < self.len());
        // SAFETY: the caller has seen by `len`, with acquire, that the kernel has written it; by
        // the invariant it stays until it is released. Any bytes make a `T`: a number, or three.
        unsafe { self.ring.entry(self.consumed.wrapping_add(ahead)).read() }
    }

    /// The first `count` entries were taken.
    pub(super) fn release(&mut self, count: u32) {
        self.consumed = self.consumed.wrapping_add(count);
        self.ring.consumer().store(self.consumed, Ordering::Release);
    }
}

/// We produce, the kernel consumes.
pub(super) struct Outgoing<T> {
    ring: Ring<T>,
    /// How far we have written.
    produced: u32,
}

impl<T: Copy> Outgoing<T> {
    pub(super) fn map(
        fd: i32,
        page: i64,
        count: u32,
        offsets: libc::xdp_ring_offset,
    ) -> io::Result<Self> {
        Ok(Self { ring: Ring::map(fd, page, count, offsets)?, produced: 0 })
    }

    /// Writes an entry, not shown yet. The caller knows that there is room: each ring has as many
    /// entries as there are frames to put into it.
    pub(super) fn push(&mut self, entry: T) {
        debug_assert!(self.unconsumed() <= self.ring.mask);
        // SAFETY: with room left the entry is the producer's, by the invariant; and without, a
        // frame would be in two hands, which `umem` rules out.
        unsafe { self.ring.entry(self.produced).write(entry) };
        self.produced = self.produced.wrapping_add(1);
    }

    /// Shows the kernel what was written.
    pub(super) fn publish(&mut self) {
        self.ring.producer().store(self.produced, Ordering::Release);
    }

    /// Entries written that the kernel has not taken.
    pub(super) fn unconsumed(&self) -> u32 {
        self.produced.wrapping_sub(self.ring.consumer().load(Ordering::Acquire))
    }

    /// Whether the kernel must be called to see them.
    pub(super) fn needs_wakeup(&self) -> bool {
        let flags = self.ring.counter(self.ring.offsets.flags).load(Ordering::Relaxed);
        flags & NEED_WAKEUP != 0
    }
}

const NEED_WAKEUP: u32 = 1;
