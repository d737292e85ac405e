//! Which cipher suites exist, and what does each stand for?
//!
//! A suite is a row of the table below.

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
    /// `TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256`
    EcdhePskAes128Ccm8,
    /// `TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256`
    EcdhePskAes128Ccm,
    /// `TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256`
    EcdhePskAes128Gcm,
    /// `TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384`
    EcdhePskAes256Gcm,
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8`, mandatory for CoAP with raw public keys and
    /// certificates (RFC 7252 sections 9.1.3.2 and 9.1.3.3).
    EcdheEcdsaAes128Ccm8,
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_CCM`
    EcdheEcdsaAes128Ccm,
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`
    EcdheEcdsaAes128Gcm,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`
    EcdheEcdsaAes256Gcm,
}

/// How the premaster secret comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyExchange {
    /// Pre-shared key alone (RFC 4279 section 2).
    Psk,
    /// Pre-shared key, and a key agreement that nobody signs (RFC 5489 section 2).
    EcdhePsk,
    /// A signed key agreement; both sides show a certificate or a raw public key (RFC 8422
    /// section 2).
    EcdheEcdsa,
}

impl KeyExchange {
    /// Whether both sides make ephemeral keys: what was recorded stays secret when a long-lived
    /// key is found out.
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, Self::EcdhePsk | Self::EcdheEcdsa)
    }
    /// Whether the client is known by the identity of a pre-shared key.
    pub const fn is_psk(self) -> bool {
        matches!(self, Self::Psk | Self::EcdhePsk)
    }
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
const TABLE: [Row; 14] = {
    use Hash::{Sha256, Sha384};
    use KeyExchange::{EcdheEcdsa, EcdhePsk, Psk};
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
        row(S::EcdhePskAes128Ccm8, 0xd003, Aead::Aes128Ccm8, Sha256, EcdhePsk,
            "TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256"),
        row(S::EcdhePskAes128Ccm, 0xd005, Aead::Aes128Ccm, Sha256, EcdhePsk,
            "TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256"),
        row(S::EcdhePskAes128Gcm, 0xd001, Aead::Aes128Gcm, Sha256, EcdhePsk,
            "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256"),
        row(S::EcdhePskAes256Gcm, 0xd002, Aead::Aes256Gcm, Sha384, EcdhePsk,
            "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384"),
        row(S::EcdheEcdsaAes128Ccm8, 0xc0ae, Aead::Aes128Ccm8, Sha256, EcdheEcdsa,
            "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
        row(S::EcdheEcdsaAes128Ccm, 0xc0ac, Aead::Aes128Ccm, Sha256, EcdheEcdsa,
            "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
        row(S::EcdheEcdsaAes128Gcm, 0xc02b, Aead::Aes128Gcm, Sha256, EcdheEcdsa,
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        row(S::EcdheEcdsaAes256Gcm, 0xc02c, Aead::Aes256Gcm, Sha384, EcdheEcdsa,
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ]
};

/// `TLS_EMPTY_RENEGOTIATION_INFO_SCSV` (RFC 5746 section 3.3): no suite, an extension in disguise.
pub const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;

impl Suite {
    /// Every suite, in the order a server prefers when not told otherwise: for each kind of
    /// credential, what constrained devices are sure to have first.
    pub const ALL: [Self; 14] = {
        let mut all = [Self::PskAes128Ccm8; TABLE.len()];
        let mut i = 0;
        while i < TABLE.len() {
            assert!(TABLE[i].suite as usize == i);
            all[i] = TABLE[i].suite;
            i += 1;
        }
        all
    };

    /// The suites with this key exchange, in the order of [`ALL`](Self::ALL).
    pub fn of(key_exchange: KeyExchange) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |suite| suite.key_exchange() == key_exchange)
    }

    /// The suite with this code point.
    #[inline]
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
    #[inline]
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
    fn every_suite_has_one_key_exchange() {
        use KeyExchange::{EcdheEcdsa, EcdhePsk, Psk};
        let counts = [Psk, EcdhePsk, EcdheEcdsa].map(|exchange| Suite::of(exchange).count());
        assert_eq!(counts, [6, 4, 4]);
        assert!(Suite::of(EcdhePsk).all(|suite| suite.key_exchange().is_ephemeral()));
        assert!(!Psk.is_ephemeral() && Psk.is_psk() && EcdhePsk.is_psk() && !EcdheEcdsa.is_psk());
    }

    #[test]
    fn keys_and_tags_are_as_long_as_the_names_say() {
        for suite in Suite::ALL {
            let key_bits = if suite.name().contains("AES_256") { 256 } else { 128 };
            assert_eq!(suite.aead().key_bytes() * 8, key_bits, "{}", suite.name());
            let tag_bytes = if suite.name().contains("CCM_8") { 8 } else { 16 };
            assert_eq!(suite.aead().tag_bytes(), tag_bytes, "{}", suite.name());
            let hash = if suite.name().ends_with("SHA384") { Hash::Sha384 } else { Hash::Sha256 };
            assert_eq!(suite.hash(), hash, "{}", suite.name());
            let key_exchange = suite.name().split('_').skip(1).take_while(|word| *word != "WITH");
            let expected = match key_exchange.collect::<Vec<_>>()[..] {
                ["PSK"] => KeyExchange::Psk,
                ["ECDHE", "PSK"] => KeyExchange::EcdhePsk,
                _ => KeyExchange::EcdheEcdsa,
            };
            assert_eq!(suite.key_exchange(), expected, "{}", suite.name());
        }
    }
}
