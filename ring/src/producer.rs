//! How does an entry get into a ring? Reserved in private memory, published by one store.

use tidegate_faults::{Point, may_die};
use zerocopy::IntoBytes;

#[cfg(not(loom))]
use crate::doorbell::Doorbell;
use crate::layout::{Corrupt, ENTRY_BYTES_MAX, Ring, Seq, entry_header, entry_span};
use crate::shm::{Ordering, fence};

/// The writing end of a ring. One per ring in the world ([`crate::link`] holds a lock for it).
pub struct Producer {
    ring: Ring,
    /// Committed up to here: the private copy of the shared `head`, which nobody else writes.
    head: u64,
    /// `tail` as last seen; it can only have moved on since.
    tail: u64,
    /// The last look at the shared `tail` found it impossible.
    is_corrupt: bool,
    /// The sleep ticket that was answered last, so that one sleep is rung for once.
    rung_ticket: u64,
    /// Where the consumer sleeps; none on the heap.
    #[cfg(not(loom))]
    bell: Option<Doorbell>,
    /// The entry in the making: header word, payload, padding.
    staged: Box<[u64; ENTRY_WORDS_MAX]>,
}

impl Producer {
    /// Goes on where the ring's last producer committed.
    pub(crate) fn attach(ring: Ring) -> Result<Self, Corrupt> {
        let (tail, head) = ring.cursors()?;
        Ok(Self {
            ring,
            head,
            tail,
            is_corrupt: false,
            rung_ticket: 0,
            #[cfg(not(loom))]
            bell: None,
            staged: Box::new([0; ENTRY_WORDS_MAX]),
        })
    }

    /// The same ring as a restarted producer finds it, without a bell.
    pub fn reattached(self) -> Result<Self, Corrupt> {
        Self::attach(self.ring)
    }

    #[cfg(not(loom))]
    pub(crate) fn set_bell(&mut self, bell: Doorbell) {
        self.bell = Some(bell);
    }

    /// Room for an entry of `len` payload bytes that leaves `leave_free_bytes` for others: uplinks
    /// leave some, so that credentials and outcomes still pass when uplinks fill the ring.
    ///
    /// Nothing is visible before [`Grant::commit`]; dropping the grant abandons it.
    #[inline]
    pub fn reserve(
        &mut self,
        kind: u8,
        len: usize,
        leave_free_bytes: usize,
    ) -> Result<Grant<'_>, Full> {
        if len > ENTRY_BYTES_MAX {
            return Err(Full);
        }
        let wanted = entry_span(len).saturating_add(leave_free_bytes as u64);
        if self.ring.capacity() - (self.head - self.tail) < wanted
            && self.free_bytes() < wanted as usize
        {
            return Err(Full);
        }
        Ok(Grant { producer: self, kind, len })
    }

    /// One entry from `parts`, one after the other.
    pub fn push(
        &mut self,
        kind: u8,
        parts: &[&[u8]],
        leave_free_bytes: usize,
    ) -> Result<Seq, Full> {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut grant = self.reserve(kind, len, leave_free_bytes)?;
        let mut rest = grant.bytes_mut();
        for part in parts {
            let (here, behind) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = behind;
        }
        Ok(grant.commit())
    }

    /// Free bytes now, entry headers not counted (each entry takes 8 and pads to 8). Looks at the
    /// consumer's cursor; 0 while that cursor is impossible ([`Self::is_corrupt`]).
    pub fn free_bytes(&mut self) -> usize {
        let tail = self.ring.tail();
        self.is_corrupt = !self.ring.encloses(tail, self.head);
        if self.is_corrupt {
            return 0;
        }
        self.tail = tail;
        (self.ring.capacity() - (self.head - tail)) as usize
    }

    /// Size of the ring, bytes.
    pub fn capacity(&self) -> usize {
        self.ring.capacity() as usize
    }

    /// The consumer's cursor made no sense when it was last looked at. The ring counts as full
    /// until the consumer writes a cursor that does.
    pub fn is_corrupt(&self) -> bool {
        self.is_corrupt
    }

    /// The newest committed entry (0: none yet).
    pub fn committed(&self) -> Seq {
        Seq(self.head)
    }

    /// Rings the bell if the consumer sleeps; call it once after a batch of commits. True if the
    /// consumer slept and had not been rung for yet.
    #[inline]
    pub fn wake_if_sleeping(&mut self) -> bool {
        let wanted = self.wake_wanted();
        #[cfg(not(loom))]
        if let (true, Some(bell)) = (wanted, &self.bell) {
            bell.ring();
        }
        wanted
    }

    /// Must the bell be rung? For owners of a bell of their own kind; the answer is given once per
    /// sleep, so a `true` obliges the caller to ring.
    ///
    /// *Why it cannot be missed:* we store `head`, fence, load `sleep`; the consumer stores
    /// `sleep`, fences, loads `head`. Fences of `SeqCst` have one order: whichever comes second
    /// sees the other's store. So either we see the sleeper, or it sees our entry and stays up.
    #[inline]
    pub fn wake_wanted(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let ticket = self.ring.sleep_ticket();
        let wanted = ticket & 1 == 1 && ticket != self.rung_ticket;
        if wanted {
            self.rung_ticket = ticket;
        }
        wanted
    }
}

/// Room for one entry, held until it is committed or dropped.
pub struct Grant<'p> {
    producer: &'p mut Producer,
    kind: u8,
    len: usize,
}

impl Grant<'_> {
    /// The entry's bytes, to be written whole: they hold what the last entry left there.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.producer.staged.as_mut_bytes()[8..8 + self.len]
    }

    /// Makes the entry shorter than reserved, for a writer that did not know its length.
    ///
    /// Asserts that `len` is not longer than what was reserved.
    pub fn shorten(&mut self, len: usize) {
        assert!(len <= self.len, "an entry can't grow after its reservation");
        self.len = len;
    }

    /// Publishes the entry.
    #[inline]
    pub fn commit(self) -> Seq {
        let Self { producer, kind, len } = self;
        let span = entry_span(len);
        producer.staged[0] = entry_header(producer.head, kind, len);
        // The padding is ours to clear: nothing of an older entry leaves with this one.
        producer.staged.as_mut_bytes()[8 + len..span as usize].fill(0);
        producer.ring.store(producer.head, &producer.staged[..span as usize / 8]);
        may_die(Point::EntryWritten);
        producer.head += span;
        // The only store that publishes: a kill before it leaves no trace (the words lie in free
        // space) and after it a whole entry.
        producer.ring.set_head(producer.head);
        may_die(Point::EntryCommitted);
        Seq(producer.head)
    }
}

/// No room now; the caller answers 5.03 or tries again later. An entry longer than
/// [`ENTRY_BYTES_MAX`] never fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the ring is full")
    }
}

impl std::error::Error for Full {}

pub(crate) const ENTRY_WORDS_MAX: usize = 1 + ENTRY_BYTES_MAX.div_ceil(8);
