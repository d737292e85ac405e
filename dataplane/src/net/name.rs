//! How do addresses cross into the kernel and back? Socket addresses as bytes, and the control
//! message that says which of this machine's addresses a datagram came to or leaves from.
//!
//! Written and read byte by byte: no pointer casts, no unions. The layouts are Linux's, the same
//! on every architecture; the assertions below hold them against `libc`'s.

use super::peer::Peer;
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A socket address: `sockaddr_in` or `sockaddr_in6`, and how much of it counts.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES],
    len: u32,
}

impl Name {
    /// Room for the kernel to write one.
    pub(super) const EMPTY: Self = Self { bytes: [0; NAME_BYTES], len: NAME_BYTES as u32 };

    /// The peer's address as a socket of one family wants it; `None` if it is of the other.
    pub(super) fn of(peer: Peer, is_ipv6: bool) -> Option<Self> {
        let ip = Ipv6Addr::from(peer.ip_bytes());
        let mut name = Self::EMPTY;
        name.bytes[2..4].copy_from_slice(&peer.port().to_be_bytes());
        match (ip.to_ipv4_mapped(), is_ipv6) {
            (Some(ip), false) => {
                name.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                name.bytes[4..8].copy_from_slice(&ip.octets());
                name.len = IPV4_NAME_BYTES as u32;
            }
            (None, true) => {
                name.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                name.bytes[8..24].copy_from_slice(&ip.octets());
                name.bytes[24..28].copy_from_slice(&peer.scope_id().to_ne_bytes());
            }
            _ => return None,
        }
        Some(name)
    }

    /// How many bytes count.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// All bytes there is room for.
    pub(super) fn bytes(&self) -> &[u8; NAME_BYTES] {
        &self.bytes
    }
}

/// The peer whose address the kernel wrote; `None` for a family that is not ours.
pub(super) fn peer_of(name: &[u8], socket: u8) -> Option<Peer> {
    let (&family, rest) = name.split_first_chunk::<2>()?;
    let (&port, rest) = rest.split_first_chunk::<2>()?;
    let (family, port) = (i32::from(u16::from_ne_bytes(family)), u16::from_be_bytes(port));
    let (&first, rest) = rest.split_first_chunk::<4>()?;
    if family == libc::AF_INET {
        let ip = Ipv4Addr::from(first).to_ipv6_mapped().octets();
        return Some(Peer::from_parts(ip, 0, port, socket));
    }
    let (&ip, rest) = rest.split_first_chunk::<16>()?;
    let (&scope_id, _) = rest.split_first_chunk::<4>()?;
    let peer = Peer::from_parts(ip, u32::from_ne_bytes(scope_id), port, socket);
    (family == libc::AF_INET6).then_some(peer)
}

/// One control message: the local address of a datagram, `IP_PKTINFO` or `IPV6_PKTINFO`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; CONTROL_BYTES],
}

impl Control {
    /// Room for the kernel to write one.
    pub(super) const EMPTY: Self = Self { bytes: [0; CONTROL_BYTES] };

    /// All bytes there is room for.
    pub(super) fn bytes(&self) -> &[u8; CONTROL_BYTES] {
        &self.bytes
    }
}

/// Control messages that go with what is sent: where it leaves from, and how it is cut.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Orders {
    bytes: [u8; ORDERS_BYTES],
    len: usize,
}

impl Orders {
    /// None.
    pub(super) const NONE: Self = Self { bytes: [0; ORDERS_BYTES], len: 0 };

    /// "Leave from `ip`."
    pub(super) fn leave_from(&mut self, ip: [u8; 16], is_ipv6: bool) {
        if is_ipv6 {
            self.push(IPV6_INFO)[..16].copy_from_slice(&ip);
        } else {
            self.push(IPV4_INFO)[4..8].copy_from_slice(&ip[12..]);
        }
    }

    /// "These are datagrams of `bytes` each; the last may be shorter."
    pub(super) fn cut_every(&mut self, bytes: u16) {
        self.push(SEGMENT)[..2].copy_from_slice(&bytes.to_ne_bytes());
    }

    /// Adds a message and returns the room for its data.
    fn push(&mut self, (level, kind, data): (i32, i32, usize)) -> &mut [u8] {
        let message = &mut self.bytes[self.len..];
        message[..8].copy_from_slice(&(HEADER_BYTES + data).to_ne_bytes());
        message[8..12].copy_from_slice(&level.to_ne_bytes());
        message[12..16].copy_from_slice(&kind.to_ne_bytes());
        self.len += HEADER_BYTES + data.next_multiple_of(8);
        &mut message[16..16 + data]
    }

    /// How many bytes count; the first ones.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// The local address, IPv4 mapped, in a control message the kernel wrote; `None` without one, or
/// when a reply can't leave from it (multicast).
pub(super) fn local_of(control: &[u8]) -> Option<[u8; 16]> {
    let header = control.get(..HEADER_BYTES)?;
    let level = i32::from_ne_bytes(header[8..12].try_into().ok()?);
    let kind = i32::from_ne_bytes(header[12..16].try_into().ok()?);
    if (level, kind) == (IPV4_INFO.0, IPV4_INFO.1) {
        // `ipi_spec_dst`, not `ipi_addr`: the address to answer from, even after a broadcast.
        let ip: [u8; 4] = control.get(20..24)?.try_into().ok()?;
        return Some(Ipv4Addr::from(ip).to_ipv6_mapped().octets());
    }
    let ip: [u8; 16] = control.get(16..32)?.try_into().ok()?;
    let is_ours = (level, kind) == (IPV6_INFO.0, IPV6_INFO.1);
    (is_ours && !Ipv6Addr::from(ip).is_multicast()).then_some(ip)
}

/// Longest name: IPv6.
pub(super) const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();
const IPV4_NAME_BYTES: usize = size_of::<libc::sockaddr_in>();
/// Room for the longest control message.
pub(super) const CONTROL_BYTES: usize = 40;
/// Room for a source and a length.
const ORDERS_BYTES: usize = CONTROL_BYTES + HEADER_BYTES + 8;
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
/// Level, kind and bytes of data.
const IPV4_INFO: (i32, i32, usize) =
    (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<libc::in_pktinfo>());
const IPV6_INFO: (i32, i32, usize) =
    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<libc::in6_pktinfo>());
/// Generic segmentation (udp(7)): the data is a `u16`.
const SEGMENT: (i32, i32, usize) = (libc::SOL_UDP, libc::UDP_SEGMENT, 2);

const _: () = {
    assert!(offset_of!(Orders, bytes) == 0);
    assert!(size_of::<usize>() == 8, "the offsets of a control message are those of 64 bits");
    assert!(NAME_BYTES == 28 && IPV4_NAME_BYTES == 16 && HEADER_BYTES == 16);
    assert!(offset_of!(libc::sockaddr_in, sin_port) == 2);
    assert!(offset_of!(libc::sockaddr_in, sin_addr) == 4);
    assert!(offset_of!(libc::sockaddr_in6, sin6_port) == 2);
    assert!(offset_of!(libc::sockaddr_in6, sin6_addr) == 8);
    assert!(offset_of!(libc::sockaddr_in6, sin6_scope_id) == 24);
    assert!(
        offset_of!(libc::cmsghdr, cmsg_level) == 8 && offset_of!(libc::cmsghdr, cmsg_type) == 12
    );
    assert!(offset_of!(libc::in_pktinfo, ipi_spec_dst) == 4);
    assert!(offset_of!(libc::in6_pktinfo, ipi6_addr) == 0);
    assert!(HEADER_BYTES + size_of::<libc::in6_pktinfo>() <= CONTROL_BYTES);
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::new(text.parse().unwrap(), 3)
    }

    #[test]
    fn a_name_gives_back_its_peer() {
        for text in ["127.0.0.1:5684", "[::1]:9", "[fe80::1%3]:65535", "[2001:db8::7]:1"] {
            let peer = peer(text);
            let name = Name::of(peer, peer.address().is_ipv6()).unwrap();
            assert_eq!(peer_of(&name.bytes()[..name.len() as usize], 3), Some(peer), "{text}");
        }
    }

    #[test]
    fn a_socket_of_the_other_family_has_no_name_for_a_peer() {
        assert!(Name::of(peer("127.0.0.1:1"), true).is_none());
        assert!(Name::of(peer("[::1]:1"), false).is_none());
    }

    #[test]
    fn a_name_that_is_short_or_of_another_family_is_nobody() {
        let name = *Name::of(peer("[::1]:1"), true).unwrap().bytes();
        for len in 0..NAME_BYTES {
            assert_eq!(peer_of(&name[..len], 0), None, "{len}");
        }
        let mut unix = name;
        unix[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        assert_eq!(peer_of(&unix, 0), None);
    }

    fn leaving_from(ip: [u8; 16], is_ipv6: bool) -> Orders {
        let mut orders = Orders::NONE;
        orders.leave_from(ip, is_ipv6);
        orders
    }

    #[test]
    fn what_we_say_about_a_source_is_what_we_would_hear() {
        let ip = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
        let Orders { bytes, len } = leaving_from(ip, false);
        assert_eq!((local_of(&bytes[..len]), len), (Some(ip), 32));
        let ip = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        let Orders { bytes, len } = leaving_from(ip, true);
        assert_eq!((local_of(&bytes[..len]), len), (Some(ip), 40));
    }

    #[test]
    fn no_reply_leaves_from_a_group_or_from_half_a_message() {
        let group = "ff02::fd".parse::<Ipv6Addr>().unwrap().octets();
        assert_eq!(local_of(&leaving_from(group, true).bytes), None);
        assert_eq!(local_of(&leaving_from([7; 16], true).bytes[..31]), None);
        assert_eq!(local_of(&[]), None);
        assert_eq!(local_of(Control::EMPTY.bytes()), None);
    }

    #[test]
    fn a_length_stands_behind_a_source() {
        let mut orders = leaving_from([7; 16], true);
        orders.cut_every(0x0102);
        assert_eq!(orders.len(), ORDERS_BYTES);
        let message = &orders.bytes[40..];
        assert_eq!(message[..8], 18u64.to_ne_bytes());
        assert_eq!(message[16..18], 0x0102u16.to_ne_bytes());
    }
}
