//! What stands in a record? JSON for what people may have to read, fixed bytes where it is hot.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_crypto::secret::Secret;

use super::vault::Vault;
use super::{Store, StoreError, Table};
use crate::model::{DeviceId, MessageStatus, Network, SecurityMode};

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

/// Where a device's session is: `session:8 | flags:1 | last uplink unix ms:8`, and when there is
/// another session `session:8 | how it stands:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// [`tidegate_ring::contract::SessionRef`]; `None` after the session ended.
    pub session: Option<u64>,
    /// The worker was told to end it (its credential is no longer good) and has not done so yet.
    pub is_ending: bool,
    /// The block it authenticated with.
    pub network: Network,
    /// How it authenticated; `None`: found by an uplink, nothing is known of its handshake.
    pub mode: Option<SecurityMode>,
    /// Unix time of the last uplink, milliseconds; 0: none yet.
    pub last_uplink_unix_ms: u64,
    /// One more session of the device that may still say something.
    pub other: Option<OtherSession>,
}

/// A session of a device that is not where its downlinks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherSession {
    /// [`tidegate_ring::contract::SessionRef`].
    pub session: u64,
    /// Why it is not.
    pub standing: OtherStanding,
}

/// Why a session is not where downlinks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherStanding {
    /// A newer one took its place; it had this mode.
    Replaced(Option<SecurityMode>),
    /// It is without security, and another one is not.
    Unsecured,
    /// Its credential was no longer good; what it says does not count.
    Refused,
}

impl Location {
    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        // No session has all bits set: a worker's number 255 and slot 2^24 - 1 do not exist.
        let session = self.session.unwrap_or(u64::MAX).to_be_bytes();
        let ending = if self.is_ending { ENDING } else { 0 };
        let flags = self.network as u8 | mode_code(self.mode) << 1 | ending;
        let mut stored = [&session[..], &[flags], &self.last_uplink_unix_ms.to_be_bytes()].concat();
        if let Some(other) = self.other {
            stored.extend_from_slice(&other.session.to_be_bytes());
            stored.push(match other.standing {
                OtherStanding::Replaced(mode) => mode_code(mode),
                OtherStanding::Unsecured => UNSECURED,
                OtherStanding::Refused => REFUSED,
            });
        }
        stored
    }

    /// From what was stored.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (session, rest) = bytes.split_first_chunk::<8>()?;
        let (flags, rest) = rest.split_first()?;
        let (last, rest) = rest.split_first_chunk::<8>()?;
        let session = u64::from_be_bytes(*session);
        let mode = flags >> 1 & 7;
        if mode > MODE_CODE_MAX {
            return None;
        }
        let other = if rest.is_empty() { None } else { Some(OtherSession::decode(rest)?) };
        Some(Self {
            session: (session != u64::MAX).then_some(session),
            is_ending: flags & ENDING != 0,
            network: if flags & 1 == 1 { Network::WiFi } else { Network::Cellular },
            mode: mode_of_code(mode),
            last_uplink_unix_ms: u64::from_be_bytes(*last),
            other,
        })
    }
}

impl OtherSession {
    /// One without security.
    pub fn unsecured(session: u64) -> Self {
        Self { session, standing: OtherStanding::Unsecured }
    }

    /// One that has to end.
    pub fn refused(session: u64) -> Self {
        Self { session, standing: OtherStanding::Refused }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (session, standing) = bytes.split_first_chunk::<8>()?;
        let standing = match *standing {
            [UNSECURED] => OtherStanding::Unsecured,
            [REFUSED] => OtherStanding::Refused,
            [code] if code <= MODE_CODE_MAX => OtherStanding::Replaced(mode_of_code(code)),
            _ => return None,
        };
        Some(Self { session: u64::from_be_bytes(*session), standing })
    }
}

const ENDING: u8 = 0x80;
const UNSECURED: u8 = 16;
const REFUSED: u8 = 17;

/// The code of no mode; greater ones are damaged.
const MODE_CODE_MAX: u8 = SecurityMode::ALL.len() as u8;

/// 0 is what stood there when pre-shared keys were all there was.
fn mode_code(mode: Option<SecurityMode>) -> u8 {
    mode.map_or(MODE_CODE_MAX, |mode| mode as u8)
}

fn mode_of_code(code: u8) -> Option<SecurityMode> {
    SecurityMode::ALL.get(usize::from(code)).copied()
}

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

/// A data-plane policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// As it was given.
    pub document: String,
    /// As `crate::policy` compiles it; base64 as text.
    pub compiled: Der,
    /// Unix time of the last change, milliseconds.
    pub changed_unix_ms: u64,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn location(mode: Option<SecurityMode>, other: Option<OtherSession>) -> Location {
        let network = Network::WiFi;
        Location { session: Some(7), is_ending: true, network, mode, last_uplink_unix_ms: 9, other }
    }

    #[test]
    fn a_location_is_read_as_it_was_written() {
        let modes = SecurityMode::ALL.map(Some).into_iter().chain([None]);
        for mode in modes {
            for standing in
                [OtherStanding::Replaced(mode), OtherStanding::Unsecured, OtherStanding::Refused]
            {
                let written = location(mode, Some(OtherSession { session: 8, standing }));
                assert_eq!(Location::decode(&written.encode()), Some(written));
            }
            let written = location(mode, None);
            assert_eq!(Location::decode(&written.encode()), Some(written));
        }
    }

    /// As it was stored before there were modes.
    #[test]
    fn an_ancient_location_is_of_a_pre_shared_key() {
        let stored = [&7u64.to_be_bytes()[..], &[1], &9u64.to_be_bytes()].concat();
        let read = Location::decode(&stored).unwrap();
        assert_eq!((read.mode, read.other), (Some(SecurityMode::PreSharedKey), None));
    }

    #[test]
    fn a_damaged_location_is_not_read() {
        let standing = OtherStanding::Unsecured;
        let written = location(None, Some(OtherSession { session: 8, standing })).encode();
        for cut in (0..written.len()).filter(|cut| *cut != 17) {
            assert_eq!(Location::decode(&written[..cut]), None, "{cut}");
        }
        for (at, byte) in [(8, 5 << 1), (25, 5), (25, 18)] {
            let mut damaged = written.clone();
            damaged[at] = byte;
            assert_eq!(Location::decode(&damaged), None, "{byte} at {at}");
        }
    }
}
