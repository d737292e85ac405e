//! Which accounts, users and keys are there? In the store, and all of it in memory.
//!
//! Changed by the admin commands alone, one after the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rand::Rng;
use tidegate_crypto::secret::Key;
use tokio::sync::{Mutex, oneshot};
use zeroize::Zeroizing;

use super::policy::{self, Policies};
use super::quota::{Quota, Quotas};
use super::record::{
    ACCOUNTS_MAX, AccountRecord, Hidden, KEYS_MAX, KeyRecord, POLICIES_MAX, PolicyRecord, ROOT,
    USERS_MAX, UserRecord, account_key, is_name, key_parts, user_key,
};
use crate::api::sigv4::KeyLookup;
use crate::store::account::Account;
use crate::store::usage::COUNTED;
use crate::store::vault::Vault;
use crate::store::view::Records;
use crate::store::{Store, StoreError, Table, Transaction, records};

/// Everything that is known of who may ask for what.
pub struct Directory {
    records: Records,
    vault: Vault,
    /// What an account may have that nothing was set for.
    defaults: Quotas,
    known: RwLock<Known>,
    changing: Mutex<()>,
}

#[derive(Default)]
struct Known {
    accounts: BTreeMap<Account, AccountRecord>,
    users: BTreeMap<(Account, String), Arc<User>>,
    keys: HashMap<String, Arc<User>>,
}

/// A user, ready to be judged.
pub struct User {
    /// Whose.
    pub account: Account,
    /// What is stored.
    pub record: UserRecord,
    /// Its policies.
    pub policies: Policies,
}

/// A key pair, shown once.
pub struct NewKey {
    /// `TGAK…`
    pub id: String,
    /// 40 characters.
    pub secret: Zeroizing<String>,
}

type Changed<T> = Result<T, String>;

impl Directory {
    /// Reads what is stored; the data keys go to the keyring of `records`.
    pub fn open(records: Records, vault: Vault, defaults: Quotas) -> Result<Self, StoreError> {
        let mut known = Known::default();
        let mut after: Option<Vec<u8>> = None;
        // An account's record stands before its users': the key that opens those is there.
        loop {
            let found = records.raw().scan(Table::Accounts, &[], after.as_deref(), SCAN_ENTRIES)?;
            for (key, raw) in &found {
                let (account, name) = key_parts(key).ok_or(StoreError::Corrupt("account"))?;
                if name.is_empty() {
                    let record: AccountRecord = records::decode(raw, "account")?;
                    add_data_key(&records, &vault, account, &record)?;
                    known.accounts.insert(account, record);
                } else if let Some(value) = records.get(Table::Accounts, key)? {
                    known.insert(User::new(account, records::decode(&value, "user")?));
                }
            }
            match found.last() {
                Some((key, _)) if found.len() == SCAN_ENTRIES => after = Some(key.clone()),
                _ => break,
            }
        }
        known.accounts.entry(Account::ROOT).or_insert_with(|| AccountRecord {
            name: ROOT.to_owned(),
            created_unix_ms: 0,
            data_key: None,
            quotas: BTreeMap::new(),
        });
        let accounts: Vec<_> = known.accounts.keys().copied().collect();
        let (known, changing) = (RwLock::new(known), Mutex::new(()));
        let directory = Self { records, vault, defaults, known, changing };
        for account in accounts {
            directory.limit(account);
        }
        Ok(directory)
    }

    /// Says to the store how much it may take for the account.
    fn limit(&self, account: Account) {
        let usage = self.records.usage();
        for quota in [Quota::QueueDepth, Quota::UplinksPerSecond] {
            usage.allow(account, quota, self.quota(account, quota));
        }
        for table in COUNTED {
            let quota = match table {
                Table::Devices => Quota::Devices,
                Table::Destinations => Quota::Destinations,
                Table::Profiles => Quota::ApplicationProfiles,
                _ => Quota::Rules,
            };
            usage.limit(account, table, self.quota(account, quota));
        }
    }

    /// The store that all of it lies in.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Every account that is not being terminated.
    pub fn accounts(&self) -> Vec<(Account, AccountRecord)> {
        let known = self.known();
        let living = known.accounts.iter().filter(|(account, record)| lives(**account, record));
        living.map(|(account, record)| (*account, record.clone())).collect()
    }

    /// Accounts whose termination has begun and not ended.
    pub fn terminating(&self) -> Vec<Account> {
        let known = self.known();
        let ending = known.accounts.iter().filter(|(account, record)| !lives(**account, record));
        ending.map(|(account, _)| *account).collect()
    }

    /// The users of an account, by name.
    pub fn users(&self, account: Account) -> Changed<Vec<Arc<User>>> {
        let known = self.known();
        known.account(account)?;
        let from = (account, String::new());
        let users = known.users.range(from..).take_while(|((of, _), _)| *of == account);
        Ok(users.map(|(_, user)| user.clone()).collect())
    }

    /// The holder of an access key.
    pub fn holder(&self, access_key_id: &str) -> Option<Arc<User>> {
        self.known().keys.get(access_key_id).cloned()
    }

    /// What the account may have.
    pub fn quota(&self, account: Account, quota: Quota) -> Option<u64> {
        let set = self.known().accounts.get(&account)?.quotas.get(quota.name()).copied();
        // The operator's own account has no limits but those it sets itself.
        set.or_else(|| (account != Account::ROOT).then(|| self.defaults.get(quota)))
    }

    /// Makes an account, and the key pair of its root.
    pub async fn create_account(&self, name: &str) -> Changed<(Account, NewKey)> {
        let _turn = self.changing.lock().await;
        if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
            return Err("an account's name has 1 to 256 characters".to_owned());
        }
        if self.known().accounts.len() >= ACCOUNTS_MAX {
            return Err(format!("there are {ACCOUNTS_MAX} accounts: no more are possible"));
        }
        let account = loop {
            let account = Account::random();
            if !self.known().accounts.contains_key(&account) {
                break account;
            }
        };
        let data_key = Zeroizing::new(rand::random::<[u8; 32]>());
        let sealed = self.vault.seal(&account_key(account), &*data_key);
        let record = AccountRecord {
            name: name.to_owned(),
            created_unix_ms: now_unix_ms(),
            data_key: Some(Hidden(hex::encode(sealed))),
            quotas: BTreeMap::new(),
        };
        self.put_account(account, record).await?;
        self.records.keyring().add(account, Key::new(*data_key));
        self.limit(account);
        let key = self.add_key(account, Self::new_user(ROOT)).await?;
        Ok((account, key))
    }

    /// From now on nobody asks for it, and nothing of it can be read: its data key is gone. What
    /// lies in the store has still to be erased.
    pub async fn begin_termination(&self, account: Account) -> Changed<()> {
        let _turn = self.changing.lock().await;
        if account == Account::ROOT {
            return Err("the root account can't be terminated: erase the data_dir".to_owned());
        }
        let mut record = self.known().accounts.get(&account).cloned().ok_or_else(no_account)?;
        record.data_key = None;
        record.name = String::new();
        self.put_account(account, record).await?;
        self.records.keyring().forget(account);
        let mut known = self.known_mut();
        known.users.retain(|(of, _), _| *of != account);
        known.keys.retain(|_, user| user.account != account);
        Ok(())
    }

    /// The account's record goes, the last of it.
    pub async fn end_termination(&self, account: Account) -> Changed<()> {
        let _turn = self.changing.lock().await;
        let mut tx = of_root();
        tx.delete(Table::Accounts, account_key(account));
        self.commit(tx).await?;
        self.known_mut().accounts.remove(&account);
        self.records.usage().forget(account);
        Ok(())
    }

    /// Makes a user without keys and policies.
    pub async fn create_user(&self, account: Account, name: &str) -> Changed<()> {
        let _turn = self.changing.lock().await;
        if !is_name(name, 64) || name == ROOT {
            return Err("a user's name has 1 to 64 of a-z A-Z 0-9 + = , . @ _ -".to_owned());
        }
        let users = self.users(account)?;
        if users.iter().any(|user| user.record.name.eq_ignore_ascii_case(name)) {
            return Err(format!("there is a user {name}"));
        }
        if users.len() >= USERS_MAX {
            return Err(format!("there are {USERS_MAX} users: no more are possible"));
        }
        self.put_user(account, Self::new_user(name)).await
    }

    /// Deletes a user and its keys.
    pub async fn delete_user(&self, account: Account, name: &str) -> Changed<()> {
        let _turn = self.changing.lock().await;
        self.known().user(account, name)?;
        if name == ROOT {
            return Err("an account without its root can't be: terminate it".to_owned());
        }
        let mut tx = of_root();
        tx.delete(Table::Accounts, user_key(account, name));
        self.commit(tx).await?;
        self.known_mut().remove(account, name);
        Ok(())
    }

    /// One more key for a user.
    pub async fn create_key(&self, account: Account, user: &str) -> Changed<NewKey> {
        let _turn = self.changing.lock().await;
        let user = match self.known().user(account, user) {
            Err(_) if user == ROOT && account == Account::ROOT => Self::new_user(ROOT),
            found => found?.record.clone(),
        };
        if user.keys.len() >= KEYS_MAX {
            return Err(format!("the user has {KEYS_MAX} access keys: delete one first"));
        }
        self.add_key(account, user).await
    }

    /// A new key in place of an old one, which is good no more.
    pub async fn rotate_key(&self, access_key_id: &str) -> Changed<(Arc<User>, NewKey)> {
        let _turn = self.changing.lock().await;
        let holder = self.holder(access_key_id).ok_or_else(no_key)?;
        let mut user = holder.record.clone();
        user.keys.retain(|key| key.id != access_key_id);
        let key = self.add_key(holder.account, user).await?;
        Ok((holder, key))
    }

    /// Deletes a key.
    pub async fn delete_key(&self, access_key_id: &str) -> Changed<()> {
        let _turn = self.changing.lock().await;
        let holder = self.holder(access_key_id).ok_or_else(no_key)?;
        let mut user = holder.record.clone();
        user.keys.retain(|key| key.id != access_key_id);
        self.put_user(holder.account, user).await
    }

    /// Attaches a policy to a user, in place of one with the same name.
    pub async fn attach_policy(
        &self,
        account: Account,
        user: &str,
        new: PolicyRecord,
    ) -> Changed<()> {
        let _turn = self.changing.lock().await;
        if user == ROOT {
            return Err("the root may do everything: policies are for users".to_owned());
        }
        if !is_name(&new.name, 128) {
            return Err("a policy's name has 1 to 128 of a-z A-Z 0-9 + = , . @ _ -".to_owned());
        }
        policy::parse(&new.document).map_err(|why| format!("the policy can't be used: {why}"))?;
        let mut record = self.known().user(account, user)?.record.clone();
        record.policies.retain(|policy| policy.name != new.name);
        record.policies.push(new);
        if record.policies.len() > POLICIES_MAX {
            return Err(format!("the user has {POLICIES_MAX} policies: detach one first"));
        }
        self.put_user(account, record).await
    }

    /// Takes a policy from a user.
    pub async fn detach_policy(&self, account: Account, user: &str, name: &str) -> Changed<()> {
        let _turn = self.changing.lock().await;
        let mut record = self.known().user(account, user)?.record.clone();
        let before = record.policies.len();
        record.policies.retain(|policy| policy.name != name);
        if record.policies.len() == before {
            return Err(format!("the user has no policy {name}"));
        }
        self.put_user(account, record).await
    }

    /// Sets a quota; `None`: the default again.
    pub async fn set_quota(
        &self,
        account: Account,
        quota: Quota,
        value: Option<u64>,
    ) -> Changed<()> {
        let _turn = self.changing.lock().await;
        let mut record = self.known().account(account)?.clone();
        match value {
            Some(value) => record.quotas.insert(quota.name().to_owned(), value),
            None => record.quotas.remove(quota.name()),
        };
        self.put_account(account, record).await?;
        self.limit(account);
        Ok(())
    }

    fn new_user(name: &str) -> UserRecord {
        let (name, created_unix_ms) = (name.to_owned(), now_unix_ms());
        UserRecord { name, created_unix_ms, keys: Vec::new(), policies: Vec::new() }
    }

    async fn add_key(&self, account: Account, mut user: UserRecord) -> Changed<NewKey> {
        let id = format!("TGAK{}", random_text(ID_LETTERS, 16));
        let secret = Zeroizing::new(random_text(SECRET_LETTERS, 40));
        let sealed = self.vault.seal(id.as_bytes(), secret.as_bytes());
        let (secret_at_rest, created_unix_ms) = (Hidden(hex::encode(sealed)), now_unix_ms());
        user.keys.push(KeyRecord { id: id.clone(), secret: secret_at_rest, created_unix_ms });
        self.put_user(account, user).await?;
        Ok(NewKey { id, secret })
    }

    async fn put_account(&self, account: Account, record: AccountRecord) -> Changed<()> {
        let mut tx = of_root();
        tx.put(Table::Accounts, account_key(account), records::encode(&record));
        self.commit(tx).await?;
        self.known_mut().accounts.insert(account, record);
        Ok(())
    }

    async fn put_user(&self, account: Account, user: UserRecord) -> Changed<()> {
        let mut tx = Transaction { account: Some(account), ..Transaction::new() };
        tx.put(Table::Accounts, user_key(account, &user.name), records::encode(&user));
        self.commit(tx).await?;
        let mut known = self.known_mut();
        known.remove(account, &user.name);
        known.insert(User::new(account, user));
        Ok(())
    }

    async fn commit(&self, tx: Transaction) -> Changed<()> {
        let (done, result) = oneshot::channel();
        let done = Box::new(move |result| {
            let _ = done.send(result);
        });
        self.records.submit(tx, done);
        match result.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the store has stopped".to_owned()),
        }
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secret is opened for each request: in memory it lies sealed.
impl KeyLookup for Directory {
    fn secret(&self, access_key_id: &str) -> Option<Zeroizing<String>> {
        let holder = self.holder(access_key_id)?;
        let key = holder.record.keys.iter().find(|key| key.id == access_key_id)?;
        let sealed = hex::decode(&key.secret.0).ok()?;
        let secret = self.vault.open(access_key_id.as_bytes(), &sealed).ok()?;
        std::str::from_utf8(secret.as_bytes()).ok().map(|secret| Zeroizing::new(secret.to_owned()))
    }
}

impl Known {
    fn account(&self, account: Account) -> Changed<&AccountRecord> {
        let found = self.accounts.get(&account).filter(|record| lives(account, record));
        found.ok_or_else(no_account)
    }

    fn user(&self, account: Account, name: &str) -> Changed<Arc<User>> {
        self.account(account)?;
        let found = self.users.get(&(account, name.to_owned()));
        found.cloned().ok_or_else(|| format!("there is no user {name}"))
    }

    fn insert(&mut self, user: User) {
        let user = Arc::new(user);
        for key in &user.record.keys {
            self.keys.insert(key.id.clone(), user.clone());
        }
        self.users.insert((user.account, user.record.name.clone()), user);
    }

    fn remove(&mut self, account: Account, name: &str) {
        let gone = self.users.remove(&(account, name.to_owned()));
        for key in gone.iter().flat_map(|user| &user.record.keys) {
            self.keys.remove(&key.id);
        }
    }
}

impl User {
    fn new(account: Account, record: UserRecord) -> Self {
        let policies = Policies::of(record.policies.iter().map(|policy| &policy.document));
        Self { account, record, policies }
    }

    /// Is it the account itself?
    pub fn is_root(&self) -> bool {
        self.record.name == ROOT
    }
}

const SCAN_ENTRIES: usize = 512;

fn lives(account: Account, record: &AccountRecord) -> bool {
    account == Account::ROOT || record.data_key.is_some()
}

fn add_data_key(
    records: &Records,
    vault: &Vault,
    account: Account,
    record: &AccountRecord,
) -> Result<(), StoreError> {
    const DAMAGED: StoreError = StoreError::Corrupt("data key of an account");
    let Some(sealed) = &record.data_key else { return Ok(()) };
    let sealed = hex::decode(&sealed.0).map_err(|_| DAMAGED)?;
    let opened = vault.open(&account_key(account), &sealed)?;
    let data_key = opened.as_bytes().try_into().map_err(|_| DAMAGED)?;
    records.keyring().add(account, Key::new(data_key));
    Ok(())
}

/// Accounts' own records are the operator's.
fn of_root() -> Transaction {
    Transaction { account: Some(Account::ROOT), ..Transaction::new() }
}

fn no_account() -> String {
    "there is no such account".to_owned()
}

fn no_key() -> String {
    "there is no such access key".to_owned()
}

fn now_unix_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64)
}

/// No letters that look like others, and nothing that a shell or an INI file minds.
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_LETTERS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn random_text(letters: &[u8], count: usize) -> String {
    let mut random = rand::rng();
    (0..count).map(|_| char::from(letters[random.random_range(0..letters.len())])).collect()
}
