//! What stands in a record? JSON for what people may have to read, fixed bytes where it is hot.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_crypto::secret::Secret;

use super::vault::Vault;
use super::{Store, StoreError, Table};
use crate::model::{DeviceId, MessageStatus, Network};

/// A record as JSON.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("our records have string keys and no failing members")
}

/// A record from JSON; `what` names it when it is damaged.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::Corrupt(what))
}

/// Reads and decodes one record.
pub fn read<T: DeserializeOwned>(
    store: &dyn Store,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    store.get(table, key)?.map(|bytes| decode(&bytes, table.name())).transpose()
}

/// Whose PSK identity is it? `device:16 | network:1 | sealed secret`.
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// The block it stands in.
    pub network: Network,
    /// The key, sealed for the identity.
    pub sealed: Vec<u8>,
}

impl Identity {
    /// Seals `secret` for `identity`.
    pub fn seal(vault: &Vault, identity: &str, of: (DeviceId, Network), secret: &[u8]) -> Self {
        let sealed = vault.seal(identity.as_bytes(), secret);
        Self { device: of.0, network: of.1, sealed }
    }

    /// The key.
    pub fn open(&self, vault: &Vault, identity: &[u8]) -> Result<Secret, StoreError> {
        vault.open(identity, &self.sealed)
    }

    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        [&self.device.0[..], &[self.network as u8], &self.sealed].concat()
    }

    /// From what was stored.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        const DAMAGED: StoreError = StoreError::Corrupt("identity");
        let (device, rest) = bytes.split_first_chunk::<16>().ok_or(DAMAGED)?;
        let (network, sealed) = rest.split_first().ok_or(DAMAGED)?;
        let network = match network {
            0 => Network::Cellular,
            1 => Network::WiFi,
            _ => return Err(DAMAGED),
        };
        Ok(Self { device: DeviceId(*device), network, sealed: sealed.to_vec() })
    }
}

/// Where a device's session is: `session:8 | flags and network:1 | last uplink unix ms:8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// [`tidegate_ring::contract::SessionRef`]; `None` after the session ended.
    pub session: Option<u64>,
    /// The worker was told to end it (its credential is no longer good) and has not done so yet.
    pub is_ending: bool,
    /// The block it authenticated with.
    pub network: Network,
    /// Unix time of the last uplink, milliseconds; 0: none yet.
    pub last_uplink_unix_ms: u64,
}

impl Location {
    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        // No session has all bits set: a worker's number 255 and slot 2^24 - 1 do not exist.
        let session = self.session.unwrap_or(u64::MAX).to_be_bytes();
        let flags = self.network as u8 | if self.is_ending { ENDING } else { 0 };
        [&session[..], &[flags], &self.last_uplink_unix_ms.to_be_bytes()].concat()
    }

    /// From what was stored.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (session, rest) = bytes.split_first_chunk::<8>()?;
        let (flags, last) = rest.split_first()?;
        let session = u64::from_be_bytes(*session);
        Some(Self {
            session: (session != u64::MAX).then_some(session),
            is_ending: flags & ENDING != 0,
            network: if flags & 1 == 1 { Network::WiFi } else { Network::Cellular },
            last_uplink_unix_ms: u64::from_be_bytes(last.try_into().ok()?),
        })
    }
}

const ENDING: u8 = 0x80;

/// A message as stored under its id: its status and what the core needs to go on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What anyone may ask for.
    pub status: MessageStatus,
    /// How often it was handed to a worker.
    pub attempts: u8,
    /// The session it was handed to last.
    pub session: Option<u64>,
}

/// A certificate authority, as stored under the SHA-256 of its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// The DER of its certificate.
    pub certificate: Der,
    /// It may vouch for devices.
    pub is_active: bool,
    /// Unix time of registration, milliseconds.
    pub created_unix_ms: u64,
    /// Unix time of the last change, milliseconds.
    pub changed_unix_ms: u64,
    /// Changes so far.
    pub version: u32,
}

/// Some DER; base64 as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Der(pub Vec<u8>);

impl From<Der> for String {
    fn from(der: Der) -> Self {
        STANDARD.encode(der.0)
    }
}

impl TryFrom<String> for Der {
    type Error = base64::DecodeError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

/// What a ClientRequestToken made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// A MAC of the request's parameters (secrets included), hex.
    pub parameters: String,
    /// Id or name of what was made.
    pub made: String,
    /// Unix time, milliseconds.
    pub at_unix_ms: u64,
}
