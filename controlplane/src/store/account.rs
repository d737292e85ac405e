//! Whose is a record? Values of every account but the root's are sealed under its data key.
//!
//! Sealed form: `magic:4 | account:8 | sealed`, and in the stream the entry's time before that.
//! The data key lies in the account's own record alone. When it is destroyed, nothing that the
//! account ever wrote can be read again, wherever a copy is left.
//! The root account's values are as they are: it is never terminated.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};
use tidegate_crypto::secret::Key;
use tidegate_crypto::vault;

use super::{StoreError, Table};

/// An account: twelve digits. The root account is 0 here, whatever its ARNs say.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Account(pub u64);

impl Account {
    /// The operator's; what no other account owns is its.
    pub const ROOT: Self = Self(0);
    const ID_MAX: u64 = 999_999_999_999;

    /// A new one, by chance.
    pub fn random() -> Self {
        Self(rand::random_range(1..=Self::ID_MAX))
    }

    /// What stands before the keys of its own name spaces. *Why none for the root:* what was stored
    /// before there were accounts is its. No name begins with a NUL.
    pub fn prefix(self) -> Vec<u8> {
        if self == Self::ROOT {
            return Vec::new();
        }
        [&[0][..], &self.0.to_be_bytes()].concat()
    }
}

/// Twelve digits; the root's are said by who knows its id.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl FromStr for Account {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_id && *number > 0);
        number.map(Self).ok_or("an account id has twelve digits and is not 0")
    }
}

/// The data keys of the accounts there are. *Bound:* the number of accounts.
#[derive(Default)]
pub struct Keyring {
    keys: RwLock<HashMap<Account, Arc<Key<32>>>>,
}

/// Before a sealed value. *Why these:* no JSON begins so, and the odds of a binary record are
/// 2^-32 times those of its account number being one that exists.
const MAGIC: [u8; 4] = [0xf5, b't', b'g', 1];

impl Keyring {
    /// The account's values can be sealed and opened from now on.
    pub fn add(&self, account: Account, key: Key<32>) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(account, Arc::new(key));
    }

    /// They can't any more.
    pub fn forget(&self, account: Account) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(&account);
    }

    /// Is there no account beside the root?
    pub fn is_empty(&self) -> bool {
        self.held().is_empty()
    }

    /// Seals a value that will lie under `key`; `None`: the account is gone.
    pub fn seal(&self, of: Account, table: Table, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        if of == Account::ROOT {
            return Some(value.to_vec());
        }
        let data_key = self.held().get(&of)?.clone();
        let (clear, value) = value.split_at(clear_bytes(table).min(value.len()));
        let sealed = vault::seal(&data_key, rand::random(), &context(table, key), value);
        Some([clear, &MAGIC, &of.0.to_be_bytes(), &sealed].concat())
    }

    /// Whose value is it, and what does it say? `None`: of an account that is gone.
    pub fn open(
        &self,
        table: Table,
        key: &[u8],
        raw: Vec<u8>,
    ) -> Result<Option<(Account, Vec<u8>)>, StoreError> {
        if table == Table::Stream && raw.len() == clear_bytes(table) {
            return Ok(None);
        }
        let account = owner(table, &raw);
        if account == Account::ROOT {
            return Ok(Some((account, raw)));
        }
        let Some(data_key) = self.held().get(&account).cloned() else { return Ok(None) };
        let (clear, sealed) = raw.split_at(clear_bytes(table));
        let opened = vault::open(&data_key, &context(table, key), &sealed[HEADER_BYTES..]);
        let opened = opened.map_err(|_| StoreError::Corrupt("sealed record"))?;
        Ok(Some((account, [clear, opened.as_bytes()].concat())))
    }

    fn held(&self) -> RwLockReadGuard<'_, HashMap<Account, Arc<Key<32>>>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

const HEADER_BYTES: usize = MAGIC.len() + 8;

/// Whose value is it?
pub fn owner(table: Table, raw: &[u8]) -> Account {
    let header = raw.get(clear_bytes(table)..).and_then(|rest| rest.strip_prefix(&MAGIC));
    let number = header.and_then(|rest| rest.first_chunk::<8>());
    number.map_or(Account::ROOT, |number| Account(u64::from_be_bytes(*number)))
}

/// What of a stream's entry is left once its account is gone: its place and time.
pub fn erased_entry(raw: &[u8]) -> Vec<u8> {
    raw[..clear_bytes(Table::Stream).min(raw.len())].to_vec()
}

/// The time of a stream's entry is read by who trims it.
fn clear_bytes(table: Table) -> usize {
    if table == Table::Stream { 8 } else { 0 }
}

/// A value copied to another record does not open there. An entry of the stream gets its key only
/// when it is written.
fn context(table: Table, key: &[u8]) -> Vec<u8> {
    let key = if table == Table::Stream { &[][..] } else { key };
    [table.name().as_bytes(), b"/", key].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_account_has_twelve_digits() {
        assert_eq!("000000000001".parse(), Ok(Account(1)));
        assert_eq!("999999999999".parse::<Account>().unwrap().to_string(), "999999999999");
        for text in ["000000000000", "99999999999", "9999999999999", "+99999999999", ""] {
            assert!(text.parse::<Account>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_is_read_with_its_account_s_key_where_it_was_written() {
        let keyring = Keyring::default();
        let (one, other) = (Account(1), Account(2));
        keyring.add(one, Key::new([1; 32]));
        let raw = keyring.seal(one, Table::Rules, b"k", b"plain text").unwrap();
        assert!(!raw.windows(5).any(|window| window == b"plain"));
        assert_eq!(owner(Table::Rules, &raw), one);
        let opened = keyring.open(Table::Rules, b"k", raw.clone()).unwrap();
        assert_eq!(opened, Some((one, b"plain text".to_vec())));
        assert!(keyring.open(Table::Rules, b"l", raw.clone()).is_err(), "another record");
        assert!(keyring.open(Table::Devices, b"k", raw.clone()).is_err(), "another table");
        keyring.forget(one);
        assert_eq!(keyring.open(Table::Rules, b"k", raw), Ok(None));
        assert_eq!(keyring.seal(one, Table::Rules, b"k", b"v"), None);
        assert_eq!(keyring.seal(other, Table::Rules, b"k", b"v"), None);
    }

    #[test]
    fn the_root_s_values_are_as_they_were() {
        let keyring = Keyring::default();
        let raw = keyring.seal(Account::ROOT, Table::Rules, b"k", b"{}").unwrap();
        assert_eq!(raw, b"{}");
        assert_eq!(
            keyring.open(Table::Rules, b"k", raw),
            Ok(Some((Account::ROOT, b"{}".to_vec())))
        );
    }

    #[test]
    fn an_entry_of_the_stream_keeps_its_time_in_the_clear() {
        let keyring = Keyring::default();
        keyring.add(Account(1), Key::new([1; 32]));
        let entry = [&7_u64.to_be_bytes()[..], b"payload"].concat();
        let raw = keyring.seal(Account(1), Table::Stream, b"", &entry).unwrap();
        assert_eq!(raw[..8], entry[..8]);
        let opened = keyring.open(Table::Stream, b"its cursor", raw.clone()).unwrap();
        assert_eq!(opened, Some((Account(1), entry)));
        assert_eq!(keyring.open(Table::Stream, b"", erased_entry(&raw)), Ok(None));
    }
}
