//! Which shapes have the requests and answers about what the edge has for a device: resources,
//! payloads that come before their messages; and why messages wait?

use super::Kind::{Integer, List, Structure, Text};
use super::shapes::{FORMAT, NEXT, SEGMENTS, TEXT};
use super::{Member, may, must};
use crate::api::validate::Rule;
use crate::api::{options, shape};

/// PutWirelessDeviceResource.
pub const RESOURCE: &[Member] = &[
    must("UriPaths", SEGMENTS),
    may("PayloadData", Text(&shape::PAYLOAD_DATA)),
    may("PayloadReference", Text(&shape::PAYLOAD_REFERENCE)),
    may("ContentFormat", FORMAT),
    may("MaxAge", Integer(0, u32::MAX as i64)),
];
/// What it answers.
pub const RESOURCE_SET: &[Member] = &[must("ETag", Text(&options::ETAG))];
const RESOURCE_LISTED: super::Kind = Structure(&[
    must("UriPaths", SEGMENTS),
    may("PayloadData", TEXT),
    may("PayloadReference", TEXT),
    may("ContentFormat", TEXT),
    must("MaxAge", Integer(0, u32::MAX as i64)),
    must("ETag", Text(&options::ETAG)),
    must("ChangedAt", TEXT),
]);
/// ListWirelessDeviceResources.
pub const RESOURCES: &[Member] =
    &[must("WirelessDeviceResourceList", List(&RESOURCE_LISTED, 250)), NEXT];

/// Longest payload that a message may refer to, bytes: what Block1 can number (RFC 7959).
const PAYLOAD_BYTES: i64 = crate::payloads::BYTES_MAX.cast_signed();
/// CreatePayload.
pub const NEW_PAYLOAD: &[Member] =
    &[may("Name", Text(&shape::NAME)), must("Bytes", Integer(1, PAYLOAD_BYTES))];
/// PutPayloadPart.
pub const PAYLOAD_PART: &[Member] =
    &[must("Offset", Integer(0, PAYLOAD_BYTES)), must("PayloadData", Text(&shape::PAYLOAD_DATA))];
/// What they answer, and GetPayload.
pub const PAYLOAD: &[Member] = &[
    must("Id", TEXT),
    must("PayloadReference", TEXT),
    may("Name", TEXT),
    must("Bytes", Integer(1, PAYLOAD_BYTES)),
    must("ReceivedBytes", Integer(0, PAYLOAD_BYTES)),
    must("CreatedAt", TEXT),
    must("ExpiresAt", TEXT),
];
/// ListPayloads.
pub const PAYLOADS: &[Member] = &[must("PayloadList", List(&Structure(PAYLOAD), 250)), NEXT];

/// Why a message waits.
pub(super) const WAIT: Rule = Rule::one_of(&[
    "BEHIND_ANOTHER",
    "NSTART",
    "NO_SESSION",
    "CONNECTING",
    "DATAPLANE_AWAY",
    "ASLEEP",
    "WINDOW_CLOSED",
    "PROBING_RATE",
    "CELL_WINDOW",
    "HANDED_OVER",
]);
