//! Does what an uplink was confirmed by keep it, and does the subscriber get it in order?

use std::collections::{BTreeMap, BTreeSet};

use tidegate_controlplane::model::MessageId;
use tidegate_controlplane::store::{Change, Table};

use super::uplinks::Event;
use crate::sim::provision::number_of;

/// Uplinks that the store has or had, where it is the store that confirms them.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Device and serial of all that were durable.
    durable: BTreeSet<(usize, u32)>,
    /// The MessageIds of these.
    stored: BTreeSet<String>,
    /// By MessageId, the place of each in the order in which they were taken in.
    places: BTreeMap<String, usize>,
    next_place: usize,
    /// Those that the subscriber saw, and the last one's place of each device.
    seen: BTreeSet<String>,
    last: BTreeMap<usize, usize>,
}

impl Outbox {
    /// These changes are to be written.
    pub(crate) fn on_ordered(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Put(Table::Outbox, key, value) = change
                && let Some(kept) = Entry::parse(key, value)
                && kept.event.is_some()
            {
                self.next_place += 1;
                self.places.entry(kept.message).or_insert(self.next_place);
            }
        }
    }

    /// These changes are durable.
    pub(crate) fn on_stored(&mut self, changes: &[Change]) -> Result<(), String> {
        for change in changes {
            let Change::Put(Table::Outbox, key, value) = change else { continue };
            let kept = Entry::parse(key, value).ok_or("the outbox got what can't be read")?;
            if let Some(serial) = kept.event.as_ref().and_then(Event::serial) {
                self.durable.insert((kept.device, serial));
                self.stored.insert(kept.message);
            }
        }
        Ok(())
    }

    /// The control plane is gone: what the store did not have is taken in anew, behind what it has.
    pub(crate) fn on_death(&mut self) {
        self.places.retain(|message, _| self.stored.contains(message));
    }

    /// The subscriber has an event.
    pub(crate) fn on_published(&mut self, event: &Event) -> Result<(), String> {
        let Some(place) = self.places.get(&event.message) else { return Ok(()) };
        if !self.seen.insert(event.message.clone()) {
            return Ok(());
        }
        let before = self.last.insert(event.device, *place).unwrap_or(0);
        if before > *place {
            return Err(format!("{} was overtaken in the outbox", event.payload));
        }
        Ok(())
    }

    /// Whether the store has this request of the device, or had it.
    pub(crate) fn has_had(&self, of: (usize, u32)) -> bool {
        self.durable.contains(&of)
    }
}

/// `device:16 | number:8 | message:16`, `kind:1 | path length:2 | path | JSON`.
struct Entry {
    device: usize,
    message: String,
    /// `None`: a response.
    event: Option<Event>,
}

impl Entry {
    fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let (device, rest) = key.split_first_chunk::<16>()?;
        let (_number, message) = rest.split_first_chunk::<8>()?;
        let (kind, rest) = value.split_first()?;
        let (path_len, rest) = rest.split_first_chunk::<2>()?;
        let json = rest.get(usize::from(u16::from_be_bytes(*path_len))..)?;
        Some(Self {
            device: number_of(*device)?,
            message: MessageId(message.try_into().ok()?).to_string(),
            event: if *kind == 1 { Some(Event::parse(json)?) } else { None },
        })
    }
}
