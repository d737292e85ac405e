//! How does a firmware lay its resources out? Which of its paths hold a last value, and which of
//! its requests nobody answers but the edge.

use serde::{Deserialize, Serialize};

/// A row of a layout. Of the rows that fit a path the first counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutRow {
    /// A path as a URI has it, without its first `/`; `*` is any run of characters, `?` one.
    pub path: String,
    /// What such a path is for.
    pub holds: Holds,
    /// What a last value is before anybody has written it, and after a DELETE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Initial>,
}

/// What a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holds {
    /// What happens: logs, streams, reports. A POST, PUT or DELETE is an uplink, and answered as
    /// soon as that is published.
    Event,
    /// A value that the device writes and reads, and applications, too. What the device writes is
    /// an uplink besides.
    LastValue,
}

/// A first value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initial {
    /// ≤ [`INITIAL_BYTES_MAX`].
    #[serde(with = "crate::model::base64_text")]
    pub payload: Vec<u8>,
    /// Content-Format number.
    pub content_format: Option<u16>,
}

/// Rows of a layout.
pub const LAYOUT_ROWS_MAX: usize = 32;
/// Longest first value, bytes.
pub const INITIAL_BYTES_MAX: usize = 1_024;
