//! What an identity may be: its files, its names, and the raw key.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _};

use super::testing::{Issued, key_of};
use super::*;
use crate::store::testing::TempDir;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new())
    }

    /// An identity of these texts.
    fn of(&self, certificate: &str, key: &str, names: Option<&[&str]>) -> ServerIdentityConfig {
        let of = |kind: &str| self.0.path().join(format!("{:016x}.{kind}", rand::random::<u64>()));
        let files = ServerIdentityConfig {
            certificate: of("pem"),
            key: of("key"),
            names: names.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o640)).unwrap();
        files
    }

    fn of_issued(&self, issued: &Issued, names: Option<&[&str]>) -> ServerIdentityConfig {
        self.of(&issued.certificate, &issued.key.serialize_pem(), names)
    }
}

fn load(files: &ServerIdentityConfig) -> Result<ServerIdentity, String> {
    ServerIdentity::load_all(std::slice::from_ref(files)).map(|mut all| all.remove(0))
}

#[test]
fn a_certificate_brings_its_chain_and_its_names() {
    let (files, root) = (Files::new(), Issued::authority("root"));
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let leaf = root.leaf(&["Edge.Example", "*.pumps.example"], algorithm);
        let both = format!("{}{}", leaf.certificate, root.certificate);
        let identity = load(&files.of(&both, &leaf.key.serialize_pem(), None)).unwrap();
        assert_eq!(identity.chain.len(), 2);
        assert_eq!(identity.names, ["edge.example"], "a pattern is no name");
        assert_eq!(identity.public_key.0, leaf.key.subject_public_key_info());
        assert_eq!(identity.key.as_bytes(), leaf.key.serialize_der());
        assert!(!format!("{identity:?}").contains(&format!("{:?}", identity.key.as_bytes())));
        let wanted = Some(&["a.pumps.example", "EDGE.example"][..]);
        let identity = load(&files.of_issued(&leaf, wanted)).unwrap();
        assert_eq!(identity.names, ["a.pumps.example", "edge.example"]);
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let (files, root) = (Files::new(), Issued::authority("root"));
    let leaf = root.leaf(&["edge.example", "*.pumps.example"], &PKCS_ECDSA_P256_SHA256);
    let key = leaf.key.serialize_pem();
    let other = key_of(&PKCS_ECDSA_P256_SHA256).serialize_pem();
    let cases: [(&str, &str, Option<&[&str]>, &str); 12] = [
        (&root.certificate, &key, None, "the first certificate can't be used"),
        (&leaf.certificate, &other, None, "is not of the key"),
        (&key, &key, None, "no certificate"),
        (&leaf.certificate, &leaf.certificate, None, "no private key"),
        (&leaf.certificate[..80], &key, None, "not PEM"),
        (&leaf.certificate, &key[..60], None, "not PEM"),
        (&leaf.certificate, &key.replace("PRIVATE", "ENCRYPTED PRIVATE"), None, "encrypted"),
        (&leaf.certificate, &key_of(&PKCS_ED25519).serialize_pem(), None, "P-256 or P-384"),
        (&leaf.certificate, &key, Some(&["other.example"]), "not for the name"),
        (&leaf.certificate, &key, Some(&["a.b.pumps.example"]), "not for the name"),
        (&leaf.certificate, &key, Some(&["*.pumps.example"]), "not a server name"),
        (&leaf.certificate, &key, Some(&["edge..example"]), "not a server name"),
    ];
    for (certificate, key, names, said) in cases {
        let error = load(&files.of(certificate, key, names)).unwrap_err();
        assert!(error.contains(said), "{said}: {error}");
        assert!(!error.contains("BEGIN"), "nothing of a key is said: {error}");
    }
    let mut absent = files.of_issued(&leaf, None);
    absent.certificate.set_extension("none");
    assert!(load(&absent).unwrap_err().contains(".none"), "the file is named");
}

#[test]
fn a_chain_stands_in_order() {
    let (files, root) = (Files::new(), Issued::authority("root"));
    let stranger = Issued::authority("stranger");
    let leaf = root.leaf(&["edge.example"], &PKCS_ECDSA_P256_SHA256);
    let (key, own) = (leaf.key.serialize_pem(), leaf.certificate.as_str());
    let of = |rest: &str| load(&files.of(&format!("{own}{rest}"), &key, None));
    assert!(of("").is_ok() && of(&root.certificate).is_ok());
    assert!(of(&stranger.certificate).unwrap_err().contains("do not follow one another"));
    let swapped = format!("{}{own}", root.certificate);
    assert!(load(&files.of(&swapped, &key, None)).unwrap_err().contains("the first certificate"));
}

#[test]
fn a_key_that_everybody_may_read_is_refused() {
    let (files, root) = (Files::new(), Issued::authority("root"));
    let leaf = files.of_issued(&root.leaf(&["edge.example"], &PKCS_ECDSA_P256_SHA256), None);
    assert!(load(&leaf).is_ok());
    fs::set_permissions(&leaf.key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(load(&leaf).unwrap_err().contains("everybody may read it"));
}

#[test]
fn a_chain_and_its_names_have_their_bounds() {
    let (files, root) = (Files::new(), Issued::authority("root"));
    let names: Vec<String> = (0..=NAMES_MAX).map(|n| format!("n{n}.pumps.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let leaf = root.leaf(&["*.pumps.example"], &PKCS_ECDSA_P256_SHA256);
    assert!(load(&files.of_issued(&leaf, Some(&names))).unwrap_err().contains("at most 16"));
    assert!(load(&files.of_issued(&leaf, Some(&names[..NAMES_MAX]))).is_ok());

    let key = leaf.key.serialize_pem();
    for (more, is_good) in [(CHAIN_MAX - 1, true), (CHAIN_MAX, false)] {
        let chain = leaf.certificate.clone() + &root.certificate.repeat(more);
        assert_eq!(load(&files.of(&chain, &key, Some(&[]))).is_ok(), is_good, "{more}");
    }
    let der = |text: &str| pem::blocks(text).unwrap()[0].der.len();
    let room = CHAIN_BYTES_MAX - der(&leaf.certificate);
    for (bytes, is_too_long) in [(room, false), (room + 1, true)] {
        let chain = leaf.certificate.clone() + &pem::encode(pem::CERTIFICATE, &vec![0; bytes]);
        let error = load(&files.of(&chain, &key, Some(&[]))).unwrap_err();
        assert_eq!(error.contains("at most 8192"), is_too_long, "{error}");
    }
}

#[test]
fn a_server_name_has_one_identity() {
    let (files, root) = (Files::new(), Issued::authority("root"));
    let of = |names: &[&str]| files.of_issued(&root.leaf(names, &PKCS_ECDSA_P256_SHA256), None);
    let (a, b, both) = (of(&["a.example"]), of(&["b.example"]), of(&["c.example", "A.example"]));
    assert_eq!(ServerIdentity::load_all(&[a.clone(), b]).unwrap().len(), 2);
    let error = ServerIdentity::load_all(&[a, both]).unwrap_err();
    assert!(error.contains("\"a.example\""), "{error}");
}

#[test]
fn the_raw_key_is_made_once_and_is_private() {
    let dir = TempDir::new();
    assert!(ServerIdentity::load_raw(dir.path()).is_err(), "there is none yet");
    let (made, is_new) = ServerIdentity::load_or_make_raw(dir.path()).unwrap();
    assert!(is_new && made.chain.is_empty() && made.names.is_empty());
    let path = ServerIdentity::raw_path(dir.path());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (read, is_new) = ServerIdentity::load_or_make_raw(dir.path()).unwrap();
    assert!(!is_new);
    assert_eq!((&read.key, &read.public_key), (&made.key, &made.public_key));

    let shown = made.public_key.pem();
    let [block] = <[pem::Block; 1]>::try_from(pem::blocks(&shown).unwrap()).unwrap();
    assert_eq!((block.label.as_str(), &*block.der), (pem::PUBLIC_KEY, &made.public_key.0));
    assert_eq!(STANDARD.decode(made.public_key.base64()).unwrap(), made.public_key.0);
    assert_eq!(made.public_key.sha256(), hex::encode(Sha256::digest(&made.public_key.0)));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(ServerIdentity::load_or_make_raw(dir.path()).unwrap_err().contains("others may read"));
    private_file::write(&path, "nonsense").unwrap();
    assert!(ServerIdentity::load_or_make_raw(dir.path()).unwrap_err().contains("no private key"));
}

/// Everything that may be configured and provisioned fits on one trust sheet.
#[test]
fn the_sheet_holds_what_the_bounds_allow() {
    use crate::control::{AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX};
    use tidegate_ring::contract::TRUST_BYTES_MAX;
    use tidegate_ring::trust::{Item, NOSEC_MAX, NoSec, Redacted, write};

    let mut sheet = Vec::new();
    let (name, authority) = ("n".repeat(253), vec![0; CERTIFICATE_BYTES_MAX]);
    for _ in 0..AUTHORITIES_MAX {
        assert!(write(&mut sheet, &Item::Authority(&authority)));
    }
    for _ in 0..=IDENTITIES_MAX {
        // P-384 in PKCS #8 has 185 bytes.
        assert!(write(&mut sheet, &Item::Key(Redacted(&[0; 256]))));
        for _ in 0..CHAIN_MAX {
            assert!(write(&mut sheet, &Item::Chain(&[0; CHAIN_BYTES_MAX / CHAIN_MAX])));
        }
        for _ in 0..NAMES_MAX {
            assert!(write(&mut sheet, &Item::Name(&name)));
        }
    }
    let device = NoSec { ip: [1; 16], port: 1, network: 1, device: [1; 16], stamp: 1, class: 0 };
    for _ in 0..NOSEC_MAX {
        assert!(write(&mut sheet, &Item::NoSec(device)));
    }
    assert!(sheet.len() <= TRUST_BYTES_MAX);
}

/// 2120-01-01 is its end; fourteen days before, the operator hears of it.
#[test]
fn a_certificate_that_ends_is_complained_of() {
    let (files, root) = (Files::new(), Issued::authority("root"));
    let leaf = root.leaf(&["edge.example"], &PKCS_ECDSA_P256_SHA256);
    let identity = load(&files.of_issued(&leaf, None)).unwrap();
    let day = 86_400;
    let (from, until) = (1_577_836_800, 4_733_510_400);
    let about = |unix_s| identity.complaint(unix_s).unwrap_or_default();
    assert!(about(from - 1).ends_with("edge.example is not valid yet: devices will refuse it"));
    assert_eq!(about(from), "");
    assert_eq!(about(until - 14 * day), "");
    assert!(about(until - 14 * day + 1).ends_with("edge.example expires in 13 days"));
    assert!(about(until).ends_with("expires in 0 days"));
    assert!(about(until + 1).ends_with("has expired: devices will refuse it"));
    let (raw, _) = ServerIdentity::load_or_make_raw(files.0.path()).unwrap();
    assert_eq!(raw.complaint(until + 1), None, "a raw key has no time");
}
