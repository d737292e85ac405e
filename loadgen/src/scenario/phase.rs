//! What does the fleet do for a while? Connecting, requests, sleeping and waking, a storm of
//! handshakes; how many at a time or how many per second, and until when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::target::Transport;
use super::thresholds::Thresholds;
use super::within;

/// One stretch of a run. It begins when the one before it is over, with the sessions that are up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// What it is called in reports; no two have the same.
    pub name: String,
    /// What is done.
    pub kind: Kind,
    /// Closed loop: so many at a time, over all devices; the next begins when one ends.
    pub outstanding: Option<u32>,
    /// Open loop: so many begin per second, however long the server takes, 0.001..=10000000.
    pub rate_per_s: Option<f64>,
    /// How long, s; what is then outstanding is waited for.
    pub duration_s: Option<f64>,
    /// How many requests or handshakes; with `duration_s`, whatever is reached first.
    pub count: Option<u64>,

    /// `[[phase.request]]`: what devices send, each as often as its weight.
    #[serde(rename = "request", default)]
    pub requests: Vec<Request>,
    /// A device moves to another source port or address after every so many of its requests;
    /// 0: never.
    #[serde(default)]
    pub rebind_every: u64,
    /// Whether devices answer requests of the server (2.04, or 2.05 for GET); if not, they stay
    /// silent.
    #[serde(default = "yes")]
    pub answer_downlinks: bool,

    /// Of `sleepy` phases: every device wakes that often, s, 1..=86400, sends one request, and
    /// sleeps on. The fleet is spread evenly over that time.
    pub wake_every_s: Option<f64>,
    /// Of `sleepy` phases: with what a device comes back.
    #[serde(default)]
    pub wake: Wake,

    /// Of `storm` phases: percent of the handshakes in which a device offers the session that it
    /// has, 0..=100.
    #[serde(default)]
    pub resume_percent: u8,
    /// Of `storm` phases, and of `sleepy` ones that wake with a handshake: leaves the sessions
    /// open; else each is closed, in a storm at once, by a sleepy device before its next handshake.
    #[serde(default)]
    pub leave_open: bool,
    /// Of the same: each handshake comes from the port the device had (RFC 6347 section 4.2.8);
    /// else from one that the server has not seen.
    #[serde(default)]
    pub keep_port: bool,
    /// Cipher suites of this phase's handshakes; empty: those of `[dtls]`.
    #[serde(default)]
    pub suites: Vec<String>,
    /// Whether a Connection ID is offered in this phase's handshakes; else as `[dtls]` says.
    pub connection_id: Option<bool>,

    /// `[phase.thresholds]`: limits of this phase, before those of all.
    #[serde(default)]
    pub thresholds: Thresholds,
}

/// What is done in a phase.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Every device that has no session shakes hands, once.
    Connect,
    /// Devices send requests. Those without a session shake hands first.
    Requests,
    /// Devices wake, send one request and sleep.
    Sleepy,
    /// Handshakes, one after the other, without requests.
    Storm,
}

/// How much at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// So many outstanding over the whole fleet.
    Closed {
        /// At a time.
        outstanding: u32,
    },
    /// So many begun per second. Latency counts from the intended instant.
    Open {
        /// Per second.
        rate_per_s: f64,
    },
}

/// With what a sleepy device comes back.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Wake {
    /// The session it had, its Connection ID if any.
    #[default]
    Session,
    /// An abbreviated handshake, a full one if the server does not resume.
    Resumed,
    /// A full handshake.
    Full,
}

/// One kind of request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// `GET`, `PUT`, `POST`, `DELETE`.
    pub method: Method,
    /// Uri-Path and Uri-Query: `/t/7?a=b`; `{n}` becomes the device's number.
    pub path: String,
    /// Confirmable or not.
    #[serde(rename = "type")]
    pub message_type: Type,
    /// Length of the payload (of the whole datagram with `udp://`), or the shortest and longest.
    pub payload_bytes: Payload,
    /// Content-Format, if any.
    pub content_format: Option<u16>,
    /// How often among the phase's requests, 1..=1000000.
    pub weight: u32,
    /// Payloads longer than that go in blocks of so many bytes (Block1, RFC 7959): 16, 32, 64, 128,
    /// 256, 512, 1024. 0: never.
    pub block_bytes: u16,
}

/// A method.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    #[default]
    Put,
    Delete,
}

/// Confirmable or not.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Type {
    /// Confirmable.
    #[default]
    Con,
    /// Non-confirmable: a response that doesn't come is a timeout.
    Non,
}

/// How long a payload is, bytes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Payload {
    /// Always that long.
    Fixed(u32),
    /// Each length from the first to the second equally often.
    Between([u32; 2]),
}

/// A body of 1024 blocks of 1024 bytes.
const PAYLOAD_BYTES_MAX: u32 = 1 << 20;
/// What fits into one datagram without blocks.
const DATAGRAM_PAYLOAD_BYTES_MAX: u32 = 1_400;
/// Ten days.
const DURATION_S_MAX: f64 = 864_000.0;

impl Phase {
    /// How much at a time. `sleepy` phases are open loops, by the time between two wakings.
    pub fn load(&self, devices: u32) -> Load {
        match (self.outstanding, self.rate_per_s, self.wake_every_s) {
            (_, _, Some(wake_every_s)) => {
                Load::Open { rate_per_s: f64::from(devices) / wake_every_s }
            }
            (_, Some(rate_per_s), _) => Load::Open { rate_per_s },
            (outstanding, ..) => Load::Closed { outstanding: outstanding.unwrap_or(1) },
        }
    }

    /// How long, if it is bounded by time.
    pub fn duration(&self) -> Option<Duration> {
        self.duration_s.map(Duration::from_secs_f64)
    }

    /// Whether devices come from other addresses or ports in it than before.
    pub fn moves(&self) -> bool {
        self.rebind_every > 0 || self.comes_anew() && !self.keep_port
    }

    /// Whether devices shake hands again that have done so before.
    fn comes_anew(&self) -> bool {
        self.kind == Kind::Storm || self.wake != Wake::Session
    }

    pub(super) fn check(&self, transport: Transport) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("a phase has a name".to_owned());
        }
        self.check_load()?;
        if let Some(duration_s) = self.duration_s {
            within("duration_s", duration_s, 0.1, DURATION_S_MAX)?;
        }
        if let Some(count) = self.count {
            within("count", count, 1, u64::MAX)?;
        }
        within("resume_percent", self.resume_percent, 0, 100)?;
        self.check_kind(transport)?;
        self.requests.iter().try_for_each(|request| request.check(transport))?;
        self.thresholds.check("thresholds")
    }

    fn check_load(&self) -> Result<(), String> {
        let given = [
            ("outstanding", self.outstanding.is_some()),
            ("rate_per_s", self.rate_per_s.is_some()),
            ("wake_every_s", self.wake_every_s.is_some()),
        ];
        if given.iter().filter(|(_, is)| *is).count() != 1 {
            return Err("needs one of outstanding and rate_per_s (sleepy: wake_every_s)".to_owned());
        }
        if let Some(outstanding) = self.outstanding {
            within("outstanding", outstanding, 1, super::DEVICES_MAX)?;
        }
        if let Some(rate_per_s) = self.rate_per_s {
            within("rate_per_s", rate_per_s, 0.001, 1e7)?;
        }
        if let Some(wake_every_s) = self.wake_every_s {
            within("wake_every_s", wake_every_s, 1.0, 86_400.0)?;
        }
        Ok(())
    }

    /// What belongs to another kind is a misunderstanding.
    fn check_kind(&self, transport: Transport) -> Result<(), String> {
        let is = |kind| self.kind == kind;
        let has_end = self.duration_s.is_some() || self.count.is_some();
        let sends = is(Kind::Requests) || is(Kind::Sleepy);
        for (is_wrong, what) in [
            (sends && self.requests.is_empty(), "needs a [[phase.request]]"),
            (!sends && !self.requests.is_empty(), "this kind has no requests"),
            (!is(Kind::Connect) && !has_end, "needs duration_s or count"),
            (is(Kind::Connect) && has_end, "connect ends when every device had its turn"),
            (is(Kind::Sleepy) != self.wake_every_s.is_some(), "wake_every_s belongs to sleepy"),
            (!is(Kind::Sleepy) && self.wake != Wake::Session, "wake belongs to sleepy"),
            (!is(Kind::Storm) && self.resume_percent > 0, "resume_percent belongs to storm"),
            (!self.comes_anew() && self.leave_open, "leave_open belongs to storm and wake"),
            (!self.comes_anew() && self.keep_port, "keep_port belongs to storm and wake"),
            (!sends && self.rebind_every > 0, "rebind_every belongs to requests and sleepy"),
            (
                transport != Transport::Dtls
                    && (is(Kind::Connect)
                        || self.comes_anew()
                        || !self.suites.is_empty()
                        || self.connection_id.is_some()),
                "only a coaps:// server shakes hands",
            ),
        ] {
            if is_wrong {
                return Err(what.to_owned());
            }
        }
        Ok(())
    }
}

impl Request {
    fn check(&self, transport: Transport) -> Result<(), String> {
        let [low, high] = self.payload_bytes.range();
        within("payload_bytes", high, 0, PAYLOAD_BYTES_MAX)?;
        within("payload_bytes: the shorter", low, 0, high)?;
        within("weight", self.weight, 1, 1_000_000)?;
        let sizes = [0, 16, 32, 64, 128, 256, 512, 1_024];
        if !sizes.contains(&self.block_bytes) {
            return Err(format!("block_bytes = {} is none of {sizes:?}", self.block_bytes));
        }
        if self.block_bytes == 0 {
            within("payload_bytes without block_bytes", high, 0, DATAGRAM_PAYLOAD_BYTES_MAX)?;
        }
        if transport == Transport::Udp && (self.block_bytes > 0 || low == 0) {
            return Err("a bare datagram has at least a byte and no blocks".to_owned());
        }
        Ok(())
    }

    /// The segments of the path for one device.
    pub fn segments(&self, device: u32) -> Vec<String> {
        let path = self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path);
        parts(path, '/', device)
    }

    /// The parts of the query for one device.
    pub fn query(&self, device: u32) -> Vec<String> {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        parts(query, '&', device)
    }
}

fn parts(text: &str, by: char, device: u32) -> Vec<String> {
    let text = text.replace("{n}", &device.to_string());
    text.split(by).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

impl Method {
    /// Its code (RFC 7252 section 12.1.1).
    pub const fn code(self) -> u8 {
        match self {
            Self::Get => 1,
            Self::Post => 2,
            Self::Put => 3,
            Self::Delete => 4,
        }
    }
}

impl Payload {
    /// Shortest and longest.
    pub const fn range(self) -> [u32; 2] {
        match self {
            Self::Fixed(len) => [len, len],
            Self::Between(range) => range,
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: Method::default(),
            path: "/".to_owned(),
            message_type: Type::default(),
            payload_bytes: Payload::Fixed(0),
            content_format: None,
            weight: 1,
            block_bytes: 0,
        }
    }
}

const fn yes() -> bool {
    true
}
