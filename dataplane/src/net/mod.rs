//! How do datagrams come and go? One small door, two backends behind it.
//!
//! ```text
//! wait ─▶ reap ─▶ Batch (lent buffers) ─▶ worker ─▶ Outbox ─▶ flush
//! ```
//!
//! A datagram is never copied between the receive buffer and the worker, nor between the outbox
//! and the kernel. Under load a turn costs one system call of io_uring, or one recvmmsg and one
//! sendmmsg for each socket; nothing is allocated and no lock is taken after `open`.
//!
//! Unsafe code is in the backends, `socket` and `fixed`; `dataplane/tests/net_*.rs` run each
//! against real sockets.

pub mod batch;
mod bell;
mod fixed;
mod headers;
mod mmsg;
mod name;
pub mod peer;
mod socket;
mod source;
pub mod stats;
mod steering;
mod uring;

use crate::config::{Backend, Config};
use batch::{Batch, Outbox};
use bell::Bell;
use mmsg::Mmsg;
use socket::{Socket, Spread};
use source::Sources;
use stats::Stats;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use uring::Uring;

/// A worker's sockets behind one of the backends. Belongs to the thread that opened it.
pub struct Net {
    /// *Invariant:* before `ends`, so that the kernel is done with the sockets when they close.
    backend: Io,
    ends: Ends,
    description: String,
}

enum Io {
    Uring(Box<Uring>),
    Mmsg(Box<Mmsg>),
}

/// What both backends work on.
struct Ends {
    sockets: Vec<Socket>,
    bell: Bell,
    sources: Sources,
    stats: Stats,
    /// How long to look for work before sleeping.
    spin: Duration,
}

/// What ended a [`Net::wait`]; neither: the time was over, or a signal came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// [`Net::reap`] will find datagrams.
    pub datagrams: bool,
    /// The bell rang, and has been silenced. Under load it may be told late: look at the rings
    /// every turn.
    pub bell: bool,
}

impl Net {
    /// Opens the sockets of worker number `worker`, on the thread that will use them. Workers must
    /// be opened in their order, because a socket's place in its group is its worker's number; the
    /// first makes sure that no other process is in the groups. `bell` (non-blocking) ends waits;
    /// it is drained here.
    pub fn open(config: &Config, worker: u8, bell: BorrowedFd<'_>) -> io::Result<Self> {
        if worker == 0 {
            socket::wait_until_free(&config.listen, PATIENCE)?;
            socket::wait_until_free(&config.nosec.listen, PATIENCE)?;
        }
        let named = |address: &SocketAddr, spread: Spread| {
            let bound = Socket::bind(*address, spread);
            bound.map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))
        };
        let dtls = config.listen.iter().map(|address| named(address, Spread::ByConnectionId));
        let plain = config.nosec.listen.iter().map(|address| named(address, Spread::ByAddress));
        let ends = Ends {
            sockets: dtls.chain(plain).collect::<io::Result<_>>()?,
            bell: Bell::new(bell)?,
            sources: Sources::new(),
            stats: Stats::default(),
            spin: Duration::from_micros(config.net.spin_us.into()),
        };
        let (backend, mut description) = match config.net.backend {
            Backend::Mmsg => (Io::mmsg(&ends), "mmsg".to_owned()),
            Backend::IoUring => (Io::uring(&ends)?, "io_uring".to_owned()),
            Backend::Auto => match Io::uring(&ends) {
                Ok(uring) => (uring, "io_uring".to_owned()),
                Err(error) => (Io::mmsg(&ends), format!("mmsg (no io_uring: {error})")),
            },
        };
        let smallest = ends.sockets.iter().map(|s| s.receive_buffer_bytes().unwrap_or(0)).min();
        if let Some(bytes) = smallest
            && bytes < socket::BUFFER_BYTES as usize
        {
            let kib = bytes >> 10;
            let _ = write!(description, "; receive buffer only {kib} KiB: raise net.core.rmem_max");
        }
        Ok(Self { backend, ends, description })
    }

    /// Which backend serves, and what is not as it should be.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Waits until datagrams or the bell are there, at most `timeout` (zero: only looks).
    pub fn wait(&mut self, timeout: Duration) -> Woken {
        match &mut self.backend {
            Io::Uring(uring) => uring.wait(timeout, &mut self.ends),
            Io::Mmsg(mmsg) => mmsg.wait(timeout, &mut self.ends),
        }
    }

    /// The datagrams that have arrived, up to a batch, without waiting; their buffers are lent
    /// until the next call of any method.
    pub fn reap(&mut self) -> Batch<'_> {
        match &mut self.backend {
            Io::Uring(uring) => uring.reap(&mut self.ends),
            Io::Mmsg(mmsg) => mmsg.reap(&mut self.ends),
        }
    }

    /// Sends what is in the outbox and empties it. What the kernel refuses is counted and lost.
    pub fn flush(&mut self, outbox: &mut Outbox) {
        match &mut self.backend {
            Io::Uring(uring) => uring.flush(outbox, &mut self.ends),
            Io::Mmsg(mmsg) if !outbox.is_empty() => mmsg.flush(outbox, &mut self.ends),
            Io::Mmsg(_) => {}
        }
        outbox.clear();
    }

    /// The addresses the sockets are bound to, in the order of `listen` and `nosec.listen`.
    pub fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.ends.sockets.iter().map(Socket::local_address).collect()
    }

    /// What has been counted. Asks the kernel for its drops: one system call for each socket.
    pub fn stats(&self) -> Stats {
        let drops = |socket: &Socket| u64::from(socket.kernel_drops().unwrap_or(0));
        Stats { kernel_drops: self.ends.sockets.iter().map(drops).sum(), ..self.ends.stats }
    }
}

impl Io {
    fn uring(ends: &Ends) -> io::Result<Self> {
        Uring::open(ends).map(|uring| Self::Uring(Box::new(uring)))
    }

    fn mmsg(ends: &Ends) -> Self {
        Self::Mmsg(Box::new(Mmsg::new(ends.sockets.len())))
    }
}

impl Ends {
    /// Looks again and again until `look` finds something or the time for it is over.
    fn spin(&mut self, timeout: Duration, mut look: impl FnMut(&mut Self) -> bool) -> bool {
        if self.spin.is_zero() || timeout.is_zero() {
            return false;
        }
        let begun = Instant::now();
        while begun.elapsed() < self.spin.min(timeout) {
            if look(self) {
                self.stats.spins_paid += 1;
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }
}

/// How long a worker waits for the sockets of a process that ended.
const PATIENCE: Duration = Duration::from_secs(2);
