//! What does opening a record cost in a batch, against the `ccm` crate one at a time?
//!
//! 64 records with keys of their own, all of it in the first-level cache. The crate has its key
//! schedules made beforehand; ours expands raw keys in each call, as it does in the dataplane.

use std::hint::black_box;
use std::time::Instant;

use aes::Aes128;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, KeyInit, Nonce, Tag};
use ccm::Ccm;
use ccm::consts::{U8, U12};
use tidegate_crypto::aead::{self, Aad, Aead, Job, Kernel, NONCE_BYTES};

use super::figure::{Figure, Goal};

type Ccm8 = Ccm<Aes128, U8, U12>;

/// A record, and all it is opened with.
struct Sealed {
    key: [u8; 16],
    cipher: Ccm8,
    nonce: [u8; NONCE_BYTES],
    text: [u8; TEXT_BYTES + TAG_BYTES],
}

/// Opening 64-byte records, AES-128-CCM_8, on every kernel that this CPU has: how many times
/// faster than the crate.
pub fn open() -> Vec<Figure> {
    let sealed: Vec<Sealed> = (0..RECORDS).map(seal).collect();
    let kernels = Kernel::available().filter(|kernel| *kernel != Kernel::Portable);
    let figure = |kernel| {
        let pair = |_| (batch_ns(kernel, &sealed), one_at_a_time_ns(&sealed));
        let pairs: Vec<_> = (0..PAIRS).map(pair).collect();
        let goal = match kernel {
            Kernel::Vaes512 => 1.0 / 12.0,
            Kernel::Vaes256 => 1.0 / 8.0,
            Kernel::AesNi | Kernel::Portable => 1.0 / 5.0,
        };
        let name = format!(
            "open CCM_8, {TEXT_BYTES} B, different keys, batch {RECORDS}, {kernel:?}, against the \
             ccm crate one at a time"
        );
        Figure::from_pairs(name, "ns", &pairs, Some(Goal::AtMost(goal)))
    };
    kernels.map(figure).collect()
}

fn seal(number: usize) -> Sealed {
    let mut key = [0x42; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    let mut nonce = [7; NONCE_BYTES];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    let mut text = [0x5a; TEXT_BYTES + TAG_BYTES];
    let aad = Aad::new(&[number as u8; AAD_BYTES]);
    aead::seal(&mut [Job::new(Aead::Aes128Ccm8, &key, nonce, aad, &mut text)]);
    Sealed { key, cipher: Ccm8::new(&key.into()), nonce, text }
}

/// One record of a batch, ns; only the call is measured.
fn batch_ns(kernel: Kernel, sealed: &[Sealed]) -> f64 {
    let mut texts = [[0; TEXT_BYTES + TAG_BYTES]; RECORDS];
    timed(|| {
        let mut number = 0;
        let mut jobs = texts.each_mut().map(|text| {
            let one = &sealed[number];
            *text = one.text;
            let aad = Aad::new(&[number as u8; AAD_BYTES]);
            number += 1;
            Job::new(Aead::Aes128Ccm8, &one.key, one.nonce, aad, text)
        });
        let begun = Instant::now();
        aead::open_on(kernel, black_box(&mut jobs));
        let elapsed = begun.elapsed();
        assert!(jobs.iter().all(|job| job.done), "every record opens");
        elapsed
    })
}

/// One record by itself, ns.
fn one_at_a_time_ns(sealed: &[Sealed]) -> f64 {
    let aads: [_; RECORDS] = std::array::from_fn(|number| [number as u8; AAD_BYTES]);
    timed(|| {
        let mut texts: [_; RECORDS] = std::array::from_fn(|number| sealed[number].text);
        let mut opened = 0;
        let begun = Instant::now();
        for ((one, text), aad) in sealed.iter().zip(black_box(&mut texts)).zip(&aads) {
            let (text, tag) = text.split_at_mut(TEXT_BYTES);
            let tag = Tag::<U8>::try_from(&*tag).expect("the length of a tag");
            let nonce = Nonce::from(one.nonce);
            let text = InOutBuf::from(text);
            opened +=
                usize::from(one.cipher.decrypt_inout_detached(&nonce, aad, text, &tag).is_ok());
        }
        let elapsed = begun.elapsed();
        assert_eq!(opened, RECORDS, "every record opens");
        elapsed
    })
}

/// The median over many batches: an interrupted one does not count.
fn timed(mut batch: impl FnMut() -> std::time::Duration) -> f64 {
    let batches = (0..BATCHES).map(|_| batch().as_nanos() as f64 / RECORDS as f64);
    super::figure::median(batches)
}

const TEXT_BYTES: usize = 64;
const TAG_BYTES: usize = 8;
/// Of a record with a Connection ID of six bytes.
const AAD_BYTES: usize = 29;
const RECORDS: usize = 64;
const PAIRS: usize = 15;
const BATCHES: usize = 2_000;
