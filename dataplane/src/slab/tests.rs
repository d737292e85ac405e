//! Do sessions live as long as they should, and not longer?
#![allow(clippy::unwrap_used)]

use super::*;

const BOOT: [u8; 16] = [9; 16];
const DEVICE: DeviceId = [7; 16];

fn session(slab: &mut Slab, tag: u16) -> u32 {
    let slot = slab.reserve(Peer::default(), tag, 5).unwrap();
    slab.establish(slot, DEVICE, 1, Established::new_zeroed(), 1);
    slot
}

#[test]
fn a_connection_id_finds_its_slot_and_a_stale_or_guessed_one_nothing() {
    let mut slab = Slab::anonymous(3, 4).unwrap();
    let slot = session(&mut slab, 0xbeef);
    let cid = slab.cid(slot);
    assert_eq!(slab.find(&cid), Some(slot));
    for i in 0..CID_BYTES {
        let mut guess = cid;
        guess[i] ^= 1;
        assert_eq!(slab.find(&guess), None, "byte {i}");
    }
    assert_eq!(slab.find(&cid[..5]), None);
    slab.release(slot);
    assert_eq!(slab.find(&cid), None);
}

#[test]
fn a_reference_dies_with_its_session() {
    let mut slab = Slab::anonymous(0, 1).unwrap();
    let slot = session(&mut slab, 1);
    let old = slab.session(slot);
    assert_eq!(slab.resolve(old), Some(slot));
    slab.release(slot);
    assert_eq!(slab.resolve(old), None);
    assert_eq!(session(&mut slab, 1), slot);
    assert_eq!(slab.resolve(old), None);
    assert!(slab.resolve(slab.session(slot)).is_some());
}

/// An endpoint without security has a reference like any session, and no Connection ID.
#[test]
fn no_connection_id_finds_an_endpoint_without_security() {
    let mut slab = Slab::anonymous(0, 2).unwrap();
    let slot = slab.reserve(Peer::default(), 0xbeef, 5).unwrap();
    slab.admit(slot, DEVICE, 1, 1);
    assert_eq!(slab.find(&slab.cid(slot)), None);
    let session = slab.session(slot);
    assert_eq!(slab.resolve(session), Some(slot));
    let (slab, found) = slab.reopened([0; 16]);
    assert_eq!(
        (found, slab.resolve(session)),
        (Recovered { kept: 1, torn: 0, is_other: false }, Some(slot))
    );
}

#[test]
fn all_slots_can_be_used_and_not_one_more() {
    let mut slab = Slab::anonymous(0, 3).unwrap();
    let slots: Vec<u32> = (0..3).map(|tag| session(&mut slab, tag)).collect();
    assert_eq!(slab.reserve(Peer::default(), 9, 0), None);
    assert_eq!(slab.live(), 3);
    slab.release(slots[1]);
    assert_eq!(slab.reserve(Peer::default(), 9, 0), Some(slots[1]));
}

#[test]
fn a_released_slot_keeps_no_secret() {
    let mut slab = Slab::anonymous(0, 1).unwrap();
    let slot = slab.reserve(Peer::default(), 1, 5).unwrap();
    let dtls = Established::read_from_bytes(&[0xa5; size_of::<Established>()]).unwrap();
    slab.establish(slot, DEVICE, 1, dtls, 1);
    slab.release(slot);
    assert!(!slab.get(slot).as_bytes().contains(&0xa5));
}

#[test]
fn sessions_survive_a_restart_but_reservations_and_torn_slots_do_not() {
    let dir = std::env::temp_dir().join(format!("tidegate-slab-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("worker-0.slab");
    let _ = std::fs::remove_file(&path);
    let (mut slab, found) = Slab::open(&path, 0, 8, BOOT).unwrap();
    assert_eq!(found, Recovered::default());
    let kept = session(&mut slab, 0x11);
    let torn = session(&mut slab, 0x22);
    let reserved = slab.reserve(Peer::default(), 0x33, 0).unwrap();
    slab.get_mut(torn).generation |= 1;
    let (cid, reference) = (slab.cid(kept), slab.session(kept));
    drop(slab);

    let (slab, found) = Slab::open(&path, 0, 16, BOOT).unwrap();
    assert_eq!(found, Recovered { kept: 1, torn: 1, is_other: false });
    assert_eq!((slab.find(&cid), slab.resolve(reference)), (Some(kept), Some(kept)));
    assert_eq!(slab.get(reserved).state(), State::Free);
    assert_eq!((slab.live(), slab.capacity), (1, 16));
    drop(slab);

    let (slab, found) = Slab::open(&path, 0, 8, [8; 16]).unwrap();
    let nothing = Recovered { kept: 0, torn: 0, is_other: true };
    assert_eq!(found, nothing, "another boot: nothing is trusted");
    assert_eq!(slab.find(&cid), None);
    std::fs::remove_dir_all(&dir).unwrap();
}
