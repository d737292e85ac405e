//! Where is what in a ring's memory? The header's words, an entry's header, and their checks.

use crate::contract::{CONTRACT_VERSION, TAIL_BYTES_MAX};
use crate::shm::{AtomicU64, Ordering, Words};

/// Longest payload of an entry, bytes: the longest fixed struct of the contract and its tail.
/// *Bound:* a longer one is refused by the producer and is corruption to the consumer.
pub const ENTRY_BYTES_MAX: usize = 64 + TAIL_BYTES_MAX;

/// Names an entry by the position just behind it. Grows along the ring and never repeats,
/// across restarts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// What is wrong with the shared memory. The other side is broken or hostile; nothing read after
/// it can be trusted, and nothing was read out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// Not a ring of this kind: magic, direction, capacity or length do not fit.
    Header,
    /// A ring of another layout or contract version.
    Version(u64),
    /// `tail` and `head` do not enclose 0 to `capacity` bytes, or are not multiples of 8.
    Cursors,
    /// An entry's header: its length, its check.
    Entry,
}

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header => write!(f, "not a ring"),
            Self::Version(found) => {
                write!(f, "ring of version {found:#x}, this program speaks {VERSION:#x}")
            }
            Self::Cursors => write!(f, "ring with impossible cursors"),
            Self::Entry => write!(f, "ring with an impossible entry"),
        }
    }
}

impl std::error::Error for Corrupt {}

/// Which way a ring runs. Part of the header, so that files cannot be swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From a worker to the control plane.
    Up = 1,
    /// From the control plane to a worker.
    #[cfg_attr(loom, expect(dead_code))]
    Down = 2,
}

/// The memory of one ring, its header checked.
#[derive(Clone)]
pub(crate) struct Ring {
    words: Words,
    /// Power of two, ≤ `CAPACITY_BYTES_MAX`; the memory holds exactly this much behind the header.
    capacity: u64,
    #[cfg(loom)]
    touches: crate::shm::Touches,
}

impl Ring {
    /// Checks the header once; afterwards `capacity` is private and nobody can change it.
    pub(crate) fn open(words: Words, direction: Direction) -> Result<Self, Corrupt> {
        if words.len() < HEADER_WORDS || words[MAGIC_AT].load(Ordering::Acquire) != MAGIC {
            return Err(Corrupt::Header);
        }
        let version = words[VERSION_AT].load(Ordering::Relaxed);
        if version != VERSION {
            return Err(Corrupt::Version(version));
        }
        let capacity = words[CAPACITY_AT].load(Ordering::Relaxed);
        let whole = capacity.is_power_of_two()
            && (HEAP_CAPACITY_BYTES_MIN as u64..=CAPACITY_BYTES_MAX as u64).contains(&capacity)
            && words.len() == HEADER_WORDS + capacity as usize / 8;
        if !whole || words[DIRECTION_AT].load(Ordering::Relaxed) != direction as u64 {
            return Err(Corrupt::Header);
        }
        Ok(Self {
            words,
            capacity,
            #[cfg(loom)]
            touches: crate::shm::Touches::new(capacity as usize / 8),
        })
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Everything before it is committed. Acquire: with this head come the words before it.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.words[HEAD_AT].load(Ordering::Acquire)
    }

    /// The producer's alone. Release: who sees this head sees the words before it.
    #[inline]
    pub(crate) fn set_head(&self, position: u64) {
        Self::write(&self.words[HEAD_AT], position, Ordering::Release);
    }

    /// Everything before it is released. Acquire: the consumer's reads of the words before it
    /// come before our writes to them.
    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.words[TAIL_AT].load(Ordering::Acquire)
    }

    /// The consumer's alone. Release: pairs with [`Self::tail`].
    #[inline]
    pub(crate) fn set_tail(&self, position: u64) {
        Self::write(&self.words[TAIL_AT], position, Ordering::Release);
    }

    /// `ticket << 1 | asleep`. Ordered by the fences of `wake_wanted` and `prepare_sleep`.
    #[inline]
    pub(crate) fn sleep_ticket(&self) -> u64 {
        self.words[SLEEP_AT].load(Ordering::Relaxed)
    }

    /// The consumer's alone.
    #[inline]
    pub(crate) fn set_sleep_ticket(&self, ticket: u64) {
        Self::write(&self.words[SLEEP_AT], ticket, Ordering::Relaxed);
    }

    /// Both cursors, checked against each other.
    pub(crate) fn cursors(&self) -> Result<(u64, u64), Corrupt> {
        // Why this order: the tail never passes a head that was there before it was read.
        let tail = self.tail();
        let head = self.head();
        if self.encloses(tail, head) { Ok((tail, head)) } else { Err(Corrupt::Cursors) }
    }

    /// Can `tail..head` be what a ring holds?
    #[inline]
    pub(crate) fn encloses(&self, tail: u64, head: u64) -> bool {
        (tail | head).is_multiple_of(8)
            && head <= POSITION_MAX
            && head.checked_sub(tail).is_some_and(|held| held <= self.capacity)
    }

    /// Copies words out, beginning at `position` (a multiple of 8) and going around the end.
    #[inline]
    pub(crate) fn load(&self, position: u64, into: &mut [u64]) {
        let data = &self.words[HEADER_WORDS..];
        let at = self.index(position);
        #[cfg(loom)]
        self.touches.read(at, into.len());
        let (first, second) = into.split_at_mut(into.len().min(data.len() - at));
        for (word, shared) in first.iter_mut().zip(&data[at..]) {
            *word = shared.load(Ordering::Relaxed);
        }
        for (word, shared) in second.iter_mut().zip(data) {
            *word = shared.load(Ordering::Relaxed);
        }
    }

    /// Copies words in, like [`Self::load`]. Only for free space: `head` must not enclose it yet.
    #[inline]
    pub(crate) fn store(&self, position: u64, from: &[u64]) {
        let data = &self.words[HEADER_WORDS..];
        let at = self.index(position);
        #[cfg(loom)]
        self.touches.write(at, from.len());
        let (first, second) = from.split_at(from.len().min(data.len() - at));
        for (word, shared) in first.iter().zip(&data[at..]) {
            Self::write(shared, *word, Ordering::Relaxed);
        }
        for (word, shared) in second.iter().zip(data) {
            Self::write(shared, *word, Ordering::Relaxed);
        }
    }

    /// The only store to shared memory there is, and so the only place where being killed can
    /// make a difference: the tests of `killed.rs` die before each.
    #[inline]
    fn write(word: &AtomicU64, value: u64, order: Ordering) {
        #[cfg(all(test, not(loom)))]
        crate::killed::before_store();
        word.store(value, order);
    }

    #[inline]
    fn index(&self, position: u64) -> usize {
        ((position & (self.capacity - 1)) / 8) as usize
    }
}

/// The header of an empty ring; behind it come `capacity` zero bytes.
pub(crate) fn header_words(direction: Direction, capacity: usize) -> [u64; HEADER_WORDS] {
    let mut words = [0; HEADER_WORDS];
    words[MAGIC_AT] = MAGIC;
    words[VERSION_AT] = VERSION;
    words[CAPACITY_AT] = capacity as u64;
    words[DIRECTION_AT] = direction as u64;
    words
}

/// The smallest capacity that holds `wanted` bytes, within `min..=CAPACITY_BYTES_MAX`.
pub(crate) fn capacity_for(wanted: usize, min: usize) -> usize {
    wanted.clamp(min, CAPACITY_BYTES_MAX).next_power_of_two()
}

/// Bytes an entry with this payload takes in the ring, header and padding included.
#[inline]
pub(crate) fn entry_span(payload_bytes: usize) -> u64 {
    (8 + payload_bytes.next_multiple_of(8)) as u64
}

/// An entry's header: `length:16 | kind:8 | zero:8 | check:32`, least significant first.
#[inline]
pub(crate) fn entry_header(position: u64, kind: u8, payload_bytes: usize) -> u64 {
    let low = payload_bytes as u64 | u64::from(kind) << 16;
    low | check(position, low) << 32
}

/// Kind and length of the entry at `position`, if its header is one this ring could have written.
#[inline]
pub(crate) fn parse_entry_header(position: u64, header: u64) -> Result<(u8, usize), Corrupt> {
    let low = header & 0xffff_ffff;
    let payload_bytes = (low & 0xffff) as usize;
    if low >> 24 != 0 || payload_bytes > ENTRY_BYTES_MAX || header >> 32 != check(position, low) {
        return Err(Corrupt::Entry);
    }
    Ok(((low >> 16) as u8, payload_bytes))
}

/// 32 bits that tie a header to its place: old bytes from an earlier lap do not pass for an entry.
/// Not a defence against an author who wants to deceive; bounds are.
#[inline]
fn check(position: u64, low: u64) -> u64 {
    (position ^ low << 24).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// The header is 512 bytes, so that the words different processes write are 128 bytes apart
/// (two lines: adjacent-line prefetch pairs them).
pub(crate) const HEADER_WORDS: usize = 64;
/// Smallest ring in a file, bytes: room for an entry of the longest kind, and a page.
#[cfg(not(loom))]
pub(crate) const FILE_CAPACITY_BYTES_MIN: usize = 4096;
/// Smallest ring at all, bytes.
pub(crate) const HEAP_CAPACITY_BYTES_MIN: usize = 64;
/// *Bound:* largest ring, bytes.
pub(crate) const CAPACITY_BYTES_MAX: usize = 1 << 30;

/// *Bound:* no position is beyond this, so that sums of positions cannot overflow. At 10 GB/s it is
/// reached after 14 years; a ring made anew starts at 0.
const POSITION_MAX: u64 = 1 << 62;
const MAGIC: u64 = u64::from_le_bytes(*b"tideRING");
/// `layout:32 | contract:32`. The layout counts changes to this file.
const VERSION: u64 = 1 << 32 | CONTRACT_VERSION as u64;

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 1;
const CAPACITY_AT: usize = 2;
const DIRECTION_AT: usize = 3;
const HEAD_AT: usize = 16;
const TAIL_AT: usize = 32;
const SLEEP_AT: usize = 48;
