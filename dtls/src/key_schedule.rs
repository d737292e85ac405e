//! Which keys come out of a handshake? (RFC 5246 sections 5, 6.3, 7.4.9, 8.1; RFC 4279 section 2;
//! RFC 5489 section 2; RFC 7627 section 4)
//!
//! Pure functions of what crossed the wire and the shared secret, so that a capture can be
//! decrypted with them as well as a handshake completed.

use tidegate_crypto::aead::{FIXED_IV_BYTES, KEY_BYTES_MAX};
use tidegate_crypto::prf::{Digest, Hash, Prf, Transcript, prf};
use tidegate_crypto::secret::{Key, Secret};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::handshake::{self, MessageType};
use crate::hello::RANDOM_BYTES;
use crate::suite::Suite;

/// Which end of the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends the first flight.
    Client,
    /// Answers it.
    Server,
}

/// The premaster secret of plain PSK (RFC 4279 section 2).
///
/// # Panics
/// If the key is longer than 65535 bytes: whoever provisions keys bounds them.
pub fn psk_premaster(psk: &[u8]) -> Secret {
    premaster(Secret::zeros(psk.len()).as_bytes(), psk)
}

/// The premaster secret of a pre-shared key with a key agreement (RFC 5489 section 2). That of the
/// agreement alone is what was agreed upon (RFC 8422 section 5.10).
///
/// # Panics
/// If the key or what was agreed upon is longer than 65535 bytes.
pub fn ecdhe_psk_premaster(agreed: &Secret, psk: &[u8]) -> Secret {
    premaster(agreed.as_bytes(), psk)
}

/// Both secrets, each behind its length.
fn premaster(other: &[u8], psk: &[u8]) -> Secret {
    let mut premaster = Secret::zeros(2 + other.len() + 2 + psk.len());
    let mut rest = premaster.as_bytes_mut();
    for part in [other, psk] {
        let len = u16::try_from(part.len()).expect("a secret of at most 65535 bytes");
        let (head, tail) = rest.split_at_mut(2);
        head.copy_from_slice(&len.to_be_bytes());
        let (body, tail) = tail.split_at_mut(part.len());
        body.copy_from_slice(part);
        rest = tail;
    }
    premaster
}

/// The master secret of one session, and its suite's PRF under it.
#[derive(Clone, Debug)]
pub struct MasterSecret {
    secret: Key<48>,
    hash: Hash,
    prf: Prf,
}

impl MasterSecret {
    /// Of a session that is resumed; `bytes` are wiped by whoever keeps them.
    pub fn resume(hash: Hash, bytes: &[u8; 48]) -> Self {
        Self { secret: Key::new(*bytes), hash, prf: Prf::new(hash, bytes) }
    }

    /// Without the extension: bound to the two randoms alone (RFC 5246 section 8.1).
    pub fn derive(
        hash: Hash,
        premaster: &Secret,
        client_random: &[u8; RANDOM_BYTES],
        server_random: &[u8; RANDOM_BYTES],
    ) -> Self {
        let seeds = [&client_random[..], server_random];
        Self::from_prf(hash, premaster, b"master secret", &seeds)
    }

    /// With `extended_master_secret`: bound to the handshake up to and with ClientKeyExchange
    /// (RFC 7627 section 4).
    pub fn derive_extended(hash: Hash, premaster: &Secret, session_hash: &Digest) -> Self {
        let seeds = [session_hash.as_bytes()];
        Self::from_prf(hash, premaster, b"extended master secret", &seeds)
    }

    /// The keys of both directions.
    pub fn key_block(
        &self,
        suite: Suite,
        client_random: &[u8; RANDOM_BYTES],
        server_random: &[u8; RANDOM_BYTES],
    ) -> KeyBlock {
        let key_bytes = suite.aead().key_bytes();
        let mut block = [0; 2 * (KEY_BYTES_MAX + FIXED_IV_BYTES)];
        let used = &mut block[..2 * (key_bytes + FIXED_IV_BYTES)];
        let seeds = [&server_random[..], client_random];
        self.prf.fill(b"key expansion", &seeds, used);
        let (keys, ivs) = used.split_at(2 * key_bytes);
        let direction = |n: usize| {
            let mut keys_of = DirectionKeys { key: [0; KEY_BYTES_MAX], iv: [0; FIXED_IV_BYTES] };
            keys_of.key[..key_bytes].copy_from_slice(&keys[n * key_bytes..][..key_bytes]);
            keys_of.iv.copy_from_slice(&ivs[n * FIXED_IV_BYTES..][..FIXED_IV_BYTES]);
            keys_of
        };
        let key_block = KeyBlock { client: direction(0), server: direction(1) };
        block.zeroize();
        key_block
    }

    /// What the Finished of `role` says after the messages in `transcript`.
    pub fn verify_data(&self, role: Role, transcript: &Transcript) -> [u8; VERIFY_DATA_BYTES] {
        let label: &[u8] = match role {
            Role::Client => b"client finished",
            Role::Server => b"server finished",
        };
        let mut verify_data = [0; VERIFY_DATA_BYTES];
        let digest = transcript.snapshot(self.hash);
        self.prf.fill(label, &[digest.as_bytes()], &mut verify_data);
        verify_data
    }

    /// The 48 bytes, for a session that shall be resumed.
    pub fn as_bytes(&self) -> &[u8; 48] {
        self.secret.as_bytes()
    }

    fn from_prf(hash: Hash, premaster: &Secret, label: &[u8], seeds: &[&[u8]]) -> Self {
        let mut secret = Key::new([0; 48]);
        prf(hash, premaster.as_bytes(), label, seeds, secret.as_bytes_mut());
        let prf = Prf::new(hash, secret.as_bytes());
        Self { secret, hash, prf }
    }
}

/// Length of a Finished's body for every suite here, bytes.
pub const VERIFY_DATA_BYTES: usize = 12;

/// The keys of both directions.
pub struct KeyBlock {
    /// What the client writes with and the server reads with.
    pub client: DirectionKeys,
    /// What the server writes with and the client reads with.
    pub server: DirectionKeys,
}

/// The keys of one direction.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DirectionKeys {
    /// As many bytes as the suite's AEAD wants, then zeros.
    pub key: [u8; KEY_BYTES_MAX],
    /// The fixed part of each record's nonce.
    pub iv: [u8; FIXED_IV_BYTES],
}

impl std::fmt::Debug for KeyBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyBlock(redacted)")
    }
}

impl std::fmt::Debug for DirectionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DirectionKeys(redacted)")
    }
}

/// Adds a message as if it had travelled in one piece (RFC 6347 section 4.2.6). The first, cookie-
/// less ClientHello, HelloVerifyRequest and HelloRequest do not belong in.
pub fn add_message(
    transcript: &mut Transcript,
    msg_type: MessageType,
    message_seq: u16,
    body: &[u8],
) {
    transcript.update(&handshake::header(msg_type, body.len(), message_seq, 0, body.len()));
    transcript.update(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_premaster_secret_carries_the_length_twice() {
        assert_eq!(psk_premaster(b"abc").as_bytes(), b"\x00\x03\x00\x00\x00\x00\x03abc");
        assert_eq!(psk_premaster(b"").as_bytes(), [0; 4]);
        let agreed = Secret::new(b"\0z");
        let premaster = ecdhe_psk_premaster(&agreed, b"abc");
        assert_eq!(premaster.as_bytes(), b"\x00\x02\0z\x00\x03abc");
    }

    #[test]
    fn a_key_block_is_cut_client_first_keys_before_ivs() {
        let premaster = psk_premaster(b"key");
        for suite in Suite::ALL {
            let master = MasterSecret::derive(suite.hash(), &premaster, &[1; 32], &[2; 32]);
            let block = master.key_block(suite, &[1; 32], &[2; 32]);
            let n = suite.aead().key_bytes();
            let mut expected = vec![0; 2 * n + 8];
            let seeds = [&[2u8; 32][..], &[1; 32]];
            prf(suite.hash(), master.as_bytes(), b"key expansion", &seeds, &mut expected);
            assert_eq!(block.client.key[..n], expected[..n]);
            assert_eq!(block.server.key[..n], expected[n..2 * n]);
            assert_eq!(block.client.iv, expected[2 * n..2 * n + 4]);
            assert_eq!(block.server.iv, expected[2 * n + 4..]);
            assert!(block.client.key[n..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn the_transcript_does_not_see_fragments() {
        let mut transcript = Transcript::of(Hash::Sha256);
        add_message(&mut transcript, MessageType::SERVER_HELLO_DONE, 2, b"");
        let expected = Hash::Sha256.digest(&[b"\x0e\0\0\0\0\x02\0\0\0\0\0\0"]);
        assert_eq!(transcript.snapshot(Hash::Sha256), expected);
    }

    #[test]
    fn nothing_prints_a_key() {
        let master = MasterSecret::derive(Hash::Sha256, &psk_premaster(b"k"), &[1; 32], &[2; 32]);
        let block = master.key_block(Suite::PskAes128Ccm8, &[1; 32], &[2; 32]);
        let text = format!("{master:?} {block:?} {:?}", block.client);
        assert!(text.matches("redacted").count() == 4, "{text}");
    }
}
