//! What happens at the control plane? Turns, effects carried out one by one, what store and broker
//! say, deaths and starts.

use tidegate_controlplane::core::{ConfirmedBy, Effect, PublishResult};
use tidegate_controlplane::edge::window::Took;
use tidegate_controlplane::edge::writes::WriteId;
use tidegate_controlplane::store::{Store, StoreError, Transaction};
use tidegate_faults::Point;
use tidegate_ring::{Consumer, Seq};

use super::super::broker::OnItsWay;
use super::super::device::Device;
use super::{Event, World};

/// Entries of one ring in one turn.
const ENTRIES_PER_TURN: usize = 256;
/// Transactions of one sync.
const SYNCED_MAX: usize = 256;

impl World {
    pub(super) fn control_starts(&mut self) {
        if self.control.core.is_some() {
            return;
        }
        self.note("the control plane starts", 0, &[]);
        self.life += 1;
        let started = self.control.starts(self.now_ms, self.unix_ms());
        self.checks.blame(started.map_err(|error| format!("the store can't be used: {error}")));
        self.broker.publisher_starts(self.now_ms);
        self.plans_connection();
        self.wake_control();
    }

    pub(super) fn control_dies(&mut self) {
        if self.control.core.is_none() {
            return;
        }
        self.note("the control plane dies", 0, &[]);
        self.checks.interruptions.publishing += 1;
        self.broker.publisher_dies();
        self.application.hears_no_more();
        for transaction in self.control.dies() {
            // A refusal reaches nobody any more.
            let _ = self.apply(transaction);
        }
        self.checks.outbox.on_death();
    }

    fn plans_connection(&mut self) {
        if let Some(ms) = self.broker.connects_ms {
            self.at(ms, Event::BrokerConnects(self.life));
        }
    }

    pub(super) fn wake_control(&mut self) {
        let soon_ms = self.now_ms + self.control.wakes_in_ms();
        self.wake_control_at(soon_ms);
    }

    pub(super) fn wake_control_at(&mut self, at_ms: u64) {
        let is_earlier = self.control.turn_ms.is_none_or(|turn_ms| at_ms < turn_ms);
        if self.control.core.is_some() && is_earlier {
            self.control.turn_ms = Some(at_ms);
            self.at(at_ms, Event::ControlTurn);
        }
    }

    fn is_stalled(&self) -> bool {
        self.now_ms < self.control.stalls_until_ms
    }

    pub(super) fn control_turn(&mut self) {
        if self.control.turn_ms.is_none_or(|turn_ms| turn_ms > self.now_ms) {
            return;
        }
        self.control.turn_ms = None;
        if self.is_stalled() {
            return self.wake_control_at(self.control.stalls_until_ms);
        }
        let now = self.control.now(self.now_ms, self.unix_ms());
        let mut has_more = false;
        for (id, transaction) in self.control.writes.retry(now.ms) {
            self.writes(id, transaction);
        }
        if self.control.is_open(self.now_ms) && !self.control.writes.is_full() {
            self.attaches();
            for link in &mut self.control.links {
                let (Some(core), Some(id)) = (&mut self.control.core, link.id) else { continue };
                let Some(up) = &mut link.up else { continue };
                let mut taken = 0;
                while taken < ENTRIES_PER_TURN
                    && matches!(link.window.take(up, id, now, core), Took::Entry)
                {
                    taken += 1;
                }
                has_more |= taken == ENTRIES_PER_TURN;
            }
        }
        let Some(core) = &mut self.control.core else { return };
        core.on_due(now);
        self.carries_out();
        let Some(core) = &self.control.core else { return };
        let due = core.due_ms().into_iter().chain(self.control.writes.due_ms()).min();
        let due = due.map(|due_ms| self.now_ms + due_ms.saturating_sub(now.ms).max(1));
        if let Some(due_ms) = due {
            self.wake_control_at(due_ms);
        }
        if has_more || !self.control.is_open(self.now_ms) {
            self.wake_control_at(self.now_ms + 50);
        }
    }

    fn attaches(&mut self) {
        for at in 0..self.control.links.len() {
            if self.control.links[at].id.is_some() {
                continue;
            }
            let id = self.control.next_link();
            let link = &mut self.control.links[at];
            link.id = Some(id);
            let worker = link.worker;
            let committed = link.up.as_ref().map_or(Seq(0), Consumer::committed);
            if let Some(core) = &mut self.control.core {
                core.on_attached(id, worker, committed);
            }
        }
    }

    /// Carries out what the core wants, until it wants nothing more or the process dies.
    pub(super) fn carries_out(&mut self) {
        let mut effects = Vec::new();
        while let Some(core) = &mut self.control.core {
            core.take_effects(&mut effects);
            if effects.is_empty() {
                break;
            }
            for effect in effects.drain(..) {
                if self.control.dies_at(point(&effect)) {
                    return self.control_dies();
                }
                if !self.carries_out_one(effect) {
                    return self.control_dies();
                }
            }
        }
        self.flushes();
    }

    /// False: the process died of it.
    fn carries_out_one(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Post(post) => {
                let link = self.control.links.iter_mut().find(|link| link.id == Some(post.link));
                self.trace.note(self.now_ms, "posts", post.kind as usize, &post.bytes);
                if let Some(link) = link {
                    link.window.post(post);
                }
            }
            Effect::Done { link, seq } => {
                let done = self.control.lives(|_, links| {
                    let link = links.iter_mut().find(|known| known.id == Some(link));
                    if let Some(link) = link
                        && let Some(up) = &mut link.up
                    {
                        link.window.done(up, seq);
                    }
                });
                return done.is_some();
            }
            Effect::WithNext { link, seq } => {
                let link = self.control.links.iter_mut().find(|known| known.id == Some(link));
                if let Some(link) = link {
                    link.window.with_next(seq);
                }
            }
            Effect::Publish { id, payload, .. } => {
                self.trace.note(self.now_ms, "publishes", id.0 as usize, &payload);
                self.broker.orders(id, payload);
            }
            Effect::Abandon { id } => {
                // What waits in the store is published again.
                self.checks.interruptions.publishing +=
                    u32::from(self.plan.confirmed_by != ConfirmedBy::Destination);
                self.broker.abandons(id);
            }
            Effect::Write { transaction, ticket } => {
                self.checks.outbox.on_ordered(&transaction.changes);
                let id = self.control.writes.begin(&transaction, ticket);
                self.writes(id, transaction);
            }
            Effect::Reply { to, reply } => {
                let held = self.application.on_reply(to, &reply, &mut self.checks.downlinks);
                self.checks.blame(held);
            }
            Effect::Deliver { .. } | Effect::Read { .. } | Effect::Logged(_) => {}
        }
        true
    }

    /// What was ordered leaves: to the broker, onto the rings.
    fn flushes(&mut self) {
        for publish in self.broker.flush() {
            let (there_ms, back_ms) = (publish.after_ms, publish.confirmed_after_ms);
            self.after(there_ms, Event::BrokerHas(publish.clone()));
            self.after(back_ms, Event::BrokerConfirms(self.life, publish));
        }
        for at in 0..self.control.links.len() {
            if self.control.core.is_none() {
                return;
            }
            if self.control.dies_at(Point::BeforeFlush) {
                return self.control_dies();
            }
            let flushed = self.control.lives(|_, links| {
                let link = &mut links[at];
                let (Some(up), Some(down)) = (&mut link.up, &mut link.down) else { return None };
                Some((link.window.flush(up, down), link.window.has_outgoing()))
            });
            let Some(flushed) = flushed else {
                // What it has written, the other side reads.
                let soon_ms = self.now_ms + self.dataplane.wakes_in_ms();
                self.wake_edge(at, soon_ms);
                return self.control_dies();
            };
            let Some((has_written, waits)) = flushed else { continue };
            if has_written {
                let soon_ms = self.now_ms + self.dataplane.wakes_in_ms();
                self.wake_edge(at, soon_ms);
            }
            if waits {
                self.wake_control_at(self.now_ms + 5);
            }
        }
    }

    fn writes(&mut self, id: WriteId, transaction: Transaction) {
        self.control.unsynced.push_back((id, transaction));
        self.plans_sync();
    }

    fn plans_sync(&mut self) {
        if !self.control.is_syncing && !self.control.unsynced.is_empty() {
            self.control.is_syncing = true;
            let count = self.control.unsynced.len().min(SYNCED_MAX);
            let in_ms = self.control.syncs_in_ms();
            self.after(in_ms, Event::Synced(self.life, count));
        }
    }

    /// A sync is done: what it took is durable, and the core is told.
    pub(super) fn synced(&mut self, life: u32, count: usize) {
        if life != self.life || self.control.core.is_none() {
            return;
        }
        if self.is_stalled() {
            return self.at(self.control.stalls_until_ms, Event::Synced(life, count));
        }
        if self.control.dies_at(Point::Synced) {
            // As much of it as `control_dies` draws is on the disk.
            return self.control_dies();
        }
        self.control.is_syncing = false;
        let now = self.control.now(self.now_ms, self.unix_ms());
        for _ in 0..count {
            let Some((id, transaction)) = self.control.unsynced.pop_front() else { break };
            let result = if self.control.is_full {
                Err(StoreError::Failed("no space is left".to_owned()))
            } else {
                self.apply(transaction)
            };
            self.trace.note(self.now_ms, "synced", usize::from(result.is_ok()), &[]);
            for (ticket, result) in self.control.writes.on_result(now.ms, id, result) {
                if let Some(core) = &mut self.control.core {
                    core.on_stored(now, ticket, result);
                }
            }
        }
        self.plans_sync();
        self.carries_out();
        self.wake_control();
    }

    /// Makes a transaction durable.
    fn apply(&mut self, transaction: Transaction) -> Result<(), StoreError> {
        let changes = transaction.changes.clone();
        let (told, result) = std::sync::mpsc::channel();
        let tell = move |result: Result<_, StoreError>| {
            let _ = told.send(result.map(|_| ()));
        };
        self.control.store.submit(transaction, Box::new(tell));
        let result = result.recv().expect("a store in memory answers at once");
        if result.is_ok() {
            let held = self.checks.downlinks.on_stored(&changes);
            self.checks.blame(held);
            let held = self.checks.outbox.on_stored(&changes);
            self.checks.blame(held);
            let held = self.checks.values.on_stored(&changes);
            self.checks.blame(held);
        }
        result
    }

    pub(super) fn broker_connects(&mut self, life: u32) {
        let is_time = self.broker.connects_ms.is_some_and(|ms| ms <= self.now_ms);
        if life != self.life || !is_time || self.control.core.is_none() {
            return;
        }
        if self.is_stalled() {
            return self.at(self.control.stalls_until_ms, Event::BrokerConnects(life));
        }
        if !self.broker.connects(self.now_ms) {
            return self.plans_connection();
        }
        self.control.has_publisher = true;
        self.publisher_is(true);
    }

    /// The core hears whether the broker is there.
    pub(super) fn publisher_is(&mut self, up: bool) {
        self.note("the broker is there", usize::from(up), &[]);
        let now = self.control.now(self.now_ms, self.unix_ms());
        if let Some(core) = &mut self.control.core {
            core.on_publisher(now, up);
            self.carries_out();
            self.wake_control();
        }
    }

    pub(super) fn broker_goes(&mut self) {
        self.checks.interruptions.publishing += 1;
        if self.broker.breaks(self.now_ms) {
            self.publisher_is(false);
            self.plans_connection();
        }
    }

    /// A publish reached the broker, and so the subscriber.
    pub(super) fn broker_has(&mut self, publish: &OnItsWay) {
        if !self.broker.receives(publish) {
            return;
        }
        self.trace.note(self.now_ms, "the subscriber gets", 0, &publish.payload);
        let devices = &self.devices;
        let spoken = |number: usize| {
            let device = devices.iter().find(|device| device.number == number);
            device.map_or(0, Device::spoken)
        };
        let (uplinks, now) = (&mut self.checks.uplinks, self.checks.interruptions);
        match uplinks.on_published(&publish.payload, now, spoken) {
            Ok(event) if event.serial().is_some() => {
                let held = self.checks.outbox.on_published(&event);
                self.checks.blame(held);
                self.subscriber_reads(&event);
            }
            Ok(event) => {
                let (device, payload) = (event.device, &event.payload);
                let held = self.checks.states.on_published(device, payload);
                if held.is_some() {
                    self.checks.downlinks.on_state(&event.message);
                }
                let respond = || self.checks.downlinks.on_response(device, payload);
                let held = held.unwrap_or_else(respond);
                self.checks.blame(held);
            }
            Err(text) => self.checks.blame(Err(text)),
        }
    }

    pub(super) fn broker_confirms(&mut self, life: u32, publish: &OnItsWay) {
        if life != self.life || self.control.core.is_none() {
            return;
        }
        if self.is_stalled() {
            let event = Event::BrokerConfirms(life, publish.clone());
            return self.at(self.control.stalls_until_ms, event);
        }
        if !self.broker.confirms(publish) {
            return;
        }
        let now = self.control.now(self.now_ms, self.unix_ms());
        if let Some(core) = &mut self.control.core {
            core.on_published(now, publish.id, PublishResult::Confirmed);
        }
        self.carries_out();
        self.wake_control();
    }
}

/// Where the process is before it carries this out.
fn point(effect: &Effect) -> Point {
    match effect {
        Effect::Post(_) => Point::BeforePost,
        Effect::Done { .. } => Point::BeforeDone,
        Effect::Publish { .. } => Point::BeforePublish,
        Effect::Write { .. } => Point::BeforeWrite,
        Effect::Reply { .. } => Point::BeforeReply,
        _ => Point::BeforeOther,
    }
}
