//! What is counted by the hour, for whom, and how long does it stay?

use super::*;
use crate::control::Limits;
use crate::core::{MetricLimits, MetricsRequest};
use crate::model::{MetricConfiguration, SummaryMetric, Switch};
use crate::store::account::Account;
use crate::store::keys;
use crate::store::measured::{Counts, Subject};
use tidegate_ring::contract::{Event, Mishap};

const HOUR_MS: u64 = 3_600_000;
const HOUR: u32 = (UNIX_MS / HOUR_MS) as u32;
const OF_ALL: Subject = Subject::Account(Account::ROOT);
const OF_DEVICE: Subject = Subject::Device(DEVICE);

impl Story {
    fn measures(limits: MetricLimits) -> Self {
        let mut story = Self::with_limits(Limits { metrics: limits, ..Limits::default() });
        story.sets_metrics(Switch::Enabled);
        story
    }

    fn sets_metrics(&mut self, status: Switch) {
        let said = MetricConfiguration { summary_metric: SummaryMetric { status } };
        let mut tx = Transaction::new();
        tx.put(Table::Settings, keys::METRICS, records::encode(&said));
        self.store.submit(tx, Box::new(|_| ()));
        self.asks(Request::Metrics(MetricsRequest::Changed));
    }

    /// A request that is published, and confirmed.
    fn uplink_confirmed(&mut self, exchange: u64) {
        self.uplink(exchange, Code::PUT, b"21");
        self.confirms(self.publishes.len() - 1);
    }

    fn counted(&self, subject: Subject, hour: u32) -> Counts {
        subject.counts(&*self.store, hour).unwrap().unwrap_or_default()
    }

    fn counts_now(&mut self, subject: Subject) -> Option<Counts> {
        match self.asks(Request::Metrics(MetricsRequest::Now(vec![subject]))) {
            Some(Ok(Reply::Counts { counts, .. })) => counts[0],
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_device_does_is_counted_for_it_and_for_its_account() {
    let mut story = Story::measures(MetricLimits::default());
    story.session_up(1);
    story.uplink_confirmed(1);
    story.uplink_confirmed(2);
    story.core.on_publisher(story.now(), false);
    story.uplink(3, Code::PUT, b"lost");
    story.core.on_publisher(story.now(), true);
    let id = story.sends(QueueMode::Immediate, b"on");
    story.outcome(id, Step::Sent, false);
    story.outcome(id, Step::Delivered, true);
    let never_sent = story.sends(QueueMode::Immediate, b"on");
    story.fails(never_sent, FailReason::NoSession);
    let detail = Mishap::WrongKey as u8;
    let notice = contract::Notice {
        device: DEVICE.0,
        session: 0.into(),
        at_unix_ms: UNIX_MS.into(),
        class: 0.into(),
        event: Event::HandshakeFailed as u8,
        method: 0,
        code: 0,
        detail,
        confirmable: 0,
        mid: 0.into(),
    };
    story.entry(Kind::Notice, &[notice.as_bytes()]);
    let device = Counts {
        uplinks: 2,
        uplinks_lost: 1,
        downlinks: 1,
        join_requests: 2,
        join_accepts: 1,
        ..Counts::default()
    };
    let account = Counts { active_devices: 1, ..device };
    assert_eq!(story.counts_now(OF_DEVICE), Some(device));
    assert_eq!(story.counted(OF_DEVICE, HOUR), Counts::default(), "a minute later at most");
    story.waits_ms(60_000);
    assert_eq!(story.counted(OF_DEVICE, HOUR), device);
    assert_eq!(story.counted(OF_ALL, HOUR), account);
}

#[test]
fn nothing_is_counted_until_somebody_enabled_it() {
    let mut story = Story::new();
    story.uplink_confirmed(1);
    assert_eq!(story.counts_now(OF_ALL), None);
    story.sets_metrics(Switch::Enabled);
    story.uplink_confirmed(2);
    assert_eq!(story.counts_now(OF_ALL).unwrap().uplinks, 1);
    story.sets_metrics(Switch::Disabled);
    story.uplink_confirmed(3);
    assert_eq!(story.counts_now(OF_ALL).unwrap().uplinks, 1);
}

/// A request that may not be sent is no loss.
#[test]
fn what_a_policy_bars_is_not_lost() {
    let mut story = Story::measures(MetricLimits::default());
    story.session_up(1);
    story.changes(STAMP + 1, |_| ());
    story.uplink(1, Code::PUT, b"by a session that is ending");
    let counts = story.counts_now(OF_DEVICE).unwrap();
    assert_eq!((counts.uplinks, counts.uplinks_lost), (0, 0));
}

#[test]
fn an_hour_has_a_record_of_its_own() {
    let mut story = Story::measures(MetricLimits::default());
    story.uplink_confirmed(1);
    let into_hour_ms = UNIX_MS % HOUR_MS;
    story.waits_ms(HOUR_MS - into_hour_ms);
    story.uplink_confirmed(2);
    story.uplink_confirmed(3);
    story.waits_ms(60_000);
    let hours = [HOUR, HOUR + 1].map(|hour| story.counted(OF_ALL, hour));
    assert_eq!(hours.map(|counts| (counts.uplinks, counts.active_devices)), [(1, 1), (2, 1)]);
}

/// And a process that ends writes what it has counted.
#[test]
fn a_restart_within_the_hour_goes_on_counting() {
    let mut story = Story::measures(MetricLimits::default());
    story.uplink_confirmed(1);
    story.asks(Request::Metrics(MetricsRequest::Devices(Account::ROOT, 7)));
    story.core.on_stop();
    story.settles();
    assert_eq!(story.counted(OF_ALL, HOUR).uplinks, 1);
    let mut story = story.restarts();
    story.uplink_confirmed(2);
    let counts = story.counts_now(OF_ALL).unwrap();
    assert_eq!((counts.uplinks, counts.active_devices, counts.devices), (2, 1, Some(7)));
}

#[test]
fn devices_beyond_the_bound_count_for_their_account_alone() {
    for (devices_max, own) in [(1, Some(1)), (0, None)] {
        let limits = MetricLimits { devices_max, ..MetricLimits::default() };
        let mut story = Story::measures(limits);
        story.uplink_confirmed(1);
        let counts = story.counts_now(OF_DEVICE);
        assert_eq!(counts.map(|counts| counts.uplinks), own, "{devices_max}");
        assert_eq!(story.counts_now(OF_ALL).unwrap().uplinks, 1);
    }
}

#[test]
fn hours_that_are_too_old_go() {
    let mut story = Story::measures(MetricLimits { hours_max: 2, ..MetricLimits::default() });
    story.uplink_confirmed(1);
    story.waits_ms(60_000);
    let has_first = |story: &Story| OF_ALL.counts(&*story.store, HOUR).unwrap().is_some();
    story.waits_ms(2 * HOUR_MS);
    assert!(has_first(&story), "it is two hours old");
    story.waits_ms(HOUR_MS);
    assert!(!has_first(&story));
    assert_eq!(story.stored_keys(Table::Measured), 0);
}
