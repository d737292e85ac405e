//! What is the least a datagram there and back can cost? Echoes of one socket and one thread with
//! nothing in them but the way in and out, against which the dataplane is measured.
//!
//! Each takes what the kernel offers it best: batches of [`BATCH`], receive buffers large enough
//! for a burst, and under load a short wait for a fuller batch, as the dataplane has it
//! (`net.gather_us`), but for tokio-uring, which has no batches.

mod mmsg;
mod tokio;
mod uring;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

/// How the datagrams come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// recvmmsg and sendmmsg, blocking.
    Mmsg,
    /// Multishot receive into a ring of buffers, one submission a turn.
    IoUring,
    /// The tokio-uring crate: a receive and a send at a time for each of [`TASKS`] tasks.
    TokioUring,
}

/// Sends back what comes to `address`, of each datagram at most `reply_bytes`, until the process
/// ends; `ready` hears the address.
pub fn serve(
    way: Way,
    address: SocketAddr,
    reply_bytes: usize,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    // The default holds 256 small datagrams; the kernel doubles this, up to its own limit.
    sockopt::set_socket_recv_buffer_size(socket.as_fd(), RECEIVE_BYTES)
        .and_then(|()| sockopt::set_socket_send_buffer_size(socket.as_fd(), RECEIVE_BYTES))?;
    ready(socket.local_addr()?);
    match way {
        Way::Mmsg => mmsg::serve(&socket, reply_bytes),
        Way::IoUring => uring::serve(&socket, reply_bytes),
        Way::TokioUring => tokio::serve(socket, reply_bytes),
    }
}

/// Is a fuller batch worth a wait? By the rate of the last millisecond, as in the dataplane.
struct Pace {
    since: Instant,
    datagrams: u32,
    /// How long three quarters of a batch take, while datagrams come fast.
    gather: Option<Duration>,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), datagrams: 0, gather: None }
    }

    /// So many came in a turn; how long the next one may wait for a fuller batch.
    fn on_turn(&mut self, datagrams: usize) -> Option<Duration> {
        self.datagrams += datagrams as u32;
        let elapsed = self.since.elapsed();
        if elapsed >= WINDOW {
            let interval = elapsed / self.datagrams.max(1);
            let gather = (interval <= BUSY_INTERVAL).then(|| interval * (BATCH as u32 * 3 / 4));
            let gather = gather.map(|gather| gather.min(GATHER_MAX));
            *self = Self { since: Instant::now(), datagrams: 0, gather };
        }
        self.gather
    }
}

/// `net.gather_us` of the dataplane.
const GATHER_MAX: Duration = Duration::from_micros(200);
/// No more time between two datagrams is a load.
const BUSY_INTERVAL: Duration = Duration::from_nanos(12_500);
const WINDOW: Duration = Duration::from_millis(1);

/// Most datagrams of one turn, as in the dataplane.
const BATCH: usize = 64;
/// Longest datagram echoed whole.
const DATAGRAM_BYTES: usize = 1_536;
/// Receive and send buffer of the socket.
const RECEIVE_BYTES: usize = 4 << 20;
/// Tasks of the tokio-uring echo: the number that measured best.
const TASKS: usize = 32;
