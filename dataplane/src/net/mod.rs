//! How do datagrams come and go? One small door, three backends behind it.
//!
//! ```text
//! wait ─▶ reap ─▶ Batch (lent buffers) ─▶ worker ─▶ Outbox ─▶ flush
//! ```
//!
//! Each address has two sockets in each worker: one for those we know, and one for strangers, who
//! have their share of a batch and no more while the others speak (`steering`).
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
pub mod kept;
mod mmsg;
mod name;
mod pace;
pub mod peer;
mod socket;
mod source;
pub mod stats;
mod steering;
mod uring;
pub mod xdp;

use crate::config::{Backend, Config};
use batch::{Batch, Outbox};
use bell::Bell;
use kept::Kept;
use mmsg::Mmsg;
use pace::Pace;
use socket::{Socket, Spread};
use source::Sources;
use stats::Stats;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uring::Uring;
use xdp::{Attachment, Xdp};

/// A worker's sockets behind one of the backends. Belongs to the thread that opened it.
pub struct Net {
    /// *Invariant:* before `ends`, so that the kernel is done with the sockets when they close.
    backend: Io,
    ends: Ends,
    worker: u8,
    description: String,
}

enum Io {
    Uring(Box<Uring>),
    Mmsg(Box<Mmsg>),
    Xdp(Box<Xdp>),
}

/// What the workers of one process share: the program on their interface, or why there is none,
/// which leaves the interface when the last of them is gone; and sockets of an earlier process.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    workers: u8,
    kept: Arc<Kept>,
    attachment: Option<Result<Arc<Attachment>, String>>,
}

impl Shared {
    /// For `workers` workers. Never fails: where the interface can't be had, the sockets serve, and
    /// [`Net::describe`] says why.
    pub fn open(config: &Config, workers: u8) -> Self {
        let attach = || {
            let name = &config.net.xdp_interface;
            let attached = Attachment::new(config, workers).map(Arc::new);
            attached.map_err(|error| format!("no xdp on {name}: {error}"))
        };
        let attachment = (config.net.backend == Backend::Xdp).then(attach);
        Self { workers, kept: Arc::default(), attachment }
    }

    /// With sockets to go on with.
    #[must_use]
    pub fn with_kept(self, kept: Kept) -> Self {
        Self { kept: Arc::new(kept), ..self }
    }
}

/// Where the frames of an AF_XDP socket are; each is in one place, so their sum never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Ready to send from.
    pub free: usize,
    /// With the kernel, to be filled, or filled and not reaped.
    pub filled: usize,
    /// In the last batch.
    pub lent: usize,
    /// With the kernel, to be sent.
    pub sending: usize,
}

/// What both backends work on.
struct Ends {
    /// All sockets that are sent from, in the order of `listen` and `nosec.listen`; what comes to
    /// the first ones is of those we know.
    sockets: Vec<Socket>,
    /// Where strangers' datagrams come, a second socket for each address of `listen`.
    strangers: Vec<Socket>,
    bell: Bell,
    sources: Sources,
    stats: Stats,
    /// Datagrams to one peer leave together (UDP_SEGMENT).
    joins: bool,
    /// How long to look for work before sleeping.
    spin: Duration,
    pace: Pace,
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
    /// As [`Self::open_with`], for a worker that shares with no other.
    pub fn open(config: &Config, worker: u8, bell: BorrowedFd<'_>) -> io::Result<Self> {
        Self::open_with(config, &Shared::open(config, 1), worker, bell)
    }

    /// Opens the sockets of worker number `worker`, on the thread that will use them. Workers must
    /// be opened in their order, because a socket's place in its group says whose it is; the
    /// first makes sure that no other process is in the groups. `bell` (non-blocking) ends waits;
    /// it is drained here.
    pub fn open_with(
        config: &Config,
        shared: &Shared,
        worker: u8,
        bell: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        if worker == 0 && shared.kept.is_empty() {
            socket::wait_until_free(&config.listen, PATIENCE)?;
            socket::wait_until_free(&config.nosec.listen, PATIENCE)?;
        }
        // A short sleep is as short as it says; the default is 50 us more.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut opened = 0;
        let mut named = |address: &SocketAddr, spread: Spread| {
            let bound = match shared.kept.socket(worker, opened) {
                Some(kept) => kept.and_then(|fd| Socket::take_over(fd, *address, spread)),
                None => Socket::bind(*address, spread),
            };
            opened += 1;
            bound.map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))
        };
        let steered = Spread::ByConnectionId { workers: shared.workers };
        let (mut sockets, mut strangers) = (Vec::new(), Vec::new());
        for address in &config.listen {
            // In this order: the steering program counts on it.
            let socket = named(address, steered)?;
            strangers.push(named(&socket.local_address()?, steered)?);
            sockets.push(socket);
        }
        for address in &config.nosec.listen {
            sockets.push(named(address, Spread::ByAddress)?);
        }
        let ends = Ends {
            joins: config.net.gso && sockets.iter().all(Socket::can_join),
            sockets,
            strangers,
            bell: Bell::new(bell)?,
            sources: Sources::new(),
            stats: Stats::default(),
            spin: Duration::from_micros(config.net.spin_us.into()),
            pace: Pace::new(Instant::now(), Duration::from_micros(config.net.gather_us.into())),
        };
        let (backend, mut description) = Io::open(config.net.backend, shared, worker, &ends)?;
        let smallest = ends.sockets.iter().map(|s| s.receive_buffer_bytes().unwrap_or(0)).min();
        if let Some(bytes) = smallest
            && bytes < socket::BUFFER_BYTES as usize
        {
            let kib = bytes >> 10;
            let _ = write!(description, "; receive buffer only {kib} KiB: raise net.core.rmem_max");
        }
        Ok(Self { backend, ends, worker, description })
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
            Io::Xdp(xdp) => xdp.wait(timeout, &mut self.ends),
        }
    }

    /// The datagrams that have arrived, up to a batch, without waiting; their buffers are lent
    /// until the next call of any method.
    pub fn reap(&mut self) -> Batch<'_> {
        match &mut self.backend {
            Io::Uring(uring) => uring.reap(&mut self.ends),
            Io::Mmsg(mmsg) => mmsg.reap(&mut self.ends),
            Io::Xdp(xdp) => xdp.reap(&mut self.ends),
        }
    }

    /// Sends what is in the outbox and empties it. What the kernel refuses is counted and lost.
    pub fn flush(&mut self, outbox: &mut Outbox) {
        match &mut self.backend {
            Io::Uring(uring) => uring.flush(outbox, &mut self.ends),
            Io::Mmsg(mmsg) if !outbox.is_empty() => mmsg.flush(outbox, &mut self.ends),
            Io::Xdp(xdp) if !outbox.is_empty() => xdp.flush(outbox, &mut self.ends),
            Io::Mmsg(_) | Io::Xdp(_) => {}
        }
        outbox.clear();
    }

    /// The addresses the sockets are bound to, in the order of `listen` and `nosec.listen`.
    pub fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.ends.sockets.iter().map(Socket::local_address).collect()
    }

    /// A copy of each socket, by the name under which another process may go on with it: none when
    /// its port was any.
    pub fn copies(&self, config: &Config) -> io::Result<Vec<(String, OwnedFd)>> {
        if config.listen.iter().chain(&config.nosec.listen).any(|address| address.port() == 0) {
            return Ok(Vec::new());
        }
        let steered = self.ends.sockets.iter().zip(&self.ends.strangers);
        let plain = &self.ends.sockets[self.ends.strangers.len()..];
        // In the order in which they were opened.
        let opened = steered.flat_map(|(known, strangers)| [known, strangers]).chain(plain);
        let copy = |(number, socket): (usize, &Socket)| {
            Ok((kept::name(self.worker, number), socket.as_fd().try_clone_to_owned()?))
        };
        opened.enumerate().map(copy).collect()
    }

    /// What has been counted. Asks the kernel for its drops: one system call for each socket.
    pub fn stats(&self) -> Stats {
        let drops = |sockets: &[Socket]| -> u64 {
            sockets.iter().map(|socket| u64::from(socket.kernel_drops().unwrap_or(0))).sum()
        };
        let by_frames = if let Io::Xdp(xdp) = &self.backend { xdp.drops() } else { 0 };
        Stats {
            kernel_drops: drops(&self.ends.sockets) + by_frames,
            stranger_drops: drops(&self.ends.strangers),
            ..self.ends.stats
        }
    }

    /// Where the frames are, on the backend that has any.
    pub fn frames(&mut self) -> Option<Frames> {
        if let Io::Xdp(xdp) = &mut self.backend { Some(xdp.frames()) } else { None }
    }
}

impl Io {
    /// The backend that is wanted, or the one that serves in its place; and which it is.
    fn open(
        wanted: Backend,
        shared: &Shared,
        worker: u8,
        ends: &Ends,
    ) -> io::Result<(Self, String)> {
        match wanted {
            Backend::Mmsg => Ok((Self::mmsg(), "mmsg".to_owned())),
            Backend::IoUring => Ok((Self::uring(ends)?, "io_uring".to_owned())),
            Backend::Auto => Ok(match Self::uring(ends) {
                Ok(uring) => (uring, "io_uring".to_owned()),
                Err(error) => (Self::mmsg(), format!("mmsg (no io_uring: {error})")),
            }),
            Backend::Xdp => {
                let missing = || Err("no xdp: the workers share no interface".to_owned());
                let attachment = shared.attachment.clone().unwrap_or_else(missing);
                let opened = attachment.and_then(|attachment| {
                    Xdp::open(&attachment, worker)
                        .map_err(|error| format!("no xdp for worker {worker}: {error}"))
                });
                match opened {
                    Ok(xdp) => {
                        let description = xdp.describe();
                        Ok((Self::Xdp(Box::new(xdp)), description))
                    }
                    Err(reason) => {
                        let (io, name) = Self::open(Backend::Auto, shared, worker, ends)?;
                        Ok((io, format!("{name} ({reason})")))
                    }
                }
            }
        }
    }

    fn uring(ends: &Ends) -> io::Result<Self> {
        Uring::open(ends).map(|uring| Self::Uring(Box::new(uring)))
    }

    fn mmsg() -> Self {
        Self::Mmsg(Box::new(Mmsg::new()))
    }
}

impl Ends {
    /// Every socket that datagrams come to.
    fn receiving(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().chain(&self.strangers)
    }

    /// From which socket number is answered what came to this one of [`Self::receiving`].
    fn answering(&self, number: usize) -> u8 {
        number.checked_sub(self.sockets.len()).unwrap_or(number) as u8
    }

    /// How long to wait for a fuller batch than `have`, within `timeout`, if at all.
    fn gather(&mut self, have: usize, timeout: Duration) -> Option<Duration> {
        if !self.spin.is_zero() || timeout.is_zero() {
            return None;
        }
        let gather = self.pace.gather(have, Instant::now)?.min(timeout);
        self.stats.gathers += 1;
        Some(gather)
    }

    /// The kernel refused `datagrams` datagrams at once. Some devices can't have a run cut: from
    /// then on each goes by itself.
    fn on_send_error(&mut self, error: &io::Error, datagrams: usize) {
        self.joins &= datagrams == 1 || error.raw_os_error() != Some(CANNOT_JOIN);
        self.stats.on_send_error(error, datagrams);
    }

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

/// What the kernel says when it can't cut a run for a device (no checksums in hardware, XFRM).
const CANNOT_JOIN: i32 = libc::EIO;
/// How long a worker waits for the sockets of a process that ended.
const PATIENCE: Duration = Duration::from_secs(2);
