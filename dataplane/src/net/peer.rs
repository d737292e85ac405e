//! Who sent a datagram? An address small enough for a session slot.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A peer as one of a worker's sockets knows it. Plain data, 20 bytes: it lives in session slots.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Peer {
    /// IPv6, or IPv4 mapped into it. A link-local one has its interface in the bytes [`SCOPE`],
    /// which are zero in the address itself (RFC 4291 section 2.5.6).
    ip: [u8; 16],
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
        Self::from_parts(ip.octets(), scope_id, address.port(), socket)
    }

    /// Its address: IPv4 when it is mapped.
    pub fn address(&self) -> SocketAddr {
        let ip = Ipv6Addr::from(self.ip_bytes());
        match ip.to_canonical() {
            IpAddr::V4(v4) => SocketAddr::from((v4, self.port)),
            IpAddr::V6(_) => SocketAddrV6::new(ip, self.port, 0, self.scope_id()).into(),
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
    pub(super) fn from_parts(mut ip: [u8; 16], scope_id: u32, port: u16, socket: u8) -> Self {
        if is_link_local(&ip) {
            ip[SCOPE].copy_from_slice(&scope_id.to_ne_bytes());
        }
        Self { ip, port, socket, local: 0 }
    }

    /// The same peer, having written to local address number `local`.
    pub(super) fn with_local(self, local: u8) -> Self {
        Self { local, ..self }
    }

    /// Interface of a link-local address, else 0.
    pub(super) fn scope_id(&self) -> u32 {
        let [_, _, a, b, c, d, ..] = self.ip;
        if is_link_local(&self.ip) { u32::from_ne_bytes([a, b, c, d]) } else { 0 }
    }

    /// UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// IPv6 address, or IPv4 mapped into it.
    pub fn ip_bytes(&self) -> [u8; 16] {
        let mut ip = self.ip;
        if is_link_local(&ip) {
            ip[SCOPE].fill(0);
        }
        ip
    }
}

/// fe80::/10 (RFC 4291 section 2.5.6).
#[inline]
fn is_link_local(ip: &[u8; 16]) -> bool {
    ip[0] == 0xfe && ip[1] & 0xc0 == 0x80
}

const SCOPE: std::ops::Range<usize> = 2..6;

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
        assert_eq!(size_of::<Peer>(), 20);
    }

    #[test]
    fn an_interface_tells_link_local_peers_apart_and_is_no_part_of_the_address() {
        let peers = ["[fe80::1%3]:9", "[fe80::1%4]:9", "[febf::1%3]:9", "[fec0::1]:9"]
            .map(|text| Peer::new(text.parse().unwrap(), 0));
        assert_ne!(peers[0], peers[1]);
        assert_eq!(peers.map(|peer| peer.scope_id()), [3, 4, 3, 0]);
        assert_eq!(peers[0].ip_bytes(), peers[1].ip_bytes());
        assert_eq!(Ipv6Addr::from(peers[0].ip_bytes()), "fe80::1".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn the_same_address_on_another_socket_is_another_peer() {
        let address = "127.0.0.1:5684".parse().unwrap();
        assert_ne!(Peer::new(address, 0), Peer::new(address, 1));
    }
}
