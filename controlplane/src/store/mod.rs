//! Where does the control plane keep what must survive? Behind a trait of a few verbs.
//!
//! Reading: `get`, `scan`. Writing: a [`Transaction`] of `put`, `delete`, `append` under guards,
//! submitted and confirmed later; [`crate::store::queue`] builds `claim` and `settle` from them.
//! Nothing here assumes that this process is the only one: ids are random, changes are
//! compare-and-set, so a second implementation (several nodes) can stand behind the same verbs.

pub mod account;
pub mod backup;
pub mod keys;
pub mod measured;
pub mod memory;
pub mod names;
pub mod queue;
pub mod records;
pub mod rocks;
pub mod settings;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod usage;
pub mod vault;
pub mod view;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use self::account::Account;
use self::backup::Backup;
use crate::iam::quota::Quota;
use crate::model::DeviceId;

/// The verbs. Reads are answered at once; writes are confirmed once they are durable.
pub trait Store: Send + Sync + 'static {
    /// One value.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `entries_max` entries whose key begins with `prefix` and is greater than `after`
    /// (when given), in key order.
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        entries_max: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// All or nothing: when every guard holds, every change is applied. Never blocks; `done` is
    /// called once, from any thread, after the changes are durable or have been refused.
    /// Transactions of one caller take effect in the order of their submission.
    fn submit(&self, transaction: Transaction, done: Done);

    /// Whose is the device? `None`: there is none. A store without accounts is the root's.
    fn owner(&self, device: DeviceId) -> Result<Option<Account>, StoreError> {
        Ok(self.get(Table::Devices, &device.0)?.map(|_| Account::ROOT))
    }

    /// What one account sees; `None`: this store has no accounts, everything is the root's.
    fn within(&self, _: Account) -> Option<Arc<dyn Store>> {
        None
    }

    /// How much an account may have of what is counted where it happens; `None`: any number.
    fn allowance(&self, _: Account, _: Quota) -> Option<u64> {
        None
    }

    /// Writes the files anew without what was deleted. Takes its time.
    fn compact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Reads every entry, so that what a disk has damaged is known.
    fn read_all(&self) -> Result<Contents, StoreError> {
        Ok(Contents::default())
    }

    /// Makes a backup of everything in `backups`, where the newest `keep` stay. Takes its time.
    fn back_up(&self, _backups: &Path, _keep: usize) -> Result<Backup, StoreError> {
        Err(StoreError::Failed("this store is not on disk".to_owned()))
    }

    /// Entries in the files that no reader sees: deleted or replaced, but not gone.
    fn entries_hidden(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// What there is in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Contents {
    /// Entries of all tables.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Called with what became of a transaction.
pub type Done = Box<dyn FnOnce(Result<Receipt, StoreError>) + Send>;

/// Proof that a transaction is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The cursor of the transaction's last `append`, if it had one.
    pub cursor: Option<u64>,
}

/// One kind of record each; in RocksDB one column family each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Versions, the stream's ledger.
    Meta,
    /// Device id → device.
    Devices,
    /// PSK identity → device, network, sealed secret.
    Identities,
    /// Another name (a key, a certificate, an address) → device, network.
    Names,
    /// Device id → stamp, security modes.
    Standings,
    /// SHA-256 of its certificate → authority.
    Authorities,
    /// Secondary keys: hardware → device; destination, device → nothing.
    Index,
    /// Name → destination.
    Destinations,
    /// Name → rule.
    Rules,
    /// Profile id → application profile.
    Profiles,
    /// What holds for all, or for one resource: log levels, events, metrics.
    Settings,
    /// Task id → import task.
    Imports,
    /// Task id, line → what became of it.
    Imported,
    /// Upload id → a payload that was uploaded beforehand.
    Payloads,
    /// Upload id, number → a piece of it.
    Pieces,
    /// Hour, device or account → what was counted.
    Measured,
    /// Device, priority, order → message id: the open messages.
    Queue,
    /// Message id → message.
    Messages,
    /// End time, message id → nothing: what may be forgotten, oldest first.
    History,
    /// Cursor → uplink: the embedded stream.
    Stream,
    /// Device, path → what the edge has for it.
    Resources,
    /// Device, session, token → a resource of the edge that it observes; device, message id → a
    /// resource of the device that an application observes.
    Observed,
    /// Device id → where its session is; worker → its incarnation.
    Sessions,
    /// Operation, ClientRequestToken → what it made.
    Tokens,
    /// Device, number, message id → what a device said and still has to be published.
    Outbox,
    /// Number → an event that still has to be told.
    Events,
    /// Account, device id → nothing: the devices of every account but the root.
    Owned,
    /// Account → its record; account, user → its record.
    Accounts,
    /// Device or profile → its data-plane policy; number → class.
    Policies,
    /// Time → entry of the customer's log; device, time → nothing.
    CustomerLog,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 30] = [
        Self::Meta,
        Self::Devices,
        Self::Identities,
        Self::Names,
        Self::Standings,
        Self::Authorities,
        Self::Index,
        Self::Destinations,
        Self::Rules,
        Self::Profiles,
        Self::Settings,
        Self::Imports,
        Self::Imported,
        Self::Payloads,
        Self::Pieces,
        Self::Measured,
        Self::Queue,
        Self::Messages,
        Self::History,
        Self::Stream,
        Self::Resources,
        Self::Observed,
        Self::Sessions,
        Self::Tokens,
        Self::Outbox,
        Self::Events,
        Self::Owned,
        Self::Accounts,
        Self::Policies,
        Self::CustomerLog,
    ];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Devices => "devices",
            Self::Identities => "identities",
            Self::Names => "names",
            Self::Standings => "standings",
            Self::Authorities => "authorities",
            Self::Index => "index",
            Self::Destinations => "destinations",
            Self::Rules => "rules",
            Self::Profiles => "profiles",
            Self::Settings => "settings",
            Self::Imports => "imports",
            Self::Imported => "imported",
            Self::Payloads => "payloads",
            Self::Pieces => "pieces",
            Self::Measured => "measured",
            Self::Queue => "queue",
            Self::Messages => "messages",
            Self::History => "history",
            Self::Stream => "stream",
            Self::Resources => "resources",
            Self::Observed => "observed",
            Self::Sessions => "sessions",
            Self::Tokens => "tokens",
            Self::Outbox => "outbox",
            Self::Events => "events",
            Self::Owned => "owned",
            Self::Accounts => "accounts",
            Self::Policies => "policies",
            Self::CustomerLog => "customer-log",
        }
    }
}

/// Changes that happen together or not at all.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Whose records it writes; `None`: see [`view::Records`].
    pub account: Option<Account>,
    /// All must hold, checked in order.
    pub guards: Vec<Guard>,
    /// Applied in order.
    pub changes: Vec<Change>,
}

/// What must hold for a transaction to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// No value under this key.
    Absent(Table, Vec<u8>),
    /// Some value under this key.
    Present(Table, Vec<u8>),
    /// Exactly this value under this key.
    Unchanged(Table, Vec<u8>, Vec<u8>),
    /// No key with this prefix.
    NoneUnder(Table, Vec<u8>),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a value.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Removes a value, if there is one.
    Delete(Table, Vec<u8>),
    /// Adds to the end of the stream; the store gives the cursor.
    Append(Vec<u8>),
}

impl Transaction {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a guard.
    pub fn when(&mut self, guard: Guard) -> &mut Self {
        self.guards.push(guard);
        self
    }
    /// Sets a value.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push(Change::Put(table, key.into(), value.into()));
    }
    /// Removes a value.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.changes.push(Change::Delete(table, key.into()));
    }
    /// Adds to the stream.
    pub fn append(&mut self, value: Vec<u8>) {
        self.changes.push(Change::Append(value));
    }
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The guard of this index did not hold; nothing was changed.
    Guarded(usize),
    /// Too much is waiting already; nothing was changed.
    Busy,
    /// The database said no.
    Failed(String),
    /// The account has as many of these as it may; nothing was changed.
    Limit(&'static str, u64),
    /// A record does not parse or does not open.
    Corrupt(&'static str),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guarded(guard) => write!(f, "guard {guard} did not hold"),
            Self::Busy => f.write_str("the store has too much to do"),
            Self::Limit(what, max) => {
                write!(f, "the account has {max} {what}: no more are allowed")
            }
            Self::Failed(cause) => write!(f, "the store failed: {cause}"),
            Self::Corrupt(what) => write!(f, "the store holds a damaged {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What guards look at: the store as the transaction will find it.
pub(crate) trait View {
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    fn any_under(&self, table: Table, prefix: &[u8]) -> Result<bool, StoreError>;

    /// The first guard that does not hold is an error.
    fn check(&self, guards: &[Guard]) -> Result<(), StoreError> {
        for (index, guard) in guards.iter().enumerate() {
            let holds = match guard {
                Guard::Absent(table, key) => self.value(*table, key)?.is_none(),
                Guard::Present(table, key) => self.value(*table, key)?.is_some(),
                Guard::Unchanged(table, key, value) => {
                    self.value(*table, key)?.as_ref() == Some(value)
                }
                Guard::NoneUnder(table, prefix) => !self.any_under(*table, prefix)?,
            };
            if !holds {
                return Err(StoreError::Guarded(index));
            }
        }
        Ok(())
    }
}
