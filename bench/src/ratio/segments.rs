//! What do several datagrams to one device cost when they leave in one call? A burst from the
//! dataplane's own sender, joined (UDP_SEGMENT) against one by one, over loopback.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use rustix::time::{ClockId, clock_gettime};
use tidegate_dataplane::config::{Backend, Config};
use tidegate_dataplane::net::Net;
use tidegate_dataplane::net::batch::Outbox;
use tidegate_dataplane::net::peer::Peer;
use tidegate_ring::Doorbell;

use super::by_turns;
use super::figure::Figure;
use super::servers::run_dir;

/// Bursts of a few datagrams, on both senders.
pub fn bursts(pairs: usize) -> io::Result<Vec<Figure>> {
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    sink.set_nonblocking(true)?;
    let mut figures = Vec::new();
    for (backend, called) in [(Backend::IoUring, "io_uring"), (Backend::Mmsg, "sendmmsg")] {
        for count in COUNTS {
            let (mut joined, mut apart) =
                (Sender::new(backend, true)?, Sender::new(backend, false)?);
            let pairs =
                by_turns(pairs, || joined.cost_ns(&sink, count), || apart.cost_ns(&sink, count))?;
            let name = format!(
                "{count} datagrams of {DATAGRAM_BYTES} B to one device, {called}, joined against \
                 one by one"
            );
            figures.push(Figure::from_pairs(name, "ns of CPU a datagram", &pairs, None));
        }
    }
    Ok(figures)
}

struct Sender {
    net: Net,
    outbox: Outbox,
}

impl Sender {
    fn new(backend: Backend, gso: bool) -> io::Result<Self> {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut config = Config { listen, ..Config::default() };
        (config.net.backend, config.net.gso) = (backend, gso);
        let directory = run_dir()?;
        let bell = Doorbell::create(&directory.join("bell"));
        std::fs::remove_dir_all(directory)?;
        // It is watched as long as somebody holds it, and never rings.
        let bell = Box::leak(Box::new(bell?));
        Ok(Self { net: Net::open(&config, 0, bell.as_fd())?, outbox: Outbox::new() })
    }

    /// CPU time of this thread for each datagram, ns.
    fn cost_ns(&mut self, sink: &UdpSocket, count: usize) -> io::Result<f64> {
        let peer = Peer::new(sink.local_addr()?, 0);
        let (mut spent_ns, mut heard) = (0, 0);
        for _ in 0..BURSTS {
            for _ in 0..count {
                let index = self.outbox.begin(peer).expect("a burst fits");
                self.outbox.commit(index, DATAGRAM_BYTES);
            }
            let before = cpu_ns();
            self.net.flush(&mut self.outbox);
            spent_ns += cpu_ns() - before;
            while let Ok(DATAGRAM_BYTES) = sink.recv(&mut [0; 2 * DATAGRAM_BYTES]) {
                heard += 1;
            }
        }
        if heard != BURSTS * count {
            return Err(io::Error::other(format!("{heard} of {} arrived", BURSTS * count)));
        }
        Ok(spent_ns as f64 / heard as f64)
    }
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Two are a short certificate's flight.
const COUNTS: [usize; 2] = [2, 8];
/// As long as a handshake's datagrams are at most.
const DATAGRAM_BYTES: usize = 1_200;
const BURSTS: usize = 2_000;
