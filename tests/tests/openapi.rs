//! Does any request that the OpenAPI document allows, or forbids, break the daemon? schemathesis
//! asks, from bounds and enums first, then by chance; every request is signed.

#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};
use tidegate_tests::api::{Api, text};
use tidegate_tests::aws::Aws;
use tidegate_tests::edge::Edge;
use tidegate_tests::repository::{cached, root};

/// Requests made up for each operation, beside those at the bounds.
const EXAMPLES: &str = "5";
/// A bound, s; it takes a tenth of it.
const GIVE_UP_S: &str = "900";
/// So many of each kind are there to be asked about, and to be deleted.
const RESOURCES: usize = 12;

#[test]
fn no_request_is_answered_5xx() {
    let edge = Edge::embedded();
    let statuses = edge.directory().join("statuses.json");
    let mut command = Command::new("timeout");
    command.arg(GIVE_UP_S).arg(cached("venv/bin/schemathesis", "aws")).arg("run");
    command.arg(root().join("docs/openapi.json"));
    command.args(["--url", &format!("http://127.0.0.1:{}", edge.http_port)]);
    // Its answer never ends.
    command.args(["--exclude-path", "/uplinks"]);
    // What it sets would throttle whatever follows.
    command.args(["--exclude-operation-id", "UpdateAccountQuotas"]);
    command.args(["--checks", "not_a_server_error", "--suppress-health-check", "all"]);
    command.args(["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1"]);
    command.args(["--request-timeout", "60", "--generation-database", "none"]);
    command.args(["--generation-with-security-parameters", "false"]);
    Aws::of(&edge).tell_all(&mut command);
    command.env("SCHEMATHESIS_HOOKS", root().join("tests/foreign/python/openapi_hooks.py"));
    command.env("IDS", resources(&edge.api()).to_string()).env("STATUSES", &statuses);
    command.env("NO_COLOR", "1").current_dir(edge.directory());
    let output = command.output().expect("timeout and schemathesis can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    let counts = fs::read_to_string(statuses).expect("the hooks told them");
    let counts: Map<String, Value> = serde_json::from_str(&counts).expect("JSON");
    let of = |hundred: char| {
        let counts = counts.iter().filter(|(status, _)| status.starts_with(hundred));
        counts.filter_map(|(_, count)| count.as_u64()).sum::<u64>()
    };
    assert_eq!(of('5'), 0, "{counts:?}");
    // It got past the signature, and past the checks of members.
    assert!(of('2') > 100 && of('4') > 1_000, "{counts:?}");
    let health = edge.health().expect("it is there");
    assert_eq!(health["Status"], "ok", "{health}");
}

/// What is there, by the name that the document has for it in paths and queries.
fn resources(api: &Api) -> Value {
    let role = "arn:aws:iam::123456789012:role/any";
    let (mut ids, mut names, mut profiles) = (Vec::new(), Vec::new(), Vec::new());
    let (mut devices, mut arns, mut messages, mut rules) = (vec![], vec![], vec![], vec![]);
    for number in 0..RESOURCES {
        let name = format!("d{number}");
        let destination = json!({"Name": name, "ExpressionType": "MqttTopic", "Expression": "t",
            "RoleArn": role});
        api.succeed("POST", "/destinations", &destination);
        let key = json!({"PreSharedKeyIdentity": format!("{number:040}"),
            "PreSharedKeySecret": "s".repeat(32)});
        let device = json!({"Type": "CoAP", "DestinationName": name,
            "Cellular": {"DtlsV1_2": key}});
        let made = api.succeed("POST", "/wireless-devices", &device);
        let device = text(&made, "Id");
        let coap = json!({"RequestMethod": "PUT", "QueueMode": 1});
        messages.push(api.send_data(&device, &coap, "on"));
        arns.push(text(&made, "Arn"));
        let profile = api.succeed("POST", "/application-profiles", &json!({"Name": "p"}));
        profiles.push(text(&profile, "Id"));
        let rule = json!({"sql": "SELECT *",
            "actions": [{"republish": {"topic": "x", "roleArn": role}}]});
        rules.push(format!("r{number}"));
        api.succeed("POST", &format!("/rules/r{number}"), &rule);
        ids.extend([device.clone(), text(&profile, "Id")]);
        devices.push(device);
        names.push(name);
    }
    json!({
        "Id": ids, "Identifier": devices, "ResourceIdentifier": devices, "MessageId": messages,
        "Name": names[..RESOURCES / 2], "DestinationName": names, "destinationName": names,
        "ApplicationProfileId": profiles, "applicationProfileId": profiles, "ruleName": rules,
        "resourceArn": arns, "identifierType": ["WirelessDeviceId"],
        "resourceType": ["WirelessDevice"],
    })
}
