//! What do Certificate, CertificateRequest and CertificateVerify say? (RFC 5246 sections 7.4.2,
//! 7.4.4 and 7.4.8, RFC 7250 section 3, RFC 8422 section 5.5), written and read.

pub use tidegate_crypto::certificate::CHAIN_MAX;

use crate::failure::Failure;
use crate::wire::{Reader, put_u24, put_vector8, put_vector16, put_vector24};

/// What a Certificate carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateType {
    /// A chain of X.509 certificates: what is meant when nothing is said.
    X509,
    /// A SubjectPublicKeyInfo alone.
    RawPublicKey,
}

impl CertificateType {
    /// Its code point in the certificate type extensions.
    pub const fn code(self) -> u8 {
        match self {
            Self::X509 => 0,
            Self::RawPublicKey => 2,
        }
    }
    /// The type with this code point.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::X509),
            2 => Some(Self::RawPublicKey),
            _ => None,
        }
    }
}

/// A Certificate message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate<'a> {
    /// DER, leaf first; empty when the sender has none.
    X509(Vec<&'a [u8]>),
    /// DER of one SubjectPublicKeyInfo, not in a list; empty when the sender has none.
    RawPublicKey(&'a [u8]),
}

impl<'a> Certificate<'a> {
    /// Reads a whole body; what it is was negotiated.
    pub fn parse(certificate_type: CertificateType, body: &'a [u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(body);
        let content = reader.vector24().filter(|_| reader.is_empty()).ok_or(Failure::Decode)?;
        if certificate_type == CertificateType::RawPublicKey {
            return Ok(Self::RawPublicKey(content));
        }
        let (mut list, mut chain) = (Reader::new(content), Vec::new());
        while !list.is_empty() {
            let certificate = list.vector24().filter(|der| !der.is_empty());
            chain.push(certificate.ok_or(Failure::Decode)?);
            if chain.len() > CHAIN_MAX {
                return Err(Failure::BadCertificate);
            }
        }
        Ok(Self::X509(chain))
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::X509(chain) => {
                put_u24(out, chain.iter().map(|der| 3 + der.len()).sum());
                for der in chain {
                    put_vector24(out, der);
                }
            }
            Self::RawPublicKey(spki) => put_vector24(out, spki),
        }
    }

    /// Whether the sender has nothing to show.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::X509(chain) => chain.is_empty(),
            Self::RawPublicKey(spki) => spki.is_empty(),
        }
    }
}

/// A CertificateRequest message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateRequest<'a> {
    /// `ClientCertificateType`s, one byte each.
    pub types: &'a [u8],
    /// `supported_signature_algorithms`, as pairs of bytes.
    pub signature_algorithms: &'a [u8],
    /// `DistinguishedName`s, each behind its length; mostly empty.
    pub authorities: &'a [u8],
}

/// `ClientCertificateType`: a key that signs by ECDSA (RFC 8422 section 5.5).
pub const ECDSA_SIGN: u8 = 64;

impl<'a> CertificateRequest<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(body);
        let types = reader.vector8().filter(|types| !types.is_empty());
        let pairs = reader.vector16().filter(|pairs| !pairs.is_empty() && pairs.len() % 2 == 0);
        let authorities = reader.vector16().filter(|_| reader.is_empty());
        let ((types, signature_algorithms), authorities) =
            types.zip(pairs).zip(authorities).ok_or(Failure::Decode)?;
        Ok(Self { types, signature_algorithms, authorities })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        put_vector8(out, self.types);
        put_vector16(out, self.signature_algorithms);
        put_vector16(out, self.authorities);
    }
}

/// A CertificateVerify message: a signature over all handshake messages before it, each as if it
/// had travelled in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateVerify<'a> {
    /// Code point of the signature's scheme, as in `signature_algorithms`.
    pub scheme: u16,
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> CertificateVerify<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(body);
        let fields = reader.u16().zip(reader.vector16()).filter(|_| reader.is_empty());
        let (scheme, signature) = fields.ok_or(Failure::Decode)?;
        Ok(Self { scheme, signature })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.scheme.to_be_bytes());
        put_vector16(out, self.signature);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use CertificateType::{RawPublicKey, X509};

    fn written(certificate: &Certificate<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        certificate.write(&mut body);
        body
    }

    #[test]
    fn a_chain_is_a_list_and_a_raw_public_key_is_not() {
        let chain = Certificate::X509(vec![b"leaf", b"ca"]);
        assert_eq!(written(&chain), b"\0\0\x0c\0\0\x04leaf\0\0\x02ca");
        assert_eq!(Certificate::parse(X509, &written(&chain)), Ok(chain));
        let key = Certificate::RawPublicKey(b"spki");
        assert_eq!(written(&key), b"\0\0\x04spki");
        assert_eq!(Certificate::parse(RawPublicKey, &written(&key)), Ok(key));
        for nothing in [Certificate::X509(Vec::new()), Certificate::RawPublicKey(b"")] {
            assert!(nothing.is_empty() && written(&nothing) == [0; 3]);
        }
    }

    #[test]
    fn no_cut_of_a_certificate_is_one() {
        let body = written(&Certificate::X509(vec![b"leaf", b"ca"]));
        for cut in 0..body.len() {
            assert_eq!(Certificate::parse(X509, &body[..cut]), Err(Failure::Decode));
            assert_eq!(Certificate::parse(RawPublicKey, &body[..cut]), Err(Failure::Decode));
        }
        let longer = [&body[..], &[0]].concat();
        assert_eq!(Certificate::parse(X509, &longer), Err(Failure::Decode));
        assert_eq!(Certificate::parse(X509, b"\0\0\x03\0\0\0"), Err(Failure::Decode), "empty DER");
    }

    #[test]
    fn a_chain_has_at_most_so_many_certificates() {
        let of = |count| written(&Certificate::X509(vec![&b"der"[..]; count]));
        assert!(Certificate::parse(X509, &of(CHAIN_MAX)).is_ok());
        let too_many = of(CHAIN_MAX + 1);
        assert_eq!(Certificate::parse(X509, &too_many), Err(Failure::BadCertificate));
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = CertificateRequest {
            types: &[ECDSA_SIGN],
            signature_algorithms: &[4, 3],
            authorities: b"",
        };
        let mut body = Vec::new();
        request.write(&mut body);
        assert_eq!(body, [1, 64, 0, 2, 4, 3, 0, 0]);
        assert_eq!(CertificateRequest::parse(&body), Ok(request));
        for cut in 0..body.len() {
            assert_eq!(CertificateRequest::parse(&body[..cut]), Err(Failure::Decode));
        }
        for bad in [&[0, 0, 2, 4, 3, 0, 0][..], &[1, 64, 0, 0, 0, 0], &[1, 64, 0, 1, 4, 0, 0]] {
            assert_eq!(CertificateRequest::parse(bad), Err(Failure::Decode));
        }
    }

    #[test]
    fn a_verify_is_a_scheme_and_a_signature() {
        let verify = CertificateVerify { scheme: 0x0403, signature: b"sig" };
        let mut body = Vec::new();
        verify.write(&mut body);
        assert_eq!(body, b"\x04\x03\0\x03sig");
        assert_eq!(CertificateVerify::parse(&body), Ok(verify));
        assert_eq!(CertificateVerify::parse(&body[..6]), Err(Failure::Decode));
        assert_eq!(CertificateVerify::parse(b"\x04\x03\0\x03sig!"), Err(Failure::Decode));
    }

    #[test]
    fn certificate_types_have_the_numbers_of_rfc_7250() {
        assert_eq!((X509.code(), RawPublicKey.code()), (0, 2));
        for certificate_type in [X509, RawPublicKey] {
            let code = certificate_type.code();
            assert_eq!(CertificateType::from_code(code), Some(certificate_type));
        }
        assert_eq!(CertificateType::from_code(1), None, "OpenPGP");
    }
}
