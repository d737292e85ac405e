//! Which datagrams carry our current flight, and when are they sent again? (RFC 6347 sections
//! 4.1.1.1, 4.2.3, 4.2.4)
//!
//! A [`Flight`] keeps messages, not datagrams: each transmission cuts them anew, with new record
//! numbers. A [`Retransmission`] is its timer.

use std::ops::Range;

use crate::control::{CCS_RECORD_BYTES, write_change_cipher_spec};
use crate::established::Established;
use crate::handshake::{self, MessageType};
use crate::record::{self, ContentType, DTLS_1_2};

/// The messages of one flight and how far this transmission of them got.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    entries: Vec<Entry>,
    /// Bodies of all messages.
    bytes: Vec<u8>,
    /// The entry to send next; past the end when all are sent.
    entry: usize,
    /// How many bytes of that entry's body are sent.
    offset: usize,
}

#[derive(Debug)]
enum Entry {
    Message { msg_type: MessageType, message_seq: u16, body: Range<usize>, is_protected: bool },
    ChangeCipherSpec,
}

/// How the datagrams of a transmission may look.
pub(crate) struct Cut<'a> {
    /// Longest datagram, bytes; at least [`MTU_MIN`].
    pub(crate) mtu: usize,
    /// Longest content of one record, bytes.
    pub(crate) content_bytes_max: usize,
    /// The next record number of epoch 0.
    pub(crate) sequence: &'a mut u64,
    /// What protects epoch 1, once there is something.
    pub(crate) keys: Option<&'a mut Established>,
}

/// Smallest datagram size a handshake can be told to use, bytes. *Why:* the first fragment of a
/// ClientHello has to hold its cookie.
pub const MTU_MIN: usize = 96;

/// Headers in front of each plaintext fragment, bytes.
const FRAGMENT_OVERHEAD: usize = record::HEADER_BYTES + handshake::HEADER_BYTES;
/// A fragment shorter than this only goes out alone or as a message's end.
const FRAGMENT_BYTES_MIN: usize = 16;

impl Flight {
    /// Empties it for the next flight.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push(&mut self, msg_type: MessageType, message_seq: u16, body: &[u8]) {
        self.push_entry(msg_type, message_seq, body, false);
    }

    /// A Finished: travels in epoch 1, in one piece.
    pub(crate) fn push_protected(&mut self, msg_type: MessageType, seq: u16, body: &[u8]) {
        self.push_entry(msg_type, seq, body, true);
    }

    pub(crate) fn push_change_cipher_spec(&mut self) {
        self.entries.push(Entry::ChangeCipherSpec);
    }

    /// Begins a transmission of all of it.
    pub(crate) fn rewind(&mut self) {
        (self.entry, self.offset) = (0, 0);
    }

    /// Writes the next datagram of this transmission and returns its length.
    pub(crate) fn poll(&mut self, cut: &mut Cut<'_>, out: &mut [u8]) -> Option<usize> {
        let limit = cut.mtu.min(out.len());
        assert!(limit >= MTU_MIN, "a datagram of {limit} bytes holds no handshake record");
        let mut used = 0;
        while let Some(entry) = self.entries.get(self.entry) {
            let Some(len) = self.write(entry, cut, &mut out[used..], limit - used, used == 0)
            else {
                break;
            };
            let (record_len, is_done) = len;
            used += record_len;
            if is_done {
                self.entry += 1;
                self.offset = 0;
            } else {
                self.offset += record_len - FRAGMENT_OVERHEAD;
            }
            if used >= limit {
                break;
            }
        }
        (used > 0).then_some(used)
    }

    /// Heap bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Writes one record of `entry` into at most `room` bytes of `out`: its length, and whether the
    /// entry is done with it. `None` if it has to wait for the next datagram.
    fn write(
        &self,
        entry: &Entry,
        cut: &mut Cut<'_>,
        out: &mut [u8],
        room: usize,
        is_first: bool,
    ) -> Option<(usize, bool)> {
        match entry {
            Entry::ChangeCipherSpec => (room >= CCS_RECORD_BYTES).then(|| {
                write_change_cipher_spec(out, take(cut.sequence));
                (CCS_RECORD_BYTES, true)
            }),
            Entry::Message { msg_type, message_seq, body, is_protected: true } => {
                let keys = cut.keys.as_deref_mut()?;
                let body = &self.bytes[body.clone()];
                let mut content =
                    handshake::header(*msg_type, body.len(), *message_seq, 0, body.len()).to_vec();
                content.extend_from_slice(body);
                // Alone in its datagram it may be longer than the MTU rather than never sent.
                if content.len() + keys.overhead() > room && !is_first {
                    return None;
                }
                keys.seal(ContentType::HANDSHAKE, &content, out).ok().map(|len| (len, true))
            }
            Entry::Message { msg_type, message_seq, body, is_protected: false } => {
                let message = &self.bytes[body.clone()];
                let rest = &message[self.offset..];
                let most = room
                    .checked_sub(FRAGMENT_OVERHEAD)?
                    .min(cut.content_bytes_max - handshake::HEADER_BYTES);
                let len = rest.len().min(most);
                if len < rest.len() && len < FRAGMENT_BYTES_MIN {
                    return None;
                }
                let kind = ContentType::HANDSHAKE;
                let (sequence, content_len) = (take(cut.sequence), handshake::HEADER_BYTES + len);
                let at = record::write_header(out, kind, DTLS_1_2, 0, sequence, &[], content_len);
                let header =
                    handshake::header(*msg_type, message.len(), *message_seq, self.offset, len);
                out[at..at + header.len()].copy_from_slice(&header);
                out[FRAGMENT_OVERHEAD..][..len].copy_from_slice(&rest[..len]);
                Some((FRAGMENT_OVERHEAD + len, len == rest.len()))
            }
        }
    }

    fn push_entry(&mut self, msg_type: MessageType, message_seq: u16, body: &[u8], protect: bool) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(body);
        let body = start..self.bytes.len();
        self.entries.push(Entry::Message { msg_type, message_seq, body, is_protected: protect });
    }
}

fn take(sequence: &mut u64) -> u64 {
    let taken = *sequence;
    *sequence += 1;
    taken
}

/// When a flight is sent again, and when its sender gives up (RFC 6347 section 4.2.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// First timeout, milliseconds; doubles with each retransmission.
    pub initial_ms: u64,
    /// Longest timeout, milliseconds.
    pub cap_ms: u64,
    /// After this many retransmissions and one more timeout the handshake fails.
    pub retransmissions_max: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self { initial_ms: 1_000, cap_ms: 60_000, retransmissions_max: 5 }
    }
}

impl Timing {
    /// From a flight's first transmission to giving up, milliseconds.
    pub fn total_ms(&self) -> u64 {
        (0..=self.retransmissions_max).map(|n| self.timeout_ms(n)).fold(0, u64::saturating_add)
    }

    fn timeout_ms(&self, retransmissions: u32) -> u64 {
        let doubled = 1u64.checked_shl(retransmissions).unwrap_or(u64::MAX);
        self.initial_ms.saturating_mul(doubled).min(self.cap_ms)
    }
}

/// The timer of one flight.
#[derive(Debug)]
pub(crate) struct Retransmission {
    timing: Timing,
    /// `None`: nothing of ours is waiting to be answered.
    due_ms: Option<u64>,
    give_up_ms: u64,
    last_sent_ms: u64,
    count: u32,
}

/// What a timer that went off wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It was not time yet.
    Nothing,
    /// Send the flight again.
    SendAgain,
    /// The peer is gone.
    GiveUp,
}

impl Retransmission {
    /// Nothing is sent yet; gives up as if something had been.
    pub(crate) fn new(timing: Timing, now_ms: u64) -> Self {
        let give_up_ms = now_ms.saturating_add(timing.total_ms());
        Self { timing, due_ms: None, give_up_ms, last_sent_ms: 0, count: 0 }
    }

    /// A flight goes out for the first time.
    pub(crate) fn start(&mut self, now_ms: u64) {
        *self = Self::new(self.timing, now_ms);
        self.last_sent_ms = now_ms;
        self.arm(now_ms);
    }

    pub(crate) fn due_ms(&self) -> u64 {
        self.due_ms.unwrap_or(self.give_up_ms).min(self.give_up_ms)
    }

    pub(crate) fn on_due(&mut self, now_ms: u64) -> Due {
        if now_ms >= self.give_up_ms {
            return Due::GiveUp;
        }
        if self.due_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return Due::Nothing;
        }
        if self.count == self.timing.retransmissions_max {
            self.due_ms = None;
            return Due::Nothing;
        }
        self.count += 1;
        self.last_sent_ms = now_ms;
        self.arm(now_ms);
        Due::SendAgain
    }

    /// The peer repeats its flight, so ours was lost: whether to send it again now. *Bound:* four
    /// times in the first timeout, whatever the peer sends, and never past giving up.
    pub(crate) fn on_repeated(&mut self, now_ms: u64) -> bool {
        let pause_ms = self.timing.initial_ms / 4;
        if self.due_ms.is_none() || now_ms < self.last_sent_ms.saturating_add(pause_ms) {
            return false;
        }
        self.last_sent_ms = now_ms;
        self.arm(now_ms);
        true
    }

    /// How often the timer sent the flight again.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    fn arm(&mut self, now_ms: u64) {
        self.due_ms = Some(now_ms.saturating_add(self.timing.timeout_ms(self.count)));
    }
}
