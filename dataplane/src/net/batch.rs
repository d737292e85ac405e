//! What goes between the network and a worker? Datagrams lent by the receiver, and an outbox.
//!
//! Neither copies nor allocates: a [`Batch`] borrows the receiver's buffers for one turn, an
//! [`Outbox`] is a fixed set of buffers that the sender empties.

use super::peer::Peer;
use crate::bounds::{BATCH_MAX, DATAGRAM_BYTES_MAX, OUTBOX_SLOTS};
use arrayvec::ArrayVec;
use std::ops::{Index, IndexMut};

/// Datagrams received in one turn, at most `BATCH_MAX`.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    datagrams: ArrayVec<Datagram<'a>, BATCH_MAX>,
}

/// One datagram, in the buffer it was received into.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub peer: Peer,
    /// Its bytes; opened in place.
    pub bytes: &'a mut [u8],
    /// It was longer than the buffer: what is here is only its beginning.
    pub truncated: bool,
}

impl<'a> Batch<'a> {
    /// No datagrams yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One whole datagram.
    pub fn of_one(peer: Peer, bytes: &'a mut [u8]) -> Self {
        let mut batch = Self::new();
        batch.push(Datagram { peer, bytes, truncated: false });
        batch
    }

    /// Adds a datagram.
    ///
    /// # Panics
    /// If the batch is full: its maker counts.
    pub fn push(&mut self, datagram: Datagram<'a>) {
        self.datagrams.push(datagram);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Whether no more fit.
    pub fn is_full(&self) -> bool {
        self.datagrams.is_full()
    }

    /// All of them, in the order received.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Datagram<'a>> {
        self.datagrams.iter_mut()
    }
}

impl<'a> Index<usize> for Batch<'a> {
    type Output = Datagram<'a>;

    fn index(&self, index: usize) -> &Datagram<'a> {
        &self.datagrams[index]
    }
}

impl<'a> IndexMut<usize> for Batch<'a> {
    fn index_mut(&mut self, index: usize) -> &mut Datagram<'a> {
        &mut self.datagrams[index]
    }
}

/// Datagrams to send, in the order they were begun.
///
/// *Invariant:* slots below `begun` are in use; one of length 0 was begun and given up, and is not
/// sent. Sealing happens in place, by slot number, before the outbox is flushed.
#[derive(Debug)]
pub struct Outbox {
    slots: Box<[Slot]>,
    begun: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    peer: Peer,
    len: u16,
    bytes: [u8; DATAGRAM_BYTES_MAX],
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        let slot = Slot { peer: Peer::default(), len: 0, bytes: [0; DATAGRAM_BYTES_MAX] };
        Self { slots: vec![slot; OUTBOX_SLOTS].into(), begun: 0 }
    }

    /// Takes the next slot for a datagram to `peer`; `None` when all are in use. Nothing is sent
    /// from it before [`Self::commit`].
    pub fn begin(&mut self, peer: Peer) -> Option<usize> {
        let slot = self.slots.get_mut(self.begun)?;
        (slot.peer, slot.len) = (peer, 0);
        self.begun += 1;
        Some(self.begun - 1)
    }

    /// The buffer of a slot.
    pub fn buffer_mut(&mut self, index: usize) -> &mut [u8] {
        &mut self.slots[index].bytes
    }

    /// The buffers of all slots in use, in their order.
    pub fn buffers_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.slots[..self.begun].iter_mut().map(|slot| &mut slot.bytes[..])
    }

    /// The first `len` bytes of a slot are a datagram to send.
    pub fn commit(&mut self, index: usize, len: usize) {
        assert!(index < self.begun && len <= DATAGRAM_BYTES_MAX, "a datagram fits its slot");
        self.slots[index].len = len as u16;
    }

    /// How long the datagram in a slot is, bytes; 0 before it is committed.
    pub fn len_of(&self, index: usize) -> usize {
        self.slots[index].len.into()
    }

    /// The datagram in a slot goes to this peer instead.
    pub fn readdress(&mut self, index: usize, peer: Peer) {
        assert!(index < self.begun, "a datagram was begun");
        self.slots[index].peer = peer;
    }

    /// Slots that can still be begun.
    pub fn room(&self) -> usize {
        self.slots.len() - self.begun
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.begun == 0
    }

    /// What is to be sent, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = (Peer, &[u8])> {
        let in_use = self.slots[..self.begun].iter().filter(|slot| slot.len > 0);
        in_use.map(|slot| (slot.peer, &slot.bytes[..usize::from(slot.len)]))
    }

    /// The same, those together that one call of the kernel can send: neighbours to one peer, all
    /// as long as the first but for the last, which may be shorter. `joins`: else each is a run.
    pub fn runs(&self, joins: bool) -> impl Iterator<Item = Run<'_>> {
        let mut rest = &self.slots[..self.begun];
        std::iter::from_fn(move || {
            let first = rest.iter().position(|slot| slot.len > 0)?;
            let (run, later) = Run::at_front(&rest[first..], joins);
            rest = later;
            Some(run)
        })
    }

    /// Everything was sent, or given up.
    pub fn clear(&mut self) {
        self.begun = 0;
    }
}

/// Datagrams that leave together.
#[derive(Debug)]
pub struct Run<'a> {
    /// To whom.
    pub peer: Peer,
    /// How many, from 1 to [`RUN_MAX`].
    pub count: usize,
    /// Length of each but the last, bytes.
    pub each_bytes: u16,
    /// Among them such as were given up.
    slots: &'a [Slot],
}

impl<'a> Run<'a> {
    /// The run at the front of `slots`, whose first is to be sent, and what follows it.
    fn at_front(slots: &'a [Slot], joins: bool) -> (Self, &'a [Slot]) {
        let (peer, each_bytes) = (slots[0].peer, slots[0].len);
        let (mut count, mut bytes, mut end, mut last) = (1, each_bytes, 1, each_bytes);
        while joins && count < RUN_MAX && last == each_bytes {
            let Some(next) = slots.get(end) else { break };
            if next.len > 0 {
                let all = bytes.saturating_add(next.len);
                if next.peer != peer || next.len > each_bytes || all > RUN_BYTES_MAX {
                    break;
                }
                (count, bytes, last) = (count + 1, all, next.len);
            }
            end += 1;
        }
        let (slots, later) = slots.split_at(end);
        (Self { peer, count, each_bytes, slots }, later)
    }

    /// Each of them.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> {
        let in_use = self.slots.iter().filter(|slot| slot.len > 0);
        in_use.map(|slot| &slot.bytes[..usize::from(slot.len)])
    }
}

/// Most datagrams of a run: the kernel's UDP_MAX_SEGMENTS, before Linux 6.9.
pub const RUN_MAX: usize = 64;
/// Most bytes of a run: a UDP datagram's, over IPv6 or IPv4 (udp(7), UDP_SEGMENT).
const RUN_BYTES_MAX: u16 = u16::MAX - 20 - 8;

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_committed_slots_are_sent_in_their_order() {
        let mut outbox = Outbox::new();
        for byte in 0..3u8 {
            let index = outbox.begin(Peer::default()).unwrap();
            outbox.buffer_mut(index)[0] = byte;
            if byte != 1 {
                outbox.commit(index, 1);
            }
        }
        let sent: Vec<&[u8]> = outbox.datagrams().map(|(_, bytes)| bytes).collect();
        assert_eq!(sent, [[0], [2]]);
        outbox.clear();
        assert!(outbox.is_empty() && outbox.datagrams().next().is_none());
    }

    fn posted(datagrams: &[(u16, usize)]) -> Outbox {
        let mut outbox = Outbox::new();
        for &(port, len) in datagrams {
            let peer = Peer::new(([127, 0, 0, 1], port).into(), 0);
            let index = outbox.begin(peer).unwrap();
            outbox.commit(index, len);
        }
        outbox
    }

    /// Datagrams and bytes of each run.
    fn runs(outbox: &Outbox, joins: bool) -> Vec<(usize, usize)> {
        let run = |run: Run<'_>| {
            assert_eq!(run.datagrams().count(), run.count);
            assert!(run.datagrams().all(|one| one.len() <= run.each_bytes.into()));
            (run.count, run.datagrams().map(<[u8]>::len).sum())
        };
        outbox.runs(joins).map(run).collect()
    }

    #[test]
    fn neighbours_to_one_peer_are_a_run_until_a_shorter_or_a_longer_one() {
        for (datagrams, expected) in [
            (&[][..], &[][..]),
            (&[(1, 9)], &[(1, 9)]),
            (&[(1, 9), (1, 9), (1, 9)], &[(3, 27)]),
            (&[(1, 9), (1, 9), (1, 8), (1, 8)], &[(3, 26), (1, 8)]),
            (&[(1, 9), (1, 10), (1, 10)], &[(1, 9), (2, 20)]),
            (&[(1, 9), (2, 9), (1, 9)], &[(1, 9), (1, 9), (1, 9)]),
            // Given up, at every place.
            (&[(1, 0), (1, 9), (2, 0), (1, 9), (1, 0)], &[(2, 18)]),
        ] {
            let outbox = posted(datagrams);
            assert_eq!(runs(&outbox, true), expected, "{datagrams:?}");
            let apart: Vec<_> =
                datagrams.iter().filter(|one| one.1 > 0).map(|one| (1, one.1)).collect();
            assert_eq!(runs(&outbox, false), apart, "{datagrams:?}");
        }
    }

    #[test]
    fn a_run_ends_at_its_bounds() {
        let short = posted(&[(1, 100); RUN_MAX + 1]);
        assert_eq!(runs(&short, true), [(RUN_MAX, RUN_MAX * 100), (1, 100)]);
        // 44 of 1472 bytes are 64 768, a forty-fifth is too much.
        let long = posted(&[(1, 1_472); 45]);
        assert_eq!(runs(&long, true), [(44, 44 * 1_472), (1, 1_472)]);
    }

    #[test]
    fn the_outbox_ends_at_its_bound() {
        let mut outbox = Outbox::new();
        assert_eq!((0..).map_while(|_| outbox.begin(Peer::default())).count(), OUTBOX_SLOTS);
        assert_eq!(outbox.room(), 0);
    }
}
