//! Which cipher suites exist, and what does each stand for?
//!
//! A suite is a row of the table below. Suites with another key exchange are new rows.

use tidegate_crypto::aead::Aead;
use tidegate_crypto::prf::Hash;

/// A cipher suite this crate can negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `TLS_PSK_WITH_AES_128_CCM_8`, mandatory for CoAP (RFC 7252 section 9.1.3.1).
    PskAes128Ccm8,
    /// `TLS_PSK_WITH_AES_128_CCM`
    PskAes128Ccm,
    /// `TLS_PSK_WITH_AES_256_CCM_8`
    PskAes256Ccm8,
    /// `TLS_PSK_WITH_AES_256_CCM`
    PskAes256Ccm,
    /// `TLS_PSK_WITH_AES_128_GCM_SHA256`
    PskAes128Gcm,
    /// `TLS_PSK_WITH_AES_256_GCM_SHA384`
    PskAes256Gcm,
}

/// How the premaster secret comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyExchange {
    /// Pre-shared key alone (RFC 4279 section 2).
    Psk,
}

struct Row {
    suite: Suite,
    code: u16,
    aead: Aead,
    hash: Hash,
    key_exchange: KeyExchange,
    name: &'static str,
}

/// In the order of [`Suite`]'s variants.
#[rustfmt::skip]
const TABLE: [Row; 6] = {
    use Hash::{Sha256, Sha384};
    use KeyExchange::Psk;
    use Suite as S;
    const fn row(suite: S, code: u16, aead: Aead, hash: Hash, key_exchange: KeyExchange,
        name: &'static str) -> Row
    {
        Row { suite, code, aead, hash, key_exchange, name }
    }
    [
        row(S::PskAes128Ccm8, 0xc0a8, Aead::Aes128Ccm8, Sha256, Psk, "TLS_PSK_WITH_AES_128_CCM_8"),
        row(S::PskAes128Ccm, 0xc0a4, Aead::Aes128Ccm, Sha256, Psk, "TLS_PSK_WITH_AES_128_CCM"),
        row(S::PskAes256Ccm8, 0xc0a9, Aead::Aes256Ccm8, Sha256, Psk, "TLS_PSK_WITH_AES_256_CCM_8"),
        row(S::PskAes256Ccm, 0xc0a5, Aead::Aes256Ccm, Sha256, Psk, "TLS_PSK_WITH_AES_256_CCM"),
        row(S::PskAes128Gcm, 0x00a8, Aead::Aes128Gcm, Sha256, Psk,
            "TLS_PSK_WITH_AES_128_GCM_SHA256"),
        row(S::PskAes256Gcm, 0x00a9, Aead::Aes256Gcm, Sha384, Psk,
            "TLS_PSK_WITH_AES_256_GCM_SHA384"),
    ]
};

/// `TLS_EMPTY_RENEGOTIATION_INFO_SCSV` (RFC 5746 section 3.3): no suite, an extension in disguise.
pub const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;

impl Suite {
    /// Every suite, in the order a server prefers when not told otherwise: what constrained
    /// devices are sure to have first.
    pub const ALL: [Self; 6] = {
        let mut all = [Self::PskAes128Ccm8; TABLE.len()];
        let mut i = 0;
        while i < TABLE.len() {
            assert!(TABLE[i].suite as usize == i);
            all[i] = TABLE[i].suite;
            i += 1;
        }
        all
    };

    /// The suite with this code point.
    pub fn from_code(code: u16) -> Option<Self> {
        TABLE.iter().find(|row| row.code == code).map(|row| row.suite)
    }
    /// The suite with this name, as RFCs and IANA write it. `SHA378` is read as `SHA384`: a
    /// misspelling that a widely used library kept for years.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.replace("SHA378", "SHA384");
        TABLE.iter().find(|row| row.name == name).map(|row| row.suite)
    }
    /// Its code point in hellos.
    pub const fn code(self) -> u16 {
        self.row().code
    }
    /// Its name, as RFCs and IANA write it.
    pub const fn name(self) -> &'static str {
        self.row().name
    }
    /// What protects its records.
    pub const fn aead(self) -> Aead {
        self.row().aead
    }
    /// The hash of its PRF.
    pub const fn hash(self) -> Hash {
        self.row().hash
    }
    /// How its premaster secret comes about.
    pub const fn key_exchange(self) -> KeyExchange {
        self.row().key_exchange
    }

    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back_to_their_suite() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_code(suite.code()), Some(suite));
            assert_eq!(Suite::from_name(suite.name()), Some(suite));
        }
        assert_eq!(Suite::from_code(EMPTY_RENEGOTIATION_INFO_SCSV), None);
        assert_eq!(Suite::from_name("TLS_PSK_WITH_AES_256_GCM_SHA378"), Some(Suite::PskAes256Gcm));
    }

    #[test]
    fn keys_and_tags_are_as_long_as_the_names_say() {
        for suite in Suite::ALL {
            let key_bits = if suite.name().contains("AES_256") { 256 } else { 128 };
            assert_eq!(suite.aead().key_bytes() * 8, key_bits, "{}", suite.name());
            let tag_bytes = if suite.name().ends_with("CCM_8") { 8 } else { 16 };
            assert_eq!(suite.aead().tag_bytes(), tag_bytes, "{}", suite.name());
            let hash = if suite.name().ends_with("SHA384") { Hash::Sha384 } else { Hash::Sha256 };
            assert_eq!(suite.hash(), hash, "{}", suite.name());
        }
    }
}
