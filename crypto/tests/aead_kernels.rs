//! Do all kernels of this CPU say what the RustCrypto crates say? Bit for bit, in both directions.

#![allow(clippy::unwrap_used)]

use tidegate_crypto::aead::{
    self, AAD_BYTES_MAX, Aad, Aead, Job, KEY_BYTES_MAX, Kernel, NONCE_BYTES, TAG_BYTES_MAX,
};

/// A record before and after sealing, by the crates.
#[derive(Clone)]
struct Record {
    aead: Aead,
    key: [u8; KEY_BYTES_MAX],
    nonce: [u8; NONCE_BYTES],
    aad: Aad,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

impl Record {
    fn new(noise: &mut Noise, aead: Aead, text_bytes: usize, aad_bytes: usize) -> Self {
        let mut plain = noise.bytes(text_bytes);
        plain.resize(text_bytes + aead.tag_bytes(), 0);
        let mut record = Self {
            aead,
            key: noise.array(),
            nonce: noise.array(),
            aad: Aad::new(&noise.bytes(aad_bytes)),
            sealed: plain.clone(),
            plain,
        };
        let mut sealed = record.plain.clone();
        aead::seal_on(Kernel::Portable, &mut [record.job(&mut sealed)]);
        record.sealed = sealed;
        record
    }

    fn job<'a>(&'a self, text: &'a mut [u8]) -> Job<'a> {
        Job::new(self.aead, &self.key[..self.aead.key_bytes()], self.nonce, self.aad, text)
    }
}

/// Seals and opens `records` as one batch with each kernel. `bad(n)`: flip a bit of record `n`
/// before opening.
fn agree(records: &[Record], bad: impl Fn(usize) -> bool) {
    for kernel in Kernel::available() {
        let mut texts: Vec<_> = records.iter().map(|record| record.plain.clone()).collect();
        let mut jobs: Vec<_> = records.iter().zip(&mut texts).map(|(r, t)| r.job(t)).collect();
        aead::seal_on(kernel, &mut jobs);
        assert!(jobs.iter().all(|job| job.done), "{kernel:?}");
        for (n, (record, text)) in records.iter().zip(&texts).enumerate() {
            assert_eq!(record.sealed, *text, "{kernel:?} seals {n} of {}", records.len());
        }
        for (n, text) in texts.iter_mut().enumerate().filter(|(n, _)| bad(*n)) {
            let place = n * 7919 % (text.len() * 8);
            text[place / 8] ^= 1 << (place % 8);
        }
        let mut jobs: Vec<_> = records.iter().zip(&mut texts).map(|(r, t)| r.job(t)).collect();
        aead::open_on(kernel, &mut jobs);
        for (n, (record, job)) in records.iter().zip(&jobs).enumerate() {
            assert_eq!(job.done, !bad(n), "{kernel:?} opens {n} of {}", records.len());
            let body = record.plain.len() - record.aead.tag_bytes();
            let wiped = vec![0; body];
            let expected = if bad(n) { &wiped } else { &record.plain[..body] };
            assert_eq!(job.text[..body], *expected, "{kernel:?} opens {n} of {}", records.len());
        }
    }
}

/// Every length to 600 and around every sixteenth block: each in a batch of nine of its length
/// (a full group and one alone), and in batches of nine neighbouring lengths.
#[test]
fn every_length() {
    let mut noise = Noise(1);
    for aead in Aead::ALL {
        let long = (600..=3_000).filter(|bytes| (bytes + 2) % 256 <= 4);
        for bytes in (0..=600).chain(long) {
            let same: Vec<_> = (0..9).map(|_| Record::new(&mut noise, aead, bytes, 29)).collect();
            agree(&same, |n| n == bytes % 11);
            let near: Vec<_> =
                (0..9).map(|n| Record::new(&mut noise, aead, bytes + n, 13)).collect();
            agree(&near, |n| n == bytes % 10);
        }
    }
}

/// Every length of associated data, alone and beside all others.
#[test]
fn every_length_of_associated_data() {
    let mut noise = Noise(2);
    for aead in Aead::ALL {
        let records: Vec<_> =
            (0..=AAD_BYTES_MAX).map(|aad| Record::new(&mut noise, aead, 40, aad)).collect();
        agree(&records, |n| n % 5 == 0);
        for record in &records {
            agree(std::slice::from_ref(record), |_| false);
            agree(&[record.clone(), record.clone(), record.clone()], |n| n == 1);
        }
    }
}

/// Every batch size around what is ordered at once; one bad record in each lane.
#[test]
fn every_batch_size_and_a_bad_tag_in_any_lane() {
    let mut noise = Noise(3);
    for aead in Aead::ALL {
        for size in 1..=70 {
            let records: Vec<_> =
                (0..size).map(|_| Record::new(&mut noise, aead, 33, 29)).collect();
            agree(&records, |_| false);
            agree(&records, |_| true);
            agree(&records, |n| n == size * 3 % 8);
        }
        let eight: Vec<_> = (0..8).map(|_| Record::new(&mut noise, aead, 65, 29)).collect();
        for bad in 0..256 {
            agree(&eight, |n| bad >> n & 1 == 1);
        }
    }
}

/// Whatever comes together in a batch: all algorithms, lengths from nothing to long records.
#[test]
fn mixed_batches() {
    let mut noise = Noise(4);
    for round in 0..400 {
        let size = 1 + noise.below(70);
        let records: Vec<_> = (0..size)
            .map(|_| {
                let aead = Aead::ALL[noise.below(Aead::ALL.len())];
                let longest = [20, 100, 100, 600, 2_000][noise.below(5)];
                let (text, aad) = (noise.below(longest), noise.below(AAD_BYTES_MAX + 1));
                Record::new(&mut noise, aead, text, aad)
            })
            .collect();
        agree(&records, |n| n % 9 == round % 13);
    }
}

/// Short tags do not become long ones: eight bytes of a CCM_8 tag decide, and each of them.
#[test]
fn each_bit_of_a_tag_counts() {
    let mut noise = Noise(5);
    for aead in Aead::ALL {
        let record = Record::new(&mut noise, aead, 24, 29);
        for kernel in Kernel::available() {
            for bit in 0..aead.tag_bytes() * 8 {
                let mut texts = vec![record.sealed.clone(); 5];
                texts[bit % 5][24 + bit / 8] ^= 1 << (bit % 8);
                let mut jobs: Vec<_> = texts.iter_mut().map(|text| record.job(text)).collect();
                aead::open_on(kernel, &mut jobs);
                let done: Vec<_> = jobs.iter().map(|job| job.done).collect();
                let expected: Vec<_> = (0..5).map(|n| n != bit % 5).collect();
                assert_eq!(done, expected, "{kernel:?} {aead:?} bit {bit}");
            }
        }
    }
}

/// What can't be a record is refused, and its neighbours open.
#[test]
fn too_short_and_too_long_among_others() {
    let mut noise = Noise(6);
    let record = Record::new(&mut noise, Aead::Aes128Ccm8, 30, 29);
    for kernel in Kernel::available() {
        let mut texts = vec![record.sealed.clone(); 10];
        texts[1].truncate(TAG_BYTES_MAX / 2 - 1);
        texts[4].clear();
        texts[6].resize(aead::TEXT_BYTES_MAX + 1, 0);
        let mut jobs: Vec<_> = texts.iter_mut().map(|text| record.job(text)).collect();
        for job in &mut jobs {
            job.done = true;
        }
        aead::open_on(kernel, &mut jobs);
        let done: Vec<_> = jobs.iter().map(|job| job.done).collect();
        assert_eq!(done, [true, false, true, true, false, true, false, true, true, true]);
    }
}

#[test]
fn every_machine_has_the_portable_kernel_and_nothing_is_offered_twice() {
    let available: Vec<_> = Kernel::available().collect();
    assert_eq!(available.last(), Some(&Kernel::Portable));
    let in_order: Vec<_> = Kernel::ALL.into_iter().filter(|k| available.contains(k)).collect();
    assert_eq!(available, in_order);
    aead::seal(&mut []);
    aead::open(&mut []);
}

/// SplitMix64: the same noise in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}
