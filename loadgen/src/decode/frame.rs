//! Which UDP datagram does a captured packet carry? Peels link, IPv4 or IPv6, and UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::capture::{LinkType, Packet};

/// A UDP datagram, as a view of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// Whom it was for.
    pub destination: SocketAddr,
    /// What UDP carried.
    pub payload: &'a [u8],
}

/// Why a packet carries no datagram that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// A link layer that is not known here.
    Link,
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// IP, but not UDP.
    NotUdp,
    /// A part of a fragmented IP packet.
    Fragment,
    /// Fewer bytes were captured than travelled, or lengths do not fit together.
    Cut,
}

impl<'a> Datagram<'a> {
    /// Peels `packet`.
    pub fn parse(packet: &Packet<'a>) -> Result<Self, Skipped> {
        let ip = peel_link(packet.link, packet.bytes)?;
        match ip.first().ok_or(Skipped::Cut)? >> 4 {
            4 => peel_ipv4(ip),
            6 => peel_ipv6(ip),
            _ => Err(Skipped::NotIp),
        }
    }
}

const ETHERNET: LinkType = LinkType(1);
const LINUX_COOKED: LinkType = LinkType(113);
const LINUX_COOKED_2: LinkType = LinkType(276);
/// BSD loopback: four bytes of address family, in the host's or the network's order.
const LOOPBACK: [LinkType; 2] = [LinkType(0), LinkType(108)];
/// No link header; 12 and 14 are what some systems write for 101.
const RAW_IP: [LinkType; 5] =
    [LinkType(101), LinkType(228), LinkType(229), LinkType(12), LinkType(14)];

fn peel_link(link: LinkType, bytes: &[u8]) -> Result<&[u8], Skipped> {
    if RAW_IP.contains(&link) {
        return Ok(bytes);
    }
    if LOOPBACK.contains(&link) {
        return bytes.get(4..).ok_or(Skipped::Cut);
    }
    let (ethertype_at, mut rest_at) = match link {
        ETHERNET => (12, 14),
        LINUX_COOKED => (14, 16),
        LINUX_COOKED_2 => (0, 20),
        _ => return Err(Skipped::Link),
    };
    let mut ethertype = u16_at(bytes, ethertype_at)?;
    // IEEE 802.1Q and 802.1ad tags.
    while matches!(ethertype, 0x8100 | 0x88a8) {
        ethertype = u16_at(bytes, rest_at + 2)?;
        rest_at += 4;
    }
    match ethertype {
        0x0800 | 0x86dd => bytes.get(rest_at..).ok_or(Skipped::Cut),
        _ => Err(Skipped::NotIp),
    }
}

fn peel_ipv4(ip: &[u8]) -> Result<Datagram<'_>, Skipped> {
    let (head, _) = ip.split_first_chunk::<20>().ok_or(Skipped::Cut)?;
    let [a, b, c, d] = *array(head, 12);
    let source = Ipv4Addr::new(a, b, c, d);
    let [a, b, c, d] = *array(head, 16);
    let destination = Ipv4Addr::new(a, b, c, d);
    if head[9] != UDP {
        return Err(Skipped::NotUdp);
    }
    // More-fragments flag or an offset; don't-fragment is none of it.
    if u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0 {
        return Err(Skipped::Fragment);
    }
    let header_len = usize::from(head[0] & 0x0f) * 4;
    if header_len < 20 {
        return Err(Skipped::Cut);
    }
    peel_udp(source.into(), destination.into(), ip.get(header_len..).ok_or(Skipped::Cut)?)
}

fn peel_ipv6(ip: &[u8]) -> Result<Datagram<'_>, Skipped> {
    let (head, mut rest) = ip.split_first_chunk::<40>().ok_or(Skipped::Cut)?;
    let source = Ipv6Addr::from_octets(*array(head, 8));
    let destination = Ipv6Addr::from_octets(*array(head, 24));
    let mut next_header = head[6];
    loop {
        let extension_len = match next_header {
            UDP => return peel_udp(source.into(), destination.into(), rest),
            // Hop-by-hop, routing and destination options.
            0 | 43 | 60 => 8 + 8 * usize::from(*rest.get(1).ok_or(Skipped::Cut)?),
            // A fragment header that splits nothing is only passed over (RFC 6946).
            44 if u16_at(rest, 2)? & 0xfff9 == 0 => 8,
            44 => return Err(Skipped::Fragment),
            _ => return Err(Skipped::NotUdp),
        };
        next_header = *rest.first().ok_or(Skipped::Cut)?;
        rest = rest.get(extension_len..).ok_or(Skipped::Cut)?;
    }
}

fn peel_udp(source: IpAddr, destination: IpAddr, udp: &[u8]) -> Result<Datagram<'_>, Skipped> {
    let (source_port, destination_port) = (u16_at(udp, 0)?, u16_at(udp, 2)?);
    let length = usize::from(u16_at(udp, 4)?);
    Ok(Datagram {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
        payload: udp.get(8..length).ok_or(Skipped::Cut)?,
    })
}

const UDP: u8 = 17;

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Skipped> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).ok_or(Skipped::Cut)
}

/// `N` bytes from the inside of a header.
fn array<const N: usize, const M: usize>(head: &[u8; M], at: usize) -> &[u8; N] {
    head[at..].first_chunk().expect("the header is that long")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn udp(payload: &[u8]) -> Vec<u8> {
        let mut udp = vec![0x9c, 0x40, 0x16, 0x34];
        udp.extend((8 + payload.len() as u16).to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        udp
    }

    fn ipv4(payload: &[u8]) -> Vec<u8> {
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 203, 0, 113, 5];
        ip.extend(udp(payload));
        ip
    }

    fn ipv6(next_header: u8, extensions: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut ip = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
        ip.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        ip.extend("2001:db8::5".parse::<Ipv6Addr>().unwrap().octets());
        ip.extend(extensions);
        ip.extend(udp(payload));
        ip
    }

    fn parse(link: u16, bytes: &[u8]) -> Result<Datagram<'_>, Skipped> {
        Datagram::parse(&Packet { time_ns: 0, link: LinkType(link), bytes })
    }

    #[test]
    fn every_link_layer_is_peeled() {
        let heads: [(u16, &[u8]); 11] = [
            (1, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
            (1, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 7, 8, 0]),
            (1, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xa8, 0, 7, 0x81, 0, 0, 7, 8, 0]),
            (113, &[0, 0, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
            (276, &[8, 0, 0, 0, 0, 0, 0, 1, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0]),
            (0, &[2, 0, 0, 0]),
            (108, &[0, 0, 0, 2]),
            (101, &[]),
            (228, &[]),
            (12, &[]),
            (14, &[]),
        ];
        for (link, head) in heads {
            let bytes = [head, &ipv4(b"coap")].concat();
            let datagram = parse(link, &bytes).unwrap();
            assert_eq!(datagram.source, "192.0.2.1:40000".parse().unwrap());
            assert_eq!(datagram.destination, "203.0.113.5:5684".parse().unwrap());
            assert_eq!(datagram.payload, b"coap", "link type {link}");
        }
        assert_eq!(parse(105, &ipv4(b"")), Err(Skipped::Link));
        let arp = [&[0; 12][..], &[8, 6], &[0; 28]].concat();
        assert_eq!(parse(1, &arp), Err(Skipped::NotIp));
    }

    #[test]
    fn ipv6_extension_headers_are_passed_over() {
        let cases: [(u8, &[u8]); 4] = [
            (17, &[]),
            (0, &[17, 0, 0, 0, 0, 0, 0, 0]),
            (43, &[60, 0, 0, 0, 0, 0, 0, 0, 17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (44, &[17, 0, 0, 0, 0, 0, 0, 1]),
        ];
        for (next_header, extensions) in cases {
            let bytes = ipv6(next_header, extensions, b"coap");
            let datagram = parse(229, &bytes).unwrap();
            assert_eq!(datagram.source, "[2001:db8::1]:40000".parse().unwrap());
            assert_eq!(datagram.payload, b"coap");
        }
        assert_eq!(parse(229, &ipv6(6, &[], b"")), Err(Skipped::NotUdp));
    }

    #[test]
    fn fragments_are_counted_as_such() {
        for flags in [[0x20, 0], [0, 1], [0x60, 0]] {
            let mut bytes = ipv4(b"coap");
            bytes[6..8].copy_from_slice(&flags);
            assert_eq!(parse(101, &bytes), Err(Skipped::Fragment));
        }
        for flags in [[0, 1], [0, 8], [1, 0]] {
            let bytes = ipv6(44, &[17, 0, flags[0], flags[1], 0, 0, 0, 1], b"coap");
            assert_eq!(parse(101, &bytes), Err(Skipped::Fragment));
        }
    }

    /// IPv4 options move UDP; Ethernet's trailing padding is none of it.
    #[test]
    fn lengths_are_those_of_the_headers() {
        let mut bytes = ipv4(b"coap");
        bytes[0] = 0x46;
        bytes.splice(20..20, [1, 1, 1, 1]);
        bytes.extend([0; 12]);
        assert_eq!(parse(101, &bytes).unwrap().payload, b"coap");
        bytes[0] = 0x44;
        assert_eq!(parse(101, &bytes), Err(Skipped::Cut), "a header of 16 bytes");
    }

    #[test]
    fn every_cut_is_noticed() {
        for whole in [ipv4(b"coap"), ipv6(0, &[17, 0, 0, 0, 0, 0, 0, 0], b"coap")] {
            for len in 0..whole.len() {
                assert_eq!(parse(101, &whole[..len]), Err(Skipped::Cut), "{len} bytes");
            }
            assert!(parse(101, &whole).is_ok());
        }
    }
}
