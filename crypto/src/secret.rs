//! Where does a secret live? In bytes that are wiped when dropped, never printed, and compared in
//! constant time.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret of any length, on the heap, so that moving it copies no bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// A copy of `bytes`, exactly sized.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// `len` zeros to be filled in place.
    pub fn zeros(len: usize) -> Self {
        Self(vec![0; len].into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be filled in place.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Length, bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Takes the bytes over; nothing of them stays behind in the vector's spare room.
impl From<Vec<u8>> for Secret {
    fn from(mut bytes: Vec<u8>) -> Self {
        let secret = Self::new(&bytes);
        bytes.zeroize();
        secret
    }
}

/// Constant time for secrets of the same length; the length itself is no secret.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes, redacted)", self.0.len())
    }
}

/// A secret of a fixed length, where a key of `N` bytes is wanted.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key<const N: usize>([u8; N]);

impl<const N: usize> Key<N> {
    /// From its bytes; the caller's copy is the caller's to wipe.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be filled in place.
    pub fn as_bytes_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

/// Refused if the length is not `N`.
impl<const N: usize> TryFrom<&[u8]> for Key<N> {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

/// Constant time.
impl<const N: usize> PartialEq for Key<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Key<N> {}

impl<const N: usize> std::fmt::Debug for Key<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({N} bytes, redacted)")
    }
}

/// Whether two byte strings are equal, in a time that depends on their lengths alone.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn debug_says_the_length_alone() {
        let secret = Secret::from(b"hunter2".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(7 bytes, redacted)");
        assert_eq!(format!("{:?}", Key::new([0x41; 16])), "Key(16 bytes, redacted)");
    }

    #[test]
    fn equal_means_same_bytes_and_length() {
        assert_eq!(Secret::new(b"abc"), Secret::from(b"abc".to_vec()));
        assert_ne!(Secret::new(b"abc"), Secret::new(b"abd"));
        assert_ne!(Secret::new(b"abc"), Secret::new(b"ab"));
        assert_eq!(Key::new([1; 4]), Key::try_from([1; 4].as_slice()).unwrap());
        assert_ne!(Key::new([1; 4]), Key::new([1, 1, 1, 2]));
        assert!(equal(b"", b"") && !equal(b"", b"a"));
    }

    #[test]
    fn a_key_takes_its_length_only() {
        assert!(Key::<16>::try_from([0; 15].as_slice()).is_err());
        assert!(Key::<16>::try_from([0; 16].as_slice()).is_ok());
        assert!(Key::<16>::try_from([0; 17].as_slice()).is_err());
    }

    /// What drop does, done by hand where the bytes can still be looked at.
    #[test]
    fn wiping_leaves_nothing() {
        let mut key = Key::new([7; 32]);
        key.zeroize();
        assert_eq!(key.as_bytes(), &[0; 32]);
        let mut secret = Secret::new(b"abc");
        secret.as_bytes_mut().copy_from_slice(b"xyz");
        assert_eq!(secret.as_bytes(), b"xyz");
        secret.zeroize();
        assert!(secret.as_bytes().iter().all(|&byte| byte == 0));
    }
}
