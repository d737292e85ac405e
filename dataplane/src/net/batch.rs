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

    /// Everything was sent, or given up.
    pub fn clear(&mut self) {
        self.begun = 0;
    }
}

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

    #[test]
    fn the_outbox_ends_at_its_bound() {
        let mut outbox = Outbox::new();
        assert_eq!((0..).map_while(|_| outbox.begin(Peer::default())).count(), OUTBOX_SLOTS);
        assert_eq!(outbox.room(), 0);
    }
}
