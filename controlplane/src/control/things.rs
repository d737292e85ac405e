//! Which thing of AWS IoT is a device? A name that applications may find it by.

use super::Control;
use super::devices::device_id;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use super::validate;
use crate::core::{Reply, Request, Trial};
use crate::model::{Device, Network, Refused, ResourceType};
use crate::store::{Guard, Table, keys, records};

impl Control {
    /// Associates a device with a thing; Conflict when either has another one.
    pub async fn associate(&self, device: &str, thing_arn: &str) -> Result<(), Refused> {
        let Some(name) = thing_name(thing_arn) else {
            return Err(validate::pattern("ThingArn", "arn:…:iot:…:…:thing/[a-zA-Z0-9:_-]{1,128}"));
        };
        let id = device_id(device)?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_device(id)?;
            let mut device: Device = records::decode(&raw, "device").map_err(refuse)?;
            if device.thing_arn.as_deref() == Some(thing_arn) {
                return Ok(());
            }
            if device.thing_arn.is_some() {
                let message = "The device is associated with another thing.";
                return Err(Refused::conflict(ResourceType::WirelessDevice, id, message));
            }
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Devices, id.0.to_vec(), raw));
            let key = keys::thing(name);
            let message = "The thing is associated with another device.";
            let taken = Refused::conflict(ResourceType::Thing, name, message);
            draft.or_refuse(Guard::Absent(Table::Index, key.clone()), taken);
            draft.tx.put(Table::Index, key, id.0);
            device.thing_arn = Some(thing_arn.to_owned());
            draft.tx.put(Table::Devices, id.0, records::encode(&device));
            if let Committed::Done = self.commit(draft).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// The device is no thing from now on; NotFound when it was none.
    pub async fn disassociate(&self, device: &str) -> Result<(), Refused> {
        let id = device_id(device)?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_device(id)?;
            let mut device: Device = records::decode(&raw, "device").map_err(refuse)?;
            let Some(arn) = device.thing_arn.take() else {
                return Err(Refused::not_found(ResourceType::Thing, id));
            };
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Devices, id.0.to_vec(), raw));
            if let Some(name) = thing_name(&arn) {
                draft.tx.delete(Table::Index, keys::thing(name));
            }
            draft.tx.put(Table::Devices, id.0, records::encode(&device));
            if let Committed::Done = self.commit(draft).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Publishes a message as the device would send it, and says what became of it.
    pub async fn test_device(&self, device: &str) -> Result<Trial, Refused> {
        let id = device_id(device)?;
        let device = self.read_device(id)?;
        let network = if device.cellular.is_some() { Network::Cellular } else { Network::WiFi };
        match self.held.edge.ask(Request::Test { device: id, network }).await? {
            Reply::Tested(trial) => Ok(trial),
            other => unreachable!("a Test is answered by Tested, not {other:?}"),
        }
    }

    /// Ends the device's sessions and forgets what could be resumed: it has to shake hands anew.
    pub async fn deregister(&self, device: &str) -> Result<(), Refused> {
        let id = device_id(device)?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_device(id)?;
            let device: Device = records::decode(&raw, "device").map_err(refuse)?;
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Devices, id.0.to_vec(), raw));
            // Another stamp: what was made with the one before counts no more.
            draft.replaces(Some(&device), Some(&device));
            if let Committed::Done = self.commit(draft).await? {
                return self.ask(Request::DeviceChanged { device: id, credentials: true }).await;
            }
        }
        Err(contended())
    }
}

/// The name in a thing's ARN; `None`: it is no thing's.
pub(super) fn thing_name(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let (arn, _, service) = (parts.next()?, parts.next()?, parts.next()?);
    let name = parts.nth(2)?.strip_prefix("thing/")?;
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b":_-".contains(&byte);
    let is_name = (1..=128).contains(&name.len()) && name.bytes().all(is_known);
    (arn == "arn" && service == "iot" && is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_s_name_has_1_to_128_characters_of_aws_s() {
        let arn = |name: &str| format!("arn:aws:iot:us-east-1:123456789012:thing/{name}");
        assert_eq!(thing_name(&arn("pump:7_a-b")), Some("pump:7_a-b"));
        assert!(thing_name(&arn(&"t".repeat(128))).is_some());
        for bad in [arn(""), arn(&"t".repeat(129)), arn("a/b"), "thing/a".to_owned()] {
            assert_eq!(thing_name(&bad), None, "{bad}");
        }
        assert_eq!(thing_name("arn:aws:iotwireless:us-east-1:123456789012:thing/a"), None);
    }
}
