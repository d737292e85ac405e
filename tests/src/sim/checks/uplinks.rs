//! Does every acknowledged request reach the subscriber, and nothing that no device sent?

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidegate_coap::code::Code;
use tidegate_coap::dedup::ENTRIES;

use super::Interruptions;
use crate::sim::dataplane::BLOCK_BYTES;
use crate::sim::device::{padded, uplink_text};
use crate::sim::provision::number_of;

/// What devices asked, and what the subscriber saw of it.
#[derive(Default)]
pub(crate) struct Uplinks {
    asked: BTreeMap<(usize, u32), Asked>,
    /// From when on what a device asks is allowed, or not; at first it is.
    allowed: BTreeMap<usize, Vec<(u64, bool)>>,
    /// When a device's messages were last forgotten: where there is no security, with each session.
    forgotten_ms: BTreeMap<usize, u64>,
    /// Devices whose standing has changed: what they had a session with counts no more.
    restanding: BTreeSet<usize>,
    /// Answered 2.xx.
    pub(crate) acknowledged: u64,
    /// Seen by the subscriber.
    pub(crate) published: u64,
    /// Of those, seen before.
    pub(crate) doubled: u64,
}

struct Asked {
    method: u8,
    /// Its blocks go as they like: the body has a name that outlives its Message IDs.
    in_bursts: bool,
    /// What is safe is asked again, where the response has gone before it was read.
    may_be_asked_again: bool,
    before: Interruptions,
    /// How long copies of it are known as such, milliseconds.
    lifetime_ms: u64,
    /// CON and NON that the device had sent by then.
    spoken: u32,
    /// Of these, those that may come to the edge behind this one.
    late: u32,
    /// MessageIds under which the subscriber saw it, and how often.
    seen: BTreeMap<String, u32>,
    is_acknowledged: bool,
}

/// What the subscriber reads.
pub(crate) struct Event {
    pub(crate) device: usize,
    pub(crate) payload: String,
    pub(crate) token: Option<String>,
    pub(crate) message: String,
}

impl Event {
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(json).ok()?;
        let id = json["WirelessDeviceId"].as_str()?.replace('-', "");
        let device = number_of(hex::decode(id).ok()?.try_into().ok()?)?;
        let payload = STANDARD.decode(json["PayloadData"].as_str()?).ok()?;
        let coap = &json["WirelessMetadata"]["CoAP"];
        Some(Self {
            device,
            payload: String::from_utf8(payload).ok()?,
            token: coap["ResponseToken"].as_str().map(str::to_owned),
            message: coap["MessageId"].as_str()?.to_owned(),
        })
    }

    /// The number of the request, if it is one.
    pub(crate) fn serial(&self) -> Option<u32> {
        let serial = self.payload.split_once('.')?.1.split(' ').next()?.parse().ok()?;
        (self.payload == uplink_text(self.device, serial)).then_some(serial)
    }
}

impl Uplinks {
    pub(crate) fn on_asked(
        &mut self,
        of: (usize, u32),
        (method, spoken, late): (u8, u32, u32),
        (confirmable, in_bursts): (bool, bool),
        before: Interruptions,
    ) {
        let (seen, is_acknowledged) = (BTreeMap::new(), false);
        let may_be_asked_again = false;
        let is_long_known = confirmable || in_bursts;
        let lifetime_ms = if is_long_known { EXCHANGE_LIFETIME_MS } else { NON_LIFETIME_MS };
        let asked = Asked {
            method,
            in_bursts,
            may_be_asked_again,
            before,
            lifetime_ms,
            spoken,
            late,
            seen,
            is_acknowledged,
        };
        self.asked.insert(of, asked);
    }

    /// Of a request that is safe.
    pub(crate) fn on_asked_for_rest(&mut self, of: (usize, u32)) {
        self.asked.entry(of).and_modify(|asked| asked.may_be_asked_again = true);
    }

    /// The subscriber has a message. `spoken`: what a device has sent by now.
    pub(crate) fn on_published(
        &mut self,
        json: &[u8],
        now: Interruptions,
        spoken: impl Fn(usize) -> u32,
    ) -> Result<Event, String> {
        let text = || String::from_utf8_lossy(json).into_owned();
        let event = Event::parse(json).ok_or_else(|| format!("not an event: {}", text()))?;
        let Some(serial) = event.serial() else { return Ok(event) };
        let asked = self.asked.get_mut(&(event.device, serial));
        let asked = asked.ok_or_else(|| format!("an event that no device sent: {}", text()))?;
        self.published += 1;
        self.doubled += u64::from(!asked.seen.is_empty());
        *asked.seen.entry(event.message.clone()).or_insert(0) += 1;
        let again = asked.seen[&event.message] > 1;
        if again && asked.before.publishing == now.publishing {
            return Err(format!("{} was published twice", event.payload));
        }
        let has_room = spoken(event.device) + asked.late < asked.spoken + ENTRIES as u32;
        let is_young = now.ms < asked.before.ms + asked.lifetime_ms;
        let forgotten_ms = self.forgotten_ms.get(&event.device);
        let is_same = forgotten_ms.is_none_or(|ms| *ms <= asked.before.ms);
        let is_known = is_young && is_same && !asked.may_be_asked_again;
        let is_remembered = (has_room || asked.in_bursts) && is_known;
        if asked.seen.len() > 1 && asked.before.dataplane == now.dataplane && is_remembered {
            return Err(format!("{} became two events", event.payload));
        }
        Ok(event)
    }

    /// The edge has a new session with a device whose messages look as they did in the last one.
    pub(crate) fn on_forgotten(&mut self, device: usize, ms: u64) {
        self.forgotten_ms.insert(device, ms);
    }

    /// A device's standing changes, and its sessions end.
    pub(crate) fn on_standing(&mut self, device: usize) {
        self.restanding.insert(device);
    }

    /// From now on what a device asks is allowed, or not.
    pub(crate) fn on_policy(&mut self, device: usize, ms: u64, allows: bool) {
        self.allowed.entry(device).or_default().push((ms, allows));
    }

    /// Whether what a device asks is allowed now.
    pub(crate) fn allows(&self, device: usize) -> bool {
        let last = self.allowed.get(&device).and_then(|changes| changes.last());
        last.is_none_or(|(_, allows)| *allows)
    }

    /// Whether that was so at any time since then.
    fn was(&self, device: usize, allowed: bool, since_ms: u64) -> bool {
        let changes = self.allowed.get(&device).map(Vec::as_slice).unwrap_or_default();
        let (before, since) = changes.split_at(changes.partition_point(|(ms, _)| *ms <= since_ms));
        let at_first = before.last().is_none_or(|(_, allows)| *allows);
        at_first == allowed || since.iter().any(|(_, allows)| *allows == allowed)
    }

    /// A device has the response to its request. `is_kept`: the store has the request, or the
    /// ring, and that is what a confirmation means.
    pub(crate) fn on_answered(
        &mut self,
        of: (usize, u32),
        (code, payload): (Code, &[u8]),
        is_kept: bool,
    ) -> Result<(), String> {
        let name = uplink_text(of.0, of.1);
        let asked = self.asked.get(&of).ok_or(format!("{name} was answered and never asked"))?;
        // What comes by a session that is to end is refused whole.
        let may_be = self.was(of.0, false, 0) || self.restanding.contains(&of.0);
        if code == Code::FORBIDDEN && !may_be {
            return Err(format!("{name} was forbidden and nobody forbids it"));
        }
        if !code.is_success() {
            let longest = name.len().max(answer_text(of.0, of.1).len());
            let expected = match code {
                Code::SERVICE_UNAVAILABLE
                | Code::GATEWAY_TIMEOUT
                | Code::FORBIDDEN
                // Whether it may be is another checker's question.
                | Code::TOO_MANY_REQUESTS => true,
                // What had come of a body, or was left of an answer, is gone with the dataplane.
                Code::REQUEST_ENTITY_INCOMPLETE => longest > BLOCK_BYTES,
                // The late answer to another GET has taken its place, and has no such block.
                Code::BAD_REQUEST => asked.method == Code::GET.0 && longest > BLOCK_BYTES,
                _ => false,
            };
            return if expected { Ok(()) } else { Err(format!("{name} was answered {code}")) };
        }
        let (right, content) = match Code(asked.method) {
            Code::PUT => (Code::CHANGED, String::new()),
            Code::DELETE => (Code::DELETED, String::new()),
            _ => (Code::CONTENT, answer_text(of.0, of.1)),
        };
        if code != right || payload != content.as_bytes() {
            let payload = String::from_utf8_lossy(payload);
            return Err(format!("{name} was answered {code} {payload:?}, not {right} {content:?}"));
        }
        if !self.was(of.0, true, asked.before.ms) {
            return Err(format!("{name} was answered {code} and was forbidden all the time"));
        }
        if asked.seen.is_empty() && !is_kept {
            return Err(format!("{name} was acknowledged and never reached the subscriber"));
        }
        self.acknowledged += 1;
        self.asked.entry(of).and_modify(|asked| asked.is_acknowledged = true);
        Ok(())
    }

    /// The run is over: what was acknowledged is with the subscriber.
    pub(crate) fn at_the_end(&self) -> Result<(), String> {
        let is_lost = |asked: &Asked| asked.is_acknowledged && asked.seen.is_empty();
        match self.asked.iter().find(|(_, asked)| is_lost(asked)) {
            Some((of, _)) => {
                Err(format!("{} was acknowledged and lost on its way", uplink_text(of.0, of.1)))
            }
            None => Ok(()),
        }
    }
}

/// How long a message is remembered, unless [`ENTRIES`] others of its device have come since
/// (RFC 7252 section 4.8.2).
const EXCHANGE_LIFETIME_MS: u64 = 247_000;
/// Of a NON.
const NON_LIFETIME_MS: u64 = 145_000;

/// What the application answers to a request; some of it has to be read block by block.
pub(crate) fn answer_text(device: usize, serial: u32) -> String {
    padded(format!("a{device}.{serial}"), [0, 500, 0, 0, 3_000, 0, 0], serial)
}
