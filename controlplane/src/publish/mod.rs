//! Where do uplinks go? To a broker, or to the embedded stream when none is configured.

pub mod broker_url;
pub mod mqtt;
pub mod stream;

use std::sync::Arc;

use crate::core::{PublishId, PublishResult};
use crate::store::account::Account;

/// Takes what is to be published and says later, by [`Tell`], what became of it.
pub trait Publisher: Send {
    /// Never blocks. *Bound:* the core's `publishes_in_flight_max`.
    fn publish(&mut self, id: PublishId, account: Account, topic: Arc<str>, payload: Vec<u8>);
    /// Nobody waits for it any more: it need not be sent again.
    fn abandon(&mut self, id: PublishId);
    /// The edge's turn has ended: what it published may leave together.
    fn flush(&mut self) {}
}

/// Makes one on the edge's thread and runtime: from ring to socket nothing has to be woken.
pub type MakePublisher = Box<dyn FnOnce() -> Box<dyn Publisher> + Send>;

/// What a publisher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is connected, or no longer.
    Up(bool),
    /// What became of a publish.
    Published(PublishId, PublishResult),
    /// These are confirmed, all heard of at once.
    Confirmed(Vec<PublishId>),
}

/// How a publisher says it: from any thread, never blocking.
pub type Tell = Arc<dyn Fn(Said) + Send + Sync>;
