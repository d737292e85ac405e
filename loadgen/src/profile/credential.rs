//! Which files are a device's credentials, and whom does it believe? PEM or DER, as `openssl`
//! writes them.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_crypto::certificate::Authorities;
use tidegate_crypto::pem;
use tidegate_crypto::signature::SigningKey;
use tidegate_dtls::client::{Credential, Trust};
use zeroize::Zeroizing;

use super::Profile;

/// Who we are.
pub(super) fn of(profile: &Profile) -> io::Result<Credential> {
    let key = |path: &Path| {
        // PKCS#8, or what `openssl ecparam -genkey` writes.
        let ders = ders(path, &[pem::PRIVATE_KEY, pem::EC_KEY])?;
        let [der] = &ders[..] else { return Err(invalid("not one private key in a file")) };
        let key = SigningKey::from_pkcs8(der);
        Ok::<_, io::Error>(Arc::new(key.map_err(|_| invalid("no private key of P-256 or P-384"))?))
    };
    if let (Some(identity), Some(psk)) = (&profile.psk_identity, &profile.psk) {
        return Ok(Credential::Psk { identity: identity.clone().into_bytes(), psk: psk.clone() });
    }
    if let (Some(certificate), Some(path)) = (&profile.certificate, &profile.key) {
        let chain = public(certificate, pem::CERTIFICATE)?;
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
        certificates.extend(public(path, pem::CERTIFICATE)?);
    }
    let mut raw_public_keys = Vec::new();
    for text in &profile.server_raw_key {
        let path = Path::new(text);
        if path.exists() {
            raw_public_keys.extend(public(path, pem::PUBLIC_KEY)?);
        } else {
            raw_public_keys.push(STANDARD.decode(text).map_err(invalid)?);
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

/// The blocks of a PEM file with one of these labels, or the whole of a DER file. Wiped, for they
/// may be private keys.
fn ders(path: &Path, labels: &[&str]) -> io::Result<Vec<Zeroizing<Vec<u8>>>> {
    let file = Zeroizing::new(fs::read(path)?);
    let Some(text) = str::from_utf8(&file).ok().filter(|text| text.contains("-----BEGIN ")) else {
        return Ok(vec![file]);
    };
    let say = |what| invalid(format!("{}: {what}", path.display()));
    let blocks = pem::blocks(text).ok_or_else(|| say("half a PEM block".to_owned()))?;
    let wanted = blocks.into_iter().filter(|block| labels.contains(&&*block.label));
    let ders: Vec<_> = wanted.map(|block| block.der).collect();
    if ders.is_empty() { Err(say(format!("no {}", labels.join(" or ")))) } else { Ok(ders) }
}

/// The same of what is no secret.
fn public(path: &Path, label: &str) -> io::Result<Vec<Vec<u8>>> {
    Ok(ders(path, &[label])?.into_iter().map(|der| der.to_vec()).collect())
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
        let path = std::env::temp_dir().join(format!("tidegate-ders-{}", std::process::id()));
        let of = |content: &[u8], label: &str| {
            fs::write(&path, content).unwrap();
            public(&path, label)
        };
        let pem = b"-----BEGIN EC PARAMETERS-----\nBg==\n-----END EC PARAMETERS-----\n\
            -----BEGIN PUBLIC KEY-----\nAQ\r\nID\n-----END PUBLIC KEY-----\n\
            -----BEGIN PUBLIC KEY-----\nBA==\n-----END PUBLIC KEY-----\n";
        assert_eq!(of(pem, "PUBLIC KEY").unwrap(), [vec![1, 2, 3], vec![4]]);
        assert!(of(pem, "PRIVATE KEY").unwrap_err().to_string().contains("no PRIVATE KEY"));
        assert_eq!(of(&[0x30, 0, 0xff], "PUBLIC KEY").unwrap(), [[0x30, 0, 0xff]]);
        assert!(of(b"-----BEGIN PUBLIC KEY-----\nAQID", "PUBLIC KEY").is_err());
        fs::remove_file(&path).unwrap();
    }
}
