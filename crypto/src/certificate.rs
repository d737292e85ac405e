//! Does this certificate chain lead to an authority we trust, and whom does it name? (RFC 5280
//! section 6, RFC 7925 section 4.4)
//!
//! Chains are judged by rustls-webpki; the rules here are which algorithms count (ECDSA over P-256
//! and P-384, RFC 7925 section 4.4), how long a chain may be, and what its names are.

use std::time::Duration;

use rustls_pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert, aws_lc_rs as algorithm};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage as KeyUsages};

use crate::signature::group_of;

/// The certificate authorities that may vouch for a peer.
pub struct Authorities {
    anchors: Vec<TrustAnchor<'static>>,
}

/// Certificates a peer may send, its own included; RFC 7925 section 4.4.4 asks for three.
pub const CHAIN_MAX: usize = 5;
/// Names of a certificate that are looked at.
pub const NAMES_MAX: usize = 16;
/// Longest name that is looked at, bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// What a certificate says about its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The public key: SubjectPublicKeyInfo, DER, on P-256 or P-384.
    pub spki: Vec<u8>,
    /// `CN=…` of the subject (the leftmost), then `DNS:…` and `URI:…` of the subjectAltName; at
    /// most [`NAMES_MAX`], and none longer than [`NAME_BYTES_MAX`].
    pub names: Vec<String>,
    /// SHA-256 of the whole certificate.
    pub fingerprint: [u8; 32],
}

/// When a certificate is good, Unix time in seconds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from_unix_s: u64,
    /// Not after.
    pub until_unix_s: u64,
}

/// Why a chain is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// Not a certificate, or one with an extension that must be understood and is not.
    Malformed,
    /// No chain at all, or one longer than [`CHAIN_MAX`].
    ChainLength,
    /// It leads to no authority of ours, or a signature in it is wrong.
    UnknownAuthority,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for something else: another role, or an authority's own.
    WrongUse,
    /// It names another server.
    WrongName,
    /// A key or a signature that is not ECDSA over P-256 or P-384.
    Algorithm,
}

impl Authorities {
    /// From the certificates of authorities, DER each.
    pub fn from_ders<'a>(
        ders: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, CertificateError> {
        let anchor = |der: &[u8]| {
            let der = CertificateDer::from(der);
            anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned()).map_err(reason)
        };
        Ok(Self { anchors: ders.into_iter().map(anchor).collect::<Result<_, _>>()? })
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// A client's chain, leaf first, at this Unix time in seconds.
    pub fn verify_client(&self, chain: &[&[u8]], unix_s: u64) -> Result<Leaf, CertificateError> {
        self.verify(chain, unix_s, KeyUsage::client_auth(), None)
    }

    /// A server's chain, leaf first; with a name, it has to be one in the subjectAltName.
    pub fn verify_server(
        &self,
        chain: &[&[u8]],
        name: Option<&str>,
        unix_s: u64,
    ) -> Result<Leaf, CertificateError> {
        self.verify(chain, unix_s, KeyUsage::server_auth(), name)
    }

    fn verify(
        &self,
        chain: &[&[u8]],
        unix_s: u64,
        usage: KeyUsage,
        name: Option<&str>,
    ) -> Result<Leaf, CertificateError> {
        let (der, intermediates) = chain.split_first().ok_or(CertificateError::ChainLength)?;
        if chain.len() > CHAIN_MAX {
            return Err(CertificateError::ChainLength);
        }
        let leaf_der = CertificateDer::from(*der);
        let certificate = EndEntityCert::try_from(&leaf_der).map_err(reason)?;
        let intermediates: Vec<_> =
            intermediates.iter().map(|der| CertificateDer::from(*der)).collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_s));
        certificate
            .verify_for_usage(ALGORITHMS, &self.anchors, &intermediates, time, usage, None, None)
            .map_err(reason)?;
        if let Some(name) = name {
            let name = ServerName::try_from(name).map_err(|_| CertificateError::WrongName)?;
            certificate.verify_is_valid_for_subject_name(&name).map_err(reason)?;
        }
        leaf(der)
    }
}

/// What a certificate says, whoever signed it: for pinning, and behind a verified chain.
pub fn leaf(der: &[u8]) -> Result<Leaf, CertificateError> {
    let certificate = CertificateDer::from(der);
    let certificate = EndEntityCert::try_from(&certificate).map_err(reason)?;
    let spki = certificate.subject_public_key_info().as_ref().to_vec();
    if group_of(&spki).is_none() {
        return Err(CertificateError::Algorithm);
    }
    let dns = certificate.valid_dns_names().map(|name| format!("DNS:{name}"));
    let uri = certificate.valid_uri_names().map(|name| format!("URI:{name}"));
    // Why not collected first: a certificate may have thousands, and the list keeps its room.
    let names = subject(der)?.into_iter().chain(dns).chain(uri);
    let names = names.filter(|name| name.len() <= NAME_BYTES_MAX).take(NAMES_MAX).collect();
    Ok(Leaf { spki, names, fingerprint: Sha256::digest(der).into() })
}

/// When the certificate is good, whoever signed it.
pub fn validity(der: &[u8]) -> Result<Validity, CertificateError> {
    let certificate =
        x509_cert::Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let validity = certificate.tbs_certificate().validity();
    Ok(Validity {
        from_unix_s: validity.not_before.to_unix_duration().as_secs(),
        until_unix_s: validity.not_after.to_unix_duration().as_secs(),
    })
}

/// Whether an authority may be made of this certificate: it is one for signing certificates
/// (RFC 5280 sections 4.2.1.3 and 4.2.1.9), with a key that counts here. Which time it is, and who
/// signed it, does not matter for an anchor.
pub fn check_authority(der: &[u8]) -> Result<(), CertificateError> {
    let malformed = |_| CertificateError::Malformed;
    let certificate = x509_cert::Certificate::from_der(der).map_err(malformed)?;
    let tbs = certificate.tbs_certificate();
    let constraints = tbs.get_extension::<BasicConstraints>().map_err(malformed)?;
    let usage = tbs.get_extension::<KeyUsages>().map_err(malformed)?;
    let is_authority = constraints.is_some_and(|(_, constraints)| constraints.ca);
    if !is_authority || usage.is_some_and(|(_, usage)| !usage.key_cert_sign()) {
        return Err(CertificateError::WrongUse);
    }
    let spki = tbs.subject_public_key_info().to_der().map_err(malformed)?;
    if group_of(&spki).is_none() {
        return Err(CertificateError::Algorithm);
    }
    Authorities::from_ders([der]).map(|_| ())
}

/// `CN=…`, from the first of them: the leftmost (RFC 7925 section 4.4.2). Refuses a key usage
/// without `digitalSignature`, which is the use we make of the key (RFC 8422 section 5.3).
fn subject(der: &[u8]) -> Result<Option<String>, CertificateError> {
    let malformed = |_| CertificateError::Malformed;
    let certificate = x509_cert::Certificate::from_der(der).map_err(malformed)?;
    let tbs = certificate.tbs_certificate();
    let usage = tbs.get_extension::<KeyUsages>().map_err(malformed)?;
    if usage.is_some_and(|(_critical, usage)| !usage.digital_signature()) {
        return Err(CertificateError::WrongUse);
    }
    let name = tbs.subject().common_name().map_err(malformed)?;
    Ok(name.map(|name| format!("CN={}", name.value())))
}

const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithm::ECDSA_P256_SHA256,
    algorithm::ECDSA_P256_SHA384,
    algorithm::ECDSA_P384_SHA256,
    algorithm::ECDSA_P384_SHA384,
];

fn reason(error: Error) -> CertificateError {
    match error {
        Error::CertExpired { .. } => CertificateError::Expired,
        Error::CertNotValidYet { .. } => CertificateError::NotYetValid,
        Error::CertNotValidForName(_) => CertificateError::WrongName,
        Error::UnknownIssuer
        | Error::InvalidSignatureForPublicKey
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::NameConstraintViolation
        | Error::PathLenConstraintViolated => CertificateError::UnknownAuthority,
        Error::CaUsedAsEndEntity
        | Error::EndEntityUsedAsCa
        | Error::EmptyEkuExtension
        | Error::RequiredEkuNotFoundContext(_) => CertificateError::WrongUse,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::SignatureAlgorithmMismatch => CertificateError::Algorithm,
        _ => CertificateError::Malformed,
    }
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authorities({})", self.anchors.len())
    }
}

impl std::fmt::Display for CertificateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a certificate that we can read",
            Self::ChainLength => "no certificates, or too many",
            Self::UnknownAuthority => "not of an authority that is trusted",
            Self::Expired => "expired",
            Self::NotYetValid => "not valid yet",
            Self::WrongUse => "for another use",
            Self::WrongName => "of another name",
            Self::Algorithm => "not ECDSA over P-256 or P-384",
        })
    }
}
