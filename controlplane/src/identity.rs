//! Who does this server say it is? The keys and certificates that devices are shown.
//!
//! The operator's identities (`[[server_identity]]`) come first, the first of them being the one
//! for server names that none claims; then the raw key, which is made at the first start.

use tidegate_crypto::secret::Secret;

/// A key of this server, and what goes with it.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// PKCS #8.
    pub key: Secret,
    /// The DER of its SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// Certificates, leaf first; empty: it is shown as a raw public key only.
    pub chain: Vec<Vec<u8>>,
    /// Server names (SNI) for which it is shown, lower case.
    pub names: Vec<String>,
}
