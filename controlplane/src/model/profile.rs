//! What is an application profile? How the edge speaks CoAP with the devices that refer to it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use tidegate_ring::contract::{BODY_BYTES_MAX, NSTART_MAX};

use super::{LayoutRow, ProfileId, Tag};

/// A stored application profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationProfile {
    /// Given at creation.
    pub id: ProfileId,
    /// ≤ 256 characters.
    pub name: Option<String>,
    /// What it says.
    #[serde(flatten)]
    pub terms: ProfileTerms,
    /// ≤ 50.
    pub tags: Vec<Tag>,
    /// Unix time of creation, milliseconds.
    pub created_unix_ms: u64,
}

/// What a profile says; `None`: what the edge does by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileTerms {
    /// NSTART of RFC 7252 section 4.7: requests outstanding with the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nstart: Option<u32>,
    /// ACK_TIMEOUT of RFC 7252 section 4.8, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_timeout_ms: Option<u32>,
    /// ACK_RANDOM_FACTOR, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_random_percent: Option<u32>,
    /// MAX_RETRANSMIT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retransmit: Option<u32>,
    /// How long the ACK of a GET or POST is held back for the application's answer, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub piggyback_window_ms: Option<u32>,
    /// How long a request waits for its response, in either direction, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_timeout_ms: Option<u32>,
    /// How long a queued message waits for its device, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_ttl_s: Option<u32>,
    /// Open messages of one device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<u32>,
    /// Longest payload of a device's request, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_payload_bytes: Option<u32>,
    /// Longest payload of a request for a device, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink_payload_bytes: Option<u32>,
    /// How fresh a device's request that changes something has to be, seconds (RFC 9175 section
    /// 2.3); 0: of any age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_s: Option<u32>,
    /// How long after its last sign of life a device listens, seconds; QueueMode 1 goes to it then
    /// alone. 0: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listening_s: Option<u32>,
    /// PROBING_RATE of RFC 7252 section 4.8: what a device gets that does not respond, bytes a
    /// second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probing_rate: Option<u32>,
    /// The devices share a radio cell: so many messages at most are under way to all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_window: Option<u32>,
    /// What the devices' paths are for; ≤ [`LAYOUT_ROWS_MAX`](super::LAYOUT_ROWS_MAX) rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Vec<LayoutRow>>,
}

/// A member of [`ProfileTerms`], its name in the API, and what it may be.
pub struct TermRule {
    /// `NStart`.
    pub name: &'static str,
    /// The least and the greatest value.
    pub range: RangeInclusive<u32>,
    /// Where it stands.
    pub of: fn(&mut ProfileTerms) -> &mut Option<u32>,
}

/// ACK_RANDOM_FACTOR, percent; in the API a fraction, `AckRandomFactor`.
pub const ACK_RANDOM_PERCENT: RangeInclusive<u32> = 100..=300;

/// The members that are whole numbers in the API. *Bounds of NStart and UplinkPayloadBytes:* what
/// the contract with the dataplane has room for.
pub const TERM_RULES: [TermRule; 13] = [
    rule("NStart", 1..=NSTART_MAX as u32, |terms| &mut terms.nstart),
    rule("AckTimeoutMillis", 1_000..=60_000, |terms| &mut terms.ack_timeout_ms),
    rule("MaxRetransmit", 0..=10, |terms| &mut terms.max_retransmit),
    rule("PiggybackWindowMillis", 0..=60_000, |terms| &mut terms.piggyback_window_ms),
    rule("ResponseTimeoutMillis", 1_000..=240_000, |terms| &mut terms.response_timeout_ms),
    rule("QueueTtlSeconds", 1..=31_536_000, |terms| &mut terms.queue_ttl_s),
    rule("QueueDepth", 1..=10_000, |terms| &mut terms.queue_depth),
    rule("UplinkPayloadBytes", 0..=BODY_BYTES_MAX as u32, |terms| &mut terms.uplink_payload_bytes),
    rule("DownlinkPayloadBytes", 0..=PAYLOAD_BYTES, |terms| &mut terms.downlink_payload_bytes),
    rule("FreshnessSeconds", 0..=86_400, |terms| &mut terms.fresh_s),
    rule("ListeningSeconds", 0..=86_400, |terms| &mut terms.listening_s),
    rule("ProbingRate", 1..=1_000_000, |terms| &mut terms.probing_rate),
    rule("CellWindow", 1..=100_000, |terms| &mut terms.cell_window),
];

/// What a message may refer to.
const PAYLOAD_BYTES: u32 = crate::payloads::BYTES_MAX as u32;

const fn rule(
    name: &'static str,
    range: RangeInclusive<u32>,
    of: fn(&mut ProfileTerms) -> &mut Option<u32>,
) -> TermRule {
    TermRule { name, range, of }
}

impl ProfileTerms {
    /// These, where they say something, else those before.
    #[must_use]
    pub fn over(&self, before: &Self) -> Self {
        let (mut new, mut merged) = (self.clone(), before.clone());
        for rule in &TERM_RULES {
            if let Some(value) = *(rule.of)(&mut new) {
                *(rule.of)(&mut merged) = Some(value);
            }
        }
        merged.layout = new.layout.or(merged.layout);
        merged.ack_random_percent = new.ack_random_percent.or(merged.ack_random_percent);
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_only_what_changes() {
        let before = ProfileTerms { nstart: Some(2), queue_depth: Some(5), ..Default::default() };
        let change = ProfileTerms {
            nstart: Some(3),
            ack_random_percent: Some(200),
            ..ProfileTerms::default()
        };
        let after = change.over(&before);
        assert_eq!((after.nstart, after.queue_depth), (Some(3), Some(5)));
        assert_eq!(after.ack_random_percent, Some(200));
    }
}
