//! Which association does each record belong to? Addresses first, Connection IDs where the address
//! is not known.

use std::collections::HashMap;
use std::net::SocketAddr;

use tidegate_crypto::secret::Secret;
use tidegate_dtls::Drop;
use tidegate_dtls::handshake::{Fragment, MessageType};
use tidegate_dtls::hello::{ClientHelloHead, RANDOM_BYTES};
use tidegate_dtls::record::{ContentType, Record};

use super::association::Association;
use super::capture::Capture;
use super::frame::Datagram;
use super::{Decoded, Direction, Event, What};

/// Goes through `capture` from its start to its end.
pub(super) fn follow(capture: &Capture<'_>, psks: &[Secret]) -> Decoded {
    let mut decoded = Decoded::default();
    decoded.counts.packets = capture.packets.len();
    decoded.counts.is_cut = capture.cut;
    decoded.start_ns = capture.packets.iter().map(|packet| packet.time_ns).min().unwrap_or(0);
    let mut follower = Follower { decoded, psks, paths: HashMap::new() };
    for packet in &capture.packets {
        match Datagram::parse(packet) {
            Err(skipped) => {
                *follower.decoded.counts.skipped.entry(skipped).or_default() += 1;
            }
            Ok(datagram) if !starts_with_record(datagram.payload) => {
                follower.decoded.counts.not_dtls += 1;
            }
            Ok(datagram) => {
                follower.decoded.counts.datagrams += 1;
                follower.on_datagram(packet.time_ns, &datagram);
            }
        }
    }
    follower.decoded
}

/// A content type and a version of DTLS.
fn starts_with_record(payload: &[u8]) -> bool {
    matches!(payload, [20..=27, 0xfe, 0xfd | 0xff, ..])
}

struct Follower<'p> {
    decoded: Decoded,
    psks: &'p [Secret],
    /// Client and server address to associations, oldest first.
    paths: HashMap<(SocketAddr, SocketAddr), Vec<usize>>,
}

/// One record, and where it was found.
struct Found<'a> {
    time_ns: u64,
    datagram: Datagram<'a>,
    record: Record,
}

impl Follower<'_> {
    fn on_datagram(&mut self, time_ns: u64, datagram: &Datagram<'_>) {
        let mut at = 0;
        while at < datagram.payload.len() {
            let has_cid = datagram.payload[at] == ContentType::TLS12_CID.0;
            let candidates = if has_cid {
                self.by_cid(datagram, at)
            } else {
                self.by_path(datagram).into_iter().map(|owner| (owner, 0)).collect()
            };
            if has_cid && candidates.is_empty() {
                // Nobody says how long its CID is: the rest of the datagram is lost with it.
                self.decoded.counts.unattributed += 1;
                return;
            }
            let cid_len = candidates.first().map_or(0, |(_, cid_len)| *cid_len);
            let Ok(record) = Record::parse(datagram.payload, at, cid_len) else {
                self.decoded.counts.truncated += 1;
                return;
            };
            let found = Found { time_ns, datagram: *datagram, record };
            at = match record.epoch {
                0 => self.on_plaintext(&found),
                _ => self.on_protected(&found, &candidates),
            };
        }
    }

    /// Who may have sent a record between these addresses, the newest association first.
    fn by_path(&self, datagram: &Datagram<'_>) -> Vec<(usize, Direction)> {
        let Datagram { source, destination, .. } = *datagram;
        let ways = [
            (Direction::ToServer, (source, destination)),
            (Direction::ToClient, (destination, source)),
        ];
        let mut owners: Vec<_> = ways
            .into_iter()
            .flat_map(|(direction, path)| {
                let on_path = self.paths.get(&path).into_iter().flatten();
                on_path.map(move |index| (*index, direction))
            })
            .collect();
        owners.sort_unstable_by_key(|(index, _)| std::cmp::Reverse(*index));
        owners
    }

    /// Associations whose Connection ID stands in the record at `at`, with the CID's length; those
    /// with the same addresses first, then those whose client may have moved.
    fn by_cid(&self, datagram: &Datagram<'_>, at: usize) -> Vec<((usize, Direction), usize)> {
        let after_number = datagram.payload.get(at + 11..).unwrap_or_default();
        let on_path = self.by_path(datagram);
        let anywhere = (0..self.decoded.associations.len()).rev().flat_map(|index| {
            let server = self.decoded.associations[index].server;
            let ways = [
                (Direction::ToServer, datagram.destination),
                (Direction::ToClient, datagram.source),
            ];
            ways.into_iter().filter(move |way| way.1 == server).map(move |way| (index, way.0))
        });
        let anywhere = anywhere.filter(|owner| !on_path.contains(owner));
        (on_path.iter().copied().chain(anywhere))
            .filter_map(|(index, direction)| {
                let cid = self.decoded.associations[index].cid(direction);
                let is_there = !cid.is_empty() && after_number.starts_with(cid);
                is_there.then_some(((index, direction), cid.len()))
            })
            .collect()
    }

    /// Returns where the next record starts.
    fn on_plaintext(&mut self, found: &Found<'_>) -> usize {
        let Found { datagram, record, .. } = found;
        let content = &datagram.payload[record.fragment()];
        let owner = match hello_of(record, content) {
            Some((client_random, message_seq)) => {
                Some(self.hello_owner(datagram, &client_random, message_seq))
            }
            None => self.by_path(datagram).first().copied(),
        };
        let Some((index, direction)) = owner else {
            self.decoded.counts.unattributed += 1;
            return record.end();
        };
        let mut said = Vec::new();
        let association = &mut self.decoded.associations[index];
        let content_type = record.content_type;
        association.on_plaintext(direction, content_type, content, self.psks, &mut said);
        self.note(found, index, direction, said);
        record.end()
    }

    /// The association that a ClientHello belongs to; a new one for a random not seen here before.
    fn hello_owner(
        &mut self,
        datagram: &Datagram<'_>,
        client_random: &[u8; RANDOM_BYTES],
        message_seq: u16,
    ) -> (usize, Direction) {
        let (client, server) = (datagram.source, datagram.destination);
        let associations = &mut self.decoded.associations;
        let on_path = self.paths.entry((client, server)).or_default();
        let known = on_path.iter().copied().find(|i| associations[*i].is_of(client_random));
        let index = known.unwrap_or_else(|| {
            on_path.push(associations.len());
            associations.push(Association::new(client, server, *client_random, message_seq));
            associations.len() - 1
        });
        (index, Direction::ToServer)
    }

    /// Returns where the next record starts.
    fn on_protected(
        &mut self,
        found: &Found<'_>,
        candidates: &[((usize, Direction), usize)],
    ) -> usize {
        let mut refusal = None;
        for &((index, direction), cid_len) in candidates {
            let payload = found.datagram.payload;
            let Ok(record) = Record::parse(payload, found.record.start(), cid_len) else {
                continue;
            };
            let mut said = Vec::new();
            let association = &mut self.decoded.associations[index];
            match association.on_protected(direction, &record, payload, &mut said) {
                Ok(()) => {
                    self.note(found, index, direction, said);
                    self.learn_path(&found.datagram, index, direction);
                    return record.end();
                }
                // The newest that could have opened it is the one that says why not.
                Err(drop) if association.has_keys() => {
                    refusal.get_or_insert((index, direction, drop));
                }
                Err(_) => {}
            }
        }
        let first = candidates.first().map(|((index, direction), _)| (*index, *direction));
        let no_keys = first.map(|(index, direction)| (index, direction, Drop::Epoch));
        match refusal.or(no_keys) {
            None => self.decoded.counts.unattributed += 1,
            Some((index, _, Drop::Replayed | Drop::TooOld)) => {
                self.decoded.associations[index].records.repeated += 1;
            }
            Some((index, direction, drop)) => {
                let records = &mut self.decoded.associations[index].records;
                records.refused += 1;
                // Without keys that fit every record would be refused for the same reason.
                if records.application + records.other > 0 {
                    self.note(found, index, direction, vec![What::Refused(drop)]);
                }
            }
        }
        found.record.end()
    }

    /// The client may have moved: records without a Connection ID go to the new address too.
    fn learn_path(&mut self, datagram: &Datagram<'_>, index: usize, direction: Direction) {
        let path = match direction {
            Direction::ToServer => (datagram.source, datagram.destination),
            Direction::ToClient => (datagram.destination, datagram.source),
        };
        let on_path = self.paths.entry(path).or_default();
        if !on_path.contains(&index) {
            on_path.push(index);
        }
    }

    fn note(&mut self, found: &Found<'_>, index: usize, direction: Direction, said: Vec<What>) {
        let (time_ns, association) = (found.time_ns, index);
        let events = said.into_iter().map(|what| Event { time_ns, association, direction, what });
        self.decoded.events.extend(events);
    }
}

/// The random and the number of a ClientHello that starts in this record.
fn hello_of(record: &Record, content: &[u8]) -> Option<([u8; RANDOM_BYTES], u16)> {
    if record.content_type != ContentType::HANDSHAKE {
        return None;
    }
    let (fragment, _) = Fragment::parse(content).ok()?;
    let is_start = fragment.msg_type == MessageType::CLIENT_HELLO && fragment.offset == 0;
    let head = ClientHelloHead::parse(fragment.body).filter(|_| is_start)?;
    Some((*head.random, fragment.message_seq))
}
