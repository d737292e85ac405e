//! Who does this server say it is? The keys and certificates that devices are shown.
//!
//! The raw key is made at the first start; devices in mode RawPublicKey are shown it and nothing
//! else. The operator's certificates (`[[server_identity]]`) are for those in mode Certificate: the
//! one for the server name (SNI) that the device says, else the first.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tidegate_crypto::certificate::{self, Authorities, CertificateError};
use tidegate_crypto::pem;
use tidegate_crypto::secret::Secret;
use tidegate_crypto::signature::SigningKey;

use crate::config::ServerIdentityConfig;
use crate::private_file;

/// A key of this server, and what goes with it.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// PKCS #8, or the older ECPrivateKey.
    pub key: Secret,
    /// The other half of it.
    pub public_key: ServerPublicKey,
    /// Certificates, leaf first; empty: it is shown as a raw public key only.
    pub chain: Vec<Vec<u8>>,
    /// Server names (SNI) for which it is shown, lower case.
    pub names: Vec<String>,
}

/// What a device must know of the server to recognise it by its raw public key (RFC 7250).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPublicKey(pub Vec<u8>);

impl ServerPublicKey {
    /// Base64 of the DER of the SubjectPublicKeyInfo.
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
    /// The SubjectPublicKeyInfo as PEM.
    pub fn pem(&self) -> String {
        pem::encode(pem::PUBLIC_KEY, &self.0)
    }
    /// SHA-256 of its DER, hex.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.0))
    }
}

/// Most identities beside the raw key.
pub const IDENTITIES_MAX: usize = 16;
/// Certificates of one identity.
pub const CHAIN_MAX: usize = 4;
/// Bytes of its certificates. *Why:* a device takes them in fragments over a lossy link.
pub const CHAIN_BYTES_MAX: usize = 8_192;
/// Server names of one identity.
pub const NAMES_MAX: usize = 16;
/// How many days before its end a certificate is complained of.
const EXPIRES_SOON_DAYS: u64 = 14;
const DAY_S: u64 = 86_400;

impl ServerIdentity {
    /// Those of the configuration; a sentence says which file is wrong, and how.
    pub fn load_all(configured: &[ServerIdentityConfig]) -> Result<Vec<Self>, String> {
        let mut all: Vec<Self> = Vec::new();
        for files in configured {
            let identity = Self::load(files)?;
            let is_taken = |name: &&String| all.iter().any(|other| other.names.contains(name));
            if let Some(name) = identity.names.iter().find(is_taken) {
                let of = files.certificate.display();
                return Err(format!("{of}: another server_identity has the name \"{name}\""));
            }
            all.push(identity);
        }
        Ok(all)
    }

    /// What an operator should know of its certificate's time, if anything.
    pub fn complaint(&self, unix_s: u64) -> Option<String> {
        let valid = certificate::validity(self.chain.first()?).ok()?;
        let name = self.names.first().map_or("without a name", String::as_str);
        let days = valid.until_unix_s.saturating_sub(unix_s) / DAY_S;
        if unix_s < valid.from_unix_s {
            Some(format!("the certificate of {name} is not valid yet: devices will refuse it"))
        } else if unix_s > valid.until_unix_s {
            Some(format!("the certificate of {name} has expired: devices will refuse it"))
        } else if days < EXPIRES_SOON_DAYS {
            Some(format!("the certificate of {name} expires in {days} days"))
        } else {
            None
        }
    }

    fn load(files: &ServerIdentityConfig) -> Result<Self, String> {
        let (key, signing) = read_key(&files.key)?;
        let say = |what: &str| format!("{}: {what}", files.certificate.display());
        let text = std::fs::read_to_string(&files.certificate).map_err(|e| say(&e.to_string()))?;
        let chain = read_chain(&text).map_err(|what| say(&what))?;
        let leaf = certificate::leaf(&chain[0])
            .map_err(|error| say(&format!("the first certificate can't be used: {error}")))?;
        if leaf.spki != signing.spki() {
            let key = files.key.display();
            return Err(say(&format!("the certificate is not of the key in {key}")));
        }
        let of_leaf: Vec<String> = leaf
            .names
            .iter()
            .filter_map(|name| name.strip_prefix("DNS:"))
            .map(str::to_ascii_lowercase)
            .collect();
        check_chain(&chain).map_err(|what| say(&what))?;
        let names = match &files.names {
            Some(names) => names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            // A pattern is no name that a device sends.
            None => of_leaf.iter().filter(|name| !name.starts_with("*.")).cloned().collect(),
        };
        check_names(&names, &of_leaf).map_err(|what| say(&what))?;
        let public_key = ServerPublicKey(signing.spki().to_vec());
        Ok(Self { key, public_key, chain, names })
    }

    /// Where the raw key is.
    pub fn raw_path(data_dir: &Path) -> PathBuf {
        data_dir.join("server-key.pem")
    }

    /// Reads the raw key.
    pub fn load_raw(data_dir: &Path) -> Result<Self, String> {
        let path = Self::raw_path(data_dir);
        let text = private_file::read(&path)?;
        let (key, signing) = parse_key(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let public_key = ServerPublicKey(signing.spki().to_vec());
        Ok(Self { key, public_key, chain: Vec::new(), names: Vec::new() })
    }

    /// Reads the raw key, or makes one when there is no file yet; true when it was made.
    pub fn load_or_make_raw(data_dir: &Path) -> Result<(Self, bool), String> {
        let path = Self::raw_path(data_dir);
        let is_new = !path.exists();
        if is_new {
            let text = zeroize::Zeroizing::new(pem::encode(
                pem::PRIVATE_KEY,
                SigningKey::generate().as_bytes(),
            ));
            private_file::write(&path, &text)?;
        }
        Self::load_raw(data_dir).map(|identity| (identity, is_new))
    }
}

fn read_key(path: &Path) -> Result<(Secret, SigningKey), String> {
    let text = private_file::read_of_group(path)?;
    parse_key(&text).map_err(|what| format!("{}: {what}", path.display()))
}

fn parse_key(text: &str) -> Result<(Secret, SigningKey), &'static str> {
    let blocks = pem::blocks(text).ok_or("it is not PEM")?;
    let is_key = |block: &&pem::Block| [pem::PRIVATE_KEY, pem::EC_KEY].contains(&&*block.label);
    let Some(block) = blocks.iter().find(is_key) else {
        let is_encrypted = blocks.iter().any(|block| block.label.starts_with("ENCRYPTED"));
        return Err(if is_encrypted {
            "it is encrypted: openssl pkcs8 -in OLD -out NEW"
        } else {
            "there is no private key in it"
        });
    };
    let key = Secret::new(&block.der);
    let signing = SigningKey::from_pkcs8(key.as_bytes());
    let signing = signing.map_err(|_| "it is not an EC key of P-256 or P-384")?;
    Ok((key, signing))
}

fn read_chain(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let blocks = pem::blocks(text).ok_or("it is not PEM")?;
    let certificates = blocks.into_iter().filter(|block| block.label == pem::CERTIFICATE);
    let chain: Vec<Vec<u8>> = certificates.map(|block| block.der.to_vec()).collect();
    let bytes: usize = chain.iter().map(Vec::len).sum();
    match chain.len() {
        0 => Err("there is no certificate in it".to_owned()),
        1..=CHAIN_MAX if bytes <= CHAIN_BYTES_MAX => Ok(chain),
        1..=CHAIN_MAX => {
            Err(format!("its certificates have {bytes} bytes, at most {CHAIN_BYTES_MAX} may be"))
        }
        count => Err(format!("it has {count} certificates, at most {CHAIN_MAX} may be")),
    }
}

/// Each certificate is signed by the next; a device could not follow them otherwise. An expired one
/// is the device's to refuse: an edge that does not start serves nobody.
fn check_chain(chain: &[Vec<u8>]) -> Result<(), String> {
    let Some((last, rest)) = chain.split_last().filter(|(_, rest)| !rest.is_empty()) else {
        return Ok(());
    };
    let rest: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
    let valid = certificate::validity(rest[0]).map_err(|error| error.to_string())?;
    let verified = Authorities::from_ders([last.as_slice()])
        .and_then(|last| last.verify_server(&rest, None, valid.from_unix_s));
    match verified {
        Ok(_) | Err(CertificateError::Expired | CertificateError::NotYetValid) => Ok(()),
        Err(CertificateError::UnknownAuthority) => {
            Err("its certificates do not follow one another: the server's, then who signed it, \
                 and so on"
                .to_owned())
        }
        Err(error) => Err(format!("its certificates can't be used: {error}")),
    }
}

fn check_names(names: &Vec<String>, of_leaf: &[String]) -> Result<(), String> {
    if names.len() > NAMES_MAX {
        return Err(format!("{} server names, at most {NAMES_MAX} may be", names.len()));
    }
    for name in names {
        if !is_host_name(name) {
            return Err(format!("\"{name}\" is not a server name"));
        }
        if !of_leaf.iter().any(|pattern| covers(pattern, name)) {
            return Err(format!("the certificate is not for the name \"{name}\""));
        }
    }
    Ok(())
}

/// RFC 6125 section 6.4.3: a `*` stands for one label, the leftmost.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => pattern == name,
    }
}

/// What RFC 6066 section 3 lets a client send, in lower case.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
