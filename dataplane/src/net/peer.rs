//! Who sent a datagram? An address small enough for a session slot.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A peer as one of a worker's sockets knows it. Plain data, 24 bytes: it lives in session slots.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Peer {
    /// IPv6, or IPv4 mapped into it.
    ip: [u8; 16],
    /// Of a link-local IPv6 address, else 0.
    scope_id: u32,
    port: u16,
    /// Which of the worker's sockets hears and answers it: the place of its address in `listen`
    /// and `nosec.listen`.
    socket: u8,
    /// Which of this machine's addresses it wrote to, as `source` numbers them; 0 = the kernel
    /// knows best, because the socket is bound to one address.
    local: u8,
}

impl Peer {
    /// The peer at `address`, heard on socket number `socket`.
    pub fn new(address: SocketAddr, socket: u8) -> Self {
        let (ip, scope_id) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        Self { ip: ip.octets(), scope_id, port: address.port(), socket, local: 0 }
    }

    /// Its address: IPv4 when it is mapped.
    pub fn address(&self) -> SocketAddr {
        let ip = Ipv6Addr::from(self.ip);
        match ip.to_canonical() {
            IpAddr::V4(v4) => SocketAddr::from((v4, self.port)),
            IpAddr::V6(_) => SocketAddrV6::new(ip, self.port, 0, self.scope_id).into(),
        }
    }

    /// The place of its socket in `listen` and `nosec.listen`.
    pub fn socket(&self) -> u8 {
        self.socket
    }

    /// The same peer, whichever of this machine's addresses it wrote to.
    #[must_use]
    pub fn anywhere(self) -> Self {
        Self { local: 0, ..self }
    }

    /// The number of the local address it wrote to; 0 = none remembered.
    pub(super) fn local(&self) -> u8 {
        self.local
    }

    /// A peer as its parts say.
    pub(super) fn from_parts(ip: [u8; 16], scope_id: u32, port: u16, socket: u8) -> Self {
        Self { ip, scope_id, port, socket, local: 0 }
    }

    /// The same peer, having written to local address number `local`.
    pub(super) fn with_local(self, local: u8) -> Self {
        Self { local, ..self }
    }

    /// Interface of a link-local address, else 0.
    pub(super) fn scope_id(&self) -> u32 {
        self.scope_id
    }

    /// UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// IPv6 address, or IPv4 mapped into it.
    pub fn ip_bytes(&self) -> [u8; 16] {
        self.ip
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for text in ["127.0.0.1:5684", "[::1]:9", "[fe80::1%3]:65535", "[2001:db8::7]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Peer::new(address, 1).address(), address);
        }
        assert_eq!(size_of::<Peer>(), 24);
    }

    #[test]
    fn the_same_address_on_another_socket_is_another_peer() {
        let address = "127.0.0.1:5684".parse().unwrap();
        assert_ne!(Peer::new(address, 0), Peer::new(address, 1));
    }
}
