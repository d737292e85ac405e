//! What does the control plane know? Devices, destinations, rules, messages, and why it refuses.
//!
//! These are the types of the facade [`crate::control::Control`]: the API reads and writes them,
//! the core and the store keep them. No secret is readable through any of them.

mod action;
mod authority;
mod destination;
mod device;
mod edge_resource;
mod id;
mod import;
mod layout;
mod message;
mod metric;
mod profile;
mod refused;
mod resource;
mod security;
mod settings;
mod upload;

pub use action::{Action, Header};
pub use authority::Authority;
pub use destination::{Destination, DestinationChange, ExpressionType, Rule};
pub use device::{
    Device, DeviceChange, DeviceFilter, DeviceKey, DeviceSummary, Network, NetworkBlock, NewDevice,
    NewNetwork,
};
pub use edge_resource::{
    EdgeResource, NewEdgeResource, RESOURCE_BYTES_MAX, RESOURCE_FIRST_BYTES, RESOURCE_MAX_AGE_S,
    RESOURCE_PATH_BYTES_MAX, RESOURCES_PER_DEVICE_MAX,
};
pub use id::{DeviceId, ImportId, MessageId, ProfileId, UploadId};
pub use import::{ImportSource, ImportStatus, ImportTask, Imported};
pub use layout::{Holds, INITIAL_BYTES_MAX, Initial, LAYOUT_ROWS_MAX, LayoutRow};
pub(crate) use message::base64_text;
pub use message::{
    CoapOption, Downlink, DownlinkRequest, DownlinkResponse, Failure, MessageState, MessageStatus,
    MessageType, Method, PayloadReference, Priority, QueueMode, QueuedMessage, TTL_S_MAX, Wait,
};
pub use metric::{METRIC_NAMES, Metric, MetricOf, Period, Statistics};
pub use profile::{ACK_RANDOM_PERCENT, ApplicationProfile, ProfileTerms, TERM_RULES, TermRule};
pub use refused::{Refused, ResourceType};
pub use resource::{Resource, ResourceKind};
pub use security::{Fingerprint, PublicKey, SecurityMode, SecurityModes, SourceAddress, mapped};
use serde::{Deserialize, Serialize};
pub use settings::{
    EventLogOption, LogLevel, LogLevels, LogOption, MetricConfiguration, ResourceLogLevel,
    SummaryMetric, Switch,
};
pub use upload::{PIECE_BYTES, Upload};

/// A tag of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// 1–128 characters.
    pub key: String,
    /// 0–256 characters.
    pub value: String,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In key order.
    pub items: Vec<T>,
    /// Where the next page starts (opaque); `None`: this was the last one.
    pub next: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// At most so many items, 1–250; 0 or `None` is the default of 50.
    pub items_max: Option<usize>,
    /// [`Page::next`] of the page before.
    pub next: Option<String>,
}

/// One uplink of the embedded stream.
#[derive(Clone, Debug)]
pub struct StreamedUplink {
    /// Ascending, never reused: resume with it.
    pub cursor: u64,
    /// The topic it would have been published to.
    pub topic: String,
    /// The uplink JSON.
    pub json: String,
}
