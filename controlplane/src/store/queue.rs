//! How does a message wait, and how does it end? Verbs over two tables, for transactions.
//!
//! `Messages` holds the status under the message id; `Queue` holds what is to be sent, in order,
//! as long as the message is open. *Invariant:* a message has a `Queue` entry exactly as long as
//! its status has no end time: both change in one transaction.

use super::keys::{self, Place};
use super::records::{self, Message};
use super::{Store, StoreError, Table, Transaction};
use crate::model::{DeviceId, DownlinkRequest, MessageId, PayloadReference};

/// What kind of message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// QueueMode 0: now or never.
    Immediate,
    /// QueueMode 1: when the device shows itself.
    Queued,
    /// An answer to a request of the device: it is with the worker.
    Answer,
}

/// An entry of the queue.
#[derive(Clone, Debug)]
pub struct Queued {
    /// To whom.
    pub device: DeviceId,
    /// Its place.
    pub place: Place,
    /// Which message.
    pub id: MessageId,
    /// How it waits.
    pub waiting: Waiting,
    kept: Kept,
}

/// What is kept of a message as long as it is open.
#[derive(Clone, Debug)]
pub enum Kept {
    /// A `DownlinkRequest` as JSON.
    Request(Vec<u8>),
    /// The payload of an answer, when that is read block by block; else nothing.
    Payload(Vec<u8>),
    /// A `PayloadReference` as JSON: where the payload of an answer lies.
    Reference(Vec<u8>),
}

/// Where a payload is.
#[derive(Clone, Debug)]
pub enum Payload {
    /// These bytes.
    Here(Vec<u8>),
    /// There.
    Elsewhere(PayloadReference),
}

impl Queued {
    /// From what was stored.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        const DAMAGED: StoreError = StoreError::Corrupt("queue");
        let (device, place) = keys::queued_parts(key).ok_or(DAMAGED)?;
        let (waiting, rest) = value.split_first().ok_or(DAMAGED)?;
        let (id, body) = rest.split_first_chunk::<16>().ok_or(DAMAGED)?;
        let body = body.to_vec();
        let (waiting, kept) = match *waiting {
            0 => (Waiting::Immediate, Kept::Request(body)),
            1 => (Waiting::Queued, Kept::Request(body)),
            2 => (Waiting::Answer, Kept::Payload(body)),
            ELSEWHERE => (Waiting::Answer, Kept::Reference(body)),
            _ => return Err(DAMAGED),
        };
        Ok(Self { device, place, id: MessageId(*id), waiting, kept })
    }

    /// What is to be sent.
    pub fn request(&self) -> Result<DownlinkRequest, StoreError> {
        let Kept::Request(request) = &self.kept else {
            return Err(StoreError::Corrupt("queued request"));
        };
        records::decode(request, "queued request")
    }

    /// Its payload, when that is not with its worker.
    pub fn payload(self) -> Result<Payload, StoreError> {
        Ok(match self.kept {
            Kept::Payload(payload) => Payload::Here(payload),
            Kept::Reference(reference) => {
                Payload::Elsewhere(records::decode(&reference, "queued reference")?)
            }
            Kept::Request(request) => {
                let request: DownlinkRequest = records::decode(&request, "queued request")?;
                let here = Payload::Here(request.payload);
                request.reference.map_or(here, Payload::Elsewhere)
            }
        })
    }
}

/// In the place of `Waiting::Answer`: its payload lies elsewhere.
const ELSEWHERE: u8 = 3;

/// A new message enters.
pub fn enqueue(
    tx: &mut Transaction,
    message: &Message,
    place: Place,
    waiting: Waiting,
    kept: &Kept,
) {
    let status = &message.status;
    let (waiting, body) = match kept {
        Kept::Request(body) | Kept::Payload(body) => (waiting as u8, body),
        Kept::Reference(body) => (ELSEWHERE, body),
    };
    let value = [&[waiting], &status.id.0[..], body].concat();
    tx.put(Table::Queue, keys::queued(status.device, place), value);
    note(tx, message);
}

/// An open message takes a step (handed over, sent, delivered, or back to the queue).
pub fn note(tx: &mut Transaction, message: &Message) {
    tx.put(Table::Messages, message.status.id.0, records::encode(message));
}

/// A message ends: out of the queue, into the history.
pub fn settle(tx: &mut Transaction, message: &Message, place: Place) {
    let status = &message.status;
    tx.delete(Table::Queue, keys::queued(status.device, place));
    tx.put(Table::History, keys::ended(status.ended_unix_ms.unwrap_or(0), status.id), []);
    note(tx, message);
}

/// What is to be sent, read at the moment it is sent: the queue stays on disk.
pub fn claim(
    store: &dyn Store,
    device: DeviceId,
    place: Place,
) -> Result<Option<Queued>, StoreError> {
    let key = keys::queued(device, place);
    store.get(Table::Queue, &key)?.map(|value| Queued::decode(&key, &value)).transpose()
}

/// Forgets messages that ended before `unix_ms`, at most `messages_max`; how many.
pub fn forget(
    store: &dyn Store,
    tx: &mut Transaction,
    unix_ms: u64,
    messages_max: usize,
) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    for (key, _) in store.scan(Table::History, &[], None, messages_max)? {
        let Some((ended_unix_ms, message)) = keys::ended_parts(&key) else {
            return Err(StoreError::Corrupt("history"));
        };
        if ended_unix_ms >= unix_ms {
            break;
        }
        tx.delete(Table::Messages, message.0);
        tx.delete(Table::History, key);
        forgotten += 1;
    }
    Ok(forgotten)
}
