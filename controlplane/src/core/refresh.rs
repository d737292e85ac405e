//! When is a device asked again for what an application observes? When what it told last is stale
//! (RFC 7641 section 3.3.1): it may have forgotten who observes it, and nobody would hear of that.
//!
//! ```text
//! state, Max-Age ─▶ … nothing newer for Max-Age and 5 to 15 s ─▶ GET with Observe 0, same token
//!                                          asleep, no answer ─▶ at its next sign of life
//! ```
//!
//! *Bound:* one deadline of each subscription, `REFRESHES_MAX` of them a turn.

use std::collections::BTreeSet;

use rand::Rng as _;
use tidegate_coap::message::Message as CoapMessage;
use tidegate_coap::option::Number;

use super::{Core, Now};
use crate::model::{DeviceId, MessageId};

/// When states become stale.
pub(super) type Stale = BTreeSet<(u64, DeviceId, MessageId)>;

/// Max-Age of a response that does not say it (RFC 7252 section 5.10.5), seconds.
const MAX_AGE_S: u32 = 60;
/// Behind Max-Age, so that not all ask at once, milliseconds.
const SPREAD_MS: std::ops::RangeInclusive<u64> = 5_000..=15_000;
/// Bound: registrations made again in one turn.
const REFRESHES_MAX: usize = 256;

/// How long a state is fresh, milliseconds.
pub(super) fn fresh_ms(state: &CoapMessage<'_>) -> u64 {
    u64::from(state.options.uint(Number::MAX_AGE).unwrap_or(MAX_AGE_S)) * 1_000
}

impl Core {
    /// The device has told a state that is fresh for so long.
    pub(super) fn is_fresh_for(
        &mut self,
        now: Now,
        (device, id): (DeviceId, MessageId),
        fresh_ms: u64,
    ) {
        let due_ms = now.ms + fresh_ms + self.random.random_range(SPREAD_MS);
        self.subscriptions.set_stale_at(device, id, due_ms);
    }

    /// Asks again for what is stale, where the device listens.
    pub(super) fn on_stale(&mut self, now: Now) {
        let mut devices = Vec::new();
        for _ in 0..REFRESHES_MAX {
            let Some((due_ms, device, id)) = self.subscriptions.first_stale() else { break };
            if due_ms > now.ms {
                break;
            }
            self.subscriptions.is_stale(device, id);
            devices.push(device);
        }
        devices.dedup();
        for device in devices {
            if !self.is_window_closed(now, device) {
                self.register_again(device);
            }
        }
    }
}
