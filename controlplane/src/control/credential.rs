//! Is a device's credential well formed? Text as the API has it, into what is stored.
//!
//! Each function answers the pattern that its text must satisfy; the API's shapes ask them too, so
//! that both doors say the same.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_crypto::pem;
use tidegate_crypto::{certificate, signature};

use crate::model::{Fingerprint, PublicKey, SourceAddress};

/// Longest text of a public key, characters. *Why:* P-384 as PEM has 215.
pub const PUBLIC_KEY_CHARACTERS_MAX: usize = 1_024;
/// Longest name, characters and bytes, `CN=` and the like included: what is read of a leaf.
pub const CERTIFICATE_NAME_CHARACTERS_MAX: usize = certificate::NAME_BYTES_MAX;
/// Longest fingerprint: 64 digits and 31 colons.
pub const FINGERPRINT_CHARACTERS_MAX: usize = 95;
/// Longest address: IPv6 with everything.
pub const ADDRESS_CHARACTERS_MAX: usize = 64;

/// What [`public_key`] reads.
pub const PUBLIC_KEY: &str = "base64 of the DER, or PEM, of a SubjectPublicKeyInfo with an uncompressed point of P-256 or P-384";
/// What [`certificate_name`] reads.
pub const CERTIFICATE_NAME: &str = "CN=[^\\x00-\\x1f\\x7f]+, DNS:[a-zA-Z0-9_-]+(\\.[a-zA-Z0-9_-]+)* or \
     URI:[a-zA-Z][a-zA-Z0-9+.-]*:[\\x21-\\x7e]+";
/// What [`fingerprint`] reads.
pub const FINGERPRINT: &str = "([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}";
/// What [`source_address`] reads.
pub const SOURCE_ADDRESS: &str = "the IP address of one host, or ip:port with a port of 1 to 65535";
/// What [`endpoint`] reads.
pub const ENDPOINT: &str = "ip:port, the address of one host and a port of 1 to 65535";

/// A key of a device: [`PUBLIC_KEY`].
pub fn public_key(text: &str) -> Option<PublicKey> {
    let der = if text.contains("-----BEGIN") {
        let [block] = <[pem::Block; 1]>::try_from(pem::blocks(text)?).ok()?;
        (block.label == pem::PUBLIC_KEY).then(|| block.der.to_vec())?
    } else {
        // `base64 file` breaks its lines.
        let text: String = text.split_ascii_whitespace().collect();
        STANDARD.decode(text).ok()?
    };
    signature::group_of(&der).map(|_| PublicKey(der))
}

/// A name in a certificate: [`CERTIFICATE_NAME`].
pub fn certificate_name(text: &str) -> Option<String> {
    let is_good = if let Some(name) = text.strip_prefix("CN=") {
        !name.is_empty() && !name.chars().any(char::is_control)
    } else if let Some(name) = text.strip_prefix("DNS:") {
        let is_known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_known))
    } else if let Some((scheme, rest)) =
        text.strip_prefix("URI:").and_then(|uri| uri.split_once(':'))
    {
        let is_known = |b: u8| b.is_ascii_alphanumeric() || b"+.-".contains(&b);
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(is_known)
            && !rest.is_empty()
            && rest.bytes().all(|b| b.is_ascii_graphic())
    } else {
        false
    };
    (is_good && text.len() <= certificate::NAME_BYTES_MAX).then(|| text.to_owned())
}

/// SHA-256 of a certificate: [`FINGERPRINT`].
pub fn fingerprint(text: &str) -> Option<Fingerprint> {
    let colons = text.bytes().filter(|&b| b == b':').count();
    let in_pairs = text.split(':').all(|pair| pair.len() == 2);
    if colons > 0 && !in_pairs {
        return None;
    }
    text.parse().ok()
}

/// Where a device sends from: [`SOURCE_ADDRESS`].
pub fn source_address(text: &str) -> Option<SourceAddress> {
    text.parse().ok()
}

/// Where a device listens: [`ENDPOINT`].
pub fn endpoint(text: &str) -> Option<SocketAddr> {
    let address: SourceAddress = text.parse().ok()?;
    Some(SocketAddr::new(address.ip, address.port?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // Made with `openssl ecparam -genkey -noout -name … | openssl pkey -pubout`.
    const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBL1643P43eHQLNfS0qAF315MVglilzOGSY7pWg\
        amH7St01II9mglD/ujGqiN4vdOlaE1a+e4G6KT6fnWssvrHw==";
    const P384: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEzetnTYderX3Oapw59TvHO9Fx2XaH8YjWlrxNGkr9iT\
        KIXbobfXEF5Y/JlecuGuuDIi9vbt9KMt5t2n55lPGhyQsrefs++X4d2f1uobKOL9iAuDJvRQYUHFeRv32VgFZM";
    const P521: &str = "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAoPHM0aEsyMlmIZwtSWqAHgAger00MgkQXvVTBH\
        sNPf5xm+At6cNH7PDvNtyGcvMEW06wMoPVm66LkncbquRLyJUBnS70c0XuLUyn1V5JFLTLaNMkQoEFyt4hRm4/Vd8\
        ZapFxxqSv0yfcVq7KD8UCdyHrmwCoBo9qwMbEOFXTzCl8VFQ=";
    /// The key of `P256`, its point compressed.
    const COMPRESSED: &str =
        "MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADBL1643P43eHQLNfS0qAF315MVglilzOGSY7pWgamH7Q=";

    #[test]
    fn a_public_key_is_base64_or_pem_of_a_key_that_can_be_used() {
        for (text, bytes) in [(P256, 91), (P384, 120)] {
            let key = public_key(text).unwrap();
            assert_eq!(key.0.len(), bytes);
            assert_eq!(public_key(&pem::encode(pem::PUBLIC_KEY, &key.0)), Some(key.clone()));
            assert_eq!(public_key(&format!("{}\n{}\n", &text[..64], &text[64..])), Some(key));
        }
        let der = public_key(P256).unwrap().0;
        let not_on_the_curve = [&der[..90], &[der[90] ^ 1]].concat();
        for bad in [
            String::new(),
            "not base64".to_owned(),
            P521.to_owned(),
            COMPRESSED.to_owned(),
            STANDARD.encode(not_on_the_curve),
            STANDARD.encode(&der[..90]),
            STANDARD.encode([&der[..], &[0]].concat()),
            STANDARD.encode(&der[26..]),
            pem::encode(pem::CERTIFICATE, &der),
            pem::encode(pem::PUBLIC_KEY, &der).repeat(2),
        ] {
            assert_eq!(public_key(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_certificate_name_says_where_it_stands() {
        for good in [
            "CN=pump 7",
            "CN=Zähler",
            "DNS:pump-7.plant.example",
            "DNS:PUMP_7",
            "URI:urn:dev:mac:0024befffe804ff1",
            "URI:coaps://pump.example/",
        ] {
            assert_eq!(certificate_name(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "pump 7",
            "CN=",
            "CN=a\nb",
            "cn=a",
            "O=x",
            "DNS:",
            "DNS:a..b",
            "DNS:*.example",
            "DNS:a b",
            "DNS:a.",
            "URI:",
            "URI:urn:",
            "URI:no scheme",
            "URI::x",
            "URI:1a:x",
            "URI:urn:a b",
        ] {
            assert_eq!(certificate_name(bad), None, "{bad}");
        }
        assert!(certificate_name(&format!("CN={}", "ä".repeat(126))).is_some());
        assert!(certificate_name(&format!("CN=x{}", "ä".repeat(126))).is_none(), "256 bytes");
    }

    #[test]
    fn a_fingerprint_is_as_openssl_prints_it_or_bare() {
        let bare = "aB".repeat(32);
        let colons = ["aB"; 32].join(":");
        assert_eq!(fingerprint(&bare), fingerprint(&colons));
        assert_eq!(fingerprint(&bare).unwrap().to_string(), "ab".repeat(32));
        for bad in [
            String::new(),
            "ab".repeat(31),
            "ab".repeat(33),
            "ag".repeat(32),
            format!("{bare}:"),
            colons.replacen(':', "", 1),
            ["a", "b"].join(":").repeat(32),
        ] {
            assert_eq!(fingerprint(&bad), None, "{bad}");
        }
    }

    #[test]
    fn an_endpoint_has_a_port_and_a_source_may() {
        for (text, is_source, is_endpoint) in [
            ("192.0.2.7", true, false),
            ("192.0.2.7:1", true, true),
            ("192.0.2.7:65535", true, true),
            ("192.0.2.7:65536", false, false),
            ("192.0.2.7:0", false, false),
            ("2001:db8::7", true, false),
            ("[2001:db8::7]:5684", true, true),
            ("0.0.0.0:5684", false, false),
            ("[::]:5684", false, false),
            ("239.1.2.3:5684", false, false),
            ("device.example:5684", false, false),
            ("", false, false),
        ] {
            assert_eq!(source_address(text).is_some(), is_source, "{text}");
            assert_eq!(endpoint(text).is_some(), is_endpoint, "{text}");
        }
    }
}
