//! Certificates and keys, made for a test.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SignatureAlgorithm, date_time_ymd,
};

/// A key and its certificate.
pub(crate) struct Issued {
    pub(crate) key: KeyPair,
    pub(crate) params: CertificateParams,
    /// PEM.
    pub(crate) certificate: String,
}

impl Issued {
    /// An authority that signs itself.
    pub(crate) fn authority(name: &str) -> Self {
        Self::authority_with(name, |_| {})
    }

    /// The same, its parameters changed.
    pub(crate) fn authority_with(name: &str, change: impl Fn(&mut CertificateParams)) -> Self {
        let mut params = params_of(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        change(&mut params);
        let key = key_of(&PKCS_ECDSA_P256_SHA256);
        let certificate = params.self_signed(&key).expect("a good certificate").pem();
        Self { key, params, certificate }
    }

    /// A certificate for these DNS names.
    pub(crate) fn leaf(&self, names: &[&str], algorithm: &'static SignatureAlgorithm) -> Self {
        let params = params_of("leaf", names);
        let key = key_of(algorithm);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a good certificate").pem();
        Self { key, params, certificate }
    }
}

/// A key pair.
pub(crate) fn key_of(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("the algorithm can make keys")
}

fn params_of(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are DNS names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}
