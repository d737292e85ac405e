//! What comes out of a handshake's secrets? The TLS 1.2 PRF and the transcript it is fed with.
//!
//! RFC 5246 section 5: `PRF(secret, label, seed) = P_hash(secret, label || seed)`, where the
//! suite names the hash. Nothing here allocates.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha384};
use zeroize::Zeroize;

/// The hash of a cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
}

/// Longest digest of any [`Hash`], bytes.
pub const DIGEST_BYTES_MAX: usize = 48;

impl Hash {
    /// Length of a digest, bytes.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// The digest of `parts`, one after the other.
    pub fn digest(self, parts: &[&[u8]]) -> Digest {
        let mut transcript = Transcript::of(self);
        for part in parts {
            transcript.update(part);
        }
        transcript.snapshot(self)
    }
}

/// Fills `out` with `PRF(secret, label, seeds[0] || seeds[1] || …)`.
pub fn prf(hash: Hash, secret: &[u8], label: &[u8], seeds: &[&[u8]], out: &mut [u8]) {
    match hash {
        Hash::Sha256 => p_hash(&keyed::<Hmac<Sha256>>(secret), label, seeds, out),
        Hash::Sha384 => p_hash(&keyed::<Hmac<Sha384>>(secret), label, seeds, out),
    }
}

/// P_hash: `HMAC(A(1) || seed) || HMAC(A(2) || seed) || …` with `A(0) = seed`,
/// `A(i) = HMAC(A(i-1))`.
fn p_hash<M: Mac + Clone>(keyed: &M, label: &[u8], seeds: &[&[u8]], out: &mut [u8]) {
    let feed_seed = |mac: &mut M| {
        mac.update(label);
        for seed in seeds {
            mac.update(seed);
        }
    };
    let mut mac = keyed.clone();
    feed_seed(&mut mac);
    let mut a = mac.finalize().into_bytes();
    for block in out.chunks_mut(a.len()) {
        let mut mac = keyed.clone();
        mac.update(&a);
        feed_seed(&mut mac);
        let mut output = mac.finalize().into_bytes();
        block.copy_from_slice(&output[..block.len()]);
        output.as_mut_slice().zeroize();
        let mut mac = keyed.clone();
        mac.update(&a);
        a = mac.finalize().into_bytes();
    }
    a.as_mut_slice().zeroize();
}

fn keyed<M: KeyInit>(secret: &[u8]) -> M {
    M::new_from_slice(secret).expect("HMAC takes keys of any length")
}

/// The running hash over a handshake's messages.
///
/// Until the suite is known both hashes run; [`Transcript::choose`] ends the other one.
/// What belongs in it, and in which form, is the handshake's business (RFC 6347 section 4.2.6).
#[derive(Clone)]
pub struct Transcript {
    sha256: Option<Sha256>,
    sha384: Option<Sha384>,
}

impl Transcript {
    /// Empty, both hashes running.
    pub fn new() -> Self {
        Self { sha256: Some(Sha256::new()), sha384: Some(Sha384::new()) }
    }

    /// Empty, one hash running.
    pub fn of(hash: Hash) -> Self {
        let mut transcript = Self::new();
        transcript.choose(hash);
        transcript
    }

    /// Goes on with `hash` alone.
    pub fn choose(&mut self, hash: Hash) {
        match hash {
            Hash::Sha256 => self.sha384 = None,
            Hash::Sha384 => self.sha256 = None,
        }
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(running) = &mut self.sha256 {
            running.update(bytes);
        }
        if let Some(running) = &mut self.sha384 {
            running.update(bytes);
        }
    }

    /// The digest of everything so far; the transcript goes on.
    ///
    /// # Panics
    /// If another hash was chosen before.
    pub fn snapshot(&self, hash: Hash) -> Digest {
        let mut bytes = [0; DIGEST_BYTES_MAX];
        match hash {
            Hash::Sha256 => {
                let running = self.sha256.clone().expect("the transcript chose SHA-384");
                bytes[..32].copy_from_slice(&running.finalize());
            }
            Hash::Sha384 => {
                let running = self.sha384.clone().expect("the transcript chose SHA-256");
                bytes.copy_from_slice(&running.finalize());
            }
        }
        Digest { hash, bytes }
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcript")
            .field("sha256", &self.sha256.is_some())
            .field("sha384", &self.sha384.is_some())
            .finish()
    }
}

/// A digest of public bytes, inline; compares like any value, so it is no place for a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    hash: Hash,
    bytes: [u8; DIGEST_BYTES_MAX],
}

impl Digest {
    /// 32 or 48 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.hash.digest_bytes()]
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}
