//! What goes into the core and what comes out of it?

use std::sync::Arc;

use tidegate_ring::Seq;
use tidegate_ring::contract::Kind;
use zeroize::Zeroizing;

use super::measure::MetricsRequest;
use super::outbox::{Kept, OutboxHealth};
use super::trial::Trial;
use crate::control::WorkerHealth;
use crate::customer_log::Logged;
use crate::model::{
    DeviceId, DownlinkRequest, DownlinkResponse, MessageId, Network, NewEdgeResource,
    PayloadReference, Refused, Wait,
};
use crate::rules::{Lane, Sink};
use crate::store::Transaction;
use crate::store::account::Account;
use crate::store::measured::Counts;

/// Now, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds of a clock that does not jump: deadlines.
    pub ms: u64,
    /// Unix time, milliseconds: what people read, and what outlives the process.
    pub unix_ms: u64,
}

/// One attachment to a worker's rings; a new one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(pub u32);

/// One publish under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishId(pub u64);

/// Ties a reply to the API's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// What the shell has to do.
#[derive(Debug)]
pub enum Effect {
    /// Write an entry into a worker's ring.
    Post(Post),
    /// The entry is finished: it may be released.
    Done {
        /// From where.
        link: LinkId,
        /// Which.
        seq: Seq,
    },
    /// The entry is a part of the one behind it, and finished when that is.
    WithNext {
        /// From where.
        link: LinkId,
        /// Which.
        seq: Seq,
    },
    /// Publish; [`super::Core::on_published`] follows, unless it is abandoned before.
    Publish {
        /// Names it.
        id: PublishId,
        /// Whose it is.
        account: Account,
        /// Where to.
        topic: Arc<str>,
        /// The JSON.
        payload: Vec<u8>,
    },
    /// Deliver out of the house; [`super::Core::on_delivered`] follows.
    Deliver {
        /// Names it.
        id: PublishId,
        /// Whose message it is.
        account: Account,
        /// By which lane.
        lane: Lane,
        /// Where to.
        sink: Sink,
        /// The message.
        payload: Vec<u8>,
    },
    /// Read a part of a payload that lies elsewhere; [`super::Core::on_read`] follows.
    Read {
        /// Of which message.
        message: MessageId,
        /// Whose it is.
        account: Account,
        /// Where it lies.
        reference: PayloadReference,
        /// From there on.
        at: usize,
    },
    /// Nobody waits for this publish any more.
    Abandon {
        /// Which.
        id: PublishId,
    },
    /// Write to the store; with a ticket, [`super::Core::on_stored`] follows.
    Write {
        /// All or nothing.
        transaction: Transaction,
        /// What it is for.
        ticket: Option<Ticket>,
    },
    /// An entry of the customer's log, for who follows it.
    Logged(Arc<Logged>),
    /// Answer the API.
    Reply {
        /// Whom.
        to: RequestId,
        /// With what.
        reply: Result<Reply, Refused>,
    },
}

/// An entry for a worker.
pub struct Post {
    /// Which worker.
    pub link: LinkId,
    /// Its kind.
    pub kind: Kind,
    /// The fixed struct and the tail. Wiped: it may be a key.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The entry of the same link that is finished once this one is written.
    pub finishes: Option<Seq>,
}

impl Post {
    pub(super) fn new(link: LinkId, kind: Kind, parts: &[&[u8]], finishes: Option<Seq>) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(parts.iter().map(|p| p.len()).sum()));
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Self { link, kind, bytes, finishes }
    }
}

/// Shows no bytes: they may be a key or a payload.
impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Post({:?} to {:?}, {} bytes)", self.kind, self.link, self.bytes.len())
    }
}

/// What a write was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// A message was accepted: tell the API, and it may be sent.
    Accepted {
        /// Who waits.
        to: RequestId,
        /// Whose queue.
        device: DeviceId,
        /// Which message.
        message: MessageId,
    },
    /// A ring entry is finished once this is durable.
    Entry {
        /// From where.
        link: LinkId,
        /// Which.
        seq: Seq,
    },
    /// The same, and a device's response is in the outbox.
    Response {
        /// From where.
        link: LinkId,
        /// Which.
        seq: Seq,
        /// Where.
        kept: Kept,
    },
    /// An uplink is in the outbox: its device is told.
    Uplink {
        /// [`Kept::number`].
        number: u64,
    },
    /// The same of one that its device was told of before.
    Promised {
        /// [`Kept::number`].
        number: u64,
    },
    /// A value for a device is durable.
    Resource {
        /// Of the change.
        version: u64,
    },
    /// The API waits for nothing but this.
    Replied {
        /// Who waits.
        to: RequestId,
    },
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublishResult {
    /// Broker PUBACK, or synced to the stream.
    Confirmed,
    /// Not now.
    Unavailable,
    /// Not by this rule: an action has failed, and no error action takes that.
    Failed,
}

/// What the API asks the core. Identities and texts are validated already.
#[derive(Debug)]
pub enum Request {
    /// Accept a message.
    Send {
        /// To whom.
        device: DeviceId,
        /// What.
        body: Body,
    },
    /// Delete open messages.
    Delete {
        /// Whose.
        device: DeviceId,
        /// Which; `None`: all that were not sent.
        message: Option<MessageId>,
    },
    /// Why do a device's open messages wait?
    Waits {
        /// Which device.
        device: DeviceId,
    },
    /// Set what the edge has for a device.
    SetResource {
        /// Which device.
        device: DeviceId,
        /// What.
        resource: NewEdgeResource,
    },
    /// Take it back.
    DeleteResource {
        /// Which device.
        device: DeviceId,
        /// Segments joined by `/`.
        path: String,
    },
    /// There is one more device.
    DeviceCreated {
        /// Which.
        device: DeviceId,
    },
    /// A device's record changed.
    DeviceChanged {
        /// Which.
        device: DeviceId,
        /// An identity or secret changed: its sessions end.
        credentials: bool,
    },
    /// A device's record is gone.
    DeviceDeleted {
        /// Which.
        device: DeviceId,
    },
    /// An authority changed.
    TrustChanged,
    /// An application profile changed.
    TermsChanged,
    /// Is there room for one more policy?
    PolicyCheck {
        /// How long it is, compiled.
        bytes: usize,
    },
    /// A device has another policy, or none any more.
    PolicyOfDevice {
        /// Which.
        device: DeviceId,
    },
    /// An application profile has.
    PolicyOfProfile,
    /// A destination or rule changed.
    RoutesChanged,
    /// Publish a message as the device would send it.
    Test {
        /// Which device.
        device: DeviceId,
        /// How it would come.
        network: Network,
    },
    /// About what is counted for GetMetrics.
    Metrics(MetricsRequest),
    /// When did these devices last send something?
    LastUplinks {
        /// Which.
        devices: Vec<DeviceId>,
    },
    /// Is everything well?
    Health,
}

/// What is to be sent.
#[derive(Debug)]
pub enum Body {
    /// A request.
    Request(DownlinkRequest),
    /// An answer to a request of the device.
    Response(DownlinkResponse),
}

/// What the core answers.
#[derive(Debug)]
pub enum Reply {
    /// Accepted under this id.
    Accepted(MessageId),
    /// Done.
    Done,
    /// Why messages wait, of those that do.
    Waits(Vec<(MessageId, Wait)>),
    /// A value for a device has changed.
    Changed {
        /// Of the change.
        version: u64,
    },
    /// What became of a message that was published to try it.
    Tested(Trial),
    /// Unix milliseconds, one per device asked for.
    LastUplinks(Vec<Option<u64>>),
    /// What has been counted in the hour under way; `None`: nothing yet.
    Counts {
        /// Unix time, hours.
        hour: u32,
        /// One for each that was asked for.
        counts: Vec<Option<Counts>>,
    },
    /// See [`CoreHealth`].
    Health(Box<CoreHealth>),
}

/// The core's part of [`crate::control::Health`].
#[derive(Clone, Debug)]
pub struct CoreHealth {
    /// Attached workers.
    pub workers: Vec<WorkerHealth>,
    /// The publisher is connected.
    pub connected: bool,
    /// Publishes under way.
    pub in_flight: usize,
    /// Confirmed since the start.
    pub confirmed: u64,
    /// Answered 5.03 since the start.
    pub unavailable: u64,
    /// Ring entries that did not parse.
    pub malformed: u64,
    /// Device responses that could not be kept.
    pub responses_dropped: u64,
    /// Uplinks that were acknowledged and dropped.
    pub uplinks_dropped: u64,
    /// Uplinks that the outbox had no room for, or the store did not take.
    pub outbox_refused: u64,
    /// What waits in the outbox.
    pub outbox: OutboxHealth,
    /// What of rules failed for a message since the start.
    pub rules_failed: u64,
    /// Items that found no room on the trust sheet.
    pub trust_omitted: usize,
    /// Devices with a session.
    pub sessions: usize,
    /// Messages without a final state.
    pub open_messages: usize,
    /// Bytes of long bodies at hand, and the most there ever were.
    pub bodies_held: (u64, u64),
    /// The customer's log.
    pub log: super::LogCounts,
    /// How long publishing takes.
    pub publish_latency: super::Latency,
}

pub(super) fn store_failed() -> Refused {
    Refused::Internal { message: "the store did not take it".to_owned() }
}
