//! What does a device see while the broker is away? 5.03 with Max-Age, and nothing is lost.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tidegate_tests::api::payload;
use tidegate_tests::coap_client::Flavour::OpenSsl;
use tidegate_tests::coap_client::{CoapClient, Request};
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options};
use tidegate_tests::mosquitto::Mosquitto;
use tidegate_tests::wait::eventually;

#[test]
fn an_uplink_is_promised_only_by_the_broker() {
    let mut broker = Mosquitto::start();
    let mut subscriber = broker.subscribe("#");
    let controlplane = "[publish]\ntimeout_ms = 1500\n".to_owned();
    let mqtt_url = Some(broker.url());
    let mut edge = Edge::with(&Options { mqtt_url, controlplane, ..Options::default() });
    let provisioned = edge.provision("meter");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    assert_eq!(device.asks("con put n 1").code, "2.04");
    assert_eq!(payload(&subscriber.next_json()), "1");

    broker.stop();
    let refused = ["con put n 2", "non put n 2", "con delete n", "con get n", "con post n 2"];
    for request in refused {
        assert_eq!(device.asks(request).code, "5.03", "{request}");
    }
    // libcoap shows the option that says when to try again.
    let other = edge.provision("asks-when");
    let request = Request { method: "put", confirmable: true, uri: "/n", payload: "2" };
    let response = CoapClient::start(OpenSsl, edge.coap_port, &other, &request).response();
    assert_eq!(response.code, "5.03");
    assert!(response.options.contains("Max-Age:"), "{response:?}");

    broker.go_on();
    subscriber.subscribed();
    edge.wait_until_ready();
    // The device does what the 5.03 asked for: it tries again.
    assert_eq!(device.asks("con put n 3").code, "2.04");
    let seen = eventually("the uplink after the outage", || {
        let last = payload(&subscriber.next_json());
        (last == "3").then_some(last)
    });
    assert_eq!(seen, "3");
}

/// Every uplink that was promised while the broker came and went is at the subscriber. The broker
/// here keeps its own promises: it is stopped in order, between and during uplinks.
#[test]
fn nothing_promised_is_lost_while_the_broker_comes_and_goes() {
    let mut broker = Mosquitto::start_durable();
    let mut subscriber = broker.subscribe("#");
    let controlplane = "[publish]\ntimeout_ms = 1500\n".to_owned();
    let mqtt_url = Some(broker.url());
    let edge = Edge::with(&Options { mqtt_url, controlplane, ..Options::default() });
    let provisioned = edge.provision("counter");
    let coap_port = edge.coap_port;

    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (stopped, refusals) = (Arc::clone(&stop), Arc::clone(&refused));
    let device = std::thread::spawn(move || {
        let mut device = Device::connect(coap_port, &provisioned, &["cid=0"]);
        let mut promised = Vec::new();
        for number in 0.. {
            match device.asks(&format!("con put n {number}")).code.as_str() {
                "2.04" => promised.push(number.to_string()),
                code => {
                    assert_eq!(code, "5.03");
                    refusals.fetch_add(1, Ordering::Relaxed);
                }
            }
            if stopped.load(Ordering::Relaxed) {
                break;
            }
        }
        promised
    });
    let mut arrived = Vec::new();
    for _outage in 0..3 {
        // Some uplinks pass, then the broker goes while the next are under way.
        for _ in 0..20 {
            arrived.push(payload(&subscriber.next_json()));
        }
        let before = refused.load(Ordering::Relaxed);
        broker.stop_in_order();
        eventually("the device feels it", || {
            (refused.load(Ordering::Relaxed) > before).then_some(())
        });
        broker.go_on();
        subscriber.subscribed();
    }
    for _ in 0..20 {
        arrived.push(payload(&subscriber.next_json()));
    }
    stop.store(true, Ordering::Relaxed);
    let promised = device.join().expect("the device's story");
    while arrived.last() != promised.last() {
        arrived.push(payload(&subscriber.next_json()));
    }
    let mut lost = promised;
    lost.retain(|text| !arrived.contains(text));
    assert_eq!(lost, [] as [&str; 0], "promised and lost; arrived: {arrived:?}");
}
