//! How is a record protected? The AEADs of the cipher suites, many records in one call.
//!
//! A [`Job`] borrows its key and works in place on its text. The jobs of a batch are independent
//! of each other: each has its own algorithm, key and nonce. Handing over many at once is what
//! makes them cheap: [`Kernel`] says what this CPU does with them.

use crate::kernel;
pub use crate::kernel::Kernel;

/// An AEAD of RFC 5116 (GCM) or RFC 6655 (CCM with a tag of 16, CCM_8 with a tag of 8 bytes), all
/// with a nonce of [`NONCE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aead {
    /// `AEAD_AES_128_CCM_8`, the one every CoAP device speaks.
    Aes128Ccm8,
    /// `AEAD_AES_128_CCM`.
    Aes128Ccm,
    /// `AEAD_AES_256_CCM_8`.
    Aes256Ccm8,
    /// `AEAD_AES_256_CCM`.
    Aes256Ccm,
    /// `AEAD_AES_128_GCM`.
    Aes128Gcm,
    /// `AEAD_AES_256_GCM`.
    Aes256Gcm,
}

/// Nonce of every algorithm here, bytes: the fixed IV from the key block, then the explicit part.
pub const NONCE_BYTES: usize = FIXED_IV_BYTES + EXPLICIT_NONCE_BYTES;
/// Fixed part of the nonce, bytes: from the key block (RFC 5288 section 3, RFC 6655 section 3).
pub const FIXED_IV_BYTES: usize = 4;
/// Explicit part of the nonce, bytes: travels at the head of the record's fragment.
pub const EXPLICIT_NONCE_BYTES: usize = 8;
/// Longest key of any algorithm here, bytes.
pub const KEY_BYTES_MAX: usize = 32;
/// Longest tag of any algorithm here, bytes.
pub const TAG_BYTES_MAX: usize = 16;
/// Longest text of a job with its tag, bytes. *Why:* what a TLS 1.2 record may carry (RFC 5246
/// section 6.2.3); CCM with a 12-byte nonce could count to 2^24 - 1.
pub const TEXT_BYTES_MAX: usize = (1 << 14) + 2048;

impl Aead {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [
        Self::Aes128Ccm8,
        Self::Aes128Ccm,
        Self::Aes256Ccm8,
        Self::Aes256Ccm,
        Self::Aes128Gcm,
        Self::Aes256Gcm,
    ];

    /// Key length, bytes: 16 or 32.
    #[inline]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Ccm8 | Self::Aes128Ccm | Self::Aes128Gcm => 16,
            Self::Aes256Ccm8 | Self::Aes256Ccm | Self::Aes256Gcm => 32,
        }
    }

    /// Tag length, bytes: 8 or 16.
    #[inline]
    pub const fn tag_bytes(self) -> usize {
        match self {
            Self::Aes128Ccm8 | Self::Aes256Ccm8 => 8,
            Self::Aes128Ccm | Self::Aes256Ccm | Self::Aes128Gcm | Self::Aes256Gcm => 16,
        }
    }
}

/// Length of a block that has the nonce in it, bytes.
const NONCE_BLOCK_BYTES: usize = 16;

/// One record to protect or to open.
///
/// Its `Debug` shows neither key nor text.
pub struct Job<'a> {
    /// The algorithm.
    pub aead: Aead,
    /// Exactly [`Aead::key_bytes`] long; another length is the caller's bug and panics.
    pub key: &'a [u8],
    /// One byte, then the nonce (fixed IV, explicit part), then zeros: as it stands in the blocks
    /// of CCM. When sealing: never twice under one key.
    pub(crate) nonce_block: [u8; NONCE_BLOCK_BYTES],
    /// What is authenticated beside the text.
    pub aad: Aad,
    /// Seal: plaintext, then room for the tag. Open: ciphertext, then the tag. At most
    /// [`TEXT_BYTES_MAX`]. After a failed open the ciphertext is overwritten with zeros.
    pub text: &'a mut [u8],
    /// Written by [`seal`] and [`open`]: sealed, or the tag is right and `text` starts with the
    /// plaintext.
    pub done: bool,
}

impl<'a> Job<'a> {
    /// A job that is not done yet.
    #[inline]
    pub fn new(
        aead: Aead,
        key: &'a [u8],
        nonce: [u8; NONCE_BYTES],
        aad: Aad,
        text: &'a mut [u8],
    ) -> Self {
        let mut nonce_block = [0; NONCE_BLOCK_BYTES];
        nonce_block[1..][..NONCE_BYTES].copy_from_slice(&nonce);
        Self { aead, key, nonce_block, aad, text, done: false }
    }

    pub(crate) fn nonce(&self) -> [u8; NONCE_BYTES] {
        std::array::from_fn(|at| self.nonce_block[1 + at])
    }

    /// Overwrites the text with zeros, but not the tag.
    pub(crate) fn wipe_text(&mut self) {
        let text_bytes = self.text.len().saturating_sub(self.aead.tag_bytes());
        self.text[..text_bytes].fill(0);
    }
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("aead", &self.aead)
            .field("text_bytes", &self.text.len())
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

/// Seals every job in place: the plaintext becomes ciphertext, the tag fills the room behind it.
///
/// # Panics
/// If a key has the wrong length, or a text is shorter than the tag or longer than
/// [`TEXT_BYTES_MAX`]: the caller wrote both.
pub fn seal(jobs: &mut [Job<'_>]) {
    kernel::seal(kernel::best(), jobs);
}

/// Opens every job in place and says in `done` which tags were right. A text too short or too
/// long to be a record fails like a wrong tag: a stranger chose its length.
///
/// # Panics
/// If a key has the wrong length.
pub fn open(jobs: &mut [Job<'_>]) {
    kernel::open(kernel::best(), jobs);
}

/// [`seal`] by a kernel of the caller's choice, for tests and benches.
///
/// # Panics
/// Also if this CPU lacks it.
pub fn seal_on(kernel: Kernel, jobs: &mut [Job<'_>]) {
    kernel::seal(kernel.found(), jobs);
}

/// [`open`] by a kernel of the caller's choice, for tests and benches.
///
/// # Panics
/// Also if this CPU lacks it.
pub fn open_on(kernel: Kernel, jobs: &mut [Job<'_>]) {
    kernel::open(kernel.found(), jobs);
}

/// Associated data, inline, as CCM takes it (RFC 3610 section 2.2): a length, the data, zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Aad {
    padded: [u8; AAD_PADDED_BYTES],
}

/// One cache line.
const AAD_PADDED_BYTES: usize = 64;
/// The length before the data, bytes, big-endian.
pub(crate) const AAD_PREFIX_BYTES: usize = 2;
/// Longest associated data, bytes. *Bound:* RFC 9146 section 5.3 needs 23 and the CID, of which
/// Tidegate keeps at most 32.
pub const AAD_BYTES_MAX: usize = AAD_PADDED_BYTES - AAD_PREFIX_BYTES;

impl Aad {
    /// Nothing beside the text.
    pub const EMPTY: Self = Self { padded: [0; AAD_PADDED_BYTES] };

    /// A copy of `bytes`.
    ///
    /// # Panics
    /// If there are more than [`AAD_BYTES_MAX`].
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        Self::EMPTY.with(bytes)
    }

    /// The same with `bytes` behind it.
    ///
    /// # Panics
    /// If there would be more than [`AAD_BYTES_MAX`].
    #[must_use]
    #[inline]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        self.push(bytes);
        self
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// If there would be more than [`AAD_BYTES_MAX`].
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        let start = self.len();
        let end = start + bytes.len();
        assert!(end <= AAD_BYTES_MAX, "associated data of {end} bytes");
        self.padded[AAD_PREFIX_BYTES + start..AAD_PREFIX_BYTES + end].copy_from_slice(bytes);
        self.padded[1] = end as u8;
    }

    /// What was put in.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.padded[AAD_PREFIX_BYTES..][..self.len()]
    }

    /// Length and data, zeros behind.
    #[inline]
    pub(crate) fn padded(&self) -> &[u8; AAD_PADDED_BYTES] {
        &self.padded
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.padded[1])
    }
}

impl std::fmt::Debug for Aad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Aad({:02x?})", self.as_bytes())
    }
}
