//! Which records does one account see? Its own, as if there were no others.
//!
//! ```text
//! API of an account ─▶ AccountStore ─┐ keys of its own name spaces, its values only
//! core, of all      ─▶ Records ──────┴─▶ the database: values sealed
//! ```
//!
//! Destinations, rules, tokens and the like are names of one account: their keys begin with it.
//! Ids are random and names of devices are unique everywhere, so their keys are the same for all,
//! and the value says whose it is; `Owned` lists an account's devices.

use std::sync::Arc;

use super::account::{Account, Keyring, owner};
use super::usage::{Delta, Usage};
use super::{Change, Done, Entry, Guard, Receipt, Store, StoreError, Table, Transaction};
use crate::iam::quota::Quota;
use crate::model::DeviceId;

/// Every account's records, opened. What is written goes to the account of what it replaces, or
/// of its device; see [`Records::account_of`].
#[derive(Clone)]
pub struct Records {
    inner: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    usage: Arc<Usage>,
}

/// The records of one account.
pub struct AccountStore {
    records: Records,
    account: Account,
}

impl Table {
    /// Are the keys of this table names of one account?
    pub fn is_named(self) -> bool {
        !matches!(
            self,
            Self::Meta
                | Self::Devices
                | Self::Identities
                | Self::Names
                | Self::Standings
                | Self::Authorities
                | Self::Queue
                | Self::Messages
                | Self::History
                | Self::Stream
                | Self::Resources
                | Self::Observed
                | Self::Sessions
                | Self::Outbox
                | Self::Events
                | Self::Owned
                | Self::Accounts
                | Self::Policies
                | Self::CustomerLog
                | Self::Measured
        )
    }
}

impl Records {
    /// Over the database.
    pub fn new(inner: Arc<dyn Store>, keyring: Arc<Keyring>) -> Self {
        Self { inner, keyring, usage: Arc::default() }
    }

    /// What lies in the database, as it lies there.
    pub fn raw(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    /// The keys of the accounts.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// What the accounts have.
    pub fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// One account's.
    pub fn of(&self, account: Account) -> AccountStore {
        AccountStore { records: self.clone(), account }
    }

    /// Whose is what this transaction writes? It says so itself, or it replaces something of that
    /// account, or its key names a device of that account.
    fn account_of(&self, transaction: &Transaction) -> Result<Account, StoreError> {
        if let Some(account) = transaction.account {
            return Ok(account);
        }
        for change in &transaction.changes {
            let (Change::Put(table, key, _) | Change::Delete(table, key)) = change else {
                continue;
            };
            if let Some(raw) = self.inner.get(*table, key)? {
                return Ok(owner(*table, &raw));
            }
            if let Some(device) = device_in(*table, key) {
                return Ok(self.owner(device)?.unwrap_or(Account::ROOT));
            }
        }
        Ok(Account::ROOT)
    }

    /// Entries that `keep` keeps, opened, up to `entries_max`.
    fn scan_for(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
        keep: impl Fn(Account) -> bool,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut kept = Vec::new();
        let mut after = after.map(<[u8]>::to_vec);
        while kept.len() < entries_max {
            let wanted = (entries_max - kept.len()).max(SCAN_ENTRIES_MIN);
            let found = self.inner.scan(table, prefix, after.as_deref(), wanted)?;
            let is_last = found.len() < wanted;
            after = found.last().map(|(key, _)| key.clone());
            for (key, raw) in found {
                if kept.len() == entries_max || !keep(owner(table, &raw)) {
                    continue;
                }
                if let Some((_, value)) = self.keyring.open(table, &key, raw)? {
                    kept.push((key, value));
                }
            }
            if is_last {
                break;
            }
        }
        Ok(kept)
    }

    fn submit_of(&self, account: Account, mut transaction: Transaction, done: Done) {
        let mut changes = Vec::with_capacity(transaction.changes.len());
        for change in transaction.changes {
            let (table, key) = match &change {
                Change::Put(table, key, _) => (*table, key.as_slice()),
                Change::Append(_) => (Table::Stream, &[][..]),
                Change::Delete(..) => {
                    changes.push(change);
                    continue;
                }
            };
            let (Change::Put(_, _, value) | Change::Append(value)) = &change else { continue };
            let of = if table == Table::Meta { Account::ROOT } else { account };
            let Some(sealed) = self.keyring.seal(of, table, key, value) else {
                // The account is being erased: what it would write is nobody's any more.
                return done(Ok(Receipt::default()));
            };
            changes.push(match change {
                Change::Put(table, key, _) => Change::Put(table, key, sealed),
                _ => Change::Append(sealed),
            });
        }
        transaction.changes = changes;
        self.inner.submit(transaction, done);
    }
}

impl Store for Records {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(raw) = self.inner.get(table, key)? else { return Ok(None) };
        Ok(self.keyring.open(table, key, raw)?.map(|(_, value)| value))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.scan_for(table, prefix, after, entries_max, |_| true)
    }

    fn submit(&self, transaction: Transaction, done: Done) {
        if self.keyring.is_empty() {
            return self.inner.submit(transaction, done);
        }
        match self.account_of(&transaction) {
            Ok(account) => self.submit_of(account, transaction, done),
            Err(error) => done(Err(error)),
        }
    }

    fn owner(&self, device: DeviceId) -> Result<Option<Account>, StoreError> {
        let raw = self.inner.get(Table::Devices, &device.0)?;
        Ok(raw.map(|raw| owner(Table::Devices, &raw)))
    }

    fn within(&self, account: Account) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.of(account)))
    }

    fn allowance(&self, account: Account, quota: Quota) -> Option<u64> {
        self.usage.allowance(account, quota)
    }
}

impl AccountStore {
    /// What is not an account's (`Meta`) is seen by all.
    fn sees(&self, table: Table, account: Account) -> bool {
        table == Table::Meta || account == self.account
    }

    fn key(&self, table: Table, key: &[u8]) -> Vec<u8> {
        if table.is_named() { [&self.account.prefix(), key].concat() } else { key.to_vec() }
    }

    /// The devices of an account that is not the root's are listed by `Owned`.
    fn scan_owned(&self, after: Option<&[u8]>, max: usize) -> Result<Vec<Entry>, StoreError> {
        let prefix = self.account.prefix();
        let mut after = after.map(|after| [&prefix, after].concat());
        let mut found = Vec::new();
        while found.len() < max {
            let wanted = max - found.len();
            let raw = &self.records.inner;
            let listed = raw.scan(Table::Owned, &prefix, after.as_deref(), wanted)?;
            let is_last = listed.len() < wanted;
            after = listed.last().map(|(key, _)| key.clone());
            for (key, _) in listed {
                let device = &key[prefix.len()..];
                found.extend(self.get(Table::Devices, device)?.map(|v| (device.to_vec(), v)));
            }
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// A guard on what is seen as one on what lies in the database; `None`: it does not hold.
    fn guard(&self, guard: Guard) -> Result<Option<Guard>, StoreError> {
        Ok(Some(match guard {
            Guard::Absent(table, key) => Guard::Absent(table, self.key(table, &key)),
            Guard::Present(table, key) => {
                if self.get(table, &key)?.is_none() {
                    return Ok(None);
                }
                Guard::Present(table, self.key(table, &key))
            }
            Guard::NoneUnder(table, prefix) => Guard::NoneUnder(table, self.key(table, &prefix)),
            Guard::Unchanged(table, key, value) => {
                let key = self.key(table, &key);
                let Some(raw) = self.records.inner.get(table, &key)? else { return Ok(None) };
                let opened = self.records.keyring.open(table, &key, raw.clone())?;
                if opened.is_none_or(|(of, seen)| !self.sees(table, of) || seen != value) {
                    return Ok(None);
                }
                Guard::Unchanged(table, key, raw)
            }
        }))
    }

    fn translate(&self, seen: Transaction) -> Result<Transaction, StoreError> {
        let mut transaction = Transaction { account: Some(self.account), ..Transaction::new() };
        for (index, guard) in seen.guards.into_iter().enumerate() {
            let guard = self.guard(guard)?.ok_or(StoreError::Guarded(index))?;
            transaction.guards.push(guard);
        }
        let lists = self.account != Account::ROOT;
        for change in seen.changes {
            match change {
                Change::Put(table, key, value) => {
                    if lists && table == Table::Devices {
                        transaction.put(Table::Owned, self.owned(&key), []);
                    }
                    transaction.put(table, self.key(table, &key), value);
                }
                Change::Delete(table, key) => {
                    if lists && table == Table::Devices {
                        transaction.delete(Table::Owned, self.owned(&key));
                    }
                    transaction.delete(table, self.key(table, &key));
                }
                Change::Append(value) => transaction.append(value),
            }
        }
        Ok(transaction)
    }

    /// How many records of its own lie in the table.
    fn count(&self, table: Table) -> Result<u64, StoreError> {
        let (mut after, mut count): (Option<Vec<u8>>, u64) = (None, 0);
        loop {
            let found = self.scan(table, &[], after.as_deref(), COUNTED_ENTRIES)?;
            count += found.len() as u64;
            match found.last() {
                Some((key, _)) if found.len() == COUNTED_ENTRIES => after = Some(key.clone()),
                _ => return Ok(count),
            }
        }
    }

    fn owned(&self, device: &[u8]) -> Vec<u8> {
        [&self.account.prefix(), device].concat()
    }
}

impl Store for AccountStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.key(table, key);
        let Some(raw) = self.records.inner.get(table, &key)? else { return Ok(None) };
        if !self.sees(table, owner(table, &raw)) {
            return Ok(None);
        }
        Ok(self.records.keyring.open(table, &key, raw)?.map(|(_, value)| value))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if table == Table::Devices && prefix.is_empty() && self.account != Account::ROOT {
            return self.scan_owned(after, entries_max);
        }
        let account = self.account;
        if !table.is_named() {
            let keep = |of| self.sees(table, of);
            return self.records.scan_for(table, prefix, after, entries_max, keep);
        }
        let own = account.prefix();
        let prefix = [&own, prefix].concat();
        // The root's keys have no prefix, and lie after those that have one.
        let first = own.is_empty().then_some(&[1][..]);
        let after = after.map(|after| [&own, after].concat());
        let after = after.as_deref().or(first);
        let keep = |of| of == account;
        let found = self.records.scan_for(table, &prefix, after, entries_max, keep)?;
        Ok(found.into_iter().map(|(key, value)| (key[own.len()..].to_vec(), value)).collect())
    }

    fn submit(&self, transaction: Transaction, done: Done) {
        let (account, usage) = (self.account, self.records.usage.clone());
        if account == Account::ROOT && self.records.keyring.is_empty() && usage.is_idle() {
            return self.records.inner.submit(transaction, done);
        }
        let delta = Delta::of(&transaction);
        let transaction = match self.translate(transaction) {
            Ok(transaction) => transaction,
            Err(error) => return done(Err(error)),
        };
        if let Err(error) = usage.take(account, &delta, |table| self.count(table)) {
            return done(Err(error));
        }
        let settled = Box::new(move |result: Result<Receipt, StoreError>| {
            usage.settle(account, &delta, result.is_ok());
            done(result);
        });
        self.records.submit_of(account, transaction, settled);
    }

    fn owner(&self, device: DeviceId) -> Result<Option<Account>, StoreError> {
        Ok(self.records.owner(device)?.filter(|owner| *owner == self.account))
    }
}

/// Fewest entries looked at in one go: those of others are passed over.
const SCAN_ENTRIES_MIN: usize = 64;
/// Entries counted in one go.
const COUNTED_ENTRIES: usize = 1_024;

/// The device that a key of this table begins with.
fn device_in(table: Table, key: &[u8]) -> Option<DeviceId> {
    let rest = match table {
        Table::Queue | Table::Resources | Table::Observed | Table::Outbox => key,
        Table::Sessions => key.strip_prefix(super::keys::SESSIONS)?,
        Table::Policies => key.strip_prefix(super::keys::POLICIES_OF_DEVICES)?,
        _ => return None,
    };
    rest.first_chunk::<16>().map(|id| DeviceId(*id))
}

#[cfg(test)]
mod tests;
