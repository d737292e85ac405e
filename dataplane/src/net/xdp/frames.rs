//! What stands in a frame? Ethernet, IPv4 or IPv6, UDP, and the datagram: read where the program
//! let it through, and written for a reply.
//!
//! The program has looked at what decides whether a frame is ours; here is what a kernel would
//! check before it believed the rest: lengths and checksums.

use super::super::peer::Peer;
use super::checksum::Sum;
use super::program::{IPV4_PAYLOAD, IPV4_TYPE, IPV6_PAYLOAD, IPV6_TYPE};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

/// A datagram that came, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Who brought it here: a neighbour, or the router of its network.
    pub mac: [u8; 6],
    /// The sender.
    pub from: End,
    /// One of ours.
    pub to: End,
    /// Where its bytes are in the frame.
    pub payload: Range<usize>,
}

/// An IPv6 address, or IPv4 mapped into it, and a UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The address.
    pub ip: [u8; 16],
    /// The port.
    pub port: u16,
}

impl End {
    pub(super) fn of(address: SocketAddr) -> Self {
        let peer = Peer::new(address, 0);
        Self { ip: peer.ip_bytes(), port: peer.port() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        Peer::from_parts(self.ip, 0, self.port, 0).address()
    }

    fn is_ipv4(&self) -> bool {
        self.ip[..12] == MAPPED
    }
}

/// Reads a frame; `None` if its lengths or checksums are wrong. `lacks_checksum`: senders on this
/// machine leave the UDP checksum to hardware that there is none of.
pub fn read(frame: &[u8], lacks_checksum: bool) -> Option<Arrived> {
    let ether_type = frame.get(12..14)?;
    let (head, addresses, size) = if ether_type == IPV4_TYPE {
        let header: &[u8; 20] = frame.get(14..34)?.try_into().ok()?;
        if header[0] != 0x45 || !Sum::default().plus(header).is_good() {
            return None;
        }
        let packet = usize::from(u16::from_be_bytes([header[2], header[3]]));
        (IPV4_PAYLOAD as usize, 26..34, packet.checked_sub(20)?)
    } else if ether_type == IPV6_TYPE {
        let size: [u8; 2] = frame.get(18..20)?.try_into().ok()?;
        (IPV6_PAYLOAD as usize, 22..54, usize::from(u16::from_be_bytes(size)))
    } else {
        return None;
    };
    // Behind the packet there may be padding.
    let segment = frame.get(head - UDP_HEADER..head - UDP_HEADER + size)?;
    let udp: &[u8; UDP_HEADER] = segment.first_chunk()?;
    let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    let segment = segment.get(..len).filter(|segment| segment.len() >= UDP_HEADER)?;
    let is_ipv4 = addresses.len() == 8;
    let addresses = frame.get(addresses)?;
    let pseudo = Sum::of_pseudo_header(addresses, [udp[4], udp[5]]);
    let checksum = [udp[6], udp[7]];
    let is_good = match checksum {
        [0, 0] => is_ipv4,
        _ => lacks_checksum && checksum == pseudo.folded() || pseudo.plus(segment).is_good(),
    };
    let (from, to) = addresses.split_at(addresses.len() / 2);
    is_good.then(|| Arrived {
        mac: frame[6..12].try_into().expect("six bytes"),
        from: End { ip: mapped(from), port: u16::from_be_bytes([udp[0], udp[1]]) },
        to: End { ip: mapped(to), port: u16::from_be_bytes([udp[2], udp[3]]) },
        payload: head..head + len - UDP_HEADER,
    })
}

/// From where to where a datagram goes.
pub(super) struct Way {
    pub(super) our_mac: [u8; 6],
    pub(super) their_mac: [u8; 6],
    pub(super) from: End,
    pub(super) to: End,
    /// IPv4 only: tells the fragments of packets apart (RFC 6864).
    pub(super) identification: u16,
}

/// Writes a frame with one datagram; returns its length. Both ends are of one family.
///
/// # Panics
/// If it does not fit.
pub(super) fn write(frame: &mut [u8], way: &Way, payload: &[u8]) -> usize {
    frame[..6].copy_from_slice(&way.their_mac);
    frame[6..12].copy_from_slice(&way.our_mac);
    let size = (UDP_HEADER + payload.len()) as u16;
    let (head, addresses) = if way.to.is_ipv4() {
        frame[12..14].copy_from_slice(&IPV4_TYPE);
        let header: &mut [u8; 20] = (&mut frame[14..34]).try_into().expect("twenty bytes");
        // Version and length of header; no fragment: routers may make some.
        *header = [0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, UDP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&(size + 20).to_be_bytes());
        header[4..6].copy_from_slice(&way.identification.to_be_bytes());
        header[12..16].copy_from_slice(&way.from.ip[12..]);
        header[16..20].copy_from_slice(&way.to.ip[12..]);
        let checksum = Sum::default().plus(header).checksum();
        header[10..12].copy_from_slice(&checksum);
        (IPV4_PAYLOAD as usize, 26..34)
    } else {
        frame[12..14].copy_from_slice(&IPV6_TYPE);
        frame[14..18].copy_from_slice(&[0x60, 0, 0, 0]);
        frame[18..20].copy_from_slice(&size.to_be_bytes());
        frame[20..22].copy_from_slice(&[UDP, HOPS]);
        frame[22..38].copy_from_slice(&way.from.ip);
        frame[38..54].copy_from_slice(&way.to.ip);
        (IPV6_PAYLOAD as usize, 22..54)
    };
    let pseudo = Sum::of_pseudo_header(&frame[addresses], size.to_be_bytes());
    let udp = &mut frame[head - UDP_HEADER..head];
    udp[..2].copy_from_slice(&way.from.port.to_be_bytes());
    udp[2..4].copy_from_slice(&way.to.port.to_be_bytes());
    udp[4..6].copy_from_slice(&size.to_be_bytes());
    udp[6..].fill(0);
    frame[head..head + payload.len()].copy_from_slice(payload);
    let segment = head - UDP_HEADER..head + payload.len();
    let checksum = match pseudo.plus(&frame[segment]).checksum() {
        // No checksum is what zero would say.
        [0, 0] => [0xff; 2],
        checksum => checksum,
    };
    frame[head - 2..head].copy_from_slice(&checksum);
    head + payload.len()
}

/// Bytes before the payload on the way to this peer, Ethernet's not counted: what an MTU counts.
pub(super) fn overhead(ip: &[u8; 16]) -> usize {
    (if ip[..12] == MAPPED { IPV4_PAYLOAD } else { IPV6_PAYLOAD } - 14) as usize
}

fn mapped(ip: &[u8]) -> [u8; 16] {
    let ipv4 = || Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).to_ipv6_mapped().octets();
    ip.try_into().unwrap_or_else(|_| ipv4())
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
/// TTL and hop limit, as the kernel's own datagrams have it.
const HOPS: u8 = 64;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn end(address: &str) -> End {
        End::of(address.parse().expect("an address"))
    }

    pub(in super::super) fn frame(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
        let way = Way {
            our_mac: [2, 0, 0, 0, 0, 1],
            their_mac: [2, 0, 0, 0, 0, 2],
            from: end(from),
            to: end(to),
            identification: 0x1234,
        };
        let mut frame = vec![0xa5; 2_048];
        let len = write(&mut frame, &way, payload);
        frame.truncate(len);
        frame
    }

    const PAIRS: [(&str, &str); 2] = [
        ("192.0.2.1:5684", "198.51.100.7:40000"),
        ("[2001:db8::1]:5684", "[fe80::255:ff:fe00:1]:1"),
    ];

    #[test]
    fn what_is_written_is_read_at_every_length() {
        for (from, to) in PAIRS {
            for len in 0..=1_472 {
                let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
                let frame = frame(from, to, &payload);
                let arrived = read(&frame, false).expect("a good frame");
                assert_eq!((arrived.from, arrived.to), (end(from), end(to)));
                assert_eq!(frame[arrived.payload.clone()], payload);
                assert_eq!(arrived.mac, [2, 0, 0, 0, 0, 1]);
                assert_eq!(arrived.payload.start, 14 + overhead(&end(to).ip));
            }
        }
    }

    #[test]
    fn padding_is_not_part_of_the_datagram() {
        for (from, to) in PAIRS {
            let mut frame = frame(from, to, b"hello");
            frame.extend([0x77; 30]);
            let payload = read(&frame, false).expect("a good frame").payload;
            assert_eq!(frame[payload], *b"hello");
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused() {
        for (from, to) in PAIRS {
            let frame = frame(from, to, b"hello");
            for len in 0..frame.len() {
                assert_eq!(read(&frame[..len], true), None, "{len}");
            }
        }
    }

    /// All but Ethernet's addresses, and what neither checksum covers: IPv6's class, label, hops.
    #[test]
    fn a_changed_bit_is_refused() {
        for (from, to) in PAIRS {
            let mut frame = frame(from, to, b"whatever was sent");
            let is_ipv6 = from.starts_with('[');
            for bit in 12 * 8..frame.len() * 8 {
                if is_ipv6 && matches!(bit / 8, 14..18 | 20..22) {
                    continue;
                }
                frame[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(&frame, false), None, "bit {bit} of a frame from {from}");
                frame[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn only_ipv4_goes_without_a_checksum() {
        for (from, to) in PAIRS {
            let mut frame = frame(from, to, b"hello");
            let head = 14 + overhead(&end(to).ip);
            frame[head - 2..head].fill(0);
            assert_eq!(read(&frame, false).is_some(), from.starts_with("192"));
        }
    }

    #[test]
    fn a_checksum_left_to_hardware_is_taken_where_there_is_none() {
        for (from, to) in PAIRS {
            let mut frame = frame(from, to, b"hello");
            let head = 14 + overhead(&end(to).ip);
            let addresses = if from.starts_with('[') { 22..54 } else { 26..34 };
            let pseudo = Sum::of_pseudo_header(&frame[addresses], [0, 13]).folded();
            frame[head - 2..head].copy_from_slice(&pseudo);
            assert!(read(&frame, true).is_some());
            assert!(read(&frame, false).is_none());
            frame[head - 1] ^= 1;
            assert!(read(&frame, true).is_none());
        }
    }

    /// A datagram whose checksum comes out as zero says all ones (RFC 768).
    #[test]
    fn zero_is_no_checksum() {
        let (from, to) = PAIRS[0];
        let head = IPV4_PAYLOAD as usize;
        let plain = frame(from, to, &[0, 0]);
        // What is added to the sum until it is all ones.
        let missing = [plain[head - 2], plain[head - 1]];
        let frame = frame(from, to, &missing);
        assert_eq!(frame[head - 2..head], [0xff, 0xff]);
        assert!(read(&frame, false).is_some());
    }
}
