//! What happens when something happens? Inputs in, effects out: no socket, clock, thread or disk.
//!
//! ```text
//! ring entries ──▶ on_entry ─┐                 ┌─▶ Post       an entry for a worker
//! API          ──▶ on_request├─▶ one core ─────┼─▶ Done, WithNext: a ring entry may be released
//! publisher    ──▶ on_published, on_publisher  ├─▶ Publish, Abandon
//! sinks        ──▶ on_delivered                ├─▶ Deliver
//! store        ──▶ on_stored │                 ├─▶ Write      a transaction, confirmed by ticket
//! time         ──▶ on_due ───┘                 └─▶ Reply      to the API
//! ```
//!
//! Reads go straight to the store behind its trait; everything that must survive is written by
//! effect. The shell ([`crate::edge`]) carries the effects out; the simulator is another shell.

mod bodies;
mod cells;
mod classes;
mod connect;
mod credentials;
mod customer_log;
mod edge_resources;
mod effect;
mod events;
mod group;
mod kept;
mod lane;
mod latency;
mod layouts;
mod long;
mod measure;
mod messages;
mod observers;
mod outbox;
mod outcomes;
mod probing;
mod refresh;
mod routes;
mod ruled;
mod sessions;
mod subscriptions;
mod terms;
#[cfg(test)]
mod tests;
pub mod token;
mod trial;
mod trust;
pub mod uplink_json;
mod uplinks;
mod waits;

use std::collections::HashMap;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tidegate_ring::Seq;
use tidegate_ring::contract::{Counters, Hello, Kind};

pub use effect::{
    Body, CoreHealth, Effect, LinkId, Now, Post, PublishId, PublishResult, Reply, Request,
    RequestId, Ticket,
};

pub use customer_log::LogCounts;
pub use latency::Latency;
pub use measure::{MetricLimits, MetricsRequest};
pub use messages::{check_request, check_response};
pub use outbox::{ConfirmedBy, Kept, OutboxHealth, OutboxLimits};
pub use trial::Trial;

use crate::control::{Limits, WorkerHealth};
use crate::identity::ServerIdentity;
use crate::model::DeviceId;
use crate::store::settings::Event;
use crate::store::vault::Vault;
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// Everything the control plane decides.
pub struct Core {
    store: Arc<dyn Store>,
    vault: Vault,
    limits: Limits,
    links: Vec<Link>,
    routes: routes::Routes,
    /// Of the rules.
    account_id: Arc<str>,
    uplinks: uplinks::Uplinks,
    sessions: sessions::Sessions,
    messages: messages::Messages,
    cells: cells::Cells,
    probing: probing::Probing,
    long: long::Long,
    resources: edge_resources::EdgeResources,
    observers: observers::Observers,
    subscriptions: subscriptions::Subscriptions,
    outbox: outbox::Outbox,
    connects: connect::Connects,
    events: events::Events,
    terms: terms::KnownTerms,
    trust: trust::Trust,
    classes: classes::Classes,
    log: customer_log::CustomerLog,
    measure: measure::Measure,
    publisher_up: bool,
    counts: Counts,
    /// Names what is made here.
    random: StdRng,
    out: Vec<Effect>,
}

/// Looked into for every uplink. The keys are ours, made at random.
type ByDevice<T> = HashMap<DeviceId, T, foldhash::fast::RandomState>;

/// One attached worker.
struct Link {
    id: LinkId,
    worker: u8,
    /// Entries up to here may have been read before.
    committed: Seq,
    /// From the worker's last Hello, this time or remembered by the store.
    incarnation: Option<u64>,
    greeted: bool,
    counters: Vec<u64>,
    /// What has come of a body whose request follows.
    body: bodies::Assembly,
}

/// What has happened since the start; all of it is normal somewhere.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    confirmed: u64,
    unavailable: u64,
    /// Entries that do not parse: a bug, or hostile shared memory.
    malformed: u64,
    /// Device responses that could not be kept for publishing.
    responses_dropped: u64,
    uplinks_dropped: u64,
    outbox_refused: u64,
    publish_latency: Latency,
    /// Actions of rules, or their statements, that failed for a message.
    rules_failed: u64,
}

impl Core {
    /// Takes up what the store remembers: sessions, open messages, responses to publish. `seed`:
    /// from the operating system, or from the simulator.
    pub fn new(
        now: Now,
        store: Arc<dyn Store>,
        vault: Vault,
        limits: Limits,
        identities: Vec<ServerIdentity>,
        seed: [u8; 32],
    ) -> Result<Self, StoreError> {
        let sessions = sessions::Sessions::restore(&*store)?;
        let messages = messages::Messages::restore(&*store, now, &limits)?;
        let outbox = outbox::Outbox::restore(&*store)?;
        let resources = edge_resources::EdgeResources::restore(&*store)?;
        let observers = observers::Observers::restore(&*store)?;
        let subscriptions = subscriptions::Subscriptions::restore(&*store, now)?;
        let events = events::Events::restore(&*store, now)?;
        let classes = classes::Classes::restore(&*store, now, limits.device_uplinks)?;
        let log = customer_log::CustomerLog::restore(&*store, now, limits.log)?;
        let trust = trust::Trust::restore(&*store, &classes, now, identities)?;
        let remembered = Effect::Write { transaction: trust.remember(), ticket: None };
        Ok(Self {
            store,
            vault,
            links: Vec::new(),
            routes: routes::Routes::default(),
            account_id: Arc::default(),
            uplinks: uplinks::Uplinks::new(limits.publishes_in_flight_max),
            sessions,
            messages,
            cells: cells::Cells::default(),
            probing: probing::Probing::default(),
            long: long::Long::default(),
            resources,
            observers,
            subscriptions,
            outbox,
            connects: connect::Connects::default(),
            events,
            terms: terms::KnownTerms::default(),
            trust,
            classes,
            log,
            measure: measure::Measure::new(now, limits.metrics),
            publisher_up: false,
            counts: Counts::default(),
            random: StdRng::from_seed(seed),
            out: vec![remembered],
            limits,
        })
    }

    /// A worker's rings were attached.
    ///
    /// `committed`: entries up to there may have been read in an earlier life.
    pub fn on_attached(&mut self, id: LinkId, worker: u8, committed: Seq) {
        let stored = self.store.get(Table::Sessions, &keys::incarnation(worker)).ok().flatten();
        let incarnation = stored.and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
        self.links.retain(|link| link.worker != worker);
        let (counters, body) = (Vec::new(), bodies::Assembly::default());
        let greeted = false;
        self.links.push(Link { id, worker, committed, incarnation, greeted, counters, body });
        self.send_trust(id);
        self.send_policies(id);
        self.connects.look(worker, !self.messages.lanes.is_empty());
    }

    /// A worker's rings are gone or were replaced.
    pub fn on_detached(&mut self, id: LinkId) {
        if let Some(worker) = self.link(id).map(|link| link.worker) {
            self.connects.lose(worker);
        }
        self.links.retain(|link| link.id != id);
    }

    /// An entry came from a worker. [`Effect::Done`] (or a [`Post`] that finishes it) follows, now
    /// or later, exactly once.
    pub fn on_entry(&mut self, now: Now, link: LinkId, seq: Seq, kind: u8, bytes: &[u8]) {
        let understood = match Kind::from_wire(kind) {
            Some(Kind::Uplink) => self.on_uplink(now, (link, seq), bytes),
            Some(Kind::Body) => self.on_body(link, seq, bytes),
            Some(Kind::Wanted) => self.on_wanted(now, link, seq, bytes),
            Some(Kind::CredentialWanted) => self.on_credential_wanted(link, seq, bytes),
            Some(Kind::Outcome) => self.on_outcome(now, link, seq, bytes),
            Some(Kind::Notification) => self.on_notification(now, link, seq, bytes),
            Some(Kind::SessionUp) => self.on_session_up(now, link, seq, bytes),
            Some(Kind::SessionDown) => self.on_session_down(now, link, seq, bytes),
            Some(Kind::Hello) => self.on_hello(now, link, seq, bytes),
            Some(Kind::ConnectFailed) => self.on_connect_failed(now, link, seq, bytes),
            Some(Kind::Notice) => self.on_notice(now, link, seq, bytes),
            Some(Kind::Counters) => self.on_counters(link, seq, bytes),
            _ => None,
        };
        if understood.is_none() {
            self.counts.malformed += 1;
            self.done(link, seq);
        }
    }

    /// The API asks; [`Effect::Reply`] follows, now or later, exactly once.
    pub fn on_request(&mut self, now: Now, to: RequestId, request: Request) {
        let reply = match request {
            Request::Send { device, body } => return self.send(now, to, device, body),
            Request::Delete { device, message } => return self.delete(now, to, device, message),
            Request::Waits { device } => Ok(Reply::Waits(self.waits(now, device))),
            Request::SetResource { device, resource } => {
                return self.set_resource(now, to, device, resource);
            }
            Request::DeleteResource { device, path } => {
                return self.delete_resource(now, to, device, path);
            }
            Request::DeviceChanged { device, credentials } => {
                self.device_changed(now, device, credentials);
                Ok(Reply::Done)
            }
            Request::DeviceCreated { device } => {
                self.device_created(now, device);
                Ok(Reply::Done)
            }
            Request::DeviceDeleted { device } => {
                self.device_deleted(now, device);
                Ok(Reply::Done)
            }
            Request::TrustChanged => {
                self.trust_changed(now);
                Ok(Reply::Done)
            }
            Request::PolicyCheck { bytes } => self.check_policy_fits(bytes).map(|()| Reply::Done),
            Request::PolicyOfDevice { device } => {
                let told = self.reclass(device);
                self.trust_changed_by(now, device);
                told.map(|()| Reply::Done).map_err(|_| effect::store_failed())
            }
            Request::PolicyOfProfile => {
                self.policies_changed().map(|()| Reply::Done).map_err(|_| effect::store_failed())
            }
            Request::TermsChanged => {
                self.terms.clear();
                self.cells.forget_idle();
                let told = self.policies_changed();
                told.map(|()| Reply::Done).map_err(|_| effect::store_failed())
            }
            Request::RoutesChanged => {
                self.routes.clear();
                Ok(Reply::Done)
            }
            Request::Test { device, network } => return self.test(now, to, device, network),
            Request::Metrics(asked) => Ok(self.on_metrics_request(now, asked)),
            Request::LastUplinks { devices } => {
                let last = devices.iter().map(|device| self.sessions.last_uplink(*device));
                Ok(Reply::LastUplinks(last.collect()))
            }
            Request::Health => Ok(Reply::Health(Box::new(self.health()))),
        };
        self.reply(to, reply);
    }

    fn device_created(&mut self, now: Now, device: DeviceId) {
        self.routes.forget(device);
        self.terms.forget(device);
        self.trust_changed_by(now, device);
        self.event(now, device, Event::DeviceRegistrationState, "provisioned", json!({}));
    }

    fn device_changed(&mut self, now: Now, device: DeviceId, credentials: bool) {
        self.routes.forget(device);
        self.terms.forget(device);
        self.reclass_known(device);
        if credentials {
            self.drop_credentials(device);
            self.connect_anew(device);
        }
        self.trust_changed_by(now, device);
    }

    fn device_deleted(&mut self, now: Now, device: DeviceId) {
        self.routes.forget(device);
        self.terms.forget(device);
        self.forget_class(device);
        self.drop_credentials(device);
        self.trust_changed_by(now, device);
        self.connects.forget(device);
        self.delete_lane(now, device);
        self.probing.end(device);
        self.forget_resources(device);
        self.forget_subscriptions(device);
        self.forget_location(device);
    }

    /// The publisher connected or lost its connection.
    pub fn on_publisher(&mut self, now: Now, up: bool) {
        self.publisher_up = up;
        if up {
            self.outbox.unpark();
            self.publish_outbox(now);
            self.publish_events(now);
        }
    }

    /// The store confirmed or refused what was written with `ticket`.
    pub fn on_stored(&mut self, now: Now, ticket: Ticket, result: Result<(), StoreError>) {
        match ticket {
            Ticket::Accepted { to, device, message } => {
                self.on_accepted(now, to, device, message, result);
            }
            Ticket::Entry { link, seq } => self.done(link, seq),
            Ticket::Response { link, seq, kept } => {
                self.done(link, seq);
                self.on_response_kept(now, kept, result.is_ok());
            }
            Ticket::Uplink { number } | Ticket::Promised { number } => {
                self.on_uplink_kept(now, number, result.is_ok());
            }
            Ticket::Resource { version } => {
                self.on_resource_stored(now, version, result.is_ok());
            }
            Ticket::Replied { to } => {
                let reply = result.map(|()| Reply::Done).map_err(|_| effect::store_failed());
                self.reply(to, reply);
            }
        }
    }

    /// Time has passed.
    pub fn on_due(&mut self, now: Now) {
        self.give_up_publishes(now);
        self.on_messages_due(now);
        self.on_pauses_due(now);
        self.serve_cells(now);
        self.on_connects_due(now);
        self.on_stale(now);
        self.on_trust_due(now);
        self.on_log_due(now);
        self.on_measure_due(now);
        self.on_quotas_due(now);
        self.outbox.on_due(now);
        self.publish_outbox(now);
        self.publish_events(now);
    }

    /// When [`Self::on_due`] has something to do.
    pub fn due_ms(&self) -> Option<u64> {
        let again = self.log.due_ms().min(self.classes.due_ms()).min(self.measure.due_ms());
        Some(self.pending_ms().map_or(again, |due_ms| due_ms.min(again)))
    }

    /// The same without what is looked at again and again: the customer's log, quotas, metrics.
    fn pending_ms(&self) -> Option<u64> {
        let outbox = self.outbox.due_ms(self.may_publish_kept());
        let events = self.events.due_ms().filter(|_| self.publisher_up);
        let publishing = [self.uplinks.due_ms(), outbox, events];
        let messages = [self.messages.due_ms(), self.probing.due_ms(), self.cells.due_ms()];
        let others = [self.connects.due_ms(), self.trust.due_ms(), self.subscriptions.due_ms()];
        publishing.into_iter().chain(messages).chain(others).flatten().min()
    }

    /// The process ends: what is only in memory and has to outlive it is written.
    pub fn on_stop(&mut self) {
        self.keep_counts();
    }

    /// The effects since the last call, in order.
    pub fn take_effects(&mut self, into: &mut Vec<Effect>) {
        into.append(&mut self.out);
    }

    fn on_hello(&mut self, now: Now, link: LinkId, seq: Seq, bytes: &[u8]) -> Option<()> {
        let (hello, _) = Hello::split(bytes)?;
        let incarnation = hello.incarnation.get();
        let known = self.links.iter_mut().find(|known| known.id == link)?;
        let is_new = known.incarnation != Some(incarnation);
        known.greeted = true;
        known.incarnation = Some(incarnation);
        let worker = known.worker;
        self.send_trust(link);
        self.send_policies(link);
        if is_new {
            self.on_worker_restarted(now, worker);
            self.on_notifications_lost(worker);
            self.on_registrations_lost(worker);
            self.connects.lose(worker);
            self.connects.look(worker, !self.messages.lanes.is_empty());
            let mut tx = Transaction::new();
            tx.put(Table::Sessions, keys::incarnation(worker), incarnation.to_be_bytes());
            self.write(tx, Some(Ticket::Entry { link, seq }));
        } else {
            self.done(link, seq);
        }
        Some(())
    }

    fn on_counters(&mut self, link: LinkId, seq: Seq, bytes: &[u8]) -> Option<()> {
        let (counters, tail) = Counters::split(bytes)?;
        let count = counters.count.get() as usize;
        let values = tail.chunks_exact(8).take(count);
        let known = self.links.iter_mut().find(|known| known.id == link)?;
        known.counters =
            values.filter_map(|value| value.try_into().ok().map(u64::from_le_bytes)).collect();
        self.done(link, seq);
        Some(())
    }

    fn health(&self) -> CoreHealth {
        let workers = self.links.iter().map(|link| WorkerHealth {
            worker: link.worker,
            greeted: link.greeted,
            counters: link.counters.clone(),
        });
        CoreHealth {
            workers: workers.collect(),
            connected: self.publisher_up,
            in_flight: self.uplinks.in_flight(),
            confirmed: self.counts.confirmed,
            unavailable: self.counts.unavailable,
            malformed: self.counts.malformed,
            responses_dropped: self.counts.responses_dropped,
            uplinks_dropped: self.counts.uplinks_dropped,
            outbox_refused: self.counts.outbox_refused,
            outbox: self.outbox.health(),
            rules_failed: self.counts.rules_failed,
            trust_omitted: self.trust.omitted(),
            sessions: self.sessions.alive(),
            open_messages: self.messages.open(),
            bodies_held: self.long.held_bytes(),
            log: self.log.counts(),
            publish_latency: self.counts.publish_latency,
        }
    }

    fn link_of_worker(&self, worker: u8) -> Option<&Link> {
        self.links.iter().find(|link| link.worker == worker)
    }

    fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    fn post(&mut self, link: LinkId, kind: Kind, parts: &[&[u8]], finishes: Option<Seq>) {
        self.out.push(Effect::Post(Post::new(link, kind, parts, finishes)));
    }

    fn done(&mut self, link: LinkId, seq: Seq) {
        self.out.push(Effect::Done { link, seq });
    }

    fn write(&mut self, transaction: Transaction, ticket: Option<Ticket>) {
        self.out.push(Effect::Write { transaction, ticket });
    }

    fn reply(&mut self, to: RequestId, reply: Result<Reply, crate::model::Refused>) {
        self.out.push(Effect::Reply { to, reply });
    }
}
