//! Who signed this? ECDSA over P-256 and P-384, with public keys as the SubjectPublicKeyInfo that
//! stands in certificates and raw public keys (RFC 7250 section 3, RFC 8422 section 5.10).

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair,
    UnparsedPublicKey,
};

use crate::agreement::Group;
use crate::prf::{Digest, Hash};
use crate::secret::Secret;

/// A signature scheme of `signature_algorithms`: a hash and ECDSA (RFC 5246 section 7.4.1.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// With SHA-256; what keys on P-256 sign with.
    EcdsaSecp256r1Sha256,
    /// With SHA-384; what keys on P-384 sign with.
    EcdsaSecp384r1Sha384,
}

impl Scheme {
    /// Every scheme, the one that devices are sure to have first.
    pub const ALL: [Self; 2] = [Self::EcdsaSecp256r1Sha256, Self::EcdsaSecp384r1Sha384];

    /// The scheme with this code point.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.code() == code)
    }
    /// Its code point: hash, then signature.
    pub const fn code(self) -> u16 {
        match self {
            Self::EcdsaSecp256r1Sha256 => 0x0403,
            Self::EcdsaSecp384r1Sha384 => 0x0503,
        }
    }
    /// The hash that is signed.
    pub const fn hash(self) -> Hash {
        match self {
            Self::EcdsaSecp256r1Sha256 => Hash::Sha256,
            Self::EcdsaSecp384r1Sha384 => Hash::Sha384,
        }
    }
}

/// A private key that signs.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    group: Group,
    spki: Vec<u8>,
}

/// Not a key on P-256 or P-384, or in no form we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

impl SigningKey {
    /// A key from its PKCS #8 (RFC 5958), DER; the older `ECPrivateKey` (RFC 5915) is read too.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadKey> {
        [Group::Secp256r1, Group::Secp384r1]
            .into_iter()
            .find_map(|group| {
                let algorithm = signing_algorithm(group);
                let pair = EcdsaKeyPair::from_private_key_der(algorithm, pkcs8).ok()?;
                let spki = [spki_head(group)?, pair.public_key().as_ref()].concat();
                Some(Self { pair, group, spki })
            })
            .ok_or(BadKey)
    }

    /// A new key on P-256, as PKCS #8. Draws from the operating system: for operators' tools and
    /// first starts, not for protocol machines.
    pub fn generate() -> Secret {
        let pair = EcdsaKeyPair::generate(signing_algorithm(Group::Secp256r1));
        let pkcs8 = pair.and_then(|pair| pair.to_pkcs8v1()).expect("the system has random bytes");
        Secret::new(pkcs8.as_ref())
    }

    /// The curve.
    pub fn group(&self) -> Group {
        self.group
    }

    /// The scheme of its signatures.
    pub fn scheme(&self) -> Scheme {
        match self.group {
            Group::Secp384r1 => Scheme::EcdsaSecp384r1Sha384,
            _ => Scheme::EcdsaSecp256r1Sha256,
        }
    }

    /// Its public key as SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Signs the parts, one after the other; an ASN.1 signature. The nonce is the library's own:
    /// whoever could repeat it would learn the key.
    pub fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        let signed = self.pair.sign(&SystemRandom::new(), &parts.concat());
        signed.expect("a key that was parsed signs").as_ref().to_vec()
    }

    /// The same for whoever has the digest alone, such as a transcript's.
    ///
    /// # Panics
    /// If the digest is by another hash than the [`scheme`](Self::scheme)'s.
    pub fn sign_digest(&self, digest: &Digest) -> Vec<u8> {
        let digest = import(self.scheme(), digest).expect("a digest by the scheme's hash");
        let signed = self.pair.sign_digest(&digest);
        signed.expect("a key that was parsed signs").as_ref().to_vec()
    }
}

/// Whether `signature` is one of the parts, one after the other, under the public key. False as
/// well for a key that is none ([`group_of`]).
pub fn verify(scheme: Scheme, spki: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    let Some((group, point)) = parse_spki(spki) else { return false };
    let key = UnparsedPublicKey::new(verification_algorithm(group, scheme), point);
    key.verify(&parts.concat(), signature).is_ok()
}

/// Whether `signature` is one of the bytes with this digest; false for a digest by another hash
/// than the scheme's.
pub fn verify_digest(scheme: Scheme, spki: &[u8], digest: &Digest, signature: &[u8]) -> bool {
    let Some((group, point)) = parse_spki(spki) else { return false };
    let key = UnparsedPublicKey::new(verification_algorithm(group, scheme), point);
    import(scheme, digest).is_some_and(|digest| key.verify_digest(&digest, signature).is_ok())
}

fn import(scheme: Scheme, digest: &Digest) -> Option<digest::Digest> {
    let algorithm = match scheme {
        Scheme::EcdsaSecp256r1Sha256 => &digest::SHA256,
        Scheme::EcdsaSecp384r1Sha384 => &digest::SHA384,
    };
    digest::Digest::import_less_safe(digest.as_bytes(), algorithm).ok()
}

/// The curve of a SubjectPublicKeyInfo; `None` for anything but an uncompressed point on P-256 or
/// P-384 in DER (RFC 8422 section 5.1.1 and RFC 7925 section 4.4 ask for these).
pub fn group_of(spki: &[u8]) -> Option<Group> {
    let (group, point) = parse_spki(spki)?;
    let algorithm = verification_algorithm(group, Scheme::EcdsaSecp256r1Sha256);
    UnparsedPublicKey::new(algorithm, point).parse().ok().map(|_| group)
}

fn parse_spki(spki: &[u8]) -> Option<(Group, &[u8])> {
    [Group::Secp256r1, Group::Secp384r1].into_iter().find_map(|group| {
        let point = spki.strip_prefix(spki_head(group)?)?;
        let is_point = point.len() == group.share_bytes() && point[0] == UNCOMPRESSED;
        is_point.then_some((group, point))
    })
}

/// Everything in front of the point: its two object identifiers and lengths (RFC 5480 section 2).
const fn spki_head(group: Group) -> Option<&'static [u8]> {
    match group {
        Group::X25519 => None,
        Group::Secp256r1 => Some(
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\
            \x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
        ),
        Group::Secp384r1 => Some(
            b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\
            \x81\x04\x00\x22\x03\x62\x00",
        ),
    }
}

const UNCOMPRESSED: u8 = 4;

fn signing_algorithm(group: Group) -> &'static EcdsaSigningAlgorithm {
    match group {
        Group::Secp384r1 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        _ => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
    }
}

/// TLS 1.2 does not tie a hash to a curve (RFC 5246 section 7.4.1.4.1).
fn verification_algorithm(group: Group, scheme: Scheme) -> &'static EcdsaVerificationAlgorithm {
    match (group, scheme) {
        (Group::Secp384r1, Scheme::EcdsaSecp384r1Sha384) => &signature::ECDSA_P384_SHA384_ASN1,
        (Group::Secp384r1, Scheme::EcdsaSecp256r1Sha256) => &signature::ECDSA_P384_SHA256_ASN1,
        (_, Scheme::EcdsaSecp384r1Sha384) => &signature::ECDSA_P256_SHA384_ASN1,
        (_, Scheme::EcdsaSecp256r1Sha256) => &signature::ECDSA_P256_SHA256_ASN1,
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, redacted)", self.group.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SCHEME: Scheme = Scheme::EcdsaSecp256r1Sha256;

    /// RFC 6979 appendix A.2.5: the key of P-256, and its signature of "sample" with SHA-256.
    #[test]
    fn the_signature_of_rfc_6979_is_good_and_no_other() {
        let point = "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
                     7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
        let signature = "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
                         022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
        let point = hex::decode(point).unwrap();
        let signature = hex::decode(signature).unwrap();
        let spki = [spki_head(Group::Secp256r1).unwrap(), &point].concat();
        assert_eq!(group_of(&spki), Some(Group::Secp256r1));
        assert!(verify(SCHEME, &spki, &[b"sam", b"ple"], &signature));
        assert!(!verify(SCHEME, &spki, &[b"sampl"], &signature));
        assert!(!verify(Scheme::EcdsaSecp384r1Sha384, &spki, &[b"sample"], &signature));
        let of_digest = |scheme, hash: Hash, message: &[u8]| {
            verify_digest(scheme, &spki, &hash.digest(&[message]), &signature)
        };
        assert!(of_digest(SCHEME, Hash::Sha256, b"sample"));
        assert!(!of_digest(SCHEME, Hash::Sha256, b"sampl"));
        assert!(!of_digest(SCHEME, Hash::Sha384, b"sample"));
        assert!(!of_digest(Scheme::EcdsaSecp384r1Sha384, Hash::Sha256, b"sample"));
        for at in 0..signature.len() {
            let mut bent = signature.clone();
            bent[at] ^= 1;
            assert!(!verify(SCHEME, &spki, &[b"sample"], &bent), "byte {at}");
        }
    }

    /// RFC 6979 appendix A.2.6: the key of P-384, and its signature of "sample" with SHA-384.
    #[test]
    fn p384_as_in_rfc_6979() {
        let point = "04ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64\
                     def8f0ea9055866064a254515480bc138015d9b72d7d57244ea8ef9ac0c62189\
                     6708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720";
        let signature = "306602310094edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
                         81a648152e44acf96e36dd1e80fabe46\
                         02310099ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f\
                         a329c145786e679e7b82c71a38628ac8";
        let point = hex::decode(point).unwrap();
        let spki = [spki_head(Group::Secp384r1).unwrap(), &point].concat();
        assert_eq!(group_of(&spki), Some(Group::Secp384r1));
        let signature = hex::decode(signature).unwrap();
        assert!(verify(Scheme::EcdsaSecp384r1Sha384, &spki, &[b"sample"], &signature));
        let digest = Hash::Sha384.digest(&[b"sample"]);
        assert!(verify_digest(Scheme::EcdsaSecp384r1Sha384, &spki, &digest, &signature));
    }

    #[test]
    fn what_is_signed_verifies_under_the_same_key_alone() {
        let ours = SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).unwrap();
        let other = SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).unwrap();
        assert_eq!((ours.group(), ours.scheme()), (Group::Secp256r1, SCHEME));
        let signature = ours.sign(&[b"hello", b"world"]);
        assert!(verify(SCHEME, ours.spki(), &[b"helloworld"], &signature));
        assert!(!verify(SCHEME, other.spki(), &[b"helloworld"], &signature));
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_panics() {
        let key = SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).unwrap();
        let spki = key.spki();
        for len in 0..spki.len() {
            assert_eq!(group_of(&spki[..len]), None);
        }
        assert_eq!(group_of(&[spki, &[0]].concat()), None, "something behind it");
        for at in 0..spki.len() {
            let mut bent = spki.to_vec();
            bent[at] ^= 1;
            assert_eq!(group_of(&bent), None, "byte {at}");
            assert!(!verify(SCHEME, &bent, &[b"x"], &key.sign(&[b"x"])));
        }
        assert_eq!(SigningKey::from_pkcs8(b"").err(), Some(BadKey));
        assert_eq!(SigningKey::from_pkcs8(&[0x30; 138]).err(), Some(BadKey));
    }

    /// RFC 6979's P-256 key as `openssl ecparam -genkey` writes keys, with and without the public
    /// half.
    #[test]
    fn an_ec_private_key_is_read_too() {
        let scalar = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
        let point = "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
                     7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
        for public in [String::new(), format!("a144034200{point}")] {
            let body = format!("0201010420{scalar}a00a06082a8648ce3d030107{public}");
            let der = hex::decode(format!("30{:02x}{body}", body.len() / 2)).unwrap();
            let key = SigningKey::from_pkcs8(&der).unwrap();
            assert_eq!(key.group(), Group::Secp256r1);
            assert!(key.spki().ends_with(&hex::decode(point).unwrap()));
        }
    }

    #[test]
    fn a_digest_is_signed_like_what_it_is_of() {
        let key = SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).unwrap();
        let digest = key.scheme().hash().digest(&[b"all ", b"messages"]);
        let signature = key.sign_digest(&digest);
        assert!(verify(key.scheme(), key.spki(), &[b"all messages"], &signature));
        assert!(!verify(key.scheme(), key.spki(), &[b"all"], &signature));
    }

    #[test]
    fn codes_lead_back_and_nothing_prints_a_key() {
        for scheme in Scheme::ALL {
            assert_eq!(Scheme::from_code(scheme.code()), Some(scheme));
        }
        let key = SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).unwrap();
        assert!(format!("{key:?}").contains("redacted"));
    }
}
