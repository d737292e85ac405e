//! What is a payload that was uploaded beforehand?

use serde::{Deserialize, Serialize};

use super::UploadId;

/// A payload in the making, or made. Its bytes lie beside it, in pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Names it.
    pub id: UploadId,
    /// As its owner calls it.
    pub name: Option<String>,
    /// How long it is to be.
    pub bytes: u32,
    /// How much of it is here.
    pub received: u32,
    /// Unix time of its beginning, milliseconds.
    pub created_unix_ms: u64,
}

/// One piece in the store, bytes: what is read ahead of a device.
pub const PIECE_BYTES: usize = 64 << 10;
/// Before the id, in a message's reference.
const SCHEME: &str = "upload://";

impl Upload {
    /// Nothing of it is missing.
    pub fn is_whole(&self) -> bool {
        self.received == self.bytes
    }

    /// What a message calls it.
    pub fn url(&self) -> String {
        format!("{SCHEME}{}", self.id)
    }

    /// How many pieces it has when it is whole.
    pub fn pieces(&self) -> u32 {
        self.bytes.div_ceil(PIECE_BYTES as u32)
    }
}

impl UploadId {
    /// That of a reference; `None`: it names something else.
    pub fn of_url(url: &str) -> Option<Self> {
        url.strip_prefix(SCHEME)?.parse().ok()
    }
}
