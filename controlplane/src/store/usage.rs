//! How much has an account of what is counted, and how much may it have?
//!
//! Counted where records are written, so that no door is without. A count is read from the store
//! the first time it is needed and kept from then on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::account::Account;
use super::{Change, Guard, StoreError, Table, Transaction};
use crate::iam::quota::Quota;

/// The counts of all accounts. *Bound:* accounts × [`COUNTED`].
#[derive(Default)]
pub struct Usage {
    counts: Mutex<HashMap<(Account, Table), Count>>,
    /// What is not counted here but where it happens.
    allowances: Mutex<HashMap<(Account, Quota), u64>>,
}

#[derive(Clone, Copy)]
struct Count {
    max: u64,
    /// `None`: not counted yet.
    used: Option<u64>,
}

/// What is counted.
pub const COUNTED: [Table; 4] =
    [Table::Devices, Table::Destinations, Table::Rules, Table::Profiles];

/// How a transaction changes the counts of its account.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    made: Vec<Table>,
    gone: Vec<Table>,
}

impl Delta {
    /// What is put without a look at what it replaces is new.
    pub fn of(transaction: &Transaction) -> Self {
        let mut delta = Self::default();
        for change in &transaction.changes {
            match change {
                Change::Put(table, key, _) if COUNTED.contains(table) => {
                    let replaces = |guard: &Guard| matches!(guard, Guard::Unchanged(t, k, _) if t == table && k == key);
                    if !transaction.guards.iter().any(replaces) {
                        delta.made.push(*table);
                    }
                }
                Change::Delete(table, _) if COUNTED.contains(table) => delta.gone.push(*table),
                _ => {}
            }
        }
        delta
    }
}

impl Usage {
    /// From now on the account may have so many; `None`: any number.
    pub fn limit(&self, account: Account, table: Table, max: Option<u64>) {
        let mut counts = self.held();
        match max {
            Some(max) => {
                counts.entry((account, table)).or_insert(Count { max, used: None }).max = max;
            }
            None => {
                counts.remove(&(account, table));
            }
        }
    }

    /// The same of what is counted elsewhere.
    pub fn allow(&self, account: Account, quota: Quota, max: Option<u64>) {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        match max {
            Some(max) => allowances.insert((account, quota), max),
            None => allowances.remove(&(account, quota)),
        };
    }

    /// What was allowed; `None`: any number.
    pub fn allowance(&self, account: Account, quota: Quota) -> Option<u64> {
        let allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        allowances.get(&(account, quota)).copied()
    }

    /// The account is no more.
    pub fn forget(&self, account: Account) {
        for quota in Quota::ALL {
            self.allow(account, quota, None);
        }
        self.held().retain(|(of, _), _| *of != account);
    }

    /// Is nothing limited?
    pub fn is_idle(&self) -> bool {
        self.held().is_empty()
    }

    /// Takes what the transaction makes, or refuses it.
    pub fn take(
        &self,
        account: Account,
        delta: &Delta,
        count: impl Fn(Table) -> Result<u64, StoreError>,
    ) -> Result<(), StoreError> {
        for (taken, table) in delta.made.iter().enumerate() {
            let taking = self.take_one(account, *table, &count);
            if let Err(refused) = taking {
                self.give_back(account, &delta.made[..taken]);
                return Err(refused);
            }
        }
        Ok(())
    }

    /// The transaction took effect, or did not.
    pub fn settle(&self, account: Account, delta: &Delta, is_done: bool) {
        self.give_back(account, if is_done { &delta.gone } else { &delta.made });
    }

    fn take_one(
        &self,
        account: Account,
        table: Table,
        count: impl Fn(Table) -> Result<u64, StoreError>,
    ) -> Result<(), StoreError> {
        let key = (account, table);
        let known = match self.held().get(&key) {
            None => return Ok(()),
            Some(known) => known.used,
        };
        // Without the lock: the first count of many records takes its time.
        let counted = if known.is_none() { Some(count(table)?) } else { None };
        let mut counts = self.held();
        let Some(known) = counts.get_mut(&key) else { return Ok(()) };
        let used = known.used.or(counted).unwrap_or(0);
        if used >= known.max {
            return Err(StoreError::Limit(table.name(), known.max));
        }
        known.used = Some(used + 1);
        Ok(())
    }

    fn give_back(&self, account: Account, tables: &[Table]) {
        let mut counts = self.held();
        for table in tables {
            if let Some(known) = counts.get_mut(&(account, *table)) {
                known.used = known.used.map(|used| used.saturating_sub(1));
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<(Account, Table), Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn makes() -> Delta {
        let mut tx = Transaction::new();
        tx.put(Table::Rules, "r", "v");
        Delta::of(&tx)
    }

    #[test]
    fn a_limit_holds_on_both_sides_and_what_failed_is_given_back() {
        let (usage, one) = (Usage::default(), Account(1));
        let stored = |_| Ok(1);
        assert!(usage.is_idle());
        usage.limit(one, Table::Rules, Some(3));
        assert_eq!(usage.take(one, &makes(), stored), Ok(()));
        assert_eq!(usage.take(one, &makes(), stored), Ok(()));
        assert_eq!(usage.take(one, &makes(), stored), Err(StoreError::Limit("rules", 3)));
        usage.settle(one, &makes(), false);
        assert_eq!(usage.take(one, &makes(), stored), Ok(()));
        let mut tx = Transaction::new();
        tx.delete(Table::Rules, "r");
        usage.settle(one, &Delta::of(&tx), true);
        assert_eq!(usage.take(one, &makes(), stored), Ok(()));
        assert!(usage.take(one, &makes(), stored).is_err());
        assert_eq!(usage.take(Account(2), &makes(), stored), Ok(()), "nothing was set");
        usage.limit(one, Table::Rules, None);
        assert_eq!(usage.take(one, &makes(), stored), Ok(()));
    }

    #[test]
    fn a_change_makes_nothing() {
        let mut tx = Transaction::new();
        tx.when(Guard::Unchanged(Table::Rules, b"r".to_vec(), b"v".to_vec()));
        tx.put(Table::Rules, "r", "w");
        tx.put(Table::Queue, "q", "not counted");
        assert!(Delta::of(&tx).made.is_empty());
    }
}
