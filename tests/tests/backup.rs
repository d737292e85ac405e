//! Does an edge come through the loss of its disk? By a backup that was made while it served.

#![forbid(unsafe_code)]

use std::fs;
use std::process::Output;

use serde_json::{Value, json};
use tidegate_tests::device::Device;
use tidegate_tests::edge::Edge;

#[test]
fn a_backup_brings_back_devices_and_what_waits_for_them() {
    let mut edge = Edge::embedded();
    let provisioned = edge.provision("kept");
    let request = json!({
        "MessageType": "CONFIRMABLE", "RequestMethod": "PUT", "UriPaths": ["led"], "QueueMode": 1,
    });
    let message = edge.api().send_data(&provisioned.id, &request, "on");
    let made = said(&run(&edge, "admin", &["backup"]));
    assert_eq!(made["Number"], 1, "{made}");
    // What comes after it is not in it.
    let late = edge.provision("late");
    let listed = said(&run(&edge, "admin", &["backups"]));
    assert_eq!(listed["Backups"].as_array().map(Vec::len), Some(1), "{listed}");
    let before = said(&run(&edge, "admin", &["read-store"]));
    assert!(before["Entries"].as_u64() > Some(0), "{before}");

    let store = edge.directory().join("data/store");
    edge.stop();
    let refused = run(&edge, "restore", &[]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("is there already"), "{why}");
    fs::remove_dir_all(&store).expect("the disk is lost");
    let restored = run(&edge, "restore", &[]);
    assert!(restored.status.success(), "{restored:?}");

    edge.start_dataplane();
    edge.start_controlplane();
    edge.wait_until_ready();
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    assert_eq!(device.next_request(), "put CON led on");
    assert_eq!(edge.final_state(&provisioned, &message)["Status"], "RESPONDED");
    let gone = edge.api().call(
        "GET",
        &format!("/wireless-devices/{}?identifierType=WirelessDeviceId", late.id),
        &Value::Null,
    );
    assert_eq!(gone.status, 404, "{gone:?}");
}

fn run(edge: &Edge, subcommand: &str, more: &[&str]) -> Output {
    edge.controlplane_command(subcommand).args(more).output().expect("it starts")
}

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
