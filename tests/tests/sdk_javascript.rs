//! Does AWS's JavaScript client work? With the overlay of `deploy/aws/javascript`: every operation
//! once; then devices, queue, profiles, events, pages, rules, error classes, and a message that a
//! device takes.

#![forbid(unsafe_code)]

use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::api::text;
use tidegate_tests::aws::Aws;
use tidegate_tests::calls;
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Provisioned};
use tidegate_tests::pki::Pki;
use tidegate_tests::process::Process;
use tidegate_tests::repository::{cached, root};

#[test]
fn the_javascript_client_calls_every_operation() {
    let edge = calls::edge();
    let given = calls::given(&edge, &Pki::new());
    let mut client = node(&edge, "calls.mjs");
    client.tell(&given.to_string());
    client.close_stdin();
    let line = client.next_line("a line of JSON", |line| line.starts_with('['));
    let called: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(called, json!(calls::operations(&given["document"])));
}

/// A program of `tests/foreign/node` with the overlay and a key of the edge.
fn node(edge: &Edge, program: &str) -> Process {
    let mut command = Command::new(cached("foreign/node/nodejs/bin/node", "foreign"));
    command.arg(cached(&format!("foreign/node/{program}"), "foreign"));
    command.arg(root().join("deploy/aws/javascript/tidegate.mjs"));
    Aws::of(edge).tell_all(&mut command);
    Process::start(program, &mut command)
}

#[test]
fn the_javascript_client_does_what_the_others_do() {
    let edge = Edge::embedded();
    let mut client = node(&edge, "operations.mjs");
    let told = next_json(&mut client);
    assert_what_was_told(&told);

    let provisioned = Provisioned {
        id: text(&told, "id"),
        identity: "j".repeat(40),
        secret: "s".repeat(32),
        destination: "js".to_owned(),
        topic: "js/up".to_owned(),
    };
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    assert_eq!(device.next_request(), "put CON led on");
    let ended = edge.final_state(&provisioned, &text(&told, "message"));
    assert_eq!(ended["Status"], "RESPONDED");
    client.tell("end");
    let told = next_json(&mut client);
    assert_eq!(told["status"], "RESPONDED");
    assert_eq!(told["gone"], class("ResourceNotFoundException", 404));
}

/// An error as the client shows it: its class, its name, its status.
fn class(name: &str, status: u16) -> Value {
    json!([name, name, status])
}

fn assert_what_was_told(told: &Value) {
    assert_eq!(
        told["read"],
        json!([true, "from JavaScript ü", {
            "Imei": "490154203237518",
            "DtlsV1_2": {"PreSharedKeyIdentity": "j".repeat(40)},
            "SecurityModes": ["PreSharedKey"],
        }])
    );
    assert_eq!(told["endpoint"], "127.0.0.1:5684");
    let profile = &told["profile"];
    assert_eq!(
        (&profile["isSame"], &profile["Name"], &profile["NStart"], &profile["MaxRetransmit"]),
        (&json!(true), &json!("slow"), &json!(2), &json!(2))
    );
    assert_eq!((&told["listed"], &told["profiles"]), (&json!(["from JavaScript ü"]), &json!(1)));
    let queued = &told["queued"][0];
    assert_eq!((&queued[0], &queued[2]), (&json!(true), &json!("string")));
    assert_eq!(
        (&queued[1]["RequestMethod"], &queued[1]["UriPaths"], &queued[1]["Priority"]),
        (&json!("PUT"), &json!(["led"]), &json!("HIGH"))
    );
    assert_eq!((&told["status"], &told["deleted"]), (&json!("PENDING"), &json!("DELETED")));
    assert_eq!(told["events"]["CoAP"], json!({"WirelessDeviceEventTopic": "Enabled"}));
    assert_eq!(told["tags"], json!([{"Key": "k", "Value": "v"}]));
    assert_eq!(told["pages"], json!([3, 3]));
    assert_eq!(told["without"], class("ValidationException", 400));
    assert_eq!(
        told["refused"],
        json!([
            class("ResourceNotFoundException", 404),
            class("ConflictException", 409),
            class("ValidationException", 400),
            class("ResourceNotFoundException", 404),
            class("ValidationException", 400),
            class("ResourceAlreadyExistsException", 409),
        ])
    );
    let republish = json!({"republish": {
        "topic": "copy", "roleArn": "arn:aws:iam::123456789012:role/tidegate", "qos": 1,
    }});
    assert_eq!(told["rule"], json!(["SELECT * FROM 'js/#'", [republish], true]));
    assert_eq!(told["rules"], json!(["js/#"]));
}

fn next_json(client: &mut Process) -> Value {
    let line = client.next_line("a line of JSON", |line| line.starts_with('{'));
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
}
