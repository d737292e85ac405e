//! Who may shake hands? Answers from the store, and what happens when a credential changes.
//!
//! *Why an unknown name costs the same reads as a known one:* how long an answer takes is seen
//! outside, and names are not to be guessed by it.

use tidegate_crypto::secret::Secret;
use tidegate_ring::Seq;
use tidegate_ring::contract::{
    Claim, Credential, CredentialDropped, CredentialWanted, EndReason, Kind, Verdict,
};
use zerocopy::IntoBytes;

use super::{Core, LinkId};
use crate::model::{DeviceId, Fingerprint, Network, SecurityMode};
use crate::store::names::{CertificateName, Name, Owner, Standing};
use crate::store::records::Identity;
use crate::store::{StoreError, Table};

/// Whose credential it is.
struct Found {
    owner: Owner,
    stamp: u64,
    class: u16,
    /// For an identity.
    key: Option<Secret>,
}

/// Bound: names of one leaf that are looked up; who has more is nobody.
const LEAF_NAMES_MAX: usize = 16;

impl Core {
    /// Answered at once, from the store: publishing has no part in it.
    pub(super) fn on_credential_wanted(
        &mut self,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (wanted, name) = CredentialWanted::split(bytes)?;
        let mut found = match Claim::from_wire(wanted.claim)? {
            Claim::PskIdentity => self.by_identity(name),
            Claim::RawPublicKey => self.by_key(name),
            Claim::Certificate => self.by_leaf(&Leaf::parse(name)?),
            Claim::Address => return None,
        };
        match &mut found {
            Ok(Some(known)) => match self.class_of(known.owner.device) {
                Ok(class) => known.class = class,
                Err(error) => found = Err(error),
            },
            Ok(None) => {
                if let Err(error) = self.class_of_nobody() {
                    found = Err(error);
                }
            }
            Err(_) => {}
        }
        let verdict = match &found {
            Ok(Some(_)) => Verdict::Known,
            Ok(None) => Verdict::Unknown,
            Err(_) => Verdict::Unavailable,
        };
        let found = found.ok().flatten();
        let answer = Credential {
            request: wanted.request,
            device: found.as_ref().map_or([0; 16], |found| found.owner.device.0),
            stamp: found.as_ref().map_or(0, |found| found.stamp).into(),
            class: found.as_ref().map_or(0, |found| found.class).into(),
            verdict: verdict as u8,
            network: found.as_ref().map_or(0, |found| on_the_wire(found.owner.network)),
        };
        let key = found.as_ref().and_then(|found| found.key.as_ref());
        let key = key.map_or(&[][..], |key| key.as_bytes());
        self.post(link, Kind::Credential, &[answer.as_bytes(), key], Some(seq));
        Some(())
    }

    fn by_identity(&self, identity: &[u8]) -> Result<Option<Found>, StoreError> {
        let stored = self.store.get(Table::Identities, identity)?;
        let Some(stored) = stored.as_deref().map(Identity::decode).transpose()? else {
            self.vault.open_decoy();
            Standing::of_nobody(&*self.store)?;
            return Ok(None);
        };
        let key = stored.open(&self.vault, identity)?;
        let owner = Owner { device: stored.device, network: stored.network };
        let stamp = self.stamp(owner, SecurityMode::PreSharedKey)?;
        Ok(stamp.map(|stamp| Found { owner, stamp, class: 0, key: Some(key) }))
    }

    fn by_key(&self, public_key: &[u8]) -> Result<Option<Found>, StoreError> {
        let name = Name::RawPublicKey(Fingerprint::of(public_key));
        self.found(Owner::of(&*self.store, &name)?, SecurityMode::RawPublicKey)
    }

    /// By the leaf itself, else by its names. One that names two devices is neither.
    fn by_leaf(&self, leaf: &Leaf<'_>) -> Result<Option<Found>, StoreError> {
        let pinned = Name::CertificateFingerprint(leaf.fingerprint);
        let mut owner = Owner::of(&*self.store, &pinned)?;
        if owner.is_none() {
            for name in leaf.names.iter().flat_map(|name| CertificateName::candidates(name)) {
                let named = Owner::of(&*self.store, &Name::Certificate(name))?;
                match (owner, named) {
                    (Some(one), Some(other)) if one.device != other.device => return Ok(None),
                    _ => owner = owner.or(named),
                }
            }
        }
        self.found(owner, SecurityMode::Certificate)
    }

    /// The device that such a certificate would be of.
    pub(super) fn device_of_leaf(&self, leaf: &Leaf<'_>) -> Option<DeviceId> {
        self.by_leaf(leaf).ok().flatten().map(|found| found.owner.device)
    }

    fn found(&self, owner: Option<Owner>, by: SecurityMode) -> Result<Option<Found>, StoreError> {
        let Some(owner) = owner else {
            Standing::of_nobody(&*self.store)?;
            return Ok(None);
        };
        let stamp = self.stamp(owner, by)?;
        Ok(stamp.map(|stamp| Found { owner, stamp, class: 0, key: None }))
    }

    /// `None`: the device is gone, or may not use this mode.
    fn stamp(&self, owner: Owner, by: SecurityMode) -> Result<Option<u64>, StoreError> {
        let standing = Standing::of(&*self.store, owner.device)?;
        let standing = standing.filter(|standing| standing.permits(owner.network, by));
        Ok(standing.map(|standing| standing.stamp))
    }

    /// Every worker forgets the credential; the device's session ends.
    pub(super) fn drop_credentials(&mut self, device: DeviceId) {
        let dropped = CredentialDropped { device: device.0 };
        let links: Vec<_> = self.links.iter().map(|link| link.id).collect();
        for link in links {
            self.post(link, Kind::CredentialDropped, &[dropped.as_bytes()], None);
        }
        self.end_located(device, EndReason::CredentialDropped);
    }
}

/// What crosses of a validated leaf: `SHA-256:32`, then names, each `length:2 | UTF-8`.
pub(super) struct Leaf<'a> {
    fingerprint: Fingerprint,
    names: Vec<&'a str>,
}

impl<'a> Leaf<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (fingerprint, mut rest) = bytes.split_first_chunk::<32>()?;
        let mut names = Vec::new();
        while !rest.is_empty() {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (name, after) = after.split_at_checked(u16::from_le_bytes(*len).into())?;
            names.push(std::str::from_utf8(name).ok()?);
            rest = after;
        }
        if names.len() > LEAF_NAMES_MAX {
            names.clear();
        }
        Some(Self { fingerprint: Fingerprint(*fingerprint), names })
    }
}

/// The contract's number of a network.
pub(super) fn on_the_wire(network: Network) -> u8 {
    match network {
        Network::Cellular => tidegate_ring::contract::Network::Cellular as u8,
        Network::WiFi => tidegate_ring::contract::Network::WiFi as u8,
    }
}

/// The network of the contract's number.
pub(super) fn from_the_wire(network: u8) -> Option<Network> {
    Some(match tidegate_ring::contract::Network::from_wire(network)? {
        tidegate_ring::contract::Network::Cellular => Network::Cellular,
        tidegate_ring::contract::Network::WiFi => Network::WiFi,
    })
}

/// The mode of the contract's claim.
pub(super) fn mode_from_the_wire(claim: u8) -> Option<SecurityMode> {
    Some(match Claim::from_wire(claim)? {
        Claim::PskIdentity => SecurityMode::PreSharedKey,
        Claim::RawPublicKey => SecurityMode::RawPublicKey,
        Claim::Certificate => SecurityMode::Certificate,
        Claim::Address => SecurityMode::NoSec,
    })
}
