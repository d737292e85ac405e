//! What becomes of a request for a path that its device's layout names?
//!
//! ```text
//! Event      POST, PUT, DELETE ─▶ uplink ─▶ published: 2.04, 2.02; no application answers
//! LastValue  POST, PUT, DELETE ─▶ stored ─▶ observers told, uplink ─▶ published: 2.04, 2.02
//!            GET ─▶ as of any resource of the edge; nobody has written it: the first value, which
//!                   is stored from then on, because its number in Observe must stay behind others
//! ```
//!
//! *Invariant:* what a device is told is kept is on the disk: its uplink goes on when the value is.

use tidegate_coap::code::Code;
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;
use tidegate_ring::contract::Publication;
use tidegate_ring::policy;

use super::edge_resources::{By, Changing};
use super::routes::Route;
use super::uplinks::Received;
use super::{Core, Now};
use crate::model::{
    DeviceId, EdgeResource, Initial, LayoutRow, RESOURCE_BYTES_MAX, RESOURCE_MAX_AGE_S,
};
use crate::store::{Table, Transaction, keys, records};

/// An uplink that goes on when its value is stored.
pub(super) struct Held {
    of: Received,
    message: Vec<u8>,
    body: Vec<u8>,
}

/// Does a request of that kind change a last value?
pub(super) fn writes(code: Code) -> bool {
    matches!(code, Code::POST | Code::PUT | Code::DELETE)
}

/// The row of a layout for what is asked.
pub(super) fn row_of<'a>(layout: &'a [LayoutRow], request: &Message<'_>) -> Option<&'a LayoutRow> {
    if layout.is_empty() {
        return None;
    }
    let path = policy::Path::of(request.options.all(Number::URI_PATH));
    layout.iter().find(|row| policy::matches(row.path.as_bytes(), path.as_bytes()))
}

impl Core {
    /// What nobody has written yet, if the layout has a first value for it.
    pub(super) fn first_value(
        &mut self,
        now: Now,
        device: DeviceId,
        path: &str,
        row: &LayoutRow,
    ) -> Option<EdgeResource> {
        let initial = row.initial.clone()?;
        let key = keys::edge_resource(device, path);
        self.room_for(device, &key).ok()??;
        let value = self.value(now, device, path, initial);
        let mut tx = Transaction::new();
        tx.put(Table::Resources, key, records::encode(&value));
        self.resources.owners.insert(device);
        self.write(tx, None);
        Some(value)
    }

    /// A device writes a last value: its uplink waits until that is stored. What speaks against it
    /// is said at once.
    pub(super) fn keep_value(
        &mut self,
        now: Now,
        of: &Received,
        (path, row): (String, &LayoutRow),
        raw: &[u8],
        request: &Message<'_>,
    ) -> Option<Publication> {
        let device = DeviceId(of.uplink.device);
        if request.payload.len() > RESOURCE_BYTES_MAX {
            return Some(Publication::TooLarge);
        }
        let key = keys::edge_resource(device, &path);
        let is_new = match self.room_for(device, &key) {
            Ok(Some(is_new)) => is_new,
            Ok(None) => return Some(Publication::TooLarge),
            Err(_) => return Some(Publication::Unavailable),
        };
        let written = || Initial {
            payload: request.payload.to_vec(),
            content_format: request.options.content_format(),
        };
        let new = if request.code == Code::DELETE { row.initial.clone() } else { Some(written()) };
        let mut tx = Transaction::new();
        let version = if let Some(new) = new {
            let value = self.value(now, device, &path, new);
            tx.put(Table::Resources, key, records::encode(&value));
            value.version
        } else {
            tx.delete(Table::Resources, key);
            self.next_version(now, device, &path)
        };
        let held = Held { of: *of, message: raw.to_vec(), body: request.payload.to_vec() };
        let by = By::Device(Box::new(held));
        self.change(tx, version, Changing { by, device, path, is_new });
        None
    }

    /// The value of an uplink is stored, or was refused: a device that hears 5.03 writes again.
    pub(super) fn on_value_kept(&mut self, now: Now, held: &Held, is_stored: bool) {
        let device = DeviceId(held.of.uplink.device);
        let outcome = match (is_stored, Message::parse(&held.message), self.route(device)) {
            (true, Ok(mut message), Ok(route @ (Route::Topic(_) | Route::Rules(_))))
                if self.takes_uplink(&route) =>
            {
                message.payload = &held.body;
                self.take_in(now, &held.of, route, &message)
            }
            (_, _, Ok(Route::Stranger)) => Some(Publication::Forbidden),
            _ => Some(Publication::Unavailable),
        };
        if let Some(outcome) = outcome {
            self.say_publication(now, &held.of, outcome);
        }
    }

    fn value(&mut self, now: Now, device: DeviceId, path: &str, new: Initial) -> EdgeResource {
        EdgeResource {
            path: path.to_owned(),
            version: self.next_version(now, device, path),
            content_format: new.content_format,
            max_age_s: RESOURCE_MAX_AGE_S,
            changed_unix_ms: now.unix_ms,
            payload: new.payload,
            reference: None,
        }
    }
}
