//! What leaves the edge? A listener that has every device's keys: no nonce twice, and no message
//! sent again before or after its time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidegate_coap::message::{Message, Type};
use tidegate_dtls::Established;
use tidegate_dtls::record::{ContentType, Record};
use tidegate_ring::contract::SessionRef;
use zerocopy::IntoBytes;

/// Every session of every device.
#[derive(Default)]
pub(crate) struct Wire {
    sessions: Vec<Session>,
    /// When, to whom, what: of sessions whose devices do not know yet that they are up.
    unread: VecDeque<(u64, Option<usize>, Vec<u8>)>,
    /// Of plain sessions, by what the worker calls them.
    plain: BTreeMap<SessionRef, Confirmables>,
    /// Records of the edge that were read.
    pub(crate) records: u64,
    pub(crate) plain_messages: u64,
    pub(crate) retransmissions: u64,
}

struct Session {
    /// The device's half, as it was when the handshake was complete.
    keys: Established,
    cid_len: usize,
    sealed: BTreeSet<u64>,
    messages: Confirmables,
}

/// Confirmable messages of the edge in one session, by Message ID.
struct Confirmables {
    device: usize,
    confirmable: BTreeMap<u16, Confirmable>,
}

struct Confirmable {
    message: Vec<u8>,
    first_ms: u64,
    times: u32,
}

/// ACK_TIMEOUT and ACK_TIMEOUT × ACK_RANDOM_FACTOR (RFC 7252 section 4.8), milliseconds.
const ACK_TIMEOUT_MS: (u64, u64) = (2_000, 3_000);
/// MAX_RETRANSMIT.
const RETRANSMIT_MAX: u32 = 4;
/// Where an [`Established`] has its replay window: behind the number it writes next.
const REPLAY_WINDOW: std::ops::Range<usize> = 8..24;
/// Bound: records that nobody's keys open.
const UNREAD_MAX: usize = 256;
/// How late a turn may be, milliseconds.
const LATE_MS: u64 = 40;

impl Wire {
    /// A device has completed a handshake; the number of its session.
    pub(crate) fn on_session(
        &mut self,
        device: usize,
        mut keys: Established,
        cid_len: usize,
    ) -> Result<usize, String> {
        // What the device had held back until now is news to us.
        keys.as_mut_bytes()[REPLAY_WINDOW].fill(0);
        let (sealed, messages) = (BTreeSet::new(), Confirmables::new(device));
        self.sessions.push(Session { keys, cid_len, sealed, messages });
        let number = self.sessions.len() - 1;
        for (ms, to, bytes) in std::mem::take(&mut self.unread) {
            if self.sessions[number].read(&bytes).is_some() {
                self.on_sent(ms, to, &bytes)?;
            } else {
                self.unread.push_back((ms, to, bytes));
            }
        }
        Ok(number)
    }

    /// Whose session it is.
    pub(crate) fn device(&self, session: usize) -> usize {
        self.sessions[session].messages.device
    }

    /// Whether the edge finds the session by its records alone, wherever they come from.
    pub(crate) fn has_cid(&self, session: usize) -> bool {
        !self.sessions[session].keys.peer_cid().is_empty()
    }

    /// Whether a new address of its device is checked.
    pub(crate) fn has_return_routability(&self, session: usize) -> bool {
        self.sessions[session].keys.has_return_routability()
    }

    /// A datagram leaves the edge; `to`: whose address it goes to, if anybody's.
    pub(crate) fn on_sent(
        &mut self,
        now_ms: u64,
        to: Option<usize>,
        bytes: &[u8],
    ) -> Result<(), String> {
        let is_protected = bytes.get(4) == Some(&1);
        if !is_protected {
            return Ok(());
        }
        let likely = |session: &&mut Session| Some(session.messages.device) == to;
        let mut candidates: Vec<_> = self.sessions.iter_mut().rev().collect();
        candidates.sort_by_key(|session| !likely(session));
        for session in candidates {
            if let Some((sequence, content)) = session.read(bytes) {
                self.records += 1;
                if !session.sealed.insert(sequence) {
                    let device = session.messages.device;
                    return Err(format!("number {sequence} sealed twice toward device {device}"));
                }
                let is_again = session.messages.on_content(now_ms, &content)?;
                self.retransmissions += u64::from(is_again);
                return Ok(());
            }
        }
        if self.unread.len() == UNREAD_MAX {
            self.unread.pop_front();
        }
        self.unread.push_back((now_ms, to, bytes.to_vec()));
        Ok(())
    }

    /// A plain datagram leaves the edge, for the device that is known there. `session`: where it
    /// belongs, unless that ended at once. *Why by session:* with its memory the edge loses which
    /// Message IDs it has used, and begins with any (RFC 7252 section 4.4).
    pub(crate) fn on_plain(
        &mut self,
        now_ms: u64,
        device: Option<usize>,
        session: Option<SessionRef>,
        bytes: &[u8],
    ) -> Result<(), String> {
        let device = device.ok_or("a plain message goes where no device is")?;
        self.plain_messages += 1;
        let Some(session) = session else {
            let is_message = Message::parse(bytes).is_ok();
            return if is_message { Ok(()) } else { Err("not a CoAP message".to_owned()) };
        };
        let messages = self.plain.entry(session).or_insert_with(|| Confirmables::new(device));
        self.retransmissions += u64::from(messages.on_content(now_ms, bytes)?);
        Ok(())
    }
}

impl Session {
    /// The number and content of a record, when it is of this session.
    fn read(&self, bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
        let mut bytes = bytes.to_vec();
        let record = Record::parse(&bytes, 0, self.cid_len).ok()?;
        // The handshake's keys, as they were: a fresh window each time.
        let mut keys = self.keys;
        let opened = keys.open(&record, &mut bytes).ok()?;
        let is_message = opened.content_type == ContentType::APPLICATION_DATA;
        let content = if is_message { bytes[opened.content].to_vec() } else { Vec::new() };
        Some((record.sequence, content))
    }
}

impl Confirmables {
    fn new(device: usize) -> Self {
        Self { device, confirmable: BTreeMap::new() }
    }

    /// One message; true: it was sent before.
    fn on_content(&mut self, now_ms: u64, content: &[u8]) -> Result<bool, String> {
        let Ok(message) = Message::parse(content) else {
            let is_nothing = content.is_empty();
            return if is_nothing { Ok(false) } else { Err("not a CoAP message".to_owned()) };
        };
        if message.ty != Type::Con {
            return Ok(false);
        }
        let device = self.device;
        let Some(known) = self.confirmable.get_mut(&message.mid) else {
            let known = Confirmable { message: content.to_vec(), first_ms: now_ms, times: 0 };
            self.confirmable.insert(message.mid, known);
            return Ok(false);
        };
        let name = format!("CON {} toward device {device}", message.mid);
        if known.message != content {
            return Err(format!("{name}: two messages of one Message ID"));
        }
        known.times += 1;
        if known.times > RETRANSMIT_MAX {
            return Err(format!("{name} was sent again {} times", known.times));
        }
        let timeouts = (1 << known.times) - 1;
        let after_ms = now_ms - known.first_ms;
        let (least_ms, most_ms) = ACK_TIMEOUT_MS;
        if after_ms < least_ms * timeouts || after_ms > most_ms * timeouts + LATE_MS {
            let times = known.times;
            return Err(format!("{name}: repetition {times} came after {after_ms} ms"));
        }
        Ok(true)
    }
}
