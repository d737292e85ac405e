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

/// `None` if the length is not `N`.
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
