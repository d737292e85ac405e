//! May this request be served? What the policies of its session say, then how many it may send.
//!
//! ```text
//! request ─▶ policy: 4.03 ─▶ discovery, echo ─▶ quotas of device and account: 4.29 ─▶ uplink
//! ```
//!
//! A session whose class the sheet does not have is let through by nobody: 5.03 until the sheet
//! comes. *Why:* a worker that starts anew finds its sessions before it hears what they may do.

use super::Worker;
use crate::clock::Now;
use crate::fate::Tally;
use tidegate_coap::code::Code;
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    /// Max-Age of the answer, seconds; 0: it has none.
    pub(super) max_age_s: u32,
    pub(super) tally: Tally,
}

impl Worker {
    /// Whether the session's policies allow the request.
    #[inline]
    pub(super) fn permit(&self, slot: u32, request: &Message<'_>) -> Result<(), Refusal> {
        let entry = self.slab.get(slot);
        let Some(class) = self.policies.sheet.class(entry.class) else {
            let max_age_s = CLASS_UNKNOWN_MAX_AGE_S;
            let code = Code::SERVICE_UNAVAILABLE;
            return Err(Refusal { code, max_age_s, tally: Tally::ClassUnknown });
        };
        let path = request.options.all(Number::URI_PATH);
        if self.policies.sheet.allows(&class, &entry.device, request.code.0, path) {
            return Ok(());
        }
        Err(Refusal { code: Code::FORBIDDEN, max_age_s: 0, tally: Tally::RequestForbidden })
    }

    /// Counts one more uplink of the session, when its device and its account may still send one.
    #[inline]
    pub(super) fn take_uplink(&mut self, now: Now, slot: u32) -> Result<(), Refusal> {
        let Some(class) = self.policies.sheet.class(self.slab.get(slot).class) else {
            return Ok(());
        };
        let now_us = now.ms.saturating_mul(1_000);
        let mut meter = None;
        if class.device.interval_us != 0 {
            let next = self.policies.sent.get(slot).after(now_us, class.device);
            meter = Some(next.map_err(too_many)?);
        }
        let rate = self.policies.sheet.account(class.account).filter(|rate| rate.interval_us != 0);
        if let Some(rate) = rate {
            self.handover.accounts().take(class.account, now_us, rate).map_err(too_many)?;
        }
        if let Some(meter) = meter {
            self.policies.sent.set(slot, meter);
        }
        Ok(())
    }
}

/// RFC 8516: the device may ask again after Max-Age.
fn too_many(early_us: u64) -> Refusal {
    let max_age_s = early_us.div_ceil(1_000_000).clamp(1, u64::from(u32::MAX)) as u32;
    Refusal { code: Code::TOO_MANY_REQUESTS, max_age_s, tally: Tally::RequestLimited }
}

/// The control plane sends the sheet as soon as it sees the worker.
const CLASS_UNKNOWN_MAX_AGE_S: u32 = 2;
