//! What do operators measure? `GET /metrics` in Prometheus's text format, on a port of its own:
//! this process, and the workers of the dataplane by the counters that they tell once a second.
//!
//! Answered without a signature, so no name, id or address of a device is in it; loopback only.

use std::fmt::Write as _;

use tidegate_ring::counters::{FATES, Fate, GAUGES, Gauge, TALLIES, Tally};
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::Response;

use crate::control::{Control, Health, WorkerHealth};
use crate::core::{CoreHealth, Latency};

/// Answers until the process ends.
pub async fn serve(control: Control, listener: TcpListener) {
    let metrics = warp::path!("metrics").and(warp::get()).then(move || {
        let control = control.clone();
        async move {
            let text = text(&control).await;
            Response::builder().header("content-type", CONTENT_TYPE).body(text)
        }
    });
    let lost = warp::any().map(|| Response::builder().status(404).body(String::new()));
    let routes = metrics.or(lost).unify().with(warp::log::custom(|_| ()));
    warp::serve(routes).incoming(listener).run().await;
}

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn text(control: &Control) -> String {
    let (health, core) = control.measured().await;
    let mut page = Page::default();
    process(&mut page, control, &health, core.as_deref());
    dataplane(&mut page, &health.workers);
    page.text
}

/// This process.
fn process(page: &mut Page, control: &Control, health: &Health, core: Option<&CoreHealth>) {
    page.gauge("store_up", "Whether the store answers.", health.store_ok.into());
    let connected = health.publisher.connected.into();
    page.gauge("publisher_up", "Whether the broker is connected; the stream always is.", connected);
    let count = health.workers.len() as u64;
    page.gauge("workers", "Workers of the dataplane whose rings are attached.", count);
    page.gauge("devices_with_session", "Devices that have a session.", health.sessions as u64);
    let open = health.open_messages as u64;
    page.gauge("downlink_queue_depth", "Messages for devices without a final state.", open);
    let omitted = health.trust_omitted as u64;
    page.gauge("trust_omitted", "Items that found no room on the trust sheet.", omitted);
    let (told, missed) =
        ("Entries of the customer log that a follower missed.", control.log_feed());
    page.counter("customer_log_missed", told, missed.missed());
    if let Some(bytes) = resident_bytes() {
        let told = "Resident memory of the control plane, bytes.";
        page.gauge("controlplane_resident_memory_bytes", told, bytes);
    }
    let Some(core) = core else { return };
    page.gauge(
        "publishes_in_flight",
        "Publishes that wait for confirmation.",
        core.in_flight as u64,
    );
    page.counter(
        "uplinks_confirmed",
        "Uplinks acknowledged, and responses whose publication was confirmed.",
        core.confirmed,
    );
    let told = "Uplinks answered 5.03 because they could not be published.";
    page.counter("uplinks_unavailable", told, core.unavailable);
    let told = "Ring entries of workers that did not parse.";
    page.counter("ring_entries_malformed", told, core.malformed);
    let told = "Responses of devices that could not be kept, or that their rule refused.";
    page.counter("responses_dropped", told, core.responses_dropped);
    outbox(page, core);
    let (held, most) = core.bodies_held;
    page.gauge("bodies_held_bytes", "Bytes of long bodies for devices at hand.", held);
    let told = "The most of them there were at hand since the start, bytes.";
    page.gauge("bodies_held_bytes_max", told, most);
    let log = core.log;
    page.counter("customer_log_entries", "Entries written into the customer log.", log.entries);
    let told = "Entries left out because their device had too many in a minute.";
    page.counter("customer_log_left_out", told, log.left_out);
    page.gauge("customer_log_kept", "Entries the customer log keeps.", log.kept);
    page.gauge("customer_log_kept_bytes", "Bytes the customer log keeps.", log.kept_bytes);
    page.histogram("publish_latency_seconds", PUBLISH_HELP, &core.publish_latency);
}

/// What waits in the store to be published.
fn outbox(page: &mut Page, core: &CoreHealth) {
    let told = "Uplinks and responses that wait in the store to be published.";
    page.gauge("outbox_entries", told, core.outbox.entries);
    page.gauge("outbox_bytes", "Bytes of these.", core.outbox.bytes);
    page.gauge("outbox_devices", "Devices that these are of.", core.outbox.devices);
    let told = "Uplinks answered 5.03 because the outbox was full or the store did not take them.";
    page.counter("outbox_refused", told, core.outbox_refused);
    let told = "Uplinks acknowledged and then dropped: device deleted, or refused by its rule.";
    page.counter("uplinks_dropped", told, core.uplinks_dropped);
}

const PUBLISH_HELP: &str = "From handing an uplink or a response over to its confirmation.";

/// The workers, each by its number.
fn dataplane(page: &mut Page, workers: &[WorkerHealth]) {
    let worker = |worker: &WorkerHealth| format!("worker=\"{}\"", worker.worker);
    page.head("datagrams_total", "counter", "Datagrams received, by what became of them.");
    for told in workers {
        for (fate, value) in Fate::ALL.iter().zip(&told.counters) {
            let labels = format!("{},fate=\"{}\"", worker(told), fate.name());
            page.sample("datagrams_total", &labels, *value);
        }
    }
    for (at, tally) in Tally::ALL.iter().enumerate() {
        let name = format!("{}_total", tally.name());
        page.head(&name, "counter", tally.help());
        for told in workers {
            if let Some(value) = told.counters.get(FATES + at) {
                page.sample(&name, &worker(told), *value);
            }
        }
    }
    for (at, gauge) in Gauge::ALL.iter().enumerate() {
        page.head(gauge.name(), "gauge", gauge.help());
        for told in workers {
            if let Some(value) = told.counters.get(FATES + TALLIES + at) {
                page.sample(gauge.name(), &worker(told), *value);
            }
        }
    }
}

const _: () = assert!(GAUGES > 0, "a worker tells gauges behind its counters");

/// The text as it is written. No label value needs escapes: all are ours.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = format!("{name}_total");
        self.head(&name, "counter", help);
        self.sample(&name, "", value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn histogram(&mut self, name: &str, help: &str, latency: &Latency) {
        self.head(name, "histogram", help);
        let mut count = 0;
        for (upto_ms, times) in latency.buckets() {
            count += times;
            let upto_s = upto_ms.map_or("+Inf".to_owned(), |ms| (ms as f64 / 1_000.0).to_string());
            self.sample(&format!("{name}_bucket"), &format!("le=\"{upto_s}\""), count);
        }
        let sum_s = latency.sum_ms() as f64 / 1_000.0;
        let _ = writeln!(self.text, "tidegate_{name}_sum {sum_s}");
        self.sample(&format!("{name}_count"), "", count);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.trim().replace('\\', "\\\\").replace('\n', " ");
        let _ = writeln!(self.text, "# HELP tidegate_{name} {help}");
        let _ = writeln!(self.text, "# TYPE tidegate_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.text, "tidegate_{name}{labels} {value}");
    }
}

/// Of this process; `None` where the kernel does not say.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}
