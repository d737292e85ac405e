//! What have all handshakes of a server in common? Its suites and groups, who it says it is, and
//! whom it trusts to say who a client is.

use std::sync::Arc;

use tidegate_crypto::agreement::Group;
use tidegate_crypto::certificate::{Authorities, Leaf, NAME_BYTES_MAX, NAMES_MAX};
use tidegate_crypto::signature::SigningKey;

use crate::association::{HELD_BYTES_MAX, Link};
use crate::reassembly::Reassembly;
use crate::record::CID_BYTES_MAX;
use crate::suite::Suite;

/// What all handshakes of a server have in common.
#[derive(Clone, Debug)]
pub struct Config {
    /// In the order of preference; the first one that the client offers, and for which everything
    /// else is there, is taken.
    pub suites: Vec<Suite>,
    /// For key agreement, in the order of preference; without any there are no suites with one.
    pub groups: Vec<Group>,
    /// Length of the Connection IDs we announce, at most 32 bytes; 0: records toward us carry
    /// none, and a client that offers the extension is told so.
    pub own_cid_len: usize,
    /// Refuse clients without `extended_master_secret` (RFC 7627 section 5.3).
    pub require_extended_master_secret: bool,
    /// Take up `return_routability_check` when a client offers it (RFC 9853).
    pub return_routability: bool,
    /// Who this server is; the first one serves all names that nobody claims. Without any there
    /// are no suites with certificates or raw public keys.
    pub identities: Vec<Arc<Identity>>,
    /// Who may vouch for clients; without any they can show raw public keys alone.
    pub authorities: Option<Arc<Authorities>>,
    /// Datagram sizes and timers.
    pub link: Link,
}

/// A key of the server, and how it is shown.
#[derive(Debug)]
pub struct Identity {
    /// Signs; its public half is what a raw public key shows.
    pub key: SigningKey,
    /// DER, leaf first; empty when the key is only shown as a raw public key.
    pub chain: Vec<Vec<u8>>,
    /// Host names for which it is shown (RFC 6066 section 3), without case.
    pub names: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            suites: Suite::ALL.to_vec(),
            groups: vec![Group::X25519, Group::Secp256r1, Group::Secp384r1],
            own_cid_len: 0,
            require_extended_master_secret: false,
            return_routability: true,
            identities: Vec::new(),
            authorities: None,
            link: Link::default(),
        }
    }
}

impl Config {
    /// Most heap bytes one handshake can make us hold, whatever its client sends.
    pub fn handshake_bytes_max(&self) -> usize {
        let chains = self.identities.iter().map(|identity| identity.chain_bytes());
        // Without an identity of our own no certificate is asked for.
        let claim = if self.identities.is_empty() { IDENTITY_BYTES_MAX } else { LEAF_BYTES_MAX };
        Reassembly::bytes_bound(self.link.message_bytes_max)
            + FLIGHT_BYTES_MAX
            + 2 * chains.max().unwrap_or(0)
            + 2 * HELD_BYTES_MAX
            + CID_BYTES_MAX
            + SERVER_NAME_BYTES_MAX
            + claim
    }

    /// Identities for a client that asks for `name`, the best first, and whether they claim it.
    pub(super) fn identities_for(
        &self,
        name: Option<&[u8]>,
    ) -> impl Iterator<Item = (&Arc<Identity>, bool)> {
        let claims = move |identity: &Identity| name.is_some_and(|name| identity.claims(name));
        let named = self.identities.iter().filter(move |identity| claims(identity));
        named.map(|identity| (identity, true)).chain(self.identities.iter().map(|i| (i, false)))
    }
}

impl Identity {
    fn claims(&self, name: &[u8]) -> bool {
        // A fully qualified name may end in a dot; a server_name does not (RFC 6066 section 3).
        let name = name.strip_suffix(b".").unwrap_or(name);
        self.names.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    fn chain_bytes(&self) -> usize {
        self.chain.iter().map(|der| 3 + der.len()).sum()
    }
}

/// Longest PSK identity that is looked up, bytes; RFC 4279 section 5.3 asks for 128. A longer one
/// is an unknown one.
pub const IDENTITY_BYTES_MAX: usize = 256;
/// Longest raw public key of a client, bytes. *Why:* those of the groups here have 91 and 120.
pub const RAW_PUBLIC_KEY_BYTES_MAX: usize = 256;
/// Longest host name a session is resumed for, bytes: what DNS allows.
pub const SERVER_NAME_BYTES_MAX: usize = 255;
/// Bound: a flight 4 without certificates (ServerHello under 200 bytes, ServerKeyExchange under
/// 260, CertificateRequest, headers) and its table, as vectors grow, or the datagram of flight 6.
const FLIGHT_BYTES_MAX: usize = 1_536;
/// Bound: what is kept of a client's certificate; a string may have grown by doubling.
const LEAF_BYTES_MAX: usize = size_of::<Leaf>()
    + RAW_PUBLIC_KEY_BYTES_MAX
    + NAMES_MAX * (size_of::<String>() + 2 * NAME_BYTES_MAX);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn identity(names: &[&str]) -> Arc<Identity> {
        let key = SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(Identity { key, chain: Vec::new(), names })
    }

    /// RFC 6066 section 3: names have no case; a name that nobody claims is the first one's.
    #[test]
    fn a_name_finds_the_identity_that_claims_it_and_else_the_first() {
        let config = Config {
            identities: vec![identity(&["a.example"]), identity(&["b.example", "c.example"])],
            ..Config::default()
        };
        let first = |name: Option<&[u8]>| {
            let (found, is_named) = config.identities_for(name).next().unwrap();
            (config.identities.iter().position(|i| Arc::ptr_eq(i, found)).unwrap(), is_named)
        };
        assert_eq!(first(None), (0, false));
        assert_eq!(first(Some(b"A.Example")), (0, true));
        assert_eq!(first(Some(b"c.example")), (1, true));
        assert_eq!(first(Some(b"c.example.")), (1, true));
        assert_eq!(first(Some(b"192.0.2.1")), (0, false));
        assert_eq!(first(Some(b"example")), (0, false));
    }
}
