//! What holds for every key, nonce and text? Properties of sealing and opening.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tidegate_crypto::aead::{self, AAD_BYTES_MAX, Aad, Aead, Job, TEXT_BYTES_MAX};

/// One sealed record and all that opens it.
#[derive(Clone, Debug)]
struct Sealed {
    aead: Aead,
    key: Vec<u8>,
    nonce: [u8; aead::NONCE_BYTES],
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    text: Vec<u8>,
}

impl Sealed {
    fn open(&mut self) -> bool {
        let mut jobs =
            [Job::new(self.aead, &self.key, self.nonce, Aad::new(&self.aad), &mut self.text)];
        aead::open(&mut jobs);
        jobs[0].done
    }
}

fn sealed() -> impl Strategy<Value = Sealed> {
    let aead = proptest::sample::select(Aead::ALL.as_slice());
    let aad = proptest::collection::vec(any::<u8>(), 0..=AAD_BYTES_MAX);
    let plaintext = proptest::collection::vec(any::<u8>(), 0..200);
    (aead, any::<[u8; 32]>(), any::<[u8; 12]>(), aad, plaintext).prop_map(
        |(aead, key, nonce, aad, plaintext)| {
            let key = key[..aead.key_bytes()].to_vec();
            let mut text = plaintext.clone();
            text.resize(plaintext.len() + aead.tag_bytes(), 0);
            let mut jobs = [Job::new(aead, &key, nonce, Aad::new(&aad), &mut text)];
            aead::seal(&mut jobs);
            assert!(jobs[0].done);
            Sealed { aead, key, nonce, aad, plaintext, text }
        },
    )
}

proptest! {
    #[test]
    fn what_was_sealed_opens(mut record in sealed()) {
        prop_assert!(record.open());
        prop_assert_eq!(&record.text[..record.plaintext.len()], &record.plaintext[..]);
    }

    #[test]
    fn one_flipped_bit_anywhere_is_refused(record in sealed(), bit in any::<usize>()) {
        let mut flipped = record.clone();
        let (text, aad, nonce) = (&mut flipped.text, &mut flipped.aad, &mut flipped.nonce);
        let mut bytes: Vec<&mut u8> = text.iter_mut().chain(aad).chain(nonce).collect();
        bytes.extend(flipped.key.iter_mut());
        let bit = bit % (bytes.len() * 8);
        *bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!flipped.open());
        let body = &flipped.text[..record.plaintext.len()];
        prop_assert!(body.iter().all(|&byte| byte == 0), "no plaintext stays behind");
    }

    #[test]
    fn a_shorter_or_longer_text_is_refused(record in sealed(), cut in any::<usize>()) {
        let mut cut_short = record.clone();
        cut_short.text.truncate(cut % record.text.len());
        prop_assert!(!cut_short.open());
        let mut longer = record.clone();
        longer.text.push(0);
        prop_assert!(!longer.open());
    }

    #[test]
    fn the_algorithms_do_not_open_each_others_records(record in sealed()) {
        for other in Aead::ALL {
            if other != record.aead && other.key_bytes() == record.aead.key_bytes() {
                let mut record = record.clone();
                record.aead = other;
                prop_assert!(!record.open(), "{:?}", other);
            }
        }
    }
}

/// The bad record fails alone: its neighbours in the batch open.
#[test]
fn a_bad_record_in_a_batch_fails_alone() {
    let key = [7; 16];
    let mut texts = [[1; 20]; 5];
    let seal_or_open = |texts: &mut [[u8; 20]; 5], act: fn(&mut [Job<'_>])| {
        let mut jobs: Vec<Job<'_>> = texts
            .iter_mut()
            .zip(0u8..)
            .map(|(text, n)| Job::new(Aead::Aes128Ccm8, &key, [n; 12], Aad::EMPTY, text))
            .collect();
        act(&mut jobs);
        jobs.iter().map(|job| job.done).collect::<Vec<bool>>()
    };
    assert_eq!(seal_or_open(&mut texts, aead::seal), [true; 5]);
    texts[2][19] ^= 1;
    assert_eq!(seal_or_open(&mut texts, aead::open), [true, true, false, true, true]);
}

/// The longest record opens, one byte more is refused before any key touches it.
#[test]
fn text_bytes_max_on_both_sides() {
    for aead in Aead::ALL {
        let key = vec![3; aead.key_bytes()];
        let mut text = vec![0x55; TEXT_BYTES_MAX];
        let mut jobs = [Job::new(aead, &key, [1; 12], Aad::EMPTY, &mut text)];
        aead::seal(&mut jobs);
        aead::open(&mut jobs);
        assert!(jobs[0].done);
        text.push(0);
        let mut jobs = [Job::new(aead, &key, [1; 12], Aad::EMPTY, &mut text)];
        aead::open(&mut jobs);
        assert!(!jobs[0].done);
    }
}

#[test]
#[should_panic(expected = "text longer than a record")]
fn sealing_more_than_a_record_is_our_bug() {
    let mut text = vec![0; TEXT_BYTES_MAX + 1];
    aead::seal(&mut [Job::new(Aead::Aes128Gcm, &[0; 16], [0; 12], Aad::EMPTY, &mut text)]);
}

/// The shortest text is the tag alone; without room for it sealing is our bug.
#[test]
#[should_panic(expected = "no room for the tag")]
fn sealing_without_room_for_the_tag_is_our_bug() {
    for room_bytes in [8, 7] {
        let mut text = vec![0; room_bytes];
        aead::seal(&mut [Job::new(Aead::Aes128Ccm8, &[0; 16], [0; 12], Aad::EMPTY, &mut text)]);
        assert_eq!(room_bytes, 8);
    }
}

/// A key of a neighbouring length is refused by every algorithm, in both directions.
#[test]
fn a_key_of_the_wrong_length_is_our_bug() {
    for aead in Aead::ALL {
        for key_bytes in [0, aead.key_bytes() - 1, aead.key_bytes() + 1, 48 - aead.key_bytes()] {
            for act in [aead::seal, aead::open] {
                let outcome = std::panic::catch_unwind(|| {
                    let key = vec![0; key_bytes];
                    act(&mut [Job::new(aead, &key, [0; 12], Aad::EMPTY, &mut [0; 32])]);
                });
                assert!(outcome.is_err(), "{aead:?} took {key_bytes} bytes");
            }
        }
    }
}

#[test]
fn associated_data_holds_its_bound() {
    let aad = Aad::new(&[1; AAD_BYTES_MAX - 4]).with(&[2; 4]);
    assert_eq!(aad.as_bytes(), [[1; AAD_BYTES_MAX - 4].as_slice(), &[2; 4]].concat());
    assert!(std::panic::catch_unwind(move || aad.with(&[3])).is_err());
}

#[test]
fn debug_shows_neither_key_nor_text() {
    let mut text = *b"plaintext of the record";
    let job = Job::new(Aead::Aes128Ccm8, &[0xab; 16], [0; 12], Aad::EMPTY, &mut text);
    assert_eq!(format!("{job:?}"), "Job { aead: Aes128Ccm8, text_bytes: 23, done: false, .. }");
}
