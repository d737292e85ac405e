//! Does each accepted message end once, as what it is?

use std::collections::{BTreeMap, BTreeSet};

use tidegate_controlplane::model::{MessageId, MessageState};
use tidegate_controlplane::store::queue::Queued;
use tidegate_controlplane::store::records::{Message, decode};
use tidegate_controlplane::store::{Change, Table};

use crate::sim::dataplane::BLOCK_BYTES;
use crate::sim::device::padded;

/// Messages for devices, as the application, the store and the devices know them.
#[derive(Default)]
pub(crate) struct Downlinks {
    /// By what they say.
    sent: BTreeMap<String, Sent>,
    /// By id, once durable.
    stored: BTreeMap<MessageId, Stored>,
    accepted: BTreeSet<MessageId>,
    /// The last one of QueueMode 1 that each device saw first.
    in_order: BTreeMap<usize, u32>,
    /// What devices responded to, as far as the subscriber has the response.
    responded: BTreeSet<String>,
    /// Devices that had to refuse a part of a body (4.08).
    refused: BTreeSet<usize>,
    /// How often a plain device forgot what it had served.
    rebooted: BTreeMap<usize, u32>,
    pub(crate) delivered: u64,
}

struct Sent {
    is_queued: bool,
    /// It asks to observe.
    observes: bool,
    saw: u32,
    /// How often it had been rebooted then.
    saw_in: u32,
}

struct Stored {
    /// What it says; of an answer nothing is known.
    payload: Option<String>,
    state: Option<MessageState>,
    has_ended: bool,
    ends: u32,
}

impl Downlinks {
    /// The application sends this.
    pub(crate) fn on_sent(&mut self, payload: String, is_queued: bool, observes: bool) {
        self.sent.insert(payload, Sent { is_queued, observes, saw: 0, saw_in: 0 });
    }

    /// The application was told that it is accepted.
    pub(crate) fn on_accepted(&mut self, id: MessageId) -> Result<(), String> {
        if !self.stored.contains_key(&id) {
            return Err(format!("{id} was accepted before it was durable"));
        }
        self.accepted.insert(id);
        Ok(())
    }

    /// A device has it, for the first time in its session.
    pub(crate) fn on_saw(&mut self, device: usize, payload: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(payload).into_owned();
        let sent = self.sent.get_mut(&text);
        let sent =
            sent.ok_or_else(|| format!("device {device} got {text:?}, which nobody sent"))?;
        if parts(&text).is_none_or(|(to, _)| to != device) {
            return Err(format!("device {device} got {text:?}, which is for another"));
        }
        sent.saw += 1;
        let life = self.rebooted.get(&device).copied().unwrap_or(0);
        let is_again = sent.saw > 1 && sent.saw_in == life;
        sent.saw_in = life;
        if !sent.is_queued && is_again {
            return Err(format!("{text} of QueueMode 0 came twice"));
        }
        if sent.is_queued
            && sent.saw == 1
            && let Some((_, number)) = parts(&text)
        {
            let before = self.in_order.insert(device, number).unwrap_or(0);
            if before > number {
                return Err(format!("{text} came after {before}"));
            }
        }
        Ok(())
    }

    /// A plain device has forgotten everything: what is repeated then is new to it.
    pub(crate) fn on_rebooted(&mut self, device: usize) {
        *self.rebooted.entry(device).or_insert(0) += 1;
    }

    /// The subscriber has a state of what was asked for by this message: it may be the response.
    pub(crate) fn on_state(&mut self, message: &str) {
        let asked = self.stored.iter().find(|(id, _)| id.to_string() == message);
        self.responded.extend(asked.and_then(|(_, stored)| stored.payload.clone()));
    }

    /// A device got part of a body whose beginning it has not, and says so.
    pub(crate) fn on_refused(&mut self, device: usize) {
        self.refused.insert(device);
    }

    /// The subscriber has an event that is no request: `r`, the device, a colon, what it was asked.
    pub(crate) fn on_response(&mut self, device: usize, payload: &str) -> Result<(), String> {
        if payload.is_empty() && self.refused.contains(&device) {
            return Ok(());
        }
        let request = payload.strip_prefix(&format!("r{device}:"));
        let request = request.filter(|request| self.was_seen(request));
        let request = request.ok_or(format!("device {device} never responded {payload:?}"))?;
        self.responded.insert(request.to_owned());
        Ok(())
    }

    /// These changes are durable.
    pub(crate) fn on_stored(&mut self, changes: &[Change]) -> Result<(), String> {
        for change in changes {
            match change {
                Change::Put(Table::Queue, key, value) => self.on_queued(key, value)?,
                Change::Put(Table::Messages, _, value) => self.on_noted(value)?,
                Change::Put(Table::History, key, _) => {
                    let id = key.last_chunk::<16>().copied().unwrap_or_default();
                    let stored = self.stored.get_mut(&MessageId(id));
                    let stored = stored.ok_or("a message ended that was never queued")?;
                    stored.ends += 1;
                    if stored.ends > 1 {
                        return Err(format!("{} ended twice", MessageId(id)));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn on_queued(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let queued = Queued::decode(key, value).map_err(|error| error.to_string())?;
        let payload = queued.request().ok().map(|request| request.payload);
        let payload = payload.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let stored = Stored { payload, state: None, has_ended: false, ends: 0 };
        if self.stored.insert(queued.id, stored).is_some() {
            return Err(format!("{} was queued twice", queued.id));
        }
        Ok(())
    }

    fn on_noted(&mut self, value: &[u8]) -> Result<(), String> {
        let message: Message = decode(value, "message").map_err(|error| error.to_string())?;
        let status = message.status;
        let id = status.id;
        let stored = self.stored.get_mut(&id).ok_or(format!("{id} was noted and never queued"))?;
        if stored.has_ended && stored.state != Some(status.state) {
            return Err(format!("{id} had ended and became {:?}", status.state));
        }
        stored.state = Some(status.state);
        stored.has_ended |= status.ended_unix_ms.is_some();
        let arrived = matches!(status.state, MessageState::Delivered | MessageState::Responded);
        if let Some(payload) = stored.payload.clone()
            && arrived
        {
            self.delivered += 1;
            let is_response = status.state == MessageState::Responded;
            let is_refused = is_response && self.may_be_refused(&payload);
            if !self.was_seen(&payload) && !is_refused {
                return Err(format!(
                    "{payload} is {:?} and never reached its device",
                    status.state
                ));
            }
        }
        Ok(())
    }

    /// The run is over: everything that was accepted has ended.
    pub(crate) fn at_the_end(&self) -> Result<(), String> {
        for (id, stored) in &self.stored {
            if !stored.has_ended || stored.ends != 1 {
                let said = stored.payload.as_deref().unwrap_or("an answer");
                return Err(format!("{id} ({said}) never ended: {:?}", stored.state));
            }
            if let Some(payload) = &stored.payload
                && stored.state == Some(MessageState::Responded)
                && !self.responded.contains(payload)
                && !self.may_be_refused(payload)
            {
                return Err(format!("the response to {payload} never reached the subscriber"));
            }
        }
        match self.accepted.iter().find(|id| !self.stored.contains_key(id)) {
            Some(id) => Err(format!("{id} was accepted and is gone")),
            None => Ok(()),
        }
    }

    /// Whether the device may have responded to this that it has not the beginning of it, or not
    /// the rest of its response any more.
    fn may_be_refused(&self, payload: &str) -> bool {
        let device = parts(payload).map(|(device, _)| device);
        payload.len() > BLOCK_BYTES && device.is_some_and(|device| self.refused.contains(&device))
    }

    /// Messages that asked to observe and were responded to, and their devices.
    pub(crate) fn observing(&self) -> impl Iterator<Item = (usize, MessageId)> {
        let responded = |it: &&Stored| it.state == Some(MessageState::Responded);
        self.stored.iter().filter(move |(_, stored)| responded(stored)).filter_map(
            |(id, stored)| {
                let payload = stored.payload.as_ref()?;
                let observes = self.sent.get(payload).is_some_and(|sent| sent.observes);
                parts(payload).filter(|_| observes).map(|(device, _)| (device, *id))
            },
        )
    }

    /// Whether the device saw this.
    pub(crate) fn was_seen(&self, payload: &str) -> bool {
        self.sent.get(payload).is_some_and(|sent| sent.saw > 0)
    }
}

/// Device and number of a message's text: a letter, the device, a dot, the number.
fn parts(text: &str) -> Option<(usize, u32)> {
    let (device, number) = text.get(1..)?.split_once('.')?;
    let number = number.split(' ').next()?;
    Some((device.parse().ok()?, number.parse().ok()?))
}

/// What the application says to a device: `d`, or `z` for the last one. Some go block by block, the
/// longest through the rings piece by piece.
pub(crate) fn downlink_text(letter: char, device: usize, number: u32) -> String {
    padded(format!("{letter}{device}.{number}"), [0, 0, 400, 0, 0, 1_100, 0, 3_000], number)
}
