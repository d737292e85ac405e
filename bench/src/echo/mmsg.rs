//! How does the bare echo over recvmmsg and sendmmsg go? One call for a batch each way; the headers
//! that were filled by the first are what the second sends.
#![allow(unsafe_code)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use super::{BATCH, DATAGRAM_BYTES, Pace};

/// The buffers of one batch and the headers that point at them.
struct Batch {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    _names: Vec<libc::sockaddr_storage>,
    _buffers: Vec<[u8; DATAGRAM_BYTES]>,
}

impl Batch {
    fn new() -> Self {
        let mut buffers = vec![[0; DATAGRAM_BYTES]; BATCH];
        // SAFETY: a `sockaddr_storage` is integers, for which zero is a value.
        let empty: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut names = vec![empty; BATCH];
        let vector = |buffer: &mut [u8; DATAGRAM_BYTES]| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: DATAGRAM_BYTES,
        };
        let mut vectors: Vec<_> = buffers.iter_mut().map(vector).collect();
        let header = |(name, vector): (&mut libc::sockaddr_storage, &mut libc::iovec)| {
            // SAFETY: a `mmsghdr` is integers and pointers, for which zero is a value.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            (header.msg_hdr.msg_iov, header.msg_hdr.msg_iovlen) = (&raw mut *vector, 1);
            header
        };
        let headers = names.iter_mut().zip(&mut vectors).map(header).collect();
        Self { headers, vectors, _names: names, _buffers: buffers }
    }

    /// Waits for at least one datagram and takes all that are there.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for (header, vector) in self.headers.iter_mut().zip(&mut self.vectors) {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            vector.iov_len = DATAGRAM_BYTES;
        }
        let first = self.headers.as_mut_ptr();
        let (count, flags) = (BATCH as u32, libc::MSG_WAITFORONE as _);
        // SAFETY: BATCH headers begin at `first`, each pointing at a name and a vector of ours
        // (never moved: the `Vec`s keep their length), and the vector at a whole buffer.
        // Invariant: nothing borrows them. Test: `bench/tests/echo.rs`.
        let got = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), first, count, flags, std::ptr::null_mut())
        };
        if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
    }

    /// Sends the first `count` back where they came from.
    fn send(&mut self, socket: &UdpSocket, count: usize, reply_bytes: usize) {
        for (header, vector) in self.headers[..count].iter().zip(&mut self.vectors) {
            vector.iov_len = reply_bytes.min(header.msg_len as usize);
        }
        let mut done = 0;
        while done < count {
            let left = &mut self.headers[done..count];
            let (first, len) = (left.as_mut_ptr(), left.len() as u32);
            // SAFETY: `len` headers begin at `first`, as in `receive`; the kernel reads them, and
            // no vector ends behind what the kernel filled.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), first, len, 0) };
            // One that fails is lost, as datagrams are; the others go on.
            done += sent.max(1) as usize;
        }
    }
}

pub(super) fn serve(socket: &UdpSocket, reply_bytes: usize) -> io::Result<()> {
    let (mut batch, mut pace) = (Batch::new(), Pace::new());
    loop {
        match batch.receive(socket) {
            Ok(count) => {
                batch.send(socket, count, reply_bytes);
                // After a full batch more is there already.
                if let Some(gather) = pace.on_turn(count).filter(|_| count < BATCH / 2) {
                    std::thread::sleep(gather);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What an earlier send met: a peer that is gone.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
}
