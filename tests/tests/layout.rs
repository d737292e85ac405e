//! Does another vendor's firmware find here what its own service has? `deploy/layouts` and a device
//! that says what a real one said in a capture; libcoap on OpenSSL observes as that SDK does.

#![forbid(unsafe_code)]

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_coap::message::Message;
use tidegate_tests::api::{coap, payload, text};
use tidegate_tests::coap_client::Flavour::OpenSsl;
use tidegate_tests::device::{Device, Library};
use tidegate_tests::edge::{Edge, Provisioned};
use tidegate_tests::process::Process;
use tidegate_tests::wait::eventually;

const CAPTURE: &str = include_str!("../captures/golioth_basics_psk.tshark.txt");
const LAYOUT: &str = include_str!("../../deploy/layouts/golioth-0.7.json");

/// A request of the capture, and what its service said to it.
struct Said {
    request: String,
    /// First digit of the code.
    class: char,
    payload: String,
}

/// What the device of the capture asked, in order.
fn captured() -> Vec<Said> {
    let lines = CAPTURE.lines().filter(|line| !line.starts_with('#'));
    let messages: Vec<(String, Vec<u8>)> = lines
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            let bytes = hex::decode(fields[fields.len() - 1]).expect("hex");
            (fields[1].to_owned(), bytes)
        })
        .collect();
    let asked = messages.iter().filter(|(by, _)| by == "client");
    asked
        .filter_map(|(_, bytes)| {
            let request = Message::parse(bytes).expect("a message");
            let answers = messages.iter().filter(|(by, _)| by == "server");
            let mut answers = answers.filter_map(|(_, bytes)| Message::parse(bytes).ok());
            let answer = answers.find(|answer| answer.token == request.token)?;
            let path: Vec<_> = request.options.uri_path().map(Option::unwrap_or_default).collect();
            let method = ["", "get", "post", "put", "delete"][usize::from(request.code.0)];
            let body = String::from_utf8_lossy(request.payload);
            Some(Said {
                request: format!("con {method} /{} {body}", path.join("/")),
                class: char::from(b'0' + answer.code.class()),
                payload: String::from_utf8_lossy(answer.payload).into_owned(),
            })
        })
        .collect()
}

/// A device whose profile has the layout.
fn laid_out(edge: &Edge) -> Provisioned {
    let api = edge.api();
    let layout: Value = serde_json::from_str(LAYOUT).expect("JSON");
    let profile = text(&api.succeed("POST", "/application-profiles", &layout), "Id");
    let kept = api.succeed("GET", &format!("/application-profiles/{profile}"), &Value::Null);
    assert_eq!(kept["ResourceLayout"], layout["ResourceLayout"]);
    let device = edge.provision("sdk");
    let changed = json!({ "ApplicationProfileId": profile });
    api.succeed("PATCH", &format!("/wireless-devices/{}", device.id), &changed);
    device
}

fn sets(edge: &Edge, device: &Provisioned, path: &str, value: &str) {
    let body = json!({ "UriPaths": [path], "PayloadData": STANDARD.encode(value),
        "ContentFormat": "application/json" });
    edge.api().succeed("PUT", &format!("/wireless-devices/{}/resources", device.id), &body);
}

/// Only the class of a response counts for that SDK, and what a GET brings.
#[test]
fn every_request_of_a_real_device_is_answered_as_its_service_did() {
    let edge = Edge::embedded();
    let known = laid_out(&edge);
    let psk = format!("psk={}:{}", known.identity, hex::encode(known.key()));
    let options = [psk.as_str(), "suite=TLS_PSK_WITH_AES_128_GCM_SHA256"];
    let mut device = Device::start(Library::MbedTls, "127.0.0.1", edge.coap_port, &options)
        .expect("it shakes hands");
    let all = captured();
    assert!(all.len() > 25, "{}", all.len());
    let mut uplinks = 0;
    for said in &all {
        let response = device.asks(&said.request);
        // Its service refuses a status of version 0, and knows no resource without a path: the SDK
        // takes any answer to these two.
        if !said.request.contains(".c/status") && !said.request.starts_with("con delete / ") {
            assert_eq!(response.code.chars().next(), Some(said.class), "{}", said.request);
        }
        if said.request.starts_with("con get") {
            assert_eq!(response.text, said.payload, "{}", said.request);
        } else {
            uplinks += 1;
        }
    }
    // All that it said, and nothing that it asked, is the application's.
    let mut events = edge.api().events("/uplinks?from=0");
    let heard: Vec<Value> = (0..uplinks).map(|_| events.next_event().data).collect();
    assert!(heard.iter().all(|uplink| coap(uplink)["ResponseToken"].is_null()));
    assert!(heard.iter().any(|uplink| payload(uplink) == "\"asdf\""));
    let kept = edge.api().succeed(
        "GET",
        &format!("/wireless-devices/{}/resources", known.id),
        &Value::Null,
    );
    let kept = kept["WirelessDeviceResourceList"].as_array().expect("a list");
    let counter = kept.iter().find(|kept| kept["UriPaths"] == json!([".d", "counter"]));
    assert!(counter.is_some(), "{kept:?}");
}

/// The paths that it observes: the first value at once, then what the application wants of it; the
/// device's DELETE of what it has dealt with is a change like others.
#[test]
fn an_sdk_s_observations_hear_of_what_the_application_wants() {
    let edge = Edge::embedded();
    let known = laid_out(&edge);
    for (path, first, wanted) in [
        (".rpc", r#""OK""#, r#"{"id":"1","method":"multiply","params":[6,7]}"#),
        (".c", r#"{"version":0,"settings":null}"#, r#"{"version":1,"settings":{"LOOP":5}}"#),
        (".d/desired/my_config", "null", "42"),
    ] {
        let mut command = Command::new(OpenSsl.program());
        command.args(["-v", "7", "-B", "120", "-s", "60", "-u", &known.identity]);
        command.args(["-k", &known.secret, "-m", "get", "-A", "50"]);
        command.arg(format!("coaps://127.0.0.1:{}/{path}", edge.coap_port));
        let observer = Process::start(OpenSsl.program(), &mut command);
        let hears = |value: &str| {
            let value = format!("'{}'", value.replace('"', "\\\""));
            eventually("the value is heard of", || {
                let said = observer.said().replace("\\x22", "\\\"");
                let said = said.replace("\\\"", "\"");
                said.contains(&value.replace("\\\"", "\"")).then_some(())
            });
        };
        hears(first);
        sets(&edge, &known, path, wanted);
        hears(wanted);
    }
}
