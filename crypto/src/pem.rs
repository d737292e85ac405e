//! Which DER stands in this text? PEM (RFC 7468): labelled base64 between two lines.
//!
//! Text around the blocks is ignored, as OpenSSL writes it there. Nothing of the text is ever
//! put into an error: it may be a private key.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::Zeroizing;

/// One block.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// `CERTIFICATE`, `PUBLIC KEY`, …
    pub label: String,
    /// What it holds; wiped, for it may be a private key.
    pub der: Zeroizing<Vec<u8>>,
}

/// Shows no content.
impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.label, self.der.len())
    }
}

/// Every block, in order; `None` when one is not closed or not base64.
pub fn blocks(text: &str) -> Option<Vec<Block>> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES))
        else {
            continue;
        };
        // As long as the text: growing would leave copies behind.
        let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
        loop {
            let line = lines.next()?;
            let end = line.strip_prefix(END).and_then(|rest| rest.strip_suffix(DASHES));
            match end {
                Some(end) if end == label => break,
                Some(_) => return None,
                // Headers of encrypted keys (RFC 1421) have colons, base64 has none.
                None => base64.push_str(line),
            }
        }
        let der = Zeroizing::new(ENGINE.decode(base64.as_bytes()).ok()?);
        found.push(Block { label: label.to_owned(), der });
    }
    Some(found)
}

/// A block as text, with a newline at its end.
pub fn encode(label: &str, der: &[u8]) -> String {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(base64.len() * 66 / 64 + 2 * label.len() + 64);
    text.extend([BEGIN, label, DASHES, "\n"]);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARACTERS));
        text.extend([line, "\n"]);
        rest = after;
    }
    text.extend([END, label, DASHES, "\n"]);
    text
}

/// The label of certificates.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a SubjectPublicKeyInfo.
pub const PUBLIC_KEY: &str = "PUBLIC KEY";
/// The label of an ECPrivateKey (RFC 5915).
pub const EC_KEY: &str = "EC PRIVATE KEY";
/// The label of a PKCS #8 private key.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const LINE_CHARACTERS: usize = 64;
const ENGINE: GeneralPurpose = GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new());

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_encoded_is_read_again_whatever_stands_around_it() {
        for length in [0, 1, 47, 48, 49, 96, 500] {
            let der = vec![7; length];
            let text = format!("subject=x\r\n{}\n# more\n", encode(CERTIFICATE, &der));
            let found = blocks(&text.replace('\n', "\r\n")).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].label.as_str(), &*found[0].der), (CERTIFICATE, &der));
        }
        let two = encode(CERTIFICATE, b"a") + &encode(PRIVATE_KEY, b"b");
        let found = blocks(&two).unwrap();
        assert_eq!(
            found.iter().map(|block| block.label.as_str()).collect::<Vec<_>>(),
            [CERTIFICATE, PRIVATE_KEY]
        );
        assert!(blocks("no block").unwrap().is_empty());
        assert!(!format!("{:?}", found[1]).contains("98"), "content is not shown");
    }

    #[test]
    fn lines_have_64_characters() {
        let text = encode(PUBLIC_KEY, &[0; 91]);
        let lines: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lines, [26, 64, 60, 24]);
    }

    #[test]
    fn half_a_block_is_none() {
        let text = encode(PUBLIC_KEY, &[0; 91]);
        assert!(blocks(&text[..60]).is_none(), "not closed");
        assert!(blocks(&text.replace("END PUBLIC", "END PRIVATE")).is_none(), "closed as another");
        assert!(blocks(&text.replacen("AAAA", "A!AA", 1)).is_none(), "not base64");
        assert!(blocks(&text.replacen("AAAA", "AAA", 1)).is_none(), "cut base64");
    }
}
