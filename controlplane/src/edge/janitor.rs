//! What may be forgotten? Messages long ended, ClientRequestTokens past their window.

use crate::core::Now;
use crate::store::records::{self, TokenUse};
use crate::store::{Store, Table, Transaction, queue};

/// A ClientRequestToken means the same request for so long, milliseconds.
pub(crate) const TOKEN_WINDOW_MS: u64 = 600_000;

/// Works a little, now and then.
pub(super) struct Janitor {
    message_history_ms: u64,
    next_ms: u64,
    /// Where the last look at the tokens ended.
    tokens_after: Option<Vec<u8>>,
}

const EVERY_MS: u64 = 1_000;
/// Bound: records looked at in one go.
const RECORDS_MAX: usize = 512;

impl Janitor {
    pub(super) fn new(message_history_ms: u64) -> Self {
        Self { message_history_ms, next_ms: EVERY_MS, tokens_after: None }
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
    }

    fn forget_tokens(
        &mut self,
        now: Now,
        store: &dyn Store,
        tx: &mut Transaction,
    ) -> Result<(), crate::store::StoreError> {
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
