//! What can be tagged, and how is it named? The resource part of an ARN.

use std::fmt;

/// A kind of resource that has an ARN of AWS IoT Wireless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// By id.
    WirelessDevice,
    /// By name.
    Destination,
    /// By id.
    ApplicationProfile,
    /// By id.
    ImportTask,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::WirelessDevice, Self::Destination, Self::ApplicationProfile, Self::ImportTask];

    /// As it stands in ARNs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WirelessDevice => "WirelessDevice",
            Self::Destination => "Destination",
            Self::ApplicationProfile => "ApplicationProfile",
            Self::ImportTask => "ImportTask",
        }
    }
}

/// One resource: `WirelessDevice/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its id or name, as it was asked for.
    pub id: String,
}

impl Resource {
    /// The resource of an ARN's last part, `WirelessDevice/<id>`; `None`: no kind of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once('/')?;
        let kind = ResourceKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        (!id.is_empty()).then(|| Self { kind, id: id.to_owned() })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_a_kind_and_an_id() {
        for kind in ResourceKind::ALL {
            let resource = Resource { kind, id: "a/b".to_owned() };
            assert_eq!(Resource::parse(&resource.to_string()), Some(resource));
        }
        for text in ["", "WirelessDevice", "WirelessDevice/", "Toaster/1", "wirelessdevice/1"] {
            assert_eq!(Resource::parse(text), None, "{text}");
        }
    }
}
