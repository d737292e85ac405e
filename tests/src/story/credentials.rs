//! Who vouches for whom in a story? One authority, the servers and the devices it signs for.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose as Use,
    IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tidegate_crypto::certificate::Authorities;
use tidegate_crypto::signature::SigningKey;
use tidegate_dtls::client::{self, Trust};
use tidegate_ring::trust::{Item, Redacted};

/// A certificate authority.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
}

/// A key of a server, with or without a certificate.
pub struct Server {
    pkcs8: Vec<u8>,
    chain: Vec<Vec<u8>>,
    names: Vec<String>,
}

impl Authority {
    /// A new authority that nobody trusts yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { root: CertifiedIssuer::self_signed(params, key()).expect("a root") }
    }

    /// Its certificate, DER.
    pub fn der(&self) -> &[u8] {
        self.root.der()
    }

    /// Its line on a trust sheet.
    pub fn item(&self) -> Item<'_> {
        Item::Authority(self.der())
    }

    /// What a device needs to believe the servers it signs for.
    pub fn trust(&self) -> Trust {
        let authorities = Authorities::from_ders([self.der()]).expect("an authority");
        Trust { authorities: Some(Arc::new(authorities)), ..Trust::default() }
    }

    /// A server with a certificate for this name.
    pub fn server(&self, name: &str) -> Server {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![Use::ServerAuth];
        let key = key();
        let der = params.signed_by(&key, &self.root).expect("a certificate").der().to_vec();
        Server { pkcs8: key.serialize_der(), chain: vec![der], names: vec![name.to_owned()] }
    }

    /// A device whose certificate has this common name and these DNS names.
    pub fn device(&self, common_name: &str, names: &[&str]) -> client::Credential {
        self.sign(common_name, names, 4_000)
    }

    /// One whose certificate ended before the story begins.
    pub fn expired_device(&self, common_name: &str) -> client::Credential {
        self.sign(common_name, &[], 2_020)
    }

    fn sign(&self, common_name: &str, names: &[&str], until_year: i32) -> client::Credential {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![Use::ClientAuth];
        params.not_after = date_time_ymd(until_year, 1, 1);
        let key = key();
        let der = params.signed_by(&key, &self.root).expect("a certificate").der().to_vec();
        client::Credential::Certificate { key: signing(&key.serialize_der()), chain: vec![der] }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server that has no certificate.
    pub fn raw() -> Self {
        Self { pkcs8: key().serialize_der(), chain: Vec::new(), names: Vec::new() }
    }

    /// Its lines on a trust sheet.
    pub fn items(&self) -> Vec<Item<'_>> {
        let key = Item::Key(Redacted(&self.pkcs8));
        let chain = self.chain.iter().map(|der| Item::Chain(der));
        let names = self.names.iter().map(|name| Item::Name(name));
        [key].into_iter().chain(chain).chain(names).collect()
    }

    /// What a device needs to believe its raw public key.
    pub fn trust(&self) -> Trust {
        let spki = signing(&self.pkcs8).spki().to_vec();
        Trust { raw_public_keys: vec![spki], ..Trust::default() }
    }
}

/// A device with a raw public key, and that key (SubjectPublicKeyInfo, DER).
pub fn raw_device() -> (client::Credential, Vec<u8>) {
    let key = signing(&key().serialize_der());
    let spki = key.spki().to_vec();
    (client::Credential::RawPublicKey { key }, spki)
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn signing(pkcs8: &[u8]) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_pkcs8(pkcs8).expect("a key on P-256"))
}
