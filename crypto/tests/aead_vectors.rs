//! Do our AEADs agree with NIST, Wycheproof and OpenSSL? Known answers, both directions.

#![allow(clippy::unwrap_used)]

use tidegate_crypto::aead::{self, Aad, Aead, Job, Kernel};

const NIST: &str = include_str!("vectors/nist.txt");
const WYCHEPROOF: &str = include_str!("vectors/wycheproof.txt");
const OPENSSL: &str = include_str!("vectors/openssl.txt");

#[test]
fn nist_sp_800_38c_and_cavp() {
    assert_eq!(check(NIST), Verdicts { valid: 101, invalid: 40 });
}

#[test]
fn wycheproof() {
    assert_eq!(check(WYCHEPROOF), Verdicts { valid: 145, invalid: 108 });
}

/// Record-shaped texts around the block boundaries, with and without a Connection ID.
#[test]
fn records_sealed_by_openssl() {
    assert_eq!(check(OPENSSL), Verdicts { valid: 132, invalid: 0 });
}

/// A client Finished of a foreign stack (RFC 9146 section 5.3: a CID of 6 bytes).
#[test]
fn finished_with_connection_id_of_a_foreign_client() {
    let key = hex("9a25c2246b85d61f75342338bc12f748");
    let aad = hex("ffffffffffffffff190619fefd0001000000000000fb50e61de26e0019");
    let fragment =
        hex("000000000000000030e66fa58a3607ce14dd5ed8271f5eac5f69ee598676e109f833636631bb7c9b20");
    let mut nonce = [0; aead::NONCE_BYTES];
    nonce[..4].copy_from_slice(&hex("ff17e494"));
    nonce[4..].copy_from_slice(&fragment[..aead::EXPLICIT_NONCE_BYTES]);
    let mut text = fragment[aead::EXPLICIT_NONCE_BYTES..].to_vec();

    let mut jobs = [Job::new(Aead::Aes128Ccm8, &key, nonce, Aad::new(&aad), &mut text)];
    aead::open(&mut jobs);

    assert!(jobs[0].done);
    let inner = hex("1400000c000300000000000c384d34a8c22da7a6767a830916");
    assert_eq!(text[..inner.len()], inner);
}

/// A whole file in one batch: jobs do not disturb each other, whatever their neighbours are.
#[test]
fn one_batch_of_everything() {
    let vectors: Vec<Vector> = [NIST, WYCHEPROOF, OPENSSL].into_iter().flat_map(parse).collect();
    for kernel in Kernel::available() {
        let mut texts: Vec<Vec<u8>> = vectors.iter().map(|vector| vector.sealed.clone()).collect();
        let mut jobs: Vec<Job<'_>> =
            vectors.iter().zip(&mut texts).map(|(vector, text)| vector.job(text)).collect();
        aead::open_on(kernel, &mut jobs);
        for (vector, job) in vectors.iter().zip(&jobs) {
            assert_eq!(job.done, vector.valid, "{kernel:?} {vector:?}");
            if vector.valid {
                assert_eq!(job.text[..vector.plaintext.len()], vector.plaintext, "{vector:?}");
            }
        }
    }
}

/// Each vector alone, on every kernel of this CPU.
fn check(file: &str) -> Verdicts {
    let verdicts: Vec<_> = Kernel::available().map(|kernel| check_on(kernel, file)).collect();
    assert!(verdicts.iter().all(|each| *each == verdicts[0]));
    verdicts[0]
}

fn check_on(kernel: Kernel, file: &str) -> Verdicts {
    let mut verdicts = Verdicts { valid: 0, invalid: 0 };
    for vector in parse(file) {
        let mut text = vector.sealed.clone();
        let mut jobs = [vector.job(&mut text)];
        aead::open_on(kernel, &mut jobs);
        assert_eq!(jobs[0].done, vector.valid, "{kernel:?} opens {vector:?}");
        let body_bytes = text.len() - vector.aead.tag_bytes();
        if vector.valid {
            verdicts.valid += 1;
            assert_eq!(text[..body_bytes], vector.plaintext, "{kernel:?} opens {vector:?}");
            let mut text = vector.plaintext.clone();
            text.resize(vector.sealed.len(), 0xa5);
            let mut jobs = [vector.job(&mut text)];
            aead::seal_on(kernel, &mut jobs);
            assert!(jobs[0].done);
            assert_eq!(text, vector.sealed, "{kernel:?} seals {vector:?}");
        } else {
            verdicts.invalid += 1;
            assert!(text[..body_bytes].iter().all(|&byte| byte == 0), "left {vector:?}");
        }
    }
    verdicts
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdicts {
    valid: usize,
    invalid: usize,
}

#[derive(Debug)]
struct Vector {
    aead: Aead,
    key: Vec<u8>,
    nonce: [u8; aead::NONCE_BYTES],
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    sealed: Vec<u8>,
    valid: bool,
}

impl Vector {
    fn job<'a>(&'a self, text: &'a mut [u8]) -> Job<'a> {
        Job::new(self.aead, &self.key, self.nonce, Aad::new(&self.aad), text)
    }
}

/// The files say their columns in their first lines.
fn parse(file: &str) -> Vec<Vector> {
    file.lines().filter(|line| !line.starts_with('#')).map(parse_line).collect()
}

fn parse_line(line: &str) -> Vector {
    let fields: Vec<&str> = line.split(' ').collect();
    let [aead, key, nonce, aad, plaintext, sealed, verdict] = fields[..] else {
        panic!("seven fields: {line}");
    };
    let aead = Aead::ALL.into_iter().find(|known| format!("{known:?}") == aead).unwrap();
    Vector {
        aead,
        key: hex(key),
        nonce: hex(nonce).try_into().unwrap(),
        aad: hex(aad),
        plaintext: hex(plaintext),
        sealed: hex(sealed),
        valid: verdict == "valid",
    }
}

fn hex(text: &str) -> Vec<u8> {
    if text == "-" { Vec::new() } else { hex::decode(text).unwrap() }
}
