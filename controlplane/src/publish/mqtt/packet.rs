//! How do MQTT 3.1.1's packets look, as far as a publisher meets them? Sections of the OASIS
//! standard stand beside each.

use std::io;

use bytes::{Buf as _, BufMut, BytesMut};

/// What a broker says to one who only publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Section 3.2; zero: it accepts.
    ConnAck(u8),
    /// Section 3.4: the publish with this packet identifier is taken over.
    PubAck(u16),
    /// Anything else, a PINGRESP mostly.
    Other,
}

/// Section 3.12.
pub(super) const PINGREQ: [u8; 2] = [0xc0, 0];
/// Section 3.14.
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0];
/// Longest CONNECT: three strings of two bytes' length, and what stands around them.
pub(super) const CONNECT_BYTES_MAX: usize = 3 * (2 + 65_535) + 16;
/// Longest packet from the broker, bytes. *Why:* it has nothing longer to say to us than a few.
const INCOMING_MAX: usize = 8 << 10;

impl Packet {
    /// Takes the next whole packet; `None`: more bytes are needed.
    pub fn take(bytes: &mut BytesMut) -> io::Result<Option<Self>> {
        let Some((length, header)) = remaining_length(bytes.get(1..).unwrap_or_default())? else {
            return Ok(None);
        };
        let whole = 1 + header + length;
        if whole > INCOMING_MAX {
            return Err(malformed());
        }
        let Some(packet) = bytes.get(..whole) else { return Ok(None) };
        let (kind, body) = (packet[0], &packet[1 + header..]);
        let packet = match (kind, body) {
            (0x20, [_, code]) => Self::ConnAck(*code),
            (0x40, [high, low]) => Self::PubAck(u16::from_be_bytes([*high, *low])),
            (0x20 | 0x40, _) => return Err(malformed()),
            _ => Self::Other,
        };
        bytes.advance(whole);
        Ok(Some(packet))
    }
}

/// Section 2.2.3: the length and how many bytes it takes.
fn remaining_length(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((length, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(malformed()) } else { Ok(None) }
}

fn malformed() -> io::Error {
    io::Error::other("it sent a malformed packet")
}

/// Section 3.1: a clean session, no will.
pub(super) fn write_connect(
    out: &mut Vec<u8>,
    client_id: &str,
    keep_alive_s: u16,
    credentials: Option<(&str, &str)>,
) {
    const CLEAN_SESSION: u8 = 0x02;
    const USER_NAME_AND_PASSWORD: u8 = 0xc0;
    let (name, password) = credentials.unwrap_or_default();
    let with_credentials = if credentials.is_some() { 4 + name.len() + password.len() } else { 0 };
    out.push(0x10);
    write_length(out, 10 + 2 + client_id.len() + with_credentials);
    write_string(out, "MQTT");
    let flags = if credentials.is_some() { USER_NAME_AND_PASSWORD } else { 0 };
    out.extend_from_slice(&[4, CLEAN_SESSION | flags]);
    out.extend_from_slice(&keep_alive_s.to_be_bytes());
    write_string(out, client_id);
    if credentials.is_some() {
        write_string(out, name);
        write_string(out, password);
    }
}

/// Section 3.3, QoS 1.
pub(super) fn write_publish(out: &mut BytesMut, packet: u16, topic: &str, payload: &[u8]) {
    out.reserve(5 + 2 + topic.len() + 2 + payload.len());
    out.extend_from_slice(&[0x32]);
    write_length(out, 2 + topic.len() + 2 + payload.len());
    write_string(out, topic);
    out.extend_from_slice(&packet.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Section 2.2.3.
fn write_length(out: &mut impl BufMut, mut length: usize) {
    assert!(length < 1 << 28, "Bound: a payload has some kilobytes");
    while length > 0x7f {
        out.put_u8((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}

/// Section 1.5.3.
fn write_string(out: &mut impl BufMut, text: &str) {
    out.put_u16(u16::try_from(text.len()).expect("Bound: topics and names have some kilobytes"));
    out.put_slice(text.as_bytes());
}

/// Section 3.2.2.3, of the return codes that refuse.
pub(super) fn why_refused(code: u8) -> &'static str {
    match code {
        1 => "refused: it does not speak MQTT 3.1.1",
        2 => "refused: the client id",
        3 => "refused: the server is unavailable",
        4 => "refused: a bad user name or password",
        5 => "refused: not authorised",
        _ => "refused",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn taken(bytes: &[u8]) -> (Vec<Packet>, bool) {
        let mut bytes = BytesMut::from(bytes);
        let mut packets = Vec::new();
        loop {
            match Packet::take(&mut bytes) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => return (packets, true),
                Err(_) => return (packets, false),
            }
        }
    }

    #[test]
    fn packets_come_in_any_pieces() {
        let said = [0x20, 2, 0, 0, 0x40, 2, 0x12, 0x34, 0xd0, 0, 0x40, 2, 0, 1];
        let (all, good) = taken(&said);
        let expected =
            [Packet::ConnAck(0), Packet::PubAck(0x1234), Packet::Other, Packet::PubAck(1)];
        assert!(good && all == expected, "{all:?}");
        for cut in 0..said.len() {
            let (packets, good) = taken(&said[..cut]);
            assert!(good && expected.starts_with(&packets), "{cut}: {packets:?}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        assert_eq!(taken(&[0x40, 3, 0, 0, 1]), (vec![], false), "a PUBACK has two bytes");
        assert_eq!(taken(&[0x20, 1, 0]), (vec![], false), "a CONNACK too");
        assert_eq!(taken(&[0x30, 0x80, 0x80, 0x80, 0x80]), (vec![], false), "a length has four");
        assert_eq!(taken(&[0x30, 0xfd, 0x3f]), (vec![], true), "8 KiB may be");
        assert_eq!(taken(&[0x30, 0xfe, 0x3f]), (vec![], false), "no more");
    }

    /// Section 3.1.2's example, and ours with credentials.
    #[test]
    fn a_connect_is_as_the_standard_has_it() {
        let mut out = Vec::new();
        write_connect(&mut out, "edge", 16, None);
        assert_eq!(out, *b"\x10\x10\0\x04MQTT\x04\x02\0\x10\0\x04edge");
        out.clear();
        write_connect(&mut out, "e", 16, Some(("u", "pw")));
        assert_eq!(out, *b"\x10\x14\0\x04MQTT\x04\xc2\0\x10\0\x01e\0\x01u\0\x02pw");
    }

    #[test]
    fn a_publish_says_its_length_in_one_to_three_bytes() {
        for (payload, length) in [(0, &[5][..]), (122, &[127]), (123, &[0x80, 1])] {
            let mut out = BytesMut::new();
            write_publish(&mut out, 7, "t", &vec![1; payload]);
            let head = [&[0x32], length, b"\0\x01t\0\x07"].concat();
            assert_eq!(out[..head.len()], head, "{payload}");
            assert_eq!(out.len(), head.len() + payload);
        }
        let mut out = BytesMut::new();
        write_publish(&mut out, 7, "t", &vec![1; 16_379]);
        assert_eq!(out[..4], [0x32, 0x80, 0x80, 1]);
    }
}
