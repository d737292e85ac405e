//! How may a device say who it is? The four modes of RFC 7252 section 9, and what stands for each.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::NetworkBlock;

/// A mode of RFC 7252 section 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SecurityMode {
    /// A key that both sides know.
    PreSharedKey,
    /// A key pair without a certificate (RFC 7250).
    RawPublicKey,
    /// An X.509 certificate.
    Certificate,
    /// Plain CoAP from a provisioned source address.
    NoSec,
}

impl SecurityMode {
    /// Every mode.
    pub const ALL: [Self; 4] =
        [Self::PreSharedKey, Self::RawPublicKey, Self::Certificate, Self::NoSec];

    /// The name in requests, answers and uplinks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreSharedKey => "PreSharedKey",
            Self::RawPublicKey => "RawPublicKey",
            Self::Certificate => "Certificate",
            Self::NoSec => "NoSec",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Some of the modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecurityModes(u8);

impl SecurityModes {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Pre-shared keys alone.
    pub const PSK: Self = Self(1 << SecurityMode::PreSharedKey as u8);

    /// Is the mode among them?
    pub fn has(self, mode: SecurityMode) -> bool {
        self.0 & mode.bit() != 0
    }
    /// Those in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    /// Those in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// In the order of [`SecurityMode::ALL`].
    pub fn iter(self) -> impl Iterator<Item = SecurityMode> {
        SecurityMode::ALL.into_iter().filter(move |mode| self.has(*mode))
    }
    /// One bit each, in the order of [`SecurityMode::ALL`].
    pub fn bits(self) -> u8 {
        self.0
    }
    /// From [`Self::bits`]; `None` when there are others.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits < 1 << SecurityMode::ALL.len()).then_some(Self(bits))
    }
}

impl FromIterator<SecurityMode> for SecurityModes {
    fn from_iter<I: IntoIterator<Item = SecurityMode>>(modes: I) -> Self {
        Self(modes.into_iter().fold(0, |bits, mode| bits | mode.bit()))
    }
}

impl NetworkBlock {
    /// The modes for which the block has what they need, and which it does not exclude.
    pub fn may_use(&self) -> SecurityModes {
        let has = [
            (SecurityMode::PreSharedKey, self.identity.is_some()),
            (SecurityMode::RawPublicKey, self.raw_public_key.is_some()),
            (
                SecurityMode::Certificate,
                self.certificate_name.is_some() || self.certificate_fingerprint.is_some(),
            ),
            (SecurityMode::NoSec, self.source_address.is_some()),
        ];
        let has: SecurityModes =
            has.into_iter().filter(|(_, has)| *has).map(|(mode, _)| mode).collect();
        match &self.security_modes {
            Some(modes) => has.and(modes.iter().copied().collect()),
            None => has,
        }
    }
}

/// The DER of a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7); base64 as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub Vec<u8>);

impl PublicKey {
    /// SHA-256 of the DER.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        STANDARD.encode(key.0)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self).map_err(|_| "not base64")
    }
}

/// SHA-256 of a DER; 64 hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of these bytes.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Hex digits of either case, with colons or without (as OpenSSL prints them).
impl FromStr for Fingerprint {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| "not 64 hex digits")?;
        Ok(Self(bytes))
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Where a device without security sends from: `ip` or `ip:port` (`[ip]:port`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceAddress {
    /// Never a mapped one.
    pub ip: IpAddr,
    /// `None`: any.
    pub port: Option<u16>,
}

impl SourceAddress {
    /// As it crosses the rings: IPv4 mapped into IPv6, 0 for any port.
    pub fn on_the_wire(self) -> ([u8; 16], u16) {
        (mapped(self.ip), self.port.unwrap_or(0))
    }
}

/// An address as it crosses the rings: IPv4 as mapped IPv6 (RFC 4291 section 2.5.5.2).
pub fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

impl fmt::Display for SourceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

impl FromStr for SourceAddress {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ip, port) = match text.parse::<SocketAddr>() {
            Ok(address) => (address.ip(), Some(address.port())),
            Err(_) => (text.parse().map_err(|_| "not an address")?, None),
        };
        if ip.is_unspecified() || ip.is_multicast() || port == Some(0) {
            return Err("not the address of a device");
        }
        Ok(Self { ip: ip.to_canonical(), port })
    }
}

impl From<SourceAddress> for String {
    fn from(address: SourceAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for SourceAddress {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_block_may_use_what_it_has_and_does_not_exclude() {
        let mut block = NetworkBlock::default();
        assert_eq!(block.may_use(), SecurityModes::NONE);
        block.identity = Some("i".to_owned());
        block.certificate_name = Some("CN=c".to_owned());
        let both = [SecurityMode::PreSharedKey, SecurityMode::Certificate];
        assert!(block.may_use().iter().eq(both));
        block.security_modes = Some(vec![SecurityMode::Certificate, SecurityMode::NoSec]);
        assert!(block.may_use().iter().eq([SecurityMode::Certificate]));
        block.security_modes = Some(Vec::new());
        assert_eq!(block.may_use(), SecurityModes::NONE);
    }

    #[test]
    fn modes_are_four_bits() {
        assert_eq!(SecurityModes::from_bits(15), Some(SecurityMode::ALL.into_iter().collect()));
        assert_eq!(SecurityModes::from_bits(16), None);
    }

    #[test]
    fn an_address_has_one_form() {
        let same = ["192.0.2.7", "::ffff:192.0.2.7"].map(str::parse::<SourceAddress>);
        assert_eq!(same[0], same[1]);
        assert_eq!(same[0].unwrap().to_string(), "192.0.2.7");
        assert_eq!(
            "[2001:db8::7]:9".parse::<SourceAddress>().unwrap().to_string(),
            "[2001:db8::7]:9"
        );
        assert_eq!("192.0.2.7:9".parse::<SourceAddress>().unwrap().port, Some(9));
        for text in ["", "192.0.2.7:0", "192.0.2.7:65536", "0.0.0.0", "224.0.0.1", "::", "host:1"] {
            assert!(text.parse::<SourceAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_64_digits() {
        let text = "AB:cd".to_owned() + &":00".repeat(30);
        let fingerprint: Fingerprint = text.parse().unwrap();
        assert_eq!(fingerprint.to_string(), "abcd".to_owned() + &"00".repeat(30));
        assert!("00".repeat(31).parse::<Fingerprint>().is_err());
        assert!("00".repeat(33).parse::<Fingerprint>().is_err());
    }
}
