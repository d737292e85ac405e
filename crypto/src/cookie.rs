//! Did this server say these bytes before? A keyed MAC for what a stranger carries for us.
//!
//! HMAC-SHA-256 over parts that are each preceded by their length, so that two different lists of
//! parts never feed the same bytes. Rotation and what goes in belong to the caller.

use subtle::ConstantTimeEq;

use crate::hmac256;

/// The key, already absorbed: each MAC starts from the saved state. Wiped when dropped.
#[derive(Clone)]
pub struct CookieKey {
    key: hmac256::Key,
}

/// Length of a MAC, bytes.
pub const MAC_BYTES: usize = 32;

impl CookieKey {
    /// From 32 random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self { key: hmac256::Key::new(random) }
    }

    /// The MAC of `parts`.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        let mut mac = self.key.begin();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hmac over the length-prefixed parts.
    #[test]
    fn known_answers() {
        let key = CookieKey::new(&std::array::from_fn(|n| n as u8));
        let answers: [(&[&[u8]], &str); 3] = [
            (&[], "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb"),
            (&[b""], "9f0cd9b94097fe4929918d2b8942b34439574261a35dc50163f06c67d4e48899"),
            (
                &[b"192.0.2.1:40000", &[0xfe, 0xfd]],
                "f6de6739a69068519bd3be629ff567e99c98490ebe2be7ea55c0a45aacf4845a",
            ),
        ];
        for (parts, expected) in answers {
            assert_eq!(hex::encode(key.mac(parts)), expected);
        }
    }

    #[test]
    fn only_its_own_mac_verifies() {
        let key = CookieKey::new(&[1; 32]);
        let mac = key.mac(&[b"peer", b"hello"]);
        assert!(key.verify(&[b"peer", b"hello"], &mac));
        assert!(!CookieKey::new(&[2; 32]).verify(&[b"peer", b"hello"], &mac));
        assert!(!key.verify(&[b"peer", b"hello"], &mac[..31]));
        assert!(!key.verify(&[b"peer", b"hello"], &[mac.as_slice(), &[0]].concat()));
        assert!(!key.verify(&[b"peer", b"hello"], &[]));
        for bit in 0..256 {
            let mut flipped = mac;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verify(&[b"peer", b"hello"], &flipped));
        }
    }

    /// The border between parts is part of what is authenticated.
    #[test]
    fn moving_a_byte_to_the_next_part_changes_the_mac() {
        let key = CookieKey::new(&[1; 32]);
        let mac = key.mac(&[b"peer", b"hello"]);
        assert!(!key.verify(&[b"peerh", b"ello"], &mac));
        assert!(!key.verify(&[b"peerhello"], &mac));
        assert!(!key.verify(&[b"peer", b"hello", b""], &mac));
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", CookieKey::new(&[1; 32])), "CookieKey(redacted)");
    }
}
