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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CONTEXT: &[u8] = b"device/7";

    fn key(first: u8) -> Key<32> {
        Key::new(std::array::from_fn(|n| first.wrapping_add(n as u8)))
    }

    fn sealed() -> Vec<u8> {
        seal(&key(0), std::array::from_fn(|n| 0xa0 + n as u8), CONTEXT, b"correct horse")
    }

    /// Computed with python-cryptography.
    #[test]
    fn known_answer() {
        let expected = "01a0a1a2a3a4a5a6a7a8a9aaab85770e5f20a8769f0a0af5a0622ac67ee26378c44082\
                        b09016d3d1a71f";
        assert_eq!(hex::encode(sealed()), expected);
        assert_eq!(sealed().len(), b"correct horse".len() + OVERHEAD_BYTES);
        let opened = open(&key(0), CONTEXT, &sealed()).unwrap();
        assert_eq!(opened.as_bytes(), b"correct horse");
    }

    #[test]
    fn another_key_or_context_is_refused() {
        assert_eq!(open(&key(1), CONTEXT, &sealed()), Err(VaultError::Refused));
        assert_eq!(open(&key(0), b"device/8", &sealed()), Err(VaultError::Refused));
        assert_eq!(open(&key(0), b"", &sealed()), Err(VaultError::Refused));
    }

    #[test]
    fn altered_bytes_are_refused() {
        for bit in 0..sealed().len() * 8 {
            let mut altered = sealed();
            altered[bit / 8] ^= 1 << (bit % 8);
            let expected =
                if bit < 8 { VaultError::Version(altered[0]) } else { VaultError::Refused };
            assert_eq!(open(&key(0), CONTEXT, &altered), Err(expected), "bit {bit}");
        }
    }

    /// An empty secret has exactly the overhead; anything shorter was cut.
    #[test]
    fn the_shortest_sealed_secret() {
        let empty = seal(&key(0), [0; NONCE_BYTES], CONTEXT, b"");
        assert_eq!(empty.len(), OVERHEAD_BYTES);
        assert!(open(&key(0), CONTEXT, &empty).unwrap().is_empty());
        for len in 0..OVERHEAD_BYTES {
            assert_eq!(open(&key(0), CONTEXT, &empty[..len]), Err(VaultError::Truncated));
        }
    }
}
