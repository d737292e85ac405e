//! How does the store come through the loss of its disk? Backups beside it, made while it is open,
//! which share the files that did not change; and one of them made a store again.
//!
//! A backup holds what was confirmed before it began. It does not hold `store.key`: without that
//! file nobody reads a device's key in it.

use std::path::Path;

use rocksdb::DB;
use rocksdb::Env;
use rocksdb::backup::{BackupEngine, BackupEngineOptions, RestoreOptions};
use serde::Serialize;

use super::rocks::RocksStore;
use super::stream::Retention;
use super::{Contents, Store as _, StoreError};

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Backup {
    /// Ascending.
    pub number: u32,
    /// When it was made, Unix time, seconds.
    pub made_unix_s: i64,
    /// Its files, those that others share included.
    pub files: u32,
    /// And their length.
    pub bytes: u64,
}

/// Every backup in a directory, oldest first. None where there is no such directory.
pub fn list(backups: &Path) -> Result<Vec<Backup>, StoreError> {
    if !backups.is_dir() {
        return Ok(Vec::new());
    }
    let found = engine(backups)?.get_backup_info();
    Ok(found
        .into_iter()
        .map(|info| Backup {
            number: info.backup_id,
            made_unix_s: info.timestamp,
            files: info.num_files,
            bytes: info.size,
        })
        .collect())
}

/// Makes one more, and forgets the oldest beyond `keep`.
pub(super) fn make(db: &DB, backups: &Path, keep: usize) -> Result<Backup, StoreError> {
    let mut engine = engine(backups)?;
    engine.create_new_backup_flush(db, true).map_err(failed)?;
    engine.purge_old_backups(keep.max(1)).map_err(failed)?;
    drop(engine);
    list(backups)?.pop().ok_or(StoreError::Corrupt("directory of backups"))
}

/// Makes a store of a backup, the newest unless a number is given, at `store`, where none may be.
/// Everything in it has been read before it is there.
pub fn restore(backups: &Path, number: Option<u32>, store: &Path) -> Result<Contents, StoreError> {
    if store.exists() {
        let text = format!("{} is there already: move it away first", store.display());
        return Err(StoreError::Failed(text));
    }
    let known = list(backups)?;
    let wanted = number.or(known.last().map(|newest| newest.number));
    let wanted = wanted.filter(|wanted| known.iter().any(|one| one.number == *wanted));
    let Some(wanted) = wanted else {
        return Err(StoreError::Failed(format!("no such backup in {}", backups.display())));
    };
    let part = store.with_extension("restoring");
    if part.exists() {
        std::fs::remove_dir_all(&part).map_err(failed)?;
    }
    let mut engine = engine(backups)?;
    engine.restore_from_backup(&part, &part, &RestoreOptions::default(), wanted).map_err(failed)?;
    let contents = RocksStore::open(&part, Retention::ALL).and_then(|store| store.read_all());
    let contents = contents.inspect_err(|_| {
        let _ = std::fs::remove_dir_all(&part);
    })?;
    std::fs::rename(&part, store).map_err(failed)?;
    Ok(contents)
}

fn engine(backups: &Path) -> Result<BackupEngine, StoreError> {
    let options = BackupEngineOptions::new(backups).map_err(failed)?;
    BackupEngine::open(&options, &Env::new().map_err(failed)?).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}
