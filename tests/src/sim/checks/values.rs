//! Does a device that observes a value hear of each change's end, and of nothing that was not set?

use std::collections::BTreeMap;

use tidegate_controlplane::model::EdgeResource;
use tidegate_controlplane::store::records::decode;
use tidegate_controlplane::store::{Change, Table};

use crate::sim::dataplane::BLOCK_BYTES;
use crate::sim::device::padded;
use crate::sim::provision::number_of;

/// Values that the edge has for devices.
#[derive(Default)]
pub(crate) struct Values {
    devices: BTreeMap<usize, Value>,
    /// Times that a device heard of one.
    pub(crate) heard: u64,
}

#[derive(Default)]
struct Value {
    /// The last one ordered.
    ordered: u32,
    /// The newest durable one, and the version it has.
    durable: u32,
    version: u64,
    /// The newest one that the device heard of since it began to observe.
    heard: Option<u32>,
}

impl Values {
    /// The application sets the next one: its number.
    pub(crate) fn next(&mut self, device: usize) -> u32 {
        let value = self.devices.entry(device).or_default();
        value.ordered += 1;
        value.ordered
    }

    /// These changes are durable.
    pub(crate) fn on_stored(&mut self, changes: &[Change]) -> Result<(), String> {
        for change in changes {
            let Change::Put(Table::Resources, key, bytes) = change else { continue };
            let device = key.first_chunk::<16>().and_then(|id| number_of(*id));
            let device = device.ok_or("a value of nobody was stored")?;
            let stored: EdgeResource =
                decode(bytes, "resource").map_err(|error| error.to_string())?;
            let number = number(&stored.payload).ok_or("a value was stored that nobody set")?;
            let value = self.devices.entry(device).or_default();
            if stored.version <= value.version {
                let (version, before) = (stored.version, value.version);
                return Err(format!("value {number} has version {version}, after {before}"));
            }
            (value.durable, value.version) = (number, stored.version);
        }
        Ok(())
    }

    /// The device hears of a value, or of its first block. `begins`: it asked just now.
    pub(crate) fn on_heard(
        &mut self,
        device: usize,
        payload: &[u8],
        begins: bool,
    ) -> Result<(), String> {
        let value = self.devices.entry(device).or_default();
        let text = String::from_utf8_lossy(payload).into_owned();
        let name = format!("device {device} heard of {:?}", text.trim_end_matches([' ', '.']));
        let number = number(payload).ok_or(format!("{name}: nobody set it"))?;
        let whole = value_text(device, number);
        let is_it = text == whole || text.len() == BLOCK_BYTES && whole.starts_with(&text);
        if !is_it {
            return Err(format!("{name}, {} bytes of {}", text.len(), whole.len()));
        }
        if number > value.durable {
            return Err(format!("{name}, which is not durable"));
        }
        let before = value.heard.filter(|_| !begins);
        if let Some(before) = before.filter(|before| *before > number) {
            return Err(format!("{name} after {before}"));
        }
        value.heard = Some(number);
        self.heard += 1;
        Ok(())
    }

    /// Whether a device has heard of the newest value.
    pub(crate) fn has_heard(&self, device: usize) -> bool {
        let value = self.devices.get(&device);
        value.is_some_and(|value| value.heard == Some(value.durable))
    }
}

fn number(payload: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(payload).ok()?;
    text.split_once('.')?.1.split(' ').next()?.parse().ok()
}

/// What the application sets for a device; some are read block by block.
pub(crate) fn value_text(device: usize, number: u32) -> String {
    padded(format!("c{device}.{number}"), [0, 0, 500, 0, 2_200], number)
}
