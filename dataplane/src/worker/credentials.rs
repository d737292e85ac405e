//! Which key belongs to this identity? What the control plane said lately, so that a fleet that
//! reconnects does not ask twice.
//!
//! *Bound:* `CREDENTIALS_MAX` answers, each for `CREDENTIAL_AGE_S`. Unknown identities are not
//! remembered: strangers could fill the table, and a device provisioned a moment ago must get in.

use crate::bounds::{CREDENTIAL_AGE_S, CREDENTIALS_MAX};
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use tidegate_crypto::secret::Secret;
use tidegate_ring::contract::DeviceId;

/// The credentials one worker remembers.
#[derive(Debug)]
pub(crate) struct Credentials {
    by_identity: HashMap<Box<[u8]>, Credential, RandomState>,
}

/// A pre-shared key and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// The device.
    pub(crate) device: DeviceId,
    /// `ring::contract::Network` of the device's block that holds the identity.
    pub(crate) network: u8,
    /// From `ring::contract::Credential`.
    pub(crate) stamp: u64,
    /// The pre-shared key.
    pub(crate) key: Secret,
    /// When the control plane said so, seconds of `CLOCK_BOOTTIME`.
    pub(crate) at_s: u32,
}

impl Credentials {
    pub(crate) fn new() -> Self {
        Self { by_identity: HashMap::with_hasher(RandomState::default()) }
    }

    /// What is remembered for an identity and not too old.
    pub(crate) fn recall(&mut self, identity: &[u8], now_s: u32) -> Option<&Credential> {
        let fresh = |c: &Credential| now_s.saturating_sub(c.at_s) < CREDENTIAL_AGE_S;
        if !fresh(self.by_identity.get(identity)?) {
            self.by_identity.remove(identity);
        }
        self.by_identity.get(identity)
    }

    /// Remembers an answer; at the bound any other one gives way.
    pub(crate) fn remember(&mut self, identity: &[u8], credential: Credential) {
        if self.by_identity.len() >= CREDENTIALS_MAX && !self.by_identity.contains_key(identity) {
            let victim = self.by_identity.keys().next().cloned();
            victim.map(|identity| self.by_identity.remove(&identity));
        }
        self.by_identity.insert(identity.into(), credential);
    }

    /// Forgets everything of a device whose credential changed.
    pub(crate) fn forget(&mut self, device: &DeviceId) {
        self.by_identity.retain(|_, credential| credential.device != *device);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn credential(device: u8, at_s: u32) -> Credential {
        Credential { device: [device; 16], network: 1, stamp: 1, key: Secret::new(b"key"), at_s }
    }

    #[test]
    fn an_answer_serves_for_its_age_and_not_a_second_longer() {
        let mut credentials = Credentials::new();
        credentials.remember(b"meter", credential(1, 100));
        assert!(credentials.recall(b"meter", 100 + CREDENTIAL_AGE_S - 1).is_some());
        assert!(credentials.recall(b"meter", 100 + CREDENTIAL_AGE_S).is_none());
        assert!(credentials.recall(b"other", 100).is_none());
    }

    #[test]
    fn a_dropped_credential_is_gone_and_others_stay() {
        let mut credentials = Credentials::new();
        credentials.remember(b"a", credential(1, 0));
        credentials.remember(b"b", credential(2, 0));
        credentials.forget(&[1; 16]);
        assert!(credentials.recall(b"a", 0).is_none());
        assert_eq!(credentials.recall(b"b", 0).unwrap().device, [2; 16]);
    }

    #[test]
    fn the_table_does_not_grow_beyond_its_bound() {
        let mut credentials = Credentials::new();
        for number in 0..=CREDENTIALS_MAX {
            credentials.remember(&number.to_be_bytes(), credential(0, 0));
        }
        assert_eq!(credentials.by_identity.len(), CREDENTIALS_MAX);
        assert!(credentials.recall(&CREDENTIALS_MAX.to_be_bytes(), 0).is_some());
    }
}
