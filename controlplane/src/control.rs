//! How does the API ask for things? One cheap-to-clone handle, async methods, typed refusals.
//!
//! Everything is validated here, whatever the API has checked before: the command line and the
//! tests use the same door.

use std::path::PathBuf;
use std::pin::Pin;

use futures_util::Stream;

use crate::model::{
    Destination, DestinationChange, Device, DeviceChange, DeviceFilter, DeviceId, DeviceKey,
    DeviceSummary, Downlink, MessageId, MessageStatus, NewDevice, Page, PageRequest, QueuedMessage,
    Refused, Rule, StreamedUplink,
};

/// Longest payload of a downlink, bytes. *Why:* what fits one record beside its options.
pub const PAYLOAD_BYTES_MAX: usize = 1024;

/// The running control plane.
#[derive(Clone)]
pub struct Control {}

/// What the control plane needs to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the dataplane keeps its rings.
    pub run_dir: PathBuf,
    /// Where the store and its key file live; made when absent (mode 0700, the key file 0600).
    pub data_dir: PathBuf,
    /// The broker; `None`: uplinks go to the embedded stream.
    pub mqtt: Option<MqttSettings>,
    /// Bounds.
    pub limits: Limits,
}

/// The broker.
#[derive(Clone, Debug)]
pub struct MqttSettings {
    /// `mqtt://[user[:password]@]host[:1883]`.
    pub url: String,
    /// MQTT client id, ≤ 23 characters; `None`: `tidegate-` and a random suffix.
    pub client_id: Option<String>,
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
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR_MS: u64 = 3_600_000;
        Self {
            publishes_in_flight_max: 4_096,
            publish_timeout_ms: 10_000,
            unavailable_max_age_s: 30,
            queue_messages_per_device_max: 100,
            queue_ttl_ms: 7 * 24 * HOUR_MS,
            message_history_ms: 24 * HOUR_MS,
            stream_entries_max: 1_000_000,
            stream_bytes_max: 1 << 30,
            stream_age_max_ms: 7 * 24 * HOUR_MS,
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
    /// Opens the store, starts publisher and edge. Needs a tokio runtime.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let _ = settings;
        Err(StartError("not wired yet".to_owned()))
    }

    /// Stops taking work, lets what is under way settle (at most 2 s) and closes the store.
    pub async fn stop(&self) {}

    /// Creates a device. `token` is the ClientRequestToken: the same token with the same
    /// parameters within 10 minutes gives the same device, with others a Conflict.
    pub async fn create_device(
        &self,
        new: NewDevice,
        token: Option<&str>,
    ) -> Result<Device, Refused> {
        let _ = (new, token);
        Err(not_wired())
    }

    /// Finds one device.
    pub async fn device(&self, key: DeviceKey) -> Result<Device, Refused> {
        let _ = key;
        Err(not_wired())
    }

    /// Lists devices in id order.
    pub async fn devices(
        &self,
        filter: DeviceFilter,
        page: PageRequest,
    ) -> Result<Page<DeviceSummary>, Refused> {
        let _ = (filter, page);
        Err(not_wired())
    }

    /// Changes a device; a new identity or secret ends its sessions.
    pub async fn update_device(&self, id: &str, change: DeviceChange) -> Result<(), Refused> {
        let _ = (id, change);
        Err(not_wired())
    }

    /// Deletes a device, its queue and its sessions.
    pub async fn delete_device(&self, id: &str) -> Result<(), Refused> {
        let _ = id;
        Err(not_wired())
    }

    /// Creates a destination. `token` as in [`Control::create_device`].
    pub async fn create_destination(
        &self,
        new: Destination,
        token: Option<&str>,
    ) -> Result<Destination, Refused> {
        let _ = (new, token);
        Err(not_wired())
    }

    /// Finds one destination.
    pub async fn destination(&self, name: &str) -> Result<Destination, Refused> {
        let _ = name;
        Err(not_wired())
    }

    /// Lists destinations in name order.
    pub async fn destinations(&self, page: PageRequest) -> Result<Page<Destination>, Refused> {
        let _ = page;
        Err(not_wired())
    }

    /// Changes a destination.
    pub async fn update_destination(
        &self,
        name: &str,
        change: DestinationChange,
    ) -> Result<(), Refused> {
        let _ = (name, change);
        Err(not_wired())
    }

    /// Deletes a destination; Conflict while a device uses it.
    pub async fn delete_destination(&self, name: &str) -> Result<(), Refused> {
        let _ = name;
        Err(not_wired())
    }

    /// Creates a rule; Conflict when the name is taken.
    pub async fn create_rule(&self, rule: Rule) -> Result<(), Refused> {
        let _ = rule;
        Err(not_wired())
    }

    /// Replaces a rule that exists.
    pub async fn replace_rule(&self, rule: Rule) -> Result<(), Refused> {
        let _ = rule;
        Err(not_wired())
    }

    /// Finds one rule.
    pub async fn rule(&self, name: &str) -> Result<Rule, Refused> {
        let _ = name;
        Err(not_wired())
    }

    /// Lists rules in name order.
    pub async fn rules(&self, page: PageRequest) -> Result<Page<Rule>, Refused> {
        let _ = page;
        Err(not_wired())
    }

    /// Enables or disables a rule.
    pub async fn enable_rule(&self, name: &str, enabled: bool) -> Result<(), Refused> {
        let _ = (name, enabled);
        Err(not_wired())
    }

    /// Deletes a rule; destinations that name it publish nothing until it is back.
    pub async fn delete_rule(&self, name: &str) -> Result<(), Refused> {
        let _ = name;
        Err(not_wired())
    }

    /// Accepts a message for a device. QueueMode 1: durable when this returns.
    pub async fn send(&self, device: &str, downlink: Downlink) -> Result<MessageId, Refused> {
        let _ = (device, downlink);
        Err(not_wired())
    }

    /// Lists the open messages of a device in delivery order.
    pub async fn queued_messages(
        &self,
        device: &str,
        page: PageRequest,
    ) -> Result<Page<QueuedMessage>, Refused> {
        let _ = (device, page);
        Err(not_wired())
    }

    /// Deletes one open message; a message already sent is a Conflict.
    pub async fn delete_queued_message(&self, device: &str, message: &str) -> Result<(), Refused> {
        let _ = (device, message);
        Err(not_wired())
    }

    /// Deletes every message of the device that was not sent yet (`messageId=*`).
    pub async fn delete_queued_messages(&self, device: &str) -> Result<(), Refused> {
        let _ = device;
        Err(not_wired())
    }

    /// The life of a message so far.
    pub async fn message_status(
        &self,
        device: &str,
        message: &str,
    ) -> Result<MessageStatus, Refused> {
        let _ = (device, message);
        Err(not_wired())
    }

    /// The uplinks after cursor `after` (`Some(0)`: from the oldest kept; `None`: only new ones).
    /// NotFound(UplinkStream) when a broker is configured. Never ends by itself.
    pub async fn uplinks(&self, after: Option<u64>) -> Result<UplinkStream, Refused> {
        let _ = after;
        Err(not_wired())
    }

    /// Is everything well?
    pub async fn health(&self) -> Health {
        Health {
            workers: Vec::new(),
            publisher: PublisherHealth {
                kind: "stream",
                connected: false,
                in_flight: 0,
                confirmed: 0,
                unavailable: 0,
            },
            sessions: 0,
            open_messages: 0,
            store_ok: false,
        }
    }
}

fn not_wired() -> Refused {
    Refused::Internal { message: "the control plane has not started".to_owned() }
}
