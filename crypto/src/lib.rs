//! Which operations on bytes keep Tidegate's promises secret and authentic?
//!
//! Bytes in, bytes out: no socket, clock, thread or random source. Randomness is an argument.
//!
//! - [`aead`]: protects records, many independent ones at once;
//! - [`prf`]: the TLS 1.2 key derivation and the handshake's transcript;
//! - [`cookie`]: the keyed MAC behind stateless cookies;
//! - [`secret`]: bytes that are wiped when dropped and never printed;
//! - [`vault`]: secrets at rest.

#![forbid(unsafe_code)]

pub mod aead;
pub mod cookie;
pub mod prf;
pub mod secret;
pub mod vault;
