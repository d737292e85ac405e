//! Which files are a device's credentials, and whom does it believe? PEM or DER, as `openssl`
//! writes them.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_crypto::certificate::Authorities;
use tidegate_crypto::signature::SigningKey;
use tidegate_dtls::client::{Credential, Trust};

use super::Profile;

/// Who we are.
pub(super) fn of(profile: &Profile) -> io::Result<Credential> {
    let key = |path: &Path| {
        let file = fs::read(path)?;
        // PKCS#8, or what `openssl ecparam -genkey` writes.
        let ders = ders(&file, "PRIVATE KEY").or_else(|_| ders(&file, "EC PRIVATE KEY"))?;
        let [der] =
            <[Vec<u8>; 1]>::try_from(ders).map_err(|_| invalid("not one private key in a file"))?;
        let key = SigningKey::from_pkcs8(&der);
        Ok::<_, io::Error>(Arc::new(key.map_err(|_| invalid("no private key of P-256 or P-384"))?))
    };
    if let (Some(identity), Some(psk)) = (&profile.psk_identity, &profile.psk) {
        return Ok(Credential::Psk { identity: identity.clone().into_bytes(), psk: psk.clone() });
    }
    if let (Some(certificate), Some(path)) = (&profile.certificate, &profile.key) {
        let chain = ders(&fs::read(certificate)?, "CERTIFICATE")?;
        return Ok(Credential::Certificate { key: key(path)?, chain });
    }
    match &profile.raw_key {
        Some(path) => Ok(Credential::RawPublicKey { key: key(path)? }),
        None => Ok(Credential::Nobody),
    }
}

/// Whom we believe.
pub(super) fn trust(profile: &Profile) -> io::Result<Trust> {
    let mut certificates = Vec::new();
    for path in &profile.authority {
        certificates.extend(ders(&fs::read(path)?, "CERTIFICATE")?);
    }
    let mut raw_public_keys = Vec::new();
    for text in &profile.server_raw_key {
        match fs::read(text) {
            Ok(file) => raw_public_keys.extend(ders(&file, "PUBLIC KEY")?),
            Err(_) => raw_public_keys.push(STANDARD.decode(text).map_err(invalid)?),
        }
    }
    let is_psk = profile.psk.is_some();
    if !is_psk && certificates.is_empty() && raw_public_keys.is_empty() {
        return Err(invalid("whom to believe? --psk, --authority or --server-raw-key"));
    }
    let authorities = Authorities::from_ders(certificates.iter().map(|der| &der[..]));
    let authorities = authorities.map_err(|error| invalid(format!("authority: {error:?}")))?;
    let authorities = (!certificates.is_empty()).then(|| Arc::new(authorities));
    Ok(Trust { authorities, raw_public_keys })
}

/// The blocks of a PEM file with this label, or the whole of a DER file.
fn ders(file: &[u8], label: &str) -> io::Result<Vec<Vec<u8>>> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let Some(text) = str::from_utf8(file).ok().filter(|text| text.contains("-----BEGIN ")) else {
        return Ok(vec![file.to_vec()]);
    };
    let blocks = text.split(&begin).skip(1).map(|block| {
        let (body, _) = block.split_once(&end).ok_or_else(|| invalid("PEM without an end"))?;
        let digits: String = body.split_whitespace().collect();
        STANDARD.decode(digits).map_err(invalid)
    });
    let blocks: Vec<_> = blocks.collect::<io::Result<_>>()?;
    if blocks.is_empty() { Err(invalid(format!("no {label} in the PEM file"))) } else { Ok(blocks) }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_der_or_the_pem_blocks_with_the_label() {
        let pem = b"-----BEGIN EC PARAMETERS-----\nBg==\n-----END EC PARAMETERS-----\n\
            -----BEGIN PUBLIC KEY-----\nAQ\r\nID\n-----END PUBLIC KEY-----\n\
            -----BEGIN PUBLIC KEY-----\nBA==\n-----END PUBLIC KEY-----\n";
        assert_eq!(ders(pem, "PUBLIC KEY").unwrap(), [vec![1, 2, 3], vec![4]]);
        assert!(ders(pem, "PRIVATE KEY").is_err());
        assert_eq!(ders(&[0x30, 0, 0xff], "PUBLIC KEY").unwrap(), [[0x30, 0, 0xff]]);
        assert!(ders(b"-----BEGIN PUBLIC KEY-----\nAQID", "PUBLIC KEY").is_err());
    }
}
