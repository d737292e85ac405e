//! Which packets are in a capture file? Reads pcap and pcapng.
//!
//! Every length is checked against what the file has: a file that ends in the middle of a packet
//! gives the packets before it, and says that it was cut.

/// The packets of a file, in its order.
#[derive(Debug)]
pub struct Capture<'a> {
    /// What could be read.
    pub packets: Vec<Packet<'a>>,
    /// The file ends, or stops making sense, in the middle of something.
    pub cut: bool,
}

/// One captured packet, as a view of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Nanoseconds since 1970-01-01T00:00Z, as the capturing machine counted them.
    pub time_ns: u64,
    /// What `bytes` starts with.
    pub link: LinkType,
    /// What was captured, from the link layer's header on.
    pub bytes: &'a [u8],
}

/// A `LINKTYPE_` number of the tcpdump registry; any may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

/// Why a file is no capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureError {
    /// Neither pcap's nor pcapng's magic number stands at its start.
    Unknown,
    /// It ends inside its first header.
    Empty,
}

impl<'a> Capture<'a> {
    /// Reads `file`.
    pub fn parse(file: &'a [u8]) -> Result<Self, CaptureError> {
        let magic = file.first_chunk::<4>().ok_or(CaptureError::Empty)?;
        match u32::from_le_bytes(*magic) {
            pcapng::SECTION_HEADER => pcapng::parse(file),
            0xa1b2_c3d4 => pcap::parse(file, Order::Little, 1000),
            0xa1b2_3c4d => pcap::parse(file, Order::Little, 1),
            0xd4c3_b2a1 => pcap::parse(file, Order::Big, 1000),
            0x4d3c_b2a1 => pcap::parse(file, Order::Big, 1),
            _ => Err(CaptureError::Unknown),
        }
    }
}

impl std::fmt::Display for CaptureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "neither pcap nor pcapng",
            Self::Empty => "ends inside its first header",
        })
    }
}

impl std::error::Error for CaptureError {}

/// The byte order the capturing machine wrote in.
#[derive(Clone, Copy, Debug)]
enum Order {
    Little,
    Big,
}

/// Reads numbers from the front of a slice; `None` as soon as something is missing.
#[derive(Clone, Copy)]
struct Reader<'a> {
    rest: &'a [u8],
    order: Order,
}

impl<'a> Reader<'a> {
    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(match self.order {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(match self.order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }
}

/// The older format: one header, then packets (draft-ietf-opsawg-pcap).
mod pcap {
    use super::{Capture, CaptureError, LinkType, Order, Packet, Reader};

    pub(super) fn parse(
        file: &[u8],
        order: Order,
        tick_ns: u64,
    ) -> Result<Capture<'_>, CaptureError> {
        let mut reader = Reader { rest: file, order };
        reader.take(LINK_TYPE_AT).ok_or(CaptureError::Empty)?;
        // The upper half says how long a frame's checksum is, which nothing here looks at.
        let link = LinkType(reader.u32().ok_or(CaptureError::Empty)? as u16);
        let mut packets = Vec::new();
        while !reader.rest.is_empty() {
            match packet(&mut reader, link, tick_ns) {
                Some(packet) => packets.push(packet),
                None => return Ok(Capture { packets, cut: true }),
            }
        }
        Ok(Capture { packets, cut: false })
    }

    fn packet<'a>(reader: &mut Reader<'a>, link: LinkType, tick_ns: u64) -> Option<Packet<'a>> {
        let (seconds, ticks) = (u64::from(reader.u32()?), u64::from(reader.u32()?));
        let (captured, _original) = (reader.u32()?, reader.u32()?);
        let bytes = reader.take(captured as usize)?;
        Some(Packet { time_ns: seconds * 1_000_000_000 + ticks * tick_ns, link, bytes })
    }

    /// Magic, two version numbers, zone, accuracy and snap length stand before the link type.
    const LINK_TYPE_AT: usize = 20;
}

/// The newer format: blocks in sections, interfaces of their own (draft-ietf-opsawg-pcapng).
mod pcapng {
    use super::{Capture, CaptureError, LinkType, Order, Packet, Reader};

    /// Reads the same in both byte orders.
    pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    const INTERFACE: u32 = 1;
    const OBSOLETE_PACKET: u32 = 2;
    const SIMPLE_PACKET: u32 = 3;
    const ENHANCED_PACKET: u32 = 6;
    const IF_TSRESOL: u16 = 9;
    const IF_TSOFFSET: u16 = 14;

    pub(super) fn parse(file: &[u8]) -> Result<Capture<'_>, CaptureError> {
        let mut section = Section { interfaces: Vec::new() };
        let mut reader = Reader { rest: file, order: Order::Little };
        let mut capture = Capture { packets: Vec::new(), cut: false };
        if file.len() < 12 {
            return Err(CaptureError::Empty);
        }
        while !reader.rest.is_empty() {
            let Some((kind, body)) = block(&mut reader) else {
                capture.cut = true;
                return Ok(capture);
            };
            match kind {
                SECTION_HEADER => section.interfaces.clear(),
                INTERFACE => match Interface::parse(body) {
                    Some(interface) => section.interfaces.push(interface),
                    None => capture.cut = true,
                },
                OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                    match section.packet(kind, body) {
                        Some(packet) => capture.packets.push(packet),
                        None => capture.cut = true,
                    }
                }
                _ => {}
            }
        }
        Ok(capture)
    }

    /// Takes the next block; a section header sets the byte order first.
    fn block<'a>(reader: &mut Reader<'a>) -> Option<(u32, Reader<'a>)> {
        if reader.rest.starts_with(&SECTION_HEADER.to_le_bytes()) {
            reader.order = match *reader.rest.get(8..12)? {
                [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
                _ => return None,
            };
        }
        let (kind, length) = (reader.u32()?, reader.u32()? as usize);
        let body = reader.take(length.checked_sub(12)?)?;
        reader.take(length.next_multiple_of(4) - length)?;
        (reader.u32()? as usize == length).then_some(())?;
        Some((kind, Reader { rest: body, order: reader.order }))
    }

    struct Section {
        interfaces: Vec<Interface>,
    }

    impl Section {
        fn packet<'a>(&self, kind: u32, mut body: Reader<'a>) -> Option<Packet<'a>> {
            let interface = match kind {
                SIMPLE_PACKET => 0,
                ENHANCED_PACKET => body.u32()?,
                _ => (body.u16()?, body.u16()?).0.into(),
            };
            let interface = self.interfaces.get(interface as usize)?;
            if kind == SIMPLE_PACKET {
                let length = body.u32()?.min(interface.snap_bytes);
                let bytes = body.take(length as usize)?;
                return Some(Packet { time_ns: 0, link: interface.link, bytes });
            }
            let ticks = u64::from(body.u32()?) << 32 | u64::from(body.u32()?);
            let (captured, _original) = (body.u32()?, body.u32()?);
            let bytes = body.take(captured as usize)?;
            Some(Packet { time_ns: interface.time_ns(ticks), link: interface.link, bytes })
        }
    }

    struct Interface {
        link: LinkType,
        /// Most bytes kept of a packet.
        snap_bytes: u32,
        /// `if_tsresol`: 10^-n seconds, or 2^-n with the highest bit set.
        resolution: u8,
        /// `if_tsoffset`: seconds to add.
        offset_s: i64,
    }

    impl Interface {
        fn parse(mut body: Reader<'_>) -> Option<Self> {
            let (link, _reserved) = (LinkType(body.u16()?), body.u16()?);
            let snap_bytes = match body.u32()? {
                0 => u32::MAX,
                snap_bytes => snap_bytes,
            };
            let mut interface = Self { link, snap_bytes, resolution: 6, offset_s: 0 };
            while !body.rest.is_empty() {
                let (code, length) = (body.u16()?, usize::from(body.u16()?));
                let value = body.take(length)?;
                body.take(length.next_multiple_of(4) - length)?;
                match code {
                    0 => break,
                    IF_TSRESOL => interface.resolution = *value.first()?,
                    IF_TSOFFSET => {
                        let value = value.try_into().ok()?;
                        interface.offset_s = match body.order {
                            Order::Little => i64::from_le_bytes(value),
                            Order::Big => i64::from_be_bytes(value),
                        };
                    }
                    _ => {}
                }
            }
            Some(interface)
        }

        /// Saturates where a file claims times that no clock shows.
        fn time_ns(&self, ticks: u64) -> u64 {
            let scaled = i128::from(ticks) * 1_000_000_000;
            let ns = match self.resolution {
                binary @ 0x80.. => scaled >> (binary & 0x7f),
                decimal => 10i128.checked_pow(decimal.into()).map_or(0, |per_s| scaled / per_s),
            };
            let ns = ns + i128::from(self.offset_s) * 1_000_000_000;
            u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Numbers in either byte order.
    struct File {
        bytes: Vec<u8>,
        order: Order,
    }

    impl File {
        fn u16(mut self, number: u16) -> Self {
            self.bytes.extend(match self.order {
                Order::Little => number.to_le_bytes(),
                Order::Big => number.to_be_bytes(),
            });
            self
        }
        fn u32(mut self, number: u32) -> Self {
            self.bytes.extend(match self.order {
                Order::Little => number.to_le_bytes(),
                Order::Big => number.to_be_bytes(),
            });
            self
        }
        fn bytes(mut self, bytes: &[u8]) -> Self {
            self.bytes.extend(bytes);
            self
        }
        fn padding(mut self) -> Self {
            self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
            self
        }
        /// A block of pcapng around what `body` appends.
        fn block(self, kind: u32, body: impl FnOnce(Self) -> Self) -> Self {
            let empty = Self { bytes: Vec::new(), order: self.order };
            let body = body(empty).padding().bytes;
            let length = body.len() as u32 + 12;
            self.u32(kind).u32(length).bytes(&body).u32(length)
        }
    }

    fn pcap(order: Order, magic: u32) -> Vec<u8> {
        let file = File { bytes: Vec::new(), order };
        let file = file.u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65_535).u32(0x1000_0071);
        file.u32(10).u32(5).u32(3).u32(300).bytes(b"abc").u32(11).u32(0).u32(0).u32(0).bytes
    }

    #[test]
    fn pcap_in_both_orders_and_resolutions() {
        for order in [Order::Little, Order::Big] {
            for (magic, ns) in [(0xa1b2_c3d4, 5000), (0xa1b2_3c4d, 5)] {
                let file = pcap(order, magic);
                let capture = Capture::parse(&file).unwrap();
                assert!(!capture.cut);
                let link = LinkType(113);
                let time_ns = 10_000_000_000 + ns;
                let first = Packet { time_ns, link, bytes: b"abc" };
                let second = Packet { time_ns: 11_000_000_000, link, bytes: b"" };
                assert_eq!(capture.packets, [first, second]);
            }
        }
    }

    #[test]
    fn a_cut_pcap_gives_the_packets_before_the_cut() {
        let file = pcap(Order::Little, 0xa1b2_c3d4);
        let first_end = 24 + 16 + 3;
        for len in 24..file.len() {
            let capture = Capture::parse(&file[..len]).unwrap();
            assert_eq!(capture.packets.len(), usize::from(len >= first_end), "{len} bytes");
            assert_eq!(capture.cut, len != 24 && len != first_end, "{len} bytes");
        }
        for len in 0..24 {
            assert_eq!(Capture::parse(&file[..len]).unwrap_err(), CaptureError::Empty);
        }
    }

    fn section(order: Order) -> File {
        let file = File { bytes: Vec::new(), order };
        file.block(pcapng::SECTION_HEADER, |b| {
            b.u32(0x1a2b_3c4d).u16(1).u16(0).u32(u32::MAX).u32(u32::MAX)
        })
    }

    /// An interface of link type `link` whose options `options` appends.
    fn interface(file: File, link: u16, options: impl FnOnce(File) -> File) -> File {
        file.block(1, |b| options(b.u16(link).u16(0).u32(4)))
    }

    fn enhanced(file: File, interface: u32, ticks: u64, bytes: &[u8]) -> File {
        file.block(6, |b| {
            let b = b.u32(interface).u32((ticks >> 32) as u32).u32(ticks as u32);
            b.u32(bytes.len() as u32).u32(300).bytes(bytes)
        })
    }

    fn times(file: File) -> Vec<u64> {
        let capture = Capture::parse(&file.bytes).unwrap();
        assert!(!capture.cut);
        capture.packets.iter().map(|packet| packet.time_ns).collect()
    }

    #[test]
    fn pcapng_with_several_interfaces_and_kinds_of_packets() {
        for order in [Order::Little, Order::Big] {
            let file = interface(section(order), 113, |b| b);
            let file = interface(file, 1, |b| b.u16(9).u16(1).bytes(&[9, 0, 0, 0]).u32(0));
            let file = enhanced(file, 1, 7, b"abcde");
            let file = file.block(0x0bad, |b| b.bytes(b"of no interest"));
            let file =
                file.block(2, |b| b.u16(0).u16(0xffff).u32(0).u32(8).u32(2).u32(2).bytes(b"xy"));
            let file = file.block(3, |b| b.u32(300).bytes(b"snap"));
            let capture = Capture::parse(&file.bytes).unwrap();
            let (cooked, ethernet) = (LinkType(113), LinkType(1));
            let expected = [
                Packet { time_ns: 7, link: ethernet, bytes: b"abcde" },
                Packet { time_ns: 8000, link: cooked, bytes: b"xy" },
                Packet { time_ns: 0, link: cooked, bytes: b"snap" },
            ];
            assert_eq!(capture.packets, expected);
            assert!(!capture.cut);
        }
    }

    #[test]
    fn times_follow_resolution_and_offset() {
        let with = |options: fn(File) -> File, ticks| {
            times(enhanced(interface(section(Order::Little), 1, options), 0, ticks, b""))[0]
        };
        assert_eq!(with(|b| b, 3), 3000, "microseconds unless told otherwise");
        assert_eq!(with(|b| b.u16(9).u16(1).bytes(&[0, 0, 0, 0]), 3), 3_000_000_000);
        assert_eq!(with(|b| b.u16(9).u16(1).bytes(&[0x81, 0, 0, 0]), 3), 1_500_000_000);
        assert_eq!(with(|b| b.u16(9).u16(1).bytes(&[12, 0, 0, 0]), 3_999), 3);
        assert_eq!(with(|b| b.u16(9).u16(1).bytes(&[127, 0, 0, 0]), u64::MAX), 0);
        assert_eq!(with(|b| b.u16(9).u16(1).bytes(&[0xff, 0, 0, 0]), u64::MAX), 0);
        assert_eq!(with(|b| b.u16(9).u16(1).bytes(&[0, 0, 0, 0]), u64::MAX), u64::MAX);
        let offset = |b: File| b.u16(14).u16(8).bytes(&2i64.to_le_bytes()).u32(0);
        assert_eq!(with(offset, 1), 2_000_001_000);
        let offset = |b: File| b.u16(14).u16(8).bytes(&(-2i64).to_le_bytes()).u32(0);
        assert_eq!(with(offset, 1), 0, "before 1970");
        assert_eq!(with(offset, 3_000_000), 1_000_000_000);
    }

    /// A new section forgets the interfaces of the one before, and may have another byte order.
    #[test]
    fn sections_stand_alone() {
        let mut file = enhanced(interface(section(Order::Little), 1, |b| b), 0, 1, b"a");
        file.bytes.extend(enhanced(interface(section(Order::Big), 1, |b| b), 0, 2, b"b").bytes);
        assert_eq!(times(file), [1000, 2000]);
        let mut file = interface(section(Order::Little), 1, |b| b);
        file.bytes.extend(enhanced(section(Order::Little), 0, 1, b"a").bytes);
        let capture = Capture::parse(&file.bytes).unwrap();
        assert!(capture.packets.is_empty() && capture.cut);
    }

    #[test]
    fn a_block_whose_lengths_disagree_ends_the_file() {
        let file = enhanced(interface(section(Order::Little), 1, |b| b), 0, 1, b"abcd");
        let file = enhanced(file, 0, 2, b"abcd").bytes;
        for (place, byte) in [(file.len() - 4, 0x28), (file.len() - 4 - 28, 0x2c)] {
            let mut file = file.clone();
            file[place] = byte;
            let capture = Capture::parse(&file).unwrap();
            assert_eq!((capture.packets.len(), capture.cut), (1, true), "byte {place}");
        }
    }

    #[test]
    fn something_else_is_refused() {
        assert_eq!(Capture::parse(b"GET / HTTP/1.1").unwrap_err(), CaptureError::Unknown);
        assert_eq!(Capture::parse(b"").unwrap_err(), CaptureError::Empty);
        assert_eq!(Capture::parse(&[0x0a, 0x0d, 0x0d, 0x0a]).unwrap_err(), CaptureError::Empty);
    }
}
