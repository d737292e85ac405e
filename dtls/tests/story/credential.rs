//! Who shows what to whom? One authority, one server, one device, made anew in each run.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose as Use,
    IsCa, KeyPair, KeyUsagePurpose,
};
use tidegate_crypto::certificate::Authorities;
use tidegate_crypto::secret::Secret;
use tidegate_crypto::signature::SigningKey;
use tidegate_dtls::client::{self, Credential, Trust};
use tidegate_dtls::server::{self, Identity};
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Link, Suite};

/// What a device shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    PreSharedKey,
    RawPublicKey,
    Certificate,
}

pub const SERVER_NAME: &str = "edge.example";

impl Kind {
    /// Those that a suite is for.
    pub fn of(suite: Suite) -> &'static [Self] {
        match suite.key_exchange() {
            KeyExchange::Psk | KeyExchange::EcdhePsk => &[Self::PreSharedKey],
            KeyExchange::EcdheEcdsa => &[Self::RawPublicKey, Self::Certificate],
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::PreSharedKey => "PSK",
            Self::RawPublicKey => "raw public key",
            Self::Certificate => "X.509",
        }
    }

    pub fn credential(self) -> Credential {
        let made = made();
        match self {
            Self::PreSharedKey => {
                let (identity, psk) = (super::IDENTITY.to_vec(), Secret::new(super::PSK));
                Credential::Psk { identity, psk }
            }
            Self::RawPublicKey => Credential::RawPublicKey { key: Arc::clone(&made.device_key) },
            Self::Certificate => Credential::Certificate {
                key: Arc::clone(&made.device_key),
                chain: vec![made.device_certificate.clone()],
            },
        }
    }

    /// Whom a device with this believes.
    pub fn trust(self) -> Trust {
        let made = made();
        match self {
            Self::PreSharedKey => Trust::default(),
            Self::RawPublicKey => {
                Trust { raw_public_keys: vec![made.server.key.spki().to_vec()], ..Trust::default() }
            }
            Self::Certificate => {
                Trust { authorities: Some(Arc::clone(&made.authorities)), ..Trust::default() }
            }
        }
    }

    pub fn client(self, suite: Suite) -> client::Config {
        client::Config {
            suites: vec![suite],
            server_name: Some(SERVER_NAME.to_owned()),
            trust: self.trust(),
            ..client::Config::default()
        }
    }
}

/// A server that every kind of device can come to.
pub fn server(own_cid_len: usize, link: Link) -> server::Config {
    let made = made();
    server::Config {
        own_cid_len,
        identities: vec![Arc::clone(&made.server)],
        authorities: Some(Arc::clone(&made.authorities)),
        link,
        ..server::Config::default()
    }
}

/// What an authority made.
pub struct Made {
    pub authorities: Arc<Authorities>,
    pub server: Arc<Identity>,
    pub device_key: Arc<SigningKey>,
    pub device_certificate: Vec<u8>,
}

/// The authority that both ends trust, and what it made.
pub fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| make("authority"))
}

/// What another authority makes, which calls everyone the same.
pub fn make(name: &str) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(params, key).unwrap();
    let issue = |name: &str, names: Vec<String>, usage| {
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &authority).unwrap().der().to_vec();
        (SigningKey::from_pkcs8(&key.serialize_der()).unwrap(), der)
    };
    let (key, der) = issue("server", vec![SERVER_NAME.to_owned()], Use::ServerAuth);
    let names = vec![SERVER_NAME.to_owned()];
    let server = Arc::new(Identity { key, chain: vec![der], names });
    let (device_key, device_certificate) = issue("device-0001", Vec::new(), Use::ClientAuth);
    let authorities = Authorities::from_ders([&authority.der()[..]]).unwrap();
    Made {
        authorities: Arc::new(authorities),
        server,
        device_key: Arc::new(device_key),
        device_certificate,
    }
}
