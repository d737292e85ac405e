//! Stands in for the module of the same name that `crypto` is about to get.
#![allow(missing_docs, missing_debug_implementations)]
use tidegate_crypto::prf::{Digest, Hash};
use tidegate_crypto::secret::Secret;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    EcdsaSecp256r1Sha256,
    EcdsaSecp384r1Sha384,
}
impl Scheme {
    pub const fn code(self) -> u16 {
        match self {
            Self::EcdsaSecp256r1Sha256 => 0x403,
            Self::EcdsaSecp384r1Sha384 => 0x503,
        }
    }
    pub fn from_code(_c: u16) -> Option<Self> {
        None
    }
    pub fn hash(self) -> Hash {
        Hash::Sha256
    }
}
#[derive(Debug)]
pub struct SigningKey;
impl SigningKey {
    pub fn from_pkcs8(_: &[u8]) -> Option<Self> {
        Some(Self)
    }
    pub fn generate() -> Secret {
        Secret::zeros(1)
    }
    pub fn scheme(&self) -> Scheme {
        Scheme::EcdsaSecp256r1Sha256
    }
    pub fn spki(&self) -> &[u8] {
        &[]
    }
    pub fn sign(&self, _: &[&[u8]]) -> Vec<u8> {
        vec![]
    }
}
pub fn verify_digest(_: Scheme, _: &[u8], _: &Digest, _: &[u8]) -> bool {
    false
}
pub fn verify(_: Scheme, _: &[u8], _: &[&[u8]], _: &[u8]) -> bool {
    false
}
