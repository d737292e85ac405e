//! A real mosquitto: confirmed by its PUBACK, unavailable without it, and flowing again after.
#![allow(clippy::unwrap_used)]

mod fake_worker;

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use fake_worker::{FakeWorker, IDENTITY, PATIENCE, Place, TOPIC, provision, until};
use serde_json::Value;
use tidegate_controlplane::control::Control;
use tidegate_controlplane::model::{Refused, ResourceType};
use tidegate_ring::contract::{Publication, Verdict};

/// Killed with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    async fn mosquitto(place: &Place, port: u16) -> Self {
        let config = place.path().join("mosquitto.conf");
        let text =
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/mosquitto");
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("Debian's mosquitto is installed");
        let broker = Self(child);
        until("mosquitto", async || TcpStream::connect(("127.0.0.1", port)).ok()).await;
        broker
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

/// `mosquitto_sub`, line by line, once it is subscribed.
fn subscribe(port: u16, count: usize) -> (Process, Receiver<String>) {
    // Why stdbuf: into a pipe it would keep its lines to itself.
    let mut command = Command::new("stdbuf");
    let port = port.to_string();
    let count = count.to_string();
    command.args([
        "-oL",
        "mosquitto_sub",
        "-d",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-q",
        "1",
        "-t",
        TOPIC,
        "-C",
        &count,
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let (heard, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if heard.send(line).is_err() {
                return;
            }
        }
    });
    while !lines.recv_timeout(PATIENCE).unwrap().contains("SUBACK") {}
    (Process(child), lines)
}

/// The JSON objects among the lines.
fn uplinks(lines: &Receiver<String>, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    while found.len() < count {
        let line = lines.recv_timeout(PATIENCE).unwrap();
        found.extend(serde_json::from_str(&line).ok().filter(Value::is_object));
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn connected(control: &Control, connected: bool) {
    until("the broker's state", async || {
        (control.health().await.publisher.connected == connected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uplink_reaches_a_subscriber_before_it_is_confirmed() {
    let place = Place::new();
    let port = free_port();
    let _broker = Process::mosquitto(&place, port).await;
    let (_subscriber, lines) = subscribe(port, 1_000);
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings_with_broker(port)).await.unwrap();
    let device = provision(&control).await;
    connected(&control, true).await;
    let mut sent = 0;
    let mut confirmed = 0;
    while confirmed < 1_000 {
        while sent < 1_000 && worker.uplink(device.id, sent, b"21").is_some() {
            sent += 1;
        }
        assert_eq!(worker.published().await.1, Publication::Confirmed);
        confirmed += 1;
    }
    worker.released().await;
    let uplinks = uplinks(&lines, 1_000);
    let ids = uplinks.iter().map(|json| json["WirelessMetadata"]["CoAP"]["MessageId"].to_string());
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), 1_000, "each one once");
    assert_eq!(uplinks[0]["WirelessDeviceId"], device.id.to_string());
    assert_eq!(uplinks[0]["PayloadData"], "MjE=");
    let missing = control.uplinks(Some(0)).await.err().unwrap();
    assert_eq!(missing, Refused::not_found(ResourceType::UplinkStream, "uplinks"));
    control.stop().await;
}

/// Broker down: 5.03, credentials still answered; back: it flows, with no restart of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_may_come_and_go() {
    let place = Place::new();
    let port = free_port();
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings_with_broker(port)).await.unwrap();
    let device = provision(&control).await;
    worker.uplink(device.id, 1, b"").unwrap();
    assert_eq!(worker.published().await, (1, Publication::Unavailable), "there is none yet");
    assert_eq!(worker.credential(IDENTITY).await.0.verdict, Verdict::Known as u8);

    let broker = Process::mosquitto(&place, port).await;
    connected(&control, true).await;
    worker.uplink(device.id, 2, b"").unwrap();
    assert_eq!(worker.published().await, (2, Publication::Confirmed));

    drop(broker);
    connected(&control, false).await;
    worker.uplink(device.id, 3, b"").unwrap();
    assert_eq!(worker.published().await, (3, Publication::Unavailable));

    let _broker = Process::mosquitto(&place, port).await;
    connected(&control, true).await;
    worker.uplink(device.id, 4, b"").unwrap();
    assert_eq!(worker.published().await, (4, Publication::Confirmed));
    worker.released().await;
    control.stop().await;
}

/// A broker that hangs with the publish in its hands: what it did not confirm goes again on the
/// next connection, and is confirmed by that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unconfirmed_publish_goes_to_the_next_connection() {
    let place = Place::new();
    let port = free_port();
    let broker = Process::mosquitto(&place, port).await;
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let mut settings = place.settings_with_broker(port);
    settings.limits.publish_timeout_ms = 60_000;
    let control = Control::start(settings).await.unwrap();
    let device = provision(&control).await;
    connected(&control, true).await;
    broker.signal("-STOP");
    worker.uplink(device.id, 1, b"kept").unwrap();
    until("the publish", async || (control.health().await.publisher.in_flight == 1).then_some(()))
        .await;
    drop(broker);
    let _broker = Process::mosquitto(&place, port).await;
    assert_eq!(worker.published().await, (1, Publication::Confirmed));
    control.stop().await;
}
