//! Under which key does a record lie? Fixed layouts, so that a prefix is a question.
//!
//! Ids are 16 bytes, numbers are big-endian, so that key order is the order we want to read in.

use crate::model::{DeviceId, ImportId, MessageId, Network, ProfileId};

/// `Index`: an IMEI or MAC address → device id.
pub fn hardware(network: Network, hardware: &str) -> Vec<u8> {
    let kind: &[u8] = match network {
        Network::Cellular => b"imei/",
        Network::WiFi => b"mac/",
    };
    [kind, hardware.as_bytes()].concat()
}

/// `Index`: every device of a destination has a key under this prefix.
pub fn users_of(destination: &str) -> Vec<u8> {
    [b"users/", destination.as_bytes(), b"/"].concat()
}

/// `Index`: this device uses that destination. A name has no `/`, so prefixes do not overlap.
pub fn user_of(destination: &str, device: DeviceId) -> Vec<u8> {
    [&users_of(destination)[..], &device.0].concat()
}

/// `Index`: every device of an application profile has a key under this prefix.
pub fn profile_users_of(profile: ProfileId) -> Vec<u8> {
    [&b"profile/"[..], &profile.0].concat()
}

/// `Index`: this device refers to that application profile.
pub fn profile_user_of(profile: ProfileId, device: DeviceId) -> Vec<u8> {
    [&profile_users_of(profile)[..], &device.0].concat()
}

/// `Index`: the thing of AWS IoT → device id.
pub fn thing(name: &str) -> Vec<u8> {
    [b"thing/", name.as_bytes()].concat()
}

/// `Pieces`: a piece of an upload, by what its record lies under.
pub fn piece(upload: &[u8], number: u32) -> Vec<u8> {
    [upload, &number.to_be_bytes()].concat()
}

/// Where an open message stands in its device's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Smaller goes first: [`crate::model::Priority`].
    pub priority: u8,
    /// Ascending over the life of the store.
    pub order: u64,
}

/// `Queue`: one open message.
pub fn queued(device: DeviceId, place: Place) -> Vec<u8> {
    [&device.0[..], &[place.priority], &place.order.to_be_bytes()].concat()
}

/// The parts of a [`queued`] key.
pub fn queued_parts(key: &[u8]) -> Option<(DeviceId, Place)> {
    let (device, rest) = key.split_first_chunk::<16>()?;
    let (priority, order) = rest.split_first()?;
    let order = u64::from_be_bytes(order.try_into().ok()?);
    Some((DeviceId(*device), Place { priority: *priority, order }))
}

/// `History`: a message that ended then.
pub fn ended(unix_ms: u64, message: MessageId) -> Vec<u8> {
    [&unix_ms.to_be_bytes()[..], &message.0].concat()
}

/// The parts of an [`ended`] key.
pub fn ended_parts(key: &[u8]) -> Option<(u64, MessageId)> {
    let (unix_ms, message) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*unix_ms), MessageId(message.try_into().ok()?)))
}

/// Bytes of a [`kept`] key.
pub const KEPT_BYTES: usize = 40;

/// `Outbox`: what a device said and its destinations do not have yet, in the order it came.
pub fn kept(device: DeviceId, number: u64, message: MessageId) -> Vec<u8> {
    [&device.0[..], &number.to_be_bytes(), &message.0].concat()
}

/// The parts of a [`kept`] key.
pub fn kept_parts(key: &[u8]) -> Option<(DeviceId, u64, MessageId)> {
    let (device, rest) = key.split_first_chunk::<16>()?;
    let (number, message) = rest.split_first_chunk::<8>()?;
    let message = MessageId(message.try_into().ok()?);
    Some((DeviceId(*device), u64::from_be_bytes(*number), message))
}

/// `Sessions`: the prefix of every device's session.
pub const SESSIONS: &[u8] = b"device/";

/// `Sessions`: a device's session.
pub fn session(device: DeviceId) -> Vec<u8> {
    [SESSIONS, &device.0].concat()
}

/// `Sessions`: a worker's incarnation.
pub fn incarnation(worker: u8) -> Vec<u8> {
    [&b"worker/"[..], &[worker]].concat()
}

/// `Meta`: the number of the last trust sheet.
pub const TRUST_GENERATION: &[u8] = b"trust-generation";

/// `Tokens`: what a ClientRequestToken made.
pub fn token(operation: &str, token: &str) -> Vec<u8> {
    [operation.as_bytes(), b"/", token.as_bytes()].concat()
}

/// `Settings`: [`crate::model::LogLevels`].
pub const LOG_LEVELS: &[u8] = b"log-levels";

/// `Settings`: the prefix of what is logged of single resources.
pub const RESOURCE_LOG_LEVELS: &[u8] = b"log-level/";

/// `Settings`: [`crate::model::ResourceLogLevel`] of a resource.
pub fn resource_log_level(kind: &str, id: &str) -> Vec<u8> {
    [RESOURCE_LOG_LEVELS, kind.as_bytes(), b"/", id.as_bytes()].concat()
}

/// `Settings`: which events are told of every device.
pub const EVENTS: &[u8] = b"events";

/// `Settings`: the prefix of which events are told of single devices.
pub const RESOURCE_EVENTS: &[u8] = b"event/";

/// `Settings`: which events are told of a device.
pub fn resource_events(device: &str) -> Vec<u8> {
    [RESOURCE_EVENTS, device.as_bytes()].concat()
}

/// `Settings`: [`crate::model::MetricConfiguration`].
pub const METRICS: &[u8] = b"metrics";

/// `Settings`: changes with each change under a prefix.
pub fn settings_changes(prefix: &[u8]) -> Vec<u8> {
    [b"changes/", prefix].concat()
}

/// `Imported`: a line of an import task.
pub fn imported(task: ImportId, line: u64) -> Vec<u8> {
    [&task.0[..], &line.to_be_bytes()].concat()
}

/// The line of an [`imported`] key.
pub fn imported_line(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(16..)?.try_into().ok()?))
}

/// `Resources`: what the edge has for a device under a path.
pub fn edge_resource(device: DeviceId, path: &str) -> Vec<u8> {
    [&device.0[..], path.as_bytes()].concat()
}

const OBSERVER: u8 = b'o';
const SUBSCRIPTION: u8 = b's';

/// `Observed`: a device observes a resource of the edge, in this session, under this token.
pub fn observer(device: DeviceId, session: u64, token: &[u8]) -> Vec<u8> {
    [&device.0[..], &[OBSERVER], &session.to_be_bytes(), token].concat()
}

/// The device of an [`observer`] key.
pub fn observer_of(key: &[u8]) -> Option<DeviceId> {
    of_kind(key, OBSERVER)
}

/// `Observed`: an application observes a resource of a device, since this message.
pub fn subscription(device: DeviceId, message: MessageId) -> Vec<u8> {
    [&device.0[..], &[SUBSCRIPTION], &message.0].concat()
}

/// The device of a [`subscription`] key.
pub fn subscriber_of(key: &[u8]) -> Option<DeviceId> {
    of_kind(key, SUBSCRIPTION)
}

fn of_kind(key: &[u8], kind: u8) -> Option<DeviceId> {
    let (device, rest) = key.split_first_chunk::<16>()?;
    (rest.first() == Some(&kind)).then_some(DeviceId(*device))
}

/// `Policies`: the prefix of every class.
pub const CLASSES: &[u8] = b"class/";

/// `Policies`: what a class stands for.
pub fn class(number: u16) -> Vec<u8> {
    [CLASSES, &number.to_be_bytes()].concat()
}

/// The number of a [`class`] key.
pub fn class_number(key: &[u8]) -> Option<u16> {
    key.strip_prefix(CLASSES)?.try_into().ok().map(u16::from_be_bytes)
}

/// `Policies`: the prefix of every device's policy.
pub const POLICIES_OF_DEVICES: &[u8] = b"device/";

/// `Policies`: a device's.
pub fn policy_of_device(device: DeviceId) -> Vec<u8> {
    [POLICIES_OF_DEVICES, &device.0].concat()
}

/// `Policies`: an application profile's.
pub fn policy_of_profile(profile: ProfileId) -> Vec<u8> {
    [&b"profile/"[..], &profile.0].concat()
}

/// `CustomerLog`: the prefix of every entry, oldest first.
pub const LOG_ENTRIES: &[u8] = b"entry/";

/// `CustomerLog`: an entry.
pub fn log_entry(unix_ms: u64, number: u64) -> Vec<u8> {
    [LOG_ENTRIES, &unix_ms.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// `CustomerLog`: the prefix of a device's entries.
pub fn log_of(device: DeviceId) -> Vec<u8> {
    [&b"device/"[..], &device.0].concat()
}
