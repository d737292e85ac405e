//! How is a worker's socket opened? In the reuseport group of its address, with room for bursts,
//! steered by Connection ID or by the sender's address, and answering from the address it was
//! written to.
//!
//! IPv4 and IPv6 each have sockets of their own: mapped addresses on a `[::]` socket cost IPv6
//! peers 12 to 16 %. A socket bound to one address answers from it for nothing; a wildcard socket
//! asks for each datagram's local address (3 to 7 % more CPU), because a host with several
//! addresses would otherwise answer from another one. Bind addresses where that matters.
#![allow(unsafe_code)]

use super::name::{NAME_BYTES, Name, peer_of};
use super::peer::Peer;
use super::steering;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// One UDP socket of one worker. In blocking mode; every call says that it does not wait.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    pub(super) is_ipv6: bool,
    /// Each datagram comes with its local address.
    pub(super) is_wildcard: bool,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How the kernel spreads datagrams over the sockets of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// By the steering program, over so many workers with two sockets each.
    ByConnectionId { workers: u8 },
    /// By the hash of both addresses: plain CoAP has nothing else.
    ByAddress,
}

impl Socket {
    /// Joins the reuseport group of `address`.
    pub(super) fn bind(address: SocketAddr, spread: Spread) -> io::Result<Self> {
        let address = if address.port() == 0 { unshared(address)? } else { address };
        let socket = Self::create(address)?;
        socket.prepare()?;
        socket.bind_to(address)?;
        socket.steer(spread)?;
        Ok(socket)
    }

    /// Goes on with a socket that an earlier process bound to `address`, in its place of the group;
    /// what was set then may be of another build.
    pub(super) fn take_over(fd: OwnedFd, address: SocketAddr, spread: Spread) -> io::Result<Self> {
        let (is_ipv6, is_wildcard) = (address.is_ipv6(), address.ip().is_unspecified());
        let socket = Self { fd, is_ipv6, is_wildcard };
        socket.prepare()?;
        socket.steer(spread)?;
        Ok(socket)
    }

    fn prepare(&self) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, &1i32)?;
        match (self.is_wildcard, self.is_ipv6) {
            (true, false) => self.set(libc::IPPROTO_IP, libc::IP_PKTINFO, &1i32)?,
            (true, true) => self.set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1i32)?,
            (false, _) => {}
        }
        if !self.is_ipv6 {
            // Datagrams that routers don't cut (RFC 7252 section 4.6, RFC 6347 section 4.1.1.1):
            // the kernel then draws no identification for each.
            self.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_PROBE)?;
        }
        self.grow(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)?;
        self.grow(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)
    }

    fn steer(&self, spread: Spread) -> io::Result<()> {
        let Spread::ByConnectionId { workers } = spread else { return Ok(()) };
        let program = steering::program(workers);
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &program.header())
    }

    fn create(address: SocketAddr) -> io::Result<Self> {
        let is_ipv6 = address.is_ipv6();
        let family = if is_ipv6 { libc::AF_INET6 } else { libc::AF_INET };
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        checked(fd)?;
        // SAFETY: `fd` is a new descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Self { fd, is_ipv6, is_wildcard: address.ip().is_unspecified() };
        if is_ipv6 {
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1i32)?;
        }
        Ok(socket)
    }

    fn bind_to(&self, address: SocketAddr) -> io::Result<()> {
        let name = Name::of(Peer::new(address, 0), self.is_ipv6)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "an IPv4-mapped address"))?;
        // SAFETY: `name` is `len` bytes of a socket address and outlives the call.
        checked(unsafe { libc::bind(self.fd(), name.bytes().as_ptr().cast(), name.len()) })
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The address it is bound to.
    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        Self::address_of(&self.fd)
    }

    /// The address that a socket is bound to; an error of what is none for IP.
    pub(super) fn address_of(fd: &OwnedFd) -> io::Result<SocketAddr> {
        let fd = fd.as_raw_fd();
        let mut name = [0u8; NAME_BYTES];
        let mut len = NAME_BYTES as libc::socklen_t;
        // SAFETY: `name` has room for `len` bytes; both outlive the call.
        let got = unsafe { libc::getsockname(fd, name.as_mut_ptr().cast(), &raw mut len) };
        checked(got)?;
        let peer = peer_of(&name, 0).ok_or_else(|| io::Error::other("not an IP socket"))?;
        Ok(peer.address())
    }

    /// Bytes the kernel keeps for us before it drops (its own bookkeeping included).
    pub(super) fn receive_buffer_bytes(&self) -> io::Result<usize> {
        let mut bytes = [0i32; 1];
        self.get(libc::SO_RCVBUF, &mut bytes)?;
        Ok(bytes[0].max(0) as usize)
    }

    /// Datagrams the kernel dropped because that was full.
    pub(super) fn kernel_drops(&self) -> io::Result<u32> {
        let mut memory = [0u32; SK_MEMINFO_VARS];
        self.get(libc::SO_MEMINFO, &mut memory)?;
        Ok(memory[SK_MEMINFO_DROPS])
    }

    /// Whether the kernel knows how to cut a run of datagrams (Linux 4.18).
    pub(super) fn can_join(&self) -> bool {
        let mut bytes = [0i32; 1];
        self.get_at(libc::SOL_UDP, libc::UDP_SEGMENT, &mut bytes).is_ok()
    }

    /// As large as we like where we may (CAP_NET_ADMIN), else as the machine allows.
    fn grow(&self, force: i32, ask: i32) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, force, &BUFFER_BYTES)
            .or_else(|_| self.set(libc::SOL_SOCKET, ask, &BUFFER_BYTES))
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        let len = size_of::<T>() as libc::socklen_t;
        let value = std::ptr::from_ref(value).cast();
        // SAFETY: `value` is `len` bytes that outlive the call; the kernel copies them.
        checked(unsafe { libc::setsockopt(self.fd(), level, option, value, len) })
    }

    fn get<T: Copy>(&self, option: i32, values: &mut [T]) -> io::Result<()> {
        self.get_at(libc::SOL_SOCKET, option, values)
    }

    fn get_at<T: Copy>(&self, level: i32, option: i32, values: &mut [T]) -> io::Result<()> {
        let mut len = size_of_val(values) as libc::socklen_t;
        let values = values.as_mut_ptr().cast();
        // SAFETY: `values` has room for `len` bytes, of integers for which any bytes will do.
        checked(unsafe { libc::getsockopt(self.fd(), level, option, values, &raw mut len) })
    }
}

/// An address with a port that nobody has. *Why:* of sockets that would share it, the kernel gives
/// any port to two, and with it the datagrams of one to the other.
fn unshared(address: SocketAddr) -> io::Result<SocketAddr> {
    let probe = Socket::create(address)?;
    probe.bind_to(address)?;
    probe.local_address()
}

/// Waits until no other process has sockets at these addresses.
///
/// *Why:* any process of this user may join a reuseport group, and the steering program counts on
/// our sockets being the only ones. A process that was killed leaves its sockets for some
/// milliseconds, until its io_uring is torn down.
pub(super) fn wait_until_free(addresses: &[SocketAddr], patience: Duration) -> io::Result<()> {
    let begun = Instant::now();
    for address in addresses.iter().filter(|address| address.port() != 0) {
        // A socket that shares with nobody binds only where nobody is.
        while let Err(error) = Socket::create(*address).and_then(|probe| probe.bind_to(*address)) {
            if error.kind() != ErrorKind::AddrInUse || begun.elapsed() >= patience {
                return Err(io::Error::new(error.kind(), format!("{address}: {error}")));
            }
            std::thread::sleep(PROBE_PAUSE);
        }
    }
    Ok(())
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receive and send buffer asked of the kernel, bytes; it keeps twice as much, for itself. *Why:*
/// the default holds 256 small datagrams.
pub(super) const BUFFER_BYTES: i32 = 4 << 20;
const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// From linux/sock_diag.h: how many values SO_MEMINFO has, and which is the drops.
const SK_MEMINFO_VARS: usize = 9;
const SK_MEMINFO_DROPS: usize = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn loopback(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 0)
    }

    fn bind(address: SocketAddr) -> io::Result<Socket> {
        Socket::bind(address, Spread::ByConnectionId { workers: 1 })
    }

    #[test]
    fn a_group_takes_a_socket_for_each_worker() {
        for ip in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
            let first = bind(loopback(ip)).unwrap();
            let address = first.local_address().unwrap();
            assert!(address.port() != 0 && address.ip() == ip.parse::<std::net::IpAddr>().unwrap());
            let second = bind(address).unwrap();
            assert_eq!(second.local_address().unwrap(), address);
            assert_eq!(first.is_wildcard, address.ip().is_unspecified());
            assert!(first.receive_buffer_bytes().unwrap() > 0);
            assert_eq!(first.kernel_drops().unwrap(), 0);
        }
    }

    /// 200 among the 28 000 that the kernel has to give: without care two meet nearly every time.
    #[test]
    fn any_port_is_nobody_elses() {
        let sockets: Vec<Socket> = (0..200).map(|_| bind(loopback("127.0.0.1")).unwrap()).collect();
        let ports: BTreeSet<u16> =
            sockets.iter().map(|one| one.local_address().unwrap().port()).collect();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn both_families_have_the_same_port() {
        let has_both = |_| {
            let v6 = bind(loopback("::")).unwrap();
            let port = v6.local_address().unwrap().port();
            bind(SocketAddr::from(([0, 0, 0, 0], port))).is_ok()
        };
        // Somebody else may have one of them.
        assert!((0..16).any(has_both));
    }

    #[test]
    fn an_address_of_another_process_is_waited_for_and_then_refused() {
        let other = bind(loopback("127.0.0.1")).unwrap();
        let address = other.local_address().unwrap();
        let refused = wait_until_free(&[address], Duration::ZERO).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert!(refused.to_string().contains(&address.to_string()), "{refused}");
        let waiter =
            std::thread::spawn(move || wait_until_free(&[address], Duration::from_secs(30)));
        drop(other);
        assert!(waiter.join().unwrap().is_ok());
    }

    #[test]
    fn an_address_that_is_not_ours_is_an_error() {
        assert!(bind("192.0.2.1:0".parse().unwrap()).is_err());
        assert!(bind("[::ffff:127.0.0.1]:0".parse().unwrap()).is_err());
    }
}
