//! How does an entry get out of a ring? Copied out and checked, then held until it is released.

use tidegate_faults::{Point, may_die};
use zerocopy::IntoBytes;

use crate::layout::{Corrupt, Ring, Seq, entry_span, parse_entry_header};
use crate::producer::ENTRY_WORDS_MAX;
use crate::shm::{Ordering, fence};

/// The reading end of a ring. One per ring in the world ([`crate::link`] holds a lock for it).
///
/// Reading and releasing are two steps: [`Self::next`] moves a private cursor, [`Self::release`]
/// the shared one. What was read and not released is read again by a restarted consumer.
pub struct Consumer {
    ring: Ring,
    /// Entries before it were handed out. Private: dies with the process.
    read: u64,
    /// The private copy of the shared `tail`, which nobody else writes.
    released: u64,
    /// `head` as last seen and found possible.
    head: u64,
    /// The entry handed out last: its words, padding included.
    copied: Box<[u64; ENTRY_WORDS_MAX]>,
}

/// One entry, a private copy of what was in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'c> {
    /// Its name, for [`Consumer::release`].
    pub seq: Seq,
    /// [`crate::contract::Kind`], unchecked.
    pub kind: u8,
    /// The fixed struct and its tail, unchecked; at most [`crate::ENTRY_BYTES_MAX`].
    pub bytes: &'c [u8],
}

impl Consumer {
    /// Goes on at the ring's last release.
    pub(crate) fn attach(ring: Ring) -> Result<Self, Corrupt> {
        let (tail, head) = ring.cursors()?;
        let copied = Box::new([0; ENTRY_WORDS_MAX]);
        let mut consumer = Self { ring, read: tail, released: tail, head, copied };
        consumer.awake();
        Ok(consumer)
    }

    /// The same ring as a restarted consumer finds it: what was read and not released comes again.
    pub fn reattached(self) -> Result<Self, Corrupt> {
        Self::attach(self.ring)
    }

    /// The next entry, or `None` when all that is committed was handed out.
    ///
    /// An error repeats until [`Self::discard`] or, for [`Corrupt::Cursors`], until the producer
    /// writes a cursor that makes sense. Nothing is ever read outside of `released..head`.
    #[inline]
    #[allow(clippy::should_implement_trait)] // lends, so it can't be an Iterator
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Corrupt> {
        if self.read == self.head && !self.look()? {
            return Ok(None);
        }
        let mut header = [0];
        self.ring.load(self.read, &mut header);
        let (kind, len) = parse_entry_header(self.read, header[0])?;
        let span = entry_span(len);
        if span > self.head - self.read {
            return Err(Corrupt::Entry);
        }
        let words = &mut self.copied[..span as usize / 8 - 1];
        self.ring.load(self.read + 8, words);
        self.read += span;
        Ok(Some(Entry { seq: Seq(self.read), kind, bytes: &words.as_bytes()[..len] }))
    }

    /// Gives back the space of everything up to and including `seq`. Releasing what was released
    /// changes nothing.
    ///
    /// Asserts that `seq` was handed out by this consumer.
    #[inline]
    pub fn release(&mut self, seq: Seq) {
        assert!(
            seq.0 <= self.read && seq.0.is_multiple_of(8),
            "released an entry that was not read"
        );
        if seq.0 > self.released {
            self.released = seq.0;
            self.ring.set_tail(self.released);
            may_die(Point::EntryReleased);
        }
    }

    /// Drops everything committed, read or not, and goes on behind it: the way out of
    /// [`Corrupt::Entry`]. Returns the bytes dropped.
    ///
    /// Not a way to forget a former life: a restarted worker's sessions are still there, and so an
    /// entry that ends one (`CredentialDropped`, `SessionEnd`) must be read, not dropped.
    pub fn discard(&mut self) -> Result<u64, Corrupt> {
        self.look()?;
        let dropped = self.head - self.released;
        self.read = self.head;
        self.release(Seq(self.read));
        Ok(dropped)
    }

    /// The first entry that a restarted consumer would see is the one behind this.
    pub fn released(&self) -> Seq {
        Seq(self.released)
    }

    /// Entries up to here were committed when it last looked.
    pub fn committed(&self) -> Seq {
        Seq(self.head)
    }

    /// Size of the ring, bytes.
    pub fn capacity(&self) -> usize {
        self.ring.capacity() as usize
    }

    /// Call before polling the bell. `false`: entries are there (or the ring is corrupt), do not
    /// sleep. `true`: the producer will ring for the next entry; poll the bell, then call
    /// [`Self::awake`] and drain it.
    ///
    /// Sleep with a bound (a second): a producer killed between its commit and the bell rings only
    /// once it is back. The reasoning about fences stands at `Producer::wake_wanted`.
    pub fn prepare_sleep(&mut self) -> bool {
        // Why a ticket: the producer rings once per sleep, and a ticket that goes on across our
        // restarts is never one that an earlier sleep has used up.
        let ticket = (self.ring.sleep_ticket() | 1).wrapping_add(2);
        self.ring.set_sleep_ticket(ticket);
        fence(Ordering::SeqCst);
        let idle = self.read == self.head && self.look() == Ok(false);
        if !idle {
            self.awake();
        }
        idle
    }

    /// Call when up again: the producer need not ring.
    #[inline]
    pub fn awake(&mut self) {
        let ticket = self.ring.sleep_ticket();
        if ticket & 1 == 1 {
            self.ring.set_sleep_ticket(ticket & !1);
        }
    }

    /// Looks at the producer's cursor. Is there something unread?
    fn look(&mut self) -> Result<bool, Corrupt> {
        let head = self.ring.head();
        if head < self.read || !self.ring.encloses(self.released, head) {
            return Err(Corrupt::Cursors);
        }
        self.head = head;
        Ok(self.read != head)
    }
}
