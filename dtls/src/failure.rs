//! Why did a handshake fail, and is the peer told?

use crate::alert::Description;
use crate::extension::HelloError;

/// The end of a handshake that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer fell silent.
    Timeout,
    /// The peer fell silent after records of its that did not authenticate: its key is not ours.
    /// It was told nothing.
    WrongKey,
    /// The peer fell silent after naming an identity that nobody knows. It was told nothing, and
    /// could not tell this from [`Failure::WrongKey`].
    UnknownIdentity,
    /// The peer ended it.
    PeerAlert(Description),
    /// The peer's highest version is below DTLS 1.2.
    Version,
    /// No suite in common.
    NoCommonSuite,
    /// The peer lacks extended_master_secret and the configuration demands it.
    NoExtendedMasterSecret,
    /// A first handshake that claims to renew an older one (RFC 5746 section 3.6).
    Renegotiation,
    /// A message whose lengths do not fit together.
    Decode,
    /// A message with a value that is not allowed.
    Illegal,
    /// A ServerHello with an extension that was not offered.
    UnsupportedExtension,
    /// A message that may not come now.
    UnexpectedMessage,
    /// No certificate type in common (RFC 7250 section 4.2).
    NoCommonCertificateType,
    /// The peer has no certificate to show, or no raw public key.
    NoCertificate,
    /// A certificate or a raw public key that can't be read, or a chain that is too long.
    BadCertificate,
    /// A certificate whose key or purpose does not fit (RFC 7925 section 4.4).
    UnsupportedCertificate,
    /// A certificate before or after its time.
    CertificateExpired,
    /// A chain that ends at nobody who is trusted.
    UnknownAuthority,
    /// A valid certificate that is nobody's who is known.
    AccessDenied,
    /// A raw public key that is nobody's who is known. *Why* not the same: RFC 7925 section 6 keeps
    /// alerts about certificates from those without.
    UnknownKey,
    /// A server's certificate for another name, or not the raw public key that is pinned.
    CertificateUnknown,
    /// A signature in the handshake that does not verify.
    Signature,
    /// The session can be resumed with `extended_master_secret` alone, which this hello does not
    /// offer (RFC 7627 section 5.3).
    ResumedWithoutExtendedMasterSecret,
    /// A Finished that authenticated and does not fit the handshake: someone changed a message.
    Finished,
}

impl Failure {
    /// The fatal alert that tells the peer; `None` when it is told nothing.
    pub const fn alert(self) -> Option<Description> {
        match self {
            Self::Timeout | Self::WrongKey | Self::UnknownIdentity | Self::PeerAlert(_) => None,
            Self::Version => Some(Description::PROTOCOL_VERSION),
            Self::NoCommonSuite
            | Self::NoExtendedMasterSecret
            | Self::ResumedWithoutExtendedMasterSecret
            | Self::NoCertificate
            | Self::UnknownKey
            | Self::Renegotiation => Some(Description::HANDSHAKE_FAILURE),
            Self::NoCommonCertificateType | Self::UnsupportedCertificate => {
                Some(Description::UNSUPPORTED_CERTIFICATE)
            }
            Self::BadCertificate => Some(Description::BAD_CERTIFICATE),
            Self::CertificateExpired => Some(Description::CERTIFICATE_EXPIRED),
            Self::UnknownAuthority => Some(Description::UNKNOWN_CA),
            Self::AccessDenied => Some(Description::ACCESS_DENIED),
            Self::CertificateUnknown => Some(Description::CERTIFICATE_UNKNOWN),
            Self::Decode => Some(Description::DECODE_ERROR),
            Self::Illegal => Some(Description::ILLEGAL_PARAMETER),
            Self::UnsupportedExtension => Some(Description::UNSUPPORTED_EXTENSION),
            Self::UnexpectedMessage => Some(Description::UNEXPECTED_MESSAGE),
            Self::Signature | Self::Finished => Some(Description::DECRYPT_ERROR),
        }
    }
}

impl From<HelloError> for Failure {
    fn from(error: HelloError) -> Self {
        match error {
            HelloError::Decode => Self::Decode,
            HelloError::Illegal => Self::Illegal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that a server without certificates can come to.
    const WITHOUT_CERTIFICATES: [Failure; 16] = [
        Failure::Timeout,
        Failure::WrongKey,
        Failure::UnknownIdentity,
        Failure::PeerAlert(Description::HANDSHAKE_FAILURE),
        Failure::Version,
        Failure::NoCommonSuite,
        Failure::NoExtendedMasterSecret,
        Failure::ResumedWithoutExtendedMasterSecret,
        Failure::Renegotiation,
        Failure::Decode,
        Failure::Illegal,
        Failure::UnsupportedExtension,
        Failure::UnexpectedMessage,
        Failure::UnknownKey,
        Failure::Signature,
        Failure::Finished,
    ];
    /// The others.
    const WITH_CERTIFICATES: [Failure; 8] = [
        Failure::NoCertificate,
        Failure::NoCommonCertificateType,
        Failure::BadCertificate,
        Failure::UnsupportedCertificate,
        Failure::CertificateExpired,
        Failure::UnknownAuthority,
        Failure::AccessDenied,
        Failure::CertificateUnknown,
    ];

    /// RFC 7925 section 6; the reserved ones are decryption_failed, no_certificate and
    /// export_restriction.
    #[test]
    fn no_alert_is_reserved_or_about_compression() {
        const NEVER: [u8; 4] = [21, 30, 41, 60];
        for failure in WITHOUT_CERTIFICATES.into_iter().chain(WITH_CERTIFICATES) {
            assert!(failure.alert().is_none_or(|alert| !NEVER.contains(&alert.0)), "{failure:?}");
        }
    }

    /// RFC 7925 section 6: these are for certificates alone.
    #[test]
    fn without_certificates_no_alert_is_about_them() {
        const ABOUT_CERTIFICATES: [u8; 7] = [42, 43, 44, 45, 46, 48, 49];
        for failure in WITHOUT_CERTIFICATES {
            let alert = failure.alert();
            let is_about = alert.is_some_and(|alert| ABOUT_CERTIFICATES.contains(&alert.0));
            assert!(!is_about, "{failure:?}");
        }
    }
}
