//! Which instructions do the work of [`aead`](crate::aead)? Found out once, when it is first asked.
//!
//! [`isa`] says what an algorithm needs of a CPU; `aesni`, `vaes256` and `vaes512` are CPUs;
//! [`aes`], [`ccm`] and `gcm` run on any of them; [`batch`] puts jobs side by side. Elsewhere, and
//! as the tests' second opinion, [`portable`] does one record at a time.

// A function that is not inlined into `Isa::enter` would be compiled for any CPU: calls, not
// instructions.
#![allow(clippy::inline_always)]

mod batch;
mod portable;

#[cfg(target_arch = "x86_64")]
mod aes;
#[cfg(target_arch = "x86_64")]
mod aesni;
#[cfg(target_arch = "x86_64")]
mod ccm;
#[cfg(target_arch = "x86_64")]
mod gcm;
#[cfg(target_arch = "x86_64")]
mod ghash;
#[cfg(target_arch = "x86_64")]
mod isa;
#[cfg(target_arch = "x86_64")]
mod lane;
#[cfg(target_arch = "x86_64")]
mod mode;
#[cfg(target_arch = "x86_64")]
mod vaes256;
#[cfg(target_arch = "x86_64")]
mod vaes512;
#[cfg(target_arch = "x86_64")]
mod width;

use std::sync::OnceLock;

use crate::aead::Job;

use portable::Portable;
#[cfg(target_arch = "x86_64")]
use {aesni::AesNi, vaes256::Vaes256, vaes512::Vaes512};

/// A way to seal and to open, by the instructions it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Eight records side by side, four blocks in a register.
    Vaes512,
    /// Eight records side by side, two blocks in a register.
    Vaes256,
    /// Four records side by side, one block in a register.
    AesNi,
    /// One record at a time.
    Portable,
}

/// A kernel that this CPU has.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    #[cfg(target_arch = "x86_64")]
    Vaes512(Vaes512),
    #[cfg(target_arch = "x86_64")]
    Vaes256(Vaes256),
    #[cfg(target_arch = "x86_64")]
    AesNi(AesNi),
    Portable(Portable),
}

impl Kernel {
    /// Every kernel, the best one first.
    pub const ALL: [Self; 4] = [Self::Vaes512, Self::Vaes256, Self::AesNi, Self::Portable];

    /// Those that this CPU has, the best one first; the last is [`Portable`](Self::Portable).
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.look().is_some())
    }

    pub(crate) fn found(self) -> Found {
        self.look().unwrap_or_else(|| panic!("this CPU has no {self:?}"))
    }

    #[cfg(target_arch = "x86_64")]
    fn look(self) -> Option<Found> {
        match self {
            Self::Vaes512 => Vaes512::detect().map(Found::Vaes512),
            Self::Vaes256 => Vaes256::detect().map(Found::Vaes256),
            Self::AesNi => AesNi::detect().map(Found::AesNi),
            Self::Portable => Some(Found::Portable(Portable)),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn look(self) -> Option<Found> {
        (self == Self::Portable).then_some(Found::Portable(Portable))
    }
}

/// The best kernel of this CPU.
pub(crate) fn best() -> Found {
    static BEST: OnceLock<Found> = OnceLock::new();
    *BEST.get_or_init(|| Kernel::available().next().unwrap_or(Kernel::Portable).found())
}

/// Seals every job.
pub(crate) fn seal(kernel: Found, jobs: &mut [Job<'_>]) {
    run::<true>(kernel, jobs);
}

/// Opens every job.
pub(crate) fn open(kernel: Found, jobs: &mut [Job<'_>]) {
    run::<false>(kernel, jobs);
}

fn run<const SEAL: bool>(kernel: Found, jobs: &mut [Job<'_>]) {
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Found::Vaes512(isa) => batch::run::<_, SEAL>(isa, jobs),
        #[cfg(target_arch = "x86_64")]
        Found::Vaes256(isa) => batch::run::<_, SEAL>(isa, jobs),
        #[cfg(target_arch = "x86_64")]
        Found::AesNi(isa) => batch::run::<_, SEAL>(isa, jobs),
        Found::Portable(portable) => batch::run::<_, SEAL>(portable, jobs),
    }
}
