//! What must hold, whatever goes wrong? Models of their own, that share nothing with the edge.

mod downlinks;
mod outbox;
mod plain;
mod quota;
mod states;
mod turn;
mod uplinks;
mod values;
mod wire;

pub(crate) use downlinks::{Downlinks, downlink_text};
pub(crate) use outbox::Outbox;
pub(crate) use plain::Plain;
pub(crate) use states::States;
pub(crate) use turn::{Before, Turn};
pub(crate) use uplinks::{Event, Uplinks, answer_text};
pub(crate) use values::{Values, value_text};
pub(crate) use wire::Wire;

use quota::Quota;
use tidegate_ring::policy::Rate;

/// What time it is, and how often something was interrupted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interruptions {
    pub(crate) ms: u64,
    /// The dataplane died.
    pub(crate) dataplane: u32,
    /// The control plane died, or the broker was away, or too slow for what waits in the store.
    pub(crate) publishing: u32,
}

/// Every checker, and the first thing that did not hold.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) uplinks: Uplinks,
    pub(crate) quota: Quota,
    pub(crate) downlinks: Downlinks,
    pub(crate) outbox: Outbox,
    pub(crate) values: Values,
    pub(crate) states: States,
    pub(crate) wire: Wire,
    pub(crate) interruptions: Interruptions,
    violation: Option<String>,
}

impl Checks {
    /// Nothing has happened yet; `device_uplinks`: how many of one device are let through.
    pub(crate) fn new(device_uplinks: Rate) -> Self {
        Self { quota: Quota::new(device_uplinks), ..Self::default() }
    }

    /// Keeps the first.
    pub(crate) fn blame(&mut self, result: Result<(), String>) {
        if let Err(text) = result
            && self.violation.is_none()
        {
            self.violation = Some(text);
        }
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }
}
