//! Do messages read and write as RFC 7252 section 3 says, and can no bytes do harm?
#![allow(clippy::unwrap_used, missing_docs)]

mod limits;
mod properties;

use tidegate_coap::message::WriteError;

/// The message that `build` writes.
fn write(build: impl FnOnce(&mut [u8]) -> Result<usize, WriteError>) -> Vec<u8> {
    let mut buffer = [0; 2_048];
    let len = build(&mut buffer).unwrap();
    buffer[..len].to_vec()
}
