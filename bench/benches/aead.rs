//! What does it cost to seal and to open records, one, a few or many at once, on every kernel of
//! this CPU, and what does it cost the RustCrypto crates with their keys made ready?
//!
//! Every record has its own key. `cargo bench -p tidegate-bench --bench aead -- open/Aes128Ccm8/64`
//! runs one family; times are of a batch, throughput is in records.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes::{Aes128, Aes256};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes128Gcm, Aes256Gcm, KeyInit, Nonce, Tag};
use ccm::Ccm;
use ccm::consts::{U8, U12};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use tidegate_crypto::aead::{Aad, Aead, Job, KEY_BYTES_MAX, Kernel, NONCE_BYTES, open_on, seal_on};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Text without its tag.
const TEXT_BYTES: [usize; 4] = [16, 64, 256, 1024];
const BATCHES: [usize; 4] = [1, 8, 16, 64];
const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
/// As long as that of a record with a Connection ID of six bytes.
const AAD: [u8; 29] = [0xff; 29];
/// Sessions whose keys lie in memory that no cache holds.
const SESSIONS: usize = 1 << 20;

/// Records with keys of their own, sealed.
struct Records {
    aead: Aead,
    keys: Vec<[u8; KEY_BYTES_MAX]>,
    sealed: Vec<Vec<u8>>,
}

impl Records {
    fn new(aead: Aead, text_bytes: usize, count: usize) -> Self {
        let keys = (0..count).map(|number| [number as u8; KEY_BYTES_MAX]).collect();
        let text = vec![0x5a; text_bytes + aead.tag_bytes()];
        let mut records = Self { aead, keys, sealed: vec![text; count] };
        let mut sealed = records.sealed.clone();
        seal_on(Kernel::Portable, &mut records.jobs(&mut sealed));
        records.sealed = sealed;
        records
    }

    fn jobs<'a>(&'a self, texts: &'a mut [Vec<u8>]) -> Vec<Job<'a>> {
        let each = self.keys.iter().zip(texts);
        each.map(|(key, text)| {
            let key = &key[..self.aead.key_bytes()];
            Job::new(self.aead, key, NONCE, Aad::new(&AAD), text)
        })
        .collect()
    }
}

fn sealing_and_opening(criterion: &mut Criterion) {
    for aead in [Aead::Aes128Ccm8, Aead::Aes256Ccm8, Aead::Aes128Gcm, Aead::Aes256Gcm] {
        for text_bytes in TEXT_BYTES {
            let mut group = group(criterion, format!("open/{aead:?}/{text_bytes}"));
            for batch in BATCHES {
                let records = Records::new(aead, text_bytes, batch);
                group.throughput(Throughput::Elements(batch as u64));
                for kernel in Kernel::available() {
                    measure(&mut group, kernel, &records, open_on);
                }
            }
            match aead {
                Aead::Aes256Ccm8 => {
                    crate_opens::<Ccm<Aes256, U8, U12>>(&mut group, aead, text_bytes);
                }
                Aead::Aes128Gcm => crate_opens::<Aes128Gcm>(&mut group, aead, text_bytes),
                Aead::Aes256Gcm => crate_opens::<Aes256Gcm>(&mut group, aead, text_bytes),
                _ => crate_opens::<Ccm<Aes128, U8, U12>>(&mut group, aead, text_bytes),
            }
        }
    }
    for aead in [Aead::Aes128Ccm8, Aead::Aes128Gcm] {
        let mut group = group(criterion, format!("seal/{aead:?}/64"));
        for batch in BATCHES {
            let records = Records::new(aead, 64, batch);
            group.throughput(Throughput::Elements(batch as u64));
            for kernel in Kernel::available() {
                measure(&mut group, kernel, &records, seal_on);
            }
        }
    }
}

fn group(criterion: &mut Criterion, name: String) -> BenchmarkGroup<'_, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(50));
    group.measurement_time(Duration::from_millis(200));
    group
}

/// A batch, its jobs made before the clock starts.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    kernel: Kernel,
    records: &Records,
    act: fn(Kernel, &mut [Job<'_>]),
) {
    let id = BenchmarkId::new(format!("{kernel:?}"), records.keys.len());
    group.bench_function(id, |bencher| {
        let one = || {
            let mut texts = records.sealed.clone();
            let mut jobs = records.jobs(&mut texts);
            let start = Instant::now();
            act(kernel, black_box(&mut jobs));
            let elapsed = start.elapsed();
            assert!(jobs.iter().all(|job| job.done));
            elapsed
        };
        bencher.iter_custom(|rounds| (0..rounds).map(|_| one()).sum());
    });
}

/// As many records as the largest batch, one at a time, their key schedules made beforehand.
fn crate_opens<A>(group: &mut BenchmarkGroup<'_, WallTime>, aead: Aead, text_bytes: usize)
where
    A: AeadInOut<NonceSize = U12> + KeyInit,
{
    let records = Records::new(aead, text_bytes, BATCHES[BATCHES.len() - 1]);
    let ready = |key: &[u8]| A::new_from_slice(key).expect("a key of its length");
    let ciphers: Vec<A> = records.keys.iter().map(|key| ready(&key[..aead.key_bytes()])).collect();
    group.throughput(Throughput::Elements(ciphers.len() as u64));
    group.bench_function(BenchmarkId::new("crate, keys ready", ciphers.len()), |bencher| {
        let all = || {
            let mut texts = records.sealed.clone();
            let start = Instant::now();
            for (cipher, text) in ciphers.iter().zip(black_box(&mut texts)) {
                let (text, tag) = text.split_at_mut(text_bytes);
                let tag = Tag::<A::TagSize>::try_from(&*tag).expect("a tag");
                let (nonce, aad) = (Nonce::from(NONCE), AAD);
                let text = InOutBuf::from(text);
                assert!(cipher.decrypt_inout_detached(&nonce, &aad, text, &tag).is_ok());
            }
            start.elapsed()
        };
        bencher.iter_custom(|rounds| (0..rounds).map(|_| all()).sum());
    });
}

/// Sealing for sessions that lie anywhere among a million, a cache line each.
fn cold(criterion: &mut Criterion) {
    #[repr(align(64))]
    struct Session([u8; 16]);
    let sessions: Vec<Session> =
        (0..SESSIONS as u128).map(|number| Session(number.to_le_bytes())).collect();
    let mut group = group(criterion, "cold/seal/Aes128Ccm8/64".to_owned());
    for kernel in Kernel::available() {
        for batch in [1, 64] {
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new(format!("{kernel:?}"), batch), |bencher| {
                let mut at = 0usize;
                let mut texts = vec![[0x5a; 64 + 8]; batch];
                bencher.iter(|| {
                    let jobs = texts.iter_mut().map(|text| {
                        // An odd step visits all, and no prefetcher follows it.
                        at = (at + 0x9_e371) % SESSIONS;
                        Job::new(Aead::Aes128Ccm8, &sessions[at].0, NONCE, Aad::new(&AAD), text)
                    });
                    seal_on(kernel, &mut jobs.collect::<Vec<_>>());
                });
            });
        }
    }
}

criterion_group!(benches, sealing_and_opening, cold);
criterion_main!(benches);
