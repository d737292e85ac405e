//! Which names lead to which device, and who may take one.
#![allow(clippy::unwrap_used)]

use std::sync::mpsc;

use super::*;
use crate::model::PublicKey;
use crate::store::Transaction;
use crate::store::memory::MemoryStore;
use crate::store::records;
use crate::store::stream::Retention;

fn store() -> MemoryStore {
    MemoryStore::new(Retention { entries_max: 1, bytes_max: 1, age_max_ms: 1 })
}

fn device(id: u8, block: NetworkBlock) -> Device {
    Device {
        id: DeviceId([id; 16]),
        name: None,
        description: None,
        destination: "d".to_owned(),
        cellular: None,
        wifi: Some(block),
        positioning: None,
        application_profile: None,
        thing_arn: None,
        tags: Vec::new(),
        created_unix_ms: 0,
    }
}

fn block(name: &str) -> NetworkBlock {
    NetworkBlock {
        raw_public_key: Some(PublicKey(name.as_bytes().to_vec())),
        certificate_name: Some(name.to_owned()),
        certificate_fingerprint: Some(Fingerprint::of(name.as_bytes())),
        source_address: Some("192.0.2.1:7".parse().unwrap()),
        ..NetworkBlock::default()
    }
}

/// Commits the replacement alone.
fn replaces(
    store: &MemoryStore,
    before: Option<&Device>,
    after: Option<&Device>,
) -> Result<(), Name> {
    let replacement = Replacement::new(before, after);
    let mut tx = Transaction::new();
    let names: Vec<_> = replacement.guards.iter().map(|(_, name)| name.clone()).collect();
    for (guard, _) in replacement.guards {
        tx.when(guard);
    }
    tx.changes = replacement.changes;
    let (done, result) = mpsc::channel();
    store.submit(tx, Box::new(move |result| done.send(result).unwrap()));
    match result.recv().unwrap() {
        Ok(_) => Ok(()),
        Err(StoreError::Guarded(at)) => Err(names[at].clone()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_device_is_known_by_every_name_until_it_is_gone() {
    let (store, one) = (store(), device(1, block("n")));
    replaces(&store, None, Some(&one)).unwrap();
    let names = Name::all_of(one.wifi.as_ref().unwrap());
    assert_eq!(names.len(), 4);
    let owner = Owner { device: one.id, network: Network::WiFi };
    for name in &names {
        assert_eq!(Owner::of(&store, name), Ok(Some(owner)), "{name:?}");
    }
    assert!(Standing::of(&store, one.id).unwrap().is_some());
    replaces(&store, Some(&one), None).unwrap();
    assert!(names.iter().all(|name| Owner::of(&store, name) == Ok(None)));
    assert_eq!(Standing::of(&store, one.id), Ok(None));
}

#[test]
fn a_name_has_one_owner() {
    let store = store();
    let one = device(1, block("n"));
    replaces(&store, None, Some(&one)).unwrap();
    for name in Name::all_of(one.wifi.as_ref().unwrap()) {
        let mut other = NetworkBlock::default();
        match &name {
            Name::RawPublicKey(_) => other.raw_public_key = Some(PublicKey(b"n".to_vec())),
            Name::Certificate(_) => other.certificate_name = Some("n".to_owned()),
            Name::CertificateFingerprint(leaf) => other.certificate_fingerprint = Some(*leaf),
            Name::Address(address) => other.source_address = Some(*address),
        }
        let other = device(2, other);
        assert_eq!(replaces(&store, None, Some(&other)), Err(name));
        assert_eq!(Standing::of(&store, other.id), Ok(None), "nothing of it was written");
    }
}

/// What stays is not in its own way; what goes may be taken; each change has another stamp.
#[test]
fn a_changed_device_keeps_and_gives_up_names() {
    let store = store();
    let one = device(1, block("n"));
    replaces(&store, None, Some(&one)).unwrap();
    let stamp = Standing::of(&store, one.id).unwrap().unwrap().stamp;
    let mut changed = one.clone();
    changed.wifi.as_mut().unwrap().certificate_name = Some("m".to_owned());
    replaces(&store, Some(&one), Some(&changed)).unwrap();
    assert_ne!(Standing::of(&store, one.id).unwrap().unwrap().stamp, stamp);
    let name = |text| Name::Certificate(CertificateName::parse(text));
    assert_eq!(Owner::of(&store, &name("n")), Ok(None));
    assert!(Owner::of(&store, &name("m")).unwrap().is_some());
    // To the other block, with everything.
    let moved = Device { cellular: changed.wifi.clone(), wifi: None, ..changed.clone() };
    replaces(&store, Some(&changed), Some(&moved)).unwrap();
    let owner = Owner { device: one.id, network: Network::Cellular };
    assert_eq!(Owner::of(&store, &name("m")), Ok(Some(owner)));
}

#[test]
fn a_standing_permits_what_its_block_may_use() {
    let mut both = device(1, block("n"));
    both.wifi.as_mut().unwrap().security_modes = Some(vec![SecurityMode::Certificate]);
    both.cellular = Some(NetworkBlock { identity: Some("i".to_owned()), ..Default::default() });
    let standing = Standing::drawn(&both);
    assert_eq!(Standing::decode(&standing.encode()), Ok(standing));
    for mode in SecurityMode::ALL {
        assert_eq!(standing.permits(Network::WiFi, mode), mode == SecurityMode::Certificate);
        assert_eq!(standing.permits(Network::Cellular, mode), mode == SecurityMode::PreSharedKey);
    }
    assert!(!standing.permits_anywhere(SecurityMode::NoSec));
    assert!(standing.stamp > 1);
}

/// A device stored before there were standings: its PSK goes on.
#[test]
fn an_ancient_device_may_use_its_psk() {
    let (store, one) = (store(), device(1, NetworkBlock::default()));
    assert_eq!(Standing::of(&store, one.id), Ok(None));
    let mut tx = Transaction::new();
    tx.put(Table::Devices, one.id.0, records::encode(&one));
    store.submit(tx, Box::new(|_| ()));
    let standing = Standing::of(&store, one.id).unwrap().unwrap();
    assert_eq!(standing.stamp, 1);
    assert!(standing.permits(Network::Cellular, SecurityMode::PreSharedKey));
    assert!(!standing.permits_anywhere(SecurityMode::Certificate));
}

#[test]
fn damaged_records_are_not_read() {
    let owner = Owner { device: DeviceId([1; 16]), network: Network::WiFi }.encode();
    assert!(Owner::decode(&owner).is_ok());
    let standing = Standing::drawn(&device(1, block("n"))).encode();
    for at in 0..owner.len() {
        assert!(Owner::decode(&owner[..at]).is_err());
    }
    for at in 0..standing.len() {
        assert!(Standing::decode(&standing[..at]).is_err());
    }
    assert!(Owner::decode(&[&[2], &owner[1..]].concat()).is_err(), "another version");
    assert!(Owner::decode(&[&owner[..17], &[2]].concat()).is_err(), "no such network");
    assert!(Standing::decode(&[&standing[..10], &[16]].concat()).is_err(), "no such mode");
}

/// A bare name is found wherever it stands; one with a kind only there.
#[test]
fn names_of_a_leaf_and_what_they_find() {
    let finds = |leaf: &str, provisioned: &str| {
        CertificateName::candidates(leaf).contains(&CertificateName::parse(provisioned))
    };
    for leaf in ["CN=n", "DNS:n", "URI:n"] {
        assert!(finds(leaf, leaf) && finds(leaf, "n"), "{leaf}");
    }
    assert!(!finds("CN=n", "DNS:n") && !finds("DNS:n", "CN=n") && !finds("CN=n", "URI:n"));
    assert!(finds("DNS:Edge.Example", "DNS:eDGE.example"), "DNS names have no case");
    assert!(finds("DNS:Edge.Example", "edge.example") && finds("DNS:Edge.Example", "Edge.Example"));
    assert!(!finds("CN=N", "CN=n") && !finds("URI:urn:N", "URI:urn:n"), "others do");
    // An authority that signs any common name gives nobody another's DNS name.
    assert!(!finds("CN=DNS:n", "DNS:n") && !finds("CN=DNS:n", "n"));
    assert!(!finds("CN=CN=n", "CN=n"));
    assert!(CertificateName::candidates("n").is_empty(), "a leaf's name has a kind");
}

#[test]
fn an_address_is_read_back_from_its_key() {
    let name = Name::Address("192.0.2.1".parse().unwrap());
    let (ip, port) = Name::address(&name.key()).unwrap();
    assert_eq!((&ip[12..], port), (&[192, 0, 2, 1][..], 0));
    assert_eq!(Name::address(&name.key()[1..]), None);
    assert_eq!(Name::address(&name.key()[..20]), None);
}
