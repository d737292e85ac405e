//! Which handshake message comes next, whole and in order? (RFC 6347 section 4.2.2, 4.2.3)
//!
//! Messages that arrive whole and in order pass through without a copy. Fragments and early
//! messages wait here.
//! *Bound:* the waiting messages have at most [`MESSAGES_AHEAD`] numbers and `bytes_max` bytes
//! together, counted by the length they claim. The message that is due next pushes later ones out.

use crate::Drop;
use crate::handshake::{Fragment, MessageType};

/// What waits, and which message is due.
#[derive(Debug)]
pub struct Reassembly {
    /// `message_seq` of the message that is due; one past 65535 when none can follow.
    next: u32,
    bytes_max: usize,
    partial: Vec<Partial>,
}

/// How many messages, beginning with the one that is due, may wait at once. *Why:* a client's
/// longest flight is Certificate, ClientKeyExchange, CertificateVerify, Finished; a server's is
/// one longer.
pub const MESSAGES_AHEAD: u32 = 5;

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered<'a> {
    /// It is the whole message that was due.
    Due(&'a [u8]),
    /// It waits for others; [`Reassembly::take_due`] may have something now.
    Kept,
}

/// A message that was put together here.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its type.
    pub msg_type: MessageType,
    /// Its number.
    pub message_seq: u16,
    /// Its body without any header.
    pub body: Vec<u8>,
}

impl Reassembly {
    /// Waits for the message numbered `first`; holds at most `bytes_max` bytes of messages.
    pub fn new(first: u16, bytes_max: usize) -> Self {
        Self { next: first.into(), bytes_max, partial: Vec::new() }
    }

    /// The number of the message that is due.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Forgets everything and waits for the message numbered `next`.
    pub fn restart_at(&mut self, next: u32) {
        self.next = next;
        self.partial.clear();
    }

    /// Takes a fragment that travelled in `epoch`. Parts of one message from different epochs do
    /// not mix; the protected one wins.
    pub fn offer<'a>(&mut self, fragment: &Fragment<'a>, epoch: u16) -> Result<Offered<'a>, Drop> {
        let message_seq = u32::from(fragment.message_seq);
        let ahead = message_seq.checked_sub(self.next).ok_or(Drop::Repeated)?;
        if ahead >= MESSAGES_AHEAD {
            return Err(Drop::TooEarly);
        }
        if fragment.length as usize > self.bytes_max {
            return Err(Drop::MessageTooLong);
        }
        if ahead == 0 && fragment.is_whole() {
            self.partial.retain(|partial| partial.message_seq != fragment.message_seq);
            self.next += 1;
            return Ok(Offered::Due(fragment.body));
        }
        self.partial_for(fragment, epoch)?.add(fragment)?;
        Ok(Offered::Kept)
    }

    /// The message that is due, if all of it is here.
    pub fn take_due(&mut self) -> Option<Whole> {
        let is_due = |p: &Partial| u32::from(p.message_seq) == self.next && p.missing == 0;
        let index = self.partial.iter().position(is_due)?;
        let Partial { msg_type, message_seq, body, .. } = self.partial.swap_remove(index);
        self.next += 1;
        Some(Whole { msg_type, message_seq, body })
    }

    /// Heap bytes held now.
    pub fn bytes(&self) -> usize {
        self.partial.capacity() * size_of::<Partial>()
            + self
                .partial
                .iter()
                .map(|p| p.body.capacity() + 8 * p.present.capacity())
                .sum::<usize>()
    }

    /// Most heap bytes that `bytes_max` allows.
    pub const fn bytes_bound(bytes_max: usize) -> usize {
        let partials = MESSAGES_AHEAD as usize;
        // Bodies, one bit for each of their bytes, and the table (a vector grows by doubling).
        bytes_max + bytes_max / 8 + 8 * partials + 2 * partials * size_of::<Partial>()
    }

    fn partial_for(&mut self, fragment: &Fragment<'_>, epoch: u16) -> Result<&mut Partial, Drop> {
        let same = |p: &Partial| p.message_seq == fragment.message_seq;
        if let Some(index) = self.partial.iter().position(same) {
            let partial = &self.partial[index];
            if partial.epoch == epoch && partial.agrees(fragment) {
                return Ok(&mut self.partial[index]);
            }
            if partial.epoch >= epoch {
                return Err(Drop::FragmentMismatch);
            }
            self.partial.swap_remove(index);
        }
        self.make_room(fragment)?;
        self.partial.push(Partial::new(fragment, epoch));
        Ok(self.partial.last_mut().expect("just pushed"))
    }

    /// Pushes out later messages, the last first, until this one fits.
    fn make_room(&mut self, fragment: &Fragment<'_>) -> Result<(), Drop> {
        while self.waiting() + fragment.length as usize > self.bytes_max {
            let later = self.partial.iter().enumerate().max_by_key(|(_, p)| p.message_seq);
            match later {
                Some((index, p)) if p.message_seq > fragment.message_seq => {
                    self.partial.swap_remove(index);
                }
                _ => return Err(Drop::TooEarly),
            }
        }
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.partial.iter().map(|p| p.body.len()).sum()
    }
}

#[derive(Debug)]
struct Partial {
    msg_type: MessageType,
    message_seq: u16,
    epoch: u16,
    /// Bytes still missing.
    missing: usize,
    body: Vec<u8>,
    /// One bit for each byte of `body` that is here.
    present: Vec<u64>,
}

impl Partial {
    fn new(fragment: &Fragment<'_>, epoch: u16) -> Self {
        let length = fragment.length as usize;
        Self {
            msg_type: fragment.msg_type,
            message_seq: fragment.message_seq,
            epoch,
            missing: length,
            body: vec![0; length],
            present: vec![0; length.div_ceil(64)],
        }
    }

    fn agrees(&self, fragment: &Fragment<'_>) -> bool {
        self.msg_type == fragment.msg_type && self.body.len() == fragment.length as usize
    }

    fn has(&self, at: usize) -> bool {
        self.present[at / 64] >> (at % 64) & 1 == 1
    }

    fn add(&mut self, fragment: &Fragment<'_>) -> Result<(), Drop> {
        let places = fragment.offset as usize..;
        if places.clone().zip(fragment.body).any(|(at, b)| self.has(at) && self.body[at] != *b) {
            return Err(Drop::FragmentMismatch);
        }
        for (at, byte) in places.zip(fragment.body) {
            if !self.has(at) {
                self.present[at / 64] |= 1 << (at % 64);
                self.body[at] = *byte;
                self.missing -= 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const TYPE: MessageType = MessageType::CERTIFICATE;

    fn part(message_seq: u16, message: &[u8], offset: usize, len: usize) -> Fragment<'_> {
        Fragment {
            msg_type: TYPE,
            length: message.len() as u32,
            message_seq,
            offset: offset as u32,
            body: &message[offset..offset + len],
        }
    }

    #[test]
    fn a_whole_message_in_order_passes_through() {
        let mut reassembly = Reassembly::new(3, 100);
        assert_eq!(reassembly.offer(&part(3, b"hello", 0, 5), 0), Ok(Offered::Due(b"hello")));
        assert_eq!(reassembly.offer(&part(3, b"hello", 0, 5), 0), Err(Drop::Repeated));
        assert_eq!(reassembly.offer(&part(4, b"", 0, 0), 0), Ok(Offered::Due(b"")));
        assert_eq!(reassembly.bytes(), 0);
    }

    #[test]
    fn overlapping_fragments_in_any_order_make_the_message() {
        let mut reassembly = Reassembly::new(0, 100);
        for (offset, len) in [(6, 5), (0, 3), (2, 5)] {
            assert_eq!(reassembly.take_due(), None);
            let fragment = part(0, b"hello world", offset, len);
            assert_eq!(reassembly.offer(&fragment, 0), Ok(Offered::Kept));
        }
        assert_eq!(reassembly.take_due().unwrap().body, b"hello world");
    }

    #[test]
    fn an_early_message_waits_for_those_before_it() {
        let mut reassembly = Reassembly::new(0, 100);
        assert_eq!(reassembly.offer(&part(1, b"second", 0, 6), 0), Ok(Offered::Kept));
        assert_eq!(reassembly.take_due(), None);
        assert_eq!(reassembly.offer(&part(0, b"first", 0, 5), 0), Ok(Offered::Due(b"first")));
        assert_eq!(reassembly.take_due().unwrap().body, b"second");
    }

    #[test]
    fn contradicting_fragments_are_dropped_and_the_first_ones_stay() {
        let mut reassembly = Reassembly::new(0, 100);
        reassembly.offer(&part(0, b"hello", 0, 3), 0).unwrap();
        let other_bytes = part(0, b"hexxx", 2, 3);
        assert_eq!(reassembly.offer(&other_bytes, 0), Err(Drop::FragmentMismatch));
        let other_length = part(0, b"hello!", 3, 2);
        assert_eq!(reassembly.offer(&other_length, 0), Err(Drop::FragmentMismatch));
        reassembly.offer(&part(0, b"hello", 3, 2), 0).unwrap();
        assert_eq!(reassembly.take_due().unwrap().body, b"hello");
    }

    #[test]
    fn a_protected_fragment_replaces_what_a_stranger_could_have_put_there() {
        let mut reassembly = Reassembly::new(0, 100);
        reassembly.offer(&part(0, b"forged", 0, 3), 0).unwrap();
        reassembly.offer(&part(0, b"genuine", 0, 3), 1).unwrap();
        assert_eq!(reassembly.offer(&part(0, b"forged", 3, 3), 0), Err(Drop::FragmentMismatch));
        reassembly.offer(&part(0, b"genuine", 3, 4), 1).unwrap();
        assert_eq!(reassembly.take_due().unwrap().body, b"genuine");
    }

    #[test]
    fn the_window_of_numbers_and_the_length_have_two_sides() {
        let mut reassembly = Reassembly::new(0, 5);
        assert!(reassembly.offer(&part(4, b"", 0, 0), 0).is_ok());
        assert_eq!(reassembly.offer(&part(5, b"", 0, 0), 0), Err(Drop::TooEarly));
        assert!(reassembly.offer(&part(1, b"12345", 0, 1), 0).is_ok());
        assert_eq!(reassembly.offer(&part(1, b"123456", 0, 1), 0), Err(Drop::MessageTooLong));
    }

    #[test]
    fn the_message_that_is_due_pushes_later_ones_out() {
        let mut reassembly = Reassembly::new(0, 10);
        reassembly.offer(&part(1, b"123456", 0, 6), 0).unwrap();
        assert_eq!(reassembly.offer(&part(2, b"12345", 0, 5), 0), Err(Drop::TooEarly));
        reassembly.offer(&part(0, b"123456789", 0, 1), 0).unwrap();
        reassembly.offer(&part(0, b"123456789", 1, 8), 0).unwrap();
        assert_eq!(reassembly.take_due().unwrap().body, b"123456789");
        assert_eq!(reassembly.take_due(), None, "the second has to come again");
    }

    #[test]
    fn the_last_number_of_all_can_be_received_and_nothing_follows_it() {
        let mut reassembly = Reassembly::new(u16::MAX, 10);
        assert_eq!(reassembly.offer(&part(u16::MAX, b"x", 0, 1), 0), Ok(Offered::Due(b"x")));
        assert_eq!(reassembly.offer(&part(0, b"x", 0, 1), 0), Err(Drop::Repeated));
        assert_eq!(reassembly.offer(&part(u16::MAX, b"x", 0, 1), 0), Err(Drop::Repeated));
    }

    proptest! {
        /// Whatever is offered, the heap stays inside the bound and the window stays open.
        #[test]
        fn memory_is_bounded(offers in prop::collection::vec(
            (0u16..8, 0usize..1200, 0usize..1200, 0usize..200, 0u16..2), 1..200))
        {
            let mut reassembly = Reassembly::new(0, 1000);
            let message = [7; 1200];
            for (seq, length, offset, len, epoch) in offers {
                let offset = offset.min(length);
                let len = len.min(length - offset);
                let _ = reassembly.offer(&part(seq, &message[..length], offset, len), epoch);
                prop_assert!(reassembly.bytes() <= Reassembly::bytes_bound(1000));
                while let Some(whole) = reassembly.take_due() {
                    prop_assert!(whole.body.iter().all(|byte| *byte == 7));
                }
            }
        }
    }
}
