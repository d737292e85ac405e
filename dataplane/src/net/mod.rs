//! How do datagrams come and go? One small door, two backends behind it.
//!
//! ```text
//! wait ─▶ reap ─▶ Batch (lent buffers) ─▶ worker ─▶ Outbox ─▶ flush
//! ```
//!
//! A datagram is never copied between the receive buffer and the worker, nor between the outbox
//! and the kernel, and a turn costs a handful of system calls however many datagrams it moves.

pub mod batch;
mod mmsg;
pub mod peer;
mod socket;
mod steering;

use crate::config::{Backend, Config};
use batch::{Batch, Outbox};
use mmsg::Mmsg;
use socket::Socket;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

/// A worker's sockets behind one of the backends.
pub struct Net {
    backend: Io,
    description: String,
    stats: Stats,
}

enum Io {
    Mmsg(Mmsg),
}

/// Why [`Net::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something may be there: datagrams, or the bell.
    Ready,
    /// Nothing came in time.
    Timeout,
}

/// What the sockets went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Datagrams the kernel did not take.
    pub send_errors: u64,
    /// Of these: the send buffer was full.
    pub send_blocked: u64,
}

impl Net {
    /// Opens a worker's sockets. Workers must be opened in their order: the steering program
    /// takes a socket's place in the group for its worker's number. `bell` is watched by
    /// [`Self::wait`].
    pub fn open(config: &Config, bell: RawFd) -> io::Result<Self> {
        let sockets =
            config.listen.iter().map(|to| Socket::bind(*to)).collect::<io::Result<Vec<_>>>()?;
        let description = match config.net.backend {
            Backend::Mmsg => "mmsg",
            Backend::IoUring | Backend::Auto => "mmsg",
        };
        let backend = Io::Mmsg(Mmsg::new(sockets, bell));
        Ok(Self { backend, description: description.into(), stats: Stats::default() })
    }

    /// Which backend serves, and why not the first choice.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Waits until something may be there, at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Woken {
        match &mut self.backend {
            Io::Mmsg(mmsg) => mmsg.wait(timeout),
        }
    }

    /// The datagrams that have arrived, up to a batch; their buffers are lent until the next call.
    pub fn reap(&mut self) -> Batch<'_> {
        match &mut self.backend {
            Io::Mmsg(mmsg) => mmsg.reap(&mut self.stats),
        }
    }

    /// Sends what is in the outbox and empties it.
    pub fn flush(&mut self, outbox: &mut Outbox) {
        if outbox.is_empty() {
            return;
        }
        match &mut self.backend {
            Io::Mmsg(mmsg) => mmsg.flush(outbox, &mut self.stats),
        }
    }

    /// The addresses the sockets are bound to, in the order of `listen`.
    pub fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.backend {
            Io::Mmsg(mmsg) => mmsg.sockets().iter().map(Socket::local_address).collect(),
        }
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}

impl Stats {
    fn on_send_error(&mut self, error: &io::Error) {
        self.send_errors += 1;
        if error.kind() == io::ErrorKind::WouldBlock {
            self.send_blocked += 1;
        }
    }
}
