//! What may be forgotten? Messages long ended, ClientRequestTokens past their window, uploads that
//! are too old.

use crate::core::Now;
use crate::model::Upload;
use crate::store::records::{self, TokenUse};
use crate::store::{Store, StoreError, Table, Transaction, keys, queue};

/// A ClientRequestToken means the same request for so long, milliseconds.
pub(crate) const TOKEN_WINDOW_MS: u64 = 600_000;

/// Works a little, now and then.
pub(super) struct Janitor {
    message_history_ms: u64,
    upload_age_ms: u64,
    next_ms: u64,
    /// Where the last look at the tokens ended.
    tokens_after: Option<Vec<u8>>,
}

const EVERY_MS: u64 = 1_000;
/// Bound: records looked at in one go.
const RECORDS_MAX: usize = 512;

impl Janitor {
    pub(super) fn new(message_history_ms: u64, upload_age_ms: u64) -> Self {
        Self { message_history_ms, upload_age_ms, next_ms: EVERY_MS, tokens_after: None }
    }

    pub(super) fn work(&mut self, now: Now, store: &dyn Store) {
        if now.ms < self.next_ms {
            return;
        }
        self.next_ms = now.ms + EVERY_MS;
        let mut tx = Transaction::new();
        let ended_before = now.unix_ms.saturating_sub(self.message_history_ms);
        let forgotten = queue::forget(store, &mut tx, ended_before, RECORDS_MAX);
        if let Err(error) = forgotten.and_then(|_| self.forget_tokens(now, store, &mut tx)) {
            tracing::error!(%error, "old records can't be read");
        }
        if !tx.changes.is_empty() {
            store.submit(tx, Box::new(|_| ()));
        }
        if let Err(error) = self.forget_upload(now, store) {
            tracing::error!(%error, "old payloads can't be read");
        }
    }

    /// One at a time: it has as many pieces as it is long.
    fn forget_upload(&self, now: Now, store: &dyn Store) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = store.scan(Table::Payloads, &[], after.as_deref(), RECORDS_MAX)?;
            for (key, value) in &found {
                let upload: Upload = records::decode(value, "payload")?;
                if now.unix_ms.saturating_sub(upload.created_unix_ms) < self.upload_age_ms {
                    continue;
                }
                let mut tx = Transaction::new();
                tx.delete(Table::Payloads, key.clone());
                for number in 0..upload.pieces() {
                    tx.delete(Table::Pieces, keys::piece(key, number));
                }
                store.submit(tx, Box::new(|_| ()));
                return Ok(());
            }
            match found.last() {
                Some((key, _)) if found.len() == RECORDS_MAX => after = Some(key.clone()),
                _ => return Ok(()),
            }
        }
    }

    fn forget_tokens(
        &mut self,
        now: Now,
        store: &dyn Store,
        tx: &mut Transaction,
    ) -> Result<(), StoreError> {
        let after = self.tokens_after.take();
        let found = store.scan(Table::Tokens, &[], after.as_deref(), RECORDS_MAX)?;
        if found.len() == RECORDS_MAX {
            self.tokens_after = found.last().map(|(key, _)| key.clone());
        }
        for (key, value) in found {
            let used = records::decode::<TokenUse>(&value, "token")?;
            if now.unix_ms.saturating_sub(used.at_unix_ms) >= TOKEN_WINDOW_MS {
                tx.delete(Table::Tokens, key);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{PIECE_BYTES, UploadId};
    use crate::store::memory::MemoryStore;
    use crate::store::stream::Retention;

    #[test]
    fn an_upload_goes_with_its_pieces_when_it_is_old() {
        let store = MemoryStore::new(Retention { entries_max: 1, bytes_max: 1, age_max_ms: 1 });
        let mut tx = Transaction::new();
        for (id, created_unix_ms) in [([1; 16], 1_000), ([2; 16], 1_001)] {
            let bytes = PIECE_BYTES as u32 + 1;
            let id = UploadId(id);
            let upload = Upload { id, name: None, bytes, received: bytes, created_unix_ms };
            tx.put(Table::Payloads, id.0, records::encode(&upload));
            for number in 0..2 {
                tx.put(Table::Pieces, keys::piece(&id.0, number), [0]);
            }
        }
        store.submit(tx, Box::new(|done| assert!(done.is_ok())));
        let left = || {
            let count = |table| store.scan(table, &[], None, 9).unwrap().len();
            (count(Table::Payloads), count(Table::Pieces))
        };
        let mut janitor = Janitor::new(1, 5_000);
        for (at, unix_ms, after) in
            [(1, 5_999, (2, 4)), (2, 6_000, (1, 2)), (3, 6_000, (1, 2)), (4, 6_001, (0, 0))]
        {
            janitor.work(Now { ms: at * EVERY_MS, unix_ms }, &store);
            assert_eq!(left(), after, "at {unix_ms}");
        }
    }
}
