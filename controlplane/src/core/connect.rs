//! How does a message reach a device that has no session, but listens? The edge opens one.
//!
//! ```text
//! Wanted ──▶ UnderWay ──▶ SessionUp: forgotten, the queue flows
//!    ▲           │
//!    └─ Resting ◀┘ ConnectFailed, too long, worker gone: QueueMode 0 has failed, QueueMode 1 waits
//! ```
//!
//! One attempt per device at a time, however many messages wait for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;

use rand::Rng as _;
use tidegate_crypto::secret::Secret;
use tidegate_ring::Seq;
use tidegate_ring::contract::{Connect, ConnectFailed, Kind};
use zerocopy::IntoBytes;

use super::credentials::on_the_wire;
use super::lane::Lane;
use super::{Core, LinkId, Now};
use crate::model::{Device, DeviceId, Failure, MessageState, Network, SecurityMode, mapped};
use crate::store::names::Standing;
use crate::store::records::{Identity, read};
use crate::store::{StoreError, Table};

/// Sessions that are wanted. *Bound:* devices with open messages.
#[derive(Default)]
pub(super) struct Connects {
    of: HashMap<DeviceId, Connecting>,
    /// In the order in which they became wanted; some may not be any more.
    wanted: VecDeque<DeviceId>,
    due: BTreeSet<(u64, DeviceId)>,
    under_way: usize,
    /// What waits in the queues is to be looked at: a restart forgot who wanted what.
    looks: bool,
}

struct Connecting {
    /// Failures in a row.
    failures: u32,
    phase: Phase,
}

enum Phase {
    Wanted,
    UnderWay { attempt: u64, due_ms: u64 },
    Resting { since_ms: u64, due_ms: u64 },
}

/// The worker whose sessions the edge opens.
const WORKER: u8 = 0;
/// Bound: attempts at a time.
pub(super) const UNDER_WAY_MAX: usize = 64;
/// Bound: devices looked at in one turn.
const LOOKS_MAX: usize = 256;
/// An attempt nothing was heard of for so long has failed, milliseconds. *Why:* longer than six
/// flights with a doubling timer (RFC 6347 section 4.2.4.1); only an answer that is lost with a
/// process takes so long.
pub(super) const ATTEMPT_MAX_MS: u64 = 120_000;
/// After a failure: even a new message does not try again before this, milliseconds.
pub(super) const REST_MIN_MS: u64 = 2_000;
/// After the first failure QueueMode 1 tries again then; doubled by each further, milliseconds.
pub(super) const REST_MS: u64 = 10_000;
/// Bound: failures in a row after which only a new message, or the device, brings it back.
pub(super) const FAILURES_MAX: u32 = 8;

/// Where a device listens, and what it knows us by.
struct Listener {
    at: SocketAddr,
    network: Network,
    stamp: u64,
    identity: String,
    key: Secret,
}

impl Connects {
    pub(super) fn due_ms(&self) -> Option<u64> {
        let has_turn = self.looks || !self.wanted.is_empty() && self.under_way < UNDER_WAY_MAX;
        if has_turn { Some(0) } else { self.due.first().map(|(due_ms, _)| *due_ms) }
    }

    /// Worker 0 is there, perhaps for the first time in our life.
    pub(super) fn look(&mut self, worker: u8, has_messages: bool) {
        self.looks |= worker == WORKER && has_messages;
    }

    /// What that worker had under way is lost: it fails at the next turn.
    pub(super) fn lose(&mut self, worker: u8) {
        if worker != WORKER {
            return;
        }
        for (device, known) in &mut self.of {
            if let Phase::UnderWay { due_ms, .. } = &mut known.phase {
                self.due.remove(&(*due_ms, *device));
                *due_ms = 0;
                self.due.insert((0, *device));
            }
        }
    }

    fn set(&mut self, device: DeviceId, failures: u32, phase: Phase) {
        self.forget(device);
        match phase {
            Phase::Wanted => self.wanted.push_back(device),
            Phase::UnderWay { due_ms, .. } => {
                self.under_way += 1;
                self.due.insert((due_ms, device));
            }
            Phase::Resting { due_ms, .. } => {
                self.due.insert((due_ms, device));
            }
        }
        self.of.insert(device, Connecting { failures, phase });
    }

    pub(super) fn forget(&mut self, device: DeviceId) {
        match self.of.remove(&device).map(|known| known.phase) {
            Some(Phase::UnderWay { due_ms, .. }) => {
                self.under_way -= 1;
                self.due.remove(&(due_ms, device));
            }
            Some(Phase::Resting { due_ms, .. }) => {
                self.due.remove(&(due_ms, device));
            }
            Some(Phase::Wanted) | None => {}
        }
    }
}

impl Core {
    /// A message waits for a device without a session: will there be one? False: not now.
    pub(super) fn wants_session(&mut self, now: Now, device: DeviceId) -> bool {
        let known = self.connects.of.get(&device);
        let failures = match known.map(|known| (&known.phase, known.failures)) {
            Some((Phase::Wanted | Phase::UnderWay { .. }, _)) => return true,
            Some((Phase::Resting { since_ms, .. }, failures)) => {
                if now.ms < since_ms + REST_MIN_MS {
                    return false;
                }
                failures
            }
            None => 0,
        };
        // A session whose worker is away comes back with it.
        let has_session = self.sessions.session(device).is_some();
        if has_session
            || self.link_of_worker(WORKER).is_none()
            || !matches!(self.listener(device), Ok(Some(_)))
        {
            return false;
        }
        self.connects.set(device, failures, Phase::Wanted);
        true
    }

    /// What is QueueMode 1 and waits may want a session too.
    pub(super) fn wants_session_for_queue(&mut self, now: Now, device: DeviceId) {
        if self.is_queue_waiting(device) && !self.is_window_closed(now, device) {
            self.wants_session(now, device);
        }
    }

    pub(super) fn on_connect_failed(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (failed, _) = ConnectFailed::split(bytes)?;
        let device = DeviceId(failed.device);
        self.done(link, seq);
        let known = self.connects.of.get(&device).map(|known| &known.phase);
        // Any other is of an attempt that was given up.
        if matches!(known, Some(Phase::UnderWay { attempt, .. }) if *attempt == failed.attempt.get())
        {
            self.connect_fails(now, device);
        }
        Some(())
    }

    /// The device's credential or endpoint is another one now.
    pub(super) fn connect_anew(&mut self, device: DeviceId) {
        let known = self.connects.of.get(&device).map(|known| &known.phase);
        if matches!(known, Some(Phase::UnderWay { .. } | Phase::Resting { .. })) {
            self.connects.set(device, 0, Phase::Wanted);
        }
    }

    /// Begins what may begin, and ends what takes too long.
    pub(super) fn on_connects_due(&mut self, now: Now) {
        while let Some((due_ms, device)) = self.connects.due.first().copied() {
            if due_ms > now.ms {
                break;
            }
            match self.connects.of.get(&device).map(|known| (&known.phase, known.failures)) {
                Some((Phase::UnderWay { .. }, _)) => self.connect_fails(now, device),
                Some((_, failures)) if failures < FAILURES_MAX && self.is_queue_waiting(device) => {
                    self.connects.set(device, failures, Phase::Wanted);
                }
                _ => self.connects.forget(device),
            }
            self.connects.due.remove(&(due_ms, device));
        }
        if std::mem::take(&mut self.connects.looks) {
            let waiting = self.messages.lanes.iter().filter(|(_, lane)| lane.is_queue_waiting());
            let waiting = waiting.map(|(device, _)| *device);
            let mut waiting: Vec<_> =
                waiting.filter(|device| !self.connects.of.contains_key(device)).collect();
            waiting.sort_unstable();
            for device in waiting {
                self.connects.set(device, 0, Phase::Wanted);
            }
        }
        for _ in 0..LOOKS_MAX {
            if self.connects.under_way >= UNDER_WAY_MAX {
                return;
            }
            let Some(device) = self.connects.wanted.pop_front() else { return };
            let known = self.connects.of.get(&device);
            if let Some(Connecting { failures, phase: Phase::Wanted }) = known {
                self.begin_connect(now, device, *failures);
            }
        }
    }

    fn begin_connect(&mut self, now: Now, device: DeviceId, failures: u32) {
        if self.sessions.session(device).is_some() {
            self.connects.forget(device);
            return self.hand_over(now, device);
        }
        let is_urgent = |lane: &Lane| !lane.waiting_immediate().is_empty();
        let is_wanted = self.messages.lanes.get(&device).is_some_and(is_urgent);
        if !is_wanted && self.is_window_closed(now, device) {
            return self.connects.forget(device);
        }
        let link = self.link_of_worker(WORKER).map(|link| link.id);
        let (link, listener) = match (link, self.listener(device)) {
            (Some(link), Ok(Some(listener))) => (link, listener),
            (_, Ok(None)) => {
                self.connects.forget(device);
                return self.fail_immediate(now, device);
            }
            (None, _) | (_, Err(_)) => return self.connect_fails(now, device),
        };
        let Ok(class) = self.class_of(device) else { return self.connect_fails(now, device) };
        let attempt: u64 = self.random.random();
        let connect = Connect {
            device: device.0,
            stamp: listener.stamp.into(),
            class: class.into(),
            attempt: attempt.into(),
            peer_ip: mapped(listener.at.ip()),
            peer_port: listener.at.port().into(),
            identity_len: (listener.identity.len() as u16).into(),
            network: on_the_wire(listener.network),
        };
        let parts = [connect.as_bytes(), listener.identity.as_bytes(), listener.key.as_bytes()];
        self.post(link, Kind::Connect, &parts, None);
        let due_ms = now.ms + ATTEMPT_MAX_MS;
        self.connects.set(device, failures, Phase::UnderWay { attempt, due_ms });
    }

    /// QueueMode 0 has failed; QueueMode 1 waits.
    fn connect_fails(&mut self, now: Now, device: DeviceId) {
        let failures = self.connects.of.get(&device).map_or(0, |known| known.failures);
        let due_ms = now.ms + (REST_MS << failures.min(FAILURES_MAX));
        let resting = Phase::Resting { since_ms: now.ms, due_ms };
        self.connects.set(device, failures + 1, resting);
        self.fail_immediate(now, device);
    }

    fn fail_immediate(&mut self, now: Now, device: DeviceId) {
        let lane = self.messages.lanes.get(&device);
        let immediate = lane.map(Lane::waiting_immediate).unwrap_or_default();
        for message in immediate {
            self.end(now, device, message, MessageState::Failed(Failure::NoSession));
        }
    }

    /// Is a session being opened, or will be as soon as there is a turn?
    pub(super) fn is_connecting(&self, device: DeviceId) -> bool {
        let phase = self.connects.of.get(&device).map(|known| &known.phase);
        matches!(phase, Some(Phase::Wanted | Phase::UnderWay { .. }))
    }

    fn is_queue_waiting(&self, device: DeviceId) -> bool {
        self.messages.lanes.get(&device).is_some_and(Lane::is_queue_waiting)
    }

    /// `None`: it does not listen, or may not use a PSK.
    fn listener(&self, device: DeviceId) -> Result<Option<Listener>, StoreError> {
        let Some(record) = read::<Device>(&*self.store, Table::Devices, &device.0)? else {
            return Ok(None);
        };
        let blocks = [(Network::Cellular, record.cellular), (Network::WiFi, record.wifi)];
        for (network, block) in blocks {
            let Some(block) = block else { continue };
            let (Some(at), Some(identity)) = (block.endpoint, block.identity) else { continue };
            let standing = Standing::of(&*self.store, device)?;
            let permitted = standing.filter(|now| now.permits(network, SecurityMode::PreSharedKey));
            let Some(Standing { stamp, .. }) = permitted else { continue };
            let Some(stored) = self.store.get(Table::Identities, identity.as_bytes())? else {
                continue;
            };
            let stored = Identity::decode(&stored)?;
            if stored.device == device {
                let key = stored.open(&self.vault, identity.as_bytes())?;
                return Ok(Some(Listener { at, network, stamp, identity, key }));
            }
        }
        Ok(None)
    }
}
