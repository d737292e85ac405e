//! Who may shake hands: by each claim, in the modes the device may use.

use tidegate_ring::contract::{Claim, Credential, CredentialWanted, Verdict};

use super::*;
use crate::model::{Fingerprint, PublicKey, SecurityMode};

const KEY: &[u8] = b"the device's SubjectPublicKeyInfo";
const LEAF: [u8; 32] = [0x1f; 32];

impl Story {
    fn claims(&mut self, claim: Claim, name: &[u8]) -> (Credential, Vec<u8>) {
        let wanted = CredentialWanted { request: 5.into(), claim: claim as u8 };
        let seq = self.entry(Kind::CredentialWanted, &[wanted.as_bytes(), name]);
        let post = self.posts.last().unwrap();
        assert_eq!((post.kind, post.finishes), (Kind::Credential, Some(seq)));
        let (credential, key) = Credential::split(&post.bytes).unwrap();
        assert_eq!(credential.request.get(), 5);
        (*credential, key.to_vec())
    }

    fn is_known(&mut self, claim: Claim, name: &[u8]) -> bool {
        let (credential, key) = self.claims(claim, name);
        if credential.verdict == Verdict::Known as u8 {
            assert_eq!((credential.device, credential.network), (DEVICE.0, 1));
            assert_eq!(credential.stamp.get(), STAMP);
            assert_eq!(key.is_empty(), claim != Claim::PskIdentity);
            return true;
        }
        assert_eq!(credential.verdict, Verdict::Unknown as u8);
        assert_eq!((credential.device, credential.network, key), ([0; 16], 0, Vec::new()));
        assert_eq!(credential.stamp.get(), 0);
        false
    }

    /// A name of every kind.
    fn has_everything(&mut self) {
        self.changes(STAMP, |block| {
            block.raw_public_key = Some(PublicKey(KEY.to_vec()));
            block.certificate_name = Some("DNS:device.example".to_owned());
            block.certificate_fingerprint = Some(Fingerprint(LEAF));
            block.source_address = Some("192.0.2.1".parse().unwrap());
        });
    }
}

/// What crosses of a leaf.
fn leaf(fingerprint: [u8; 32], names: &[&str]) -> Vec<u8> {
    let mut bytes = fingerprint.to_vec();
    for name in names {
        bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

#[test]
fn a_known_identity_gets_its_key() {
    let mut story = Story::new();
    let (credential, key) = story.claims(Claim::PskIdentity, IDENTITY.as_bytes());
    assert_eq!(credential.verdict, Verdict::Known as u8);
    assert_eq!((credential.device, credential.network), (DEVICE.0, 1));
    assert_eq!((key, credential.stamp.get()), (SECRET.to_vec(), STAMP));
}

#[test]
fn a_device_is_known_by_each_of_its_names() {
    let mut story = Story::new();
    assert!(!story.is_known(Claim::RawPublicKey, KEY));
    assert!(!story.is_known(Claim::Certificate, &leaf(LEAF, &["DNS:device.example"])));
    story.has_everything();
    assert!(story.is_known(Claim::PskIdentity, IDENTITY.as_bytes()));
    assert!(story.is_known(Claim::RawPublicKey, KEY));
    assert!(story.is_known(Claim::Certificate, &leaf(LEAF, &[])), "its certificate");
    let named = leaf([2; 32], &["CN=7", "DNS:Device.Example"]);
    assert!(story.is_known(Claim::Certificate, &named), "another one with its name");
}

#[test]
fn nobody_is_known_by_what_nobody_has() {
    let mut story = Story::new();
    story.has_everything();
    for identity in ["nobody", ""] {
        assert!(!story.is_known(Claim::PskIdentity, identity.as_bytes()));
    }
    for key in [&KEY[1..], b"", &Fingerprint::of(KEY).0] {
        assert!(!story.is_known(Claim::RawPublicKey, key));
    }
    for names in [&[][..], &["CN=device.example"], &["URI:device.example"], &["device.example"]] {
        assert!(!story.is_known(Claim::Certificate, &leaf([2; 32], names)), "{names:?}");
    }
    // A claim of one kind is no name of another.
    assert!(!story.is_known(Claim::PskIdentity, KEY));
    assert!(!story.is_known(Claim::RawPublicKey, IDENTITY.as_bytes()));
}

/// A mode that is excluded: the name is there, the device is not known by it.
#[test]
fn a_device_is_unknown_in_a_mode_it_may_not_use() {
    for allowed in SecurityMode::ALL {
        let mut story = Story::new();
        story.has_everything();
        story.changes(STAMP, |block| block.security_modes = Some(vec![allowed]));
        for (mode, claim, name) in [
            (SecurityMode::PreSharedKey, Claim::PskIdentity, IDENTITY.as_bytes().to_vec()),
            (SecurityMode::RawPublicKey, Claim::RawPublicKey, KEY.to_vec()),
            (SecurityMode::Certificate, Claim::Certificate, leaf(LEAF, &[])),
            (SecurityMode::Certificate, Claim::Certificate, leaf([2; 32], &["DNS:device.example"])),
        ] {
            assert_eq!(story.is_known(claim, &name), mode == allowed, "{claim:?} {allowed:?}");
        }
    }
}

/// Two devices named by one certificate: it is neither's. Its own fingerprint decides before that.
#[test]
fn a_certificate_that_names_two_devices_is_nobodys() {
    let mut story = Story::new();
    story.has_everything();
    let mut another = device();
    another.id = DeviceId([8; 16]);
    another.cellular = Some(NetworkBlock {
        certificate_name: Some("CN=another".to_owned()),
        ..NetworkBlock::default()
    });
    put_device(&story.store, None, &another, 3);
    let both = ["CN=another", "DNS:device.example"];
    assert!(!story.is_known(Claim::Certificate, &leaf([2; 32], &both)));
    assert!(story.is_known(Claim::Certificate, &leaf(LEAF, &both)));
    let twice = ["DNS:device.example", "DNS:DEVICE.example"];
    assert!(story.is_known(Claim::Certificate, &leaf([2; 32], &twice)), "one, said twice");
}

/// Sixteen names are looked up; a leaf with more is known by its fingerprint alone.
#[test]
fn the_names_of_a_leaf_are_bounded() {
    let mut story = Story::new();
    story.has_everything();
    for (count, is_known) in [(16, true), (17, false)] {
        let mut names = vec!["CN=x"; count - 1];
        names.push("DNS:device.example");
        assert_eq!(story.is_known(Claim::Certificate, &leaf([2; 32], &names)), is_known);
        assert!(story.is_known(Claim::Certificate, &leaf(LEAF, &names)));
    }
}

/// Entries that make no sense are finished without an answer: nobody asked them.
#[test]
fn a_hostile_claim_is_finished_and_not_answered() {
    let mut story = Story::new();
    story.has_everything();
    let whole = leaf(LEAF, &["CN=x"]);
    let mut not_text = whole.clone();
    *not_text.last_mut().unwrap() = 0xff;
    let mut entries = vec![
        (Claim::Address as u8, b"192.0.2.1".to_vec()),
        (0, IDENTITY.as_bytes().to_vec()),
        (5, IDENTITY.as_bytes().to_vec()),
        (Claim::Certificate as u8, not_text),
    ];
    entries.extend(
        (0..whole.len())
            .filter(|cut| *cut != 32)
            .map(|cut| (Claim::Certificate as u8, whole[..cut].to_vec())),
    );
    for (claim, name) in entries {
        let wanted = CredentialWanted { request: 5.into(), claim };
        let seq = story.entry(Kind::CredentialWanted, &[wanted.as_bytes(), &name]);
        assert!(story.done.contains(&seq));
    }
    assert!(story.posted(Kind::Credential).is_empty());
}

/// A sealed secret or a name that does not open is the store's fault, not the device's.
#[test]
fn a_damaged_credential_is_unavailable() {
    let mut story = Story::new();
    story.has_everything();
    let damage = |table, key: &[u8]| {
        let mut tx = Transaction::new();
        tx.put(table, key, [7; 60]);
        tx
    };
    let key = crate::store::names::Name::RawPublicKey(Fingerprint::of(KEY)).key();
    story.store.submit(damage(Table::Identities, IDENTITY.as_bytes()), Box::new(|_| ()));
    story.store.submit(damage(Table::Names, &key), Box::new(|_| ()));
    for (claim, name) in [(Claim::PskIdentity, IDENTITY.as_bytes()), (Claim::RawPublicKey, KEY)] {
        let (credential, key) = story.claims(claim, name);
        assert_eq!((credential.verdict, key), (Verdict::Unavailable as u8, Vec::new()));
    }
    assert!(story.is_known(Claim::Certificate, &leaf(LEAF, &[])), "the others are whole");
    story.store.submit(damage(Table::Standings, &DEVICE.0), Box::new(|_| ()));
    let (credential, _) = story.claims(Claim::Certificate, &leaf(LEAF, &[]));
    assert_eq!(credential.verdict, Verdict::Unavailable as u8);
}

/// Credentials do not wait for a broker.
#[test]
fn credentials_are_answered_while_publishing_is_stuck() {
    let mut story = Story::new();
    for exchange in 0..10 {
        story.uplink(exchange, Code::PUT, b"");
    }
    assert!(story.is_known(Claim::PskIdentity, IDENTITY.as_bytes()));
    assert!(story.publications().is_empty());
}
