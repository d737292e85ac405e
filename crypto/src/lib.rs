//! Which operations on bytes keep Tidegate's promises secret and authentic?
//!
//! Bytes in, bytes out: no socket, clock, thread or random source. Randomness is an argument; the
//! one exception is a signature's nonce, which the library draws where nobody can repeat it.
//!
//! - [`aead`]: protects records, many independent ones at once;
//! - [`prf`]: the TLS 1.2 key derivation and the handshake's transcript;
//! - [`agreement`]: ephemeral Diffie-Hellman;
//! - [`signature`]: ECDSA, with keys as they stand in certificates;
//! - [`certificate`]: whether a chain leads to a trusted authority, and whom it names;
//! - [`pem`]: keys and certificates as text;
//! - [`cookie`]: the keyed MAC behind stateless cookies;
//! - [`secret`]: bytes that are wiped when dropped and never printed;
//! - [`vault`]: secrets at rest.

pub mod aead;
pub mod agreement;
pub mod certificate;
pub mod cookie;
mod hmac256;
mod kernel;
pub mod pem;
pub mod prf;
pub mod secret;
pub mod signature;
pub mod vault;
