//! Where is a device now? Its session, kept in memory and, so that downlinks find it after a
//! restart, in the store.
//!
//! *Why uplinks are not written each:* a location is a hint. A stale one costs a downlink a
//! `NoSession`, and the next sign of life puts it right.

use std::collections::HashMap;

use tidegate_ring::Seq;
use tidegate_ring::contract::{EndReason, Kind, SessionDown, SessionEnd, SessionRef, SessionUp};
use zerocopy::IntoBytes;

use super::credentials::from_the_wire;
use super::{Core, LinkId, Now, Ticket};
use crate::model::{DeviceId, Network};
use crate::store::records::{Identity, Location};
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// Every device that was ever seen. *Bound:* the number of devices.
#[derive(Default)]
pub(super) struct Sessions {
    located: HashMap<DeviceId, Located>,
    alive: usize,
}

struct Located {
    location: Location,
    /// The last uplink that the store knows of, Unix milliseconds.
    stored_unix_ms: u64,
}

/// How far the store's last-uplink time may lag, milliseconds.
const LAST_UPLINK_LAG_MS: u64 = 60_000;
const SCAN_ENTRIES: usize = 4_096;

impl Sessions {
    /// What the store remembers.
    pub(super) fn restore(store: &dyn Store) -> Result<Self, StoreError> {
        let mut sessions = Self::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = store.scan(Table::Sessions, keys::SESSIONS, after.as_deref(), SCAN_ENTRIES);
            let found = found?;
            for (key, value) in &found {
                let device = key[keys::SESSIONS.len()..].try_into().ok().map(DeviceId);
                if let (Some(device), Some(location)) = (device, Location::decode(value)) {
                    sessions.set(device, location, location.last_uplink_unix_ms);
                }
            }
            match found.last() {
                Some((key, _)) if found.len() == SCAN_ENTRIES => after = Some(key.clone()),
                _ => return Ok(sessions),
            }
        }
    }

    /// Devices with a session.
    pub(super) fn alive(&self) -> usize {
        self.alive
    }

    /// The device's session, unless it is about to end.
    pub(super) fn session(&self, device: DeviceId) -> Option<SessionRef> {
        let location = &self.located.get(&device)?.location;
        location.session.filter(|_| !location.is_ending).map(SessionRef)
    }

    /// Was this session told to end?
    pub(super) fn is_ending(&self, device: DeviceId, session: u64) -> bool {
        let location = self.located.get(&device).map(|located| located.location);
        location.is_some_and(|at| at.is_ending && at.session == Some(session))
    }

    /// Unix milliseconds.
    pub(super) fn last_uplink(&self, device: DeviceId) -> Option<u64> {
        let last = self.located.get(&device)?.location.last_uplink_unix_ms;
        (last > 0).then_some(last)
    }

    fn set(&mut self, device: DeviceId, location: Location, stored_unix_ms: u64) {
        let before = self.located.insert(device, Located { location, stored_unix_ms });
        self.alive += usize::from(location.session.is_some());
        self.alive -= usize::from(before.is_some_and(|before| before.location.session.is_some()));
    }

    fn remove(&mut self, device: DeviceId) {
        let before = self.located.remove(&device);
        self.alive -= usize::from(before.is_some_and(|before| before.location.session.is_some()));
    }
}

impl Core {
    pub(super) fn on_session_up(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (up, identity) = SessionUp::split(bytes)?;
        let network = from_the_wire(up.network)?;
        let (device, session) = (DeviceId(up.device), SessionRef(up.session.get()));
        if !self.is_identity_of(identity, device) {
            // Deleted or renamed while the handshake was under way.
            self.end_session(device, session, EndReason::CredentialDropped);
            self.done(link, seq);
            return Some(());
        }
        let before = self.sessions.located.get(&device).map(|located| located.location);
        let replaced = before.and_then(|before| before.session).filter(|s| *s != session.0);
        if let Some(replaced) = replaced {
            self.end_session(device, SessionRef(replaced), EndReason::Replaced);
        }
        let last_uplink_unix_ms = before.map_or(0, |before| before.last_uplink_unix_ms);
        let session = Some(session.0);
        let location = Location { session, is_ending: false, network, last_uplink_unix_ms };
        self.locate(device, location, Some(Ticket::Entry { link, seq }));
        self.on_awake(now, device);
        Some(())
    }

    pub(super) fn on_session_down(&mut self, link: LinkId, seq: Seq, bytes: &[u8]) -> Option<()> {
        let (down, _) = SessionDown::split(bytes)?;
        let device = DeviceId(down.device);
        let before = self.sessions.located.get(&device).map(|located| located.location);
        if let Some(location) = before.filter(|at| at.session == Some(down.session.get())) {
            let location = Location { session: None, is_ending: false, ..location };
            self.locate(device, location, Some(Ticket::Entry { link, seq }));
        } else {
            self.done(link, seq);
        }
        Some(())
    }

    /// An uplink came by this session. A session that is not the known one does not take its
    /// place: rings of two workers have no order, and the newer session said so itself.
    pub(super) fn saw_uplink(&mut self, now: Now, device: DeviceId, by: u64, network: Network) {
        match self.sessions.located.get_mut(&device) {
            Some(located) if located.location.session.is_some() => {
                located.location.last_uplink_unix_ms = now.unix_ms;
                if now.unix_ms.saturating_sub(located.stored_unix_ms) >= LAST_UPLINK_LAG_MS {
                    let location = located.location;
                    self.locate(device, location, None);
                }
            }
            _ => {
                let last_uplink_unix_ms = now.unix_ms;
                let session = Some(by);
                let location = Location { session, is_ending: false, network, last_uplink_unix_ms };
                self.locate(device, location, None);
            }
        }
    }

    /// The device was deleted.
    pub(super) fn forget_location(&mut self, device: DeviceId) {
        self.sessions.remove(device);
        let mut tx = Transaction::new();
        tx.delete(Table::Sessions, keys::session(device));
        self.write(tx, None);
    }

    /// The device's session is no longer good. It is remembered as ending until the worker says
    /// that it has: a worker that restarts now finds no order in its ring.
    pub(super) fn end_located(&mut self, device: DeviceId, why: EndReason) {
        let located = self.sessions.located.get(&device).map(|located| located.location);
        let Some(location) = located else { return };
        if let Some(session) = location.session {
            self.locate(device, Location { is_ending: true, ..location }, None);
            self.end_session(device, SessionRef(session), why);
        }
    }

    pub(super) fn end_session(&mut self, device: DeviceId, session: SessionRef, why: EndReason) {
        if let Some(link) = self.link_of_worker(session.worker()).map(|link| link.id) {
            let end = SessionEnd { device: device.0, session: session.0.into(), reason: why as u8 };
            self.post(link, Kind::SessionEnd, &[end.as_bytes()], None);
        }
    }

    fn locate(&mut self, device: DeviceId, location: Location, ticket: Option<Ticket>) {
        self.sessions.set(device, location, location.last_uplink_unix_ms);
        let mut tx = Transaction::new();
        tx.put(Table::Sessions, keys::session(device), location.encode());
        self.write(tx, ticket);
    }

    fn is_identity_of(&self, identity: &[u8], device: DeviceId) -> bool {
        match self.store.get(Table::Identities, identity) {
            Ok(Some(stored)) => Identity::decode(&stored).is_ok_and(|it| it.device == device),
            Ok(None) => false,
            // The store can't say: the worker knew the key, let it live.
            Err(_) => true,
        }
    }
}
