//! What does the edge answer devices by itself? The last values that applications have set for
//! them: a GET is answered here and published nowhere.
//!
//! ```text
//! GET ─▶ 2.05 with ETag · 2.03 · 4.06     with Observe 0: and on the list of observers
//! set, deleted ─▶ stored ─▶ observers are told ([`super::observers`])
//! ```
//!
//! A long value is read block by block, from where it lies ([`super::long`]).

use std::collections::{HashMap, HashSet};

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type};
use tidegate_coap::observe::SEQUENCE_BITS;
use tidegate_coap::option::Number;
use tidegate_ring::contract::VALUE_PREFIX;

use super::effect::store_failed;
use super::layouts::{self, Held};
use super::messages::encode;
use super::{Core, Now, Reply, RequestId, Ticket};
use crate::model::{
    CoapOption, DeviceId, EdgeResource, Holds, LayoutRow, MessageId, NewEdgeResource,
    RESOURCES_PER_DEVICE_MAX, Refused, ResourceType,
};
use crate::store::queue::Payload;
use crate::store::records::{self, read};
use crate::store::{Entry, Store, StoreError, Table, Transaction, keys};

/// What is known without asking the store.
#[derive(Default)]
pub(super) struct EdgeResources {
    /// Devices that have any.
    pub(super) owners: HashSet<DeviceId, foldhash::fast::RandomState>,
    /// Changes on their way to the disk, by version.
    changing: HashMap<u64, Changing>,
    last_version: u64,
}

/// A change on its way to the disk.
pub(super) struct Changing {
    pub(super) by: By,
    pub(super) device: DeviceId,
    pub(super) path: String,
    pub(super) is_new: bool,
}

/// Who changes a value, and waits.
pub(super) enum By {
    /// An application.
    Application(RequestId),
    /// The device.
    Device(Box<Held>),
}

/// What a request comes to.
#[derive(PartialEq, Eq)]
pub(super) enum Asked {
    /// This answer: its message, and how long its payload is when that is asked for in pieces.
    Answer(MessageId, Vec<u8>, usize),
    /// A condition that does not hold: 4.12.
    NotFulfilled,
    /// The device writes this value.
    Keep(String),
    /// It is for the application.
    Elsewhere,
}

const SCAN_ENTRIES: usize = 4_096;
/// Of a message that nobody is told of.
const UNTOLD: MessageId = MessageId([0; 16]);

impl EdgeResources {
    /// What the store remembers.
    pub(super) fn restore(store: &dyn Store) -> Result<Self, StoreError> {
        let mut resources = Self::default();
        for (key, _) in everything(store, Table::Resources)? {
            resources.owners.extend(key.first_chunk::<16>().map(|id| DeviceId(*id)));
        }
        Ok(resources)
    }

    /// A version behind all of this process and behind `before`.
    fn next_version(&mut self, now: Now, before: u64) -> u64 {
        // 16 a second are the clock's; more run ahead of it, far slower than the 32768 that
        // section 4.4 allows.
        self.last_version = (self.last_version.max(before) + 1).max(now.unix_ms >> 6);
        self.last_version
    }
}

impl Core {
    /// The version of a change to a value: behind the one it has, though the time of day may have
    /// been set back since.
    pub(super) fn next_version(&mut self, now: Now, device: DeviceId, path: &str) -> u64 {
        let before = self.edge_resource(device, path).map_or(0, |resource| resource.version);
        self.resources.next_version(now, before)
    }

    /// A request of a device, which it may make: is it for what the edge has? `row`: what the
    /// device's layout says of the path.
    pub(super) fn ask_edge(
        &mut self,
        now: Now,
        (device, session): (DeviceId, u64),
        request: &Message<'_>,
        row: Option<&LayoutRow>,
    ) -> Asked {
        let options = &request.options;
        let is_conditional = options.first(Number::IF_MATCH).is_some()
            || options.first(Number::IF_NONE_MATCH).is_some();
        let last = row.filter(|row| row.holds == Holds::LastValue);
        let is_get = request.code == Code::GET
            && (last.is_some() || self.resources.owners.contains(&device));
        let is_write = last.is_some() && layouts::writes(request.code);
        if !is_get && !is_conditional && !is_write {
            return Asked::Elsewhere;
        }
        let path = path_of(request);
        let mut found = path.as_ref().and_then(|path| self.edge_resource(device, path));
        if let (None, true, Some(path), Some(row)) = (&found, is_get, &path, last) {
            found = self.first_value(now, device, path, row);
        }
        if is_conditional && !is_fulfilled(request, found.as_ref()) {
            return Asked::NotFulfilled;
        }
        if let Some(path) = path.filter(|_| is_write) {
            return Asked::Keep(path);
        }
        let Some(resource) = found.filter(|_| is_get) else { return Asked::Elsewhere };
        self.answer_of_edge(device, session, request, &resource)
    }

    fn answer_of_edge(
        &mut self,
        device: DeviceId,
        session: u64,
        request: &Message<'_>,
        resource: &EdgeResource,
    ) -> Asked {
        let options = &request.options;
        if options.accept().is_some_and(|format| Some(format) != resource.content_format) {
            return answer(Code::NOT_ACCEPTABLE, Vec::new(), &[], UNTOLD);
        }
        let is_observed = self.observes(device, session, request, resource);
        let tag = resource.tag();
        if options.all(Number::ETAG).any(|known| known == tag) {
            return answer(Code::VALID, about(resource, is_observed, false), &[], UNTOLD);
        }
        let options = about(resource, is_observed, true);
        let name = body_name(resource.version);
        let mut found = answer(Code::CONTENT, options, &resource.payload, name);
        match (&mut found, &resource.reference) {
            (Asked::Answer(id, _, body_bytes), Some(_)) => {
                (*id, *body_bytes) = (name, resource.bytes());
            }
            (Asked::Answer(_, _, 1..), None) => {
                self.long.keep(name, resource.payload.clone().into());
            }
            _ => {}
        }
        found
    }

    pub(super) fn edge_resource(&self, device: DeviceId, path: &str) -> Option<EdgeResource> {
        read(&*self.store, Table::Resources, &keys::edge_resource(device, path)).ok().flatten()
    }

    /// The value that is read block by block under this name.
    pub(super) fn edge_body(&self, device: DeviceId, name: MessageId) -> Option<Payload> {
        name.0.starts_with(&VALUE_PREFIX).then_some(())?;
        let of_device = &device.0[..];
        let found = self.store.scan(Table::Resources, of_device, None, RESOURCES_PER_DEVICE_MAX);
        let mut found = found.ok()?.into_iter();
        let resource = found.find_map(|(_, value)| {
            let resource: EdgeResource = records::decode(&value, "resource").ok()?;
            (body_name(resource.version) == name).then_some(resource)
        });
        let EdgeResource { payload, reference, .. } = resource?;
        Some(reference.map_or(Payload::Here(payload), Payload::Elsewhere))
    }

    /// The application sets a value.
    pub(super) fn set_resource(
        &mut self,
        now: Now,
        to: RequestId,
        device: DeviceId,
        new: NewEdgeResource,
    ) {
        let path = new.path.join("/");
        let key = keys::edge_resource(device, &path);
        let is_new = match self.room_for(device, &key) {
            Ok(Some(is_new)) => is_new,
            Ok(None) => {
                let message = format!("the device has {RESOURCES_PER_DEVICE_MAX} resources");
                return self.reply(to, Err(Refused::Limit { message }));
            }
            Err(_) => return self.reply(to, Err(store_failed())),
        };
        let version = self.next_version(now, device, &path);
        let resource = EdgeResource {
            path: path.clone(),
            version,
            content_format: new.content_format,
            max_age_s: new.max_age_s,
            changed_unix_ms: now.unix_ms,
            payload: new.payload,
            reference: new.reference,
        };
        let mut tx = Transaction::new();
        tx.put(Table::Resources, key, records::encode(&resource));
        let by = By::Application(to);
        self.change(tx, version, Changing { by, device, path, is_new });
    }

    /// Whether a value under this key would be a new one; `None`: there is no room for that.
    pub(super) fn room_for(
        &self,
        device: DeviceId,
        key: &[u8],
    ) -> Result<Option<bool>, StoreError> {
        let found = self.store.scan(Table::Resources, &device.0, None, RESOURCES_PER_DEVICE_MAX)?;
        let is_new = !found.iter().any(|(known, _)| known == key);
        let begun = self.resources.changing.values();
        let begun = begun.filter(|change| change.device == device && change.is_new).count();
        let has_room = !is_new || found.len() + begun < RESOURCES_PER_DEVICE_MAX;
        Ok(has_room.then_some(is_new))
    }

    /// The application takes a value back.
    pub(super) fn delete_resource(
        &mut self,
        now: Now,
        to: RequestId,
        device: DeviceId,
        path: String,
    ) {
        if self.edge_resource(device, &path).is_none() {
            return self.reply(to, Err(Refused::not_found(ResourceType::EdgeResource, &path)));
        }
        let version = self.next_version(now, device, &path);
        let mut tx = Transaction::new();
        tx.delete(Table::Resources, keys::edge_resource(device, &path));
        let by = By::Application(to);
        self.change(tx, version, Changing { by, device, path, is_new: false });
    }

    pub(super) fn change(&mut self, tx: Transaction, version: u64, changing: Changing) {
        self.resources.owners.insert(changing.device);
        self.resources.changing.insert(version, changing);
        self.write(tx, Some(Ticket::Resource { version }));
    }

    /// A change is durable, or was refused.
    pub(super) fn on_resource_stored(&mut self, now: Now, version: u64, is_stored: bool) {
        let Some(Changing { by, device, path, .. }) = self.resources.changing.remove(&version)
        else {
            return;
        };
        match by {
            By::Application(to) => {
                let reply =
                    if is_stored { Ok(Reply::Changed { version }) } else { Err(store_failed()) };
                self.reply(to, reply);
            }
            By::Device(held) => self.on_value_kept(now, &held, is_stored),
        }
        if !is_stored {
            return;
        }
        self.on_value_changed(device, &path);
    }

    /// The device is gone, and everything it had here.
    pub(super) fn forget_resources(&mut self, device: DeviceId) {
        self.forget_observers(device);
        if !self.resources.owners.remove(&device) {
            return;
        }
        let found = self.store.scan(Table::Resources, &device.0, None, RESOURCES_PER_DEVICE_MAX);
        let mut tx = Transaction::new();
        for (key, _) in found.unwrap_or_default() {
            tx.delete(Table::Resources, key);
        }
        self.write(tx, None);
    }
}

/// Options of a representation, or of what confirms one.
pub(super) fn about(
    resource: &EdgeResource,
    is_observed: bool,
    has_payload: bool,
) -> Vec<CoapOption> {
    let mut options = vec![
        CoapOption::new(Number::ETAG, &resource.tag()),
        CoapOption::uint(Number::MAX_AGE, resource.max_age_s),
    ];
    if is_observed {
        let sequence = resource.version as u32 & ((1 << SEQUENCE_BITS) - 1);
        options.push(CoapOption::uint(Number::OBSERVE, sequence));
    }
    let format = resource.content_format.filter(|_| has_payload);
    options.extend(format.map(|format| CoapOption::uint(Number::CONTENT_FORMAT, format.into())));
    options
}

fn answer(code: Code, options: Vec<CoapOption>, payload: &[u8], name: MessageId) -> Asked {
    match encode((Type::Con, code), &Token::EMPTY, options, payload) {
        Ok((message, 0)) => Asked::Answer(UNTOLD, message, 0),
        Ok((message, body_bytes)) => Asked::Answer(name, message, body_bytes),
        Err(_) => Asked::Elsewhere,
    }
}

fn body_name(version: u64) -> MessageId {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&VALUE_PREFIX);
    name[8..].copy_from_slice(&version.to_be_bytes());
    MessageId(name)
}

/// The path as a resource is stored by; `None`: no resource has such a one.
fn path_of(request: &Message<'_>) -> Option<String> {
    let segments = request.options.all(Number::URI_PATH);
    let segments: Option<Vec<&str>> = segments
        .map(|segment| {
            let text = std::str::from_utf8(segment).ok()?;
            (!text.is_empty() && !text.contains('/')).then_some(text)
        })
        .collect();
    segments.filter(|segments| !segments.is_empty()).map(|segments| segments.join("/"))
}

/// If-Match and If-None-Match of RFC 7252 section 5.10.8.
fn is_fulfilled(request: &Message<'_>, resource: Option<&EdgeResource>) -> bool {
    let options = &request.options;
    let tag = resource.map(EdgeResource::tag);
    let mut wanted = options.all(Number::IF_MATCH).peekable();
    let is_match = wanted.peek().is_none()
        || tag.is_some_and(|tag| wanted.any(|wanted| wanted.is_empty() || wanted == tag));
    is_match && (options.first(Number::IF_NONE_MATCH).is_none() || resource.is_none())
}

/// Every entry of a table.
pub(super) fn everything(store: &dyn Store, table: Table) -> Result<Vec<Entry>, StoreError> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| key.clone());
        let found = store.scan(table, &[], after.as_deref(), SCAN_ENTRIES)?;
        let is_last = found.len() < SCAN_ENTRIES;
        all.extend(found);
        if is_last {
            return Ok(all);
        }
    }
}
