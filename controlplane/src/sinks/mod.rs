//! How does a message leave the house, and when is that certain? A lane for each destination that
//! the operator allows: a bounded queue, some deliveries at a time, each tried again a few times.
//!
//! ```text
//! edge ─ deliver ─▶ queue of the lane ─▶ deliver, retry, time out ─▶ tell ─▶ core
//!                   full: Busy                                       Confirmed, Busy, Failed
//! ```
//!
//! Confirmed is what the destination has promised to keep: a 2xx, an object written, the PubAck of
//! a stream, a record on all in-sync replicas, a line synced to disk. Runs beside the API: nothing
//! here is on the edge's thread but the handing over.

mod file;
mod http;
mod kafka;
mod nats;
pub(crate) mod object;
mod settings;
mod tls;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout_at};

pub use self::settings::{
    FileSettings, HttpSettings, KafkaSettings, NatsSettings, ObjectSettings, Sasl, Settings,
};
use crate::core::PublishId;
use crate::rules::{Failed, Lane, Sink};
use crate::store::account::Account;

/// Takes what is to be delivered and says later what became of it.
pub struct Sinks {
    lanes: HashMap<Lane, mpsc::Sender<Order>>,
    settings: Settings,
    pace: Pace,
    tell: TellDelivered,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The destination keeps it.
    Confirmed,
    /// Its queue is full, or it waited there too long: it was not tried.
    Busy,
    /// It was tried, and that is over.
    Failed(Failed),
}

/// How a lane says it: from any thread, never blocking.
pub type TellDelivered = Arc<dyn Fn(PublishId, Delivered) + Send + Sync>;

struct Order {
    id: PublishId,
    sink: Sink,
    payload: Bytes,
    until: Instant,
}

/// How patient a lane is.
#[derive(Clone, Copy)]
struct Pace {
    whole: Duration,
    attempt: Duration,
    attempts_max: u32,
}

/// Why an attempt did not succeed; for people, without secrets or payloads.
#[derive(Clone, Debug)]
struct Fault {
    /// Another attempt would end the same way.
    is_final: bool,
    message: String,
}

enum Outlet {
    Http(http::HttpOutlet),
    Kafka(Box<kafka::KafkaOutlet>),
    Object(object::ObjectOutlet),
    Nats(Box<nats::NatsOutlet>),
    File(file::FileOutlet),
}

/// Before the second attempt; twice that before the third, and so on, half of it at random.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);

impl Sinks {
    /// Opens a lane for everything that the settings allow, on the tokio runtime it is called in.
    /// A destination that is away is not an error; settings that can't be used are.
    pub fn start(settings: &Settings, tell: TellDelivered) -> Result<Self, String> {
        let pace = Pace {
            whole: Duration::from_millis(settings.timeout_ms),
            attempt: Duration::from_millis(settings.attempt_timeout_ms),
            attempts_max: settings.attempts_max,
        };
        let mut lanes = HashMap::new();
        for (lane, outlet) in outlets(settings, pace)? {
            let (orders, incoming) = mpsc::channel(settings.queue_max);
            let slots = Arc::new(Semaphore::new(settings.concurrency_max));
            let runner = Runner { lane: lane.clone(), outlet, pace, tell: tell.clone() };
            tokio::spawn(run(Arc::new(runner), incoming, slots));
            if lanes.insert(lane.clone(), orders).is_some() {
                return Err(format!("actions: {lane} is there twice"));
            }
        }
        Ok(Self { lanes, settings: settings.clone(), pace, tell })
    }

    /// Hands a message over; what became of it is told, exactly once.
    pub fn deliver(
        &self,
        id: PublishId,
        account: Account,
        lane: &Lane,
        sink: Sink,
        payload: Vec<u8>,
    ) {
        let orders = self.lanes.get(lane).filter(|_| self.settings.allows(account));
        let Some(orders) = orders else {
            let message = format!("The operator does not allow {lane}.");
            let resource = sink.resource(lane);
            let failed = Failed { action: lane.action(), resource, message };
            return (self.tell)(id, Delivered::Failed(failed));
        };
        let until = Instant::now() + self.pace.whole;
        if orders.try_send(Order { id, sink, payload: payload.into(), until }).is_err() {
            (self.tell)(id, Delivered::Busy);
        }
    }
}

/// Every destination that is allowed, and how it is spoken to.
fn outlets(settings: &Settings, pace: Pace) -> Result<Vec<(Lane, Outlet)>, String> {
    let mut outlets = Vec::new();
    for http in &settings.http {
        let outlet = http::HttpOutlet::open(http)?;
        outlets.push((Lane::Http(outlet.origin().into()), Outlet::Http(outlet)));
    }
    for kafka in &settings.kafka {
        let outlet = kafka::KafkaOutlet::open(kafka, pace.attempt)?;
        outlets.push((Lane::Kafka(kafka.name.as_str().into()), Outlet::Kafka(Box::new(outlet))));
    }
    for object in &settings.s3 {
        let outlet = object::ObjectOutlet::open(object, pace.attempt)?;
        outlets.push((Lane::Object(object.bucket.as_str().into()), Outlet::Object(outlet)));
    }
    for nats in &settings.nats {
        let outlet = nats::NatsOutlet::open(nats, pace.attempt)?;
        outlets.push((Lane::Nats(nats.name.as_str().into()), Outlet::Nats(Box::new(outlet))));
    }
    if let Some(file) = &settings.file {
        let outlet = file::FileOutlet::open(file, settings.concurrency_max)?;
        outlets.push((Lane::File, Outlet::File(outlet)));
    }
    Ok(outlets)
}

struct Runner {
    lane: Lane,
    outlet: Outlet,
    pace: Pace,
    tell: TellDelivered,
}

/// Takes orders until nobody gives any. *Bound:* the queue, and the slots.
async fn run(runner: Arc<Runner>, mut orders: mpsc::Receiver<Order>, slots: Arc<Semaphore>) {
    while let Ok(slot) = slots.clone().acquire_owned().await {
        let Some(order) = orders.recv().await else { return };
        let runner = runner.clone();
        tokio::spawn(async move {
            let delivered = runner.deliver(&order).await;
            drop(slot);
            (runner.tell)(order.id, delivered);
        });
    }
}

impl Runner {
    async fn deliver(&self, order: &Order) -> Delivered {
        // Too little is left for a fair attempt: the queue is what was too slow.
        if Instant::now() + self.pace.attempt.min(self.pace.whole) / 2 > order.until {
            return Delivered::Busy;
        }
        let mut backoff = BACKOFF_FIRST;
        for attempt in 1.. {
            let until = order.until.min(Instant::now() + self.pace.attempt);
            let ended = timeout_at(until, self.outlet.attempt(&order.sink, &order.payload)).await;
            let fault = match ended {
                Ok(Ok(())) => return Delivered::Confirmed,
                Ok(Err(fault)) => fault,
                Err(_) => Fault::passing("no answer in time"),
            };
            let pause = backoff.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            let is_last = attempt >= self.pace.attempts_max
                || fault.is_final
                || Instant::now() + pause >= order.until;
            if is_last {
                return Delivered::Failed(self.failed(order, attempt, &fault));
            }
            sleep(pause).await;
            backoff *= 2;
        }
        Delivered::Busy
    }

    fn failed(&self, order: &Order, attempts: u32, fault: &Fault) -> Failed {
        let message = match attempts {
            1 => format!("{}.", fault.message),
            attempts => format!("{} ({attempts} attempts).", fault.message),
        };
        Failed { action: self.lane.action(), resource: order.sink.resource(&self.lane), message }
    }
}

impl Outlet {
    async fn attempt(&self, sink: &Sink, payload: &Bytes) -> Result<(), Fault> {
        match (self, sink) {
            (Self::Http(outlet), Sink::Http { url, headers }) => {
                outlet.post(url, headers, payload).await
            }
            (Self::Kafka(outlet), Sink::Kafka { topic, key, partition, headers }) => {
                let record = kafka::record(key.as_deref(), headers, payload);
                outlet.produce(topic, key.as_deref(), *partition, record).await
            }
            (Self::Object(outlet), Sink::Object { key }) => outlet.put(key, payload).await,
            (Self::Nats(outlet), Sink::Nats { subject, headers }) => {
                outlet.publish(subject, headers, payload).await
            }
            (Self::File(outlet), Sink::File { path }) => outlet.append(path, payload).await,
            _ => Err(Fault::lasting("the lane is another action's")),
        }
    }
}

impl Fault {
    /// Another attempt may succeed.
    fn passing(message: impl Into<String>) -> Self {
        Self { is_final: false, message: cut(message.into()) }
    }

    /// No other attempt will.
    fn lasting(message: impl Into<String>) -> Self {
        Self { is_final: true, message: cut(message.into()) }
    }
}

/// Longest explanation, bytes. *Why:* a foreign server has a say in it.
const MESSAGE_BYTES_MAX: usize = 500;

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or(0));
    }
    message
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text.replace(['\r', '\n'], " ")
}
