//! How does a payload come that is too long for one request? Part by part, each durable when it is
//! answered, into the store, where it is its account's and goes with it. Messages refer to it.
//!
//! *Bound:* number, bytes and age by `[payloads]`; the janitor forgets what is too old.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Control;
use super::devices::now_unix_ms;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use crate::model::{
    PIECE_BYTES, Page, PageRequest, PayloadReference, Refused, ResourceType, Upload, UploadId,
};
use crate::store::{Guard, Table, keys, records};

/// Longest part, bytes; every part but the last is of whole pieces.
const PART_BYTES_MAX: usize = 4 * PIECE_BYTES;

impl Control {
    /// Begins a payload of so many bytes.
    pub async fn begin_upload(&self, name: Option<String>, bytes: u32) -> Result<Upload, Refused> {
        let settings = self.held.payloads.settings();
        if u64::from(bytes) > settings.bytes_max {
            let most = settings.bytes_max;
            let constraint = format!("Member must have value less than or equal to {most}");
            return Err(Refused::invalid("Bytes", constraint));
        }
        let found = self.held.store.scan(Table::Payloads, &[], None, settings.uploads_max);
        let found = found.map_err(refuse)?;
        let mut total = u64::from(bytes);
        for (_, value) in &found {
            let upload: Upload = records::decode(value, "payload").map_err(refuse)?;
            total += u64::from(upload.bytes);
        }
        if found.len() == settings.uploads_max || total > settings.uploads_bytes_max {
            let (most, bytes) = (settings.uploads_max, settings.uploads_bytes_max);
            let message = format!(
                "An account may have {most} payloads of {bytes} bytes together: delete one first."
            );
            return Err(Refused::conflict(ResourceType::Payload, "", message));
        }
        let id = UploadId::random();
        let upload = Upload { id, name, bytes, received: 0, created_unix_ms: now_unix_ms() };
        let mut draft = Draft::default();
        draft.tx.put(Table::Payloads, id.0, records::encode(&upload));
        match self.commit(draft).await? {
            Committed::Done => Ok(upload),
            Committed::Again => Err(contended()),
        }
    }

    /// Takes the part that begins there. One that is here already is taken once.
    pub async fn take_part(&self, id: &str, at: u32, part: &[u8]) -> Result<Upload, Refused> {
        for _ in 0..TRIES_MAX {
            let (before, upload) = self.read_upload(id)?;
            let end = at as usize + part.len();
            if part.is_empty() || part.len() > PART_BYTES_MAX || end > upload.bytes as usize {
                let constraint = format!(
                    "Member must decode to 1 to {PART_BYTES_MAX} bytes, and not go beyond the end"
                );
                return Err(Refused::invalid("PayloadData", constraint));
            }
            if end < upload.bytes as usize && !part.len().is_multiple_of(PIECE_BYTES) {
                let constraint =
                    format!("Member must decode to a multiple of {PIECE_BYTES} bytes, or be last");
                return Err(Refused::invalid("PayloadData", constraint));
            }
            if at < upload.received && self.has_part(&upload, at as usize, part)? {
                return Ok(upload);
            }
            if at != upload.received {
                let message = format!("The next part begins at {}.", upload.received);
                return Err(Refused::conflict(ResourceType::Payload, id, message));
            }
            let after = Upload { received: end as u32, ..upload };
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Payloads, after.id.0.to_vec(), before));
            for (piece, number) in part.chunks(PIECE_BYTES).zip(at / PIECE_BYTES as u32..) {
                draft.tx.put(Table::Pieces, keys::piece(&after.id.0, number), piece);
            }
            draft.tx.put(Table::Payloads, after.id.0, records::encode(&after));
            if let Committed::Done = self.commit(draft).await? {
                return Ok(after);
            }
        }
        Err(contended())
    }

    /// Is this part of it here, as it is? A client that heard no answer sends it again.
    fn has_part(&self, upload: &Upload, at: usize, part: &[u8]) -> Result<bool, Refused> {
        if !at.is_multiple_of(PIECE_BYTES) || at + part.len() > upload.received as usize {
            return Ok(false);
        }
        for (piece, number) in part.chunks(PIECE_BYTES).zip((at / PIECE_BYTES) as u32..) {
            let key = keys::piece(&upload.id.0, number);
            if self.held.store.get(Table::Pieces, &key).map_err(refuse)?.as_deref() != Some(piece) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One of them.
    pub async fn upload(&self, id: &str) -> Result<Upload, Refused> {
        std::future::ready(self.read_upload(id).map(|(_, upload)| upload)).await
    }

    /// How long one is kept, milliseconds.
    pub fn upload_age_ms(&self) -> u64 {
        self.held.payloads.settings().upload_age_s * 1_000
    }

    /// Lists them.
    pub async fn uploads(&self, page: PageRequest) -> Result<Page<Upload>, Refused> {
        let read = |(_, value): (_, Vec<u8>)| records::decode(&value, "payload").map(Some);
        std::future::ready(self.page(Table::Payloads, &[], &page, read)).await
    }

    /// Forgets one; a message that refers to it fails when its device asks for more of it.
    pub async fn delete_upload(&self, id: &str) -> Result<(), Refused> {
        for _ in 0..TRIES_MAX {
            let (before, upload) = self.read_upload(id)?;
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Payloads, upload.id.0.to_vec(), before));
            draft.tx.delete(Table::Payloads, upload.id.0);
            for number in 0..upload.pieces() {
                draft.tx.delete(Table::Pieces, keys::piece(&upload.id.0, number));
            }
            if let Committed::Done = self.commit(draft).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// What lies now where `member` of a call says that a payload lies.
    pub(super) async fn find_payload(
        &self,
        reference: &mut Option<PayloadReference>,
        member: &str,
    ) -> Result<(), Refused> {
        if let Some(reference) = reference {
            *reference = match UploadId::of_url(&reference.url) {
                Some(id) => self.uploaded(id, &reference.url, member)?,
                None => self.held.payloads.find(self.held.account, &reference.url, member).await?,
            };
        }
        Ok(())
    }

    /// What a payload begins with.
    pub(super) async fn first_bytes(&self, reference: &PayloadReference) -> Result<Bytes, Refused> {
        if let Some(id) = UploadId::of_url(&reference.url) {
            let first = self.held.store.get(Table::Pieces, &keys::piece(&id.0, 0));
            return Ok(first.map_err(refuse)?.unwrap_or_default().into());
        }
        let (tell, told) = oneshot::channel();
        self.held.payloads.read(self.held.account, reference, 0, |read| {
            // Whoever has asked may be gone.
            let _ = tell.send(read);
        });
        let unread = || Refused::Internal { message: "the bucket can not be read now".to_owned() };
        told.await.ok().and_then(Result::ok).ok_or_else(unread)
    }

    /// What `member` of a call refers to by `upload://…`.
    fn uploaded(&self, id: UploadId, url: &str, member: &str) -> Result<PayloadReference, Refused> {
        let found = self.read_upload(&id.to_string()).ok().map(|(_, upload)| upload);
        match found.filter(Upload::is_whole) {
            Some(upload) => {
                Ok(PayloadReference { url: url.to_owned(), bytes: upload.bytes, etag: None })
            }
            None => Err(Refused::invalid(member, "Member must be a payload that is there, whole")),
        }
    }

    /// As it lies in the store, and what that says.
    fn read_upload(&self, id: &str) -> Result<(Vec<u8>, Upload), Refused> {
        let missing = || Refused::not_found(ResourceType::Payload, id);
        let known: UploadId = id.parse().map_err(|_| missing())?;
        let found = self.held.store.get(Table::Payloads, &known.0).map_err(refuse)?;
        let value = found.ok_or_else(missing)?;
        let upload = records::decode(&value, "payload").map_err(refuse)?;
        Ok((value, upload))
    }
}
