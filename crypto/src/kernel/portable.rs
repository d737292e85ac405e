//! One record at a time over the RustCrypto crates: for any CPU, and a second opinion in tests.

use aes::{Aes128, Aes256};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes128Gcm, Aes256Gcm, KeyInit, Nonce, Tag};
use ccm::Ccm;
use ccm::consts::{U8, U12, U16};

use crate::aead::{Aead, Job};

use super::batch::Groups;

/// The RustCrypto crates. `aes` and `ghash` look for AES-NI and PCLMULQDQ themselves.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Groups for Portable {
    const JOBS_MAX: usize = 1;

    fn group<const SEAL: bool>(self, aead: Aead, jobs: &mut [Option<&mut Job<'_>>]) -> u32 {
        let job = jobs.iter_mut().flatten().next().expect("a group has a job");
        let done = match aead {
            Aead::Aes128Ccm8 => act::<Ccm<Aes128, U8, U12>, SEAL>(job),
            Aead::Aes128Ccm => act::<Ccm<Aes128, U16, U12>, SEAL>(job),
            Aead::Aes256Ccm8 => act::<Ccm<Aes256, U8, U12>, SEAL>(job),
            Aead::Aes256Ccm => act::<Ccm<Aes256, U16, U12>, SEAL>(job),
            Aead::Aes128Gcm => act::<Aes128Gcm, SEAL>(job),
            Aead::Aes256Gcm => act::<Aes256Gcm, SEAL>(job),
        };
        done.into()
    }
}

fn act<A, const SEAL: bool>(job: &mut Job<'_>) -> bool
where
    A: AeadInOut<NonceSize = U12> + KeyInit,
{
    let cipher = A::new_from_slice(job.key).expect("key_bytes is the algorithm's key size");
    let nonce = Nonce::from(job.nonce());
    let (text, tag) = job.text.split_at_mut(job.text.len() - job.aead.tag_bytes());
    let (aad, text) = (job.aad.as_bytes(), InOutBuf::from(text));
    if SEAL {
        let sealed = cipher.encrypt_inout_detached(&nonce, aad, text);
        tag.copy_from_slice(&sealed.expect("Bound: a record is shorter than any AEAD's limit"));
        return true;
    }
    let tag = Tag::<A::TagSize>::try_from(&*tag).expect("tag_bytes is the algorithm's tag size");
    cipher.decrypt_inout_detached(&nonce, aad, text, &tag).is_ok()
}
