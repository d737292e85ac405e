//! Stands in for the module of the same name that `crypto` is about to get.
#![allow(missing_docs, missing_debug_implementations)]
use tidegate_crypto::secret::Secret;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    X25519,
    Secp256r1,
    Secp384r1,
}
impl Group {
    pub const ALL: [Self; 3] = [Self::X25519, Self::Secp256r1, Self::Secp384r1];
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.code() == code)
    }
    pub fn from_name(_: &str) -> Option<Self> {
        None
    }
    pub fn code(self) -> u16 {
        match self {
            Self::X25519 => 29,
            Self::Secp256r1 => 23,
            Self::Secp384r1 => 24,
        }
    }
}
pub struct Ephemeral;
pub struct BadShare;
impl Ephemeral {
    pub fn new(_g: Group, _s: &[u8; 48]) -> Self {
        Self
    }
    pub fn share(&self) -> &[u8] {
        &[1]
    }
    pub fn agree(&self, _p: &[u8]) -> Result<Secret, BadShare> {
        Err(BadShare)
    }
}
