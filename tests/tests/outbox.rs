//! Is an outage of the broker waited out in the store? Uplinks are confirmed meanwhile, the control
//! plane is killed in the middle, and a subscriber with QoS 1 gets all of them in order.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use tidegate_tests::api::{payload, text};
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::mosquitto::Mosquitto;
use tidegate_tests::wait::{eventually, eventually_or_say};

const DEVICES: u32 = 4;
/// Uplinks of each device, one behind the other.
const UPLINKS: u32 = 120;

/// Devices that send numbers, all of which have to be confirmed.
struct Load {
    /// So many may each have sent by now.
    goal: Arc<AtomicU32>,
    sent: Vec<Arc<AtomicU32>>,
    devices: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(edge: &Edge, devices: &[Provisioned]) -> Self {
        let goal = Arc::new(AtomicU32::new(0));
        let mut load = Self { goal, sent: Vec::new(), devices: Vec::new() };
        for provisioned in devices {
            let (port, provisioned) = (edge.coap_port, provisioned.clone());
            let (goal, sent) = (load.goal.clone(), Arc::new(AtomicU32::new(0)));
            load.sent.push(sent.clone());
            load.devices.push(std::thread::spawn(move || {
                let mut device = Device::connect(port, &provisioned, &["cid=0"]);
                for number in 0..UPLINKS {
                    while goal.load(Ordering::Relaxed) <= number {
                        sleep(Duration::from_millis(5));
                    }
                    let response = device.asks(&format!("con put n {number}"));
                    assert_eq!(response.code, "2.04", "{number}");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        load
    }

    fn may_send(&self, goal: u32) {
        self.goal.store(goal, Ordering::Relaxed);
    }

    /// Until all have sent so many, and have heard 2.04 to each.
    fn has_sent(&self, goal: u32) {
        eventually("the devices have sent", || {
            let all = self.sent.iter().all(|sent| sent.load(Ordering::Relaxed) >= goal);
            (all || self.devices.iter().any(JoinHandle::is_finished)).then_some(())
        });
    }
}

#[test]
fn what_the_store_confirmed_during_an_outage_arrives_in_order() {
    what_was_confirmed_arrives_in_order("store");
}

/// The same of what the ring confirmed; the dataplane dies, too.
#[test]
fn what_the_ring_confirmed_during_an_outage_arrives_in_order() {
    what_was_confirmed_arrives_in_order("ring");
}

fn what_was_confirmed_arrives_in_order(confirmed_by: &str) {
    let mut broker = Mosquitto::start_durable();
    let mut subscriber = broker.subscribe("#");
    let controlplane = format!("[publish]\nconfirmed_by = \"{confirmed_by}\"\ntimeout_ms = 1500\n");
    let mqtt_url = Some(broker.url());
    let mut edge = Edge::with(&Options { mqtt_url, controlplane, ..Options::default() });
    let devices: Vec<_> = (0..DEVICES).map(|name| edge.provision(&format!("d{name}"))).collect();
    let load = Load::start(&edge, &devices);
    load.may_send(20);
    load.has_sent(10);

    broker.stop_in_order();
    load.may_send(60);
    load.has_sent(60);
    let waiting = edge.health().expect("it answers")["Outbox"].clone();
    assert!(waiting["Entries"].as_u64() >= Some(40 * u64::from(DEVICES)), "{waiting}");
    assert_eq!(waiting["Devices"], DEVICES, "{waiting}");

    // The next are under way while it dies; what was confirmed is on the disk, or in the ring.
    load.may_send(90);
    edge.kill_controlplane();
    if confirmed_by == "ring" {
        edge.kill_dataplane();
        edge.start_dataplane();
    }
    edge.start_controlplane();
    load.has_sent(90);

    // And fresh ones come beside what waited.
    load.may_send(UPLINKS);
    broker.go_on();
    subscriber.subscribed();
    load.has_sent(UPLINKS);
    for device in load.devices {
        device.join().expect("every uplink was confirmed");
    }
    eventually_or_say("the outbox is empty", || {
        let health = edge.health().unwrap_or_default();
        if health["Outbox"]["Entries"] == 0 { Ok(()) } else { Err(health.to_string()) }
    });

    let mut arrived: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let is_whole = |numbers: &Vec<u32>| numbers.contains(&(UPLINKS - 1));
    while arrived.len() < devices.len() || !arrived.values().all(is_whole) {
        let event = subscriber.next_json();
        let number = payload(&event).parse().expect("a number");
        let numbers = arrived.entry(text(&event, "WirelessDeviceId")).or_default();
        // What was under way when a process died or the broker went may come again.
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    for (device, numbers) in arrived {
        assert_eq!(numbers, (0..UPLINKS).collect::<Vec<_>>(), "of {device}");
    }
}
