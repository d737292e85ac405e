//! How does a datagram reach the worker that owns its session, when the kernel gave it to another?
//!
//! The steering program makes this rare (a socket that closed, a host without the program). A
//! bounded queue per worker; a datagram is handed over once, never twice. What workers have to
//! tell each other goes the same way.
//!
//! A session that we open ourselves has no say in where the answers land, so the worker that opens
//! them says of which peers it expects some. Noise costs the others one load.

use crate::bounds::{DATAGRAM_BYTES_MAX, HANDOVER_MAX};
use crate::net::peer::Peer;
use crate::rates::Accounts;
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use foldhash::quality::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tidegate_ring::contract::DeviceId;

/// What one worker gives another.
#[derive(Debug)]
// Why one size: the mailboxes' places are as large as a datagram anyway.
#[allow(clippy::large_enum_variant)]
pub enum Letter {
    /// A datagram for a session of the addressee.
    Datagram(Forwarded),
    /// The addressee's table holds a session of this device that must not be resumed any more.
    NotResumable(DeviceId),
}

/// A datagram on its way to another worker.
#[derive(Debug)]
pub struct Forwarded {
    /// Who sent it.
    pub peer: Peer,
    len: u16,
    bytes: [u8; DATAGRAM_BYTES_MAX],
}

impl Letter {
    /// Copies a datagram; `None` when it is longer than any we take.
    pub fn datagram(peer: Peer, datagram: &[u8]) -> Option<Self> {
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        bytes.get_mut(..datagram.len())?.copy_from_slice(datagram);
        Some(Self::Datagram(Forwarded { peer, len: datagram.len() as u16, bytes }))
    }
}

impl Forwarded {
    /// The datagram.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..usize::from(self.len)]
    }
}

/// The mailboxes of all workers; every worker holds a clone.
#[derive(Clone, Debug)]
pub struct Handover {
    boxes: Arc<[CachePadded<ArrayQueue<Letter>>]>,
    expected: Arc<Expected>,
    accounts: Accounts,
}

/// The worker that opens sessions to devices.
pub const CONNECTOR: u8 = 0;

/// Peers whose datagrams are for [`CONNECTOR`], wherever they land: a counting filter, so that a
/// few others may seem to be among them, and none of them is missed.
#[derive(Debug)]
struct Expected {
    counts: Box<[AtomicU8]>,
    hasher: RandomState,
}

impl Expected {
    /// *Why so many:* with all connections under way one stranger in sixteen is mistaken.
    const COUNTS: usize = 16 * crate::bounds::CONNECTS_MAX as usize;

    fn new() -> Self {
        let counts = (0..Self::COUNTS).map(|_| AtomicU8::new(0)).collect();
        Self { counts, hasher: RandomState::default() }
    }

    fn of(&self, peer: &Peer) -> &AtomicU8 {
        let hash = self.hasher.hash_one((peer.ip_bytes(), peer.port()));
        &self.counts[hash as usize % Self::COUNTS]
    }
}

impl Handover {
    /// One mailbox for each worker.
    pub fn new(workers: u8) -> Self {
        let mailbox = |_| CachePadded::new(ArrayQueue::new(HANDOVER_MAX));
        let boxes = (0..workers).map(mailbox).collect();
        Self { boxes, expected: Arc::new(Expected::new()), accounts: Accounts::new() }
    }

    /// What accounts have sent, to whichever worker.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// From now on [`CONNECTOR`] expects datagrams of this peer; its alone to say.
    pub fn expect(&self, peer: &Peer) {
        let count = self.expected.of(peer);
        count.store(count.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    /// And now one time less.
    pub fn unexpect(&self, peer: &Peer) {
        let count = self.expected.of(peer);
        let times = count.load(Ordering::Relaxed);
        // Why the top stays: nobody knows how often it was reached.
        if times != u8::MAX {
            count.store(times.saturating_sub(1), Ordering::Relaxed);
        }
    }

    /// Whether [`CONNECTOR`] may expect datagrams of this peer.
    pub fn is_expected(&self, peer: &Peer) -> bool {
        self.expected.of(peer).load(Ordering::Relaxed) > 0
    }

    /// Posts a letter; false when the worker does not exist or its mailbox is full.
    pub fn post(&self, worker: u8, letter: Letter) -> bool {
        self.boxes.get(usize::from(worker)).is_some_and(|mailbox| mailbox.push(letter).is_ok())
    }

    /// The next letter for `worker`.
    pub fn take(&self, worker: u8) -> Option<Letter> {
        self.boxes.get(usize::from(worker))?.pop()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn letter(length: usize) -> Option<Letter> {
        Letter::datagram(Peer::default(), &vec![7; length])
    }

    #[test]
    fn a_letter_arrives_whole_at_its_worker_only() {
        let handover = Handover::new(2);
        assert!(handover.post(1, letter(DATAGRAM_BYTES_MAX).unwrap()));
        assert!(handover.take(0).is_none());
        let Some(Letter::Datagram(mut letter)) = handover.take(1) else { panic!("a datagram") };
        assert_eq!(letter.bytes_mut(), [7; DATAGRAM_BYTES_MAX]);
        assert!(handover.take(1).is_none());
    }

    #[test]
    fn a_peer_is_expected_as_often_as_was_said() {
        let handover = Handover::new(2);
        let peer = |port| Peer::new(([10, 0, 0, 7], port).into(), 0);
        assert!((0..1_000).all(|port| !handover.is_expected(&peer(port))));
        handover.expect(&peer(7));
        handover.expect(&peer(7));
        assert!(handover.clone().is_expected(&peer(7)));
        let mistaken = (1_000..2_000).filter(|port| handover.is_expected(&peer(*port))).count();
        assert!(mistaken < 10, "{mistaken} of a thousand");
        handover.unexpect(&peer(7));
        assert!(handover.is_expected(&peer(7)));
        handover.unexpect(&peer(7));
        assert!(!handover.is_expected(&peer(7)));
        (0..300).for_each(|_| handover.expect(&peer(7)));
        (0..300).for_each(|_| handover.unexpect(&peer(7)));
        assert!(handover.is_expected(&peer(7)), "never too few");
    }

    #[test]
    fn a_full_mailbox_an_unknown_worker_and_an_oversize_datagram_are_refused() {
        let handover = Handover::new(1);
        for _ in 0..HANDOVER_MAX {
            assert!(handover.post(0, letter(1).unwrap()));
        }
        assert!(!handover.post(0, letter(1).unwrap()));
        assert!(!handover.post(1, letter(1).unwrap()));
        assert!(letter(DATAGRAM_BYTES_MAX + 1).is_none());
    }
}
