//! Which chains are good? One authority, one intermediate, and everything that can be wrong.

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose as Use,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    SanType, SignatureAlgorithm,
};
use tidegate_crypto::certificate::{
    Authorities, CHAIN_MAX, CertificateError, NAMES_MAX, Validity, check_authority, leaf, validity,
};
use tidegate_crypto::signature::group_of;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// 2026-01-01, in seconds: inside rcgen's default validity of 1975 to 4096.
const NOW_S: u64 = 1_767_225_600;

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn root() -> Issuer {
    CertifiedIssuer::self_signed(authority("root"), key()).expect("a root")
}

fn device() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "00-1B-C5-FF-FE-00-00-01");
    params.extended_key_usages = vec![Use::ClientAuth];
    params
}

fn issue(params: &CertificateParams, issuer: &Issuer) -> Vec<u8> {
    params.signed_by(&key(), issuer).expect("a certificate").der().to_vec()
}

fn trusting(root: &Issuer) -> Authorities {
    Authorities::from_ders([root.der().as_ref()]).expect("an authority")
}

#[test]
fn a_device_of_a_trusted_authority_is_who_it_says() {
    let root = root();
    let mut params = device();
    params.subject_alt_names = vec![
        SanType::DnsName("meter-1.example".try_into().expect("a name")),
        SanType::URI("urn:dev:os:1-meter".try_into().expect("a name")),
    ];
    let der = issue(&params, &root);
    let leaf = trusting(&root).verify_client(&[&der], NOW_S).expect("a good chain");
    assert_eq!(
        leaf.names,
        ["CN=00-1B-C5-FF-FE-00-00-01", "DNS:meter-1.example", "URI:urn:dev:os:1-meter"]
    );
    assert!(group_of(&leaf.spki).is_some());
    assert_eq!(leaf, tidegate_crypto::certificate::leaf(&der).expect("readable"));
}

#[test]
fn an_intermediate_leads_to_the_root_and_is_needed_for_it() {
    let root = root();
    let intermediate = CertifiedIssuer::signed_by(authority("between"), key(), &root);
    let intermediate = intermediate.expect("an intermediate");
    let der = issue(&device(), &intermediate);
    let authorities = trusting(&root);
    assert!(authorities.verify_client(&[&der, intermediate.der()], NOW_S).is_ok());
    let alone = authorities.verify_client(&[&der], NOW_S);
    assert_eq!(alone.err(), Some(CertificateError::UnknownAuthority));
}

#[test]
fn a_chain_has_one_to_five_certificates() {
    let mut issuer = root();
    let authorities = trusting(&issuer);
    let mut chain: Vec<Vec<u8>> = Vec::new();
    for depth in 1..=CHAIN_MAX {
        let der = issue(&device(), &issuer);
        let whole: Vec<&[u8]> =
            [der.as_slice()].into_iter().chain(chain.iter().rev().map(Vec::as_slice)).collect();
        assert!(authorities.verify_client(&whole, NOW_S).is_ok(), "{depth} certificates");
        let next = CertifiedIssuer::signed_by(authority(&format!("ca-{depth}")), key(), &issuer);
        issuer = next.expect("one more");
        chain.push(issuer.der().to_vec());
    }
    let der = issue(&device(), &issuer);
    let whole: Vec<&[u8]> =
        [der.as_slice()].into_iter().chain(chain.iter().rev().map(Vec::as_slice)).collect();
    assert_eq!(whole.len(), CHAIN_MAX + 1);
    for chain in [whole.as_slice(), &[]] {
        let refused = authorities.verify_client(chain, NOW_S).err();
        assert_eq!(refused, Some(CertificateError::ChainLength));
    }
}

#[test]
fn strangers_and_forgers_are_refused() {
    let (root, other) = (root(), root());
    let der = issue(&device(), &other);
    let refused = trusting(&root).verify_client(&[&der], NOW_S).err();
    assert_eq!(refused, Some(CertificateError::UnknownAuthority), "another key, the same name");
    assert!(trusting(&other).verify_client(&[&der], NOW_S).is_ok(), "the control");
    let self_signed = device().self_signed(&key()).expect("a certificate");
    let refused = trusting(&root).verify_client(&[self_signed.der()], NOW_S).err();
    assert_eq!(refused, Some(CertificateError::UnknownAuthority));
    let nobody = Authorities::from_ders([]).expect("nobody");
    assert!(nobody.is_empty() && nobody.verify_client(&[&der], NOW_S).is_err());
}

#[test]
fn a_certificate_counts_from_its_first_to_its_last_second() {
    let root = root();
    let mut params = device();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 2);
    let der = issue(&params, &root);
    let at = |unix_s| trusting(&root).verify_client(&[&der], unix_s).err();
    assert_eq!(at(NOW_S - 1), Some(CertificateError::NotYetValid));
    assert_eq!(at(NOW_S), None);
    assert_eq!(at(NOW_S + 86_400), None);
    assert_eq!(at(NOW_S + 86_401), Some(CertificateError::Expired));
}

#[test]
fn a_certificate_serves_its_use_alone() {
    let root = root();
    let authorities = trusting(&root);
    let mut params = device();
    params.extended_key_usages = vec![Use::ServerAuth];
    params.subject_alt_names = vec![SanType::DnsName("edge.example".try_into().expect("a name"))];
    let server = issue(&params, &root);
    let refused = authorities.verify_client(&[&server], NOW_S).err();
    assert_eq!(refused, Some(CertificateError::WrongUse));
    assert!(authorities.verify_server(&[&server], Some("edge.example"), NOW_S).is_ok());
    let refused = authorities.verify_server(&[&server], Some("other.example"), NOW_S).err();
    assert_eq!(refused, Some(CertificateError::WrongName));
    params.extended_key_usages.clear();
    let any = issue(&params, &root);
    assert!(authorities.verify_client(&[&any], NOW_S).is_ok(), "no use named: any use");
    let own = trusting(&root).verify_client(&[root.der()], NOW_S).err();
    assert_eq!(own, Some(CertificateError::WrongUse), "an authority is no device");
}

#[test]
fn a_key_that_must_not_sign_is_refused() {
    let root = root();
    let mut params = device();
    let mut with = |usages: &[KeyUsagePurpose]| {
        params.key_usages = usages.to_vec();
        trusting(&root).verify_client(&[&issue(&params, &root)], NOW_S).err()
    };
    assert_eq!(with(&[KeyUsagePurpose::KeyAgreement]), Some(CertificateError::WrongUse));
    assert_eq!(with(&[KeyUsagePurpose::KeyAgreement, KeyUsagePurpose::DigitalSignature]), None);
    assert_eq!(with(&[]), None, "no use named: any use");
}

#[test]
fn keys_on_both_curves_count_and_others_do_not() {
    let root = root();
    let with = |algorithm: &'static SignatureAlgorithm| {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        device().signed_by(&key, &root).expect("a certificate").der().to_vec()
    };
    let authorities = trusting(&root);
    assert!(authorities.verify_client(&[&with(&PKCS_ECDSA_P384_SHA384)], NOW_S).is_ok());
    let refused = authorities.verify_client(&[&with(&PKCS_ED25519)], NOW_S).err();
    assert_eq!(refused, Some(CertificateError::Algorithm));
}

#[test]
fn names_have_a_bound() {
    let root = root();
    let mut params = device();
    let name = |n: usize| SanType::URI(format!("urn:{n:0>200}").as_str().try_into().expect("one"));
    params.subject_alt_names = (0..NAMES_MAX + 4).map(name).collect();
    let der = issue(&params, &root);
    assert_eq!(leaf(&der).expect("readable").names.len(), NAMES_MAX);
    let long = format!("urn:{}", "x".repeat(300));
    params.subject_alt_names = vec![SanType::URI(long.as_str().try_into().expect("one"))];
    assert_eq!(leaf(&issue(&params, &root)).expect("readable").names.len(), 1, "the CN alone");
}

#[test]
fn no_byte_of_a_chain_can_be_changed() {
    let root = root();
    let der = issue(&device(), &root);
    let authorities = trusting(&root);
    for at in 0..der.len() {
        let mut bent = der.clone();
        bent[at] ^= 1;
        assert!(authorities.verify_client(&[&bent], NOW_S).is_err(), "byte {at}");
        assert!(authorities.verify_client(&[&der[..at]], NOW_S).is_err(), "cut at {at}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(leaf(&bytes).is_err());
        prop_assert!(Authorities::from_ders([bytes.as_slice()]).is_err());
    }
}

#[test]
fn an_authority_may_sign_certificates_with_a_key_that_counts() {
    let check = |change: &dyn Fn(&mut CertificateParams),
                 algorithm: &'static SignatureAlgorithm| {
        let mut params = authority("root");
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        check_authority(params.self_signed(&key).expect("a certificate").der())
    };
    let (p256, wrong) = (&PKCS_ECDSA_P256_SHA256, Err(CertificateError::WrongUse));
    assert_eq!(check(&|_| (), p256), Ok(()));
    assert_eq!(check(&|_| (), &PKCS_ECDSA_P384_SHA384), Ok(()));
    assert_eq!(check(&|_| (), &PKCS_ED25519), Err(CertificateError::Algorithm));
    assert_eq!(check(&|params| params.key_usages.clear(), p256), Ok(()), "usage left open");
    let other = |params: &mut CertificateParams| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
    };
    assert_eq!(check(&other, p256), wrong);
    assert_eq!(check(&|params| params.is_ca = IsCa::ExplicitNoCa, p256), wrong);
    assert_eq!(check(&|params| params.is_ca = IsCa::NoCa, p256), wrong);

    let der = root().der().to_vec();
    assert_eq!(check_authority(&der), Ok(()));
    assert_eq!(check_authority(&der[..der.len() - 1]), Err(CertificateError::Malformed));
    assert_eq!(check_authority(&[&der[..], &[0]].concat()), Err(CertificateError::Malformed));
    assert_eq!(check_authority(b""), Err(CertificateError::Malformed));
}

#[test]
fn a_certificate_says_when_it_is_good() {
    let mut params = authority("root");
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2126, 1, 1); // GeneralizedTime, the other UTCTime
    let der = params.self_signed(&key()).expect("a certificate").der().to_vec();
    let expected = Validity { from_unix_s: NOW_S, until_unix_s: 4_922_899_200 };
    assert_eq!(validity(&der), Ok(expected));
    assert_eq!(validity(&der[1..]), Err(CertificateError::Malformed));
}
