//! What is written into the customer's log, and how long does it stay?
//!
//! Entries are gathered for a moment and written together; nobody waits for them. Of a device that
//! fills the log only so many entries are kept in a minute, and one that says so.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_coap::code::Code;
use tidegate_ring::Seq;
use tidegate_ring::contract::{Claim, EndReason, Event, Mishap, Notice};

use super::credentials::Leaf;
use super::measure::Happened;
use super::{Core, Effect, LinkId, Now};
use crate::api::shape::iso8601;
use crate::customer_log::{
    About, CoapDetail, DEVICE_ENTRIES_PER_MINUTE, Level, LogEntry, LogLimits, Logged,
};
use crate::model::{DeviceId, Failure, MessageId, MessageState};
use crate::store::account::Account;
use crate::store::records;
use crate::store::{Store, StoreError, Table, Transaction, keys, settings};

/// What the log is made of.
pub(super) struct CustomerLog {
    limits: LogLimits,
    /// The number of the next entry: no two of a millisecond have the same.
    next: u64,
    kept: u64,
    kept_bytes: u64,
    waiting: Vec<Logged>,
    due_ms: u64,
    /// Entries of each device in this minute.
    lately: HashMap<DeviceId, u32>,
    minute: u64,
    counts: LogCounts,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogCounts {
    /// Entries written.
    pub entries: u64,
    /// Entries of devices that had too many in a minute.
    pub left_out: u64,
    /// Entries kept now.
    pub kept: u64,
    /// And their bytes.
    pub kept_bytes: u64,
}

/// Entries are gathered so long, milliseconds.
const GATHER_MS: u64 = 50;
/// What is too old is looked for this often, milliseconds.
const SWEEP_MS: u64 = 10_000;
/// Bound: entries that wait to be written; more are written at once.
const WAITING_MAX: usize = 256;
/// Bound: devices counted in a minute; at the bound all begin anew.
const DEVICES_MAX: usize = 65_536;
/// Bound: entries taken out in one go.
const SWEEP_ENTRIES: usize = 1_024;

impl CustomerLog {
    /// Counts what the store keeps.
    pub(super) fn restore(
        store: &dyn Store,
        now: Now,
        limits: LogLimits,
    ) -> Result<Self, StoreError> {
        let mut log = Self {
            limits,
            next: now.unix_ms << 16,
            kept: 0,
            kept_bytes: 0,
            waiting: Vec::new(),
            due_ms: now.ms,
            lately: HashMap::new(),
            minute: 0,
            counts: LogCounts::default(),
        };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (table, prefix) = (Table::CustomerLog, keys::LOG_ENTRIES);
            let found = store.scan(table, prefix, after.as_deref(), SWEEP_ENTRIES)?;
            for (key, value) in &found {
                log.kept += 1;
                log.kept_bytes += bytes_of(key, value);
            }
            match found.last() {
                Some((key, _)) if found.len() == SWEEP_ENTRIES => after = Some(key.clone()),
                _ => return Ok(log),
            }
        }
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    pub(super) fn counts(&self) -> LogCounts {
        LogCounts { kept: self.kept, kept_bytes: self.kept_bytes, ..self.counts }
    }

    /// Whether the device may have one more entry in this minute, and whether it is the last.
    fn takes(&mut self, now: Now, device: DeviceId) -> Option<bool> {
        let minute = now.ms / 60_000;
        if self.minute != minute || self.lately.len() >= DEVICES_MAX {
            self.minute = minute;
            self.lately.clear();
        }
        let count = self.lately.entry(device).or_insert(0);
        *count += 1;
        if *count > DEVICE_ENTRIES_PER_MINUTE {
            self.counts.left_out += 1;
            return None;
        }
        Some(*count == DEVICE_ENTRIES_PER_MINUTE)
    }

    fn is_over(&self) -> bool {
        self.kept > self.limits.entries_max || self.kept_bytes > self.limits.bytes_max
    }
}

impl Core {
    /// One entry, when the device's log level has room for it.
    pub(super) fn log(
        &mut self,
        now: Now,
        device: DeviceId,
        (event, level): (About, Level),
        message: String,
        coap: CoapDetail,
        message_id: Option<MessageId>,
    ) {
        // Of a device that is gone nothing is told any more.
        let Ok(Some(account)) = self.store.owner(device) else { return };
        if level > self.log_level(account, device, event) {
            return;
        }
        let Some(is_last) = self.log.takes(now, device) else { return };
        let suffix = if is_last { "; more of this device in this minute is left out" } else { "" };
        let number = self.log.next;
        self.log.next += 1;
        let entry = LogEntry {
            timestamp: iso8601(now.unix_ms),
            resource: "WirelessDevice".to_owned(),
            wireless_device_id: device,
            wireless_device_type: "CoAP".to_owned(),
            event,
            log_level: level,
            message_id,
            message: message + suffix,
            coap,
        };
        self.log.waiting.push(Logged { at: (now.unix_ms, number), account: account.0, entry });
        self.log.due_ms = self.log.due_ms.min(now.ms + GATHER_MS);
        if self.log.waiting.len() >= WAITING_MAX {
            self.log.due_ms = now.ms;
        }
    }

    /// How much is logged of a device; nothing where the store can't say.
    fn log_level(&self, owner: Account, device: DeviceId, about: About) -> Level {
        let store = self.store.within(owner).unwrap_or_else(|| self.store.clone());
        settings::log_level(&*store, device, about.as_str()).map_or(Level::Disabled, Level::from)
    }

    /// Writes what waits, takes out what is too much or too old.
    pub(super) fn on_log_due(&mut self, now: Now) {
        if self.log.due_ms > now.ms {
            return;
        }
        self.log.due_ms = now.ms + SWEEP_MS;
        let mut by_account: HashMap<u64, Transaction> = HashMap::new();
        for logged in std::mem::take(&mut self.log.waiting) {
            let key = keys::log_entry(logged.at.0, logged.at.1);
            let value = records::encode(&logged.entry);
            self.log.kept += 1;
            self.log.kept_bytes += bytes_of(&key, &value);
            self.log.counts.entries += 1;
            let tx = by_account.entry(logged.account).or_default();
            tx.account = Some(Account(logged.account));
            let place = &key[keys::LOG_ENTRIES.len()..];
            let of_device = [&keys::log_of(logged.entry.wireless_device_id), place].concat();
            tx.put(Table::CustomerLog, of_device, []);
            tx.put(Table::CustomerLog, key, value);
            self.out.push(Effect::Logged(Arc::new(logged)));
        }
        for tx in by_account.into_values() {
            self.write(tx, None);
        }
        if self.sweep_log(now) == Ok(true) {
            self.log.due_ms = now.ms + GATHER_MS;
        }
    }

    /// True: there may be more to take out.
    fn sweep_log(&mut self, now: Now) -> Result<bool, StoreError> {
        let (table, prefix) = (Table::CustomerLog, keys::LOG_ENTRIES);
        let entries_max = if self.log.is_over() { SWEEP_ENTRIES } else { 1 };
        let found = self.store.scan(table, prefix, None, entries_max)?;
        let oldest_ms = now.unix_ms.saturating_sub(self.log.limits.age_max_ms);
        let (mut tx, mut taken) = (Transaction::new(), 0);
        for (key, value) in &found {
            let place = &key[prefix.len()..];
            let at_ms = place.first_chunk::<8>().map_or(0, |ms| u64::from_be_bytes(*ms));
            if at_ms >= oldest_ms && !self.log.is_over() {
                break;
            }
            if let Ok(entry) = records::decode::<LogEntry>(value, "log entry") {
                let device = entry.wireless_device_id;
                tx.delete(table, [&keys::log_of(device), place].concat());
            }
            tx.delete(table, key.clone());
            self.log.kept = self.log.kept.saturating_sub(1);
            self.log.kept_bytes = self.log.kept_bytes.saturating_sub(bytes_of(key, value));
            taken += 1;
        }
        if taken > 0 {
            self.write(tx, None);
        }
        Ok(taken == found.len() && taken > 0)
    }

    /// A worker tells something of a device.
    pub(super) fn on_notice(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (notice, tail) = Notice::split(bytes)?;
        let event = Event::from_wire(notice.event)?;
        let device = DeviceId(notice.device);
        match event {
            Event::Refused | Event::Answered | Event::TimedOut | Event::Unpublished => {
                self.check_class(device, notice.session.get(), notice.class.get());
                let (message, coap) = refusal(event, notice, tail);
                self.log(now, device, (About::UplinkData, Level::Error), message, coap, None);
            }
            Event::HandshakeFailed => {
                let (word, why) = mishap(Mishap::from_wire(notice.detail)?);
                let message = format!("The handshake failed: {why}");
                let coap = CoapDetail { reason: Some(word.to_owned()), ..CoapDetail::default() };
                self.log(now, device, (About::Join, Level::Error), message, coap, None);
                self.count(now, device, Happened::JoinFailed);
            }
            Event::HandshakeUnproven => {
                let (word, why) = mishap(Mishap::from_wire(notice.detail)?);
                Claim::from_wire(notice.code).filter(|claim| *claim == Claim::Certificate)?;
                if let Some(device) = self.device_of_leaf(&Leaf::parse(tail)?) {
                    let message = format!(
                        "A handshake with a certificate that names this device failed: {why}"
                    );
                    let reason = Some(word.to_owned());
                    let coap = CoapDetail { reason, ..CoapDetail::default() };
                    self.log(now, device, (About::Join, Level::Error), message, coap, None);
                }
            }
        }
        self.done(link, seq);
        Some(())
    }

    /// A session is there.
    pub(super) fn log_session_up(&mut self, now: Now, device: DeviceId, how: &str, resumed: bool) {
        let again = if resumed { "resumed" } else { "established" };
        let message = format!("A session was {again} by {how}");
        let coap = CoapDetail::default();
        self.log(now, device, (About::Join, Level::Info), message, coap, None);
    }

    /// A session has ended.
    pub(super) fn log_session_down(&mut self, now: Now, device: DeviceId, reason: EndReason) {
        let (word, why, level) = match reason {
            EndReason::Closed => ("CLOSED", "the device closed it", Level::Info),
            EndReason::Replaced => ("REPLACED", "a newer one took its place", Level::Info),
            EndReason::CredentialDropped => {
                ("CREDENTIAL_CHANGED", "a credential of the device changed", Level::Info)
            }
            EndReason::Idle => ("IDLE", "it was idle for too long", Level::Info),
            EndReason::Broken => ("BROKEN", "the device gave it up by an alert", Level::Error),
            EndReason::Evicted => ("EVICTED", "there was no room for it", Level::Error),
        };
        let coap = CoapDetail { reason: Some(word.to_owned()), ..CoapDetail::default() };
        self.log(
            now,
            device,
            (About::Join, level),
            format!("The session ended: {why}"),
            coap,
            None,
        );
    }

    /// A message for the device has ended.
    pub(super) fn log_message(
        &mut self,
        now: Now,
        device: DeviceId,
        id: MessageId,
        state: MessageState,
    ) {
        let (word, why) = match state {
            MessageState::Failed(failure) => match failure {
                Failure::Timeout => ("TIMEOUT", "the device did not acknowledge it"),
                Failure::Reset => ("RESET", "the device answered RST"),
                Failure::NoSession => ("NO_SESSION", "the device has no session"),
                Failure::Busy => ("BUSY", "too much was under way to the device"),
                Failure::TokenGone => ("TOKEN_GONE", "the request it answers is gone"),
                Failure::Malformed => ("MALFORMED", "it, or its response, does not fit together"),
                Failure::TooLarge => ("TOO_LARGE", "the device's response is too long"),
                Failure::Restarted => ("RESTARTED", "the dataplane restarted meanwhile"),
                Failure::PayloadGone => {
                    ("PAYLOAD_GONE", "what it refers to can't be read any more")
                }
                Failure::PayloadChanged => ("PAYLOAD_CHANGED", "what it refers to has changed"),
            },
            MessageState::Expired => ("EXPIRED", "it waited too long for the device"),
            _ => return,
        };
        let coap = CoapDetail { reason: Some(word.to_owned()), ..CoapDetail::default() };
        let message = format!("The message was not delivered: {why}");
        self.log(now, device, (About::DownlinkData, Level::Error), message, coap, Some(id));
    }
}

/// An entry's bytes in the store: its key twice, once behind the device's.
fn bytes_of(key: &[u8], value: &[u8]) -> u64 {
    (2 * key.len() + 16 + value.len()) as u64
}

fn refusal(event: Event, notice: &Notice, path: &[u8]) -> (String, CoapDetail) {
    let (method, answered) = (Code(notice.method), Code(notice.code));
    let meant = if notice.code == 0 { Code(notice.detail) } else { answered };
    let (word, why) = match (event, meant) {
        (Event::Refused, Code::FORBIDDEN) => ("POLICY", "no policy of the device allows it"),
        (_, Code::TOO_MANY_REQUESTS) => ("QUOTA", "the device or its account sent too many"),
        (Event::Refused, Code::SERVICE_UNAVAILABLE) => ("BUSY", "there was no room for it"),
        (Event::Refused, _) => ("UNACCEPTABLE", "the edge can't serve it"),
        (Event::Answered, _) => ("APPLICATION", "so the application said"),
        (Event::TimedOut, _) => ("TIMEOUT", "no outcome came in time"),
        (_, Code::NOT_FOUND) => ("NO_ROUTE", "the device's destination leads nowhere"),
        (_, Code::FORBIDDEN) => ("FORBIDDEN", "the session is no longer good, or a policy bars it"),
        (_, Code::REQUEST_ENTITY_TOO_LARGE) => ("TOO_LARGE", "its payload is too long"),
        (_, _) => ("UNAVAILABLE", "it could not be published now"),
    };
    let path = String::from_utf8_lossy(path).into_owned();
    let method = method.service_name().to_string();
    let is_answered = notice.code != 0;
    let outcome = if is_answered {
        format!("was answered {}", answered.service_name())
    } else {
        "was dropped".to_owned()
    };
    let kind = if notice.confirmable == 1 { "CONFIRMABLE" } else { "NON_CONFIRMABLE" };
    let coap = CoapDetail {
        request_method: Some(method.clone()),
        uri_path: Some(path.clone()),
        response_status: is_answered.then(|| answered.service_name().to_string()),
        message_type: Some(kind.to_owned()),
        reason: Some(word.to_owned()),
    };
    (format!("{method} /{path} {outcome}: {why}"), coap)
}

fn mishap(mishap: Mishap) -> (&'static str, &'static str) {
    match mishap {
        Mishap::Timeout => ("TIMEOUT", "the device fell silent"),
        Mishap::WrongKey => ("WRONG_KEY", "its pre-shared key is another one"),
        Mishap::CertificateExpired => {
            ("CERTIFICATE_EXPIRED", "its certificate has expired, or is not valid yet")
        }
        Mishap::UnknownAuthority => {
            ("UNKNOWN_AUTHORITY", "its certificate is of no authority that is registered")
        }
        Mishap::BadCertificate => ("BAD_CERTIFICATE", "its certificate is missing or of no use"),
        Mishap::NothingCommon => {
            ("NOTHING_COMMON", "no version, cipher suite or extension in common")
        }
        Mishap::Malformed => ("MALFORMED", "a message was not as it should be"),
        Mishap::PeerAlert => ("ALERT", "the device gave it up by an alert"),
        Mishap::Unavailable => ("UNAVAILABLE", "its credential could not be looked up"),
        Mishap::AccessDenied => ("ACCESS_DENIED", "the device may not use what it came with"),
    }
}
