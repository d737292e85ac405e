//! How do datagrams come and go by io_uring? One multishot receive for each socket, all filling
//! buffers of one ring; replies go out as one submission per turn.
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
mod ring;

use super::batch::{Batch, Datagram, Outbox, Run};
use super::fixed::Fixed;
use super::headers::{SendHeaders, empty_message};
use super::name::{CONTROL_BYTES, local_of, peer_of};
use super::peer::Peer;
use super::socket::Socket;
use super::stats::Stats;
use super::{CANNOT_JOIN, Ends, Woken};
use crate::bounds::{BATCH_MAX, DATAGRAM_BYTES_MAX, OUTBOX_SLOTS};
use arrayvec::ArrayVec;
use buffers::{Buffers, COUNT, GROUP, HEADER_BYTES};
use io_uring::squeue::{self, Flags};
use io_uring::types::Fixed as File;
use io_uring::{cqueue, opcode};
use ring::Ring;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// A ring, its receives, and the buffers between it and the worker.
pub(super) struct Uring {
    /// *Invariant:* first, so that dropping it ends all operations before their memory goes.
    ring: Ring,
    buffers: Buffers,
    receives: Vec<Receive>,
    /// What the receives want to know of each datagram: room for a name, perhaps a control message.
    wishes: Fixed<libc::mmsghdr>,
    sending: SendHeaders,
    /// Received, not lent. *Bound:* each entry holds a buffer, so COUNT.
    ready: VecDeque<Received>,
    /// Lent in the last batch; given back when the next call proves that the batch is gone.
    lent: ArrayVec<u16, BATCH_MAX>,
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
    /// Bytes before the payload: header, name and control message as submitted.
    name_bytes: usize,
    control_bytes: usize,
}

#[derive(Clone, Copy)]
struct Received {
    buffer: u16,
    socket: u8,
    /// Header, name, control message and payload.
    bytes: u16,
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
        let files: Vec<_> = ends.sockets.iter().map(Socket::fd).chain([bell]).collect();
        let ring = Ring::new(&files)?;
        let buffers = Buffers::new(&ring)?;
        let receives: Vec<Receive> = ends.sockets.iter().map(Receive::of).collect();
        let mut wishes = Fixed::new(empty_message(), receives.len());
        for (index, receive) in receives.iter().enumerate() {
            let wish = &mut wishes.get_mut(index).msg_hdr;
            wish.msg_namelen = receive.name_bytes as u32;
            wish.msg_controllen = receive.control_bytes as _;
        }
        let mut uring = Self {
            ring,
            buffers,
            receives,
            wishes,
            sending: SendHeaders::new(OUTBOX_SLOTS),
            ready: VecDeque::with_capacity(COUNT),
            lent: ArrayVec::new(),
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
        if self.ready.is_empty() {
            self.look(&mut ends.stats);
        }
        let mut batch = Batch::new();
        for received in self.ready.drain(..self.ready.len().min(BATCH_MAX)) {
            self.lent.push(received.buffer);
            // SAFETY: the number came from a completion, once; it is in `lent` now, and given back
            // only by calls that take `&mut self`, when the batch that borrows `self` is gone.
            let bytes =
                unsafe { self.buffers.received(received.buffer, usize::from(received.bytes)) };
            let receive = &self.receives[usize::from(received.socket)];
            batch.push(receive.datagram(received.socket, bytes, ends));
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
        self.rang || !self.ready.is_empty()
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
        Woken { datagrams: !self.ready.is_empty(), bell }
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
                socket => {
                    self.receives[socket as usize].is_armed &= cqueue::more(flags);
                    match result {
                        0.. => {}
                        result if result == -libc::ENOBUFS => stats.buffers_exhausted += 1,
                        _ => stats.receive_errors += 1,
                    }
                    if let Some(buffer) = cqueue::buffer_select(flags) {
                        let (bytes, socket) = (result.clamp(0, 0xffff) as u16, socket as u8);
                        self.ready.push_back(Received { buffer, socket, bytes });
                    }
                }
            }
        }
    }

    /// Begins again what ended. Not seen by the kernel before the next `enter`.
    fn arm(&mut self, stats: &mut Stats) {
        // While every buffer is held a receive would only end again. There is always a way on: a
        // batch gives at least one back.
        let has_buffers = self.ready.len() + self.lent.len() < COUNT;
        for index in 0..self.receives.len() {
            if self.receives[index].is_armed || !has_buffers {
                continue;
            }
            let wish = self.wishes.pointer(index).cast::<libc::msghdr>();
            let entry = opcode::RecvMsgMulti::new(File(index as u32), wish, GROUP).build();
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
        if !self.lent.is_empty() {
            for buffer in self.lent.drain(..) {
                self.buffers.give_back(buffer);
            }
            self.buffers.publish();
        }
    }
}

impl Receive {
    fn of(socket: &Socket) -> Self {
        // Multiples of 8, so that names and payloads are aligned.
        let name_bytes = if socket.is_ipv6 { 32 } else { 16 };
        let control_bytes = if socket.is_wildcard { CONTROL_BYTES } else { 0 };
        Self { is_armed: false, name_bytes, control_bytes }
    }

    /// Reads what the kernel wrote: `struct io_uring_recvmsg_out`, name, control message, payload.
    fn datagram<'a>(&self, socket: u8, bytes: &'a mut [u8], ends: &mut Ends) -> Datagram<'a> {
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

/// What a completion belongs to: these, or the number of a socket. With a send, how many datagrams.
const SEND: u64 = 1 << 32;
const BELL: u64 = 1 << 33;
/// A batch of this many says that more are on their way, and that they are worth a moment.
const MANY: usize = BATCH_MAX / 4;
const GATHER_MIN: Duration = Duration::from_micros(20);
const ATTEMPTS_MAX: u32 = 10_000;
