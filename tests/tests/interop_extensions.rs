//! Do the small extensions work with libraries that are not ours? max_fragment_length, groups,
//! no extended master secret; and what must not get in: unknown keys, somebody else's certificates.

#![forbid(unsafe_code)]

use tidegate_tests::carrier::Carrier;
use tidegate_tests::device::{Device, Library};
use tidegate_tests::fleet::Fleet;
use tidegate_tests::foreign::{Target, device_options, openssl_command};
use tidegate_tests::matrix::{Attempt, Refusal, Way};
use tidegate_tests::pki::Pki;
use tidegate_tests::raw_client::RawClient;
use tidegate_tests::suite::Credential;

const LIBRARIES: [Library; 2] = [Library::MbedTls, Library::WolfSsl];

/// The edge's flight with its certificate and request is longer than 512 bytes, so it comes in
/// fragments (RFC 6066 section 4).
#[test]
fn a_device_may_ask_for_short_records() {
    let mut fleet = Fleet::default();
    let edge = fleet.edge();
    let target = fleet.provision(&edge, 0);
    for library in LIBRARIES {
        for code in ["mfl=1", "mfl=2", "mfl=3", "mfl=4"] {
            let device = connect(library, &target, Credential::Certificate, &[code]);
            let mut device = device.unwrap_or_else(|said| panic!("{library:?} {code}: {said}"));
            assert_eq!(device.asks("con put t 21.5").code, "2.04", "{library:?} {code}");
            device.resumes().unwrap_or_else(|said| panic!("{library:?} {code}: {said}"));
            assert!(device.is_resumed, "{library:?} {code}");
            assert_eq!(device.asks("con put t 22.5").code, "2.04", "{library:?} {code}");
        }
    }
}

/// The edge is told one group, the device offers all and tells which one it was. (It must offer
/// P-256 in any case, for the edge's certificate: RFC 8422 section 5.1.)
#[test]
fn every_group_agrees_with_openssl() {
    let mut fleet = Fleet::default();
    let mut edge = fleet.edge();
    let target = fleet.provision(&edge, 0);
    let (credential, way) = (Credential::Certificate, Way { cid: false, resumed: false });
    for (group, told) in [
        ("x25519", "Server Temp Key: X25519"),
        ("secp256r1", "Server Temp Key: ECDH, prime256v1"),
        ("secp384r1", "Server Temp Key: ECDH, secp384r1"),
    ] {
        edge.restart_dataplane_with(&format!("groups = [\"{group}\"]"));
        let what = Attempt { credential, suite: &credential.suites()[0], way };
        let mut client = RawClient::start(&mut openssl_command(&target, &what));
        client.puts("21.5").unwrap_or_else(|said| panic!("{group}: {said}"));
        assert!(client.said().contains(told), "{group}: {}", client.said());
    }
}

/// Such a session is not taken up again: nothing binds it to its handshake (RFC 7627 section 5.4).
#[test]
fn a_device_without_extended_master_secret_is_served_and_not_resumed() {
    let mut fleet = Fleet::default();
    let edge = fleet.edge();
    let target = fleet.provision(&edge, 0);
    for library in LIBRARIES {
        let device = connect(library, &target, Credential::Psk, &["ems=no"]);
        let mut device = device.unwrap_or_else(|said| panic!("{library:?}: {said}"));
        assert_eq!(device.asks("con put t 21.5").code, "2.04", "{library:?}");
        // Either there was nothing to resume, or it came to a full handshake.
        if device.resumes().is_ok() {
            assert!(!device.is_resumed, "{library:?}");
            assert_eq!(device.asks("con put t 22.5").code, "2.04", "{library:?}");
        }
    }
}

/// The control of the matrix: the same programs, with a key nobody provisioned.
#[test]
fn strangers_do_not_get_in() {
    let mut fleet = Fleet::default();
    let edge = fleet.edge();
    let target = fleet.provision(&edge, 0);
    let elsewhere = Pki::new();
    let known_name = elsewhere.certified("device-0.tests");
    let strangers = [
        ("a certificate of another authority", Target { certified: known_name, ..target.clone() }),
        (
            "a name that is no device's",
            Target { certified: fleet.pki.certified("device-1.tests"), ..target.clone() },
        ),
    ];
    for (what, stranger) in &strangers {
        for library in LIBRARIES {
            let refused = connect(library, stranger, Credential::Certificate, &[]);
            assert!(refused.is_err(), "{library:?}: {what}");
        }
    }
    let stranger = Target { raw: fleet.pki.key_pair("stranger"), ..target.clone() };
    for library in [Library::WolfSsl, Library::TinyDtls] {
        let refused = connect(library, &stranger, Credential::RawPublicKey, &[]);
        assert!(refused.is_err(), "{library:?}: an unknown raw public key");
        let known = connect(library, &target, Credential::RawPublicKey, &[]);
        assert_eq!(known.expect("it is provisioned").asks("con put t 1").code, "2.04");
    }
}

/// The same control for the libraries that only carry bytes, where they have certificates.
#[test]
fn strangers_on_other_libraries_do_not_get_in() {
    let mut fleet = Fleet::default();
    let edge = fleet.edge();
    let known = fleet.provision(&edge, 0);
    let stranger = Target { certified: fleet.pki.certified("device-1.tests"), ..known.clone() };
    let (credential, way) = (Credential::Certificate, Way { cid: false, resumed: false });
    let suite = credential.suites().iter().find(|suite| suite.column() == "AES_128_GCM");
    let what = Attempt { credential, suite: suite.expect("all three have it"), way };
    for carrier in [Carrier::PythonMbedTls, Carrier::WebrtcDtls, Carrier::Dimpl] {
        let refused = carrier.attempt(&stranger, &what, "21.5");
        assert!(matches!(refused, Err(Refusal::Failed(_))), "{carrier:?}: {refused:?}");
        assert_eq!(carrier.attempt(&known, &what, "21.5"), Ok(()), "{carrier:?}");
    }
}

fn connect(
    library: Library,
    target: &Target,
    credential: Credential,
    more: &[&str],
) -> Result<Device, String> {
    let way = Way { cid: false, resumed: false };
    let what = Attempt { credential, suite: &credential.suites()[0], way };
    let options = device_options(target, &what);
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.extend(more);
    Device::start(library, "127.0.0.1", target.port, &options)
}
