//! What has come from one kind of sender, those we know or strangers, and in which buffers is it?
//!
//! Each kind has buffers of its own, so that a flood of the one leaves room for the other.

use super::buffers::Buffers;
use super::ring::Ring;
use crate::bounds::BATCH_MAX;
use arrayvec::ArrayVec;
use std::collections::VecDeque;
use std::io;

/// The buffers of one kind of sender.
pub(super) struct Intake {
    buffers: Buffers,
    count: usize,
    /// Received, not lent. *Bound:* each entry holds a buffer.
    ready: VecDeque<Received>,
    /// Lent in the last batch; given back when the next call proves that the batch is gone.
    lent: ArrayVec<u16, BATCH_MAX>,
}

/// A datagram in a buffer.
#[derive(Clone, Copy)]
pub(super) struct Received {
    /// Number of the buffer.
    pub(super) buffer: u16,
    /// Number of the receive it came by.
    pub(super) receive: u8,
    /// Header, name, control message and payload, bytes.
    pub(super) bytes: u16,
}

impl Intake {
    /// With so many buffers, known to the kernel as this group.
    pub(super) fn new(ring: &Ring, count: usize, group: u16) -> io::Result<Self> {
        let buffers = Buffers::new(ring, count, group)?;
        Ok(Self { buffers, count, ready: VecDeque::with_capacity(count), lent: ArrayVec::new() })
    }

    /// The kernel has filled a buffer.
    pub(super) fn push(&mut self, received: Received) {
        self.ready.push_back(received);
    }

    /// How many datagrams wait.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Whether the kernel has a buffer. While every one is held a receive would only end again.
    /// There is always a way on: a batch gives at least one back.
    pub(super) fn has_buffers(&self) -> bool {
        self.ready.len() + self.lent.len() < self.count
    }

    /// Lends the next datagrams, at most so many.
    ///
    /// # Safety
    /// Each slice is gone before [`Self::give_back`].
    #[allow(unsafe_code)]
    pub(super) unsafe fn lend<'a>(
        &mut self,
        most: usize,
    ) -> impl Iterator<Item = (Received, &'a mut [u8])> {
        let (buffers, lent) = (&self.buffers, &mut self.lent);
        self.ready.drain(..self.ready.len().min(most)).map(move |received| {
            lent.push(received.buffer);
            // SAFETY: the number came from a completion, once; it is in `lent` now, and given back
            // only when the slice is gone, as the caller promises.
            let bytes = unsafe { buffers.received(received.buffer, usize::from(received.bytes)) };
            (received, bytes)
        })
    }

    /// The last batch is gone: its buffers are the kernel's again.
    pub(super) fn give_back(&mut self) {
        if !self.lent.is_empty() {
            for buffer in self.lent.drain(..) {
                self.buffers.give_back(buffer);
            }
            self.buffers.publish();
        }
    }
}
