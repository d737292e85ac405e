//! How does the API ask for things? One cheap-to-clone handle, async methods, typed refusals.
//!
//! Everything is validated here, whatever the API has checked before: the command line and the
//! tests use the same door.

mod authorities;
pub mod credential;
mod destinations;
mod devices;
mod draft;
pub mod imports;
mod logs;
mod messages;
mod network_block;
mod page;
mod policies;
mod profiles;
mod resources;
mod rule_set;
mod settings;
mod start;
mod summary;
mod tags;
mod things;
mod uploads;
mod validate;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tidegate_ring::policy::Rate;

pub use self::authorities::{AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX};
pub use self::imports::{NewImport, NewSource};
pub use self::logs::{FoundEntry, LogQuery};
pub use self::policies::PolicyOf;
pub use self::settings::{EVENTS_MAX, LOG_LEVELS_MAX};
pub use self::start::{key_path, open_directory, store_path};
pub use self::summary::{Measured, MetricQuery};
pub use self::tags::TAGS_MAX;
pub use crate::core::Trial;
use crate::core::{
    ConfirmedBy, CoreHealth, MetricLimits, OutboxHealth, OutboxLimits, Reply, Request,
};
use crate::customer_log::LogLimits;
use crate::customer_log::feed::Feed;
use crate::edge::Edge;
use crate::iam::directory::Directory;
use crate::iam::quota::Quotas;
use crate::identity::ServerIdentity;
use crate::model::{DeviceId, Refused, ResourceType, StreamedUplink};
use crate::payloads::{self, Payloads};
use crate::publish::broker_url::BrokerUrl;
use crate::publish::stream::StreamReader;
use crate::sinks;
use crate::store::account::Account;
use crate::store::vault::Vault;
use crate::store::{Store, Table};

/// Longest payload of a downlink, bytes; an application profile may say less. A payload longer than
/// a block goes block by block (RFC 7959).
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// The running control plane.
#[derive(Clone)]
pub struct Control {
    held: Arc<Held>,
}

struct Held {
    store: Arc<dyn Store>,
    vault: Vault,
    edge: Edge,
    /// The embedded stream, when it is what uplinks go to.
    stream: Option<StreamReader>,
    /// Every account, its users and keys.
    directory: Arc<Directory>,
    /// What actions of rules may reach, if this account's may.
    actions: Arc<sinks::Settings>,
    may_reach: bool,
    /// Where the files of import tasks lie.
    import_dir: PathBuf,
    /// What messages may refer to.
    payloads: Arc<Payloads>,
    feed: Feed,
    /// Whose records it sees.
    account: Account,
    /// Hours kept for GetMetrics.
    metric_hours_max: u32,
}

/// What the control plane needs to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the dataplane keeps its rings.
    pub run_dir: PathBuf,
    /// Where the store and its key file live; made when absent (mode 0700, the key file 0600).
    pub data_dir: PathBuf,
    /// The broker; `None`: uplinks go to the embedded stream.
    pub mqtt: Option<MqttSettings>,
    /// Who this server says it is: the raw key, then the certificates.
    pub identities: Vec<ServerIdentity>,
    /// Twelve digits: what rules call their account.
    pub account_id: String,
    /// What actions of rules may reach; nothing by default.
    pub actions: sinks::Settings,
    /// What messages may refer to; nothing by default.
    pub payloads: payloads::Settings,
    /// Bounds.
    pub limits: Limits,
}

/// The broker.
#[derive(Clone)]
pub struct MqttSettings {
    /// `mqtt://[user[:password]@]host[:1883]`.
    pub url: String,
    /// MQTT client id, ≤ 23 characters; `None`: `tidegate-` and a random suffix.
    pub client_id: Option<String>,
}

/// Shows no password.
impl std::fmt::Debug for MqttSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = BrokerUrl::parse(&self.url).map(|url| url.to_string());
        f.debug_struct("MqttSettings").field("url", &url).field("id", &self.client_id).finish()
    }
}

/// What is bounded, and to how much.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Publishes waiting for their confirmation; one more is answered 5.03. 1–60 000.
    pub publishes_in_flight_max: usize,
    /// A publish unconfirmed for so long is answered 5.03, milliseconds.
    pub publish_timeout_ms: u64,
    /// Max-Age of a 5.03, seconds.
    pub unavailable_max_age_s: u32,
    /// When a device hears that its uplink is there.
    pub confirmed_by: ConfirmedBy,
    /// What waits in the store to be published.
    pub outbox: OutboxLimits,
    /// Open messages of one device.
    pub queue_messages_per_device_max: usize,
    /// A queued message older than this expires, milliseconds.
    pub queue_ttl_ms: u64,
    /// Final states are kept so long, milliseconds.
    pub message_history_ms: u64,
    /// Entries of the embedded stream.
    pub stream_entries_max: u64,
    /// Bytes of the embedded stream.
    pub stream_bytes_max: u64,
    /// Age of the embedded stream's entries, milliseconds.
    pub stream_age_max_ms: u64,
    /// What an account may have for which nothing was set.
    pub account_quotas: Quotas,
    /// How many uplinks of one device are let through.
    pub device_uplinks: Rate,
    /// What the customer's log keeps.
    pub log: LogLimits,
    /// What is kept for GetMetrics.
    pub metrics: MetricLimits,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR_MS: u64 = 3_600_000;
        Self {
            publishes_in_flight_max: 4_096,
            publish_timeout_ms: 10_000,
            unavailable_max_age_s: 30,
            confirmed_by: ConfirmedBy::Destination,
            outbox: OutboxLimits {
                entries_max: 1_000_000,
                bytes_max: 1 << 30,
                give_up_ms: 24 * HOUR_MS,
            },
            queue_messages_per_device_max: 100,
            queue_ttl_ms: 7 * 24 * HOUR_MS,
            message_history_ms: 24 * HOUR_MS,
            stream_entries_max: 1_000_000,
            stream_bytes_max: 1 << 30,
            stream_age_max_ms: 7 * 24 * HOUR_MS,
            account_quotas: Quotas::default(),
            device_uplinks: Rate::default(),
            log: LogLimits::default(),
            metrics: MetricLimits::default(),
        }
    }
}

/// Why the control plane did not start (or a sentence for the operator).
#[derive(Debug)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// The uplinks of the embedded stream, oldest first; ends only with an error.
pub type UplinkStream = Pin<Box<dyn Stream<Item = Result<StreamedUplink, Refused>> + Send>>;

/// Is everything well?
#[derive(Clone, Debug)]
pub struct Health {
    /// Every worker whose rings are attached.
    pub workers: Vec<WorkerHealth>,
    /// Where uplinks go.
    pub publisher: PublisherHealth,
    /// Devices with a session.
    pub sessions: usize,
    /// Messages without a final state.
    pub open_messages: usize,
    /// Authorities and devices without security that found no room on the trust sheet or can't be
    /// read: the dataplane does not know them.
    pub trust_omitted: usize,
    /// What of rules failed for a message since the start.
    pub rules_failed: u64,
    /// What waits in the store to be published.
    pub outbox: OutboxHealth,
    /// The store answers.
    pub store_ok: bool,
}

/// One worker of the dataplane.
#[derive(Clone, Debug)]
pub struct WorkerHealth {
    /// Which one.
    pub worker: u8,
    /// It has said Hello since the rings were attached.
    pub greeted: bool,
    /// Its last counters snapshot, in the order of the dataplane's enum.
    pub counters: Vec<u64>,
}

/// Where uplinks go, and whether they arrive.
#[derive(Clone, Debug)]
pub struct PublisherHealth {
    /// `mqtt` or `stream`.
    pub kind: &'static str,
    /// Connected; a stream always is.
    pub connected: bool,
    /// Waiting for confirmation.
    pub in_flight: usize,
    /// Confirmed since the start.
    pub confirmed: u64,
    /// Answered 5.03 since the start.
    pub unavailable: u64,
}

impl Control {
    /// The same of one account: it sees and changes that account's records alone.
    #[must_use]
    pub fn within(&self, account: Account) -> Self {
        let store: Arc<dyn Store> = Arc::new(self.held.directory.records().of(account));
        let held = Held {
            stream: self.held.stream.as_ref().map(|stream| stream.over(store.clone())),
            store,
            vault: self.held.vault.clone(),
            edge: self.held.edge.clone(),
            directory: self.held.directory.clone(),
            may_reach: self.held.actions.allows(account),
            actions: self.held.actions.clone(),
            // Files of others are none of its business.
            import_dir: self.held.import_dir.join(account.to_string()),
            payloads: self.held.payloads.clone(),
            feed: self.held.feed.clone(),
            account,
            metric_hours_max: self.held.metric_hours_max,
        };
        Self { held: Arc::new(held) }
    }

    /// Whose records it sees.
    pub fn account(&self) -> Account {
        self.held.account
    }

    /// Every account, its users and keys.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.held.directory
    }

    /// The edge forgets a device and ends its sessions, whatever the store says of it.
    pub async fn forget_device(&self, device: DeviceId) -> Result<(), Refused> {
        self.ask(Request::DeviceDeleted { device }).await
    }

    /// Stops taking work, hands over what is decided and lets go of rings and publisher. The
    /// store closes with the last clone; everything in it is durable already.
    pub async fn stop(&self) {
        self.held.edge.stop().await;
    }

    /// The uplinks after cursor `after` (`Some(0)`: from the oldest kept; `None`: only new ones).
    /// NotFound(UplinkStream) when a broker is configured. Never ends by itself.
    pub async fn uplinks(&self, after: Option<u64>) -> Result<UplinkStream, Refused> {
        let stream = self.held.stream.as_ref().map(|stream| stream.uplinks(after));
        let missing = || Refused::not_found(ResourceType::UplinkStream, "uplinks");
        std::future::ready(stream.ok_or_else(missing)).await
    }

    /// Is everything well?
    pub async fn health(&self) -> Health {
        self.measured().await.0
    }

    /// The same, and what the core counts.
    pub async fn measured(&self) -> (Health, Option<Box<CoreHealth>>) {
        let kind = if self.held.stream.is_some() { "stream" } else { "mqtt" };
        let store_ok = self.held.store.get(Table::Meta, b"").is_ok();
        let core = match self.held.edge.ask(Request::Health).await {
            Ok(Reply::Health(core)) => Some(core),
            _ => None,
        };
        let publisher = PublisherHealth {
            kind,
            connected: core.as_ref().is_some_and(|core| core.connected),
            in_flight: core.as_ref().map_or(0, |core| core.in_flight),
            confirmed: core.as_ref().map_or(0, |core| core.confirmed),
            unavailable: core.as_ref().map_or(0, |core| core.unavailable),
        };
        let health = Health {
            workers: core.as_ref().map_or_else(Vec::new, |core| core.workers.clone()),
            publisher,
            sessions: core.as_ref().map_or(0, |core| core.sessions),
            open_messages: core.as_ref().map_or(0, |core| core.open_messages),
            trust_omitted: core.as_ref().map_or(0, |core| core.trust_omitted),
            rules_failed: core.as_ref().map_or(0, |core| core.rules_failed),
            outbox: core.as_ref().map_or_else(OutboxHealth::default, |core| core.outbox),
            store_ok,
        };
        (health, core)
    }
}
