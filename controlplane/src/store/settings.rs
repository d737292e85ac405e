//! What was said of all devices of an account, and of one? Read where it counts.

use serde_json::Value;

use super::records::read;
use super::{Store, StoreError, Table, keys};
use crate::model::{DeviceId, LogLevel, LogLevels, ResourceLogLevel};

/// What is logged of an event (`Join`, `Rejoin`, `Uplink_Data`, `Downlink_Data`, `Registration`)
/// of a device: what was said of the device itself counts before everything else. `store` is what
/// the device's account sees ([`Store::within`]).
pub fn log_level(store: &dyn Store, device: DeviceId, event: &str) -> Result<LogLevel, StoreError> {
    let key = keys::resource_log_level("WirelessDevice", &device.to_string());
    if let Some(own) = read::<ResourceLogLevel>(store, Table::Settings, &key)? {
        return Ok(own.log_level);
    }
    let levels = read::<LogLevels>(store, Table::Settings, keys::LOG_LEVELS)?;
    Ok(levels.unwrap_or_default().of(event))
}

/// An event that may be told (section "events" of the documentation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A DTLS session came up.
    Join,
    /// A device has a session, or none any more.
    ConnectionStatus,
    /// A message reached its end.
    MessageDeliveryStatus,
    /// A device has acknowledged or answered a message.
    MessageAcknowledgement,
    /// A device was registered, or is no more.
    DeviceRegistrationState,
}

impl Event {
    /// Its name in the configuration.
    fn member(self) -> &'static str {
        match self {
            Self::Join => "Join",
            Self::ConnectionStatus => "ConnectionStatus",
            Self::MessageDeliveryStatus => "MessageDeliveryStatus",
            Self::MessageAcknowledgement => "MessageAcknowledgement",
            Self::DeviceRegistrationState => "DeviceRegistrationState",
        }
    }

    /// Its name in topics.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::ConnectionStatus => "connection_status",
            Self::MessageDeliveryStatus => "message_delivery_status",
            Self::MessageAcknowledgement => "message_acknowledgement",
            Self::DeviceRegistrationState => "device_registration_state",
        }
    }
}

/// Is an event of a device told: on the topic of all devices, on the device's own? `store` as in
/// [`log_level`].
pub fn is_told(
    store: &dyn Store,
    device: DeviceId,
    event: Event,
) -> Result<(bool, bool), StoreError> {
    let is_on = |said: Option<Value>, of: &[&str]| {
        let place = said.as_ref().and_then(|said| {
            of.iter().try_fold(&said[event.member()], |place, name| place.get(name))
        });
        place.and_then(Value::as_str) == Some("Enabled")
    };
    let all = read::<Value>(store, Table::Settings, keys::EVENTS)?;
    let own = keys::resource_events(&device.to_string());
    let own = read::<Value>(store, Table::Settings, &own)?;
    let of_all = is_on(all, &["CoAP", "WirelessDeviceEventTopic"]);
    Ok((of_all, is_on(own, &["WirelessDeviceIdEventTopic"])))
}
