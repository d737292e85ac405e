//! How do two ends that never met share a secret? Ephemeral Diffie-Hellman over the groups of
//! RFC 8422 section 5.1.1.
//!
//! *Why aws-lc-rs:* key generation and agreement over P-256 cost 35 µs there, 183 µs in `p256`.

use aws_lc_rs::agreement::{self, Algorithm, PrivateKey, UnparsedPublicKey};

use crate::secret::Secret;

/// A group that can be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// RFC 7748: the cheapest, and what devices with new libraries have.
    X25519,
    /// NIST P-256: what constrained devices are sure to have (RFC 7252 section 9.1.3.2).
    Secp256r1,
    /// NIST P-384.
    Secp384r1,
}

/// Bytes a private key is made from; any group uses as many of them as it needs.
pub const SEED_BYTES: usize = 48;

impl Group {
    /// Every group, cheapest first.
    pub const ALL: [Self; 3] = [Self::X25519, Self::Secp256r1, Self::Secp384r1];

    /// The group with this code point of `supported_groups`.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.code() == code)
    }
    /// The group with this name, as IANA writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
    /// Its code point.
    pub const fn code(self) -> u16 {
        match self {
            Self::X25519 => 29,
            Self::Secp256r1 => 23,
            Self::Secp384r1 => 24,
        }
    }
    /// Its name, as IANA writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X25519 => "x25519",
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
        }
    }
    /// Length of a public share: an uncompressed point, or 32 bytes (RFC 8422 section 5.4).
    pub const fn share_bytes(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::Secp256r1 => 65,
            Self::Secp384r1 => 97,
        }
    }

    const fn private_bytes(self) -> usize {
        match self {
            Self::X25519 | Self::Secp256r1 => 32,
            Self::Secp384r1 => 48,
        }
    }

    const fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::X25519 => &agreement::X25519,
            Self::Secp256r1 => &agreement::ECDH_P256,
            Self::Secp384r1 => &agreement::ECDH_P384,
        }
    }
}

/// A private key for one handshake, and its public share.
pub struct Ephemeral {
    group: Group,
    key: PrivateKey,
    share: Vec<u8>,
}

/// The peer's share is no point of the group, or one that makes a secret anyone knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadShare;

impl Ephemeral {
    /// The key that `seed`, random bytes used nowhere else, stands for.
    pub fn new(group: Group, seed: &[u8; SEED_BYTES]) -> Self {
        let mut scalar = Secret::new(&seed[..group.private_bytes()]);
        let parse =
            |scalar: &Secret| PrivateKey::from_private_key(group.algorithm(), scalar.as_bytes());
        let key = parse(&scalar).unwrap_or_else(|_| {
            // Zero, or not below the order: once in 2^32 seeds for P-256, and never for the others.
            let bytes = scalar.as_bytes_mut();
            bytes[0] = 0;
            bytes[group.private_bytes() - 1] |= 1;
            parse(&scalar).expect("an odd number far below the order")
        });
        let public = key.compute_public_key().expect("a valid private key has a public one");
        Self { group, key, share: public.as_ref().to_vec() }
    }

    /// The group of both ends' keys.
    pub fn group(&self) -> Group {
        self.group
    }

    /// What the peer is told, [`Group::share_bytes`] long.
    pub fn share(&self) -> &[u8] {
        &self.share
    }

    /// The shared secret: the x-coordinate with its leading zeros (RFC 8422 section 5.10), or
    /// X25519's output. Refuses what is no uncompressed point of the curve, and an X25519 share
    /// that makes zero (section 5.11).
    pub fn agree(&self, peer_share: &[u8]) -> Result<Secret, BadShare> {
        let is_point = self.group == Group::X25519 || peer_share.first() == Some(&UNCOMPRESSED);
        if peer_share.len() != self.group.share_bytes() || !is_point {
            return Err(BadShare);
        }
        let peer = UnparsedPublicKey::new(self.group.algorithm(), peer_share);
        let secret = agreement::agree(&self.key, peer, BadShare, |shared| Ok(Secret::new(shared)))?;
        // The library refuses it as well; this is the line that says so.
        if secret.as_bytes().iter().fold(0, |all, byte| all | byte) == 0 {
            return Err(BadShare);
        }
        Ok(secret)
    }
}

const UNCOMPRESSED: u8 = 4;

impl std::fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ephemeral({}, redacted)", self.group.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seed(hex_digits: &str) -> [u8; SEED_BYTES] {
        let bytes = hex::decode(hex_digits).unwrap();
        let mut seed = [0; SEED_BYTES];
        seed[..bytes.len()].copy_from_slice(&bytes);
        seed
    }

    fn agreed(group: Group, private: &str, peer: &str) -> String {
        let peer = hex::decode(peer).unwrap();
        hex::encode(Ephemeral::new(group, &seed(private)).agree(&peer).unwrap().as_bytes())
    }

    /// RFC 7748 section 6.1.
    #[test]
    fn x25519_as_in_its_rfc() {
        let bob = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
        let alice_public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        let secret = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
        assert_eq!(agreed(Group::X25519, bob, alice_public), secret);
        let public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
        assert_eq!(hex::encode(Ephemeral::new(Group::X25519, &seed(bob)).share()), public);
    }

    /// RFC 5903 section 8.1.
    #[test]
    fn p256_as_in_rfc_5903() {
        let private = "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433";
        let peer = "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63\
                    56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab";
        let secret = "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de";
        assert_eq!(agreed(Group::Secp256r1, private, peer), secret);
    }

    /// RFC 5903 section 8.2.
    #[test]
    fn p384_as_in_rfc_5903() {
        let private = "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655\
                       e35b538041e649ee3faef896783ab194";
        let peer = "04e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d\
                    0d1ac43a0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f\
                    66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c";
        let secret = "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4\
                      d603135569b9e9d09cf5d4a270f59746";
        assert_eq!(agreed(Group::Secp384r1, private, peer), secret);
    }

    #[test]
    fn both_ends_come_to_one_secret_and_others_to_another() {
        for group in Group::ALL {
            let (ours, theirs) = (Ephemeral::new(group, &[7; 48]), Ephemeral::new(group, &[9; 48]));
            assert_eq!(ours.share().len(), group.share_bytes());
            let secret = ours.agree(theirs.share()).unwrap();
            assert_eq!(secret, theirs.agree(ours.share()).unwrap());
            assert_ne!(secret, Ephemeral::new(group, &[8; 48]).agree(theirs.share()).unwrap());
        }
    }

    #[test]
    fn a_seed_that_is_no_scalar_makes_a_key_all_the_same() {
        for group in Group::ALL {
            for byte in [0x00, 0xff] {
                let key = Ephemeral::new(group, &[byte; 48]);
                let peer = Ephemeral::new(group, &[3; 48]);
                assert_eq!(key.agree(peer.share()).unwrap(), peer.agree(key.share()).unwrap());
            }
        }
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for group in Group::ALL {
            let ours = Ephemeral::new(group, &[7; 48]);
            let mut share = Ephemeral::new(group, &[9; 48]).share().to_vec();
            assert_eq!(ours.agree(&share[1..]).err(), Some(BadShare));
            assert_eq!(ours.agree(&[]).err(), Some(BadShare));
            if group == Group::X25519 {
                assert_eq!(ours.agree(&[0; 32]).err(), Some(BadShare), "a secret anyone knows");
                let mut one = [0; 32];
                one[0] = 1;
                assert_eq!(ours.agree(&one).err(), Some(BadShare), "a point of low order");
            } else {
                *share.last_mut().unwrap() ^= 1;
                assert_eq!(ours.agree(&share).err(), Some(BadShare), "not on the curve");
                *share.last_mut().unwrap() ^= 1;
                share[0] = 2;
                assert_eq!(ours.agree(&share).err(), Some(BadShare), "compressed, or hybrid");
                assert_eq!(ours.agree(&vec![0; group.share_bytes()]).err(), Some(BadShare));
            }
        }
    }

    #[test]
    fn codes_and_names_lead_back_and_nothing_prints_a_key() {
        for group in Group::ALL {
            assert_eq!(Group::from_code(group.code()), Some(group));
            assert_eq!(Group::from_name(group.name()), Some(group));
            let text = format!("{:?}", Ephemeral::new(group, &[7; 48]));
            assert!(text.contains("redacted"), "{text}");
        }
        assert_eq!(Group::from_code(25), None);
    }
}
