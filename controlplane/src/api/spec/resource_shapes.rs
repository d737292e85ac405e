//! Which shapes have the requests and answers about what the edge has for a device?

use super::Kind::{Integer, List, Structure, Text};
use super::shapes::{FORMAT, NEXT, SEGMENTS, TEXT};
use super::{Member, may, must};
use crate::api::{options, shape};

/// PutWirelessDeviceResource.
pub const RESOURCE: &[Member] = &[
    must("UriPaths", SEGMENTS),
    must("PayloadData", Text(&shape::PAYLOAD_DATA)),
    may("ContentFormat", FORMAT),
    may("MaxAge", Integer(0, u32::MAX as i64)),
];
/// What it answers.
pub const RESOURCE_SET: &[Member] = &[must("ETag", Text(&options::ETAG))];
const RESOURCE_LISTED: super::Kind = Structure(&[
    must("UriPaths", SEGMENTS),
    must("PayloadData", TEXT),
    may("ContentFormat", TEXT),
    must("MaxAge", Integer(0, u32::MAX as i64)),
    must("ETag", Text(&options::ETAG)),
    must("ChangedAt", TEXT),
]);
/// ListWirelessDeviceResources.
pub const RESOURCES: &[Member] =
    &[must("WirelessDeviceResourceList", List(&RESOURCE_LISTED, 250)), NEXT];
