//! What was measured? Answers to GetMetrics, from the hours that the core has counted and is
//! counting.

use std::time::UNIX_EPOCH;

use super::Control;
use super::devices::device_id;
use super::draft::refuse;
use crate::core::{MetricsRequest, Reply, Request};
use crate::model::{Metric, MetricConfiguration, Period, Refused, Statistics, Switch};
use crate::store::measured::{Counts, Subject};
use crate::store::{Table, keys};

/// One question.
#[derive(Clone, Debug)]
pub struct MetricQuery {
    /// What.
    pub metric: Metric,
    /// Of this device; `None`: of the whole account.
    pub device: Option<String>,
    /// By which periods.
    pub period: Period,
    /// From then on, Unix time, hours.
    pub from_hour: u32,
    /// Until then.
    pub until_hour: u32,
}

/// When a period began (Unix time, seconds), and what was measured in it.
pub type Measured = (u64, Statistics);

const HOUR_S: u64 = 3_600;
/// Devices counted in one go.
const SCAN_ENTRIES: usize = 1_024;

impl Control {
    /// Are metrics kept?
    pub async fn metric_configuration(&self) -> Result<MetricConfiguration, Refused> {
        self.setting(keys::METRICS).await
    }

    /// From now on they are, or are not. What was kept stays until it is too old.
    pub async fn configure_metrics(&self, said: &MetricConfiguration) -> Result<(), Refused> {
        self.set(keys::METRICS, said).await?;
        self.ask(Request::Metrics(MetricsRequest::Changed)).await?;
        self.count_devices().await
    }

    /// Answers a question: each period in which something was counted. NotFound when there is no
    /// such device.
    pub async fn measured_of(&self, query: &MetricQuery) -> Result<Vec<Measured>, Refused> {
        let subject = match &query.device {
            Some(device) => {
                let id = device_id(device)?;
                self.read_device(id)?;
                Subject::Device(id)
            }
            None => Subject::Account(self.held.account),
        };
        let asked = Request::Metrics(MetricsRequest::Now(vec![subject]));
        let now = match self.held.edge.ask(asked).await? {
            Reply::Counts { hour, counts } => counts.first().copied().flatten().map(|c| (hour, c)),
            _ => None,
        };
        let (control, query) = (self.clone(), query.clone());
        let read = tokio::task::spawn_blocking(move || control.read_measured(&query, subject, now));
        read.await.map_err(|_| Refused::Internal { message: "the store panicked".to_owned() })?
    }

    fn read_measured(
        &self,
        query: &MetricQuery,
        subject: Subject,
        now: Option<(u32, Counts)>,
    ) -> Result<Vec<Measured>, Refused> {
        let length = query.period.hours();
        let oldest = this_hour().saturating_sub(self.held.metric_hours_max);
        let until = query.until_hour.min(this_hour() + 1);
        let mut begin = query.period.begin(query.from_hour);
        let too_old = oldest.saturating_sub(begin) / length;
        begin += too_old * length;
        let mut measured = Vec::new();
        while begin < until {
            let mut hours = Vec::new();
            for hour in begin.max(oldest)..(begin + length).min(until) {
                let counts = match now {
                    Some((now, counts)) if now == hour => Some(counts),
                    _ => subject.counts(&*self.held.store, hour).map_err(refuse)?,
                };
                hours.extend(counts);
            }
            let statistics = query.metric.statistics(&hours);
            measured.extend(statistics.map(|found| (u64::from(begin) * HOUR_S, found)));
            begin += length;
        }
        Ok(measured)
    }

    /// Counts the devices of this account, if its metrics are kept.
    pub async fn count_devices(&self) -> Result<(), Refused> {
        if self.metric_configuration().await?.summary_metric.status == Switch::Disabled {
            return Ok(());
        }
        let store = self.held.store.clone();
        let count = move || {
            let (mut after, mut count): (Option<Vec<u8>>, u32) = (None, 0);
            loop {
                let found = store.scan(Table::Devices, &[], after.as_deref(), SCAN_ENTRIES)?;
                count = count.saturating_add(found.len() as u32);
                match found.last() {
                    Some((key, _)) if found.len() == SCAN_ENTRIES => after = Some(key.clone()),
                    _ => return Ok(count),
                }
            }
        };
        let counted = tokio::task::spawn_blocking(count).await;
        let counted =
            counted.map_err(|_| Refused::Internal { message: "the store panicked".to_owned() })?;
        let devices = counted.map_err(refuse)?;
        let counted = MetricsRequest::Devices(self.held.account, devices);
        self.ask(Request::Metrics(counted)).await
    }

    /// Counts the devices of every account whose metrics are kept.
    pub async fn count_all_devices(&self) {
        for (account, _) in self.held.directory.accounts() {
            if let Err(refused) = self.within(account).count_devices().await {
                tracing::warn!(%account, %refused, "the devices of an account were not counted");
            }
        }
    }
}

/// Unix time, hours.
fn this_hour() -> u32 {
    let hour = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / HOUR_S);
    u32::try_from(hour).unwrap_or(u32::MAX)
}
