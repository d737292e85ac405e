//! What does the control plane know? Devices, destinations, rules, messages, and why it refuses.
//!
//! These are the types of the facade [`crate::control::Control`]: the API reads and writes them,
//! the core and the store keep them. No secret is readable through any of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new random id (UUID version 4): no node has to ask another one.
            pub fn random() -> Self {
                Self(Uuid::new_v4().into_bytes())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(|uuid| Self(uuid.into_bytes()))
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
        impl TryFrom<String> for $name {
            type Error = uuid::Error;
            fn try_from(text: String) -> Result<Self, uuid::Error> {
                text.parse()
            }
        }
    };
}

uuid_id! {
    /// A wireless device, the same bytes as [`tidegate_ring::contract::DeviceId`].
    DeviceId
}
uuid_id! {
    /// A message towards a device, the same bytes as [`tidegate_ring::contract::MessageId`].
    MessageId
}

/// A tag of a resource; kept and returned, no meaning yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// 1–128 characters.
    pub key: String,
    /// 0–256 characters.
    pub value: String,
}

/// Which block of the device record: how the device reaches us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Network {
    /// Known by its IMEI.
    Cellular,
    /// Known by its MAC address.
    WiFi,
}

impl Network {
    /// The name in requests, answers and uplinks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cellular => "Cellular",
            Self::WiFi => "WiFi",
        }
    }
}

/// A stored device. Its secrets are elsewhere, sealed, and never come back out of the facade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Given at creation.
    pub id: DeviceId,
    /// ≤ 256 characters.
    pub name: Option<String>,
    /// ≤ 2048 characters.
    pub description: Option<String>,
    /// Name of an existing destination.
    pub destination: String,
    /// The `Cellular` block; `hardware` is the IMEI (15 digits).
    pub cellular: Option<NetworkBlock>,
    /// The `WiFi` block; `hardware` is the MAC address (12 hex digits, lower case, with colons).
    pub wifi: Option<NetworkBlock>,
    /// `Positioning` as given: `Enabled` or `Disabled`.
    pub positioning: Option<String>,
    /// ≤ 200.
    pub tags: Vec<Tag>,
    /// Unix time of creation, milliseconds.
    pub created_unix_ms: u64,
}

/// One network block of a stored device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBlock {
    /// IMEI or MAC address, unique among devices.
    pub hardware: Option<String>,
    /// PSK identity, 32–256 printable ASCII characters without spaces, unique among devices.
    pub identity: Option<String>,
}

/// A device as the list shows it.
#[derive(Clone, Debug)]
pub struct DeviceSummary {
    /// The record.
    pub device: Device,
    /// Unix time of the last uplink, milliseconds (within a minute after a restart).
    pub last_uplink_unix_ms: Option<u64>,
}

/// What CreateWirelessDevice asks for. Text is validated by the facade.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    /// See [`Device::name`].
    pub name: Option<String>,
    /// See [`Device::description`].
    pub description: Option<String>,
    /// See [`Device::destination`].
    pub destination: String,
    /// The `Cellular` block.
    pub cellular: Option<NewNetwork>,
    /// The `WiFi` block.
    pub wifi: Option<NewNetwork>,
    /// See [`Device::positioning`].
    pub positioning: Option<String>,
    /// See [`Device::tags`].
    pub tags: Vec<Tag>,
}

/// A network block as it arrives in Create and Update; in Update only what is `Some` changes.
#[derive(Clone, Default)]
pub struct NewNetwork {
    /// `Imei` or `MacAddress`.
    pub hardware: Option<String>,
    /// `PreSharedKeyIdentity`.
    pub identity: Option<String>,
    /// `PreSharedKeySecret` as printed: 32–512 characters, `0x…` is hex.
    pub secret: Option<Zeroizing<String>>,
}

/// Shows no secret.
impl fmt::Debug for NewNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewNetwork")
            .field("hardware", &self.hardware)
            .field("identity", &self.identity)
            .field("secret", &self.secret.as_ref().map(|_| "redacted"))
            .finish()
    }
}

/// What UpdateWirelessDevice changes: only what is `Some`.
#[derive(Clone, Debug, Default)]
pub struct DeviceChange {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New destination.
    pub destination: Option<String>,
    /// Changes of the `Cellular` block.
    pub cellular: Option<NewNetwork>,
    /// Changes of the `WiFi` block.
    pub wifi: Option<NewNetwork>,
    /// New positioning.
    pub positioning: Option<String>,
}

/// How GetWirelessDevice names a device (`identifierType`).
#[derive(Clone, Debug)]
pub enum DeviceKey {
    /// `WirelessDeviceId`: the text as it came, malformed ids are just not found.
    Id(String),
    /// `Imei`.
    Imei(String),
    /// `MacAddress`, any usual spelling.
    MacAddress(String),
    /// `PreSharedKeyIdentity`.
    Identity(String),
}

/// Filters of ListWirelessDevices.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    /// Only devices of this destination.
    pub destination: Option<String>,
}

/// A destination: where the uplinks of its devices go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// `[a-zA-Z0-9-_]+`, ≤ 128 characters; the key.
    pub name: String,
    /// How to read `expression`.
    pub expression_type: ExpressionType,
    /// A topic or a rule's name, ≤ 2048 characters.
    pub expression: String,
    /// ≤ 2048 characters.
    pub description: Option<String>,
    /// 20–2048 characters; kept, no meaning here.
    pub role_arn: String,
    /// ≤ 200.
    pub tags: Vec<Tag>,
    /// Unix time of creation, milliseconds (the facade sets it).
    pub created_unix_ms: u64,
}

/// How a destination's expression is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpressionType {
    /// The rule of that name runs.
    RuleName,
    /// Published to that topic.
    MqttTopic,
}

/// What UpdateDestination changes: only what is `Some`.
#[derive(Clone, Debug, Default)]
pub struct DestinationChange {
    /// New expression type.
    pub expression_type: Option<ExpressionType>,
    /// New expression.
    pub expression: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New role.
    pub role_arn: Option<String>,
}

/// A topic rule (AWS IoT's shape).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `[a-zA-Z0-9_]+`, ≤ 128 characters; the key.
    pub name: String,
    /// `SELECT * [FROM '…']` for now.
    pub sql: String,
    /// Free text.
    pub description: Option<String>,
    /// A disabled rule publishes nothing: its devices get 4.04.
    pub disabled: bool,
    /// `2015-10-08` or `2016-03-23`.
    pub sql_version: Option<String>,
    /// 1–10 actions.
    pub actions: Vec<Action>,
    /// Unix time of creation, milliseconds (the facade sets it).
    pub created_unix_ms: u64,
}

/// What a rule does with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Publishes to another topic.
    Republish {
        /// A plain topic.
        topic: String,
        /// 0 or 1; sent with QoS 1 either way, since a 2.xx promises a PUBACK.
        qos: u8,
        /// Kept, no meaning here.
        role_arn: Option<String>,
    },
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

/// CON or NON (RFC 7252 section 4.2, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageType {
    /// Acknowledged by the device.
    Confirmable,
    /// Sent once.
    NonConfirmable,
}

/// The request methods of RFC 7252 section 5.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Method {
    Get = 1,
    Post = 2,
    Put = 3,
    Delete = 4,
}

impl Method {
    /// The name in requests and uplinks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// What SendDataToWirelessDevice asks for.
#[derive(Clone, Debug)]
pub enum Downlink {
    /// A request for the device's CoAP server.
    Request(DownlinkRequest),
    /// The answer to a GET or POST of the device.
    Response(DownlinkResponse),
}

/// A request for the device's CoAP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownlinkRequest {
    /// CON or NON.
    pub message_type: MessageType,
    /// GET, POST, PUT, DELETE.
    pub method: Method,
    /// One Uri-Path segment each, ≤ 255 bytes.
    pub uri_paths: Vec<String>,
    /// One Uri-Query each (`key=value`), ≤ 255 bytes.
    pub uri_query: Vec<String>,
    /// Content-Format number (the registry's names are `tidegate_coap::content_format`'s).
    pub content_format: Option<u16>,
    /// Accept number.
    pub accept: Option<u16>,
    /// Now or never, or kept for the device's next sign of life.
    pub queue_mode: QueueMode,
    /// ≤ [`crate::control::PAYLOAD_BYTES_MAX`].
    #[serde(with = "base64_text")]
    pub payload: Vec<u8>,
}

/// The answer to a request of the device.
#[derive(Clone, Debug)]
pub struct DownlinkResponse {
    /// `ResponseToken` of the uplink.
    pub token: String,
    /// Response code as it stands in the message (class · 32 + detail), 2.xx–5.xx.
    pub status: u8,
    /// One Location-Path segment each.
    pub location_path: Vec<String>,
    /// Content-Format number.
    pub content_format: Option<u16>,
    /// ≤ [`crate::control::PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
}

/// `QueueMode` of a downlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueMode {
    /// 0: straight to the device's session; no session: FAILED.
    Immediate,
    /// 1: durable, in order, delivered when the device shows itself.
    Queued,
}

/// A message that has not reached its final state.
#[derive(Clone, Debug)]
pub struct QueuedMessage {
    /// Its id.
    pub id: MessageId,
    /// To whom.
    pub device: DeviceId,
    /// Unix time of acceptance, milliseconds.
    pub accepted_unix_ms: u64,
    /// What is to be sent.
    pub request: DownlinkRequest,
    /// `Queued`, `Sent` or `Delivered`.
    pub state: MessageState,
}

/// Where a message is in its life (DESIGN section 8). The state it has when it ends is its final
/// one: `Sent` for a NON that is never answered, `Delivered` for an answer or a CON without
/// response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageState {
    /// Accepted, not sent yet.
    Queued,
    /// Left this machine at least once.
    Sent,
    /// Acknowledged by the device; its response may follow.
    Delivered,
    /// Final: the device responded.
    Responded,
    /// Final: see [`Failure`].
    Failed(Failure),
    /// Final: too old before it could be sent.
    Expired,
    /// Final: deleted by the application before it was sent.
    Deleted,
}

impl MessageState {
    /// The name in answers: `QUEUED`, `SENT`, … `DELETED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Sent => "SENT",
            Self::Delivered => "DELIVERED",
            Self::Responded => "RESPONDED",
            Self::Failed(_) => "FAILED",
            Self::Expired => "EXPIRED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Why a message failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No acknowledgement, or nothing heard of it any more.
    Timeout,
    /// The device answered RST.
    Reset,
    /// The device has no session.
    NoSession,
    /// The worker had no room.
    Busy,
    /// The request it answers is gone.
    TokenGone,
    /// The message does not fit.
    Malformed,
    /// The dataplane restarted while it was under way.
    Restarted,
}

/// The life of one message so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStatus {
    /// Which message.
    pub id: MessageId,
    /// To whom.
    pub device: DeviceId,
    /// Now.
    pub state: MessageState,
    /// Unix time of acceptance, milliseconds.
    pub accepted_unix_ms: u64,
    /// Unix time it first left, milliseconds.
    pub sent_unix_ms: Option<u64>,
    /// Unix time of the acknowledgement, milliseconds.
    pub delivered_unix_ms: Option<u64>,
    /// Unix time of the final state, milliseconds; `None`: still open.
    pub ended_unix_ms: Option<u64>,
}

impl MessageStatus {
    /// A message that was just accepted.
    pub fn accepted(id: MessageId, device: DeviceId, unix_ms: u64) -> Self {
        Self {
            id,
            device,
            state: MessageState::Queued,
            accepted_unix_ms: unix_ms,
            sent_unix_ms: None,
            delivered_unix_ms: None,
            ended_unix_ms: None,
        }
    }
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

/// What the facade names in errors (`ResourceType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// A wireless device.
    WirelessDevice,
    /// A destination.
    Destination,
    /// A topic rule.
    Rule,
    /// A message towards a device.
    Message,
    /// The uplink stream (absent while a broker is configured).
    UplinkStream,
}

impl ResourceType {
    /// The name in error bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WirelessDevice => "WirelessDevice",
            Self::Destination => "Destination",
            Self::Rule => "Rule",
            Self::Message => "Message",
            Self::UplinkStream => "UplinkStream",
        }
    }
}

/// Why a request was refused. Carries no secret and no payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 400: `1 validation error detected. Value at 'path' failed to satisfy constraint: …`.
    Validation {
        /// Member path, e.g. `Cellular.DtlsV1_2.PreSharedKeySecret`.
        path: String,
        /// `Member must …`.
        constraint: String,
    },
    /// 404.
    NotFound {
        /// Kind of the missing resource.
        resource_type: ResourceType,
        /// Its name as asked for.
        resource_id: String,
    },
    /// 409.
    Conflict {
        /// Kind of the resource in the way.
        resource_type: ResourceType,
        /// Its id or name (empty when unknown).
        resource_id: String,
        /// For people.
        message: String,
    },
    /// 429: a queue is full; nothing was kept.
    Throttled {
        /// For people.
        message: String,
    },
    /// 500: the store or the machine failed; nothing is promised.
    Internal {
        /// For people; the cause is in the log.
        message: String,
    },
}

impl Refused {
    /// A validation error in AWS's words.
    pub fn invalid(path: &str, constraint: impl Into<String>) -> Self {
        Self::Validation { path: path.to_owned(), constraint: constraint.into() }
    }
    /// A missing resource.
    pub fn not_found(resource_type: ResourceType, resource_id: impl fmt::Display) -> Self {
        Self::NotFound { resource_type, resource_id: resource_id.to_string() }
    }
    /// A resource in the way.
    pub fn conflict(
        resource_type: ResourceType,
        resource_id: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        let resource_id = resource_id.to_string();
        Self::Conflict { resource_type, resource_id, message: message.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Validation { path, constraint } => write!(
                f,
                "1 validation error detected. Value at '{path}' failed to satisfy constraint: \
                 {constraint}"
            ),
            Self::NotFound { resource_type, resource_id } => {
                write!(f, "{} {resource_id} does not exist", resource_type.as_str())
            }
            Self::Conflict { message, .. }
            | Self::Throttled { message }
            | Self::Internal { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for Refused {}

/// Payloads as base64 in stored JSON records.
mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
