//! What is an import task? Many devices at once, from files or from the request itself.

use serde::{Deserialize, Serialize};

use super::{DeviceId, ImportId, ProfileId, Tag};

/// A stored import task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportTask {
    /// Given at its start.
    pub id: ImportId,
    /// Where the uplinks of its devices go.
    pub destination: String,
    /// The application profile of its devices.
    pub application_profile: Option<ProfileId>,
    /// `Positioning` of its devices.
    pub positioning: Option<String>,
    /// What is read, one after the other.
    pub sources: Vec<ImportSource>,
    /// Which of them.
    pub source: usize,
    /// How much of it is done, bytes.
    pub offset: u64,
    /// The names of the columns, when it is CSV and they were read.
    pub columns: Option<Vec<String>>,
    /// Lines done of all sources, without the names of columns.
    pub lines: u64,
    /// Devices made.
    pub onboarded: u64,
    /// Lines that made none.
    pub failed: u64,
    /// Where it is.
    pub status: ImportStatus,
    /// Why it failed.
    pub reason: Option<String>,
    /// ≤ 50.
    pub tags: Vec<Tag>,
    /// Unix time of its start, milliseconds.
    pub created_unix_ms: u64,
}

/// Where lines come from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImportSource {
    /// A file under the import directory.
    File(String),
    /// The request itself, sealed: secrets stand in it.
    Sealed(Vec<u8>),
    /// It is done; its secrets are gone.
    Done,
}

/// Shows no secret.
impl std::fmt::Debug for ImportSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(name) => write!(f, "File({name})"),
            Self::Sealed(_) => f.write_str("Sealed"),
            Self::Done => f.write_str("Done"),
        }
    }
}

/// Where a task is, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ImportStatus {
    /// Accepted.
    Initialized,
    /// Devices are made.
    Pending,
    /// Every line was read.
    Complete,
    /// It can't go on.
    Failed,
    /// It is being forgotten.
    Deleting,
}

impl ImportStatus {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "INITIALIZED",
            Self::Pending => "PENDING",
            Self::Complete => "COMPLETE",
            Self::Failed => "FAILED",
            Self::Deleting => "DELETING",
        }
    }
}

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// From 1 on.
    #[serde(skip)]
    pub line: u64,
    /// The device it made.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Why it made none.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Unix time, milliseconds.
    #[serde(rename = "t")]
    pub at_unix_ms: u64,
}
