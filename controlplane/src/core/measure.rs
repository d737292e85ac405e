//! What is counted for GetMetrics? Uplinks, downlinks and handshakes, by the hour, of each device
//! and of its account, where the account has enabled it.
//!
//! Counted in memory, written a minute later at most and when the process ends; what a crash takes
//! is the last minute. *Bound:* devices counted by themselves in an hour, and how many hours are
//! kept: `[summary_metrics]`. Devices beyond count for their account alone.

use std::collections::HashMap;

use tidegate_ring::contract::Publication;

use super::{ByDevice, Core, Now, Reply};
use crate::model::{DeviceId, MetricConfiguration, Switch};
use crate::store::account::Account;
use crate::store::measured::{Counts, Subject, hour_of};
use crate::store::records::read;
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct MetricLimits {
    /// Devices counted by themselves in one hour.
    pub devices_max: usize,
    /// Hours kept.
    pub hours_max: u32,
}

impl Default for MetricLimits {
    fn default() -> Self {
        Self { devices_max: 20_000, hours_max: 14 * 24 }
    }
}

/// What the API asks about it.
#[derive(Debug)]
pub enum MetricsRequest {
    /// An account has enabled or disabled its metrics.
    Changed,
    /// So many devices an account has.
    Devices(Account, u32),
    /// What has been counted in the hour under way?
    Now(Vec<Subject>),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// A request of the device was published.
    Uplink,
    /// It could not be.
    UplinkLost,
    /// A message was sent to the device.
    Downlink,
    /// A handshake failed.
    JoinFailed,
    /// A handshake came to a session.
    Joined,
}

/// The hour under way.
pub(super) struct Measure {
    limits: MetricLimits,
    /// Unix time, hours.
    hour: u32,
    /// Of hours up to this one something may be stored: by a process before this one, or the clock
    /// went back.
    stored_hour: u32,
    devices: ByDevice<Counted>,
    accounts: HashMap<Account, Counted>,
    /// Whether an account has enabled it, as far as was asked.
    enabled: HashMap<Account, bool>,
    /// What differs from the store, each once.
    changed: Vec<(Account, Subject)>,
    /// Of hours that have ended.
    ended: Vec<(Account, Vec<u8>, Counts)>,
    due_ms: u64,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    counts: Counts,
    is_changed: bool,
}

/// What was counted is written so often, milliseconds.
const WRITE_MS: u64 = 60_000;
/// There is more to write: so soon, milliseconds.
const AGAIN_MS: u64 = 10;
/// Bound: records written or taken out in one go.
const RECORDS_MAX: usize = 512;
/// Bound: accounts of which it is remembered whether they count.
const ACCOUNTS_MAX: usize = 65_536;
const HOUR_MS: u64 = 3_600_000;

impl Measure {
    pub(super) fn new(now: Now, limits: MetricLimits) -> Self {
        let hour = hour_at(now);
        Self {
            limits,
            hour,
            stored_hour: hour,
            devices: ByDevice::default(),
            accounts: HashMap::new(),
            enabled: HashMap::new(),
            changed: Vec::new(),
            ended: Vec::new(),
            due_ms: now.ms,
        }
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// What differs from the store is kept for it, and the hour begins with nothing.
    fn begin(&mut self, hour: u32) {
        for (account, subject) in std::mem::take(&mut self.changed) {
            let counts = match subject {
                Subject::Device(device) => self.devices.get(&device),
                Subject::Account(account) => self.accounts.get(&account),
            };
            let counts = counts.map(|counted| counted.counts).unwrap_or_default();
            self.ended.push((account, subject.key(self.hour), counts));
        }
        self.devices.clear();
        self.accounts.clear();
        self.stored_hour = self.stored_hour.max(self.hour);
        self.hour = hour;
        self.due_ms = 0;
    }

    /// The counts of this hour; a subject that finds no room has none.
    fn counts_of(
        &mut self,
        store: &dyn Store,
        account: Account,
        subject: Subject,
    ) -> Option<&mut Counts> {
        let known = match subject {
            Subject::Device(device) => self.devices.contains_key(&device),
            Subject::Account(account) => self.accounts.contains_key(&account),
        };
        if !known {
            let is_full = self.devices.len() >= self.limits.devices_max;
            if is_full && matches!(subject, Subject::Device(_)) {
                return None;
            }
            let may_be_stored = self.hour <= self.stored_hour;
            let before = if may_be_stored { subject.counts(store, self.hour).ok()? } else { None };
            let counted = Counted { counts: before.unwrap_or_default(), is_changed: false };
            match subject {
                Subject::Device(device) => self.devices.insert(device, counted),
                Subject::Account(account) => self.accounts.insert(account, counted),
            };
        }
        let counted = match subject {
            Subject::Device(device) => self.devices.get_mut(&device),
            Subject::Account(account) => self.accounts.get_mut(&account),
        }?;
        if !std::mem::replace(&mut counted.is_changed, true) {
            self.changed.push((account, subject));
        }
        Some(&mut counted.counts)
    }

    /// What is counted now; `None`: nothing yet.
    fn now(&self, subject: Subject) -> Option<Counts> {
        let counted = match subject {
            Subject::Device(device) => self.devices.get(&device),
            Subject::Account(account) => self.accounts.get(&account),
        };
        counted.map(|counted| counted.counts)
    }

    /// Up to `records_max` records to write.
    fn take_changed(&mut self, records_max: usize) -> Vec<(Account, Vec<u8>, Counts)> {
        let from = self.ended.len().saturating_sub(records_max);
        let mut records = self.ended.split_off(from);
        while records.len() < records_max {
            let Some((account, subject)) = self.changed.pop() else { break };
            let counted = match subject {
                Subject::Device(device) => self.devices.get_mut(&device),
                Subject::Account(account) => self.accounts.get_mut(&account),
            };
            if let Some(counted) = counted {
                counted.is_changed = false;
                records.push((account, subject.key(self.hour), counted.counts));
            }
        }
        records
    }
}

impl Core {
    pub(super) fn on_metrics_request(&mut self, now: Now, request: MetricsRequest) -> Reply {
        match request {
            MetricsRequest::Changed => {
                self.measure.enabled.clear();
                Reply::Done
            }
            MetricsRequest::Devices(account, devices) => {
                self.count_devices(now, account, devices);
                Reply::Done
            }
            MetricsRequest::Now(subjects) => {
                let counts = subjects.into_iter().map(|subject| self.measure.now(subject));
                Reply::Counts { hour: self.measure.hour, counts: counts.collect() }
            }
        }
    }

    /// Counts what happened to a device, for it and its account.
    pub(super) fn count(&mut self, now: Now, device: DeviceId, happened: Happened) {
        let Ok(Some(terms)) = self.terms(device) else { return };
        let account = terms.account;
        if !self.counts_for(account) {
            return;
        }
        self.turn_hour(now);
        let store = &*self.store;
        let mut becomes_active = false;
        if let Some(counts) = self.measure.counts_of(store, account, Subject::Device(device)) {
            let is_new = counts.uplinks == 0 && counts.uplinks_lost == 0;
            becomes_active = is_new && matches!(happened, Happened::Uplink | Happened::UplinkLost);
            happened.add_to(counts);
        }
        if let Some(counts) = self.measure.counts_of(store, account, Subject::Account(account)) {
            counts.active_devices += u32::from(becomes_active);
            happened.add_to(counts);
        }
    }

    /// Counts what became of a device's request. One that it may not send is not lost.
    pub(super) fn count_publication(
        &mut self,
        now: Now,
        device: DeviceId,
        publication: Publication,
    ) {
        match publication {
            Publication::Confirmed | Publication::AwaitingAnswer => {
                self.count(now, device, Happened::Uplink);
            }
            Publication::Unavailable | Publication::NoRoute => {
                self.count(now, device, Happened::UplinkLost);
            }
            Publication::Forbidden | Publication::TooLarge | Publication::NotFulfilled => {}
        }
    }

    /// So many devices the account has.
    fn count_devices(&mut self, now: Now, account: Account, devices: u32) {
        if !self.counts_for(account) {
            return;
        }
        self.turn_hour(now);
        let subject = Subject::Account(account);
        if let Some(counts) = self.measure.counts_of(&*self.store, account, subject) {
            counts.devices = Some(devices);
        }
    }

    fn counts_for(&mut self, account: Account) -> bool {
        if let Some(enabled) = self.measure.enabled.get(&account) {
            return *enabled;
        }
        let store = self.store.within(account).unwrap_or_else(|| self.store.clone());
        let said = read::<MetricConfiguration>(&*store, Table::Settings, keys::METRICS);
        let Ok(said) = said else { return false };
        let enabled = said.unwrap_or_default().summary_metric.status == Switch::Enabled;
        if self.measure.enabled.len() >= ACCOUNTS_MAX {
            self.measure.enabled.clear();
        }
        self.measure.enabled.insert(account, enabled);
        enabled
    }

    fn turn_hour(&mut self, now: Now) {
        let hour = hour_at(now);
        if hour != self.measure.hour {
            self.measure.begin(hour);
        }
    }

    /// Writes what was counted, takes out what is too old.
    pub(super) fn on_measure_due(&mut self, now: Now) {
        if self.measure.due_ms > now.ms {
            return;
        }
        self.turn_hour(now);
        let has_more = self.write_counts(RECORDS_MAX) == RECORDS_MAX;
        let swept = self.sweep_counts().unwrap_or_else(|error| {
            tracing::error!(%error, "old metrics can't be read");
            0
        });
        let again = has_more || swept == RECORDS_MAX;
        self.measure.due_ms = now.ms + if again { AGAIN_MS } else { WRITE_MS };
    }

    /// The process ends: what was counted is written.
    pub(super) fn keep_counts(&mut self) {
        while self.write_counts(RECORDS_MAX) > 0 {}
    }

    fn write_counts(&mut self, records_max: usize) -> usize {
        let records = self.measure.take_changed(records_max);
        let written = records.len();
        let mut by_account: HashMap<Account, Transaction> = HashMap::new();
        for (account, key, counts) in records {
            let tx = by_account.entry(account).or_default();
            tx.account = Some(account);
            tx.put(Table::Measured, key, counts.encode());
        }
        for tx in by_account.into_values() {
            self.write(tx, None);
        }
        written
    }

    /// How many were taken out.
    fn sweep_counts(&mut self) -> Result<usize, StoreError> {
        let oldest = self.measure.hour.saturating_sub(self.measure.limits.hours_max);
        let found = self.store.scan(Table::Measured, &[], None, 1)?;
        if found.first().is_none_or(|(key, _)| hour_of(key) >= oldest) {
            return Ok(0);
        }
        let mut tx = Transaction::new();
        for (key, _) in self.store.scan(Table::Measured, &[], None, RECORDS_MAX)? {
            if hour_of(&key) < oldest {
                tx.delete(Table::Measured, key);
            }
        }
        let swept = tx.changes.len();
        self.write(tx, None);
        Ok(swept)
    }
}

impl Happened {
    fn add_to(self, counts: &mut Counts) {
        let add = |count: &mut u32| *count = count.saturating_add(1);
        match self {
            Self::Uplink => add(&mut counts.uplinks),
            Self::UplinkLost => add(&mut counts.uplinks_lost),
            Self::Downlink => add(&mut counts.downlinks),
            Self::JoinFailed => add(&mut counts.join_requests),
            Self::Joined => {
                add(&mut counts.join_requests);
                add(&mut counts.join_accepts);
            }
        }
    }
}

/// Unix time, hours.
fn hour_at(now: Now) -> u32 {
    u32::try_from(now.unix_ms / HOUR_MS).unwrap_or(u32::MAX)
}
