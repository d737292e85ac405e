//! What is a device? Its record, and what Create and Update ask for.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{DeviceId, Fingerprint, ProfileId, PublicKey, SecurityMode, SourceAddress, Tag};

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
    /// The application profile it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_profile: Option<ProfileId>,
    /// The thing of AWS IoT it is associated with, by ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_arn: Option<String>,
    /// ≤ 50.
    pub tags: Vec<Tag>,
    /// Unix time of creation, milliseconds.
    pub created_unix_ms: u64,
}

/// One network block of a stored device. What names the device is unique among devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkBlock {
    /// IMEI or MAC address, unique among devices.
    pub hardware: Option<String>,
    /// PSK identity, 32–256 printable ASCII characters without spaces, unique among devices.
    pub identity: Option<String>,
    /// Its key in mode RawPublicKey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_public_key: Option<PublicKey>,
    /// A name in its certificate: `CN=…`, `DNS:…` or `URI:…`, or the name alone for any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_name: Option<String>,
    /// Its certificate, whatever names stand in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_fingerprint: Option<Fingerprint>,
    /// Where it sends from in mode NoSec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<SourceAddress>,
    /// Where it listens: the edge opens a session to it (with the PSK) when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// What it may use; `None`: everything it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_modes: Option<Vec<SecurityMode>>,
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
    /// An application profile's id as it came.
    pub application_profile: Option<String>,
    /// See [`Device::tags`].
    pub tags: Vec<Tag>,
}

/// A network block as it arrives in Create and Update; in Update only what is `Some` changes, and
/// what is empty is removed.
#[derive(Clone, Default, Serialize)]
pub struct NewNetwork {
    /// `Imei` or `MacAddress`.
    pub hardware: Option<String>,
    /// `PreSharedKeyIdentity`.
    pub identity: Option<String>,
    /// `PreSharedKeySecret` as printed: 32–512 characters, `0x…` is hex.
    #[serde(skip)]
    pub secret: Option<Zeroizing<String>>,
    /// `RawPublicKey`: base64 or PEM of a SubjectPublicKeyInfo.
    pub raw_public_key: Option<String>,
    /// `CertificateName`: `CN=…`, `DNS:…` or `URI:…`.
    pub certificate_name: Option<String>,
    /// `CertificateFingerprint`: 64 hex digits.
    pub certificate_fingerprint: Option<String>,
    /// `NoSec.SourceAddress`: `ip` or `ip:port`.
    pub source_address: Option<String>,
    /// `Endpoint`: `ip:port`.
    pub endpoint: Option<String>,
    /// `SecurityModes`.
    pub security_modes: Option<Vec<SecurityMode>>,
}

/// Shows no secret.
impl fmt::Debug for NewNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewNetwork")
            .field("hardware", &self.hardware)
            .field("identity", &self.identity)
            .field("secret", &self.secret.as_ref().map(|_| "redacted"))
            .field("raw_public_key", &self.raw_public_key)
            .field("certificate_name", &self.certificate_name)
            .field("certificate_fingerprint", &self.certificate_fingerprint)
            .field("source_address", &self.source_address)
            .field("endpoint", &self.endpoint)
            .field("security_modes", &self.security_modes)
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
    /// Another application profile; empty: none from now on.
    pub application_profile: Option<String>,
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
    /// `ThingName`.
    Thing(String),
}

/// Filters of ListWirelessDevices.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    /// Only devices of this destination.
    pub destination: Option<String>,
    /// Only devices of this application profile.
    pub application_profile: Option<String>,
}
