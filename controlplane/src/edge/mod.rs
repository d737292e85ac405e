//! Who carries out what the core decides? One thread that owns core and rings and never blocks on
//! disk, broker or API.
//!
//! ```text
//! rings ─ bells ─┐                       ┌─▶ rings
//! API requests ──┼─▶ turn: core, effects ┼─▶ publisher, store (confirmed by event)
//! events ────────┘                       ├─▶ sinks (confirmed by event)
//!                                        └─▶ API replies
//! ```

mod janitor;
mod link;
mod links;
pub mod window;
pub mod writes;

pub(crate) use janitor::TOKEN_WINDOW_MS;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::core::{Core, Effect, Now, PublishId, PublishResult, Reply, Request, RequestId};
use crate::customer_log::feed::Feed;
use crate::model::{MessageId, Refused};
use crate::payloads::{self, Payloads};
use crate::publish::{MakePublisher, Publisher, Said};
use crate::sinks::{Delivered, Sinks};
use crate::store::{Store, StoreError, Transaction};
use writes::{WriteId, Writes};

/// Asks the core; cheap to clone.
#[derive(Clone)]
pub struct Edge {
    requests: mpsc::Sender<Asked>,
    events: mpsc::UnboundedSender<Event>,
}

type Asked = (Request, oneshot::Sender<Result<Reply, Refused>>);

/// What happens elsewhere. *Bound:* by what the core has under way.
pub enum Event {
    /// A write was confirmed or refused.
    Stored(WriteId, Result<(), StoreError>),
    /// The publisher says something.
    Publisher(Said),
    /// A sink says what became of a delivery.
    Delivered(PublishId, Delivered),
    /// What came of reading a part of a payload that lies elsewhere, and where it begins.
    Read(MessageId, usize, Result<Bytes, payloads::Fault>),
    /// Leave.
    Stop(oneshot::Sender<()>),
}

/// The receiving ends, for [`run`].
pub struct Inbox {
    requests: mpsc::Receiver<Asked>,
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
}

/// Bound: API requests that wait for their turn; one more is refused (429).
const REQUESTS_MAX: usize = 1_024;
/// Bound: inputs of one kind in one turn, so that no kind starves another.
const INPUTS_PER_TURN: usize = 256;
/// Longest sleep: a worker killed between commit and bell rings only once it is back.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// How long rings wait for the publisher's first connection, so that what waits in them from
/// before a restart is published and not refused.
const FIRST_CONNECTION_MAX: Duration = Duration::from_secs(1);

/// The two ends.
pub fn channel() -> (Edge, Inbox) {
    let (requests, asked) = mpsc::channel(REQUESTS_MAX);
    let (sender, events) = mpsc::unbounded_channel();
    let edge = Edge { requests, events: sender.clone() };
    (edge, Inbox { requests: asked, events, sender })
}

impl Edge {
    /// Asks and waits for the answer.
    pub async fn ask(&self, request: Request) -> Result<Reply, Refused> {
        let (reply, replied) = oneshot::channel();
        self.requests.try_send((request, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Refused::Throttled { message: "too many requests wait".to_owned() }
            }
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        replied.await.map_err(|_| stopped())?
    }

    /// Says what happened elsewhere.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Leaves once what is decided is handed over.
    pub async fn stop(&self) {
        let (stopped, has_stopped) = oneshot::channel();
        self.tell(Event::Stop(stopped));
        let _ = has_stopped.await;
    }
}

/// What [`run`] works with.
pub struct Parts {
    /// The core.
    pub core: Core,
    /// The store the core reads.
    pub store: Arc<dyn Store>,
    /// Where uplinks go.
    pub publisher: MakePublisher,
    /// Where actions of rules go.
    pub sinks: Sinks,
    /// Where payloads lie that messages refer to.
    pub payloads: Arc<Payloads>,
    /// Where the rings are.
    pub run_dir: PathBuf,
    /// Final states are kept so long, milliseconds.
    pub message_history_ms: u64,
    /// Who follows the customer's log.
    pub feed: Feed,
}

/// Runs until told to stop. Needs a tokio runtime with I/O and time; blocks its thread for
/// microseconds at a time.
pub async fn run(parts: Parts, inbox: Inbox) {
    let mut turn = Turn::new(parts, inbox);
    loop {
        let has_worked = turn.take_inputs();
        if let Some(stopped) = turn.stopped.take() {
            // Who hears it may open store and rings again.
            drop(turn);
            // The publisher's task says goodbye to the broker.
            tokio::task::yield_now().await;
            let _ = stopped.send(());
            return;
        }
        if has_worked || !turn.links.prepare_sleep() {
            // The bells, publisher and timers of this runtime have their turn too.
            tokio::task::yield_now().await;
            continue;
        }
        turn.sleep().await;
        turn.links.awake();
    }
}

struct Turn {
    core: Core,
    store: Arc<dyn Store>,
    writes: Writes,
    feed: Feed,
    publisher: Box<dyn Publisher>,
    sinks: Sinks,
    payloads: Arc<Payloads>,
    links: links::Links,
    janitor: janitor::Janitor,
    inbox: Inbox,
    effects: Vec<Effect>,
    replies: HashMap<RequestId, oneshot::Sender<Result<Reply, Refused>>>,
    last_request: u64,
    started: Instant,
    has_publisher: bool,
    bell: Arc<Notify>,
    /// Came out of a sleep.
    woken: Vec<Woken>,
    stopped: Option<oneshot::Sender<()>>,
}

enum Woken {
    Asked(Asked),
    Event(Event),
}

impl Turn {
    fn new(parts: Parts, inbox: Inbox) -> Self {
        let bell = Arc::new(Notify::new());
        let upload_age_ms = parts.payloads.settings().upload_age_s * 1_000;
        Self {
            core: parts.core,
            store: parts.store,
            writes: Writes::default(),
            feed: parts.feed,
            publisher: (parts.publisher)(),
            sinks: parts.sinks,
            payloads: parts.payloads,
            links: links::Links::new(parts.run_dir, bell.clone()),
            janitor: janitor::Janitor::new(parts.message_history_ms, upload_age_ms),
            inbox,
            effects: Vec::new(),
            replies: HashMap::new(),
            last_request: 0,
            started: Instant::now(),
            has_publisher: false,
            bell,
            woken: Vec::new(),
            stopped: None,
        }
    }

    /// Everything that waits, at most so much of each; false: there was nothing.
    fn take_inputs(&mut self) -> bool {
        let now = self.now();
        let mut has_worked = false;
        for woken in std::mem::take(&mut self.woken) {
            has_worked = true;
            match woken {
                Woken::Asked(asked) => self.on_asked(now, asked),
                Woken::Event(event) => self.on_event(now, event),
            }
        }
        for _ in 0..INPUTS_PER_TURN {
            let Ok(event) = self.inbox.events.try_recv() else { break };
            has_worked = true;
            self.on_event(now, event);
        }
        if self.is_open() {
            self.links.scan(now, &mut self.core);
            if !self.writes.is_full() {
                has_worked |= self.links.take_entries(now, &mut self.core, INPUTS_PER_TURN);
            }
            for _ in 0..INPUTS_PER_TURN {
                let Ok(asked) = self.inbox.requests.try_recv() else { break };
                has_worked = true;
                self.on_asked(now, asked);
            }
        }
        for (id, transaction) in self.writes.retry(now.ms) {
            self.submit(id, transaction);
        }
        self.core.on_due(now);
        self.janitor.work(now, &*self.store);
        self.carry_out();
        self.publisher.flush();
        self.links.flush();
        has_worked
    }

    /// The API waits for the rings too: a credential that is dropped must reach every worker.
    fn is_open(&self) -> bool {
        self.has_publisher || self.started.elapsed() >= FIRST_CONNECTION_MAX
    }

    fn on_asked(&mut self, now: Now, (request, reply): Asked) {
        self.last_request += 1;
        let to = RequestId(self.last_request);
        self.replies.insert(to, reply);
        self.core.on_request(now, to, request);
        self.carry_out();
    }

    fn on_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Stored(id, result) => {
                let before = self.writes.unsaved();
                for (ticket, result) in self.writes.on_result(now.ms, id, result) {
                    self.core.on_stored(now, ticket, result);
                }
                if before > 0 && self.writes.unsaved() == 0 {
                    tracing::info!("what the store had refused is written");
                }
            }
            Event::Publisher(Said::Up(up)) => {
                self.has_publisher |= up;
                self.core.on_publisher(now, up);
            }
            Event::Publisher(Said::Published(id, result)) => {
                self.core.on_published(now, id, result);
            }
            Event::Publisher(Said::Confirmed(ids)) => {
                for id in ids {
                    self.core.on_published(now, id, PublishResult::Confirmed);
                }
            }
            Event::Delivered(id, delivered) => self.core.on_delivered(now, id, delivered),
            Event::Read(id, at, read) => self.core.on_read(now, id, at, read),
            Event::Stop(stopped) => {
                self.core.on_stop();
                self.stopped = Some(stopped);
            }
        }
    }

    fn carry_out(&mut self) {
        self.core.take_effects(&mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Post(post) => self.links.post(post),
                Effect::Done { link, seq } => self.links.done(link, seq),
                Effect::WithNext { link, seq } => self.links.with_next(link, seq),
                Effect::Publish { id, account, topic, payload } => {
                    self.publisher.publish(id, account, topic, payload);
                }
                Effect::Deliver { id, account, lane, sink, payload } => {
                    self.sinks.deliver(id, account, &lane, sink, payload);
                }
                Effect::Read { message, account, reference, at } => {
                    let events = self.inbox.sender.clone();
                    self.payloads.read(account, &reference, at, move |read| {
                        let _ = events.send(Event::Read(message, at, read));
                    });
                }
                Effect::Abandon { id } => self.publisher.abandon(id),
                Effect::Write { transaction, ticket } => {
                    let id = self.writes.begin(&transaction, ticket);
                    submit(&*self.store, &self.inbox.sender, id, transaction);
                }
                Effect::Logged(entry) => self.feed.tell(entry),
                Effect::Reply { to, reply } => {
                    if let Some(replied) = self.replies.remove(&to) {
                        let _ = replied.send(reply);
                    }
                }
            }
        }
    }

    fn submit(&self, id: WriteId, transaction: Transaction) {
        submit(&*self.store, &self.inbox.sender, id, transaction);
    }

    async fn sleep(&mut self) {
        let now_ms = self.now().ms;
        let due = [self.core.due_ms(), self.writes.due_ms()]
            .into_iter()
            .flatten()
            .min()
            .map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms).max(1)));
        let is_open = self.is_open();
        let mut longest = due.unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        if self.links.has_outgoing() {
            longest = longest.min(Duration::from_millis(1));
        }
        tokio::select! {
            () = self.bell.notified() => {}
            Some(event) = self.inbox.events.recv() => self.woken.push(Woken::Event(event)),
            Some(asked) = self.inbox.requests.recv(), if is_open => {
                self.woken.push(Woken::Asked(asked));
            }
            () = tokio::time::sleep(longest) => {}
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ms = unix.map_or(0, |since| since.as_millis() as u64);
        Now { ms: self.started.elapsed().as_millis() as u64, unix_ms }
    }
}

/// Writes, and says what became of it.
fn submit(
    store: &dyn Store,
    events: &mpsc::UnboundedSender<Event>,
    id: WriteId,
    transaction: Transaction,
) {
    let events = events.clone();
    let done = move |result: Result<_, StoreError>| {
        if let Err(error) = &result {
            tracing::error!(%error, "a write was refused");
        }
        let _ = events.send(Event::Stored(id, result.map(|_| ())));
    };
    store.submit(transaction, Box::new(done));
}

fn stopped() -> Refused {
    Refused::Internal { message: "the control plane has stopped".to_owned() }
}
