//! How do datagrams come and go by io_uring? One multishot receive for each socket, filling buffers
//! of one ring for those we know and of another for strangers; replies go out as one submission per
//! turn.
//!
//! What ends a multishot receive, each reproduced: a datagram of length zero, which any stranger
//! can send; no free buffer (ENOBUFS); an overflow of the completion queue. So every completion
//! without F_MORE marks its receive as ended, and it is begun again once buffers were given back:
//! queued sends, then buffers, then the receive, then sleep, in that order.
//!
//! A send is MSG_DONTWAIT and posts a completion only when it fails: it is over when the submission
//! returns, so the outbox is free again then.
#![allow(unsafe_code)]

mod buffers;
mod intake;
mod ring;

use super::batch::{Batch, Datagram, Outbox, Run};
use super::fixed::Fixed;
use super::headers::{SendHeaders, empty_message};
use super::name::{CONTROL_BYTES, local_of, peer_of};
use super::peer::Peer;
use super::socket::Socket;
use super::stats::Stats;
use super::{CANNOT_JOIN, Ends, Woken};
use crate::bounds::{BATCH_MAX, DATAGRAM_BYTES_MAX, OUTBOX_SLOTS, STRANGERS_MAX, STRANGERS_MIN};
use buffers::HEADER_BYTES;
use intake::{Intake, Received};
use io_uring::squeue::{self, Flags};
use io_uring::types::Fixed as File;
use io_uring::{cqueue, opcode};
use ring::Ring;
use std::io;
use std::time::Duration;

/// A ring, its receives, and the buffers between it and the worker.
pub(super) struct Uring {
    /// *Invariant:* first, so that dropping it ends all operations before their memory goes.
    ring: Ring,
    known: Intake,
    strangers: Intake,
    /// In the order of [`Ends::receiving`].
    receives: Vec<Receive>,
    /// What the receives want to know of each datagram: room for a name, perhaps a control message.
    wishes: Fixed<libc::mmsghdr>,
    sending: SendHeaders,
    bell: Polled,
    rang: bool,
    /// The last batch was full enough for more to be on their way, whatever the rate was before.
    follows_many: bool,
    /// The kernel refused to cut a run.
    cannot_join: bool,
}

/// The state of one socket's multishot receive.
struct Receive {
    is_armed: bool,
    is_of_strangers: bool,
    /// Bytes before the payload: header, name and control message as submitted.
    name_bytes: usize,
    control_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Polled {
    Armed,
    Ended,
    Lost,
}

impl Uring {
    /// Sets everything up and begins to receive; an error means that the other backend must serve.
    pub(super) fn open(ends: &Ends) -> io::Result<Self> {
        let bell = ends.bell.fd().ok_or_else(|| io::Error::other("the bell is broken"))?;
        let files: Vec<_> = ends.receiving().map(Socket::fd).chain([bell]).collect();
        let ring = Ring::new(&files)?;
        let known = Intake::new(&ring, KNOWN_BUFFERS, KNOWN_GROUP)?;
        let strangers = Intake::new(&ring, STRANGERS_BUFFERS, STRANGERS_GROUP)?;
        let receives = ends.sockets.iter().map(|socket| Receive::of(socket, false));
        let strange = ends.strangers.iter().map(|socket| Receive::of(socket, true));
        let receives: Vec<Receive> = receives.chain(strange).collect();
        let mut wishes = Fixed::new(empty_message(), receives.len());
        for (index, receive) in receives.iter().enumerate() {
            let wish = &mut wishes.get_mut(index).msg_hdr;
            wish.msg_namelen = receive.name_bytes as u32;
            wish.msg_controllen = receive.control_bytes as _;
        }
        let mut uring = Self {
            ring,
            known,
            strangers,
            receives,
            wishes,
            sending: SendHeaders::new(OUTBOX_SLOTS),
            bell: Polled::Ended,
            rang: false,
            follows_many: false,
            cannot_join: false,
        };
        let mut first = Stats::default();
        uring.arm(&mut first);
        uring.ring.enter(0, Duration::ZERO, None)?;
        uring.harvest(&mut first);
        if first.receive_errors > 0 {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "no multishot receive"));
        }
        Ok(uring)
    }

    /// Waits until a datagram or the bell is there, or the time is over.
    pub(super) fn wait(&mut self, timeout: Duration, ends: &mut Ends) -> Woken {
        self.give_back();
        self.harvest(&mut ends.stats);
        self.arm(&mut ends.stats);
        if self.has_news() {
            return self.woken(ends);
        }
        if !ends.spin(timeout, |ends| self.look(&mut ends.stats)) {
            ends.stats.sleeps += u64::from(!timeout.is_zero());
            let gather = ends.gather(0, timeout).or(self.follows_many.then_some(GATHER_MIN));
            let want = match gather {
                _ if timeout.is_zero() => 0,
                Some(_) => BATCH_MAX as u32,
                None => 1,
            };
            let gather = gather.unwrap_or_default();
            // Errors are a signal, or a shortage that the next turn finds better.
            let _ = self.ring.enter(want, gather, Some(timeout));
            self.harvest(&mut ends.stats);
        }
        self.woken(ends)
    }

    /// What has arrived, up to a batch.
    pub(super) fn reap(&mut self, ends: &mut Ends) -> Batch<'_> {
        self.give_back();
        if !self.has_datagrams() {
            self.look(&mut ends.stats);
        }
        let mut batch = Batch::new();
        let kept = self.strangers.waiting().min(STRANGERS_MIN);
        let known = self.known.waiting().min(BATCH_MAX - kept);
        let left = BATCH_MAX - known;
        let strange = if known == 0 { left } else { left.min(STRANGERS_MAX) };
        // A ClientKeyExchange before the Finished that is right behind it.
        for (intake, most) in [(&mut self.strangers, strange), (&mut self.known, known)] {
            // SAFETY: buffers are given back only by calls that take `&mut self`, when the batch
            // that borrows `self` is gone.
            for (received, bytes) in unsafe { intake.lend(most) } {
                let receive = &self.receives[usize::from(received.receive)];
                batch.push(receive.datagram(received.receive, bytes, ends));
            }
        }
        ends.pace.count(batch.len());
        self.follows_many = batch.len() >= MANY && ends.pace.may_gather();
        batch
    }

    /// Sends everything in the outbox; when this returns, the kernel is done with it.
    pub(super) fn flush(&mut self, outbox: &Outbox, ends: &mut Ends) {
        self.give_back();
        ends.joins &= !self.cannot_join;
        let mut at = 0;
        for run in outbox.runs(ends.joins) {
            if !self.sending.set(at, at, &run, ends) {
                ends.stats.send_errors.no_socket += run.count as u64;
                continue;
            }
            let entry = self.send_entry(at, &run);
            // SAFETY: name, orders and headers live in `sending`, which changes only in the next
            // flush; the bytes in the outbox, borrowed until `submit` returned and the send is
            // over.
            unsafe { self.ring.push(&entry) };
            ends.stats.on_run_sent(&run);
            at += run.count;
        }
        if self.ring.unsubmitted() > 0 {
            self.arm(&mut ends.stats);
            self.submit(&mut ends.stats);
        }
    }

    fn send_entry(&self, index: usize, run: &Run<'_>) -> squeue::Entry {
        let message = self.sending.message(index);
        let file = File(u32::from(run.peer.socket()));
        let entry = match run.datagrams().next() {
            Some(bytes) if message.msg_control.is_null() => {
                opcode::Send::new(file, bytes.as_ptr(), bytes.len() as u32)
                    .flags(libc::MSG_DONTWAIT)
                    .dest_addr(message.msg_name.cast())
                    .dest_addr_len(message.msg_namelen)
                    .build()
            }
            _ => opcode::SendMsg::new(file, message).flags(libc::MSG_DONTWAIT as u32).build(),
        };
        entry.flags(Flags::SKIP_SUCCESS).user_data(SEND | run.count as u64)
    }

    /// Hands everything pushed to the kernel, and fetches what has arrived meanwhile.
    fn submit(&mut self, stats: &mut Stats) {
        let mut attempts = 0;
        while self.ring.unsubmitted() > 0 {
            let entered = self.ring.enter(0, Duration::ZERO, None);
            self.harvest(stats);
            attempts += 1;
            // Interrupted, or out of memory for a moment. Going on would let sends of this turn
            // read what the next turn writes.
            assert!(attempts < ATTEMPTS_MAX, "io_uring takes no submissions: {entered:?}");
        }
    }

    /// Without sleeping: has anything come? Enters the kernel only if it says so, or for
    /// submissions.
    fn look(&mut self, stats: &mut Stats) -> bool {
        if self.ring.has_work() || self.ring.unsubmitted() > 0 {
            let _ = self.ring.enter(0, Duration::ZERO, None);
        }
        self.harvest(stats);
        self.has_news()
    }

    fn has_news(&self) -> bool {
        self.rang || self.has_datagrams()
    }

    fn has_datagrams(&self) -> bool {
        self.known.waiting() + self.strangers.waiting() > 0
    }

    fn woken(&mut self, ends: &mut Ends) -> Woken {
        let bell = std::mem::take(&mut self.rang);
        if bell {
            ends.stats.bells += 1;
            if !ends.bell.drain() {
                ends.stats.bells_lost += 1;
                self.bell = Polled::Lost;
            }
        }
        Woken { datagrams: self.has_datagrams(), bell }
    }

    /// Takes all completions: datagrams to `ready`, failures to their counters.
    fn harvest(&mut self, stats: &mut Stats) {
        stats.completion_overflows += u64::from(self.ring.has_overflown());
        for completion in self.ring.completions() {
            let (result, flags) = (completion.result(), completion.flags());
            match completion.user_data() {
                sent if sent & SEND != 0 => {
                    let count = (sent & !SEND) as usize;
                    self.cannot_join |= count > 1 && -result == CANNOT_JOIN;
                    if result < 0 {
                        stats.on_send_error(&io::Error::from_raw_os_error(-result), count);
                    }
                }
                BELL => {
                    self.rang |= result >= 0;
                    if !cqueue::more(flags) && self.bell == Polled::Armed {
                        self.bell = Polled::Ended;
                    }
                }
                number => {
                    let receive = &mut self.receives[number as usize];
                    receive.is_armed &= cqueue::more(flags);
                    match result {
                        0.. => {}
                        result if result == -libc::ENOBUFS => stats.buffers_exhausted += 1,
                        _ => stats.receive_errors += 1,
                    }
                    if let Some(buffer) = cqueue::buffer_select(flags) {
                        let (bytes, number) = (result.clamp(0, 0xffff) as u16, number as u8);
                        let received = Received { buffer, receive: number, bytes };
                        let strange = receive.is_of_strangers;
                        if strange { &mut self.strangers } else { &mut self.known }.push(received);
                    }
                }
            }
        }
    }

    /// Begins again what ended. Not seen by the kernel before the next `enter`.
    fn arm(&mut self, stats: &mut Stats) {
        for index in 0..self.receives.len() {
            let (intake, group) = if self.receives[index].is_of_strangers {
                (&self.strangers, STRANGERS_GROUP)
            } else {
                (&self.known, KNOWN_GROUP)
            };
            if self.receives[index].is_armed || !intake.has_buffers() {
                continue;
            }
            let wish = self.wishes.pointer(index).cast::<libc::msghdr>();
            let entry = opcode::RecvMsgMulti::new(File(index as u32), wish, group).build();
            // SAFETY: `wishes` lives as long as the ring and never changes; the buffers are lent.
            unsafe { self.ring.push(&entry.user_data(index as u64)) };
            self.receives[index].is_armed = true;
            stats.rearms += 1;
        }
        if self.bell == Polled::Ended {
            let file = File(self.receives.len() as u32);
            let entry = opcode::PollAdd::new(file, libc::POLLIN as u32).multi(true).build();
            // SAFETY: a poll uses no memory of ours.
            unsafe { self.ring.push(&entry.user_data(BELL)) };
            self.bell = Polled::Armed;
            stats.rearms += 1;
        }
    }

    /// The last batch is gone: its buffers are the kernel's again.
    fn give_back(&mut self) {
        self.known.give_back();
        self.strangers.give_back();
    }
}

impl Receive {
    fn of(socket: &Socket, is_of_strangers: bool) -> Self {
        // Multiples of 8, so that names and payloads are aligned.
        let name_bytes = if socket.is_ipv6 { 32 } else { 16 };
        let control_bytes = if socket.is_wildcard { CONTROL_BYTES } else { 0 };
        Self { is_armed: false, is_of_strangers, name_bytes, control_bytes }
    }

    /// Reads what the kernel wrote: `struct io_uring_recvmsg_out`, name, control message, payload.
    fn datagram<'a>(&self, number: u8, bytes: &'a mut [u8], ends: &mut Ends) -> Datagram<'a> {
        let socket = ends.answering(usize::from(number));
        let payload_at = HEADER_BYTES + self.name_bytes + self.control_bytes;
        let (front, payload) = bytes.split_at_mut(payload_at.min(bytes.len()));
        let word = |at: usize| {
            let word = front.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map_or(0, u32::from_ne_bytes)
        };
        let (control_len, payload_len, flags) = (word(4), word(8), word(12));
        let peer = front.get(HEADER_BYTES..).and_then(|name| peer_of(name, socket));
        let control = front.get(HEADER_BYTES + self.name_bytes..).unwrap_or_default();
        let control = &control[..control.len().min(control_len as usize)];
        let local = local_of(control).map_or(0, |address| ends.sources.number(address));
        let len = payload.len().min(payload_len as usize).min(DATAGRAM_BYTES_MAX);
        let truncated = flags & libc::MSG_TRUNC as u32 != 0 || payload.len() > DATAGRAM_BYTES_MAX;
        ends.stats.on_received(len, truncated);
        Datagram {
            peer: peer.map_or_else(Peer::default, |peer| peer.with_local(local)),
            bytes: &mut payload[..len],
            truncated,
        }
    }
}

/// Buffers for what those we know send. *Why:* 512 to 2048 measured alike; a burst beyond them
/// waits in the sockets' receive buffers.
const KNOWN_BUFFERS: usize = 1_024;
const KNOWN_GROUP: u16 = 0;
/// And for strangers. *Why:* two batches; what is beyond them waits, and is dropped, by the kernel.
const STRANGERS_BUFFERS: usize = 2 * BATCH_MAX;
const STRANGERS_GROUP: u16 = 1;
/// What a completion belongs to: these, or the number of a receive. With a send, how many
/// datagrams.
const SEND: u64 = 1 << 32;
const BELL: u64 = 1 << 33;
/// A batch of this many says that more are on their way, and that they are worth a moment.
const MANY: usize = BATCH_MAX / 4;
const GATHER_MIN: Duration = Duration::from_micros(20);
const ATTEMPTS_MAX: u32 = 10_000;
