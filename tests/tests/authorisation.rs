//! What may a device do, and what does its owner get to know? Policies, quotas and the customer's
//! log, with both processes and foreign devices.

use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::api::text;
use tidegate_tests::coap_client::{CoapClient, Flavour, Request};
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::repository::binary;
use tidegate_tests::wait::eventually_or_say;

fn allowing(path: &str) -> Value {
    let resource = format!("arn:aws:iotwireless:*:*:coap/{path}");
    let statement = json!({"Effect": "Allow", "Action": "coap:Put", "Resource": resource});
    let document = json!({"Version": "2012-10-17", "Statement": [statement]});
    json!({ "PolicyDocument": document.to_string() })
}

/// The first entry of the device's log that says this reason.
fn entry(edge: &Edge, device: &Provisioned, reason: &str) -> Value {
    let target = format!("/customer-logs?wirelessDeviceId={}", device.id);
    eventually_or_say("an entry of the log", || {
        let found = edge.api().succeed("GET", &target, &Value::Null);
        let events = found["events"].as_array().expect("a list");
        let entries = events.iter().map(|event| {
            assert_eq!(event["logStreamName"], device.id);
            serde_json::from_str::<Value>(&text(event, "message")).expect("JSON")
        });
        let mut entries = entries.filter(|entry| entry["CoAP"]["Reason"] == reason);
        entries.next().ok_or_else(|| found.to_string())
    })
}

/// Nothing else was told than what the device had to do with: a policy that is set counts for the
/// session that is there, one that is taken away does not any more, and each refusal is an entry.
#[test]
fn a_policy_reaches_a_session_that_is_there_and_refusals_are_logged() {
    let edge = Edge::embedded();
    let meter = edge.provision("meter");
    let mut device = Device::connect(edge.coap_port, &meter, &["cid=0"]);
    assert_eq!(device.asks("con put admin/x 1").code, "2.04");

    let api = edge.api();
    let policy = format!("/wireless-devices/{}/policy", meter.id);
    assert_eq!(api.call("GET", &policy, &Value::Null).status, 404);
    api.succeed("PUT", &policy, &allowing("sensors/*"));
    assert_eq!(device.asks("con put admin/x 2").code, "4.03");
    assert_eq!(device.asks("non put admin/x 3").code, "4.03");
    assert_eq!(device.asks("con put sensors/1 4").code, "2.04");
    let refused = entry(&edge, &meter, "POLICY");
    assert_eq!((&refused["event"], &refused["logLevel"]), (&json!("Uplink_Data"), &json!("ERROR")));
    assert_eq!(refused["wirelessDeviceId"], meter.id);
    assert_eq!(refused["CoAP"]["UriPath"], "admin/x");
    assert_eq!(refused["CoAP"]["ResponseStatus"], "FORBIDDEN(4.03)");

    let read = api.succeed("GET", &policy, &Value::Null);
    assert!(text(&read, "PolicyDocument").contains("coap/sensors/*"), "{read}");
    let bad = api.call("PUT", &policy, &json!({"PolicyDocument": "{\"Statement\":[]}"}));
    assert_eq!(bad.status, 400);
    assert!(text(&bad.body, "Message").contains("Statement must not be empty"), "{:?}", bad.body);
    api.succeed("DELETE", &policy, &Value::Null);
    assert_eq!(device.asks("con put admin/x 5").code, "2.04");
    assert_eq!(api.call("DELETE", &policy, &Value::Null).status, 404);
}

/// A profile's policy counts for the devices that refer to it.
#[test]
fn a_policy_of_a_profile_counts_for_its_devices() {
    let edge = Edge::embedded();
    let (meter, other) = (edge.provision("meter"), edge.provision("other"));
    let api = edge.api();
    let profile = api.succeed("POST", "/application-profiles", &json!({"Name": "meters"}));
    let target = format!("/wireless-devices/{}", meter.id);
    api.succeed("PATCH", &target, &json!({"ApplicationProfileId": profile["Id"]}));
    let mut device = Device::connect(edge.coap_port, &meter, &["cid=0"]);
    let mut free = Device::connect(edge.coap_port, &other, &["cid=0"]);
    assert_eq!(device.asks("con put admin/x 1").code, "2.04");
    let policy = format!("/application-profiles/{}/policy", text(&profile, "Id"));
    api.succeed("PUT", &policy, &allowing("sensors/*"));
    assert_eq!(device.asks("con put admin/x 2").code, "4.03");
    assert_eq!(device.asks("con put sensors/1 3").code, "2.04");
    assert_eq!(free.asks("con put admin/x 4").code, "2.04");
}

#[test]
fn a_wrong_key_and_a_session_are_entries() {
    // The edge gives up after 0.6 s, not after a minute.
    let handshake = "retransmit_ms = 200\nretransmissions = 1\n".to_owned();
    let edge = Edge::with(&Options { handshake, ..Options::default() });
    let meter = edge.provision("meter");
    let levels = json!({"DefaultLogLevel": "INFO"});
    edge.api().succeed("POST", "/log-levels", &levels);
    let thief = Provisioned { secret: "x".repeat(32), ..meter.clone() };
    let mut stolen = Command::new(binary("tidegate-loadgen"));
    stolen.args(["handshakes", &format!("127.0.0.1:{}", edge.coap_port), "-n", "1"]);
    stolen.args(["--psk-identity", &thief.identity, "--psk", &thief.secret, "--timeout", "1"]);
    assert!(!stolen.output().expect("the load generator runs").status.success());
    let failed = entry(&edge, &meter, "WRONG_KEY");
    assert_eq!((&failed["event"], &failed["logLevel"]), (&json!("Join"), &json!("ERROR")));
    let device = Device::connect(edge.coap_port, &meter, &["cid=0"]);
    device.closes();
    let ended = entry(&edge, &meter, "CLOSED");
    assert_eq!((&ended["event"], &ended["logLevel"]), (&json!("Join"), &json!("INFO")));
}

/// RFC 8516, as libcoap hears it.
#[test]
fn a_device_beyond_its_quota_is_told_when_to_come_back() {
    let controlplane = "[device_quotas]\nuplinks_per_minute = 2\nuplinks_burst = 1\n".to_owned();
    let edge = Edge::with(&Options { controlplane, ..Options::default() });
    let meter = edge.provision("meter");
    let mut device = Device::connect(edge.coap_port, &meter, &["cid=0"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    assert_eq!(device.asks("con put t 2").code, "4.29");
    let limited = entry(&edge, &meter, "QUOTA");
    assert_eq!(limited["CoAP"]["ResponseStatus"], "TOO_MANY_REQUESTS(4.29)");
    drop(device);
    let request = Request { method: "put", confirmable: true, uri: "/t", payload: "3" };
    let first = CoapClient::start(Flavour::OpenSsl, edge.coap_port, &meter, &request).response();
    assert_eq!(first.code, "2.04", "another session begins anew");
}
