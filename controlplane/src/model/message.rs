//! What goes to a device, and what becomes of it?

use serde::{Deserialize, Serialize};
use tidegate_coap::option::Number;

use super::{DeviceId, MessageId};

/// CON or NON (RFC 7252 section 4.2, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageType {
    /// Acknowledged by the device.
    Confirmable,
    /// Sent once.
    NonConfirmable,
}

/// The request methods of RFC 7252 section 5.8 and RFC 8132.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Method {
    Get = 1,
    Post = 2,
    Put = 3,
    Delete = 4,
    Fetch = 5,
    Patch = 6,
    IPatch = 7,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Post, Self::Put, Self::Delete, Self::Fetch, Self::Patch, Self::IPatch];

    /// The name in requests and uplinks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Fetch => "FETCH",
            Self::Patch => "PATCH",
            Self::IPatch => "IPATCH",
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
    /// Which.
    pub method: Method,
    /// One Uri-Path segment each, ≤ 255 bytes.
    pub uri_paths: Vec<String>,
    /// One Uri-Query each (`key=value`), ≤ 255 bytes.
    pub uri_query: Vec<String>,
    /// Content-Format number (the registry's names are `tidegate_coap::content_format`'s).
    pub content_format: Option<u16>,
    /// Accept number.
    pub accept: Option<u16>,
    /// What else its options say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<CoapOption>,
    /// Now or never, or kept for the device's next sign of life.
    pub queue_mode: QueueMode,
    /// Before which others it goes.
    #[serde(default)]
    pub priority: Priority,
    /// A queued message that waited so long expires, seconds; `None`: as the device's application
    /// profile has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
    /// ≤ [`crate::control::PAYLOAD_BYTES_MAX`].
    #[serde(with = "base64_text")]
    pub payload: Vec<u8>,
    /// Where the payload lies instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<PayloadReference>,
}

/// A payload that lies elsewhere, as it was when its message was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadReference {
    /// `s3://bucket/key`.
    pub url: String,
    /// How long it is.
    pub bytes: u32,
    /// Changes when it does.
    pub etag: Option<String>,
}

impl PayloadReference {
    /// To what is not looked for yet.
    pub fn to(url: String) -> Self {
        Self { url, bytes: 0, etag: None }
    }
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
    /// What else its options say.
    pub options: Vec<CoapOption>,
    /// ≤ [`crate::control::PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
    /// Where the payload lies instead.
    pub reference: Option<PayloadReference>,
}

/// An option that has no member of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoapOption {
    /// Of the registry.
    pub number: u16,
    /// As it stands in the message.
    #[serde(with = "base64_text")]
    pub value: Vec<u8>,
}

impl CoapOption {
    /// With these bytes.
    pub fn new(number: Number, value: &[u8]) -> Self {
        Self { number: number.0, value: value.to_vec() }
    }

    /// With a number in its shortest form (RFC 7252 section 3.2).
    pub fn uint(number: Number, value: u32) -> Self {
        let zeros = value.leading_zeros() as usize / 8;
        Self::new(number, &value.to_be_bytes()[zeros..])
    }
}

/// Longest time that a message may wait, seconds: a year.
pub const TTL_S_MAX: u32 = 31_536_000;

/// Which of the messages that wait for a device goes first. Those of one level go in the order of
/// their acceptance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Priority {
    /// Before everything else.
    Urgent = 0,
    /// Before what is normal.
    High = 1,
    /// What was not said otherwise.
    #[default]
    Normal = 2,
    /// When nothing else waits.
    Low = 3,
}

impl Priority {
    /// Every level, the first to go first.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::High, Self::Normal, Self::Low];

    /// The name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "URGENT",
            Self::High => "HIGH",
            Self::Normal => "NORMAL",
            Self::Low => "LOW",
        }
    }
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
    /// Unix time after which it is not sent any more, milliseconds.
    pub expires_unix_ms: Option<u64>,
    /// What is to be sent.
    pub request: DownlinkRequest,
    /// `Queued`, `Sent` or `Delivered`.
    pub state: MessageState,
    /// Why it waits, when it does.
    pub wait: Option<Wait>,
}

/// Where a message is in its life (DESIGN section 8). The state it has when it ends is its final
/// one: `Sent` for a NON that is never answered, `Delivered` for an answer or a CON without
/// response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageState {
    /// Accepted, not sent yet: `PENDING`.
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
    /// The name in answers: `PENDING`, `SENT`, … `DELETED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "PENDING",
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
    /// The message does not fit, or the blocks of the response do not fit each other.
    Malformed,
    /// The device's response is longer than it may be.
    TooLarge,
    /// The dataplane restarted while it was under way.
    Restarted,
    /// What it refers to is not there any more, or can't be read.
    PayloadGone,
    /// What it refers to is not what it was.
    PayloadChanged,
}

impl Failure {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "TIMEOUT",
            Self::Reset => "RESET",
            Self::NoSession => "NO_SESSION",
            Self::Busy => "BUSY",
            Self::TokenGone => "TOKEN_GONE",
            Self::Malformed => "MALFORMED",
            Self::TooLarge => "TOO_LARGE",
            Self::Restarted => "RESTARTED",
            Self::PayloadGone => "PAYLOAD_GONE",
            Self::PayloadChanged => "PAYLOAD_CHANGED",
        }
    }
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
    /// Unix time after which it is not sent any more, milliseconds; `None`: it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
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
            expires_unix_ms: None,
            sent_unix_ms: None,
            delivered_unix_ms: None,
            ended_unix_ms: None,
        }
    }
}

/// Payloads as base64 in stored JSON records.
pub(crate) mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

/// Why a message that was accepted has not been sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// One that goes before it waits, too.
    BehindAnother,
    /// As many requests are outstanding with its device as may be (RFC 7252 section 4.7).
    Nstart,
    /// Its device has no session.
    NoSession,
    /// The edge is opening a session.
    Connecting,
    /// The worker that has the session is away.
    DataplaneAway,
    /// The device has not shown itself since the message came, or since it did not answer.
    Asleep,
    /// The device listens no more, by its profile.
    WindowClosed,
    /// Nothing was heard of its device, which gets PROBING_RATE (RFC 7252 section 4.7).
    ProbingRate,
    /// As much as may be is under way to the devices of its cell.
    CellWindow,
    /// It is with the worker, which has not said that it left.
    HandedOver,
}

impl Wait {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BehindAnother => "BEHIND_ANOTHER",
            Self::Nstart => "NSTART",
            Self::NoSession => "NO_SESSION",
            Self::Connecting => "CONNECTING",
            Self::DataplaneAway => "DATAPLANE_AWAY",
            Self::Asleep => "ASLEEP",
            Self::WindowClosed => "WINDOW_CLOSED",
            Self::ProbingRate => "PROBING_RATE",
            Self::CellWindow => "CELL_WINDOW",
            Self::HandedOver => "HANDED_OVER",
        }
    }
}
