//! Does the main job work here, now? One line a step, everything real, everything stopped again.
//!
//! `make smoke`; needs the binaries (`make build`) and the foreign device (`make foreign`).

#![forbid(unsafe_code)]

use std::panic::{catch_unwind, set_hook};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_tests::api::{coap, payload, text};
use tidegate_tests::coap_client::{CoapClient, Flavour, Request};
use tidegate_tests::device::Device;
use tidegate_tests::edge::Edge;
use tidegate_tests::mosquitto::Mosquitto;
use tidegate_tests::wait::give_up_everything_at;

/// A machine on which this takes longer is told so.
const TIME_MAX: Duration = Duration::from_secs(38);

fn main() -> ExitCode {
    let start = Instant::now();
    give_up_everything_at(start + TIME_MAX);
    // The message is the last line; a backtrace helps nobody who runs a smoke test.
    set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(|| main_job(start));
    match outcome {
        Ok(()) => {
            println!("smoke: ok");
            ExitCode::SUCCESS
        }
        Err(panic) => {
            let as_text = panic.downcast_ref::<String>().map(String::as_str);
            let message = as_text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            println!("smoke: failed: {}", message.replace('\n', " | "));
            ExitCode::FAILURE
        }
    }
}

fn main_job(start: Instant) {
    let step = |what: &str| println!("{:5.1} s  {what}", start.elapsed().as_secs_f32());

    let broker = Mosquitto::start();
    let mut subscriber = broker.subscribe("#");
    step("mosquitto and mosquitto_sub are up");
    let mut edge = Edge::with_broker(&broker);
    step("dataplane and control plane are up");
    let meter = edge.provision("meter");
    let sleeper = edge.provision("sleeper");
    step("the API has made two destinations and two devices");

    let put = Request { method: "put", confirmable: true, uri: "/temperature", payload: "21.5" };
    let client = CoapClient::start(Flavour::OpenSsl, edge.coap_port, &meter, &put);
    assert_eq!(client.response().code, "2.04", "coap-client PUT");
    let (topic, uplink) = subscriber.next_message();
    assert_eq!((topic.as_str(), payload(&uplink).as_str()), (meter.topic.as_str(), "21.5"));
    step("coap-client PUT: 2.04, and the JSON is at the subscriber");

    let get = Request { method: "get", confirmable: true, uri: "/setpoint", payload: "" };
    let client = CoapClient::start(Flavour::GnuTls, edge.coap_port, &meter, &get);
    let token = text(coap(&subscriber.next_of(&meter.id)), "ResponseToken");
    edge.api().answer(&meter.id, &token, "19");
    let messages = client.messages();
    let answered = messages.iter().any(|message| message.code == "2.05" && message.text == "19");
    assert!(answered, "coap-client GET: {messages:?}");
    step("coap-client GET: the application's answer is at the device");

    let led = json!({"RequestMethod": "PUT", "UriPaths": ["led"], "QueueMode": 1});
    let message = edge.api().send_data(&sleeper.id, &led, "on");
    edge.stop();
    edge.start_dataplane();
    edge.start_controlplane();
    edge.wait_until_ready();
    step("a message is queued, both planes were restarted");
    let mut device = Device::connect(edge.coap_port, &sleeper, &["cid=0"]);
    assert_eq!(device.next_request(), "put CON led on", "the queued message");
    let end = edge.final_state(&sleeper, &message);
    assert_eq!(end["Status"], "RESPONDED", "{end}");
    let response = subscriber.next_of(&sleeper.id);
    assert_eq!(text(coap(&response), "MessageId"), message, "{response}");
    step("the device woke up, got it, and its response is at the subscriber");

    device.closes();
    edge.stop();
    step("both planes have stopped cleanly");
}
