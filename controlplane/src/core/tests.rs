//! Stories of the core: ring entries and requests in, what leaves it out. Time and store are ours.
#![allow(clippy::unwrap_used)]

mod bodies;
mod chance;
mod classes;
mod congestion;
mod connect;
mod credentials;
mod customer_log;
mod downlinks;
mod events;
mod layouts;
mod long;
mod measure;
mod observe;
mod outbox;
mod promised;
mod rules;
mod sessions;
mod sinks;
mod terms;
mod trust;
mod uplinks;
mod waits;

use std::sync::Arc;

use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_crypto::secret::Secret;
use tidegate_ring::Seq;
use tidegate_ring::contract::{self, FailReason, Kind, Publication, SessionRef, Step};
use zerocopy::IntoBytes;

use super::{
    Body, Core, Effect, LinkId, Now, Post, PublishId, PublishResult, Reply, Request, RequestId,
};
use crate::control::Limits;
use crate::identity::{ServerIdentity, ServerPublicKey};
use crate::model::{
    Action, Destination, Device, DeviceId, DownlinkRequest, ExpressionType, MessageId,
    MessageState, MessageType, Method, Network, NetworkBlock, Priority, QueueMode, Refused, Rule,
};
use crate::rules::{Lane, Sink};
use crate::store::memory::MemoryStore;
use crate::store::names::{Replacement, Standing};
use crate::store::records::{self, Identity, Message, read};
use crate::store::stream::Retention;
use crate::store::vault::Vault;
use crate::store::{Store, Table, Transaction};

const DEVICE: DeviceId = DeviceId([7; 16]);
const IDENTITY: &str = "identity-of-the-device-in-stories";
const SECRET: &[u8] = b"secret of the device in stories.";
const TOPIC: &str = "uplinks/of/the/device";
const UNIX_MS: u64 = 1_795_000_000_000;
/// Of the device, while nothing changes it.
const STAMP: u64 = 77;

/// A core, its store, and everything that left it.
struct Story {
    core: Core,
    store: Arc<MemoryStore>,
    limits: Limits,
    ms: u64,
    next_seq: u64,
    next_request: u64,
    link: LinkId,
    /// Writes are confirmed at once; `false`: they wait in `unsynced`.
    syncs: bool,
    unsynced: Vec<(Transaction, Option<super::Ticket>)>,
    posts: Vec<Post>,
    done: Vec<Seq>,
    parts: Vec<Seq>,
    publishes: Vec<(PublishId, String, Vec<u8>)>,
    deliveries: Vec<(PublishId, Lane, Sink, Vec<u8>)>,
    /// What is to be read elsewhere, and from where on.
    reads: Vec<(MessageId, usize)>,
    abandoned: Vec<PublishId>,
    replies: Vec<(RequestId, Result<Reply, Refused>)>,
    logged: Vec<crate::customer_log::LogEntry>,
}

fn retention() -> Retention {
    Retention { entries_max: 1_000, bytes_max: 1 << 20, age_max_ms: 1 << 40 }
}

fn identities() -> Vec<ServerIdentity> {
    vec![ServerIdentity {
        key: Secret::new(b"the server's key"),
        public_key: ServerPublicKey(b"its public half".to_vec()),
        chain: vec![b"its leaf".to_vec(), b"its issuer".to_vec()],
        names: vec!["edge.example".to_owned()],
    }]
}

/// Before a request of the device's first session, whose body is in its message and whose answer
/// nobody awaits.
fn head(exchange: u64) -> contract::Uplink {
    contract::Uplink {
        exchange: exchange.into(),
        device: DEVICE.0,
        session: session(1).0.into(),
        received_unix_ms: UNIX_MS.into(),
        class: 0.into(),
        network: contract::Network::Cellular as u8,
        answer_awaited: 0,
        body_bytes: 0.into(),
    }
}

fn vault() -> Vault {
    Vault::new(&[9; 32])
}

impl Story {
    /// One device with a session at worker 0, a destination, a publisher that is up.
    fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    fn with_limits(limits: Limits) -> Self {
        let store = Arc::new(MemoryStore::new(retention()));
        provision(&store);
        let mut story = Self::over(store, limits);
        story.core.on_publisher(story.now(), true);
        story.attaches(0);
        story
    }

    /// A new core over a store: a restarted control plane.
    fn over(store: Arc<MemoryStore>, limits: Limits) -> Self {
        let now = Now { ms: 0, unix_ms: UNIX_MS };
        let seed = rand::random();
        let core =
            Core::new(now, store.clone(), vault(), limits.clone(), identities(), seed).unwrap();
        Self {
            core,
            store,
            limits,
            ms: 0,
            next_seq: 0,
            next_request: 0,
            link: LinkId(0),
            syncs: true,
            unsynced: Vec::new(),
            posts: Vec::new(),
            done: Vec::new(),
            parts: Vec::new(),
            publishes: Vec::new(),
            deliveries: Vec::new(),
            reads: Vec::new(),
            abandoned: Vec::new(),
            replies: Vec::new(),
            logged: Vec::new(),
        }
    }

    /// The control plane restarts; the dataplane does not notice.
    fn restarts(self) -> Self {
        let ms = self.ms;
        let mut story = Self::over(self.store, self.limits);
        story.ms = ms;
        story.core.on_publisher(story.now(), true);
        story.attaches(0);
        story
    }

    fn attaches(&mut self, worker: u8) {
        self.link = LinkId(self.link.0 + 1);
        self.core.on_attached(self.link, worker, Seq(0));
    }

    fn now(&self) -> Now {
        Now { ms: self.ms, unix_ms: UNIX_MS + self.ms }
    }

    fn waits_ms(&mut self, ms: u64) {
        self.ms += ms;
        let now = self.now();
        self.core.on_due(now);
        self.settles();
    }

    /// Carries out what the core wants until it wants nothing more.
    fn settles(&mut self) {
        loop {
            let mut effects = Vec::new();
            self.core.take_effects(&mut effects);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Post(post) => {
                        self.done.extend(post.finishes);
                        self.posts.push(post);
                    }
                    Effect::Done { seq, .. } => self.done.push(seq),
                    Effect::WithNext { seq, .. } => self.parts.push(seq),
                    Effect::Publish { id, topic, payload, .. } => {
                        self.publishes.push((id, topic.to_string(), payload));
                    }
                    Effect::Read { message, at, .. } => self.reads.push((message, at)),
                    Effect::Deliver { id, lane, sink, payload, .. } => {
                        self.deliveries.push((id, lane, sink, payload));
                    }
                    Effect::Abandon { id } => self.abandoned.push(id),
                    Effect::Write { transaction, ticket } if self.syncs => {
                        self.writes(transaction, ticket);
                    }
                    Effect::Write { transaction, ticket } => {
                        self.unsynced.push((transaction, ticket));
                    }
                    Effect::Logged(entry) => self.logged.push(entry.entry.clone()),
                    Effect::Reply { to, reply } => self.replies.push((to, reply)),
                }
            }
        }
    }

    /// The disk is done with what waited.
    fn disk_syncs(&mut self) {
        for (transaction, ticket) in std::mem::take(&mut self.unsynced) {
            self.writes(transaction, ticket);
        }
        self.settles();
    }

    fn writes(&mut self, transaction: Transaction, ticket: Option<super::Ticket>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.store.submit(transaction, Box::new(move |result| sender.send(result).unwrap()));
        let result = receiver.recv().unwrap();
        if let Some(ticket) = ticket {
            self.core.on_stored(self.now(), ticket, result.map(|_| ()));
        }
    }

    fn entry(&mut self, kind: Kind, parts: &[&[u8]]) -> Seq {
        self.next_seq += 1;
        let seq = Seq(self.next_seq);
        let (link, now) = (self.link, self.now());
        self.core.on_entry(now, link, seq, kind as u8, &parts.concat());
        self.settles();
        seq
    }

    fn hello(&mut self, incarnation: u64) -> Seq {
        let hello = contract::Hello { incarnation: incarnation.into(), worker: 0, workers: 1 };
        self.entry(Kind::Hello, &[hello.as_bytes()])
    }

    fn uplink(&mut self, exchange: u64, code: Code, payload: &[u8]) -> Seq {
        self.uplink_of(DEVICE, exchange, code, payload)
    }

    fn uplink_of(&mut self, device: DeviceId, exchange: u64, code: Code, payload: &[u8]) -> Seq {
        self.uplink_from(device, session(1), exchange, code, payload)
    }

    fn uplink_by(&mut self, by: SessionRef, exchange: u64, code: Code) -> Seq {
        self.uplink_from(DEVICE, by, exchange, code, b"")
    }

    fn uplink_from(
        &mut self,
        device: DeviceId,
        by: SessionRef,
        exchange: u64,
        code: Code,
        payload: &[u8],
    ) -> Seq {
        let uplink = contract::Uplink {
            device: device.0,
            session: by.0.into(),
            received_unix_ms: (UNIX_MS + self.ms).into(),
            answer_awaited: u8::from(code == Code::GET || code == Code::POST),
            ..head(exchange)
        };
        let message = message(Type::Con, code, payload);
        self.entry(Kind::Uplink, &[uplink.as_bytes(), &message])
    }

    fn session_up(&mut self, generation: u32) -> Seq {
        self.session_up_with(generation, |_| ())
    }

    fn session_up_with(
        &mut self,
        generation: u32,
        differs: impl FnOnce(&mut contract::SessionUp),
    ) -> Seq {
        let mut up = contract::SessionUp {
            device: DEVICE.0,
            session: session(generation).0.into(),
            at_unix_ms: UNIX_MS.into(),
            suite: 0xc0a8.into(),
            peer_port: 4_000.into(),
            peer_ip: [0; 16],
            has_cid: 1,
            network: contract::Network::Cellular as u8,
            stamp: STAMP.into(),
            class: 0.into(),
            claim: contract::Claim::PskIdentity as u8,
            resumed: 0,
            connected: 0,
        };
        differs(&mut up);
        self.entry(Kind::SessionUp, &[up.as_bytes(), IDENTITY.as_bytes()])
    }

    fn session_down(&mut self, generation: u32) -> Seq {
        self.session_down_of(session(generation))
    }

    fn session_down_of(&mut self, session: SessionRef) -> Seq {
        let down = contract::SessionDown {
            device: DEVICE.0,
            session: session.0.into(),
            at_unix_ms: UNIX_MS.into(),
            reason: contract::EndReason::Idle as u8,
        };
        self.entry(Kind::SessionDown, &[down.as_bytes()])
    }

    /// A step that the worker reports; `is_final` as the contract has it.
    fn outcome(&mut self, id: MessageId, step: Step, is_final: bool) -> Seq {
        self.outcome_with(id, step, FailReason::None, is_final, &[])
    }

    fn fails(&mut self, id: MessageId, reason: FailReason) -> Seq {
        self.outcome_with(id, Step::Failed, reason, true, &[])
    }

    fn responds(&mut self, id: MessageId, payload: &[u8]) -> Seq {
        let response = message(Type::Ack, Code::CONTENT, payload);
        self.outcome_with(id, Step::Responded, FailReason::None, true, &response)
    }

    fn outcome_with(
        &mut self,
        id: MessageId,
        step: Step,
        reason: FailReason,
        is_final: bool,
        response: &[u8],
    ) -> Seq {
        let outcome = contract::Outcome {
            message_id: id.0,
            device: DEVICE.0,
            at_unix_ms: (UNIX_MS + self.ms).into(),
            step: step as u8,
            reason: reason as u8,
            is_final: u8::from(is_final),
            network: contract::Network::Cellular as u8,
            body_bytes: 0.into(),
        };
        self.entry(Kind::Outcome, &[outcome.as_bytes(), response])
    }

    fn asks(&mut self, request: Request) -> Option<Result<Reply, Refused>> {
        self.next_request += 1;
        let to = RequestId(self.next_request);
        let now = self.now();
        self.core.on_request(now, to, request);
        self.settles();
        let at = self.replies.iter().position(|(replied, _)| *replied == to)?;
        Some(self.replies.remove(at).1)
    }

    /// The device's block becomes another one; the API says so.
    fn changes(&mut self, stamp: u64, change: impl FnOnce(&mut NetworkBlock)) {
        let before = read::<Device>(&*self.store, Table::Devices, &DEVICE.0).unwrap();
        let mut device = before.clone().unwrap();
        change(device.cellular.as_mut().unwrap());
        put_device(&self.store, before.as_ref(), &device, stamp);
        self.asks(Request::DeviceChanged { device: DEVICE, credentials: true });
    }

    fn sends(&mut self, queue_mode: QueueMode, payload: &[u8]) -> MessageId {
        match self.asks(send(queue_mode, payload)) {
            Some(Ok(Reply::Accepted(id))) => id,
            other => panic!("not accepted: {other:?}"),
        }
    }

    fn confirms(&mut self, at: usize) {
        let (id, now) = (self.publishes[at].0, self.now());
        self.core.on_published(now, id, PublishResult::Confirmed);
        self.settles();
    }

    /// What was said about uplinks: exchange and publication, in order.
    fn publications(&self) -> Vec<(u64, Publication)> {
        let published = self.posts.iter().filter(|post| post.kind == Kind::Published);
        published
            .map(|post| {
                let (published, _) = contract::Published::split(&post.bytes).unwrap();
                let publication = Publication::from_wire(published.publication).unwrap();
                (published.exchange.get(), publication)
            })
            .collect()
    }

    /// Downlinks handed to a worker, in order.
    fn handed_over(&self) -> Vec<MessageId> {
        let downlinks = self.posts.iter().filter(|post| post.kind == Kind::Downlink);
        downlinks
            .map(|post| MessageId(contract::Downlink::split(&post.bytes).unwrap().0.message_id))
            .collect()
    }

    /// Sessions told to end, and why.
    fn ended_sessions(&self) -> Vec<(u64, u8)> {
        let ends = self.posted(Kind::SessionEnd).into_iter();
        let ends = ends.map(|post| contract::SessionEnd::split(&post.bytes).unwrap().0);
        ends.map(|end| (end.session.get(), end.reason)).collect()
    }

    fn posted(&self, kind: Kind) -> Vec<&Post> {
        self.posts.iter().filter(|post| post.kind == kind).collect()
    }

    fn state(&self, id: MessageId) -> MessageState {
        self.stored(id).status.state
    }

    fn has_ended(&self, id: MessageId) -> bool {
        self.stored(id).status.ended_unix_ms.is_some()
    }

    fn stored(&self, id: MessageId) -> Message {
        read::<Message>(&*self.store, Table::Messages, &id.0).unwrap().unwrap()
    }

    fn stored_keys(&self, table: Table) -> usize {
        self.store.scan(table, &[], None, 1_000).unwrap().len()
    }
}

fn session(generation: u32) -> SessionRef {
    SessionRef::new(0, 5, generation)
}

fn send(queue_mode: QueueMode, payload: &[u8]) -> Request {
    let request = DownlinkRequest {
        message_type: MessageType::Confirmable,
        method: Method::Put,
        uri_paths: vec!["led".to_owned()],
        uri_query: Vec::new(),
        content_format: Some(0),
        accept: None,
        queue_mode,
        priority: Priority::Normal,
        ttl_s: None,
        options: Vec::new(),
        payload: payload.to_vec(),
        reference: None,
    };
    Request::Send { device: DEVICE, body: Body::Request(request) }
}

fn message(ty: Type, code: Code, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 256];
    let mut writer = Writer::new(&mut buffer, ty, code, 9, &Token::new(b"tok"));
    if code.is_request() {
        writer.option(Number::URI_PATH, b"t");
    }
    let len = writer.payload(payload).finish().unwrap();
    buffer.truncate(len);
    buffer
}

/// The device of the stories.
fn device() -> Device {
    Device {
        id: DEVICE,
        name: None,
        description: None,
        destination: "somewhere".to_owned(),
        cellular: Some(NetworkBlock {
            identity: Some(IDENTITY.to_owned()),
            ..NetworkBlock::default()
        }),
        wifi: None,
        positioning: None,
        application_profile: None,
        thing_arn: None,
        tags: Vec::new(),
        created_unix_ms: UNIX_MS,
    }
}

/// The device, its identity and its destination.
fn provision(store: &MemoryStore) {
    put_device(store, None, &device(), STAMP);
    let mut tx = Transaction::new();
    let of = (DEVICE, Network::Cellular);
    let identity = Identity::seal(&vault(), IDENTITY, of, SECRET);
    tx.put(Table::Identities, IDENTITY.as_bytes(), identity.encode());
    store.submit(tx, Box::new(|result| assert!(result.is_ok())));
    set_destination(store, ExpressionType::MqttTopic, TOPIC);
}

/// The record, its names and its standing.
fn put_device(store: &MemoryStore, before: Option<&Device>, device: &Device, stamp: u64) {
    let mut tx = Transaction::new();
    tx.changes = Replacement::new(before, Some(device)).changes;
    tx.put(Table::Devices, device.id.0, records::encode(device));
    let mut standing = Standing::drawn(device);
    standing.stamp = stamp;
    tx.put(Table::Standings, device.id.0, standing.encode());
    store.submit(tx, Box::new(|result| assert!(result.is_ok())));
}

fn set_destination(store: &MemoryStore, expression_type: ExpressionType, expression: &str) {
    let destination = Destination {
        name: "somewhere".to_owned(),
        expression_type,
        expression: expression.to_owned(),
        description: None,
        role_arn: "arn:aws:iam::000000000000:role/x".to_owned(),
        tags: Vec::new(),
        created_unix_ms: UNIX_MS,
    };
    let mut tx = Transaction::new();
    tx.put(Table::Destinations, "somewhere", records::encode(&destination));
    store.submit(tx, Box::new(|result| assert!(result.is_ok())));
}

fn set_rule(store: &MemoryStore, disabled: bool) {
    let topic = "from/the/rule".to_owned();
    let rule = Rule {
        name: "route".to_owned(),
        sql: "SELECT *".to_owned(),
        description: None,
        disabled,
        sql_version: None,
        actions: vec![Action::Republish { topic, qos: 1, role_arn: None }],
        error_action: None,
        created_unix_ms: UNIX_MS,
    };
    let mut tx = Transaction::new();
    tx.put(Table::Rules, "route", records::encode(&rule));
    store.submit(tx, Box::new(|result| assert!(result.is_ok())));
}
