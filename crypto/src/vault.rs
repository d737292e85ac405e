//! How does a secret lie on disk? Sealed with AES-256-GCM and bound to the record it belongs to.
//!
//! Sealed form: `version:1 | nonce:12 | ciphertext | tag:16`. The associated data is the version
//! and the caller's `context` (the record's key in the store), so a sealed secret copied to
//! another record does not open there.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};

use crate::secret::{Key, Secret};

/// Nonce, bytes.
pub const NONCE_BYTES: usize = 12;
/// Sealed length minus plaintext length, bytes.
pub const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + 16;

/// Seals `plaintext` for `context` under `key`.
///
/// `nonce` is random, fresh for each call. *Bound:* 2^32 seals under one key (NIST SP 800-38D
/// section 8.3).
pub fn seal(key: &Key<32>, nonce: [u8; NONCE_BYTES], context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: plaintext, aad: &associated_data(context) };
    let text = cipher(key).encrypt(&Nonce::from(nonce), payload);
    let text = text.expect("Bound: memory is shorter than GCM's 2^36 - 32 bytes");
    let mut sealed = Vec::with_capacity(OVERHEAD_BYTES + plaintext.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&text);
    sealed
}

/// Opens what [`seal`] made for the same `context` under the same `key`.
pub fn open(key: &Key<32>, context: &[u8], sealed: &[u8]) -> Result<Secret, VaultError> {
    if sealed.len() < OVERHEAD_BYTES {
        return Err(VaultError::Truncated);
    }
    let (&version, rest) = sealed.split_first().ok_or(VaultError::Truncated)?;
    if version != VERSION {
        return Err(VaultError::Version(version));
    }
    let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Truncated)?;
    let payload = Payload { msg: text, aad: &associated_data(context) };
    let opened = cipher(key).decrypt(&Nonce::from(*nonce), payload);
    opened.map(Secret::from).map_err(|_| VaultError::Refused)
}

/// Why a sealed secret did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// Too short to be a sealed secret.
    Truncated,
    /// Written by a version of this file that is not known here.
    Version(u8),
    /// Another key, another context, or altered bytes: nothing tells which.
    Refused,
}

impl std::fmt::Display for VaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => f.write_str("sealed secret is truncated"),
            Self::Version(version) => write!(f, "sealed secret has unknown version {version}"),
            Self::Refused => f.write_str("sealed secret does not open with this key here"),
        }
    }
}

impl std::error::Error for VaultError {}

const VERSION: u8 = 1;

fn cipher(key: &Key<32>) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(key.as_bytes()).expect("32 bytes are an AES-256 key")
}

fn associated_data(context: &[u8]) -> Vec<u8> {
    [&[VERSION], context].concat()
}
