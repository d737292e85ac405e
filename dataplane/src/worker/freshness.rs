//! Is this request of now? Where a profile wants to know, a request that changes something has to
//! carry an Echo value that we made not long ago (RFC 9175 sections 2.3 and 2.4).
//!
//! ```text
//! PUT ─▶ 4.01 with Echo ─▶ PUT with that Echo ─▶ as any request, for as long as the value is fresh
//! ```
//!
//! Nothing is remembered: the value is the time and a MAC over it and the device, under a key that
//! a worker makes when it starts. After a restart devices are asked anew.

use super::Worker;
use super::permits::Refusal;
use crate::clock::Now;
use crate::fate::Tally;
use tidegate_coap::block::Block;
use tidegate_coap::code::Code;
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;
use tidegate_crypto::cookie::CookieKey;
use tidegate_ring::contract::DeviceId;

/// What makes Echo values.
#[derive(Debug)]
pub(super) struct Freshness {
    key: CookieKey,
}

/// An Echo value: `time:4 | mac:8`.
pub(super) type EchoValue = [u8; TIME_BYTES + MAC_BYTES];

const TIME_BYTES: usize = 4;
/// *Why 8:* a guess is a message, and the device is authenticated already: what is kept from it is
/// saying that an old request of its own is new.
const MAC_BYTES: usize = 8;

impl Freshness {
    /// With a key of these random bytes.
    pub(super) fn new(random: &[u8; 32]) -> Self {
        Self { key: CookieKey::new(random) }
    }

    /// The value that says "now" for a device.
    pub(super) fn value(&self, now: Now, device: &DeviceId) -> EchoValue {
        let time = now.s().to_be_bytes();
        let mac = self.key.mac(&[LABEL, device, &time]);
        let mut value = [0; TIME_BYTES + MAC_BYTES];
        value[..TIME_BYTES].copy_from_slice(&time);
        value[TIME_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        value
    }

    /// How old a value is, seconds; `None`: it is not ours, not this device's, or not yet.
    fn age_s(&self, now: Now, device: &DeviceId, value: &[u8]) -> Option<u32> {
        let (time, claimed) = value.split_first_chunk::<TIME_BYTES>()?;
        let mac = self.key.mac(&[LABEL, device, time]);
        let is_ours = claimed.len() == MAC_BYTES && is_equal(&mac[..MAC_BYTES], claimed);
        now.s().checked_sub(u32::from_be_bytes(*time)).filter(|_| is_ours)
    }
}

/// In a time that depends on lengths alone.
fn is_equal(ours: &[u8], claimed: &[u8]) -> bool {
    ours.iter().zip(claimed).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

impl Worker {
    /// Whether a request of the session is fresh enough for it to be served. Of a body, its first
    /// block is asked.
    pub(super) fn check_freshness(
        &self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
    ) -> Result<(), Refusal> {
        let entry = self.slab.get(slot);
        let within_s = self.policies.sheet.class(entry.class).map_or(0, |class| class.fresh_s);
        if within_s == 0 || matches!(request.code, Code::GET | Code::FETCH) {
            return Ok(());
        }
        let parts =
            [Number::BLOCK1, Number::Q_BLOCK1].map(|option| Block::of(&request.options, option));
        if parts.iter().flatten().any(|block| block.number() > 0) {
            return Ok(());
        }
        let value = request.options.first(Number::ECHO);
        let age_s = value.and_then(|value| self.freshness.age_s(now, &entry.device, value));
        if age_s.is_some_and(|age_s| age_s < within_s) {
            return Ok(());
        }
        Err(Refusal { code: Code::UNAUTHORIZED, max_age_s: 0, tally: Tally::RequestUnfresh })
    }
}

const LABEL: &[u8] = b"coap echo";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Now {
        Now { ms: s * 1_000, unix_ms: 0 }
    }

    #[test]
    fn a_value_tells_its_age_to_its_device_alone() {
        let (ours, device) = (Freshness::new(&[1; 32]), [2; 16]);
        let value = ours.value(at(100), &device);
        assert_eq!(ours.age_s(at(100), &device, &value), Some(0));
        assert_eq!(ours.age_s(at(160), &device, &value), Some(60));
        assert_eq!(ours.age_s(at(99), &device, &value), None, "of the future");
        assert_eq!(ours.age_s(at(100), &[3; 16], &value), None);
        assert_eq!(Freshness::new(&[4; 32]).age_s(at(100), &device, &value), None);
    }

    #[test]
    fn no_bit_of_a_value_can_be_changed_and_no_byte_left_out() {
        let (ours, device) = (Freshness::new(&[1; 32]), [2; 16]);
        let value = ours.value(at(1 << 20), &device);
        for bit in 0..value.len() * 8 {
            let mut forged = value;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ours.age_s(at(1 << 31), &device, &forged), None, "bit {bit}");
        }
        for len in 0..value.len() {
            assert_eq!(ours.age_s(at(1 << 20), &device, &value[..len]), None);
        }
        let longer = [&value[..], &[0]].concat();
        assert_eq!(ours.age_s(at(1 << 20), &device, &longer), None);
    }
}
