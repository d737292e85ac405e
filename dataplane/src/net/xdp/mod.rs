//! How do datagrams come and go past the kernel's network stack? By an AF_XDP socket on one queue
//! of an interface, beside the ordinary sockets.
//!
//! ```text
//! interface ─▶ program ─┬▶ frames ─▶ Batch ─▶ worker ─▶ Outbox ─┬▶ frames ─▶ interface
//!                       └▶ kernel ─▶ sockets ─▶ Batch           └▶ sockets
//! ```
//!
//! The ordinary sockets stay bound and serve what the program leaves to the kernel: other
//! interfaces, fragments, tags, records of another worker. They also send what this backend can't:
//! to peers whose neighbour it has not heard lately, and datagrams longer than every path takes.
//! ARP, neighbour discovery, routes and ICMP are the kernel's. Its packet filter does not see the
//! frames, which is what makes them cheap.
#![allow(unsafe_code)]

mod attachment;
mod bpf;
mod checksum;
pub mod frames;
mod interface;
mod neighbours;
mod program;
mod rings;
mod socket;
mod umem;

pub(super) use attachment::Attachment;

use super::batch::{Batch, Datagram, Outbox};
use super::mmsg::{Mmsg, sleep};
use super::peer::Peer;
use super::{Ends, Frames, Woken};
use crate::bounds::{BATCH_MAX, OUTBOX_SLOTS};
use arrayvec::ArrayVec;
use bpf::Mode;
use frames::{Arrived, Way};
use neighbours::Neighbours;
use rustix::time::{ClockId, clock_gettime};
use socket::XdpSocket;
use std::io;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;
use umem::Umem;

/// One worker's queue, and its ordinary sockets.
pub(super) struct Xdp {
    /// *Invariant:* before `umem`, so that the kernel is done with the frames when they go.
    socket: XdpSocket,
    umem: Umem,
    attachment: Arc<Attachment>,
    neighbours: Neighbours,
    others: Mmsg,
    /// Frames lent in the last batch; given back when the next call proves that it is gone.
    lent: ArrayVec<u64, BATCH_MAX>,
    /// Seconds since the machine began, at the last `wait`.
    now_s: u32,
    turn: u32,
    identification: u16,
    /// The interface went away; only the ordinary sockets are left.
    is_lost: bool,
    queue: u32,
}

impl Xdp {
    /// Opens the queue of worker number `worker` and has its packets sent here; an error means that
    /// another backend must serve.
    pub(super) fn open(attachment: &Arc<Attachment>, worker: u8) -> io::Result<Self> {
        let (interface, queue) = (&attachment.interface, u32::from(worker));
        if queue >= interface.queues {
            let queues = interface.queues;
            return Err(io::Error::other(format!("it has {queues} queue(s), one for a worker")));
        }
        let mut umem = Umem::new()?;
        let socket = XdpSocket::open(interface.index, queue, &mut umem)?;
        attachment.assign(queue, socket.fd())?;
        Ok(Self {
            socket,
            umem,
            attachment: Arc::clone(attachment),
            neighbours: Neighbours::new(NEIGHBOURS),
            others: Mmsg::new(),
            lent: ArrayVec::new(),
            now_s: now_s(),
            turn: 0,
            identification: 0,
            is_lost: false,
            queue,
        })
    }

    /// Which queue it is, and how it serves.
    pub(super) fn describe(&self) -> String {
        let mode = match self.attachment.mode {
            Mode::Native => "native",
            Mode::Generic => "generic",
        };
        let copies = if self.socket.is_zero_copy { "zero-copy" } else { "copying" };
        let served: Vec<String> =
            self.attachment.served.iter().map(|one| one.end.address().to_string()).collect();
        format!("xdp, queue {} ({mode}, {copies}), for {}", self.queue, served.join(" "))
    }

    /// Waits until a datagram or the bell is there, or the time is over.
    pub(super) fn wait(&mut self, timeout: Duration, ends: &mut Ends) -> Woken {
        self.give_back();
        self.turn = self.turn.wrapping_add(1);
        self.now_s = now_s();
        let mut rang = false;
        if self.turn.is_multiple_of(LOOK_EVERY) {
            // Under load too the bell and the ordinary sockets get their turn.
            rang = self.sleep(Duration::ZERO, ends);
        }
        let have = self.socket.received.len() as usize;
        if !rang && let Some(gather) = ends.gather(have, timeout) {
            std::thread::sleep(gather);
        }
        if !self.has_news() && !rang && !ends.spin(timeout, |ends| self.look(ends)) {
            ends.stats.sleeps += u64::from(!timeout.is_zero());
            rang = self.sleep(timeout, ends);
        }
        Woken { datagrams: self.has_news(), bell: rang }
    }

    /// What has arrived, up to a batch: from the sockets first, because they are looked at seldom.
    pub(super) fn reap(&mut self, ends: &mut Ends) -> Batch<'_> {
        self.give_back();
        let mut batch = Batch::new();
        self.others.lend(&mut batch, ends);
        let count = self.socket.received.len().min((BATCH_MAX - batch.len()) as u32);
        for ahead in 0..count {
            self.umem.prefetch(self.socket.received.peek(ahead).addr);
        }
        for ahead in 0..count {
            let received = self.socket.received.peek(ahead);
            // SAFETY: the descriptor came from the kernel, once. Its frame is in `lent` now, and
            // given back only by calls that take `&mut self`, when the batch that borrows `self` is
            // gone.
            let frame = unsafe { self.umem.lend(received.addr, received.len as usize) };
            self.lent.push(received.addr);
            let arrived = frames::read(frame, self.attachment.interface.lacks_checksums);
            let Some((arrived, peer)) = arrived.and_then(|arrived| {
                let peer = peer(&self.attachment, &arrived, ends)?;
                Some((arrived, peer))
            }) else {
                ends.stats.xdp_malformed += 1;
                continue;
            };
            self.neighbours.learn(arrived.from.ip, arrived.mac, self.now_s);
            ends.stats.xdp_received += 1;
            ends.stats.on_received(arrived.payload.len(), false);
            batch.push(Datagram { peer, bytes: &mut frame[arrived.payload], truncated: false });
        }
        self.socket.received.release(count);
        ends.pace.count(batch.len());
        batch
    }

    /// Sends everything in the outbox, by frames or by the sockets.
    pub(super) fn flush(&mut self, outbox: &Outbox, ends: &mut Ends) {
        self.give_back();
        self.collect();
        let mut taken = [false; OUTBOX_SLOTS];
        let (mut by_frames, mut all) = (0, 0);
        for (index, (peer, bytes)) in outbox.datagrams().enumerate() {
            taken[index] = self.send(peer, bytes, ends);
            by_frames += usize::from(taken[index]);
            all += 1;
        }
        if by_frames > 0 {
            ends.stats.xdp_sent += by_frames as u64;
            if let Err(error) = self.socket.send() {
                // An interface that is down keeps them until it is up; one that is gone, for ever.
                ends.stats.on_send_error(&error, 1);
                self.is_lost = error.raw_os_error() == Some(libc::ENXIO);
                ends.stats.interfaces_lost += u64::from(self.is_lost);
            }
        }
        if by_frames < all {
            self.others.flush_where(outbox, ends, false, |index| !taken[index]);
        }
    }

    /// What the kernel dropped because no frame was there.
    pub(super) fn drops(&self) -> u64 {
        self.socket.drops().unwrap_or(0)
    }

    /// Where all frames are. Takes those back that were sent.
    pub(super) fn frames(&mut self) -> Frames {
        self.give_back();
        self.collect();
        self.umem.frames()
    }

    /// Writes a datagram into a frame; false if the sockets must send it.
    fn send(&mut self, peer: Peer, bytes: &[u8], ends: &mut Ends) -> bool {
        let Some(way) = self.way(peer, bytes.len(), ends) else { return false };
        let Some((addr, len)) = self.umem.send(|frame| frames::write(frame, &way, bytes)) else {
            return false;
        };
        self.socket.sending.push(libc::xdp_desc { addr, len, options: 0 });
        ends.stats.on_sent(bytes.len());
        true
    }

    /// How a datagram gets to a peer; `None` if only the kernel knows.
    fn way(&mut self, peer: Peer, bytes: usize, ends: &Ends) -> Option<Way> {
        let interface = &self.attachment.interface;
        let (number, ip) = (peer.socket(), peer.ip_bytes());
        let socket = ends.sockets.get(usize::from(number))?;
        let local =
            if socket.is_wildcard { Some(ends.sources.address(peer.local())?) } else { None };
        let packet_bytes = frames::overhead(&ip) + bytes;
        // Routers don't cut IPv6 packets (RFC 8200 section 5), and only the kernel hears from them.
        let limit = if socket.is_ipv6 { IPV6_MTU } else { interface.mtu };
        let is_elsewhere = ![0, interface.index].contains(&peer.scope_id());
        if self.is_lost || is_elsewhere || packet_bytes > limit.min(interface.mtu) {
            return None;
        }
        let from = self.attachment.source(number, local)?;
        let their_mac = self.neighbours.find(ip, self.now_s)?;
        self.identification = self.identification.wrapping_add(1);
        let to = frames::End { ip, port: peer.port() };
        let identification = self.identification;
        Some(Way { our_mac: interface.mac, their_mac, from, to, identification })
    }

    /// Looks without sleeping; in a spin the sockets are looked at too.
    fn look(&mut self, ends: &mut Ends) -> bool {
        self.has_news() || self.others.receive(ends)
    }

    fn has_news(&self) -> bool {
        self.socket.received.len() > 0 || self.others.has_received()
    }

    /// Sleeps until something is readable, and reads what the sockets have; true if the bell was.
    fn sleep(&mut self, timeout: Duration, ends: &mut Ends) -> bool {
        let ready = sleep(timeout, ends, Some(self.socket.fd()));
        if ready.has_datagrams {
            self.others.receive(ends);
        }
        ready.has_bell
    }

    /// The last batch is gone: its frames are the kernel's again.
    fn give_back(&mut self) {
        if !self.lent.is_empty() {
            for address in self.lent.drain(..) {
                self.socket.filling.push(self.umem.give_back(address));
            }
            self.socket.filled();
        }
    }

    /// Takes back the frames that were sent.
    fn collect(&mut self) {
        let count = self.socket.completed.len();
        for ahead in 0..count {
            self.umem.on_sent(self.socket.completed.peek(ahead));
        }
        self.socket.completed.release(count);
    }
}

/// Who sent a datagram, as the socket it was meant for would say; `None` if there is no such.
fn peer(attachment: &Attachment, arrived: &Arrived, ends: &mut Ends) -> Option<Peer> {
    let number = attachment.socket_at(arrived.to)?;
    let ip = Ipv6Addr::from(arrived.from.ip);
    let scope_id = if ip.is_unicast_link_local() { attachment.interface.index } else { 0 };
    let peer = Peer::from_parts(arrived.from.ip, scope_id, arrived.from.port, number);
    let is_wildcard = ends.sockets.get(usize::from(number))?.is_wildcard;
    Some(if is_wildcard { peer.with_local(ends.sources.number(arrived.to.ip)) } else { peer })
}

/// Seconds since the machine began, at least 1.
fn now_s() -> u32 {
    clock_gettime(ClockId::MonotonicCoarse).tv_sec as u32 + 1
}

/// Peers whose neighbour is remembered: 32 bytes each.
const NEIGHBOURS: usize = 65_536;
/// Turns between looks at the ordinary sockets while the queue is never empty. *Why:* a look is a
/// system call, which so costs each datagram of a busy queue next to nothing.
const LOOK_EVERY: u32 = 8;
/// What every IPv6 path takes.
const IPV6_MTU: usize = 1_280;
