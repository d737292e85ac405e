//! Does observing work with others' stacks, in both directions (RFC 7641)? libcoap's client and
//! aiocoap observe what an application sets at the edge; the edge observes what libcoap's server
//! has.

#![forbid(unsafe_code)]

use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::api::{coap, payload, text};
use tidegate_tests::coap_client::Flavour::{self, GnuTls, OpenSsl};
use tidegate_tests::edge::{Edge, Provisioned};
use tidegate_tests::long_bodies::{Listening, small_credential};
use tidegate_tests::place::Directory;
use tidegate_tests::process::Process;
use tidegate_tests::repository::{cached, root};
use tidegate_tests::wait::eventually;

#[test]
fn coap_client_on_openssl_observes_what_an_application_sets() {
    libcoap_observes(OpenSsl);
}

#[test]
fn coap_client_on_gnutls_observes_what_an_application_sets() {
    libcoap_observes(GnuTls);
}

/// TD_COAP_OBS_01 and 07 with libcoap: registered, every state heard of, and told that it is gone.
fn libcoap_observes(flavour: Flavour) {
    let edge = Edge::embedded();
    let device = edge.provision("libcoap");
    sets(&edge, &device, "first");
    let mut command = Command::new(flavour.program());
    command.args([
        "-v",
        "7",
        "-B",
        "120",
        "-s",
        "60",
        "-u",
        &device.identity,
        "-k",
        &device.secret,
    ]);
    command.args(["-m", "get"]);
    command.arg(format!("coaps://127.0.0.1:{}/settings/mode", edge.coap_port));
    let client = Process::start(flavour.program(), &mut command);
    for (state, next) in [("'first'", "second"), ("'second'", "third")] {
        eventually("the state is heard of", || client.said().contains(state).then_some(()));
        sets(&edge, &device, next);
    }
    eventually("the last state", || client.said().contains("'third'").then_some(()));
    let path = format!("/wireless-devices/{}/resources?uriPath=settings%2Fmode", device.id);
    edge.api().succeed("DELETE", &path, &Value::Null);
    eventually("the end is told", || client.said().contains("c:4.04").then_some(()));
    let said = client.said();
    let told = said.lines().filter(|line| line.contains("Observe:") && line.contains("c:2.05"));
    assert!(told.count() >= 3, "{said}");
}

/// aiocoap prints each state.
#[test]
fn aiocoap_observes_what_an_application_sets() {
    let edge = Edge::embedded();
    let place = Directory::new("observe");
    let device = small_credential(&edge, "aiocoap");
    sets(&edge, &device, "first");
    let whole_edge = format!("coaps://127.0.0.1:{}/*", edge.coap_port);
    let dtls = json!({
        "psk": {"hex": hex::encode(device.key())}, "client-identity": {"ascii": device.identity},
    });
    let credentials = json!({whole_edge: {"dtls": dtls}}).to_string();
    let mut command = Command::new(cached("foreign/python/bin/python", "foreign"));
    command.arg(root().join("tests/foreign/python/aiocoap_observe.py"));
    command.arg(format!("coaps://127.0.0.1:{}/settings/mode", edge.coap_port));
    command.arg(place.write("credentials.json", &credentials));
    let client = Process::start("aiocoap", &mut command);
    for (state, next) in [("first", "second"), ("second", "third")] {
        eventually("the state is heard of", || client.said().contains(state).then_some(()));
        sets(&edge, &device, next);
    }
    eventually("the last state", || client.said().contains("third").then_some(()));
}

/// The edge opens a session to libcoap's server and observes its clock, which tells every second;
/// each state is an uplink with the message's id, in order, until the message is deleted.
#[test]
fn an_application_observes_what_coap_server_has() {
    let edge = Edge::embedded();
    let api = edge.api();
    let server = Listening::start(&edge, "clock", &[]);
    let device = &server.device;
    let mut uplinks = api.events("/uplinks?from=0");
    let observe = json!({"RequestMethod": "GET", "UriPaths": ["time"], "Observe": 0});
    let message = api.send_data(&device.id, &observe, "");
    let mut last = -1;
    for _ in 0..3 {
        let uplink = uplinks.next_event().data;
        assert_eq!(text(coap(&uplink), "MessageId"), message);
        assert!(text(coap(&uplink), "ResponseStatus").contains("2.05"), "{uplink}");
        assert!(!payload(&uplink).is_empty());
        let number = coap(&uplink)["Observe"].as_i64().expect("a number");
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    let path = format!("/wireless-devices/{}/data?messageId={message}", device.id);
    api.succeed("DELETE", &path, &Value::Null);
    assert_eq!(api.call("DELETE", &path, &Value::Null).status, 404, "it is gone");
}

fn sets(edge: &Edge, device: &Provisioned, value: &str) {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(value);
    let body = json!({ "UriPaths": ["settings/mode"], "PayloadData": data, "ContentFormat": "0" });
    let path = format!("/wireless-devices/{}/resources", device.id);
    let set = edge.api().succeed("PUT", &path, &body);
    assert!(set["ETag"].is_string(), "{set}");
}
