//! Why was a request refused? Carries no secret and no payload.

use std::fmt;

use super::Resource;

/// What the facade names in errors (`ResourceType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// A wireless device.
    WirelessDevice,
    /// A destination.
    Destination,
    /// A topic rule.
    Rule,
    /// A message towards a device.
    Message,
    /// What the edge has for a device under a path.
    EdgeResource,
    /// An application profile.
    ApplicationProfile,
    /// A thing of AWS IoT.
    Thing,
    /// An import task.
    ImportTask,
    /// A payload that was uploaded beforehand.
    Payload,
    /// The data-plane policy of a device or profile.
    DataPlanePolicy,
    /// A certificate authority.
    Authority,
    /// The uplink stream (absent while a broker is configured).
    UplinkStream,
}

impl ResourceType {
    /// The name in error bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WirelessDevice => "WirelessDevice",
            Self::Destination => "Destination",
            Self::Rule => "Rule",
            Self::Message => "Message",
            Self::EdgeResource => "WirelessDeviceResource",
            Self::ApplicationProfile => "ApplicationProfile",
            Self::Thing => "Thing",
            Self::ImportTask => "ImportTask",
            Self::Payload => "Payload",
            Self::DataPlanePolicy => "DataPlanePolicy",
            Self::Authority => "CACertificate",
            Self::UplinkStream => "UplinkStream",
        }
    }
}

/// Why a request was refused. Carries no secret and no payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 400: `1 validation error detected. Value at 'path' failed to satisfy constraint: …`.
    Validation {
        /// Member path, e.g. `Cellular.DtlsV1_2.PreSharedKeySecret`.
        path: String,
        /// `Member must …`.
        constraint: String,
    },
    /// 404.
    NotFound {
        /// Kind of the missing resource.
        resource_type: ResourceType,
        /// Its name as asked for.
        resource_id: String,
    },
    /// 409.
    Conflict {
        /// Kind of the resource in the way.
        resource_type: ResourceType,
        /// Its id or name (empty when unknown).
        resource_id: String,
        /// For people.
        message: String,
    },
    /// 400: a certificate that can't be used.
    Certificate {
        /// For people.
        message: String,
    },
    /// 400: a rule's statement or template that does not compile.
    Sql {
        /// For people.
        message: String,
    },
    /// 406: not in the state that it is in.
    State {
        /// For people.
        message: String,
    },
    /// 410: there are as many as there may be.
    Limit {
        /// For people.
        message: String,
    },
    /// 400: a resource would have more than it may have.
    TooManyTags {
        /// Which.
        resource: Resource,
    },
    /// 429: a queue is full; nothing was kept.
    Throttled {
        /// For people.
        message: String,
    },
    /// 500: the store or the machine failed; nothing is promised.
    Internal {
        /// For people; the cause is in the log.
        message: String,
    },
}

impl Refused {
    /// A validation error in AWS's words.
    pub fn invalid(path: &str, constraint: impl Into<String>) -> Self {
        Self::Validation { path: path.to_owned(), constraint: constraint.into() }
    }
    /// A missing resource.
    pub fn not_found(resource_type: ResourceType, resource_id: impl fmt::Display) -> Self {
        Self::NotFound { resource_type, resource_id: resource_id.to_string() }
    }
    /// A resource in the way.
    pub fn conflict(
        resource_type: ResourceType,
        resource_id: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        let resource_id = resource_id.to_string();
        Self::Conflict { resource_type, resource_id, message: message.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Validation { path, constraint } => write!(
                f,
                "1 validation error detected. Value at '{path}' failed to satisfy constraint: \
                 {constraint}"
            ),
            Self::NotFound { resource_type, resource_id } => {
                write!(f, "{} {resource_id} does not exist", resource_type.as_str())
            }
            Self::TooManyTags { .. } => {
                f.write_str("The resource would have more tags than the 50 that it may have.")
            }
            Self::Conflict { message, .. }
            | Self::Certificate { message }
            | Self::Sql { message }
            | Self::State { message }
            | Self::Limit { message }
            | Self::Throttled { message }
            | Self::Internal { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for Refused {}
