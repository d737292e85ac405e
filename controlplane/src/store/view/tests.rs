//! Two accounts and the root over one database: who sees and changes what?
#![allow(clippy::unwrap_used)]

use std::sync::mpsc;

use tidegate_crypto::secret::Key;

use super::*;
use crate::model::MessageId;
use crate::store::memory::MemoryStore;
use crate::store::stream::Retention;

const ONE: Account = Account(1);
const TWO: Account = Account(2);

fn records() -> Records {
    let keep = Retention { entries_max: 99, bytes_max: 1 << 20, age_max_ms: u64::MAX };
    let keyring = Keyring::default();
    keyring.add(ONE, Key::new([1; 32]));
    keyring.add(TWO, Key::new([2; 32]));
    Records::new(Arc::new(MemoryStore::new(keep)), Arc::new(keyring))
}

fn commit(store: &dyn Store, tx: Transaction) -> Result<Receipt, StoreError> {
    let (done, result) = mpsc::channel();
    store.submit(tx, Box::new(move |result| done.send(result).unwrap()));
    result.recv().unwrap()
}

fn put(store: &dyn Store, table: Table, key: &[u8], value: &str) {
    let mut tx = Transaction::new();
    tx.put(table, key, value);
    commit(store, tx).unwrap();
}

fn keys(store: &dyn Store, table: Table, prefix: &[u8]) -> Vec<Vec<u8>> {
    store.scan(table, prefix, None, 99).unwrap().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn names_are_an_account_s_own() {
    let records = records();
    let [root, one, two] = [Account::ROOT, ONE, TWO].map(|account| records.of(account));
    for (store, value) in [(&root, "root"), (&one, "one"), (&two, "two")] {
        put(store, Table::Destinations, b"d", value);
        put(store, Table::Destinations, value.as_bytes(), "");
    }
    for (store, value) in [(&root, "root"), (&one, "one"), (&two, "two")] {
        assert_eq!(store.get(Table::Destinations, b"d").unwrap().unwrap(), value.as_bytes());
        let own = vec![b"d".to_vec(), value.as_bytes().to_vec()];
        assert_eq!(keys(store, Table::Destinations, b""), own);
        let rest = store.scan(Table::Destinations, b"", Some(b"d"), 9).unwrap();
        assert_eq!(rest.len(), 1, "behind a key");
    }
    let mut tx = Transaction::new();
    tx.delete(Table::Destinations, "d");
    commit(&one, tx).unwrap();
    assert!(root.get(Table::Destinations, b"d").unwrap().is_some(), "the root's is another");
}

#[test]
fn what_is_unique_everywhere_is_seen_by_its_owner_and_taken_for_all() {
    let records = records();
    let (root, one, two) = (records.of(Account::ROOT), records.of(ONE), records.of(TWO));
    put(&one, Table::Identities, b"identity", "one's");
    assert_eq!(records.get(Table::Identities, b"identity").unwrap().unwrap(), b"one's");
    for other in [&root, &two] {
        assert_eq!(other.get(Table::Identities, b"identity"), Ok(None));
        assert!(keys(other, Table::Identities, b"").is_empty());
        let mut tx = Transaction::new();
        tx.when(Guard::Absent(Table::Identities, b"identity".to_vec()));
        assert_eq!(commit(other, tx), Err(StoreError::Guarded(0)), "taken");
        for guard in [
            Guard::Present(Table::Identities, b"identity".to_vec()),
            Guard::Unchanged(Table::Identities, b"identity".to_vec(), b"one's".to_vec()),
        ] {
            let mut tx = Transaction::new();
            tx.when(guard);
            assert_eq!(commit(other, tx), Err(StoreError::Guarded(0)), "not there for it");
        }
    }
}

#[test]
fn a_guard_compares_what_is_read_not_what_lies_on_disk() {
    let records = records();
    let one = records.of(ONE);
    put(&one, Table::Rules, b"r", "before");
    let replaces = |seen: &str, value: &str| {
        let mut tx = Transaction::new();
        tx.when(Guard::Unchanged(Table::Rules, b"r".to_vec(), seen.into()));
        tx.put(Table::Rules, "r", value);
        commit(&one, tx)
    };
    assert!(replaces("before", "after").is_ok());
    assert_eq!(replaces("before", "late"), Err(StoreError::Guarded(0)));
    assert_eq!(one.get(Table::Rules, b"r").unwrap().unwrap(), b"after");
}

#[test]
fn devices_are_listed_by_account() {
    let records = records();
    let (root, one) = (records.of(Account::ROOT), records.of(ONE));
    put(&root, Table::Devices, &[1; 16], "root's");
    for n in 2..6 {
        put(&one, Table::Devices, &[n; 16], "one's");
    }
    assert_eq!(keys(&root, Table::Devices, b""), [[1; 16]]);
    assert_eq!(keys(&one, Table::Devices, b"").len(), 4);
    let page = one.scan(Table::Devices, b"", Some(&[3; 16]), 1).unwrap();
    assert_eq!(page[0].0, [4; 16]);
    assert_eq!(records.owner(DeviceId([1; 16])), Ok(Some(Account::ROOT)));
    assert_eq!(records.owner(DeviceId([2; 16])), Ok(Some(ONE)));
    assert_eq!(records.owner(DeviceId([9; 16])), Ok(None));
    let mut tx = Transaction::new();
    tx.delete(Table::Devices, [2; 16]);
    commit(&one, tx).unwrap();
    assert_eq!(keys(&one, Table::Devices, b"").len(), 3);
}

/// The core writes for all: to the account of the device, or of what stood there.
#[test]
fn what_the_core_writes_goes_to_the_account_it_is_about() {
    let records = records();
    let one = records.of(ONE);
    put(&one, Table::Devices, &[2; 16], "one's");
    let queued = [&[2; 16][..], &[0; 9]].concat();
    let mut tx = Transaction::new();
    tx.put(Table::Queue, queued.clone(), "waits");
    tx.put(Table::Messages, [7; 16], "open");
    commit(&records, tx).unwrap();
    assert_eq!(one.get(Table::Messages, &[7; 16]).unwrap().unwrap(), b"open");
    let mut tx = Transaction::new();
    tx.put(Table::Messages, [7; 16], "sent");
    commit(&records, tx).unwrap();
    assert_eq!(one.get(Table::Messages, &[7; 16]).unwrap().unwrap(), b"sent");
    let mut tx = Transaction::new();
    tx.delete(Table::Queue, queued.clone());
    tx.put(Table::History, "ended", "");
    commit(&records, tx).unwrap();
    let raw = records.raw().get(Table::History, b"ended").unwrap().unwrap();
    assert_eq!(owner(Table::History, &raw), ONE, "also where nothing stood");
    let located = [crate::store::keys::SESSIONS, &[2; 16]].concat();
    put(&records, Table::Sessions, &located, "here");
    assert_eq!(keys(&one, Table::Sessions, b""), [located]);
    let kept = crate::store::keys::kept(DeviceId([2; 16]), 5, MessageId([9; 16]));
    put(&records, Table::Outbox, &kept, "what it said");
    let raw = records.raw().get(Table::Outbox, &kept).unwrap().unwrap();
    assert_eq!(owner(Table::Outbox, &raw), ONE, "sealed, and erased with the account");
    assert_eq!(keys(&one, Table::Outbox, b""), [kept]);
    assert!(keys(&records.of(TWO), Table::Messages, b"").is_empty());
}

#[test]
fn nothing_is_written_for_an_account_that_is_gone() {
    let records = records();
    let one = records.of(ONE);
    put(&one, Table::Devices, &[2; 16], "one's");
    records.keyring().forget(ONE);
    put(&one, Table::Rules, b"r", "too late");
    let mut tx = Transaction::new();
    tx.put(Table::Queue, [&[2; 16][..], &[0; 9]].concat(), "too late");
    commit(&records, tx).unwrap();
    for table in [Table::Rules, Table::Queue] {
        assert_eq!(records.raw().scan(table, b"", None, 9), Ok(Vec::new()));
    }
    assert_eq!(records.get(Table::Devices, &[2; 16]), Ok(None), "and nothing is read");
    assert!(records.scan(Table::Devices, b"", None, 9).unwrap().is_empty());
}

#[test]
fn a_page_is_full_though_others_stand_between() {
    let records = records();
    let (root, one) = (records.of(Account::ROOT), records.of(ONE));
    for n in 0..200_u16 {
        let store = if n % 10 == 0 { &one } else { &root };
        put(store, Table::Messages, &n.to_be_bytes(), "m");
    }
    assert_eq!(one.scan(Table::Messages, b"", None, 15).unwrap().len(), 15);
    assert_eq!(one.scan(Table::Messages, b"", None, 99).unwrap().len(), 20);
}
