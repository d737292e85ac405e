//! How do datagrams come and go by recvmmsg and sendmmsg? The backend that every kernel has.
//!
//! One system call for a batch each way and socket; ppoll only when there is nothing to do.
#![allow(unsafe_code)]

use super::batch::{Batch, Datagram, Outbox};
use super::fixed::Fixed;
use super::headers::{SendHeaders, empty_message};
use super::name::{CONTROL_BYTES, Control, Name, local_of, peer_of};
use super::peer::Peer;
use super::{Ends, Woken};
use crate::bounds::{BATCH_MAX, DATAGRAM_BYTES_MAX, OUTBOX_SLOTS, STRANGERS_MAX, STRANGERS_MIN};
use arrayvec::ArrayVec;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::time::Duration;

/// The buffers of one batch, and the headers through which the kernel fills and reads them.
pub(super) struct Mmsg {
    buffers: Fixed<[u8; DATAGRAM_BYTES_MAX]>,
    /// *Invariant:* `headers[i]` points at index `i` of `names`, `vectors` and `controls`, and
    /// `vectors[i]` at all of `buffers[i]`.
    headers: Fixed<libc::mmsghdr>,
    names: Fixed<Name>,
    controls: Fixed<Control>,
    _vectors: Fixed<libc::iovec>,
    /// Received and not lent yet: index = buffer.
    received: ArrayVec<Received, BATCH_MAX>,
    /// So many of them, in front, are of those we know.
    known: usize,
    sending: SendHeaders,
    /// The socket of its kind that is read first next time, so that none starves.
    turn: usize,
    /// More strangers may wait than were read.
    strangers_wait: bool,
    last_batch: usize,
}

#[derive(Clone, Copy)]
struct Received {
    peer: Peer,
    len: u16,
    truncated: bool,
}

impl Mmsg {
    pub(super) fn new() -> Self {
        let buffers = Fixed::new([0; DATAGRAM_BYTES_MAX], BATCH_MAX);
        let names = Fixed::new(Name::EMPTY, BATCH_MAX);
        let controls = Fixed::new(Control::EMPTY, BATCH_MAX);
        let nowhere = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut vectors = Fixed::new(nowhere, BATCH_MAX);
        let mut headers = Fixed::new(empty_message(), BATCH_MAX);
        for index in 0..BATCH_MAX {
            *vectors.get_mut(index) = libc::iovec {
                iov_base: buffers.pointer(index).cast(),
                iov_len: DATAGRAM_BYTES_MAX,
            };
            let header = &mut headers.get_mut(index).msg_hdr;
            header.msg_name = names.pointer(index).cast();
            header.msg_control = controls.pointer(index).cast();
            (header.msg_iov, header.msg_iovlen) = (vectors.pointer(index), 1);
        }
        Self {
            buffers,
            headers,
            names,
            controls,
            _vectors: vectors,
            received: ArrayVec::new(),
            known: 0,
            sending: SendHeaders::new(OUTBOX_SLOTS),
            turn: 0,
            strangers_wait: false,
            last_batch: 0,
        }
    }

    /// Waits until a datagram or the bell is there, or the time is over.
    pub(super) fn wait(&mut self, timeout: Duration, ends: &mut Ends) -> Woken {
        // After a full batch more is there already.
        if self.last_batch < BATCH_MAX / 2
            && let Some(gather) = ends.gather(0, timeout)
        {
            std::thread::sleep(gather);
        }
        if self.receive(ends) || ends.spin(timeout, |ends| self.receive(ends)) {
            return Woken { datagrams: true, bell: false };
        }
        if !timeout.is_zero() {
            ends.stats.sleeps += 1;
        }
        let bell = sleep(timeout, ends, None).has_bell;
        Woken { datagrams: self.receive(ends), bell }
    }

    /// What has arrived, up to a batch.
    pub(super) fn reap(&mut self, ends: &mut Ends) -> Batch<'_> {
        self.receive(ends);
        self.last_batch = self.received.len();
        let mut batch = Batch::new();
        ends.pace.count(self.last_batch);
        self.lend(&mut batch, ends);
        batch
    }

    /// Whether datagrams wait in the buffers.
    pub(super) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Adds what is in the buffers to an empty batch: strangers' first, a ClientKeyExchange before
    /// the Finished that is right behind it.
    pub(super) fn lend<'a>(&'a mut self, batch: &mut Batch<'a>, ends: &mut Ends) {
        let (known, strange) = self.received.split_at(self.known.min(self.received.len()));
        let (front, back) = self.buffers.as_mut_slice().split_at_mut(known.len());
        for (buffer, one) in back.iter_mut().zip(strange).chain(front.iter_mut().zip(known)) {
            let bytes = &mut buffer[..usize::from(one.len)];
            ends.stats.on_received(bytes.len(), one.truncated);
            batch.push(Datagram { peer: one.peer, bytes, truncated: one.truncated });
        }
        self.received.clear();
    }

    /// Fills the buffers from all sockets, unless something is in them. True if something is there
    /// now. *Why strangers' last:* whose Finished was read, his ClientKeyExchange is there.
    pub(super) fn receive(&mut self, ends: &mut Ends) -> bool {
        if self.received.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            let kept = if self.strangers_wait { STRANGERS_MIN } else { 0 };
            self.receive_from(0..ends.sockets.len(), BATCH_MAX - kept, ends);
            let known = self.received.len();
            self.known = known;
            let most = if known == 0 { BATCH_MAX } else { BATCH_MAX.min(known + STRANGERS_MAX) };
            self.receive_from(ends.sockets.len()..ends.receiving().count(), most, ends);
            self.strangers_wait = self.received.len() == most;
        }
        !self.received.is_empty()
    }

    /// From these sockets in turn, until so many buffers are full.
    fn receive_from(&mut self, sockets: Range<usize>, most: usize, ends: &mut Ends) {
        let count = sockets.len();
        for step in 0..count {
            self.receive_one(sockets.start + (self.turn + step) % count, most, ends);
        }
    }

    fn receive_one(&mut self, number: usize, most: usize, ends: &mut Ends) {
        let from = self.received.len();
        let Some(socket) = ends.receiving().nth(number) else { return };
        if from >= most {
            return;
        }
        let (fd, is_wildcard) = (socket.fd(), socket.is_wildcard);
        let control_bytes = if is_wildcard { CONTROL_BYTES } else { 0 };
        for header in &mut self.headers.as_mut_slice()[from..most] {
            header.msg_hdr.msg_namelen = Name::EMPTY.len();
            header.msg_hdr.msg_controllen = control_bytes as _;
        }
        let (first, room) = (self.headers.pointer(from), (most - from) as u32);
        let flags = libc::MSG_DONTWAIT as _;
        // SAFETY: `room` headers begin at `first`, and by the invariant of `headers` each points at
        // memory of ours that outlives the call and is not borrowed: no batch is, in `&mut self`.
        let got = unsafe { libc::recvmmsg(fd, first, room, flags, std::ptr::null_mut()) };
        if got < 0 && io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock {
            ends.stats.receive_errors += 1;
        }
        for index in from..from + got.max(0) as usize {
            let header = self.headers.get(index);
            let name = self.names.get(index).bytes();
            let peer = peer_of(name, ends.answering(number)).unwrap_or_default();
            let local = is_wildcard.then(|| {
                let len = header.msg_hdr.msg_controllen.min(CONTROL_BYTES);
                local_of(&self.controls.get(index).bytes()[..len])
            });
            let local = local.flatten().map_or(0, |address| ends.sources.number(address));
            self.received.push(Received {
                peer: peer.with_local(local),
                len: header.msg_len.min(DATAGRAM_BYTES_MAX as u32) as u16,
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
    }

    /// Sends everything in the outbox, in order of sockets.
    pub(super) fn flush(&mut self, outbox: &Outbox, ends: &mut Ends) {
        self.flush_where(outbox, ends, ends.joins, |_| true);
    }

    /// Sends those runs of the outbox, by their place among them, that `is_ours` says.
    pub(super) fn flush_where(
        &mut self,
        outbox: &Outbox,
        ends: &mut Ends,
        joins: bool,
        is_ours: impl Fn(usize) -> bool,
    ) {
        let ours = || outbox.runs(joins).enumerate().filter(|(place, _)| is_ours(*place));
        for number in 0..ends.sockets.len() {
            let (mut count, mut at) = (0, 0);
            for (_, run) in ours().filter(|(_, run)| usize::from(run.peer.socket()) == number) {
                if self.sending.set(count, at, &run, ends) {
                    (count, at) = (count + 1, at + run.count);
                    ends.stats.on_run_sent(&run);
                } else {
                    ends.stats.send_errors.no_socket += run.count as u64;
                }
            }
            self.send(number, count, ends);
        }
        let strays = ours().filter(|(_, run)| usize::from(run.peer.socket()) >= ends.sockets.len());
        ends.stats.send_errors.no_socket += strays.map(|(_, run)| run.count as u64).sum::<u64>();
    }

    fn send(&mut self, number: usize, count: usize, ends: &mut Ends) {
        let mut done = 0;
        while done < count {
            let (fd, first) = (ends.sockets[number].fd(), self.sending.messages_from(done));
            let (left, flags) = ((count - done) as u32, libc::MSG_DONTWAIT as _);
            // SAFETY: `left` headers begin at `first`, each set by `flush` to bytes of the outbox
            // it still borrows; the kernel only reads what they point at.
            let sent = unsafe { libc::sendmmsg(fd, first, left, flags) };
            if sent > 0 {
                done += sent as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                // The first one failed; the others may fare better.
                ends.on_send_error(&error, self.sending.count(done));
                done += 1;
            }
        }
    }
}

/// What a sleep ended with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ready {
    /// The bell rang, and has been silenced.
    pub(super) has_bell: bool,
    /// A socket is readable.
    pub(super) has_datagrams: bool,
}

/// Sleeps until a socket, the bell or one `other` descriptor is readable.
pub(super) fn sleep(timeout: Duration, ends: &mut Ends, other: Option<RawFd>) -> Ready {
    let mut polled: ArrayVec<libc::pollfd, POLLED_MAX> = ArrayVec::new();
    let bell = ends.bell.fd();
    for fd in [bell, other].into_iter().chain(ends.receiving().map(|s| Some(s.fd()))) {
        // The kernel passes over negative ones.
        polled.push(libc::pollfd { fd: fd.unwrap_or(-1), events: libc::POLLIN, revents: 0 });
    }
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().cast_signed(),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let (first, count) = (polled.as_mut_ptr(), polled.len() as libc::nfds_t);
    // SAFETY: `count` pollfds begin at `first`; they and `timeout` outlive the call.
    let ready = unsafe { libc::ppoll(first, count, &raw const timeout, std::ptr::null()) };
    if ready <= 0 {
        return Ready::default();
    }
    let has_bell = polled[0].revents != 0;
    if has_bell {
        ends.stats.bells += 1;
        ends.stats.bells_lost += u64::from(!ends.bell.drain());
    }
    Ready { has_bell, has_datagrams: polled[2..].iter().any(|one| one.revents != 0) }
}

/// The bell, another descriptor, and most sockets of one worker: the bounds of `listen`, with two
/// each, and `nosec.listen`.
const POLLED_MAX: usize = 2 + 2 * 8 + 8;
