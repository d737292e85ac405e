//! What does the owner of a handshake bring to it, and what is it asked?

use tidegate_crypto::certificate::Leaf;
use zeroize::Zeroize;

use crate::established::Established;
use crate::failure::Failure;
use crate::hello::{RANDOM_BYTES, SESSION_ID_BYTES_MAX};

/// Random bytes for one handshake, used nowhere else.
pub struct Randoms {
    /// The random of our hello.
    pub random: [u8; RANDOM_BYTES],
    /// Stands in for the key of an identity that nobody knows.
    pub fake_key: [u8; 32],
    /// Our half of a key agreement comes from it. An ECDSA signature draws its own nonce, in the
    /// library: it is the one thing here that is not an argument.
    pub ephemeral_seed: [u8; 48],
    /// Names the session, should the handshake be a full one; `None`: it can't be resumed.
    pub session_id: Option<[u8; SESSION_ID_BYTES_MAX]>,
}

/// What the owner of a handshake has to know.
#[derive(Debug)]
pub enum Event {
    /// Look up [`Handshake::claim`] and call [`Handshake::on_credential`].
    ///
    /// [`Handshake::claim`]: super::Handshake::claim
    /// [`Handshake::on_credential`]: super::Handshake::on_credential
    CredentialWanted,
    /// Done. Send what `poll_transmit` still has, then drop the handshake.
    Established(Established),
    /// Over. Send what `poll_transmit` still has, then drop the handshake.
    Failed(Failure),
}

/// Who a client says it is.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// By the identity of a pre-shared key; proven by its Finished.
    Psk(&'a [u8]),
    /// By the DER of its SubjectPublicKeyInfo; that it has the private key is proven.
    RawPublicKey(&'a [u8]),
    /// By a certificate; that it has the private key is proven, and the chain leads to one of
    /// [`authorities`](super::Config::authorities).
    Certificate(&'a Leaf),
}

/// What the owner knows of a [`Claim`].
#[derive(Clone, Copy)]
pub enum Answer<'a> {
    /// The key of the identity.
    Psk(&'a [u8]),
    /// The certificate or raw public key is that of a device.
    Known,
    /// Nobody is known by that.
    Unknown,
}

/// A [`Claim`] that is kept.
pub(super) enum Claimed {
    Psk(Vec<u8>),
    RawPublicKey(Vec<u8>),
    Certificate(Box<Leaf>),
}

impl Claimed {
    pub(super) fn view(&self) -> Claim<'_> {
        match self {
            Self::Psk(identity) => Claim::Psk(identity),
            Self::RawPublicKey(spki) => Claim::RawPublicKey(spki),
            Self::Certificate(leaf) => Claim::Certificate(leaf),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Psk(bytes) | Self::RawPublicKey(bytes) => bytes.capacity(),
            Self::Certificate(leaf) => {
                let names = leaf.names.iter().map(|n| size_of::<String>() + n.capacity());
                size_of::<Leaf>() + leaf.spki.capacity() + names.sum::<usize>()
            }
        }
    }
}

impl std::ops::Drop for Randoms {
    fn drop(&mut self) {
        self.fake_key.zeroize();
        self.ephemeral_seed.zeroize();
    }
}

impl std::fmt::Debug for Randoms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Randoms(redacted)")
    }
}

impl std::fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Psk(_) => "Psk(redacted)",
            Self::Known => "Known",
            Self::Unknown => "Unknown",
        })
    }
}
