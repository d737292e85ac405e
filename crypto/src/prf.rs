//! What comes out of a handshake's secrets? The TLS 1.2 PRF and the transcript it is fed with.
//!
//! RFC 5246 section 5: `PRF(secret, label, seed) = P_hash(secret, label || seed)`, where the
//! suite names the hash. Nothing here allocates.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha384};
use zeroize::Zeroize;

use crate::hmac256;

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
    Prf::new(hash, secret).fill(label, seeds, out);
}

/// The PRF of one secret, which is already absorbed: whatever is derived starts from the saved
/// state. Wiped when dropped.
#[derive(Clone)]
pub struct Prf(Keyed);

#[derive(Clone)]
enum Keyed {
    Sha256(hmac256::Key),
    /// In a box: four times as large, and rare.
    Sha384(Box<Hmac<Sha384>>),
}

impl Prf {
    /// Absorbs `secret`.
    pub fn new(hash: Hash, secret: &[u8]) -> Self {
        Self(match hash {
            Hash::Sha256 => Keyed::Sha256(hmac256::Key::new(secret)),
            Hash::Sha384 => Keyed::Sha384(Box::new(keyed(secret))),
        })
    }

    /// Fills `out` with `PRF(secret, label, seeds[0] || seeds[1] || …)`.
    pub fn fill(&self, label: &[u8], seeds: &[&[u8]], out: &mut [u8]) {
        match &self.0 {
            Keyed::Sha256(key) => p_sha256(key, label, seeds, out),
            Keyed::Sha384(keyed) => p_hash(&**keyed, label, seeds, out),
        }
    }
}

impl std::fmt::Debug for Prf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prf(redacted)")
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
    let mut blocks = out.chunks_mut(a.len()).peekable();
    while let Some(block) = blocks.next() {
        let mut mac = keyed.clone();
        mac.update(&a);
        let fork = blocks.peek().map(|_| mac.clone());
        feed_seed(&mut mac);
        let mut output = mac.finalize().into_bytes();
        block.copy_from_slice(&output[..block.len()]);
        output.as_mut_slice().zeroize();
        if let Some(mac) = fork {
            a = mac.finalize().into_bytes();
        }
    }
    a.as_mut_slice().zeroize();
}

/// The same of SHA-256.
fn p_sha256(key: &hmac256::Key, label: &[u8], seeds: &[&[u8]], out: &mut [u8]) {
    let seed = || [label].into_iter().chain(seeds.iter().copied());
    let mut a = key.mac(seed());
    let mut blocks = out.chunks_mut(a.len()).peekable();
    while let Some(block) = blocks.next() {
        let mut output = key.mac([&a[..]].into_iter().chain(seed()));
        block.copy_from_slice(&output[..block.len()]);
        output.zeroize();
        if blocks.peek().is_some() {
            a = key.mac([&a[..]]);
        }
    }
    a.zeroize();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The published vectors for TLS 1.2 (posted to the TLS working group's list in 2009);
    /// OpenSSL's TLS1-PRF gives the same bytes.
    #[test]
    fn published_vectors() {
        let vectors = [
            (
                Hash::Sha256,
                "9bbe436ba940f017b17652849a71db35",
                "a0ba9f936cda311827a6f796ffd5198c",
                "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a\
                 6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab\
                 4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701\
                 87347b66",
            ),
            (
                Hash::Sha384,
                "b80b733d6ceefcdc71566ea48e5567df",
                "cd665cf6a8447dd6ff8b27555edb7465",
                "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cd\
                 e9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700884f9dc236f80edd\
                 8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425\
                 9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee6\
                 91c8f3a26854308d5eaa3be85e0990703d73e56f",
            ),
        ];
        for (hash, secret, seed, expected) in vectors {
            let expected = hex::decode(expected).unwrap();
            let seed = hex::decode(seed).unwrap();
            let mut out = vec![0; expected.len()];
            prf(hash, &hex::decode(secret).unwrap(), b"test label", &[&seed], &mut out);
            assert_eq!(out, expected, "{hash:?}");
        }
    }

    /// A secret longer than the HMAC block (computed with Python's hmac), seeds in two parts.
    #[test]
    fn long_secret_and_key_block() {
        let expected = [
            (
                Hash::Sha256,
                "d70009f9849c95fb675ac5f67523a8d244f5621dc2e5c0f0b4de727837696e25\
                 590155c79f784879933fff8686bd61cbcd35722927b3d935801291cd789dce41\
                 b61edbecd3fbfe4f",
            ),
            (
                Hash::Sha384,
                "ea98900842cc9aab9ef2005d0085ab26979f1cdc67b5eebcf1208253986d3f76\
                 f3e2642648e63bdd688b2ec15f36e3eea9ff0404a53235c59fef06bb12144283\
                 763e5f85a1eede73",
            ),
        ];
        for (hash, expected) in expected {
            let mut out = [0; 72];
            let (server, client) = (b"sr".repeat(16), b"cr".repeat(16));
            prf(hash, &[b'k'; 200], b"key expansion", &[&server, &client], &mut out);
            assert_eq!(hex::encode(out), expected, "{hash:?}");
        }
    }

    /// However much is asked for, the stream is the same; none is fine too.
    #[test]
    fn every_length_is_a_prefix() {
        for hash in [Hash::Sha256, Hash::Sha384] {
            let mut long = [0; 200];
            prf(hash, b"secret", b"label", &[b"seed"], &mut long);
            for len in 0..long.len() {
                let mut out = vec![0; len];
                prf(hash, b"secret", b"label", &[b"seed"], &mut out);
                assert_eq!(out, long[..len]);
            }
        }
    }

    /// RFC 4231 test cases 1, 2, 3, 6 and 7: short and long keys, short and long data.
    #[test]
    fn hmac_of_rfc_4231() {
        let cases: [(&[u8], &[u8], &str, &str); 5] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
                 faea9ea9076ede7f4af152e8b2fa9cb6",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
                 8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
                "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b\
                 2a5ab39dc13814b94e3ab6e101a34f27",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6\
                 0c2ef6ab4030fe8296248df163f44952",
            ),
            (
                &[0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size \
                  data. The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
                "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5\
                 a678cc31e799176d3860e6110c46523e",
            ),
        ];
        for (key, data, sha256, sha384) in cases {
            let mac = keyed::<Hmac<Sha256>>(key).chain_update(data).finalize().into_bytes();
            assert_eq!(hex::encode(mac), sha256);
            let mac = keyed::<Hmac<Sha384>>(key).chain_update(data).finalize().into_bytes();
            assert_eq!(hex::encode(mac), sha384);
        }
    }

    /// FIPS 180 example "abc", fed in pieces before and after the choice of the hash.
    #[test]
    fn transcript_goes_on_with_the_chosen_hash() {
        let expected = [
            (Hash::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                Hash::Sha384,
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
                 8086072ba1e7cc2358baeca134c825a7",
            ),
        ];
        for (hash, expected) in expected {
            let mut transcript = Transcript::new();
            transcript.update(b"a");
            assert_eq!(transcript.snapshot(hash), hash.digest(&[b"a"]));
            transcript.choose(hash);
            transcript.update(b"bc");
            let snapshot = transcript.snapshot(hash);
            assert_eq!(hex::encode(snapshot), expected);
            assert_eq!(snapshot.as_bytes().len(), hash.digest_bytes());
            transcript.update(b"d");
            assert_eq!(transcript.snapshot(hash), hash.digest(&[b"ab", b"", b"cd"]));
        }
    }

    #[test]
    #[should_panic(expected = "the transcript chose SHA-384")]
    fn the_other_hash_is_gone_after_the_choice() {
        Transcript::of(Hash::Sha384).snapshot(Hash::Sha256);
    }
}
