//! How does one seed become many? Split by a label and a number, so that leaving one device or
//! fault out changes nothing for the others.

use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

/// The random source of this name.
pub(crate) fn stream(seed: u64, label: &str, number: usize) -> StdRng {
    StdRng::from_seed(bytes(seed, label, number))
}

/// 32 bytes of this name.
pub(crate) fn bytes(seed: u64, label: &str, number: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((number as u64).to_le_bytes());
    hash.update(label.as_bytes());
    hash.finalize().into()
}
