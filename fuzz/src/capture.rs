//! Can a capture harm who decodes it? With a key, so that what it opens is read too.

use tidegate_crypto::secret::Secret;
use tidegate_loadgen::decode::{Decoded, print};

pub(crate) fn run(file: &[u8]) {
    let key = Secret::new(b"0123456789abcdef");
    let Ok(decoded) = Decoded::from_capture(file, &[key]) else { return };
    let mut shown = Vec::new();
    print::print(&decoded, "made up", &mut shown).expect("into memory");
    assert!(!shown.is_empty());
}
