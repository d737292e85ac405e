//! Where is the body of a message that goes to its device block by block? In the queue, with the
//! message, or where the message says ([`crate::payloads`]); what workers ask for lately is at
//! hand. What the edge has for a device ([`super::edge_resources`]) has such bodies, too.
//!
//! ```text
//! Wanted ─▶ at hand? ─ yes ─▶ Piece
//!                    ├ in the queue ─▶ read, kept at hand, Piece
//!                    └ elsewhere ─▶ Effect::Read … on_read ─▶ kept at hand, Piece
//! ```
//!
//! *Bound:* `KEPT_BYTES_MAX` at hand; what was asked for least lately gives way, and is read again.
//! Of a body that lies elsewhere no more is at hand than one read brings.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tidegate_ring::Seq;
use tidegate_ring::contract::{Kind, Piece, TAIL_BYTES_MAX, Wanted};
use zerocopy::IntoBytes;

use super::messages::OUTCOME_MAX_MS;
use super::{Core, Effect, LinkId, Now};
use crate::model::{
    DeviceId, Failure, MessageId, MessageState, PIECE_BYTES, PayloadReference, UploadId,
};
use crate::payloads::{Fault, READS_MAX};
use crate::store::queue::{self, Payload};
use crate::store::{Table, keys};

/// Bodies at hand, whole or a part of them.
#[derive(Default)]
pub(super) struct Long {
    /// Asked for least lately first.
    kept: VecDeque<Kept>,
    bytes: usize,
    /// Most that was ever at hand.
    bytes_high: usize,
    /// Who waits for a read, by message: one read of a message at a time.
    reading: HashMap<MessageId, Reading>,
}

struct Kept {
    id: MessageId,
    /// Where it begins in its body.
    at: usize,
    bytes: Bytes,
}

#[derive(Clone, Copy)]
struct Reading {
    link: LinkId,
    wanted: Wanted,
    /// A read that was not heard of by then is begun again.
    until_ms: u64,
}

/// Where a body is.
enum Source {
    /// These bytes of it, from there on.
    Here(usize, Bytes),
    Elsewhere(PayloadReference),
    Nowhere,
    /// It was uploaded, and is gone.
    Gone,
}

const KEPT_BYTES_MAX: usize = 16 << 20;
/// A read is over long before.
const READ_MAX_MS: u64 = 60_000;

impl Long {
    /// As much as fits a piece from there on, when that is at hand.
    fn piece(&mut self, id: MessageId, offset: usize) -> Option<Bytes> {
        let at = self.kept.iter().position(|kept| kept.id == id)?;
        let kept = self.kept.remove(at)?;
        let piece = kept.piece(offset);
        self.kept.push_back(kept);
        piece
    }

    /// Has a whole body at hand.
    pub(super) fn keep(&mut self, id: MessageId, bytes: Bytes) {
        self.keep_part(Kept { id, at: 0, bytes });
    }

    fn keep_part(&mut self, kept: Kept) {
        self.drop_kept(kept.id);
        self.bytes += kept.bytes.len();
        self.kept.push_back(kept);
        while self.bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.bytes.len();
        }
        self.bytes_high = self.bytes_high.max(self.bytes);
    }

    fn drop_kept(&mut self, id: MessageId) {
        if let Some(at) = self.kept.iter().position(|kept| kept.id == id)
            && let Some(kept) = self.kept.remove(at)
        {
            self.bytes -= kept.bytes.len();
        }
    }

    pub(super) fn forget(&mut self, id: MessageId) {
        self.drop_kept(id);
        self.reading.remove(&id);
    }

    /// Bytes at hand now, and most there ever were.
    pub(super) fn held_bytes(&self) -> (u64, u64) {
        (self.bytes as u64, self.bytes_high as u64)
    }
}

impl Kept {
    fn piece(&self, offset: usize) -> Option<Bytes> {
        let from = offset.checked_sub(self.at).filter(|from| *from < self.bytes.len())?;
        Some(self.bytes.slice(from..self.bytes.len().min(from + TAIL_BYTES_MAX)))
    }
}

impl Core {
    /// A worker wants a piece of a body. A message that has ended has none any more.
    pub(super) fn on_wanted(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (wanted, _) = Wanted::split(bytes)?;
        let (device, id) = (DeviceId(wanted.device), MessageId(wanted.message_id));
        // Its device takes it, however long that takes.
        self.messages.set_due(device, id, now.ms + OUTCOME_MAX_MS);
        let offset = wanted.offset.get() as usize;
        if let Some(piece) = self.long.piece(id, offset) {
            self.post_piece(link, wanted, &piece, Some(seq));
            return Some(());
        }
        let piece = match self.source(device, id, offset) {
            Source::Here(at, bytes) => {
                let kept = Kept { id, at, bytes };
                let piece = kept.piece(offset);
                self.long.keep_part(kept);
                piece
            }
            Source::Elsewhere(reference) => {
                // The worker asks again when nothing comes: no entry waits for a read.
                self.done(link, seq);
                self.read(now, link, wanted, reference);
                return Some(());
            }
            Source::Nowhere => None,
            Source::Gone => {
                self.post_piece(link, wanted, &[], Some(seq));
                self.end(now, device, id, MessageState::Failed(Failure::PayloadGone));
                self.hand_over(now, device);
                return Some(());
            }
        };
        self.post_piece(link, wanted, piece.as_deref().unwrap_or_default(), Some(seq));
        Some(())
    }

    fn post_piece(&mut self, link: LinkId, wanted: &Wanted, piece: &[u8], seq: Option<Seq>) {
        let head = Piece { body: wanted.body, offset: wanted.offset };
        self.post(link, Kind::Piece, &[head.as_bytes(), piece], seq);
    }

    fn source(&mut self, device: DeviceId, id: MessageId, offset: usize) -> Source {
        match self.payload_of(device, id) {
            Some(Payload::Here(payload)) => Source::Here(0, payload.into()),
            Some(Payload::Elsewhere(reference)) if offset < reference.bytes as usize => {
                let upload = UploadId::of_url(&reference.url);
                upload.map_or(Source::Elsewhere(reference), |upload| {
                    self.uploaded(device, upload, offset).unwrap_or(Source::Gone)
                })
            }
            Some(Payload::Elsewhere(_)) | None => Source::Nowhere,
        }
    }

    /// Of an open message, or of what the edge has for the device.
    fn payload_of(&mut self, device: DeviceId, id: MessageId) -> Option<Payload> {
        let Some(place) = self.messages.get_mut(device, id).map(|open| open.place) else {
            return self.edge_body(device, id);
        };
        queue::claim(&*self.store, device, place).ok()??.payload().ok()
    }

    /// The piece of an upload that has this byte of it.
    fn uploaded(&self, device: DeviceId, upload: UploadId, offset: usize) -> Option<Source> {
        let account = self.store.owner(device).ok()??;
        let own = self.store.within(account);
        let store = own.as_ref().unwrap_or(&self.store);
        let number = offset / PIECE_BYTES;
        let key = keys::piece(&upload.0, u32::try_from(number).ok()?);
        let piece = store.get(Table::Pieces, &key).ok()??;
        Some(Source::Here(number * PIECE_BYTES, piece.into()))
    }

    /// Has a part of a body read that lies elsewhere, unless that is under way.
    fn read(&mut self, now: Now, link: LinkId, wanted: &Wanted, reference: PayloadReference) {
        let (device, id) = (DeviceId(wanted.device), MessageId(wanted.message_id));
        let Ok(Some(account)) = self.store.owner(device) else { return };
        let before = self.long.reading.get(&id).map(|reading| reading.until_ms);
        let under_way = before.filter(|until_ms| *until_ms > now.ms);
        if before.is_none() && self.long.reading.len() >= READS_MAX {
            return;
        }
        let until_ms = under_way.unwrap_or(now.ms + READ_MAX_MS);
        self.long.reading.insert(id, Reading { link, wanted: *wanted, until_ms });
        if under_way.is_none() {
            let at = wanted.offset.get() as usize;
            self.out.push(Effect::Read { message: id, account, reference, at });
        }
    }

    /// What a read brought; what nobody waits for any more is ignored.
    pub fn on_read(&mut self, now: Now, id: MessageId, at: usize, read: Result<Bytes, Fault>) {
        let Some(reading) = self.long.reading.remove(&id) else { return };
        let Reading { link, wanted, .. } = reading;
        let failure = match read {
            Ok(bytes) => {
                let kept = Kept { id, at, bytes };
                let piece = kept.piece(wanted.offset.get() as usize);
                self.long.keep_part(kept);
                if let Some(piece) = piece {
                    self.post_piece(link, &wanted, &piece, None);
                }
                return;
            }
            Err(Fault::Later) => return,
            Err(Fault::Gone) => Failure::PayloadGone,
            Err(Fault::Changed) => Failure::PayloadChanged,
        };
        // Its device has a part of it at most, and will never have the rest.
        let device = DeviceId(wanted.device);
        self.post_piece(link, &wanted, &[], None);
        self.end(now, device, id, MessageState::Failed(failure));
        self.hand_over(now, device);
    }
}
