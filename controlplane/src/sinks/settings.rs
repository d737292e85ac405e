//! What may actions of rules reach, by the operator's word? Nothing that is not listed here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::rules::{Lane, origin};
use crate::store::account::Account;

/// `[actions]`: every destination that rules may name. Empty, as it is by default: none.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// One message, all attempts, ms, 100..=240000, less than publish.timeout_ms.
    pub timeout_ms: u64,
    /// One attempt, ms, 50..=240000.
    pub attempt_timeout_ms: u64,
    /// Attempts, 1..=10.
    pub attempts_max: u32,
    /// Messages waiting for one destination, 1..=60000.
    pub queue_max: usize,
    /// Messages under way to one destination, 1..=1024.
    pub concurrency_max: usize,
    /// Accounts whose rules may reach all of it, beside the root account: 12 digits each.
    pub accounts: Vec<String>,
    /// `[[actions.http]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpSettings>,
    /// `[[actions.kafka]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kafka: Vec<KafkaSettings>,
    /// `[[actions.s3]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub s3: Vec<ObjectSettings>,
    /// `[[actions.nats]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nats: Vec<NatsSettings>,
    /// `[actions.file]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSettings>,
}

/// An origin that the http action may post to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// `https://host[:port]`, or `http://…`.
    pub origin: String,
    /// A file (mode 0600) with what goes into the Authorization header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_file: Option<PathBuf>,
    /// PEM: the authorities that are believed; absent: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// A cluster that the kafka action may produce to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// What destinationArn ends with.
    pub name: String,
    /// `host:port`.
    pub brokers: Vec<String>,
    /// By TLS.
    #[serde(default)]
    pub tls: bool,
    /// PEM: the authorities that are believed; absent: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How we say who we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Who we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A file (mode 0600) with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// A mechanism.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Sasl {
    /// RFC 4616.
    Plain,
    /// RFC 7677.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// A bucket that the s3 action may write to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectSettings {
    /// `bucketName` of rules.
    pub bucket: String,
    /// `s3://bucket` or `file:///directory`.
    pub url: String,
    /// `https://host[:port]` of an S3 that is not AWS's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A file (mode 0600), two lines: access key id, secret access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// PEM: authorities that are believed beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// A server whose streams the nats action may publish to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// `server` of rules.
    pub name: String,
    /// `nats://host[:4222]`, or `tls://…`.
    pub url: String,
    /// A file (mode 0600): credentials as `nsc` makes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// Who we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A file (mode 0600) with the password of `user`, or, without one, a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// PEM: the authorities that are believed; absent: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// Where the file action may write.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// A directory that is there; paths of rules stay below.
    pub root: PathBuf,
    /// Longest file, bytes, 4096..=1099511627776.
    #[serde(default = "file_bytes_max")]
    pub file_bytes_max: u64,
    /// Most files below, 1..=1000000.
    #[serde(default = "files_max")]
    pub files_max: usize,
}

fn file_bytes_max() -> u64 {
    1 << 30
}

fn files_max() -> usize {
    10_000
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout_ms: 8_000,
            attempt_timeout_ms: 3_000,
            attempts_max: 3,
            queue_max: 1_024,
            concurrency_max: 64,
            accounts: Vec::new(),
            http: Vec::new(),
            kafka: Vec::new(),
            s3: Vec::new(),
            nats: Vec::new(),
            file: None,
        }
    }
}

impl Settings {
    /// Says which value is out of its range.
    pub fn check(&self, publish_timeout_ms: u64) -> Result<(), String> {
        let names = |name: &str| {
            let is_good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            (1..=128).contains(&name.len()) && name.bytes().all(is_good)
        };
        for (name, value, low, high) in [
            ("timeout_ms", self.timeout_ms, 100, 240_000),
            ("attempt_timeout_ms", self.attempt_timeout_ms, 50, 240_000),
            ("attempts_max", self.attempts_max.into(), 1, 10),
            ("queue_max", self.queue_max as u64, 1, 60_000),
            ("concurrency_max", self.concurrency_max as u64, 1, 1_024),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!("actions.{name} = {value} is outside {low}..={high}"));
            }
        }
        let lanes = self.lanes();
        if !lanes.is_empty() && self.timeout_ms >= publish_timeout_ms {
            return Err(format!(
                "actions.timeout_ms = {} must be less than publish.timeout_ms = \
                 {publish_timeout_ms}: what an action has to say comes before the 5.03",
                self.timeout_ms
            ));
        }
        if let Some(http) = self.http.iter().find(|http| !is_origin(&http.origin)) {
            return Err(format!("actions.http.origin = \"{}\" must be https://host", http.origin));
        }
        let named = self.kafka.iter().map(|kafka| &kafka.name);
        let named = named.chain(self.nats.iter().map(|nats| &nats.name));
        let mut named = named.chain(self.s3.iter().map(|s3| &s3.bucket));
        if let Some(name) = named.find(|name| !names(name)) {
            return Err(format!("actions: \"{name}\" must be 1 to 128 of a-z, A-Z, 0-9, -, _, ."));
        }
        if let Some(file) = &self.file {
            let is_good = (4_096..=1 << 40).contains(&file.file_bytes_max)
                && (1..=1_000_000).contains(&file.files_max);
            if !is_good {
                return Err("actions.file: file_bytes_max is 4096..=1099511627776, files_max \
                            1..=1000000"
                    .to_owned());
            }
        }
        Ok(())
    }

    /// May rules of this account reach anything?
    pub fn allows(&self, account: Account) -> bool {
        account == Account::ROOT || self.accounts.contains(&account.to_string())
    }

    /// Everything that is allowed, to the root account and those that are listed.
    pub fn lanes(&self) -> BTreeSet<Lane> {
        let http = self.http.iter().filter_map(|http| origin(&http.origin));
        let http = http.map(|origin| Lane::Http(origin.into()));
        let kafka = self.kafka.iter().map(|kafka| Lane::Kafka(kafka.name.as_str().into()));
        let objects = self.s3.iter().map(|s3| Lane::Object(s3.bucket.as_str().into()));
        let nats = self.nats.iter().map(|nats| Lane::Nats(nats.name.as_str().into()));
        let file = self.file.iter().map(|_| Lane::File);
        http.chain(kafka).chain(objects).chain(nats).chain(file).collect()
    }
}

/// An origin and nothing behind it.
fn is_origin(text: &str) -> bool {
    let text = text.strip_suffix('/').unwrap_or(text);
    let rest = text.split_once("://").map(|(_, rest)| rest);
    origin(text).is_some() && rest.is_some_and(|rest| !rest.contains(['/', '?', '#', '\\']))
}
