//! What both stores promise, and what only the one on disk can show.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use super::backup;
use super::memory::MemoryStore;
use super::rocks::RocksStore;
use super::stream::Retention;
use super::testing::TempDir;
use super::{Guard, Receipt, Store, StoreError, Table, Transaction};

fn keep(entries_max: u64) -> Retention {
    Retention { entries_max, bytes_max: 1 << 20, age_max_ms: u64::MAX }
}

fn commit(store: &dyn Store, tx: Transaction) -> Result<Receipt, StoreError> {
    let (done, result) = mpsc::channel();
    store.submit(tx, Box::new(move |result| done.send(result).unwrap()));
    result.recv().unwrap()
}

fn put(key: &str, value: &str) -> Transaction {
    let mut tx = Transaction::new();
    tx.put(Table::Index, key, value);
    tx
}

/// Runs a test on both stores.
fn on_both(test: impl Fn(&dyn Store)) {
    test(&MemoryStore::new(keep(3)));
    let dir = TempDir::new();
    test(&RocksStore::open(dir.path(), keep(3)).unwrap());
}

#[test]
fn a_transaction_happens_when_its_guards_hold() {
    on_both(|store| {
        let mut tx = put("a", "1");
        tx.when(Guard::Absent(Table::Index, b"a".to_vec()));
        assert!(commit(store, tx).is_ok());
        let mut tx = put("b", "2");
        tx.when(Guard::Present(Table::Index, b"a".to_vec()));
        tx.when(Guard::Absent(Table::Index, b"a".to_vec()));
        assert_eq!(commit(store, tx), Err(StoreError::Guarded(1)));
        assert_eq!(store.get(Table::Index, b"b"), Ok(None), "all or nothing");
        let mut tx = put("a", "3");
        tx.when(Guard::Unchanged(Table::Index, b"a".to_vec(), b"1".to_vec()));
        assert!(commit(store, tx).is_ok());
        let mut tx = put("a", "4");
        tx.when(Guard::Unchanged(Table::Index, b"a".to_vec(), b"1".to_vec()));
        assert_eq!(commit(store, tx), Err(StoreError::Guarded(0)));
        assert_eq!(store.get(Table::Index, b"a"), Ok(Some(b"3".to_vec())));
    });
}

/// Guards see what transactions before them will leave behind, also when one sync takes them all.
#[test]
fn guards_look_at_what_is_written_with_them() {
    on_both(|store| {
        let (done, results) = mpsc::channel();
        for n in 0..50 {
            let mut tx = put("one", "x");
            tx.when(Guard::Absent(Table::Index, b"one".to_vec()));
            let mut under = put(&format!("users/d/{n}"), "");
            under.when(Guard::NoneUnder(Table::Index, b"users/d/".to_vec()));
            for tx in [tx, under] {
                let done = done.clone();
                store.submit(tx, Box::new(move |result| done.send(result.is_ok()).unwrap()));
            }
        }
        drop(done);
        assert_eq!(results.iter().filter(|is_ok| *is_ok).count(), 2);
        let mut tx = Transaction::new();
        tx.delete(Table::Index, "users/d/0");
        commit(store, tx).unwrap();
        let mut tx = put("users/d/9", "");
        tx.when(Guard::NoneUnder(Table::Index, b"users/d/".to_vec()));
        assert!(commit(store, tx).is_ok());
    });
}

#[test]
fn a_scan_stays_under_its_prefix_and_goes_on_behind_a_key() {
    on_both(|store| {
        for key in ["a", "b/1", "b/2", "b/3", "b0", "c"] {
            commit(store, put(key, key)).unwrap();
        }
        let keys = |prefix: &str, after: Option<&str>, max| -> Vec<String> {
            let after = after.map(str::as_bytes);
            let found = store.scan(Table::Index, prefix.as_bytes(), after, max).unwrap();
            found.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
        };
        assert_eq!(keys("b/", None, 9), ["b/1", "b/2", "b/3"]);
        assert_eq!(keys("b/", Some("b/1"), 1), ["b/2"]);
        assert_eq!(keys("b/", Some("b/3"), 9), [""; 0]);
        assert_eq!(keys("b/", Some("a"), 9).len(), 3, "a cursor before the prefix");
        assert_eq!(keys("", Some("b0"), 9), ["c"]);
        assert_eq!(store.scan(Table::Devices, b"", None, 9), Ok(Vec::new()));
    });
}

#[test]
fn the_stream_is_bounded_and_its_cursors_ascend() {
    on_both(|store| {
        for n in 1..=10_u64 {
            let mut tx = Transaction::new();
            tx.append([&u64::MAX.to_be_bytes()[..], &[n as u8]].concat());
            assert_eq!(commit(store, tx).unwrap().cursor, Some(n));
        }
        let found = store.scan(Table::Stream, b"", None, 99).unwrap();
        let cursors: Vec<_> =
            found.iter().map(|(key, _)| u64::from_be_bytes(key[..].try_into().unwrap())).collect();
        assert_eq!(cursors, [8, 9, 10], "retention keeps three");
    });
}

#[test]
fn old_entries_go_by_age() {
    let dir = TempDir::new();
    let keep = Retention { entries_max: 99, bytes_max: 1 << 20, age_max_ms: 60_000 };
    let store = RocksStore::open(dir.path(), keep).unwrap();
    let append = |unix_ms: u64| {
        let mut tx = Transaction::new();
        tx.append(unix_ms.to_be_bytes().to_vec());
        commit(&store, tx).unwrap();
    };
    append(1_000);
    append(u64::MAX);
    append(u64::MAX);
    let found = store.scan(Table::Stream, b"", None, 9).unwrap();
    assert_eq!(found.len(), 2, "the one of 1970 is gone");
}

/// What was confirmed is there after the store was closed and opened again.
#[test]
fn everything_is_there_after_a_reopen() {
    let dir = TempDir::new();
    let store = RocksStore::open(dir.path(), keep(3)).unwrap();
    commit(&store, put("a", "1")).unwrap();
    let mut tx = Transaction::new();
    (0..5).for_each(|_| tx.append(u64::MAX.to_be_bytes().to_vec()));
    assert_eq!(commit(&store, tx).unwrap().cursor, Some(5));
    drop(store);
    let store = RocksStore::open(dir.path(), keep(3)).unwrap();
    assert_eq!(store.get(Table::Index, b"a"), Ok(Some(b"1".to_vec())));
    let mut tx = Transaction::new();
    tx.append(u64::MAX.to_be_bytes().to_vec());
    assert_eq!(commit(&store, tx).unwrap().cursor, Some(6), "cursors are never reused");
    assert_eq!(store.scan(Table::Stream, b"", None, 9).unwrap().len(), 3);
}

/// A drop finishes what was submitted before it.
#[test]
fn what_was_submitted_is_written_before_the_store_closes() {
    let dir = TempDir::new();
    let store = RocksStore::open(dir.path(), keep(3)).unwrap();
    let (done, results) = mpsc::channel();
    for n in 0..1_000 {
        let done = done.clone();
        let tx = put(&format!("{n:04}"), "");
        store.submit(tx, Box::new(move |result| done.send(result.is_ok()).unwrap()));
    }
    drop((store, done));
    assert_eq!(results.iter().filter(|is_ok| *is_ok).count(), 1_000);
    let store = RocksStore::open(dir.path(), keep(3)).unwrap();
    assert_eq!(store.scan(Table::Index, b"", None, 2_000).unwrap().len(), 1_000);
}

#[test]
fn a_second_process_is_refused() {
    let dir = TempDir::new();
    let store: Arc<dyn Store> = Arc::new(RocksStore::open(dir.path(), keep(3)).unwrap());
    assert!(RocksStore::open(dir.path(), keep(3)).is_err());
    drop(store);
    assert!(RocksStore::open(dir.path(), keep(3)).is_ok());
}

#[test]
fn a_backup_holds_what_was_there_when_it_was_made() {
    let dir = TempDir::new();
    let (path, backups) = (dir.path().join("store"), dir.path().join("backups"));
    assert_eq!(backup::list(&backups).unwrap(), []);
    let store = RocksStore::open(&path, keep(3)).unwrap();
    commit(&store, put("a", "1")).unwrap();
    assert_eq!(store.back_up(&backups, 2).unwrap().number, 1);
    commit(&store, put("a", "2")).unwrap();
    commit(&store, put("b", "3")).unwrap();
    for number in 2..4 {
        let made = store.back_up(&backups, 2).unwrap();
        assert!(made.number == number && made.files > 0 && made.bytes > 0, "{made:?}");
    }
    let numbers = || backup::list(&backups).unwrap().iter().map(|b| b.number).collect::<Vec<_>>();
    assert_eq!(numbers(), [2, 3]);
    commit(&store, put("a", "4")).unwrap();
    let refused = backup::restore(&backups, None, &path).unwrap_err().to_string();
    assert!(refused.contains("is there already"), "{refused}");
    drop(store);
    for (number, wanted) in [(None, "2"), (Some(2), "2")] {
        std::fs::remove_dir_all(&path).unwrap();
        let contents = backup::restore(&backups, number, &path).unwrap();
        assert!(contents.entries >= 2, "{contents:?}");
        let store = RocksStore::open(&path, keep(3)).unwrap();
        assert_eq!(store.get(Table::Index, b"a").unwrap().unwrap(), wanted.as_bytes());
        assert_eq!(store.get(Table::Index, b"b").unwrap().unwrap(), b"3");
    }
    std::fs::remove_dir_all(&path).unwrap();
    assert!(backup::restore(&backups, Some(1), &path).is_err() && !path.exists());
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let dir = TempDir::new();
    let (path, backups) = (dir.path().join("store"), dir.path().join("backups"));
    let store = RocksStore::open(&path, keep(3)).unwrap();
    commit(&store, put("a", &"1".repeat(5_000))).unwrap();
    store.back_up(&backups, 1).unwrap();
    drop(store);
    std::fs::remove_dir_all(&path).unwrap();
    damage(&backups, ".sst");
    assert!(backup::restore(&backups, None, &path).is_err() && !path.exists());
}

#[test]
fn a_damaged_file_is_told_and_not_served() {
    let dir = TempDir::new();
    let store = RocksStore::open(dir.path(), keep(3)).unwrap();
    let value: String = (0..40_000).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
    commit(&store, put("a", &value)).unwrap();
    assert!(store.read_all().unwrap().bytes > 40_000);
    store.compact().unwrap();
    drop(store);
    damage(dir.path(), ".sst");
    let read = RocksStore::open(dir.path(), keep(3)).and_then(|store| {
        assert_ne!(store.get(Table::Index, b"a").ok().flatten().as_deref(), Some(value.as_bytes()));
        store.read_all()
    });
    assert!(read.is_err(), "{read:?}");
}

/// What was confirmed behind the damage would be lost in silence otherwise.
#[test]
fn a_log_that_is_damaged_before_its_end_is_not_opened() {
    let dir = TempDir::new();
    let store = RocksStore::open(dir.path(), keep(3)).unwrap();
    for number in 0..100 {
        commit(&store, put(&format!("key {number}"), &"v".repeat(1_000))).unwrap();
    }
    drop(store);
    damage(dir.path(), ".log");
    let opened = RocksStore::open(dir.path(), keep(3)).map(|_| ());
    assert!(
        matches!(&opened, Err(StoreError::Failed(why)) if why.contains("orrupt")),
        "{opened:?}"
    );
}

/// Changes the longest file with this ending, a third into it.
fn damage(dir: &Path, ending: &str) {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push((entry.metadata().unwrap().len(), path));
            }
        }
    }
    let (len, path) = found.into_iter().max().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = len as usize / 3;
    bytes[middle..middle + 64.min(len as usize - middle)].iter_mut().for_each(|b| *b ^= 0x5a);
    std::fs::write(&path, bytes).unwrap();
}
