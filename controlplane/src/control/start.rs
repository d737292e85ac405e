//! How does the control plane come up? Store, then publisher, then core and edge.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Control, Held, Limits, MqttSettings, Settings, StartError, imports};
use crate::core::{Core, Now};
use crate::customer_log::feed::Feed;
use crate::edge::{self, Event};
use crate::iam::directory::Directory;
use crate::payloads::Payloads;
use crate::publish::broker_url::BrokerUrl;
use crate::publish::mqtt::MqttPublisher;
use crate::publish::{MakePublisher, Tell, stream};
use crate::sinks::{Sinks, TellDelivered};
use crate::store::account::{Account, Keyring};
use crate::store::rocks::RocksStore;
use crate::store::stream::Retention;
use crate::store::vault::Vault;
use crate::store::view::Records;
use crate::store::{Store, StoreError};

impl Control {
    /// Opens the store, starts publisher and edge. Needs a tokio runtime.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let retention = retention(&settings.limits);
        let data_dir = settings.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || open(&data_dir, retention)).await;
        let (store, vault) = opened.map_err(|_| StartError("the store panicked".to_owned()))??;
        Self::start_over(store, vault, settings)
    }

    /// The same over a store that is open.
    pub(crate) fn start_over(
        store: Arc<dyn Store>,
        vault: Vault,
        settings: Settings,
    ) -> Result<Self, StartError> {
        let limits = settings.limits.clone();
        let records = Records::new(store.clone(), Arc::new(Keyring::default()));
        let directory = Directory::open(records.clone(), vault.clone(), limits.account_quotas)?;
        let all: Arc<dyn Store> = Arc::new(records.clone());
        let (handle, inbox) = edge::channel();
        let teller = handle.clone();
        let tell: Tell = Arc::new(move |said| teller.tell(Event::Publisher(said)));
        let (publisher, stream): (MakePublisher, _) = if let Some(mqtt) = &settings.mqtt {
            (broker(mqtt, limits.publishes_in_flight_max, tell)?, None)
        } else {
            let (publisher, reader) = stream::open(all.clone(), tell).map_err(start_error)?;
            (Box::new(|| Box::new(publisher)), Some(reader))
        };
        let (now, seed) = (start_of_time(), rand::random());
        let identities = settings.identities;
        let core = Core::new(now, all.clone(), vault.clone(), limits.clone(), identities, seed);
        let mut core = core.map_err(start_error)?;
        core.set_account(&settings.account_id);
        let teller = handle.clone();
        let tell: TellDelivered =
            Arc::new(move |id, delivered| teller.tell(Event::Delivered(id, delivered)));
        let sinks = Sinks::start(&settings.actions, tell).map_err(StartError)?;
        let payloads = Arc::new(Payloads::open(&settings.payloads).map_err(StartError)?);
        let directory = Arc::new(directory);
        core.set_directory(directory.clone());
        let feed = Feed::new();
        let parts = edge::Parts {
            core,
            store: all,
            publisher,
            sinks,
            payloads: payloads.clone(),
            run_dir: settings.run_dir,
            message_history_ms: limits.message_history_ms,
            feed: feed.clone(),
        };
        run_edge(parts, inbox)?;
        let own: Arc<dyn Store> = Arc::new(records.of(Account::ROOT));
        let stream = stream.map(|stream| stream.over(own.clone()));
        let held = Held {
            store: own,
            vault,
            edge: handle,
            stream,
            directory,
            actions: Arc::new(settings.actions),
            may_reach: true,
            import_dir: settings.data_dir.join(imports::IMPORT_DIR),
            payloads,
            feed,
            account: Account::ROOT,
            metric_hours_max: limits.metrics.hours_max,
        };
        Ok(Self { held: Arc::new(held) })
    }
}

/// Opens the store of a control plane that does not run: what the admin commands do by themselves.
pub fn open_directory(settings: &Settings) -> Result<Directory, StartError> {
    let (store, vault) = open(&settings.data_dir, retention(&settings.limits))?;
    let records = Records::new(store, Arc::new(Keyring::default()));
    Ok(Directory::open(records, vault, settings.limits.account_quotas)?)
}

fn retention(limits: &Limits) -> Retention {
    Retention {
        entries_max: limits.stream_entries_max,
        bytes_max: limits.stream_bytes_max,
        age_max_ms: limits.stream_age_max_ms,
    }
}

/// Where the database is.
pub fn store_path(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// Where the key is that seals secrets in it.
pub fn key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("store.key")
}

fn open(data_dir: &Path, retention: Retention) -> Result<(Arc<dyn Store>, Vault), StartError> {
    let about =
        |error: &dyn std::fmt::Display| StartError(format!("{}: {error}", data_dir.display()));
    let mut dir = fs::DirBuilder::new();
    dir.recursive(true).mode(0o700).create(data_dir).map_err(|error| about(&error))?;
    let vault = Vault::open_file(&key_path(data_dir)).map_err(|error| about(&error))?;
    let store = RocksStore::open(&store_path(data_dir), retention);
    Ok((Arc::new(store.map_err(|error| about(&error))?), vault))
}

fn broker(
    mqtt: &MqttSettings,
    in_flight_max: usize,
    tell: Tell,
) -> Result<MakePublisher, StartError> {
    let url = BrokerUrl::parse(&mqtt.url);
    let url = url.ok_or_else(|| StartError("the broker's URL is not mqtt://…".to_owned()))?;
    let suffix = || format!("tidegate-{:08x}", rand::random::<u32>());
    let client_id = mqtt.client_id.clone().unwrap_or_else(suffix);
    Ok(Box::new(move || Box::new(MqttPublisher::start(url, client_id, in_flight_max, tell))))
}

/// The edge has a thread of its own: nothing the API does keeps a credential waiting.
fn run_edge(parts: edge::Parts, inbox: edge::Inbox) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(start_error)?;
    let thread = std::thread::Builder::new().name("edge".to_owned());
    let run = move || {
        let run = std::panic::AssertUnwindSafe(|| runtime.block_on(edge::run(parts, inbox)));
        if std::panic::catch_unwind(run).is_err() {
            // Half an edge helps nobody: a supervisor starts us again, the rings keep everything.
            tracing::error!("the edge panicked");
            std::process::abort();
        }
    };
    thread.spawn(run).map(|_| ()).map_err(start_error)
}

/// The edge counts milliseconds from its start.
fn start_of_time() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    Now { ms: 0, unix_ms: unix.map_or(0, |since| since.as_millis() as u64) }
}

fn start_error(error: impl std::fmt::Display) -> StartError {
    StartError(error.to_string())
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        start_error(error)
    }
}
