//! Which handshakes are measured, and with which credentials?

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tidegate_crypto::agreement::Group;
use tidegate_crypto::certificate::Authorities;
use tidegate_crypto::secret::Secret;
use tidegate_crypto::signature::SigningKey;
use tidegate_dtls::client::{self, Credential, Trust};
use tidegate_dtls::{Suite, server};

/// When certificates are judged: rcgen's are good from 1975 on.
pub(super) const UNIX_S: u64 = 1_800_000_000;
pub(super) const IDENTITY: &[u8] = b"device-0001";
pub(super) const PSK: &[u8] = b"0123456789abcdef";
pub(super) const SERVER_NAME: &str = "edge.example";

/// A kind of handshake.
#[derive(Debug)]
pub struct Mode {
    /// What it is called in the table.
    pub name: &'static str,
    pub(super) suite: Suite,
    pub(super) group: Group,
    /// Whether both sides show certificates; else, with ECDSA, raw public keys.
    pub(super) is_x509: bool,
    /// Whether all but the first one resume a session.
    pub(super) resumes: bool,
    /// Whether our clients can't say the suite of OpenSSL below, and its own are asked.
    pub(super) is_ours_alone: bool,
    /// The suite that does the same in OpenSSL, by its name there.
    pub openssl: Option<&'static str>,
}

const fn mode(name: &'static str, suite: Suite, group: Group) -> Mode {
    let (is_x509, resumes, is_ours_alone) = (false, false, false);
    Mode { name, suite, group, is_x509, resumes, is_ours_alone, openssl: None }
}

const fn psk(name: &'static str) -> Mode {
    let openssl = Some("PSK-AES128-CCM8");
    Mode { openssl, ..mode(name, Suite::PskAes128Ccm8, Group::X25519) }
}

/// OpenSSL has no suite with AES for ECDHE_PSK that is an AEAD; the key exchange is what costs.
const fn ecdhe_psk(name: &'static str, group: Group) -> Mode {
    let openssl = Some("ECDHE-PSK-CHACHA20-POLY1305");
    Mode { is_ours_alone: true, openssl, ..mode(name, Suite::EcdhePskAes128Ccm8, group) }
}

const fn ecdsa(name: &'static str) -> Mode {
    mode(name, Suite::EcdheEcdsaAes128Ccm8, Group::Secp256r1)
}

/// Every row of the table.
pub const MODES: &[Mode] = &[
    psk("PSK"),
    ecdhe_psk("ECDHE_PSK, x25519", Group::X25519),
    ecdhe_psk("ECDHE_PSK, P-256", Group::Secp256r1),
    Mode {
        is_x509: true,
        openssl: Some("ECDHE-ECDSA-AES128-CCM8"),
        ..ecdsa("X.509 both ways, P-256")
    },
    ecdsa("raw public keys, P-256"),
    Mode { resumes: true, ..psk("resumed") },
];

/// Who the two ends are; made anew for each run.
pub struct Credentials {
    pub(super) authority: Vec<u8>,
    pub(super) server: KeyAndCertificate,
    pub(super) device: KeyAndCertificate,
}

/// PKCS #8 and DER.
pub(super) struct KeyAndCertificate {
    pub(super) key: Vec<u8>,
    pub(super) certificate: Vec<u8>,
}

impl Credentials {
    /// An authority, and what it issues.
    #[allow(clippy::new_without_default)] // made, not assumed
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let issue = |name: &str, usage| {
            let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
            params.distinguished_name.push(DnType::CommonName, name);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![usage];
            let key = key();
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            KeyAndCertificate {
                key: key.serialized_der().to_vec(),
                certificate: certificate.der().to_vec(),
            }
        };
        Self {
            server: issue(SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth),
            device: issue("device-0001.example", ExtendedKeyUsagePurpose::ClientAuth),
            authority: authority.der().to_vec(),
        }
    }

    pub(super) fn authorities(&self) -> Arc<Authorities> {
        Arc::new(Authorities::from_ders([self.authority.as_slice()]).expect("an authority"))
    }
}

impl KeyAndCertificate {
    pub(super) fn key(&self) -> SigningKey {
        SigningKey::from_pkcs8(&self.key).expect("a key")
    }
}

impl Mode {
    pub(super) fn client_config(&self, credentials: &Credentials) -> client::Config {
        let raw_public_keys = vec![credentials.server.key().spki().to_vec()];
        let trust = if self.is_x509 {
            Trust { authorities: Some(credentials.authorities()), ..Trust::default() }
        } else {
            Trust { raw_public_keys, ..Trust::default() }
        };
        client::Config {
            suites: vec![self.suite],
            groups: vec![self.group],
            server_name: Some(SERVER_NAME.to_owned()),
            trust,
            ..client::Config::default()
        }
    }

    pub(super) fn credential(&self, credentials: &Credentials) -> Credential {
        let key = || Arc::new(credentials.device.key());
        if self.suite.key_exchange().is_psk() {
            Credential::Psk { identity: IDENTITY.to_vec(), psk: Secret::new(PSK) }
        } else if self.is_x509 {
            let chain = vec![credentials.device.certificate.clone()];
            Credential::Certificate { key: key(), chain }
        } else {
            Credential::RawPublicKey { key: key() }
        }
    }

    pub(super) fn server_config(&self, credentials: &Credentials) -> server::Config {
        let identity = server::Identity {
            key: credentials.server.key(),
            chain: vec![credentials.server.certificate.clone()],
            names: vec![SERVER_NAME.to_owned()],
        };
        server::Config {
            suites: vec![self.suite],
            groups: vec![self.group],
            identities: vec![Arc::new(identity)],
            authorities: Some(credentials.authorities()),
            ..server::Config::default()
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
