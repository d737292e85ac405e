//! What is a certificate authority? Who may vouch for devices in mode Certificate.

use super::Fingerprint;

/// A registered authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// SHA-256 of its certificate.
    pub id: Fingerprint,
    /// The DER of its certificate.
    pub certificate: Vec<u8>,
    /// It may vouch for devices; else it is only kept.
    pub is_active: bool,
    /// Unix time of registration, milliseconds.
    pub created_unix_ms: u64,
    /// Unix time of the last change, milliseconds.
    pub changed_unix_ms: u64,
    /// 1, and one more with each change.
    pub version: u32,
    /// From when on its certificate is good, Unix seconds.
    pub not_before_unix_s: u64,
    /// Until when its certificate is good, Unix seconds.
    pub not_after_unix_s: u64,
}
