//! What does the control plane of a story do? It knows every device, and does what it is told.

use std::collections::HashMap;

use tidegate_ring::contract as wire;
use tidegate_ring::policy;
use tidegate_ring::trust::{self, Item};
use zerocopy::IntoBytes;

use super::{KEY, SessionNotice, Story, device_id};

impl Story {
    /// The control plane puts an entry on the downlink ring of every worker.
    pub fn tells(&mut self, kind: wire::Kind, entry: &[u8], tail: &[u8]) {
        for index in 0..self.seats.len() {
            self.tells_at(index, kind, entry, tail);
        }
    }

    /// Of one worker.
    pub fn tells_at(&mut self, index: usize, kind: wire::Kind, entry: &[u8], tail: &[u8]) {
        let now = self.now;
        let bytes = [entry, tail].concat();
        self.turn(index, |worker, outbox| worker.on_entry(now, kind as u8, &bytes, outbox));
        self.exchange();
    }

    /// The control plane sends a trust sheet, in pieces as small as may be.
    pub fn trusts(&mut self, items: &[Item<'_>]) {
        let mut sheet = Vec::new();
        assert!(items.iter().all(|item| trust::write(&mut sheet, item)), "it fits a sheet");
        self.generation += 1;
        let (generation, total) = (self.generation.into(), (sheet.len() as u32).into());
        if sheet.is_empty() {
            let piece = wire::Trust { generation, offset: 0.into(), total };
            return self.tells(wire::Kind::Trust, piece.as_bytes(), &[]);
        }
        for (number, bytes) in sheet.chunks(PIECE_BYTES).enumerate() {
            let offset = ((number * PIECE_BYTES) as u32).into();
            let piece = wire::Trust { generation, offset, total };
            self.tells(wire::Kind::Trust, piece.as_bytes(), bytes);
        }
    }

    /// The control plane sends a policy sheet, in pieces as small.
    pub fn permits(&mut self, items: &[policy::Item<'_>]) {
        let mut sheet = Vec::new();
        assert!(items.iter().all(|item| policy::write(&mut sheet, item)), "it fits a sheet");
        self.generation += 1;
        let (generation, total) = (self.generation.into(), (sheet.len() as u32).into());
        for (number, bytes) in sheet.chunks(PIECE_BYTES).enumerate() {
            let offset = ((number * PIECE_BYTES) as u32).into();
            let piece = wire::Policies { generation, offset, total };
            self.tells(wire::Kind::Policies, piece.as_bytes(), bytes);
        }
    }

    /// The control plane says what became of an uplink.
    pub fn published(&mut self, uplink: &wire::Uplink, publication: wire::Publication) {
        let entry = wire::Published::new(uplink.exchange, 7, publication);
        self.tells(wire::Kind::Published, entry.as_bytes(), &[]);
    }

    /// The last session the worker told of.
    pub fn last_session(&self) -> wire::SessionUp {
        let up = self.sessions.iter().rev().find_map(|notice| match notice {
            SessionNotice::Up(up) => Some(*up),
            SessionNotice::Down(_) => None,
        });
        up.expect("a session came up")
    }

    /// Reads the uplink ring like a control plane that knows every device.
    pub(super) fn control(&mut self, index: usize) {
        let mut answers: Vec<(wire::Kind, Vec<u8>)> = Vec::new();
        while let Some(entry) = self.seats[index].up.next().expect("our own ring") {
            let (seq, bytes) = (entry.seq, entry.bytes.to_vec());
            let kind = wire::Kind::from_wire(entry.kind).expect("a kind of ours");
            self.seats[index].up.release(seq);
            match kind {
                wire::Kind::CredentialWanted => {
                    let (wanted, name) = wire::CredentialWanted::split(&bytes).expect("whole");
                    self.wanted += 1;
                    if self.knows_devices {
                        let number = known(&self.keys, wanted.claim, name);
                        let entry = credential(*wanted, number, self.class);
                        answers.push((wire::Kind::Credential, entry));
                    }
                }
                wire::Kind::Uplink => {
                    let (uplink, request) = wire::Uplink::split(&bytes).expect("whole");
                    self.uplinks.push((*uplink, request.to_vec()));
                    let body = std::mem::take(&mut self.pieces);
                    assert_eq!(body.len(), uplink.body_bytes.get() as usize, "pieces and uplink");
                    self.bodies.push(body);
                    if let Some(publication) = self.publishes {
                        let entry = wire::Published::new(uplink.exchange, 7, publication);
                        answers.push((wire::Kind::Published, entry.as_bytes().to_vec()));
                    }
                }
                wire::Kind::Wanted => {
                    let (wanted, _) = wire::Wanted::split(&bytes).expect("whole");
                    self.wanted_pieces.push(*wanted);
                    if self.gives_pieces {
                        answers.push((wire::Kind::Piece, piece(&self.long, wanted)));
                    }
                }
                wire::Kind::Body => {
                    let (piece, bytes) = wire::Body::split(&bytes).expect("whole");
                    assert_eq!(piece.offset.get() as usize, self.pieces.len(), "in order");
                    self.pieces.extend(bytes);
                }
                wire::Kind::Outcome => {
                    let (outcome, response) = wire::Outcome::split(&bytes).expect("whole");
                    self.outcomes.push((*outcome, response.to_vec()));
                    let body = std::mem::take(&mut self.pieces);
                    assert_eq!(body.len(), outcome.body_bytes.get() as usize, "pieces, outcome");
                    self.response_bodies.push(body);
                }
                wire::Kind::Notification => {
                    let (told, message) = wire::Notification::split(&bytes).expect("whole");
                    let body = std::mem::take(&mut self.pieces);
                    assert_eq!(body.len(), told.body_bytes.get() as usize, "pieces, notification");
                    self.notifications.push((*told, message.to_vec(), body));
                }
                kind => self.hears_of_sessions(kind, &bytes),
            }
        }
        for (kind, entry) in answers {
            let now = self.now;
            self.turn(index, |worker, outbox| worker.on_entry(now, kind as u8, &entry, outbox));
        }
    }

    /// What needs no answer.
    fn hears_of_sessions(&mut self, kind: wire::Kind, bytes: &[u8]) {
        match kind {
            wire::Kind::SessionUp => {
                let (up, name) = wire::SessionUp::split(bytes).expect("whole");
                self.names.push(name.to_vec());
                self.sessions.push(SessionNotice::Up(*up));
            }
            wire::Kind::ConnectFailed => {
                let (failed, _) = wire::ConnectFailed::split(bytes).expect("whole");
                self.unconnected.push(*failed);
            }
            wire::Kind::SessionDown => {
                let (down, _) = wire::SessionDown::split(bytes).expect("whole");
                self.sessions.push(SessionNotice::Down(*down));
            }
            wire::Kind::Notice => {
                let (notice, tail) = wire::Notice::split(bytes).expect("whole");
                self.notices.push((*notice, tail.to_vec()));
            }
            _ => {}
        }
    }
}

/// The device with this name. A raw public key is one of `keys`; a certificate has the device's
/// identity as its common name, which stands first behind the hash.
fn known(keys: &[Vec<u8>], claim: u8, name: &[u8]) -> Option<usize> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    match wire::Claim::from_wire(claim)? {
        wire::Claim::PskIdentity => number(name),
        wire::Claim::RawPublicKey => keys.iter().position(|key| key == name),
        wire::Claim::Certificate => {
            let (length, names) = name.get(32..)?.split_first_chunk::<2>()?;
            let first = names.get(..usize::from(u16::from_le_bytes(*length)))?;
            number(first.strip_prefix(b"CN=")?)
        }
        wire::Claim::Address => None,
    }
}

fn piece(long: &HashMap<wire::MessageId, Vec<u8>>, wanted: &wire::Wanted) -> Vec<u8> {
    let body = long.get(&wanted.message_id).map_or(&[][..], Vec::as_slice);
    let rest = body.get(wanted.offset.get() as usize..).unwrap_or_default();
    let head = wire::Piece { body: wanted.body, offset: wanted.offset };
    [head.as_bytes(), &rest[..rest.len().min(wire::TAIL_BYTES_MAX)]].concat()
}

fn credential(wanted: wire::CredentialWanted, number: Option<usize>, class: u16) -> Vec<u8> {
    let entry = wire::Credential {
        request: wanted.request,
        device: number.map_or([0; 16], device_id),
        stamp: 1.into(),
        class: class.into(),
        verdict: if number.is_some() { wire::Verdict::Known } else { wire::Verdict::Unknown } as u8,
        network: wire::Network::Cellular as u8,
    };
    let is_psk = wanted.claim == wire::Claim::PskIdentity as u8;
    let key = if is_psk && number.is_some() { KEY } else { b"" };
    [entry.as_bytes(), key].concat()
}

/// Bytes of a piece of a trust sheet. *Why so few:* a sheet of one device already has several.
const PIECE_BYTES: usize = 16;
