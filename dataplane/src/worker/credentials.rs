//! Whose credential is this? What the control plane said lately, so that a fleet that reconnects
//! does not ask twice.
//!
//! *Bound:* `CREDENTIALS_MAX` answers, each for `CREDENTIAL_AGE_S`. Unknown names are not
//! remembered: strangers could fill the table, and a device provisioned a moment ago must get in.

use crate::bounds::{CREDENTIAL_AGE_S, CREDENTIALS_MAX};
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use tidegate_crypto::secret::Secret;
use tidegate_ring::contract::{Claim, DeviceId};

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
    /// The pre-shared key; empty for a certificate or a raw public key.
    pub(crate) key: Secret,
    /// When the control plane said so, seconds of `CLOCK_BOOTTIME`.
    pub(crate) at_s: u32,
}

/// The device a credential belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) device: DeviceId,
    /// `ring::contract::Network` of the device's block that holds the credential.
    pub(crate) network: u8,
    /// From `ring::contract::Credential`.
    pub(crate) stamp: u64,
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

    /// Forgets everything of a device whose credential changed.
    pub(crate) fn forget(&mut self, device: &DeviceId) {
        self.by_name.retain(|_, credential| credential.owner.device != *device);
    }
}

impl Name {
    fn key(&self) -> (u8, Box<[u8]>) {
        (self.claim as u8, self.bytes.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn credential(device: u8, at_s: u32) -> Credential {
        let owner = Owner { device: [device; 16], network: 1, stamp: 1 };
        Credential { owner, key: Secret::new(b"key"), at_s }
    }

    fn psk(identity: &[u8]) -> Name {
        Name { claim: Claim::PskIdentity, bytes: identity.into() }
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
