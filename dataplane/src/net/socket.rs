//! How is a worker's socket opened, and how do addresses cross into the kernel?

use super::peer::Peer;
use super::steering;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// One UDP socket of one worker.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    is_ipv6: bool,
}

impl Socket {
    /// Binds a socket to `address` in the reuseport group of all workers, which the steering
    /// program then spreads by Connection ID.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let is_ipv6 = address.is_ipv6();
        let family = if is_ipv6 { libc::AF_INET6 } else { libc::AF_INET };
        // SAFETY: socket(2) takes no pointers; the descriptor is checked before it is owned.
        #[allow(unsafe_code)]
        let fd = unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a new descriptor that nothing else owns.
        #[allow(unsafe_code)]
        let socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, is_ipv6 };
        socket.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, &1i32)?;
        if is_ipv6 {
            // IPv4 has a socket of its own: mapped addresses cost IPv6 peers 12 to 16 % more.
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1i32)?;
        }
        let forced = socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER_BYTES);
        if forced.is_err() {
            socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER_BYTES)?;
        }
        let name = Name::of(address, is_ipv6);
        // SAFETY: `name` is a whole sockaddr of `len` bytes that outlives the call.
        #[allow(unsafe_code)]
        let bound = unsafe { libc::bind(fd, (&raw const name.storage).cast(), name.len) };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        let program = steering::program();
        socket.set(libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &program.header())?;
        Ok(socket)
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The address it is bound to.
    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        let mut name = Name::empty();
        // SAFETY: `storage` has room for `len` bytes; both outlive the call.
        #[allow(unsafe_code)]
        let got = unsafe {
            libc::getsockname(self.fd(), (&raw mut name.storage).cast(), &raw mut name.len)
        };
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        name.address().ok_or_else(|| io::Error::other("a socket of another family"))
    }

    /// The name of a peer as this socket's family wants it.
    pub(super) fn name_of(&self, peer: Peer) -> Name {
        Name::of(peer.address(), self.is_ipv6)
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        let len = size_of::<T>() as libc::socklen_t;
        // SAFETY: `value` is a whole T of `len` bytes that outlives the call; the kernel copies it.
        #[allow(unsafe_code)]
        let set = unsafe {
            libc::setsockopt(self.fd(), level, option, std::ptr::from_ref(value).cast(), len)
        };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A socket address as the kernel reads and writes it.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) storage: libc::sockaddr_in6,
    pub(super) len: libc::socklen_t,
}

impl Name {
    /// Room for the kernel to write one.
    pub(super) fn empty() -> Self {
        let storage = libc::sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        };
        Self { storage, len: size_of::<libc::sockaddr_in6>() as libc::socklen_t }
    }

    fn of(address: SocketAddr, is_ipv6: bool) -> Self {
        let mut name = Self::empty();
        name.storage.sin6_port = address.port().to_be();
        match address {
            SocketAddr::V4(v4) if !is_ipv6 => {
                name.storage.sin6_family = libc::AF_INET as libc::sa_family_t;
                // A sockaddr_in has the address where a sockaddr_in6 has the flow information.
                name.storage.sin6_flowinfo = u32::from_ne_bytes(v4.ip().octets());
                name.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V4(v4) => {
                name.storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                name.storage.sin6_addr.s6_addr = v4.ip().to_ipv6_mapped().octets();
            }
            SocketAddr::V6(v6) => {
                name.storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                name.storage.sin6_addr.s6_addr = v6.ip().octets();
                name.storage.sin6_scope_id = v6.scope_id();
            }
        }
        name
    }

    /// The address the kernel wrote; `None` for another family.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let port = u16::from_be(self.storage.sin6_port);
        match i32::from(self.storage.sin6_family) {
            libc::AF_INET => {
                let ip = Ipv4Addr::from(self.storage.sin6_flowinfo.to_ne_bytes());
                Some(SocketAddrV4::new(ip, port).into())
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(self.storage.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(ip, port, 0, self.storage.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Receive buffer asked of the kernel. *Why:* the default holds 256 small datagrams.
const RECEIVE_BUFFER_BYTES: i32 = 4 << 20;
const _: () = assert!(size_of::<libc::sockaddr_in>() == 16 && size_of::<libc::sockaddr_in6>() == 28);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_back_its_address() {
        for text in ["127.0.0.1:5684", "[::1]:9", "[fe80::1%3]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::of(address, address.is_ipv6()).address(), Some(address));
        }
    }

    #[test]
    fn a_bound_socket_knows_where() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_address().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0);
        assert!(Socket::bind(address).is_ok(), "a group takes one more");
    }
}
