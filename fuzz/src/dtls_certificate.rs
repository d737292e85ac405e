//! Can what a stranger shows as its certificate or raw public key harm whoever looks at it, or be
//! taken for good? Input: how many certificates (1 byte), then each behind its length (2 bytes).

use std::sync::LazyLock;

use tidegate_crypto::certificate::{Authorities, NAME_BYTES_MAX, NAMES_MAX, leaf};
use tidegate_crypto::signature::{Scheme, group_of, verify};

/// An authority of which nobody has the key (`openssl req -x509`, P-256).
const AUTHORITY: &[u8] = include_bytes!("authority.der");
/// 2027: the authority is good until 2126.
const UNIX_S: u64 = 1_800_000_000;

static AUTHORITIES: LazyLock<Authorities> =
    LazyLock::new(|| Authorities::from_ders([AUTHORITY]).expect("an authority"));

pub(crate) fn run(data: &[u8]) {
    let Some((count, mut rest)) = data.split_first() else { return };
    let mut chain = Vec::new();
    for _ in 0..count % 8 {
        let Some((len, tail)) = rest.split_first_chunk::<2>() else { break };
        let len = usize::from(u16::from_be_bytes(*len)).min(tail.len());
        let (der, tail) = tail.split_at(len);
        chain.push(der);
        rest = tail;
    }
    let is_good = AUTHORITIES.verify_client(&chain, UNIX_S).is_ok();
    assert!(!is_good || chain.first() == Some(&GENUINE), "let in without the authority's key");
    for der in &chain {
        if let Ok(leaf) = leaf(der) {
            assert!(leaf.names.len() <= NAMES_MAX);
            assert!(leaf.names.iter().all(|name| name.len() <= NAME_BYTES_MAX));
            assert!(group_of(&leaf.spki).is_some());
        }
        // As a raw public key, with the rest as a signature.
        let _ = group_of(der);
        assert!(!verify(Scheme::EcdsaSecp256r1Sha256, der, &[b"transcript"], rest), "forged");
    }
}

/// What the authority did sign.
const GENUINE: &[u8] = include_bytes!("device.der");
