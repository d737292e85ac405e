//! Who may shake hands? Answers from the store, and what happens when a secret changes.

use tidegate_ring::Seq;
use tidegate_ring::contract::{
    Credential, CredentialDropped, CredentialWanted, EndReason, Kind, Verdict,
};
use zerocopy::IntoBytes;

use super::{Core, LinkId};
use crate::model::{DeviceId, Network};
use crate::store::Table;
use crate::store::records::Identity;

impl Core {
    /// Answered at once, from the store: publishing has no part in it.
    pub(super) fn on_credential_wanted(
        &mut self,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (wanted, identity) = CredentialWanted::split(bytes)?;
        let mut answer = Credential {
            request: wanted.request,
            device: [0; 16],
            stamp: 0.into(),
            verdict: Verdict::Unknown as u8,
            network: 0,
        };
        let stored = self.store.get(Table::Identities, identity);
        let stored = stored.and_then(|stored| stored.as_deref().map(Identity::decode).transpose());
        let opened = stored.and_then(|stored| {
            let Some(stored) = stored else {
                self.vault.open_decoy();
                return Ok(None);
            };
            stored.open(&self.vault, identity).map(|key| Some((stored, key)))
        });
        let key = match opened {
            Ok(Some((stored, key))) => {
                answer.verdict = Verdict::Known as u8;
                answer.device = stored.device.0;
                answer.network = on_the_wire(stored.network);
                Some(key)
            }
            Ok(None) => None,
            Err(_) => {
                answer.verdict = Verdict::Unavailable as u8;
                None
            }
        };
        let key = key.as_ref().map_or(&[][..], |key| key.as_bytes());
        self.post(link, Kind::Credential, &[answer.as_bytes(), key], Some(seq));
        Some(())
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
