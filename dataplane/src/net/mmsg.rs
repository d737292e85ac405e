//! How do datagrams come and go by recvmmsg and sendmmsg? The backend that every kernel has.
//!
//! One system call for a batch each way; ppoll when there is nothing to do.

use super::batch::{Batch, Datagram, Outbox};
use super::peer::Peer;
use super::socket::{Name, Socket};
use super::{Stats, Woken};
use crate::bounds::{BATCH_MAX, DATAGRAM_BYTES_MAX};
use arrayvec::ArrayVec;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// Sockets, and the buffers of one batch.
pub(super) struct Mmsg {
    sockets: Vec<Socket>,
    bell: RawFd,
    buffers: Box<[[u8; DATAGRAM_BYTES_MAX]; BATCH_MAX]>,
    names: Box<[Name; BATCH_MAX]>,
    /// The socket that is read first next time, so that none starves.
    turn: usize,
}

impl Mmsg {
    pub(super) fn new(sockets: Vec<Socket>, bell: RawFd) -> Self {
        Self {
            sockets,
            bell,
            buffers: Box::new([[0; DATAGRAM_BYTES_MAX]; BATCH_MAX]),
            names: Box::new([Name::empty(); BATCH_MAX]),
            turn: 0,
        }
    }

    /// Waits until a datagram or the bell is there, or the time is over.
    pub(super) fn wait(&mut self, timeout: Duration) -> Woken {
        let mut polled: ArrayVec<libc::pollfd, { POLLED_MAX + 1 }> = ArrayVec::new();
        for fd in self.sockets.iter().map(Socket::fd).chain([self.bell]) {
            polled.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        }
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let count = polled.len() as libc::nfds_t;
        // SAFETY: `polled` is `count` whole pollfds and `timeout` a timespec; both outlive the call.
        #[allow(unsafe_code)]
        let ready = unsafe {
            libc::ppoll(polled.as_mut_ptr(), count, &raw const timeout, std::ptr::null())
        };
        if ready > 0 { Woken::Ready } else { Woken::Timeout }
    }

    /// What has arrived, up to a batch.
    pub(super) fn reap(&mut self, stats: &mut Stats) -> Batch<'_> {
        let mut received: ArrayVec<Received, BATCH_MAX> = ArrayVec::new();
        for step in 0..self.sockets.len() {
            let socket = (self.turn + step) % self.sockets.len();
            self.receive(socket, &mut received);
        }
        self.turn = (self.turn + 1) % self.sockets.len();
        let mut batch = Batch::new();
        for (buffer, one) in self.buffers.iter_mut().zip(&received) {
            stats.received_bytes += one.len as u64;
            batch.push(Datagram {
                peer: one.peer,
                bytes: &mut buffer[..one.len.min(DATAGRAM_BYTES_MAX)],
                truncated: one.truncated,
            });
        }
        batch
    }

    fn receive(&mut self, socket: usize, received: &mut ArrayVec<Received, BATCH_MAX>) {
        let from = received.len();
        let mut vectors: ArrayVec<libc::iovec, BATCH_MAX> = ArrayVec::new();
        let mut headers: ArrayVec<libc::mmsghdr, BATCH_MAX> = ArrayVec::new();
        for (buffer, name) in self.buffers[from..].iter_mut().zip(&mut self.names[from..]) {
            *name = Name::empty();
            vectors.push(libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            });
            let vector = vectors.as_mut_ptr().wrapping_add(vectors.len() - 1);
            headers.push(header(name, vector));
        }
        let (fd, count) = (self.sockets[socket].fd(), headers.len() as u32);
        // SAFETY: each header points at a Name, an iovec and a buffer that outlive the call and
        // that nothing else uses meanwhile: `vectors` never moves (its capacity is fixed).
        #[allow(unsafe_code)]
        let got = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        for (header, name) in headers.iter().zip(&self.names[from..]).take(got.max(0) as usize) {
            let address = name.address().unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
            received.push(Received {
                peer: Peer::new(address, socket as u8),
                len: header.msg_len as usize,
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
    }

    /// Sends everything in the outbox, in order, and empties it.
    pub(super) fn flush(&mut self, outbox: &mut Outbox, stats: &mut Stats) {
        let mut names: ArrayVec<Name, BATCH_MAX> = ArrayVec::new();
        let mut vectors: ArrayVec<libc::iovec, BATCH_MAX> = ArrayVec::new();
        let mut socket = 0;
        for (peer, bytes) in outbox.datagrams() {
            let to = usize::from(peer.socket());
            let Some(sender) = self.sockets.get(to) else {
                // A session from before the list of addresses became shorter.
                stats.send_errors += 1;
                continue;
            };
            if to != socket || names.is_full() {
                self.send(socket, &mut names, &mut vectors, stats);
                socket = to;
            }
            names.push(sender.name_of(peer));
            let iov_base = bytes.as_ptr().cast_mut().cast();
            vectors.push(libc::iovec { iov_base, iov_len: bytes.len() });
        }
        self.send(socket, &mut names, &mut vectors, stats);
        outbox.clear();
    }

    fn send(
        &self,
        socket: usize,
        names: &mut ArrayVec<Name, BATCH_MAX>,
        vectors: &mut ArrayVec<libc::iovec, BATCH_MAX>,
        stats: &mut Stats,
    ) {
        let mut headers: ArrayVec<libc::mmsghdr, BATCH_MAX> =
            names.iter_mut().zip(vectors.iter_mut()).map(|(n, v)| header(n, v)).collect();
        let mut left = &mut headers[..];
        while !left.is_empty() {
            let (fd, count) = (self.sockets[socket].fd(), left.len() as u32);
            // SAFETY: each header points at a Name, an iovec and the outbox bytes behind it, which
            // all outlive the call; the kernel only reads them.
            #[allow(unsafe_code)]
            let sent =
                unsafe { libc::sendmmsg(fd, left.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
            let done = if sent > 0 {
                sent as usize
            } else {
                // The first one failed (unreachable, buffer full, an ICMP error reported late).
                stats.on_send_error(&io::Error::last_os_error());
                1
            };
            left = &mut left[done..];
        }
        names.clear();
        vectors.clear();
    }

    pub(super) fn sockets(&self) -> &[Socket] {
        &self.sockets
    }
}

struct Received {
    peer: Peer,
    len: usize,
    truncated: bool,
}

fn header(name: &mut Name, vector: *mut libc::iovec) -> libc::mmsghdr {
    let msg_hdr = libc::msghdr {
        msg_name: (&raw mut name.storage).cast(),
        msg_namelen: name.len,
        msg_iov: vector,
        msg_iovlen: 1,
        msg_control: std::ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    };
    libc::mmsghdr { msg_hdr, msg_len: 0 }
}

/// Most sockets of one worker: the bound of `listen`.
pub(super) const POLLED_MAX: usize = 8;
