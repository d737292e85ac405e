//! What may an operator order? Accounts, users, keys, policies, quotas, and the proof of erasure.
//!
//! The same orders run in the daemon (they come by its socket) and, when there is none, on the
//! store by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::directory::{Directory, NewKey, User};
use super::erase;
use super::quota::Quota;
use super::record::{PolicyRecord, ROOT};
use crate::api::shape::iso8601;
use crate::control::Control;
use crate::store::account::Account;
use crate::store::{Store, StoreError, backup};

/// An order.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
pub enum Order {
    /// Accounts: everything belongs to one.
    #[command(subcommand)]
    Account(AccountOrder),
    /// Users of an account.
    #[command(subcommand)]
    User(UserOrder),
    /// Access keys; a secret is shown once.
    #[command(subcommand)]
    Key(KeyOrder),
    /// Policies of a user.
    #[command(subcommand)]
    Policy(PolicyOrder),
    /// Quotas of an account.
    #[command(subcommand)]
    Quota(QuotaOrder),
    /// Make a backup of the store in data_dir/backups; `restore` makes it a store again.
    Backup {
        /// The newest so many stay, this one included.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
        keep: u16,
    },
    /// List the backups.
    Backups,
    /// Read everything in the store: fails where a disk has damaged it.
    ReadStore,
    /// Show that no form of a marker is left in the files of data_dir; fails when one is.
    ErasureProof {
        /// What was planted, 8 bytes or more.
        #[arg(long)]
        marker: String,
    },
}

/// Orders about accounts.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
pub enum AccountOrder {
    /// Make an account, and the key pair of its root.
    Create {
        /// What you call it.
        name: String,
    },
    /// List the accounts.
    List,
    /// Erase an account with everything that belongs to it. There is no way back.
    Terminate {
        /// Its twelve digits.
        account: String,
    },
}

/// Orders about users.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
pub enum UserOrder {
    /// Make a user, who may do nothing yet.
    Create {
        /// Its name.
        name: String,
        /// Of this account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
    },
    /// Delete a user and its keys.
    Delete {
        /// Its name.
        name: String,
        /// Of this account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
    },
    /// List the users.
    List {
        /// Of this account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
    },
}

/// Orders about access keys.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
pub enum KeyOrder {
    /// Make an access key.
    Create {
        /// For this user; left out: the account's root, who may do everything in it.
        #[arg(long)]
        user: Option<String>,
        /// Of this account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
    },
    /// Put a new key in the place of one, which is good no more.
    Rotate {
        /// TGAK…
        access_key_id: String,
    },
    /// Delete a key.
    Delete {
        /// TGAK…
        access_key_id: String,
    },
    /// List the keys of an account.
    List {
        /// Of this account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
    },
}

/// Orders about policies.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
pub enum PolicyOrder {
    /// Attach a policy to a user, in the place of one with its name.
    Attach {
        /// The user.
        #[arg(long)]
        user: String,
        /// Of this account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
        /// The policy's name.
        #[arg(long)]
        name: String,
        /// Its JSON, or @FILE.
        #[arg(long)]
        document: String,
    },
    /// Take a policy from a user.
    Detach {
        /// The user.
        #[arg(long)]
        user: String,
        /// Of this account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
        /// The policy's name.
        #[arg(long)]
        name: String,
    },
    /// List the policies of a user.
    List {
        /// The user.
        #[arg(long)]
        user: String,
        /// Of this account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
    },
}

/// Orders about quotas.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
pub enum QuotaOrder {
    /// Show what an account may have.
    Get {
        /// This account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
    },
    /// Set one.
    Set {
        /// This account; left out: the root account.
        #[arg(long)]
        account: Option<String>,
        /// devices, destinations, rules, application_profiles, queue_depth, api_rate or
        /// uplinks_per_s.
        quota: String,
        /// How much; "default" for the configuration's.
        value: String,
    },
}

impl Order {
    /// What the command line could only point at is read by it: the daemon opens no files for
    /// others.
    pub fn with_files(mut self) -> Result<Self, String> {
        if let Self::Policy(PolicyOrder::Attach { document, .. }) = &mut self
            && let Some(path) = document.strip_prefix('@')
        {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
            *document = text;
        }
        Ok(self)
    }
}

/// Who carries orders out.
#[derive(Clone)]
pub struct Admin {
    /// What there is.
    pub directory: Arc<Directory>,
    /// The running control plane, if there is one.
    pub control: Option<Control>,
    /// Id of the root account.
    pub root_id: String,
    /// Where the proof of erasure looks.
    pub data_dir: PathBuf,
}

type Answer = Result<Value, String>;

impl Admin {
    /// Carries out an order.
    pub async fn run(&self, order: Order) -> Answer {
        match order {
            Order::Account(order) => self.account_order(order).await,
            Order::User(order) => self.user_order(order).await,
            Order::Key(order) => self.key_order(order).await,
            Order::Policy(order) => self.policy_order(order).await,
            Order::Quota(order) => self.quota_order(order).await,
            Order::Backup { keep } => {
                let backups = backups(&self.data_dir);
                let made = self.of_store(move |store| store.back_up(&backups, keep.into()));
                let made = made.await?;
                tracing::info!("a backup was made");
                Ok(made)
            }
            Order::Backups => {
                let found = backup::list(&backups(&self.data_dir)).map_err(|e| e.to_string())?;
                Ok(json!({ "Backups": found }))
            }
            Order::ReadStore => self.of_store(Store::read_all).await,
            Order::ErasureProof { marker } => self.prove(marker).await,
        }
    }

    async fn account_order(&self, order: AccountOrder) -> Answer {
        match order {
            AccountOrder::Create { name } => {
                let (account, key) = self.directory.create_account(&name).await?;
                tracing::info!(%account, "an account was made");
                let mut answer = shown_once(&key);
                answer["AccountId"] = json!(account.to_string());
                Ok(answer)
            }
            AccountOrder::List => {
                let accounts = self.directory.accounts().into_iter().map(|(account, record)| {
                    json!({
                        "AccountId": self.id(account),
                        "Name": record.name,
                        "CreatedAt": iso8601(record.created_unix_ms),
                    })
                });
                Ok(json!({ "Accounts": accounts.collect::<Vec<_>>() }))
            }
            AccountOrder::Terminate { account } => {
                let account = self.account(Some(&account))?;
                let control = self.control.as_ref();
                let erased = erase::terminate(&self.directory, control, account).await?;
                tracing::info!(%account, "an account was terminated");
                Ok(json!({ "AccountId": account.to_string(), "Erased": erased }))
            }
        }
    }

    async fn user_order(&self, order: UserOrder) -> Answer {
        match order {
            UserOrder::Create { name, account } => {
                let account = self.account(account.as_deref())?;
                self.directory.create_user(account, &name).await?;
                Ok(json!({ "AccountId": self.id(account), "UserName": name }))
            }
            UserOrder::Delete { name, account } => {
                self.directory.delete_user(self.account(account.as_deref())?, &name).await?;
                Ok(json!({}))
            }
            UserOrder::List { account } => {
                let users = self.directory.users(self.account(account.as_deref())?)?;
                let users = users.iter().map(|user| {
                    json!({
                        "UserName": user.record.name,
                        "CreatedAt": iso8601(user.record.created_unix_ms),
                        "AccessKeyIds": key_ids(user),
                        "PolicyNames": policy_names(user),
                    })
                });
                Ok(json!({ "Users": users.collect::<Vec<_>>() }))
            }
        }
    }

    async fn key_order(&self, order: KeyOrder) -> Answer {
        match order {
            KeyOrder::Create { user, account } => {
                let account = self.account(account.as_deref())?;
                let user = user.as_deref().unwrap_or(ROOT);
                Ok(shown_once(&self.directory.create_key(account, user).await?))
            }
            KeyOrder::Rotate { access_key_id } => {
                let (_, key) = self.directory.rotate_key(&access_key_id).await?;
                Ok(shown_once(&key))
            }
            KeyOrder::Delete { access_key_id } => {
                self.directory.delete_key(&access_key_id).await?;
                Ok(json!({}))
            }
            KeyOrder::List { account } => {
                let users = self.directory.users(self.account(account.as_deref())?)?;
                let keys = users.iter().flat_map(|user| {
                    user.record.keys.iter().map(|key| {
                        json!({
                            "AccessKeyId": key.id,
                            "UserName": user.record.name,
                            "CreatedAt": iso8601(key.created_unix_ms),
                        })
                    })
                });
                Ok(json!({ "AccessKeys": keys.collect::<Vec<_>>() }))
            }
        }
    }

    async fn policy_order(&self, order: PolicyOrder) -> Answer {
        match order {
            PolicyOrder::Attach { user, account, name, document } => {
                let account = self.account(account.as_deref())?;
                let document = serde_json::from_str(&document)
                    .map_err(|e| format!("the policy is not JSON: {e}"))?;
                let policy = PolicyRecord { name, document };
                self.directory.attach_policy(account, &user, policy).await?;
                Ok(json!({}))
            }
            PolicyOrder::Detach { user, account, name } => {
                let account = self.account(account.as_deref())?;
                self.directory.detach_policy(account, &user, &name).await?;
                Ok(json!({}))
            }
            PolicyOrder::List { user, account } => {
                let users = self.directory.users(self.account(account.as_deref())?)?;
                let found = users.iter().find(|known| known.record.name == user);
                let found = found.ok_or_else(|| format!("there is no user {user}"))?;
                let policies = found.record.policies.iter().map(
                    |policy| json!({ "PolicyName": policy.name, "Document": policy.document }),
                );
                Ok(json!({ "Policies": policies.collect::<Vec<_>>() }))
            }
        }
    }

    async fn quota_order(&self, order: QuotaOrder) -> Answer {
        match order {
            QuotaOrder::Get { account } => {
                let account = self.account(account.as_deref())?;
                self.directory.users(account)?;
                let mut quotas = serde_json::Map::new();
                for quota in Quota::ALL {
                    let value = self.directory.quota(account, quota);
                    quotas.insert(quota.name().to_owned(), json!(value));
                }
                Ok(json!({ "AccountId": self.id(account), "Quotas": quotas }))
            }
            QuotaOrder::Set { account, quota, value } => {
                let account = self.account(account.as_deref())?;
                let quota: Quota = quota.parse()?;
                let value = quota_value(quota, &value)?;
                self.directory.set_quota(account, quota, value).await?;
                Ok(json!({}))
            }
        }
    }

    /// What a slow verb of the store says.
    async fn of_store<T: Serialize + Send + 'static>(
        &self,
        verb: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer {
        let store = self.directory.records().raw().clone();
        let done = tokio::task::spawn_blocking(move || verb(&*store)).await;
        let done = done.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        serde_json::to_value(done).map_err(|e| e.to_string())
    }

    async fn prove(&self, marker: String) -> Answer {
        let (records, data_dir) = (self.directory.records().clone(), self.data_dir.clone());
        let look = move || erase::prove(&records, Path::new(&data_dir), &marker);
        let proof = tokio::task::spawn_blocking(look).await.map_err(|e| e.to_string())??;
        let found = serde_json::to_value(&proof).map_err(|e| e.to_string())?;
        if proof.holds() { Ok(found) } else { Err(format!("the marker is not gone: {found}")) }
    }

    fn account(&self, id: Option<&str>) -> Result<Account, String> {
        match id {
            None => Ok(Account::ROOT),
            Some(id) if id == self.root_id => Ok(Account::ROOT),
            Some(id) => Ok(id.parse()?),
        }
    }

    fn id(&self, account: Account) -> String {
        if account == Account::ROOT { self.root_id.clone() } else { account.to_string() }
    }
}

/// Where they are kept.
pub fn backups(data_dir: &Path) -> PathBuf {
    data_dir.join("backups")
}

/// `None`: the default.
fn quota_value(quota: Quota, text: &str) -> Result<Option<u64>, String> {
    if text == "default" {
        return Ok(None);
    }
    let max = quota.max();
    let value = text.parse().ok().filter(|value| (1..=max).contains(value));
    value.map(Some).ok_or_else(|| format!("{} is 1 to {max}, or \"default\"", quota.name()))
}

fn shown_once(key: &NewKey) -> Value {
    json!({ "AccessKeyId": key.id, "SecretAccessKey": key.secret.as_str() })
}

fn key_ids(user: &User) -> Vec<&str> {
    user.record.keys.iter().map(|key| key.id.as_str()).collect()
}

fn policy_names(user: &User) -> Vec<&str> {
    user.record.policies.iter().map(|policy| policy.name.as_str()).collect()
}
