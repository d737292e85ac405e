//! Does the bundled load generator see every handshake of a storm through, full and resumed?

#![forbid(unsafe_code)]

use std::process::{Command, Output};

use serde_json::Value;
use tidegate_tests::edge::{Edge, Provisioned};
use tidegate_tests::repository::binary;

/// Handshakes of one storm, and devices that take part in it.
const COUNT: usize = 48;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// `{n}` stands for a device's number.
const IDENTITY: &str = "urn:dev:storm:0000000000000000:{n}";

#[test]
fn every_device_of_a_storm_gets_its_session_and_those_that_come_back_resume() {
    let edge = Edge::embedded();
    for number in 0..COUNT {
        edge.provision_as(Provisioned {
            id: String::new(),
            identity: IDENTITY.replace("{n}", &number.to_string()),
            secret: SECRET.to_owned(),
            destination: format!("to-{number}"),
            topic: format!("storm/{number}"),
        });
    }
    let report = storm(&edge, SECRET, &["--resume-percent", "50"]);
    assert_eq!(report["completed"], COUNT, "{report}");
    assert_eq!(report["failed"], 0, "{report}");
    assert!(report["resumed"].as_u64().expect("a number") >= 8, "{report}");

    // The control: without the key there is no session, and the report says so.
    let report = storm(&edge, "another key", &["--timeout", "1"]);
    assert_eq!((&report["completed"], &report["failed"]), (&0.into(), &COUNT.into()), "{report}");
}

fn storm(edge: &Edge, psk: &str, more: &[&str]) -> Value {
    let output: Output = Command::new(binary("tidegate-loadgen"))
        .arg("handshakes")
        .arg(format!("127.0.0.1:{}", edge.coap_port))
        .args(["--psk-identity", IDENTITY, "--psk", psk, "--json"])
        .args(["--in-flight", "8", "-n", &COUNT.to_string()])
        .args(more)
        .output()
        .expect("the load generator runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}
