//! How wide is a group of so many records? The narrowest that holds them: an idle lane of a wide
//! group costs nothing, but a second register does.

use std::array;

use crate::aead::{Aead, Job};

use super::aes::{KEYS_128, KEYS_256};
use super::aesni::AesNi;
use super::batch::Groups;
use super::ccm::Ccm;
use super::gcm::Gcm;
use super::isa::{Isa, Twice};
use super::lane::{Lane, Lanes};
use super::portable::Portable;
use super::vaes256::Vaes256;
use super::vaes512::Vaes512;

impl Groups for Vaes512 {
    const JOBS_MAX: usize = 8;

    fn group<const SEAL: bool>(self, aead: Aead, jobs: &mut [Option<&mut Job<'_>>]) -> u32 {
        match jobs.len() {
            1 => on::<_, SEAL>(self.narrow, aead, jobs),
            2 => on::<_, SEAL>(Twice(self.narrow), aead, jobs),
            3 | 4 => on::<_, SEAL>(self, aead, jobs),
            _ => on::<_, SEAL>(Twice(self), aead, jobs),
        }
    }
}

impl Groups for Vaes256 {
    const JOBS_MAX: usize = 8;

    fn group<const SEAL: bool>(self, aead: Aead, jobs: &mut [Option<&mut Job<'_>>]) -> u32 {
        match jobs.len() {
            1 => on::<_, SEAL>(self.narrow, aead, jobs),
            2 => on::<_, SEAL>(self, aead, jobs),
            3 | 4 => on::<_, SEAL>(Twice(self), aead, jobs),
            _ => on::<_, SEAL>(Twice(Twice(self)), aead, jobs),
        }
    }
}

impl Groups for AesNi {
    const JOBS_MAX: usize = 4;

    fn group<const SEAL: bool>(self, aead: Aead, jobs: &mut [Option<&mut Job<'_>>]) -> u32 {
        match jobs.len() {
            1 => on::<_, SEAL>(self, aead, jobs),
            2 => on::<_, SEAL>(Twice(self), aead, jobs),
            _ => on::<_, SEAL>(Twice(Twice(self)), aead, jobs),
        }
    }
}

/// GCM texts longer than this gain nothing from a lane of their own: the crate takes many blocks of
/// one text at once (at 4 KiB it needs 0.8 of our time, at 2 KiB 1.6).
const LONG_BYTES: usize = 2048;
/// How many of them it takes until lanes win again.
const FEW: usize = 2;

fn on<I: Isa, const SEAL: bool>(isa: I, aead: Aead, jobs: &mut [Option<&mut Job<'_>>]) -> u32 {
    let records = jobs.len();
    let is_gcm = matches!(aead, Aead::Aes128Gcm | Aead::Aes256Gcm);
    if is_gcm && records <= FEW && jobs.iter().flatten().any(|job| job.text.len() > LONG_BYTES) {
        let one = |n: usize| Portable.group::<SEAL>(aead, &mut jobs[n..=n]) << n;
        return (0..records).map(one).sum();
    }
    let lanes: &mut Lanes<'_> = &mut array::from_fn(|_| Lane::idle());
    for (lane, job) in lanes.iter_mut().zip(jobs.iter_mut().flatten()) {
        *lane = Lane::of(job, aead.tag_bytes());
    }
    match aead {
        Aead::Aes128Ccm8 | Aead::Aes128Ccm => {
            isa.enter(Ccm::<_, KEYS_128, SEAL> { isa, lanes, records })
        }
        Aead::Aes256Ccm8 | Aead::Aes256Ccm => {
            isa.enter(Ccm::<_, KEYS_256, SEAL> { isa, lanes, records })
        }
        Aead::Aes128Gcm => isa.enter(Gcm::<_, KEYS_128, SEAL> { isa, lanes, records }),
        Aead::Aes256Gcm => isa.enter(Gcm::<_, KEYS_256, SEAL> { isa, lanes, records }),
    }
}
