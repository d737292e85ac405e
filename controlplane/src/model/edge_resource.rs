//! What can a device read at the edge, and observe? The last value that an application has set
//! under a path: settings, desired state.

use serde::{Deserialize, Serialize};

use super::PayloadReference;

/// What an application sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEdgeResource {
    /// One Uri-Path segment each; none is empty or has a `/`.
    pub path: Vec<String>,
    /// Content-Format number.
    pub content_format: Option<u16>,
    /// How long a device may believe it, seconds.
    pub max_age_s: u32,
    /// ≤ [`RESOURCE_BYTES_MAX`].
    pub payload: Vec<u8>,
    /// Where it lies, when it is longer: then `payload` has the first bytes of it.
    pub reference: Option<PayloadReference>,
}

/// As stored under the device and the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeResource {
    /// Segments joined by `/`.
    pub path: String,
    /// Strictly ascending with every change; the ETag, and in its low 24 bits the Observe option
    /// (RFC 7641 section 4.4).
    pub version: u64,
    /// Content-Format number.
    pub content_format: Option<u16>,
    /// Max-Age, seconds.
    pub max_age_s: u32,
    /// Unix time of the change, milliseconds.
    pub changed_unix_ms: u64,
    /// The value, or its first [`RESOURCE_FIRST_BYTES`] when it lies elsewhere.
    #[serde(with = "crate::model::base64_text")]
    pub payload: Vec<u8>,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<PayloadReference>,
}

impl EdgeResource {
    /// How long the value is.
    pub fn bytes(&self) -> usize {
        let elsewhere = self.reference.as_ref().map(|reference| reference.bytes as usize);
        elsewhere.unwrap_or(self.payload.len())
    }

    /// Its ETag.
    pub fn tag(&self) -> Vec<u8> {
        Self::tag_of(self.version)
    }

    /// The ETag of a version: what of it is not zero.
    pub fn tag_of(version: u64) -> Vec<u8> {
        let bytes = version.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes[zeros.min(bytes.len() - 1)..].to_vec()
    }
}

/// Longest value that is kept with its resource, bytes. *Why:* settings and manifests are small;
/// what is longer, firmware, lies elsewhere and is referred to.
pub const RESOURCE_BYTES_MAX: usize = 16 << 10;
/// What is kept of a value that lies elsewhere, bytes: the block that a notification carries.
pub const RESOURCE_FIRST_BYTES: usize = 1_024;
/// Resources of one device.
pub const RESOURCES_PER_DEVICE_MAX: usize = 32;
/// Longest path, bytes.
pub const RESOURCE_PATH_BYTES_MAX: usize = 255;
/// Max-Age of a value that was set without, seconds. *Why so long:* a device hears of changes; what
/// it has to notice by itself is only that it is not heard any more.
pub const RESOURCE_MAX_AGE_S: u32 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_never_empty_and_never_longer_than_eight_bytes() {
        let tag = EdgeResource::tag_of;
        assert_eq!((tag(0), tag(255), tag(256)), (vec![0], vec![255], vec![1, 0]));
        assert_eq!(tag(u64::MAX).len(), 8);
    }
}
