//! By what is a device known, besides a PSK identity, and what may it use?
//!
//! `Names` leads from a name to the device that owns it; `Standings` from a device to its stamp and
//! modes. *Invariant:* both change in the transaction that changes the device's record, so what
//! stands here is what stands there.

use super::{Change, Guard, Store, StoreError, Table};
use crate::model::{
    Device, DeviceId, Fingerprint, Network, NetworkBlock, SecurityMode, SecurityModes,
    SourceAddress,
};

/// By what a device is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// SHA-256 of its SubjectPublicKeyInfo.
    RawPublicKey(Fingerprint),
    /// A name in its certificate.
    Certificate(CertificateName),
    /// SHA-256 of its certificate.
    CertificateFingerprint(Fingerprint),
    /// Its source address.
    Address(SourceAddress),
}

/// `Names`: the prefix of every source address.
pub const ADDRESSES: &[u8] = b"address/";

impl Name {
    /// Every name in a block.
    pub fn all_of(block: &NetworkBlock) -> Vec<Self> {
        let name = block.certificate_name.as_ref();
        let names = [
            block.raw_public_key.as_ref().map(|key| Self::RawPublicKey(key.fingerprint())),
            name.map(|name| Self::Certificate(CertificateName::parse(name))),
            block.certificate_fingerprint.map(Self::CertificateFingerprint),
            block.source_address.map(Self::Address),
        ];
        names.into_iter().flatten().collect()
    }

    /// `Names`: where its owner stands.
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::RawPublicKey(key) => [&b"key/"[..], &key.0].concat(),
            Self::CertificateFingerprint(leaf) => [&b"leaf/"[..], &leaf.0].concat(),
            Self::Certificate(name) => {
                [b"name/", name.kind.prefix().as_bytes(), b"/", name.value.as_bytes()].concat()
            }
            Self::Address(address) => {
                let (ip, port) = address.on_the_wire();
                [ADDRESSES, &ip, &port.to_be_bytes()].concat()
            }
        }
    }

    /// The address of a key under [`ADDRESSES`], as it crosses the rings.
    pub fn address(key: &[u8]) -> Option<([u8; 16], u16)> {
        let (ip, port) = key.strip_prefix(ADDRESSES)?.split_first_chunk::<16>()?;
        Some((*ip, u16::from_be_bytes(port.try_into().ok()?)))
    }
}

/// A name in a certificate, and where in it.
///
/// *Why kinds have keys of their own:* an authority that checks DNS names may well sign any common
/// name; `CN=DNS:x` must not pass for `DNS:x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateName {
    kind: NameKind,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameKind {
    /// Provisioned without a kind: wherever it stands.
    Any,
    CommonName,
    Dns,
    Uri,
}

impl NameKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::CommonName => "CN=",
            Self::Dns => "DNS:",
            Self::Uri => "URI:",
        }
    }
}

impl CertificateName {
    /// As provisioned: `CN=…`, `DNS:…`, `URI:…`, or a name alone.
    pub fn parse(text: &str) -> Self {
        for kind in [NameKind::CommonName, NameKind::Dns, NameKind::Uri] {
            if let Some(value) = text.strip_prefix(kind.prefix()) {
                return Self::new(kind, value);
            }
        }
        Self::new(NameKind::Any, text)
    }

    /// What may have been provisioned for a name of a leaf (which always has a kind).
    pub fn candidates(of_leaf: &str) -> Vec<Self> {
        let exact = Self::parse(of_leaf);
        if exact.kind == NameKind::Any {
            return Vec::new();
        }
        let any = Self::new(NameKind::Any, &exact.value);
        let as_spelt = Self::new(NameKind::Any, &of_leaf[exact.kind.prefix().len()..]);
        let mut candidates = vec![exact, any];
        if !candidates.contains(&as_spelt) {
            candidates.push(as_spelt);
        }
        candidates
    }

    /// DNS names have no case (RFC 4343).
    fn new(kind: NameKind, value: &str) -> Self {
        let value = match kind {
            NameKind::Dns => value.to_ascii_lowercase(),
            _ => value.to_owned(),
        };
        Self { kind, value }
    }
}

/// Whose name is it? `version:1 | device:16 | network:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The device.
    pub device: DeviceId,
    /// The block it stands in.
    pub network: Network,
}

const VERSION: u8 = 1;

impl Owner {
    /// As stored.
    pub fn encode(self) -> Vec<u8> {
        [&[VERSION][..], &self.device.0, &[self.network as u8]].concat()
    }

    /// From what was stored.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        const DAMAGED: StoreError = StoreError::Corrupt("name");
        let rest = bytes.strip_prefix(&[VERSION]).ok_or(DAMAGED)?;
        let (device, network) = rest.split_first_chunk::<16>().ok_or(DAMAGED)?;
        let network = match network {
            [0] => Network::Cellular,
            [1] => Network::WiFi,
            _ => return Err(DAMAGED),
        };
        Ok(Self { device: DeviceId(*device), network })
    }

    /// Who owns the name.
    pub fn of(store: &dyn Store, name: &Name) -> Result<Option<Self>, StoreError> {
        store.get(Table::Names, &name.key())?.map(|owner| Self::decode(&owner)).transpose()
    }
}

/// What a device may use, and what its sessions must have been made with:
/// `version:1 | stamp:8 | modes of Cellular:1 | modes of WiFi:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Another one after each change of a credential or mode; never 0.
    pub stamp: u64,
    /// The modes of the two blocks ([`NetworkBlock::may_use`]).
    modes: [SecurityModes; 2],
}

impl Standing {
    /// Of a device that was stored before there were any: pre-shared keys were all there was.
    const ANCIENT: Self = Self { stamp: 1, modes: [SecurityModes::PSK; 2] };

    /// Of this device from now on.
    pub fn drawn(device: &Device) -> Self {
        let modes = [&device.cellular, &device.wifi];
        let modes = modes.map(|block| block.as_ref().map(NetworkBlock::may_use));
        let modes = modes.map(Option::unwrap_or_default);
        Self { stamp: rand::random_range(2..=u64::MAX), modes }
    }

    /// May it use this mode with what this block has?
    pub fn permits(&self, network: Network, mode: SecurityMode) -> bool {
        self.modes[network as usize].has(mode)
    }

    /// May it use this mode at all?
    pub fn permits_anywhere(&self, mode: SecurityMode) -> bool {
        self.modes.iter().any(|modes| modes.has(mode))
    }

    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        let modes = self.modes.map(SecurityModes::bits);
        [&[VERSION][..], &self.stamp.to_be_bytes(), &modes].concat()
    }

    /// From what was stored.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        const DAMAGED: StoreError = StoreError::Corrupt("standing");
        let rest = bytes.strip_prefix(&[VERSION]).ok_or(DAMAGED)?;
        let (stamp, modes) = rest.split_first_chunk::<8>().ok_or(DAMAGED)?;
        let [cellular, wifi] = *modes else { return Err(DAMAGED) };
        let modes = SecurityModes::from_bits(cellular).zip(SecurityModes::from_bits(wifi));
        let (cellular, wifi) = modes.ok_or(DAMAGED)?;
        Ok(Self { stamp: u64::from_be_bytes(*stamp), modes: [cellular, wifi] })
    }

    /// The device's standing now; `None`: there is no such device.
    pub fn of(store: &dyn Store, device: DeviceId) -> Result<Option<Self>, StoreError> {
        match store.get(Table::Standings, &device.0)? {
            Some(standing) => Self::decode(&standing).map(Some),
            None => Ok(store.get(Table::Devices, &device.0)?.map(|_| Self::ANCIENT)),
        }
    }

    /// Costs what [`Self::of`] costs, and says nothing.
    pub fn of_nobody(store: &dyn Store) -> Result<(), StoreError> {
        std::hint::black_box(store.get(Table::Standings, &[0; 16])?);
        Ok(())
    }
}

/// What a transaction needs so that a device is known by what its record says: for each device that
/// is made, deleted, or has a credential or mode changed (the PSK identity's record is apart).
#[derive(Debug, Default)]
pub struct Replacement {
    /// The name is nobody else's.
    pub guards: Vec<(Guard, Name)>,
    /// Names and standing.
    pub changes: Vec<Change>,
}

impl Replacement {
    /// From what the record said (`None`: a new device) to what it says (`None`: deleted). A name
    /// that stands in both blocks is the first's.
    pub fn new(before: Option<&Device>, after: Option<&Device>) -> Self {
        let (before_names, after_names) = (names_of(before), names_of(after));
        let has = |names: &[(Network, Name)], key| names.iter().any(|(_, name)| name.key() == key);
        let mut replacement = Self::default();
        for (_, name) in &before_names {
            if !has(&after_names, name.key()) {
                replacement.changes.push(Change::Delete(Table::Names, name.key()));
            }
        }
        for (at, (network, name)) in after_names.iter().enumerate() {
            let (Some(device), false) = (after, has(&after_names[..at], name.key())) else {
                continue;
            };
            if !has(&before_names, name.key()) {
                let guard = Guard::Absent(Table::Names, name.key());
                replacement.guards.push((guard, name.clone()));
            }
            let owner = Owner { device: device.id, network: *network }.encode();
            replacement.changes.push(Change::Put(Table::Names, name.key(), owner));
        }
        let standing = match (before, after) {
            (_, Some(device)) => {
                let standing = Standing::drawn(device).encode();
                Some(Change::Put(Table::Standings, device.id.0.to_vec(), standing))
            }
            (Some(device), None) => Some(Change::Delete(Table::Standings, device.id.0.to_vec())),
            (None, None) => None,
        };
        replacement.changes.extend(standing);
        replacement
    }
}

fn names_of(device: Option<&Device>) -> Vec<(Network, Name)> {
    let Some(device) = device else { return Vec::new() };
    let blocks = [(Network::Cellular, &device.cellular), (Network::WiFi, &device.wifi)];
    let names = blocks.into_iter().flat_map(|(network, block)| {
        let names = block.as_ref().map(Name::all_of).unwrap_or_default();
        names.into_iter().map(move |name| (network, name))
    });
    names.collect()
}

#[cfg(test)]
mod tests;
