//! What memory do the two sides share? A slice of atomic words, in a mapped file or on the heap.
//! The only unsafe code of this crate.
#![allow(unsafe_code)]

use std::ops::Deref;

#[cfg(loom)]
pub(crate) use loom::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering, fence},
};

#[cfg(not(loom))]
use memmap2::MmapRaw;

/// Shared words. Cloning gives another handle on the same memory.
#[derive(Clone)]
pub(crate) enum Words {
    /// Memory of this process: tests, the simulator, loom.
    Heap(Arc<Box<[AtomicU64]>>),
    /// A file mapped `MAP_SHARED`, read and write.
    #[cfg(not(loom))]
    Mapped(Arc<MmapRaw>),
}

impl Words {
    /// `count` zeroed words.
    pub(crate) fn heap(count: usize) -> Self {
        Self::Heap(Arc::new((0..count).map(|_| AtomicU64::new(0)).collect()))
    }

    /// The whole of `file`, whose length must be a multiple of 8.
    #[cfg(not(loom))]
    pub(crate) fn map(file: &std::fs::File) -> std::io::Result<Self> {
        Ok(Self::Mapped(Arc::new(MmapRaw::map_raw(file)?)))
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        match self {
            Self::Heap(words) => words,
            #[cfg(not(loom))]
            Self::Mapped(map) => {
                #[allow(clippy::cast_ptr_alignment)] // a mapping begins on a page
                let base = map.as_mut_ptr().cast::<AtomicU64>();
                // SAFETY: `MmapRaw` keeps `len()` bytes mapped read-write until it is dropped, and
                // the slice borrows `self`. A mapping begins on a page, so it is aligned, and only
                // whole words are counted. Invariant: this process reaches the mapping through
                // these atomics alone, so there is no data race whatever the other process writes
                // (on every target with 64-bit atomics they are lock-free and address-free), and
                // every bit pattern is a valid word. Nothing but the file's truncation by its
                // owner can make it go away (see the crate's "known limit").
                // Tests: `tests/loom_ring.rs` (the orderings, same code over the heap) and
                // `tests/hostile.rs` (random bytes over a mapping).
                unsafe { std::slice::from_raw_parts(base, map.len() / 8) }
            }
        }
    }
}

/// Loom's view of who touches which data word. The words are atomics, so a race on them is no
/// undefined behaviour, but it would be a bug: nobody may write an entry that is being read.
/// Loom does not reorder a load behind a later store, and would not see it otherwise.
#[cfg(loom)]
#[derive(Clone)]
pub(crate) struct Touches(Arc<Box<[loom::cell::UnsafeCell<()>]>>);

#[cfg(loom)]
impl Touches {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new((0..count).map(|_| loom::cell::UnsafeCell::new(())).collect()))
    }

    /// Panics if a write to one of these words is not ordered before.
    pub(crate) fn read(&self, at: usize, count: usize) {
        (at..at + count).for_each(|at| self.0[at % self.0.len()].with(|_| ()));
    }

    /// Panics if any access to one of these words is not ordered before.
    pub(crate) fn write(&self, at: usize, count: usize) {
        (at..at + count).for_each(|at| self.0[at % self.0.len()].with_mut(|_| ()));
    }
}

// SAFETY: the cells hold nothing and their pointers are never followed; loom's own bookkeeping is
// what is shared. Test: all of `tests/loom_ring.rs`.
#[cfg(loom)]
unsafe impl Send for Touches {}
// SAFETY: as above.
#[cfg(loom)]
unsafe impl Sync for Touches {}
