//! Does a message reach a sleeping device, once, in order? QueueMode 0 and 1, and final states.

#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::api::{coap, data, payload, text};
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::mosquitto::Mosquitto;
use tidegate_tests::wait::eventually;

fn request(method: &str, path: &str, queue_mode: u8) -> Value {
    json!({
        "MessageType": "CONFIRMABLE", "RequestMethod": method, "UriPaths": [path],
        "QueueMode": queue_mode,
    })
}

/// Queues three PUTs for a device that is not there.
fn queue_three(edge: &Edge, device: &Provisioned) -> Vec<String> {
    let api = edge.api();
    let send = |n: u8| api.send_data(&device.id, &request("PUT", "led", 1), &format!("step {n}"));
    (1..=3).map(send).collect()
}

fn listed(edge: &Edge, device: &Provisioned) -> Vec<String> {
    let target = format!("/wireless-devices/{}/data", device.id);
    let list = edge.api().succeed("GET", &target, &Value::Null);
    let messages = list["DownlinkQueueMessagesList"].as_array().expect("a list");
    messages.iter().map(|message| text(message, "MessageId")).collect()
}

#[test]
fn queued_messages_survive_a_restart_of_both_and_arrive_in_order() {
    let mut edge = Edge::embedded();
    let provisioned = edge.provision("sleeper");
    let messages = queue_three(&edge, &provisioned);
    assert_eq!(listed(&edge, &provisioned), messages);

    edge.stop();
    edge.start_dataplane();
    edge.start_controlplane();
    edge.wait_until_ready();
    assert_eq!(listed(&edge, &provisioned), messages, "durable when the API had answered");

    let mut uplinks = edge.api().events("/uplinks?from=0");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    for n in 1..=3 {
        assert_eq!(device.next_request(), format!("put CON led step {n}"));
    }
    for message in &messages {
        assert_eq!(edge.final_state(&provisioned, message)["Status"], "RESPONDED");
        // The device's response comes through its destination, with the MessageId.
        let uplink = uplinks.next_event().data;
        assert_eq!(text(coap(&uplink), "MessageId"), *message, "{uplink}");
        assert!(text(coap(&uplink), "ResponseStatus").contains("2.04"), "{uplink}");
    }
    assert_eq!(listed(&edge, &provisioned), [] as [&str; 0]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    assert_eq!(device.pending_requests(), [] as [&str; 0], "each message once");
}

/// A crash loses nothing that was accepted, and a device with a session gets its messages with its
/// next uplink, without a new handshake.
#[test]
fn queued_messages_survive_a_crash_of_both_and_arrive_with_the_next_uplink() {
    let mut edge = Edge::embedded();
    let provisioned = edge.provision("sleeper");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    let messages = queue_three(&edge, &provisioned);

    edge.kill_dataplane();
    edge.kill_controlplane();
    edge.start_controlplane();
    edge.start_dataplane();
    edge.wait_until_ready();
    assert_eq!(device.pending_requests(), [] as [&str; 0], "not before the device shows itself");

    assert_eq!(device.asks("con put t 2").code, "2.04");
    for message in &messages {
        assert_eq!(edge.final_state(&provisioned, message)["Status"], "RESPONDED");
    }
    assert_eq!(device.asks("con put t 3").code, "2.04");
    let order = ["step 1", "step 2", "step 3"].map(|step| format!("request put CON led {step}"));
    // What the device saw before its last response was passed over by `asks`: ask its memory.
    assert_eq!(device.requests_so_far(), order);
}

#[test]
fn a_message_for_now_goes_at_once_or_fails() {
    let edge = Edge::embedded();
    let provisioned = edge.provision("awake");
    let api = edge.api();
    let nobody = api.send_data(&provisioned.id, &request("PUT", "led", 0), "on");
    let end = edge.final_state(&provisioned, &nobody);
    assert_eq!((&end["Status"], &end["Reason"]), (&json!("FAILED"), &json!("NO_SESSION")), "{end}");

    let mut uplinks = api.events("/uplinks?from=0");
    let mut device = Device::connect(edge.coap_port, &provisioned, &[]);
    for (method, expected) in [
        ("GET", "get CON led"),
        ("PUT", "put CON led on"),
        ("POST", "post CON led on"),
        ("DELETE", "delete CON led"),
    ] {
        let text_sent = if expected.ends_with("on") { "on" } else { "" };
        let message = api.send_data(&provisioned.id, &request(method, "led", 0), text_sent);
        assert_eq!(device.next_request(), expected);
        assert_eq!(edge.final_state(&provisioned, &message)["Status"], "RESPONDED");
        let response = uplinks.next_event().data;
        assert_eq!(text(coap(&response), "MessageId"), message);
        let told = if method == "GET" { "value of led" } else { "" };
        assert_eq!(payload(&response), told, "{method}");
    }
}

/// CON without an ACK: MAX_RETRANSMIT, then one final state (RFC 7252 section 4.2). NON: sent once.
#[test]
fn a_device_that_does_not_answer_fails_the_message_by_timeout() {
    let coap = "ack_timeout_ms = 1000\nmax_retransmit = 1".to_owned();
    let edge = Edge::with(&Options { coap, ..Options::default() });
    let provisioned = edge.provision("deaf");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    device.sleeps();
    let message = edge.api().send_data(&provisioned.id, &request("PUT", "led", 0), "on");
    let end = edge.final_state(&provisioned, &message);
    assert_eq!((&end["Status"], &end["Reason"]), (&json!("FAILED"), &json!("TIMEOUT")), "{end}");

    // The session is as good as before.
    device.wakes();
    assert_eq!(device.asks("con put t 2").code, "2.04");
    let message = edge.api().send_data(&provisioned.id, &request("PUT", "led", 0), "off");
    assert_eq!(edge.final_state(&provisioned, &message)["Status"], "RESPONDED");
}

#[test]
fn a_deleted_message_is_never_sent_and_says_so() {
    let edge = Edge::embedded();
    let provisioned = edge.provision("spared");
    let messages = queue_three(&edge, &provisioned);
    let api = edge.api();
    let target = format!("/wireless-devices/{}/data?messageId=", provisioned.id);
    let reply = api.call("DELETE", &format!("{target}{}", messages[1]), &Value::Null);
    assert_eq!((reply.status, &reply.body), (204, &Value::Null));
    assert_eq!(edge.final_state(&provisioned, &messages[1])["Status"], "DELETED");

    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    assert_eq!(device.next_request(), "put CON led step 1");
    assert_eq!(device.next_request(), "put CON led step 3");

    // `*` empties the queue of a device that is away.
    let away = edge.provision("away");
    let messages = queue_three(&edge, &away);
    let target = format!("/wireless-devices/{}/data?messageId=%2A", away.id);
    assert_eq!(api.call("DELETE", &target, &Value::Null).status, 204);
    for message in &messages {
        assert_eq!(edge.final_state(&away, message)["Status"], "DELETED");
    }
}

/// The bound of one device's queue: one more is refused and nothing is kept of it.
#[test]
fn a_full_queue_refuses_the_next_message() {
    let controlplane = "[queue]\nmessages_per_device_max = 3\n".to_owned();
    let edge = Edge::with(&Options { controlplane, ..Options::default() });
    let provisioned = edge.provision("full");
    let messages = queue_three(&edge, &provisioned);
    let target = format!("/wireless-devices/{}/data", provisioned.id);
    let fourth = edge.api().call("POST", &target, &data(&request("PUT", "led", 1), "step 4"));
    assert_eq!(fourth.status, 429, "{fourth:?}");
    assert_eq!(listed(&edge, &provisioned), messages);

    // There is room again when the device has taken one.
    let _device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    eventually("an empty queue", || listed(&edge, &provisioned).is_empty().then_some(()));
}

/// Question 8 of the service document: an application that wants to hears, by MQTT, which message a
/// device has acknowledged or answered.
#[test]
fn what_a_device_acknowledges_is_told_to_who_wants_it() {
    let broker = Mosquitto::start();
    let topic = |kind: &str| {
        format!("$aws/iotwireless/events/message_acknowledgement/{kind}/coap/wireless_devices")
    };
    let mut subscriber = broker.subscribe(&topic("+"));
    let edge = Edge::with_broker(&broker);
    let api = edge.api();
    let provisioned = edge.provision("acknowledges");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    let send = || api.send_data(&provisioned.id, &request("PUT", "led", 0), "on");
    // The control: nobody wants it yet.
    let before = send();
    assert_eq!(edge.final_state(&provisioned, &before)["Status"], "RESPONDED");
    let on = json!({"MessageAcknowledgement": {"CoAP": {"WirelessDeviceEventTopic": "Enabled"}}});
    api.succeed("PATCH", "/event-configurations-resource-types", &on);
    let message = send();
    let answered = loop {
        let (at, event) = subscriber.next_message();
        assert_eq!(text(&event, "WirelessDeviceId"), provisioned.id, "{event}");
        assert_eq!(text(&event["CoAP"], "MessageId"), message, "{event}");
        if at == topic("answered") {
            break event;
        }
        assert_eq!((at, &event["CoAP"]["Status"]), (topic("acknowledged"), &json!("DELIVERED")));
    };
    let of_answer = (&answered["CoAP"]["Status"], &answered["CoAP"]["ResponseStatus"]);
    assert_eq!(of_answer, (&json!("RESPONDED"), &json!("CHANGED(2.04)")), "{answered}");
}

/// A profile says how long a device listens: inside the window a queued message goes at once,
/// behind it it waits and says why, and the next uplink brings it. Without a profile it waits for
/// the next uplink however soon it comes.
#[test]
fn queued_messages_go_while_the_device_listens() {
    let edge = Edge::embedded();
    let api = edge.api();
    let led = request("PUT", "led", 1);
    let send = |device: &Provisioned, what: &str| api.send_data(&device.id, &led, what);
    let why = |device: &Provisioned, message: &str| {
        let target = format!("/wireless-devices/{}/data/{message}", device.id);
        api.succeed("GET", &target, &Value::Null)["WaitReason"].clone()
    };
    let plain = edge.provision("plain");
    let message = send(&plain, "1");
    assert_eq!(why(&plain, &message), "NO_SESSION");
    let second = send(&plain, "2");
    assert_eq!(why(&plain, &second), "BEHIND_ANOTHER");
    let mut device = Device::connect(edge.coap_port, &plain, &["cid=0"]);
    for n in 1..=2 {
        assert_eq!(device.next_request(), format!("put CON led {n}"));
    }
    for message in [&message, &second] {
        assert_eq!(edge.final_state(&plain, message)["Status"], "RESPONDED");
    }
    assert_eq!(device.asks("con put t 1").code, "2.04");
    let message = send(&plain, "3");
    assert_eq!(why(&plain, &message), "ASLEEP");
    let target = format!("/wireless-devices/{}/data", plain.id);
    let list = api.succeed("GET", &target, &Value::Null);
    assert_eq!(coap_of(&list)["WaitReason"], "ASLEEP", "{list}");

    let listening = edge.provision("listening");
    let listens = |seconds: u32| {
        let profile = json!({"ListeningSeconds": seconds});
        let profile = api.succeed("POST", "/application-profiles", &profile);
        let refers = json!({"ApplicationProfileId": text(&profile, "Id")});
        api.succeed("PATCH", &format!("/wireless-devices/{}", listening.id), &refers);
    };
    listens(86_400);
    let mut device = Device::connect(edge.coap_port, &listening, &["cid=0"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    let message = send(&listening, "now");
    assert_eq!(device.next_request(), "put CON led now");
    assert_eq!(edge.final_state(&listening, &message)["Status"], "RESPONDED");
    listens(1);
    // Longer than it listens, however fast this machine is.
    std::thread::sleep(Duration::from_millis(1_100));
    let message = send(&listening, "later");
    assert_eq!(why(&listening, &message), "WINDOW_CLOSED");
    assert_eq!(device.pending_requests(), [] as [&str; 0]);
    assert_eq!(device.asks("con put t 2").code, "2.04");
    assert_eq!(edge.final_state(&listening, &message)["Status"], "RESPONDED");
    let order = ["now", "later"].map(|what| format!("request put CON led {what}"));
    // What came before the response was passed over by `asks`: ask its memory.
    assert_eq!(device.requests_so_far(), order);
}

/// What the first message of a list says of CoAP.
fn coap_of(list: &Value) -> &Value {
    &list["DownlinkQueueMessagesList"][0]["CoAP"]
}
