//! What is stored of an account and its users?
//!
//! `Accounts`: account → [`AccountRecord`]; account, name → [`UserRecord`], sealed under the
//! account's data key as everything of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::account::Account;

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRecord {
    /// What the operator calls it.
    pub name: String,
    /// Unix time, milliseconds.
    pub created_unix_ms: u64,
    /// Its data key, sealed by the vault, hex. The root has none; one that is being terminated has
    /// none any more.
    pub data_key: Option<Hidden>,
    /// Those that were set, by name.
    #[serde(default)]
    pub quotas: BTreeMap<String, u64>,
}

/// A user of an account, or with the name [`ROOT`] the account itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserRecord {
    /// `[a-zA-Z0-9+=,.@_-]{1,64}`
    pub name: String,
    /// Unix time, milliseconds.
    pub created_unix_ms: u64,
    /// At most [`KEYS_MAX`].
    pub keys: Vec<KeyRecord>,
    /// At most [`POLICIES_MAX`].
    pub policies: Vec<PolicyRecord>,
}

/// An access key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    /// `TGAK…`, 20 characters.
    pub id: String,
    /// Its secret, sealed by the vault for the id, hex.
    pub secret: Hidden,
    /// Unix time, milliseconds.
    pub created_unix_ms: u64,
}

/// A policy of a user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// `[a-zA-Z0-9+=,.@_-]{1,128}`
    pub name: String,
    /// As it was attached.
    pub document: Value,
}

/// Sealed bytes as hex; not shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sealed")
    }
}

/// The user that is the account itself: it may do everything in it.
pub const ROOT: &str = "root";
/// Bound: accounts of one installation.
pub const ACCOUNTS_MAX: usize = 10_000;
/// Bound: users of an account (AWS's own).
pub const USERS_MAX: usize = 5_000;
/// Bound: access keys of a user, so that one can follow the other (AWS's own).
pub const KEYS_MAX: usize = 2;
/// Bound: policies of a user (AWS's own).
pub const POLICIES_MAX: usize = 10;
/// Bound: a policy's JSON without white space, bytes (AWS's own for managed policies).
pub const POLICY_BYTES_MAX: usize = 6_144;

/// `Accounts`: an account's record.
pub fn account_key(account: Account) -> Vec<u8> {
    account.0.to_be_bytes().to_vec()
}

/// `Accounts`: a user's record.
pub fn user_key(account: Account, name: &str) -> Vec<u8> {
    [&account.0.to_be_bytes()[..], name.as_bytes()].concat()
}

/// The parts of a key of `Accounts`; no name: the account's own record.
pub fn key_parts(key: &[u8]) -> Option<(Account, &str)> {
    let (account, name) = key.split_first_chunk::<8>()?;
    Some((Account(u64::from_be_bytes(*account)), std::str::from_utf8(name).ok()?))
}

/// A user's or policy's name as AWS allows it.
pub fn is_name(text: &str, characters_max: usize) -> bool {
    (1..=characters_max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
}
