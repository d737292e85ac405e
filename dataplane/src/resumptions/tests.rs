//! Which sessions does a table keep, for how long, and what does it make of a file it finds?
#![allow(clippy::unwrap_used)]

use super::*;

use super::table::{HEAD_WORDS, USED};
use std::os::unix::fs::FileExt;
use zerocopy::FromZeros;

const BOOT: [u8; 16] = [9; 16];
const AGE_S: u32 = 100;

fn origin(device: u8) -> Origin {
    Origin {
        device: [device; 16],
        stamp: 1_000 + u64::from(device),
        network: 2,
        claim: Claim::Certificate,
        class: 700 + u16::from(device),
    }
}

fn secret(byte: u8) -> Resumable {
    Resumable::read_from_bytes(&[byte; size_of::<Resumable>()]).unwrap()
}

fn worker(tables: &Tables, own: u8, now_s: u32) -> Resumptions {
    Resumptions::new(now_s, tables.clone(), own, AGE_S).0
}

/// A full handshake of a device is complete.
fn stored(table: &mut Resumptions, now_s: u32, device: u8) -> SessionId {
    let reservation = table.reserve([device; 28]).unwrap();
    table.store(now_s, &reservation, &origin(device), &secret(device));
    reservation.id
}

#[test]
fn a_session_is_found_by_its_id_on_every_worker() {
    let tables = Tables::anonymous(3, 4);
    let mut workers: Vec<_> = (0..3).map(|own| worker(&tables, own, 0)).collect();
    let id = stored(&mut workers[1], 5, 7);
    for table in &workers {
        let found = table.find(5, &id).unwrap();
        assert_eq!((found.worker, found.origin), (1, origin(7)));
        assert_eq!(found.resumable.as_bytes(), secret(7).as_bytes());
    }
    assert_eq!((workers[0].len(), workers[1].len()), (0, 1));
}

#[test]
fn a_guessed_a_short_or_a_foreign_id_finds_nothing() {
    let tables = Tables::anonymous(2, 4);
    let mut table = worker(&tables, 1, 0);
    let id = stored(&mut table, 5, 7);
    for i in 0..id.len() {
        let mut guess = id;
        guess[i] ^= 1;
        assert!(table.find(5, &guess).is_none(), "byte {i}");
    }
    for other in [&id[..31], &[&id[..], &[0]].concat(), b"", &[255; 32]] {
        assert!(table.find(5, other).is_none());
    }
}

#[test]
fn a_session_is_resumable_for_its_age_and_not_a_second_longer() {
    let mut table = worker(&Tables::anonymous(1, 4), 0, 0);
    let id = stored(&mut table, 5, 7);
    assert!(table.find(5 + AGE_S - 1, &id).is_some());
    assert!(table.find(5 + AGE_S, &id).is_none());
    assert!(table.find(4, &id).is_none(), "nor before it was made");
    table.sweep(5 + AGE_S - 1, 9);
    assert_eq!(table.len(), 1);
    table.sweep(5 + AGE_S, 9);
    assert!(table.is_empty() && table.find(6, &id).is_none(), "the secret is gone");
}

#[test]
fn the_oldest_gives_way_at_the_bound_and_not_before() {
    let mut table = worker(&Tables::anonymous(1, 3), 0, 0);
    let ids: Vec<_> = (0..3).map(|n| stored(&mut table, n.into(), n)).collect();
    assert!(ids.iter().all(|id| table.find(3, id).is_some()), "three fit");
    let fourth = stored(&mut table, 3, 3);
    let kept: Vec<_> = ids.iter().map(|id| table.find(3, id).is_some()).collect();
    assert_eq!((kept, table.len()), (vec![false, true, true], 3));
    assert!(table.find(3, &fourth).is_some());
}

#[test]
fn a_device_has_one_entry_and_the_one_it_leaves_is_used_next() {
    let mut table = worker(&Tables::anonymous(1, 3), 0, 0);
    let (mut old, other) = (stored(&mut table, 0, 1), stored(&mut table, 1, 2));
    for now_s in 2..20 {
        let new = stored(&mut table, now_s, 1);
        assert!(table.find(now_s, &old).is_none() && table.find(now_s, &new).is_some());
        assert!(table.find(now_s, &other).is_some(), "nobody is pushed out");
        old = new;
    }
    assert_eq!(table.len(), 2);
}

/// Handshakes that begin and end in nothing take no session's place.
#[test]
fn abandoned_handshakes_push_nobody_out() {
    let mut table = worker(&Tables::anonymous(1, 3), 0, 0);
    let ids: Vec<_> = (0..3).map(|n| stored(&mut table, n.into(), n)).collect();
    let begun: Vec<_> = (0..9).map(|n| table.reserve([n; 28]).unwrap()).collect();
    assert_ne!(begun[0].id[..4], begun[1].id[..4], "each has an entry of its own");
    begun.iter().rev().for_each(|reservation| table.cancel(reservation));
    assert!(ids.iter().all(|id| table.find(3, id).is_some()));
    let late = begun[0];
    stored(&mut table, 3, 3);
    let kept: Vec<_> = ids.iter().map(|id| table.find(3, id).is_some()).collect();
    assert_eq!(kept, [false, true, true], "and the oldest is still the next to go");
    table.cancel(&late);
    assert_eq!(table.len(), 3, "a reservation whose entry was given away cancels nothing");
}

/// A fleet that shakes hands at once after a restart: the table is empty, and has room.
#[test]
fn handshakes_at_the_same_time_keep_their_sessions_all() {
    let mut table = worker(&Tables::anonymous(1, 8), 0, 0);
    let begun: Vec<_> = (0..8).map(|n| table.reserve([n; 28]).unwrap()).collect();
    let one_more = table.reserve([8; 28]).unwrap();
    for (device, reservation) in (0..8).zip(&begun).skip(1) {
        table.store(0, reservation, &origin(device), &secret(device));
    }
    assert!(begun[1..].iter().all(|reservation| table.find(0, &reservation.id).is_some()));
    // The first one shares its entry with the one for which there was no room.
    table.cancel(&begun[0]);
    table.store(0, &one_more, &origin(8), &secret(8));
    assert!(table.find(0, &one_more.id).is_some() && table.len() == 8);
}

#[test]
fn what_is_forgotten_is_gone_for_every_worker_and_overwritten() {
    let tables = Tables::anonymous(2, 4);
    let (mut table, other) = (worker(&tables, 0, 0), worker(&tables, 1, 0));
    let (id, kept) = (stored(&mut table, 0, 0xa5), stored(&mut table, 0, 2));
    assert!(table.forget(&[0xa5; 16]) && !table.forget(&[0xa5; 16]));
    assert!(other.find(0, &id).is_none() && other.find(0, &kept).is_some());
    let words = table.table().read(index_of(&id)).unwrap();
    assert!(words[1..].iter().all(|word| *word == 0), "secret and all");
}

#[test]
fn what_one_kind_of_claim_made_is_forgotten_alone() {
    let mut table = worker(&Tables::anonymous(1, 4), 0, 0);
    let certificate = stored(&mut table, 5, 7);
    let reservation = table.reserve([9; 28]).unwrap();
    let psk = Origin { claim: Claim::PskIdentity, ..origin(8) };
    table.store(5, &reservation, &psk, &secret(8));
    table.forget_all(Claim::RawPublicKey);
    assert!(table.find(6, &certificate).is_some());
    table.forget_all(Claim::Certificate);
    assert!(table.find(6, &certificate).is_none());
    assert!(table.find(6, &reservation.id).is_some() && table.len() == 1);
}

#[test]
fn without_a_table_nothing_is_resumable() {
    let mut table = worker(&Tables::anonymous(1, 0), 0, 0);
    assert!(table.reserve([0; 28]).is_none());
    assert!(table.find(0, &[0; 32]).is_none());
}

/// The same in a table that is full: each takes the place of one of the oldest.
#[test]
fn handshakes_at_the_same_time_push_out_the_oldest_one_each() {
    let mut table = worker(&Tables::anonymous(1, 8), 0, 0);
    let ids: Vec<_> = (0..8).map(|n| stored(&mut table, n.into(), n)).collect();
    let begun: Vec<_> = (8..12).map(|n| table.reserve([n; 28]).unwrap()).collect();
    for (device, reservation) in (8..).zip(&begun) {
        table.store(9, reservation, &origin(device), &secret(device));
    }
    let kept: Vec<_> = ids.iter().map(|id| table.find(9, id).is_some()).collect();
    assert_eq!(kept, [[false; 4], [true; 4]].concat());
}

/// A reservation that came to nothing is the next to be given away.
#[test]
fn what_was_reserved_in_vain_is_free_again() {
    let mut table = worker(&Tables::anonymous(1, 2), 0, 0);
    let kept = stored(&mut table, 0, 1);
    for number in 0..9 {
        let reservation = table.reserve([number; 28]).unwrap();
        assert_ne!(reservation.id[..4], kept[..4]);
        table.cancel(&reservation);
    }
    assert!(table.find(0, &kept).is_some());
}

#[test]
fn more_handshakes_than_entries_end_with_whole_entries() {
    let mut table = worker(&Tables::anonymous(1, 1), 0, 0);
    let (one, two) = (table.reserve([1; 28]).unwrap(), table.reserve([2; 28]).unwrap());
    table.store(0, &one, &origin(1), &secret(1));
    table.store(0, &two, &origin(2), &secret(2));
    assert!(table.find(0, &one.id).is_none() && table.find(0, &two.id).is_some());
    assert_eq!(table.len(), 1);
}

/// A directory of its own, gone when the test is over.
struct RunDir(std::path::PathBuf);

impl RunDir {
    fn new(name: &str) -> Self {
        let name = format!("tidegate-resume-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn tables(&self, per_worker: u32, boot: [u8; 16]) -> Tables {
        Tables::open(&self.0, 2, per_worker, boot).unwrap()
    }

    /// Changes what stands in worker 0's file while nobody has it mapped.
    fn scribble(&self, word: usize, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new().write(true).open(self.0.join("worker-0.resume"));
        file.unwrap().write_all_at(bytes, 8 * word as u64).unwrap();
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where entry `index` begins.
fn word_of(index: u32) -> usize {
    HEAD_WORDS + index as usize * ENTRY_WORDS
}

#[test]
fn a_restarted_process_goes_on_with_what_is_whole_and_not_too_old() {
    let run_dir = RunDir::new("restart");
    let mut table = worker(&run_dir.tables(8, BOOT), 0, 0);
    let ids: Vec<_> = (0..5).map(|n| stored(&mut table, 10 + u32::from(n), n)).collect();
    table.forget(&[2; 16]);
    drop(table);
    // The owner died writing the second; the first has become too old meanwhile.
    run_dir.scribble(word_of(index_of(&ids[1])), &[3, 0, 0, 0]);
    let tables = run_dir.tables(8, BOOT);
    let (mut table, found) = Resumptions::new(10 + AGE_S, tables, 0, AGE_S);
    assert_eq!(found, Recovered { kept: 2, discarded: 2 });
    let kept: Vec<_> = ids.iter().map(|id| table.find(20, id).is_some()).collect();
    assert_eq!(kept, [false, false, false, true, true]);
    let next = stored(&mut table, 10 + AGE_S, 3);
    assert!(table.find(10 + AGE_S, &ids[3]).is_none(), "the map by device is back");
    assert!(table.find(10 + AGE_S, &next).is_some());
}

#[test]
fn a_file_of_another_boot_worker_or_layout_is_not_trusted() {
    let run_dir = RunDir::new("trust");
    let open = |per_worker, boot| run_dir.tables(per_worker, boot);
    let id = stored(&mut worker(&open(4, BOOT), 1, 0), 5, 7);
    let is_kept = |tables: Tables| worker(&tables, 1, 6).find(6, &id).is_some();
    assert!(is_kept(open(8, BOOT)) && is_kept(open(1, BOOT)), "of any length that holds it");
    let file = |number| run_dir.0.join(format!("worker-{number}.resume"));
    std::fs::copy(file(1), file(0)).unwrap();
    let mut of_0 = id;
    of_0[0] = 0;
    assert!(worker(&open(1, BOOT), 0, 6).find(6, &of_0).is_none(), "another worker's");
    assert!(!is_kept(open(1, [8; 16])), "another boot's");
    assert!(!is_kept(open(1, BOOT)), "and it was overwritten");
    let id = stored(&mut worker(&open(4, BOOT), 0, 0), 5, 7);
    run_dir.scribble(0, b"TGRESUM\x01");
    assert!(worker(&open(4, BOOT), 0, 6).find(6, &id).is_none(), "another layout's");
    open(0, BOOT);
    assert!(!file(0).exists() && !file(1).exists(), "switched off: no secret stays behind");
}

/// Random bytes behind a good head: nothing panics, no session is made up, the table works.
#[test]
fn random_bytes_in_the_file_are_survived() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let run_dir = RunDir::new("random");
    for seed in 0..50 {
        let mut random = StdRng::seed_from_u64(seed);
        drop(run_dir.tables(16, BOOT));
        let used: u64 = if random.random() { random.random() } else { 16 };
        run_dir.scribble(USED, &used.to_ne_bytes());
        for index in 0..16 {
            let mut bytes: [u8; 8 * ENTRY_WORDS] = random.random();
            if random.random() {
                // Nearly believable: whole, in use, of a good time, of one of few devices.
                let mut entry = Entry::read_from_bytes(&bytes).unwrap();
                entry.generation &= !1;
                (entry.at_s, entry.state) = (random.random_range(0..99), IN_USE);
                entry.who = random.random_range(0..6);
                entry.device = [random.random_range(0..4); 16];
                bytes = zerocopy::transmute!(entry);
            }
            run_dir.scribble(word_of(index), &bytes);
        }
        let (mut table, found) = Resumptions::new(100, run_dir.tables(16, BOOT), 0, AGE_S);
        assert!(found.kept <= 4 && found.kept + found.discarded <= 16, "{found:?}");
        let ids: Vec<_> = (0..16).map(|n| stored(&mut table, 100, n)).collect();
        let kept = ids.iter().filter(|id| table.find(100, *id).is_some()).count();
        assert_eq!((kept, table.len()), (16, 16));
    }
}

#[test]
fn a_wiped_entry_is_all_zeros() {
    let entry: Words = zerocopy::transmute!(Entry::new_zeroed());
    assert_eq!(entry, [0; ENTRY_WORDS]);
}
