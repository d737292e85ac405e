//! What does a network block of a device become? What was asked for, checked, upon what it was.
//!
//! Create takes what is there; Update changes only what is there, and what is empty is removed.

use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::credential;
use super::validate::{self, pattern, required, too_long};
use crate::model::{
    Fingerprint, Network, NetworkBlock, NewNetwork, PublicKey, Refused, SecurityMode,
    SecurityModes, SourceAddress,
};

/// What becomes of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change<T> {
    Keep,
    Remove,
    Set(T),
}

impl<T: Clone> Change<T> {
    fn upon(&self, before: Option<&T>) -> Option<T> {
        match self {
            Self::Keep => before.cloned(),
            Self::Remove => None,
            Self::Set(new) => Some(new.clone()),
        }
    }
}

/// Which door a block came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Nothing may be empty.
    Create,
    /// What is empty is removed.
    Update,
}

/// A block as asked for, every member well formed.
pub(super) struct Wanted {
    network: Network,
    door: Door,
    hardware: Change<String>,
    identity: Change<String>,
    /// Goes with the identity.
    pub(super) secret: Option<Zeroizing<Vec<u8>>>,
    raw_public_key: Change<PublicKey>,
    certificate_name: Change<String>,
    certificate_fingerprint: Change<Fingerprint>,
    source_address: Change<SourceAddress>,
    endpoint: Change<SocketAddr>,
    security_modes: Change<Vec<SecurityMode>>,
}

impl Wanted {
    pub(super) fn read(network: Network, door: Door, block: &NewNetwork) -> Result<Self, Refused> {
        let reader = Reader { of: network.as_str(), door };
        let hardware = reader.with(block.hardware.as_ref(), |text| match network {
            Network::Cellular => validate::imei(text),
            Network::WiFi => validate::mac_address("WiFi.MacAddress", text),
        })?;
        let (identity, secret) = reader.key(block)?;
        let security_modes = match &block.security_modes {
            None => Change::Keep,
            Some(modes) if modes.is_empty() => Change::Remove,
            Some(modes) => {
                let modes: SecurityModes = modes.iter().copied().collect();
                Change::Set(modes.iter().collect())
            }
        };
        Ok(Self {
            network,
            door,
            hardware,
            identity,
            secret,
            raw_public_key: reader.text(
                "DtlsV1_2.RawPublicKey",
                block.raw_public_key.as_ref(),
                (credential::PUBLIC_KEY_CHARACTERS_MAX, credential::PUBLIC_KEY),
                credential::public_key,
            )?,
            certificate_name: reader.text(
                "DtlsV1_2.CertificateName",
                block.certificate_name.as_ref(),
                (credential::CERTIFICATE_NAME_CHARACTERS_MAX, credential::CERTIFICATE_NAME),
                credential::certificate_name,
            )?,
            certificate_fingerprint: reader.text(
                "DtlsV1_2.CertificateFingerprint",
                block.certificate_fingerprint.as_ref(),
                (credential::FINGERPRINT_CHARACTERS_MAX, credential::FINGERPRINT),
                credential::fingerprint,
            )?,
            source_address: reader.text(
                "NoSec.SourceAddress",
                block.source_address.as_ref(),
                (credential::ADDRESS_CHARACTERS_MAX, credential::SOURCE_ADDRESS),
                credential::source_address,
            )?,
            endpoint: reader.text(
                "Endpoint",
                block.endpoint.as_ref(),
                (credential::ADDRESS_CHARACTERS_MAX, credential::ENDPOINT),
                credential::endpoint,
            )?,
            security_modes,
        })
    }

    /// The block as it will be; refused when its members contradict each other.
    pub(super) fn upon(&self, before: Option<&NetworkBlock>) -> Result<NetworkBlock, Refused> {
        let none = NetworkBlock::default();
        let before = before.unwrap_or(&none);
        let after = NetworkBlock {
            hardware: self.hardware.upon(before.hardware.as_ref()),
            identity: self.identity.upon(before.identity.as_ref()),
            raw_public_key: self.raw_public_key.upon(before.raw_public_key.as_ref()),
            certificate_name: self.certificate_name.upon(before.certificate_name.as_ref()),
            certificate_fingerprint: self
                .certificate_fingerprint
                .upon(before.certificate_fingerprint.as_ref()),
            source_address: self.source_address.upon(before.source_address.as_ref()),
            endpoint: self.endpoint.upon(before.endpoint.as_ref()),
            security_modes: self.security_modes.upon(before.security_modes.as_ref()),
        };
        self.check(before, &after)?;
        Ok(after)
    }

    fn check(&self, before: &NetworkBlock, after: &NetworkBlock) -> Result<(), Refused> {
        let path = |member: &str| format!("{}.{member}", self.network.as_str());
        let (identity, secret) = (path(IDENTITY), path(SECRET));
        match (&after.identity, &before.identity, &self.secret) {
            (None, _, Some(_)) => return Err(required(&identity)),
            (Some(_), None, None) => return Err(required(&secret)),
            _ => {}
        }
        let has = NetworkBlock { security_modes: None, ..after.clone() }.may_use();
        if self.door == Door::Create && has == SecurityModes::NONE {
            let constraint = "Member must hold a credential unless NoSec is given";
            return Err(Refused::invalid(&path("DtlsV1_2"), constraint));
        }
        let lacking = |mode: &&SecurityMode| !has.has(**mode);
        if let Some(mode) = after.security_modes.iter().flatten().find(lacking) {
            let needs = match mode {
                SecurityMode::PreSharedKey => "PreSharedKeyIdentity",
                SecurityMode::RawPublicKey => "RawPublicKey",
                SecurityMode::Certificate => "CertificateName or CertificateFingerprint",
                SecurityMode::NoSec => "NoSec.SourceAddress",
            };
            let mode = mode.as_str();
            let constraint = format!("Member must not have {mode} without {needs}");
            return Err(Refused::invalid(&path("SecurityModes"), constraint));
        }
        if after.endpoint.is_some() && !after.may_use().has(SecurityMode::PreSharedKey) {
            let constraint = "Member must be empty unless the device may use PreSharedKey";
            return Err(Refused::invalid(&path("Endpoint"), constraint));
        }
        Ok(())
    }
}

/// Is the difference such that sessions must end? Names that are no credentials do not count.
pub(super) fn changes_credentials(
    before: Option<&NetworkBlock>,
    after: Option<&NetworkBlock>,
) -> bool {
    let credentials = |block: Option<&NetworkBlock>| {
        block.map(|block| NetworkBlock { hardware: None, ..block.clone() }).unwrap_or_default()
    };
    credentials(before) != credentials(after)
}

const IDENTITY: &str = "DtlsV1_2.PreSharedKeyIdentity";
const SECRET: &str = "DtlsV1_2.PreSharedKeySecret";

struct Reader {
    of: &'static str,
    door: Door,
}

impl Reader {
    /// A member that `read` reads; its refusals say everything.
    fn with<T>(
        &self,
        text: Option<&String>,
        read: impl Fn(&str) -> Result<T, Refused>,
    ) -> Result<Change<T>, Refused> {
        match text {
            None => Ok(Change::Keep),
            Some(text) if text.is_empty() && self.door == Door::Update => Ok(Change::Remove),
            Some(text) => read(text).map(Change::Set),
        }
    }

    /// A member of a longest length and a pattern.
    fn text<T>(
        &self,
        member: &str,
        text: Option<&String>,
        (characters_max, allowed): (usize, &str),
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Change<T>, Refused> {
        let path = format!("{}.{member}", self.of);
        self.with(text, |text| {
            if text.chars().count() > characters_max {
                return Err(too_long(&path, characters_max));
            }
            read(text).ok_or_else(|| pattern(&path, allowed))
        })
    }

    /// Identity and secret: removed together, by either.
    #[allow(clippy::type_complexity)]
    fn key(
        &self,
        block: &NewNetwork,
    ) -> Result<(Change<String>, Option<Zeroizing<Vec<u8>>>), Refused> {
        let path = |member: &str| format!("{}.{member}", self.of);
        let identity = self.with(block.identity.as_ref(), |text| {
            validate::identity(&path(IDENTITY), text).map(|()| text.to_owned())
        })?;
        let is_removed =
            |secret: &Zeroizing<String>| secret.is_empty() && self.door == Door::Update;
        let secret = match &block.secret {
            None => return Ok((identity, None)),
            Some(secret) if is_removed(secret) => None,
            Some(secret) => Some(validate::secret(&path(SECRET), secret)?),
        };
        match (identity, secret) {
            (Change::Set(_), None) => {
                let constraint = "Member must not be empty while PreSharedKeyIdentity is given";
                Err(Refused::invalid(&path(SECRET), constraint))
            }
            (Change::Remove, Some(_)) => {
                let constraint = "Member must not be given while PreSharedKeyIdentity is empty";
                Err(Refused::invalid(&path(SECRET), constraint))
            }
            (_, None) => Ok((Change::Remove, None)),
            (identity, secret) => Ok((identity, secret)),
        }
    }
}
