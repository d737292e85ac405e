//! Do a broker's bytes mean the same in whatever pieces they come? Input: where to cut (2 bytes),
//! then the bytes.

use bytes::BytesMut;
use tidegate_controlplane::publish::mqtt::packet::Packet;

pub(crate) fn run(input: &[u8]) {
    let Some((cut, said)) = input.split_first_chunk() else { return };
    let (first, second) = said.split_at(usize::from(u16::from_le_bytes(*cut)).min(said.len()));
    let mut whole = BytesMut::from(said);
    let expected = taken(&mut whole);
    let mut pieces = BytesMut::from(first);
    let mut packets = taken(&mut pieces);
    if packets.last() != Some(&None) {
        pieces.extend_from_slice(second);
        packets.extend(taken(&mut pieces));
    }
    assert_eq!(packets, expected);
}

/// What is whole; `None` behind it: the rest is malformed.
fn taken(bytes: &mut BytesMut) -> Vec<Option<Packet>> {
    let mut packets = Vec::new();
    loop {
        match Packet::take(bytes) {
            Ok(Some(packet)) => packets.push(Some(packet)),
            Ok(None) => return packets,
            Err(_) => {
                packets.push(None);
                return packets;
            }
        }
    }
}
