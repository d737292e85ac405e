//! Is the server who it should be? Its certificate chain, or the raw public key it was known by
//! before (RFC 7250 section 6, RFC 7925 section 4.4).

use std::sync::Arc;

use tidegate_crypto::certificate::Authorities;

use crate::certificate::{Certificate, CertificateType};
use crate::failure::Failure;

/// Whom a client believes. *Invariant:* nothing here means nobody: there is no way to skip the
/// question.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// A chain that ends at one of these is believed, if the name is right.
    pub authorities: Option<Arc<Authorities>>,
    /// SubjectPublicKeyInfos, DER: a server that shows one of these and has its private half is
    /// believed whatever it is called.
    pub raw_public_keys: Vec<Vec<u8>>,
}

impl Trust {
    /// Code points of what can be judged, the shorter first.
    pub(super) fn certificate_types(&self) -> Vec<u8> {
        let raw = (!self.raw_public_keys.is_empty()).then_some(CertificateType::RawPublicKey);
        let x509 = self.authorities.as_ref().map(|_| CertificateType::X509);
        raw.into_iter().chain(x509).map(CertificateType::code).collect()
    }

    /// The key in a Certificate that is believed.
    pub(super) fn key_of(
        &self,
        certificate: &Certificate<'_>,
        name: Option<&str>,
        unix_s: u64,
    ) -> Result<Vec<u8>, Failure> {
        if certificate.is_empty() {
            return Err(Failure::NoCertificate);
        }
        match certificate {
            Certificate::RawPublicKey(spki) => {
                let is_known = self.raw_public_keys.iter().any(|known| known == spki);
                is_known.then(|| spki.to_vec()).ok_or(Failure::CertificateUnknown)
            }
            Certificate::X509(chain) => {
                let authorities = self.authorities.as_ref().ok_or(Failure::UnknownAuthority)?;
                let leaf = authorities.verify_server(chain, name, unix_s)?;
                Ok(leaf.spki)
            }
        }
    }
}
