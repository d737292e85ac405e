//! A store in memory, for tests and simulation: the same verbs, durable as long as it lives.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::stream::{Ledger, Retention};
use super::{Change, Done, Entry, Receipt, Store, StoreError, Table, Transaction, View};

/// Tables as ordered maps behind one lock.
pub struct MemoryStore {
    held: Mutex<Held>,
    retention: Retention,
}

#[derive(Default)]
struct Held {
    values: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    ledger: Ledger,
    /// What `submit` answers instead of writing, while set.
    broken: Option<StoreError>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(retention: Retention) -> Self {
        Self { held: Mutex::new(Held::default()), retention }
    }

    /// From now on every write is refused with `error` (`None`: works again).
    pub fn breaks(&self, error: Option<StoreError>) {
        self.lock().broken = error;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.lock().value(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let held = self.lock();
        let from = (table, after.map_or(prefix, |after| after.max(prefix)).to_vec());
        let found = held.values.range(from..);
        let found = found.take_while(|((t, key), _)| *t == table && key.starts_with(prefix));
        let found = found.filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after));
        Ok(found.take(entries_max).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn submit(&self, transaction: Transaction, done: Done) {
        let result = self.lock().apply(transaction, &self.retention);
        done(result);
    }
}

impl Held {
    fn apply(&mut self, tx: Transaction, keep: &Retention) -> Result<Receipt, StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.check(&tx.guards)?;
        let mut receipt = Receipt::default();
        for change in tx.changes {
            match change {
                Change::Put(table, key, value) => {
                    self.values.insert((table, key), value);
                }
                Change::Delete(table, key) => {
                    self.values.remove(&(table, key));
                }
                Change::Append(value) => {
                    let cursor = self.ledger.append(value.len());
                    self.values.insert((Table::Stream, cursor.to_be_bytes().to_vec()), value);
                    receipt.cursor = Some(cursor);
                    self.trim(keep);
                }
            }
        }
        Ok(receipt)
    }

    fn trim(&mut self, keep: &Retention) {
        while self.ledger.entries() > keep.entries_max || self.ledger.bytes > keep.bytes_max {
            let key = (Table::Stream, self.ledger.first.to_be_bytes().to_vec());
            let bytes = self.values.remove(&key).map_or(0, |value| value.len());
            self.ledger.trim(bytes);
        }
    }
}

impl View for Held {
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.values.get(&(table, key.to_vec())).cloned())
    }
    fn any_under(&self, table: Table, prefix: &[u8]) -> Result<bool, StoreError> {
        let next = self.values.range((table, prefix.to_vec())..).next();
        Ok(next.is_some_and(|((t, key), _)| *t == table && key.starts_with(prefix)))
    }
}
