//! A directory that is gone when the test is, and a store that fails when it is told to.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::memory::MemoryStore;
use super::stream::Retention;
use super::{Done, Entry, Store, StoreError, Table, Transaction};

/// Removed when dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let name = format!("tidegate-test-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// In memory; fails at everything while it is told to.
pub(crate) struct FaultyStore {
    inner: MemoryStore,
    fails: AtomicBool,
}

impl FaultyStore {
    pub(crate) fn new() -> Self {
        let retention = Retention { entries_max: 1_000, bytes_max: 1 << 20, age_max_ms: 1 << 40 };
        Self { inner: MemoryStore::new(retention), fails: AtomicBool::new(false) }
    }

    pub(crate) fn fails(&self) {
        self.fails.store(true, Ordering::Relaxed);
    }

    fn works(&self) -> Result<(), StoreError> {
        let fails = self.fails.load(Ordering::Relaxed);
        if fails { Err(StoreError::Failed("as it was told to".to_owned())) } else { Ok(()) }
    }
}

impl Store for FaultyStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.works().and_then(|()| self.inner.get(table, key))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.works().and_then(|()| self.inner.scan(table, prefix, after, entries_max))
    }

    fn submit(&self, transaction: Transaction, done: Done) {
        match self.works() {
            Ok(()) => self.inner.submit(transaction, done),
            Err(error) => done(Err(error)),
        }
    }
}
