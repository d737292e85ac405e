//! Where is a device now? Its session, kept in memory and, so that downlinks find it after a
//! restart, in the store.
//!
//! A device has one session that counts. *Why one without security never takes the place of one
//! with it:* anybody can send from that address; it lives beside it instead.
//!
//! *Why uplinks are not written each:* a location is a hint. A stale one costs a downlink a
//! `NoSession`, and the next sign of life puts it right.

use serde_json::json;
use tidegate_ring::Seq;
use tidegate_ring::contract::{EndReason, Kind, SessionDown, SessionEnd, SessionRef, SessionUp};
use zerocopy::IntoBytes;

use super::credentials::{from_the_wire, mode_from_the_wire};
use super::measure::Happened;
use super::{ByDevice, Core, LinkId, Now, Ticket};
use crate::model::{DeviceId, Network, SecurityMode};
use crate::store::names::Standing;
use crate::store::records::{Location, OtherSession, OtherStanding};
use crate::store::settings::Event;
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// Every device that was ever seen. *Bound:* the number of devices.
#[derive(Default)]
pub(super) struct Sessions {
    located: ByDevice<Located>,
    alive: usize,
}

struct Located {
    location: Location,
    /// The session of the last uplink, when it is another one: where the device is, should the
    /// one we know of turn out to be gone.
    heard: Option<u64>,
    /// The last uplink that the store knows of, Unix milliseconds.
    stored_unix_ms: u64,
    /// Its last sign of life in this process's life, milliseconds.
    awake_ms: Option<u64>,
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
        let location = self.location(device)?;
        location.session.filter(|_| !location.is_ending).map(SessionRef)
    }

    /// Was this session told to end?
    pub(super) fn is_ending(&self, device: DeviceId, session: u64) -> bool {
        let Some(at) = self.location(device) else { return false };
        at.is_ending && at.session == Some(session)
            || at.other == Some(OtherSession::refused(session))
    }

    /// Is it one without security, beside one that has it?
    pub(super) fn is_beside(&self, device: DeviceId, session: u64) -> bool {
        let beside = Some(OtherSession::unsecured(session));
        self.location(device).is_some_and(|at| at.other == beside)
    }

    /// How this session authenticated, as far as is known.
    pub(super) fn mode(&self, device: DeviceId, session: u64) -> Option<SecurityMode> {
        let at = self.location(device)?;
        if at.session == Some(session) {
            return at.mode;
        }
        match at.other.filter(|other| other.session == session)?.standing {
            OtherStanding::Replaced(mode) => mode,
            OtherStanding::Unsecured => Some(SecurityMode::NoSec),
            OtherStanding::Refused => None,
        }
    }

    fn location(&self, device: DeviceId) -> Option<Location> {
        self.located.get(&device).map(|located| located.location)
    }

    /// Unix milliseconds.
    pub(super) fn last_uplink(&self, device: DeviceId) -> Option<u64> {
        let last = self.located.get(&device)?.location.last_uplink_unix_ms;
        (last > 0).then_some(last)
    }

    /// Its last sign of life, milliseconds.
    pub(super) fn awake_ms(&self, device: DeviceId) -> Option<u64> {
        self.located.get(&device)?.awake_ms
    }

    /// It has shown itself.
    pub(super) fn wake(&mut self, now: Now, device: DeviceId) {
        if let Some(located) = self.located.get_mut(&device) {
            located.awake_ms = Some(now.ms);
        }
    }

    fn set(&mut self, device: DeviceId, location: Location, stored_unix_ms: u64) {
        let heard = self.located.get(&device).and_then(|located| located.heard);
        let heard = heard.filter(|heard| location.session != Some(*heard));
        let awake_ms = self.located.get(&device).and_then(|located| located.awake_ms);
        let located = Located { location, heard, stored_unix_ms, awake_ms };
        let before = self.located.insert(device, located);
        self.alive += usize::from(location.session.is_some());
        self.alive -= usize::from(before.is_some_and(|before| before.location.session.is_some()));
    }

    fn remove(&mut self, device: DeviceId) {
        let before = self.located.remove(&device);
        self.alive -= usize::from(before.is_some_and(|before| before.location.session.is_some()));
    }
}

impl Core {
    /// A session counts when it was made with what is good now: another stamp is refused, and a
    /// mode that the device may not use.
    pub(super) fn on_session_up(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (up, _) = SessionUp::split(bytes)?;
        let (network, mode) = (from_the_wire(up.network)?, mode_from_the_wire(up.claim)?);
        let (device, session) = (DeviceId(up.device), up.session.get());
        let ticket = Ticket::Entry { link, seq };
        let new = Location {
            session: Some(session),
            is_ending: false,
            network,
            mode: Some(mode),
            last_uplink_unix_ms: 0,
            other: None,
        };
        let before = self.sessions.location(device);
        match Standing::of(&*self.store, device) {
            Ok(Some(now)) if now.stamp != up.stamp.get() || !now.permits(network, mode) => {
                // Changed while the handshake was under way, or since what was resumed was made.
                self.end_session(device, SessionRef(session), EndReason::CredentialDropped);
                self.locate(device, refuse(before, new), Some(ticket));
            }
            Ok(None) => {
                self.end_session(device, SessionRef(session), EndReason::CredentialDropped);
                self.done(link, seq);
            }
            // The store can't say: the worker knew the credential, let it live.
            Ok(Some(_)) | Err(_) => {
                let (location, replaced) = succeed(before, new);
                if let Some(replaced) = replaced.map(SessionRef) {
                    self.end_session(device, replaced, EndReason::Replaced);
                }
                self.locate(device, location, Some(ticket));
                self.events_of_session_up(now, device, up, before);
                self.check_class(device, session, up.class.get());
                self.log_session_up(now, device, mode.as_str(), up.resumed == 1);
                if mode != SecurityMode::NoSec {
                    self.count(now, device, Happened::Joined);
                }
                if location.session == new.session {
                    self.connects.forget(device);
                    self.on_other_session(device, session);
                    self.on_awake(now, device);
                }
            }
        }
        Some(())
    }

    /// A device that was not there is there now.
    fn events_of_session_up(
        &mut self,
        now: Now,
        device: DeviceId,
        up: &SessionUp,
        before: Option<Location>,
    ) {
        if before.is_none() {
            self.event(now, device, Event::DeviceRegistrationState, "registered", json!({}));
        }
        if up.resumed == 0 {
            let about = json!({ "CipherSuite": up.suite.get() });
            self.event(now, device, Event::Join, "join_accepted", about);
        }
        if before.is_none_or(|before| before.session.is_none()) {
            self.event(now, device, Event::ConnectionStatus, "connected", json!({}));
        }
    }

    pub(super) fn on_session_down(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (down, _) = SessionDown::split(bytes)?;
        let (device, ended) = (DeviceId(down.device), down.session.get());
        self.log_session_down(now, device, EndReason::from_wire(down.reason)?);
        self.on_observer_gone(device, ended);
        let Some(before) = self.sessions.location(device) else {
            self.done(link, seq);
            return Some(());
        };
        let other = before.other.filter(|other| other.session != ended);
        let location = if before.session == Some(ended) {
            let left = other.filter(|other| other.standing == OtherStanding::Unsecured);
            let session = left.map(|left| left.session);
            let mode = left.map(|_| SecurityMode::NoSec);
            let other = other.filter(|_| left.is_none());
            Location { session, is_ending: false, mode, other, ..before }
        } else {
            Location { other, ..before }
        };
        if before.session.is_some() && location.session.is_none() {
            let reason = EndReason::from_wire(down.reason).map(|reason| format!("{reason:?}"));
            let about = json!({ "Reason": reason });
            self.event(now, device, Event::ConnectionStatus, "disconnected", about);
        }
        if location == before {
            self.done(link, seq);
        } else {
            self.locate(device, location, Some(Ticket::Entry { link, seq }));
        }
        Some(())
    }

    /// An uplink came by this session. A session that is not the known one does not take its
    /// place: rings of two workers have no order, and the newer session said so itself. It does
    /// when the worker says that the known one is gone ([`Self::session_is_gone`]).
    pub(super) fn saw_uplink(&mut self, now: Now, device: DeviceId, by: u64, network: Network) {
        match self.sessions.located.get_mut(&device) {
            Some(located) if located.location.session.is_some() => {
                located.location.last_uplink_unix_ms = now.unix_ms;
                located.heard = (located.location.session != Some(by)).then_some(by);
                if now.unix_ms.saturating_sub(located.stored_unix_ms) >= LAST_UPLINK_LAG_MS {
                    let location = located.location;
                    self.locate(device, location, None);
                }
            }
            _ => {
                let (session, last_uplink_unix_ms) = (Some(by), now.unix_ms);
                let other = self.sessions.location(device).and_then(|before| before.other);
                let (mode, is_ending) = (self.sessions.mode(device, by), false);
                let other = other.filter(|other| other.session != by);
                let location =
                    Location { session, is_ending, network, mode, last_uplink_unix_ms, other };
                self.locate(device, location, None);
            }
        }
    }

    /// A worker has no such session: what said that it is there, or is not any more, was lost with
    /// a process or refused by the store. The device is where it was heard last.
    pub(super) fn session_is_gone(&mut self, device: DeviceId, session: u64) {
        let Some(location) = self.sessions.location(device) else { return };
        if location.session != Some(session) {
            return;
        }
        let heard = self.sessions.located.get(&device).and_then(|located| located.heard);
        let heard = heard.filter(|heard| {
            !self.sessions.is_ending(device, *heard) && !self.sessions.is_beside(device, *heard)
        });
        let mode = heard.and_then(|heard| self.sessions.mode(device, heard));
        let other = location.other.filter(|other| Some(other.session) != heard);
        let location = Location { session: heard, is_ending: false, mode, other, ..location };
        self.locate(device, location, None);
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
        let Some(location) = self.sessions.location(device) else { return };
        let other = location.other.map(|other| OtherSession::refused(other.session));
        if let Some(beside) = other.filter(|other| self.sessions.is_beside(device, other.session)) {
            self.end_session(device, SessionRef(beside.session), why);
        }
        if let Some(session) = location.session {
            self.locate(device, Location { is_ending: true, other, ..location }, None);
            self.end_session(device, SessionRef(session), why);
        } else if other != location.other {
            self.locate(device, Location { other, ..location }, None);
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
}

/// Where the device is once `new` is up, and which session ends for that.
fn succeed(before: Option<Location>, new: Location) -> (Location, Option<u64>) {
    const UNSECURED: Option<SecurityMode> = Some(SecurityMode::NoSec);
    let Some(before) = before else { return (new, None) };
    let other = before.other.filter(|other| Some(other.session) != new.session);
    let new = Location { last_uplink_unix_ms: before.last_uplink_unix_ms, other, ..new };
    let held = before.session.filter(|held| Some(*held) != new.session);
    let (Some(held), Some(session)) = (held, new.session) else { return (new, None) };
    if new.mode == UNSECURED && before.mode != UNSECURED && !before.is_ending {
        let other = Some(OtherSession::unsecured(session));
        return (Location { other, ..before }, None);
    }
    if new.mode != UNSECURED && before.mode == UNSECURED && !before.is_ending {
        let other = Some(OtherSession::unsecured(held));
        return (Location { other, ..new }, None);
    }
    let replaced = if before.is_ending {
        OtherSession::refused(held)
    } else {
        OtherSession { session: held, standing: OtherStanding::Replaced(before.mode) }
    };
    let beside = other.filter(|other| other.standing == OtherStanding::Unsecured);
    (Location { other: beside.or(Some(replaced)), ..new }, Some(held))
}

/// Where the device is though `new` was refused: what that says until it has ended does not count.
fn refuse(before: Option<Location>, new: Location) -> Location {
    let refused = new.session.map(OtherSession::refused);
    match before {
        Some(same) if same.session == new.session => Location { is_ending: true, ..same },
        Some(before) => Location { other: refused, ..before },
        None => Location { session: None, mode: None, other: refused, ..new },
    }
}
