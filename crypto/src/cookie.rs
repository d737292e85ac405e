//! Did this server say these bytes before? A keyed MAC for what a stranger carries for us.
//!
//! HMAC-SHA-256 over parts that are each preceded by their length, so that two different lists of
//! parts never feed the same bytes. Rotation and what goes in belong to the caller.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The key, already absorbed: each MAC starts from the saved state. Wiped when dropped.
#[derive(Clone)]
pub struct CookieKey {
    keyed: Hmac<Sha256>,
}

/// Length of a MAC, bytes.
pub const MAC_BYTES: usize = 32;

impl CookieKey {
    /// From 32 random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        let keyed = Hmac::new_from_slice(random).expect("HMAC takes keys of any length");
        Self { keyed }
    }

    /// The MAC of `parts`.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        let mut mac = self.keyed.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether `claimed` is the MAC of `parts`, in a time that depends on lengths alone.
    pub fn verify(&self, parts: &[&[u8]], claimed: &[u8]) -> bool {
        self.mac(parts).as_slice().ct_eq(claimed).into()
    }
}

impl std::fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieKey(redacted)")
    }
}
