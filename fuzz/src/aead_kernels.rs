//! Does any batch make a kernel disagree with the RustCrypto crates, or write where it must not?
//! Input: 38 bytes for each job of a batch, of which the first 6 say its shape.

use tidegate_crypto::aead::{
    AAD_BYTES_MAX, Aad, Aead, Job, KEY_BYTES_MAX, Kernel, NONCE_BYTES, open_on, seal_on,
};

/// Bytes of input for a job.
const JOB_BYTES: usize = 6 + KEY_BYTES_MAX;
/// Long enough for what lanes do, and what they leave to the crates.
const TEXT_BYTES_MAX: usize = 2500;

struct Record {
    aead: Aead,
    key: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    aad: Aad,
    text: Vec<u8>,
}

impl Record {
    fn new(bytes: &[u8; JOB_BYTES]) -> Self {
        let (shape, key) = bytes.split_at(6);
        let aead = Aead::ALL[usize::from(shape[0]) % Aead::ALL.len()];
        let aad = &[shape[1]; AAD_BYTES_MAX][..usize::from(shape[2]) % (AAD_BYTES_MAX + 1)];
        let text_bytes = usize::from(u16::from_be_bytes([shape[3], shape[4]])) % TEXT_BYTES_MAX;
        let text = (0..text_bytes).map(|at| key[at % key.len()] ^ at as u8).collect();
        let key = key[..aead.key_bytes()].to_vec();
        Self { aead, key, nonce: [shape[5]; NONCE_BYTES], aad: Aad::new(aad), text }
    }

    fn job<'a>(&'a self, text: &'a mut [u8]) -> Job<'a> {
        Job::new(self.aead, &self.key, self.nonce, self.aad, text)
    }
}

/// The texts after `act`, and what was done.
fn after(
    act: fn(Kernel, &mut [Job<'_>]),
    kernel: Kernel,
    records: &[Record],
    mut texts: Vec<Vec<u8>>,
) -> (Vec<Vec<u8>>, Vec<bool>) {
    let mut jobs: Vec<_> = records.iter().zip(&mut texts).map(|(r, t)| r.job(t)).collect();
    act(kernel, &mut jobs);
    let done = jobs.iter().map(|job| job.done).collect();
    (texts, done)
}

pub(crate) fn run(data: &[u8]) {
    let records: Vec<_> = data.as_chunks().0.iter().map(Record::new).collect();
    // As they are: nobody sealed them, and some are shorter than their tag.
    let raw: Vec<_> = records.iter().map(|record| record.text.clone()).collect();
    let plain: Vec<_> = records
        .iter()
        .map(|record| [&record.text[..], &vec![0; record.aead.tag_bytes()]].concat())
        .collect();
    let opened = after(open_on, Kernel::Portable, &records, raw.clone());
    let sealed = after(seal_on, Kernel::Portable, &records, plain.clone());
    for kernel in Kernel::available() {
        assert_eq!(after(open_on, kernel, &records, raw.clone()), opened, "{kernel:?}");
        assert_eq!(after(seal_on, kernel, &records, plain.clone()), sealed, "{kernel:?}");
        let (texts, done) = after(open_on, kernel, &records, sealed.0.clone());
        assert!(done.iter().all(|done| *done), "{kernel:?}");
        for (record, text) in records.iter().zip(&texts) {
            assert_eq!(text[..record.text.len()], record.text, "{kernel:?}");
        }
    }
}
