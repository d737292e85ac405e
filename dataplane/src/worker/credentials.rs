//! Whose credential is this? What the control plane said lately, so that a fleet that reconnects
//! does not ask twice.
//!
//! *Bound:* `CREDENTIALS_MAX` answers, each for `CREDENTIAL_AGE_S`. Unknown names are not
//! remembered: strangers could fill the table, and a device provisioned a moment ago must get in.

use crate::bounds::{CREDENTIAL_AGE_S, CREDENTIALS_MAX, IDENTITY_BYTES_MAX};
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use tidegate_crypto::certificate::Leaf;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::server::{self, Answer};
use tidegate_ring::contract::{Claim, DeviceId, TAIL_BYTES_MAX};

/// The credentials one worker remembers.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// By kind of claim and the name that was claimed, so that no key is taken for an identity.
    by_name: HashMap<(u8, Box<[u8]>), Credential, RandomState>,
}

/// Whose a name is, and the key that proves it where the device has not proven it already.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// Whose.
    pub(crate) owner: Owner,
    /// The pre-shared key; `None` for a certificate or a raw public key.
    pub(crate) key: Option<Secret>,
    /// When the control plane said so, seconds of `CLOCK_BOOTTIME`.
    pub(crate) at_s: u32,
}

impl Credential {
    /// What the handshake has to know of it.
    pub(crate) fn answer(&self) -> Answer<'_> {
        self.key.as_ref().map_or(Answer::Known, |key| Answer::Psk(key.as_bytes()))
    }
}

/// The device a credential belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) device: DeviceId,
    /// `ring::contract::Network` of the device's block that holds the credential.
    pub(crate) network: u8,
    /// From `ring::contract::Credential`.
    pub(crate) stamp: u64,
    /// The same.
    pub(crate) class: u16,
}

/// A name as it is asked for: what [`Claim`] says, of the name's kind.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) claim: Claim,
    pub(crate) bytes: Box<[u8]>,
}

impl Credentials {
    pub(crate) fn new() -> Self {
        Self { by_name: HashMap::with_hasher(RandomState::default()) }
    }

    /// What is remembered of a name and not too old.
    pub(crate) fn recall(&mut self, name: &Name, now_s: u32) -> Option<&Credential> {
        let key = name.key();
        let fresh = |c: &Credential| now_s.saturating_sub(c.at_s) < CREDENTIAL_AGE_S;
        if !fresh(self.by_name.get(&key)?) {
            self.by_name.remove(&key);
        }
        self.by_name.get(&key)
    }

    /// Remembers an answer; at the bound any other one gives way.
    pub(crate) fn remember(&mut self, name: &Name, credential: Credential) {
        let key = name.key();
        if self.by_name.len() >= CREDENTIALS_MAX && !self.by_name.contains_key(&key) {
            let victim = self.by_name.keys().next().cloned();
            victim.map(|key| self.by_name.remove(&key));
        }
        self.by_name.insert(key, credential);
    }

    /// The device belongs to another class from now on.
    pub(crate) fn reclass(&mut self, device: &DeviceId, class: u16) {
        let of_device = |credential: &&mut Credential| credential.owner.device == *device;
        for credential in self.by_name.values_mut().filter(of_device) {
            credential.owner.class = class;
        }
    }

    /// Forgets everything of a device whose credential changed.
    pub(crate) fn forget(&mut self, device: &DeviceId) {
        self.by_name.retain(|_, credential| credential.owner.device != *device);
    }
}

impl Name {
    /// The name of what a client claims; `None` when it is longer than any device's.
    pub(crate) fn of(claim: server::Claim<'_>) -> Option<Self> {
        let (claim, bytes) = match claim {
            server::Claim::Psk(identity) if identity.len() > IDENTITY_BYTES_MAX => return None,
            server::Claim::Psk(identity) => (Claim::PskIdentity, identity.into()),
            server::Claim::RawPublicKey(spki) if spki.len() > TAIL_BYTES_MAX => return None,
            server::Claim::RawPublicKey(spki) => (Claim::RawPublicKey, spki.into()),
            server::Claim::Certificate(leaf) => (Claim::Certificate, certificate_name(leaf)),
        };
        Some(Self { claim, bytes })
    }

    /// Whether a key proves it.
    pub(crate) fn is_psk(&self) -> bool {
        self.claim == Claim::PskIdentity
    }

    fn key(&self) -> (u8, Box<[u8]>) {
        (self.claim as u8, self.bytes.clone())
    }
}

/// The name of a [`Claim::Certificate`]. *Bound:* an entry's tail; a name that does not fit any
/// more is left out, with those that follow.
pub(super) fn certificate_name(leaf: &Leaf) -> Box<[u8]> {
    let mut bytes = leaf.fingerprint.to_vec();
    for name in &leaf.names {
        let Ok(length) = u16::try_from(name.len()) else { break };
        if bytes.len() + 2 + name.len() > TAIL_BYTES_MAX {
            break;
        }
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn credential(device: u8, at_s: u32) -> Credential {
        let owner = Owner { device: [device; 16], network: 1, stamp: 1, class: 0 };
        Credential { owner, key: Some(Secret::new(b"key")), at_s }
    }

    fn psk(identity: &[u8]) -> Name {
        Name { claim: Claim::PskIdentity, bytes: identity.into() }
    }

    fn leaf(names: &[&str]) -> Leaf {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Leaf { spki: vec![1], names, fingerprint: [7; 32] }
    }

    /// The layout that the contract describes.
    #[test]
    fn a_certificate_is_named_by_its_hash_and_its_names() {
        let leaf = leaf(&["CN=meter", "DNS:m.example"]);
        let name = Name::of(server::Claim::Certificate(&leaf)).unwrap();
        let expected = [&[7; 32][..], &[8, 0], b"CN=meter", &[13, 0], b"DNS:m.example"].concat();
        assert_eq!((name.claim, &*name.bytes), (Claim::Certificate, &expected[..]));
        assert!(!name.is_psk());
    }

    #[test]
    fn names_of_a_certificate_end_where_an_entry_does() {
        let long = "x".repeat(TAIL_BYTES_MAX - 32 - 2 - 3);
        let fits = certificate_name(&leaf(&[&long, "a"]));
        assert_eq!(fits.len(), TAIL_BYTES_MAX);
        let too_long = certificate_name(&leaf(&[&long, "ab", "c"]));
        assert_eq!(too_long.len(), TAIL_BYTES_MAX - 3);
    }

    #[test]
    fn an_identity_longer_than_any_is_nobodys() {
        let longest = [b'i'; IDENTITY_BYTES_MAX + 1];
        assert!(Name::of(server::Claim::Psk(&longest)).is_none());
        assert!(Name::of(server::Claim::Psk(&longest[1..])).unwrap().is_psk());
    }

    #[test]
    fn an_answer_serves_for_its_age_and_not_a_second_longer() {
        let mut credentials = Credentials::new();
        credentials.remember(&psk(b"meter"), credential(1, 100));
        assert!(credentials.recall(&psk(b"meter"), 100 + CREDENTIAL_AGE_S - 1).is_some());
        assert!(credentials.recall(&psk(b"meter"), 100 + CREDENTIAL_AGE_S).is_none());
        assert!(credentials.recall(&psk(b"other"), 100).is_none());
    }

    #[test]
    fn the_same_bytes_of_another_kind_are_another_name() {
        let mut credentials = Credentials::new();
        credentials.remember(&psk(b"meter"), credential(1, 0));
        let key = Name { claim: Claim::RawPublicKey, bytes: psk(b"meter").bytes };
        assert!(credentials.recall(&key, 0).is_none());
        credentials.remember(&key, credential(2, 0));
        assert_eq!(credentials.recall(&psk(b"meter"), 0).unwrap().owner.device, [1; 16]);
    }

    #[test]
    fn a_dropped_credential_is_gone_and_others_stay() {
        let mut credentials = Credentials::new();
        credentials.remember(&psk(b"a"), credential(1, 0));
        credentials.remember(&psk(b"b"), credential(2, 0));
        let key = Name { claim: Claim::RawPublicKey, bytes: (*b"key").into() };
        credentials.remember(&key, credential(1, 0));
        credentials.forget(&[1; 16]);
        assert!(credentials.recall(&psk(b"a"), 0).is_none());
        assert!(credentials.recall(&key, 0).is_none());
        assert_eq!(credentials.recall(&psk(b"b"), 0).unwrap().owner.device, [2; 16]);
    }

    #[test]
    fn the_table_does_not_grow_beyond_its_bound() {
        let mut credentials = Credentials::new();
        for number in 0..=CREDENTIALS_MAX {
            credentials.remember(&psk(&number.to_be_bytes()), credential(0, 0));
        }
        assert_eq!(credentials.by_name.len(), CREDENTIALS_MAX);
        assert!(credentials.recall(&psk(&CREDENTIALS_MAX.to_be_bytes()), 0).is_some());
    }
}
