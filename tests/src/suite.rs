//! Which cipher suites and credentials does the interoperability matrix have, and what do foreign
//! programs call them?

/// How the peers know each other, as the matrix groups it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Pre-shared key alone (RFC 4279).
    Psk,
    /// Pre-shared key with an ephemeral key agreement (RFC 5489).
    EcdhePsk,
    /// Raw public keys on both sides (RFC 7250).
    RawPublicKey,
    /// X.509 certificates on both sides.
    Certificate,
}

impl Credential {
    /// In the order of the tables.
    pub const ALL: [Self; 4] = [Self::Psk, Self::EcdhePsk, Self::RawPublicKey, Self::Certificate];

    /// Heading of its table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Psk => "PSK",
            Self::EcdhePsk => "ECDHE_PSK",
            Self::RawPublicKey => "Raw public keys",
            Self::Certificate => "X.509",
        }
    }

    /// Its suites.
    pub fn suites(self) -> &'static [Suite] {
        match self {
            Self::Psk => PSK,
            Self::EcdhePsk => ECDHE_PSK,
            Self::RawPublicKey | Self::Certificate => ECDHE_ECDSA,
        }
    }
}

/// One cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// As IANA has it, without `TLS_`.
    pub name: &'static str,
    /// The two bytes on the wire.
    pub code: u16,
    /// OpenSSL's name, or what it would be.
    pub openssl: &'static str,
    /// GnuTLS's priority words for the key exchange and the cipher.
    pub gnutls: &'static str,
}

impl Suite {
    /// `TLS_PSK_WITH_AES_128_CCM_8`
    pub fn iana(&self) -> String {
        format!("TLS_{}", self.name)
    }

    /// What stands over its column: `AES_128_CCM_8`.
    pub fn column(&self) -> &'static str {
        let cipher = self.name.split_once("_WITH_").expect("WITH stands in every name").1;
        cipher.trim_end_matches("_SHA256").trim_end_matches("_SHA384")
    }
}

const fn suite(
    name: &'static str,
    code: u16,
    openssl: &'static str,
    gnutls: &'static str,
) -> Suite {
    Suite { name, code, openssl, gnutls }
}

/// PSK suites.
#[rustfmt::skip]
pub const PSK: &[Suite] = &[
    suite("PSK_WITH_AES_128_CCM_8", 0xc0a8, "PSK-AES128-CCM8", "+PSK:+AES-128-CCM-8"),
    suite("PSK_WITH_AES_128_CCM", 0xc0a4, "PSK-AES128-CCM", "+PSK:+AES-128-CCM"),
    suite("PSK_WITH_AES_128_GCM_SHA256", 0x00a8, "PSK-AES128-GCM-SHA256", "+PSK:+AES-128-GCM"),
    suite("PSK_WITH_AES_256_CCM_8", 0xc0a9, "PSK-AES256-CCM8", "+PSK:+AES-256-CCM-8"),
    suite("PSK_WITH_AES_256_CCM", 0xc0a5, "PSK-AES256-CCM", "+PSK:+AES-256-CCM"),
    suite("PSK_WITH_AES_256_GCM_SHA384", 0x00a9, "PSK-AES256-GCM-SHA384", "+PSK:+AES-256-GCM"),
];

/// ECDHE_PSK suites.
#[rustfmt::skip]
pub const ECDHE_PSK: &[Suite] = &[
    suite("ECDHE_PSK_WITH_AES_128_CCM_8_SHA256", 0xd003,
        "ECDHE-PSK-AES128-CCM8", "+ECDHE-PSK:+AES-128-CCM-8"),
    suite("ECDHE_PSK_WITH_AES_128_CCM_SHA256", 0xd005,
        "ECDHE-PSK-AES128-CCM", "+ECDHE-PSK:+AES-128-CCM"),
    suite("ECDHE_PSK_WITH_AES_128_GCM_SHA256", 0xd001,
        "ECDHE-PSK-AES128-GCM-SHA256", "+ECDHE-PSK:+AES-128-GCM"),
    suite("ECDHE_PSK_WITH_AES_256_GCM_SHA384", 0xd002,
        "ECDHE-PSK-AES256-GCM-SHA384", "+ECDHE-PSK:+AES-256-GCM"),
];

/// ECDHE_ECDSA suites, for raw keys and for certificates.
#[rustfmt::skip]
pub const ECDHE_ECDSA: &[Suite] = &[
    suite("ECDHE_ECDSA_WITH_AES_128_CCM_8", 0xc0ae,
        "ECDHE-ECDSA-AES128-CCM8", "+ECDHE-ECDSA:+AES-128-CCM-8"),
    suite("ECDHE_ECDSA_WITH_AES_128_CCM", 0xc0ac,
        "ECDHE-ECDSA-AES128-CCM", "+ECDHE-ECDSA:+AES-128-CCM"),
    suite("ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b,
        "ECDHE-ECDSA-AES128-GCM-SHA256", "+ECDHE-ECDSA:+AES-128-GCM"),
    suite("ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c,
        "ECDHE-ECDSA-AES256-GCM-SHA384", "+ECDHE-ECDSA:+AES-256-GCM"),
];
