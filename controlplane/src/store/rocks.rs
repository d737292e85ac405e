//! How do records reach the disk? Through RocksDB, by one writer that gathers what is waiting.
//!
//! Every write is synced to the write-ahead log before it is confirmed; one sync serves up to
//! [`BATCH_TRANSACTIONS_MAX`] transactions. *Why:* measured 25 times the writes of one sync each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use rocksdb::{
    BottommostLevelCompaction, ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType,
    DBRecoveryMode, Direction, IteratorMode, LogLevel, Options, ReadOptions, WriteBatch,
    WriteOptions,
};

use super::backup::{self, Backup};
use super::stream::{Ledger, Retention, written_unix_ms};
use super::{Change, Contents, Done, Entry, Receipt, Store, StoreError, Table, Transaction, View};

/// The embedded store. Dropping it finishes what was submitted and closes the database.
pub struct RocksStore {
    db: Arc<DB>,
    submitted: Option<SyncSender<Submitted>>,
    writer: Option<JoinHandle<()>>,
}

type Submitted = (Transaction, Done);

/// Bound: transactions of one sync.
const BATCH_TRANSACTIONS_MAX: usize = 256;
/// Bound: transactions waiting for the writer; one more is `Busy`.
const SUBMITTED_MAX: usize = 16_384;
/// Bound: stream entries trimmed with one batch beyond those it appends.
const TRIMMED_EXTRA_MAX: u64 = 64;

/// A longer manifest is written anew: any.
const MANIFEST_BYTES_MAX: usize = 1;
/// After so many changes what was in it before is in no manifest.
const MANIFEST_CHANGES: usize = 2;

/// `Meta`: the ends of the stream.
pub const LEDGER_KEY: &[u8] = b"stream-ledger";
const SCHEMA_KEY: &[u8] = b"schema";
/// When the files were last written anew.
const COMPACTED_KEY: &[u8] = b"compacted";
/// Changes with the meaning of stored records; another one is refused.
const SCHEMA: &[u8] = b"1";

impl RocksStore {
    /// Opens or makes the database in `dir`.
    pub fn open(dir: &Path, retention: Retention) -> Result<Self, StoreError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_keep_log_file_num(4);
        options.set_max_total_wal_size(128 << 20);
        // A log that is damaged before its end is an error. *Why:* by default what follows the
        // damage is forgotten in silence, and it had been confirmed.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_compression_type(DBCompressionType::Lz4);
        // The manifest names the first and last key of every file. It is written anew each time:
        // an appended one would remember keys that were deleted.
        options.set_max_manifest_file_size(MANIFEST_BYTES_MAX);
        let mut options =
            options.get_options_from_string("max_manifest_space_amp_pct=0").map_err(failed)?;
        // What it says of an ordinary day names keys too.
        options.set_log_level(LogLevel::Warn);
        let families = Table::ALL.map(|table| {
            let mut options = Options::default();
            options.set_compression_type(DBCompressionType::Lz4);
            ColumnFamilyDescriptor::new(table.name(), options)
        });
        let db = DB::open_cf_descriptors(&options, dir, families).map_err(failed)?;
        let db = Arc::new(db);
        let mut writer = Writer { db: db.clone(), ledger: Ledger::default(), retention };
        writer.adopt()?;
        let (submitted, waiting) = sync_channel(SUBMITTED_MAX);
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let thread = thread.spawn(move || writer.run(&waiting)).map_err(failed)?;
        Ok(Self { db, submitted: Some(submitted), writer: Some(thread) })
    }
}

impl Store for RocksStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        value_in(&self.db, table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let from = after.map_or(prefix, |after| after.max(prefix));
        let mut found = Vec::new();
        for entry in entries_from(&self.db, table, prefix, from)? {
            if found.len() == entries_max {
                break;
            }
            let (key, value) = entry.map_err(failed)?;
            if after.is_none_or(|after| key.as_ref() > after) {
                found.push((key.into_vec(), value.into_vec()));
            }
        }
        Ok(found)
    }

    fn submit(&self, transaction: Transaction, done: Done) {
        let Some(submitted) = &self.submitted else { return };
        match submitted.try_send((transaction, done)) {
            Ok(()) => {}
            Err(TrySendError::Full((_, done))) => done(Err(StoreError::Busy)),
            Err(TrySendError::Disconnected((_, done))) => {
                done(Err(StoreError::Failed("the writer is gone".to_owned())));
            }
        }
    }

    /// Everything out of the log into files, and the files written anew, deleted keys left out.
    fn compact(&self) -> Result<(), StoreError> {
        // `Meta` last, and always: the manifest that names its new file is the first that does not
        // know the others' old ones.
        let tables = Table::ALL.iter().filter(|table| **table != Table::Meta);
        let tables = tables.chain([&Table::Meta]);
        let families: Vec<_> =
            tables.map(|table| family(&self.db, *table)).collect::<Result<_, _>>()?;
        let meta = family(&self.db, Table::Meta)?;
        self.db.put_cf(meta, COMPACTED_KEY, now_unix_ms().to_be_bytes()).map_err(failed)?;
        for family in &families {
            self.db.flush_cf(family).map_err(failed)?;
        }
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        options.set_exclusive_manual_compaction(true);
        for family in &families {
            self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        }
        // A manifest is written anew before the change after the one that made it too long.
        for _ in 0..MANIFEST_CHANGES {
            self.db.put_cf(meta, COMPACTED_KEY, now_unix_ms().to_be_bytes()).map_err(failed)?;
            self.db.flush_cf(meta).map_err(failed)?;
            self.db.compact_range_cf_opt(meta, None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }

    fn read_all(&self) -> Result<Contents, StoreError> {
        let mut contents = Contents::default();
        for table in Table::ALL {
            for entry in entries_from(&self.db, table, &[], &[])? {
                let (key, value) =
                    entry.map_err(|e| StoreError::Failed(format!("{}: {e}", table.name())))?;
                contents.entries += 1;
                contents.bytes += (key.len() + value.len()) as u64;
            }
        }
        Ok(contents)
    }

    fn back_up(&self, backups: &Path, keep: usize) -> Result<Backup, StoreError> {
        backup::make(&self.db, backups, keep)
    }

    fn entries_hidden(&self) -> Result<u64, StoreError> {
        let files = self.db.live_files().map_err(failed)?;
        let in_files: u64 = files.iter().map(|file| file.num_entries).sum();
        let mut seen = 0;
        for table in Table::ALL {
            for entry in entries_from(&self.db, table, &[], &[])? {
                entry.map_err(failed)?;
                seen += 1;
            }
        }
        Ok(in_files.saturating_sub(seen))
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        self.submitted = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The one thread that writes.
struct Writer {
    db: Arc<DB>,
    ledger: Ledger,
    retention: Retention,
}

/// What one sync makes durable.
struct Gathering<'a> {
    db: &'a DB,
    batch: WriteBatch,
    /// What the batch will leave behind: guards of later transactions look here first.
    overlay: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    ledger: Ledger,
    appended: u64,
    is_ledger_new: bool,
}

impl Writer {
    /// Takes over what is on disk, or marks a new database as ours.
    fn adopt(&mut self) -> Result<(), StoreError> {
        match value_in(&self.db, Table::Meta, SCHEMA_KEY)? {
            Some(schema) if schema == SCHEMA => {}
            Some(_) => return Err(StoreError::Failed("made by another version".to_owned())),
            None => {
                let meta = family(&self.db, Table::Meta)?;
                self.db.put_cf(meta, SCHEMA_KEY, SCHEMA).map_err(failed)?;
            }
        }
        if let Some(ledger) = value_in(&self.db, Table::Meta, LEDGER_KEY)? {
            self.ledger = Ledger::decode(&ledger)?;
        }
        Ok(())
    }

    fn run(mut self, waiting: &Receiver<Submitted>) {
        while let Ok(first) = waiting.recv() {
            let mut gathered = vec![first];
            while gathered.len() < BATCH_TRANSACTIONS_MAX {
                let Ok(next) = waiting.try_recv() else { break };
                gathered.push(next);
            }
            self.write(gathered);
        }
        let _ = self.db.flush_wal(true);
    }

    fn write(&mut self, gathered: Vec<Submitted>) {
        let mut gathering = Gathering {
            db: &self.db,
            batch: WriteBatch::default(),
            overlay: BTreeMap::new(),
            ledger: self.ledger,
            appended: 0,
            is_ledger_new: false,
        };
        let mut results = Vec::with_capacity(gathered.len());
        for (transaction, done) in gathered {
            results.push((gathering.apply(transaction), done));
        }
        let written = gathering.finish(&self.retention);
        if let Ok(ledger) = written {
            self.ledger = ledger;
        }
        for (result, done) in results {
            done(match &written {
                Ok(_) => result,
                Err(error) => result.and(Err(error.clone())),
            });
        }
    }
}

impl Gathering<'_> {
    fn apply(&mut self, transaction: Transaction) -> Result<Receipt, StoreError> {
        self.check(&transaction.guards)?;
        let mut receipt = Receipt::default();
        for change in transaction.changes {
            match change {
                Change::Put(table, key, value) => {
                    if table == Table::Stream {
                        let before = value_in(self.db, table, &key)?.map_or(0, |v| v.len());
                        self.ledger.replace(before, value.len());
                        self.is_ledger_new = true;
                    }
                    self.batch.put_cf(family(self.db, table)?, &key, &value);
                    self.overlay.insert((table, key), Some(value));
                }
                Change::Delete(table, key) => {
                    self.batch.delete_cf(family(self.db, table)?, &key);
                    self.overlay.insert((table, key), None);
                }
                Change::Append(value) => {
                    let cursor = self.ledger.append(value.len());
                    let stream = family(self.db, Table::Stream)?;
                    self.batch.put_cf(stream, cursor.to_be_bytes(), &value);
                    self.appended += 1;
                    self.is_ledger_new = true;
                    receipt.cursor = Some(cursor);
                }
            }
        }
        Ok(receipt)
    }

    /// Trims the stream, writes and syncs; the ledger as it is now on disk.
    fn finish(mut self, keep: &Retention) -> Result<Ledger, StoreError> {
        if self.is_ledger_new {
            self.trim(keep)?;
            let meta = family(self.db, Table::Meta)?;
            self.batch.put_cf(meta, LEDGER_KEY, self.ledger.encode());
        }
        if !self.batch.is_empty() {
            let mut options = WriteOptions::default();
            options.set_sync(true);
            self.db.write_opt(self.batch, &options).map_err(failed)?;
        }
        Ok(self.ledger)
    }

    /// Only entries that are on disk already are trimmed: a batch never trims what it appends.
    fn trim(&mut self, keep: &Retention) -> Result<(), StoreError> {
        let on_disk_last = self.ledger.last - self.appended;
        let stream = family(self.db, Table::Stream)?;
        let now_unix_ms = now_unix_ms();
        let first = self.ledger.first.to_be_bytes();
        let trimmed_max = (self.appended + TRIMMED_EXTRA_MAX) as usize;
        for entry in entries_from(self.db, Table::Stream, &[], &first)?.take(trimmed_max) {
            let (key, value) = entry.map_err(failed)?;
            let is_over = self.ledger.is_over(keep, written_unix_ms(&value), now_unix_ms);
            if !is_over || self.ledger.first > on_disk_last {
                break;
            }
            self.batch.delete_cf(stream, &key);
            self.ledger.trim(value.len());
        }
        Ok(())
    }
}

impl View for Gathering<'_> {
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.overlay.get(&(table, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => value_in(self.db, table, key),
        }
    }

    fn any_under(&self, table: Table, prefix: &[u8]) -> Result<bool, StoreError> {
        let is_under = |t: Table, key: &[u8]| t == table && key.starts_with(prefix);
        let mut newer = self.overlay.range((table, prefix.to_vec())..);
        let newer = newer.by_ref().take_while(|((t, key), _)| is_under(*t, key));
        if newer.into_iter().any(|(_, value)| value.is_some()) {
            return Ok(true);
        }
        for entry in entries_from(self.db, table, prefix, prefix)? {
            let (key, _) = entry.map_err(failed)?;
            if !self.overlay.contains_key(&(table, key.into_vec())) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

type Entries<'a> = rocksdb::DBIteratorWithThreadMode<'a, DB>;

/// The entries of `table` under `prefix`, from `from` on.
fn entries_from<'a>(
    db: &'a DB,
    table: Table,
    prefix: &[u8],
    from: &[u8],
) -> Result<Entries<'a>, StoreError> {
    let mut options = ReadOptions::default();
    if !prefix.is_empty() {
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
    }
    let mode = IteratorMode::From(from, Direction::Forward);
    Ok(db.iterator_cf_opt(family(db, table)?, options, mode))
}

fn value_in(db: &DB, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    db.get_cf(family(db, table)?, key).map_err(failed)
}

fn family(db: &DB, table: Table) -> Result<&rocksdb::ColumnFamily, StoreError> {
    db.cf_handle(table.name()).ok_or(StoreError::Corrupt("column family"))
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
