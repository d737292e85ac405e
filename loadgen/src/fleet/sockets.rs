//! How do datagrams of a million devices go out and come in, many at a time?
//!
//! Toward an IPv4 server from a block of addresses, all devices of a thread share a few sockets
//! bound to every address: each datagram says its source (IP_PKTINFO), and what comes in says by
//! its destination whose it is. Otherwise every device has a connected socket of its own.
//! *Why nix:* of the crates without unsafe at the caller it alone receives many datagrams in one
//! system call; sending with a source of its own takes one system call a datagram (2.4 us of CPU a
//! request and reply, 2.0 on one connected socket, 3.0 with quinn-udp, in one run).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use arrayvec::ArrayVec;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv4RecvErr, RcvBuf, RcvBufForce};
use nix::sys::socket::{
    CmsgIterator, ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn,
    getsockopt, recvmmsg, recvmsg, sendmsg, setsockopt,
};
use rustix::event::epoll;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use rustix::time::Timespec;

use super::sources::{Binding, Sources};

/// Datagrams that are handled together.
pub(super) const BATCH_MAX: usize = 64;
/// Room for one datagram, bytes.
pub(super) const DATAGRAM_BYTES: usize = 2_048;

/// All sockets of one thread.
pub(super) struct Sockets {
    server: SocketAddr,
    epoll: rustix::fd::OwnedFd,
    events: Vec<epoll::Event>,
    kind: Kind,
}

enum Kind {
    Shared {
        sources: Sources,
        sockets: Vec<UdpSocket>,
        server: SockaddrIn,
        headers: Box<MultiHeaders<SockaddrIn>>,
    },
    Own {
        addresses: Addresses,
        sockets: Vec<Option<UdpSocket>>,
    },
}

/// Where devices with a socket of their own are bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// The first one; unspecified leaves it to the kernel.
    pub(super) base: IpAddr,
    /// How many follow it.
    pub(super) number: u128,
    /// Number of the thread's first device.
    pub(super) first: u32,
}

/// Datagrams received in one go.
pub(super) struct Inbox {
    pub(super) buffers: Box<[[u8; DATAGRAM_BYTES]; BATCH_MAX]>,
    pub(super) got: ArrayVec<Got, BATCH_MAX>,
    /// Devices of which an earlier datagram met a port where nobody listens.
    pub(super) refused: Vec<u32>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Got {
    pub(super) device: u32,
    pub(super) len: u16,
}

/// What a call to the kernel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Gone,
    /// As on a network that is too busy: timers know.
    Dropped,
    /// An earlier datagram met a port where nobody listens.
    Unreachable,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { buffers: buffers(), got: ArrayVec::new(), refused: Vec::new() }
    }
}

/// On the heap, where they were never on the stack.
pub(super) fn buffers() -> Box<[[u8; DATAGRAM_BYTES]; BATCH_MAX]> {
    let buffers = vec![[0; DATAGRAM_BYTES]; BATCH_MAX].into_boxed_slice();
    buffers.try_into().expect("as many as a batch has")
}

impl Sockets {
    /// Sockets that the devices of `sources` share.
    pub(super) fn shared(server: SocketAddrV4, sources: Sources) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::with_capacity(sources.sockets());
        for index in 0..sources.sockets() {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
            setsockopt(&socket, Ipv4RecvErr, &true)?;
            enlarge(&socket);
            unfragmented(&socket)?;
            register(&epoll, &socket, index as u64)?;
            sockets.push(socket);
        }
        let space = nix::cmsg_space!(in_pktinfo);
        let headers = Box::new(MultiHeaders::preallocate(BATCH_MAX, Some(space)));
        let kind = Kind::Shared { sources, sockets, server: server.into(), headers };
        Ok(Self { server: server.into(), epoll, events: Vec::with_capacity(BATCH_MAX), kind })
    }

    /// A socket for each device, opened when it is first used.
    pub(super) fn own(server: SocketAddr, devices: u32, addresses: Addresses) -> io::Result<Self> {
        let kind = Kind::Own { addresses, sockets: (0..devices).map(|_| None).collect() };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { server, epoll, events: Vec::with_capacity(BATCH_MAX), kind })
    }

    /// Sends one datagram of a device.
    pub(super) fn send(&mut self, device: u32, plane: u8, datagram: &[u8]) -> io::Result<Sent> {
        let outcome = match &mut self.kind {
            Kind::Shared { sources, sockets, server, .. } => {
                let Binding { socket, address } = sources.binding(device, plane);
                let source = in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
                let info = in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: source,
                    ipi_addr: in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                let fd = sockets[socket].as_raw_fd();
                let parts = [IoSlice::new(datagram)];
                sendmsg(fd, &parts, &control, MsgFlags::empty(), Some(server))
                    .map(drop)
                    .map_err(io::Error::from)
            }
            Kind::Own { addresses, sockets } => {
                let place = &mut sockets[device as usize];
                if place.is_none() {
                    let socket = addresses.open(device, self.server)?;
                    register(&self.epoll, &socket, device.into())?;
                    *place = Some(socket);
                }
                place.as_ref().expect("just opened").send(datagram).map(drop)
            }
        };
        judge(outcome)
    }

    /// Moves a device: to the other plane's sockets, or to a new one of its own. Returns its plane.
    pub(super) fn rebind(&mut self, device: u32, plane: u8) -> u8 {
        match &mut self.kind {
            Kind::Shared { sources, .. } => (plane + 1) % sources.planes(),
            Kind::Own { sockets, .. } => {
                // Closing takes it out of the epoll; the next datagram opens another.
                sockets[device as usize] = None;
                plane
            }
        }
    }

    /// Waits until something can be received, at most until the timeout. Then call
    /// [`Self::receive`] until it has nothing more.
    pub(super) fn wait(&mut self, timeout_ns: u64) -> io::Result<()> {
        let timeout = Timespec::try_from(Duration::from_nanos(timeout_ns)).expect("it is short");
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Fills the inbox from the sockets that had something; `planes` says in which plane a device
    /// is. Empty: they have nothing more.
    pub(super) fn receive(
        &mut self,
        inbox: &mut Inbox,
        planes: impl Fn(u32) -> u8,
    ) -> io::Result<()> {
        inbox.got.clear();
        inbox.refused.clear();
        while inbox.got.is_empty()
            && inbox.refused.is_empty()
            && let Some(event) = self.events.pop()
        {
            let index = event.data.u64() as usize;
            match &mut self.kind {
                Kind::Shared { sources, sockets, headers, .. } => {
                    let whose = |address| {
                        let (device, plane) = sources.device(index, address)?;
                        // Behind a binding that was given up nobody is: that is what NATs do.
                        (planes(device) == plane).then_some(device)
                    };
                    let socket = &sockets[index];
                    let flags = event.flags;
                    if flags.contains(epoll::EventFlags::ERR) {
                        drain_errors(socket, |address| inbox.refused.extend(whose(address)));
                    }
                    match receive_many(socket, headers, inbox, whose) {
                        Ok(count) if count == BATCH_MAX => self.events.push(event),
                        Ok(_) | Err(Errno::EAGAIN | Errno::ECONNREFUSED) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Kind::Own { .. } => {
                    self.events.push(event);
                    return self.receive_own(inbox);
                }
            }
        }
        Ok(())
    }

    /// Devices with sockets of their own make a batch together.
    fn receive_own(&mut self, inbox: &mut Inbox) -> io::Result<()> {
        let Kind::Own { sockets, .. } = &self.kind else { return Ok(()) };
        while !inbox.got.is_full()
            && let Some(event) = self.events.pop()
        {
            let device = event.data.u64() as u32;
            let Some(socket) = &sockets[device as usize] else { continue };
            let at = inbox.got.len();
            match socket.recv(&mut inbox.buffers[at]) {
                Ok(len) => inbox.got.push(Got { device, len: len as u16 }),
                Err(error) => match judge(Err(error))? {
                    Sent::Unreachable => inbox.refused.push(device),
                    Sent::Gone | Sent::Dropped => {}
                },
            }
        }
        Ok(())
    }

    /// Bytes that a shared socket may hold for us; `None` where each device has its own.
    pub(super) fn receive_buffer(&self) -> Option<usize> {
        let Kind::Shared { sockets, .. } = &self.kind else { return None };
        getsockopt(sockets.first()?, RcvBuf).ok()
    }
}

impl Addresses {
    fn open(&self, device: u32, server: SocketAddr) -> io::Result<UdpSocket> {
        let offset = u128::from(self.first + device) % self.number;
        let address: IpAddr = match self.base {
            IpAddr::V4(base) => Ipv4Addr::from(u32::from(base) + offset as u32).into(),
            IpAddr::V6(base) => std::net::Ipv6Addr::from(u128::from(base) + offset).into(),
        };
        // More devices than ports, or than open files: the kernel's words alone explain nothing.
        let explain = |error: io::Error| {
            let device = self.first + device;
            let text = format!("no socket at {address} for device {device} of its own: {error}");
            io::Error::new(error.kind(), text)
        };
        let socket = UdpSocket::bind((address, 0)).map_err(explain)?;
        socket.connect(server).map_err(explain)?;
        socket.set_nonblocking(true)?;
        unfragmented(&socket)?;
        Ok(socket)
    }
}

/// Takes what ICMP said off a socket; it is about who sends from the address that it went to.
fn drain_errors(socket: &UdpSocket, mut tell: impl FnMut(Ipv4Addr)) {
    let mut control = nix::cmsg_space!(in_pktinfo, [u8; 64]);
    let mut bytes = [0; 64];
    loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_raw_fd();
        match recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                message.cmsgs().ok().and_then(destination).into_iter().for_each(&mut tell);
            }
            Err(_) => return,
        }
    }
}

/// Where a datagram went to.
fn destination(mut controls: CmsgIterator<'_>) -> Option<Ipv4Addr> {
    controls.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()))
        }
        _ => None,
    })
}

/// Up to a batch from one socket.
fn receive_many(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrIn>,
    inbox: &mut Inbox,
    whose: impl Fn(Ipv4Addr) -> Option<u32>,
) -> Result<usize, Errno> {
    let mut found = [None::<Got>; BATCH_MAX];
    let mut count = 0;
    {
        let mut rooms = inbox.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        for message in recvmmsg(socket.as_raw_fd(), headers, rooms.iter_mut(), flags, None)? {
            let is_cut = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
            let address = message.cmsgs().ok().filter(|_| !is_cut).and_then(destination);
            let device = address.and_then(&whose);
            found[count] = device.map(|device| Got { device, len: message.bytes as u16 });
            count += 1;
        }
    }
    // Buffers and what is known of them stay side by side.
    for (at, got) in found[..count].iter().enumerate() {
        if let Some(got) = got {
            let to = inbox.got.len();
            if to != at {
                inbox.buffers.swap(to, at);
            }
            inbox.got.push(*got);
        }
    }
    Ok(count)
}

fn register(epoll: &rustix::fd::OwnedFd, socket: &UdpSocket, index: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(index);
    Ok(epoll::add(epoll, socket, data, epoll::EventFlags::IN)?)
}

/// As large as we are allowed to: a shared socket holds what a whole fleet is sent.
fn enlarge(socket: &UdpSocket) {
    if setsockopt(socket, RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        let _ = setsockopt(socket, RcvBuf, &RECEIVE_BUFFER_BYTES);
    }
}

/// Datagrams with DF set. *Why:* the kernel then draws no identification for each, which takes 6 %
/// of our time; and CoAP's are not to be fragmented (RFC 7252 section 4.6).
fn unfragmented(socket: &UdpSocket) -> io::Result<()> {
    if socket.local_addr()?.is_ipv4() {
        set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?;
    }
    Ok(())
}

const RECEIVE_BUFFER_BYTES: usize = 16 << 20;

fn judge(outcome: io::Result<()>) -> io::Result<Sent> {
    match outcome {
        Ok(()) => Ok(Sent::Gone),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Sent::Unreachable),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Dropped),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOBUFS | Errno::EMSGSIZE) => Ok(Sent::Dropped),
            _ => Err(error),
        },
    }
}
