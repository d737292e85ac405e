//! What survives a crash? Sessions outlive the dataplane; requests outlive the control plane.

#![forbid(unsafe_code)]

use serde_json::json;
use tidegate_tests::api::{coap, payload, text};
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options};

/// `kill -9` of the dataplane: the device, which never shakes hands twice, just goes on.
#[test]
fn a_session_goes_on_when_the_dataplane_was_killed() {
    for backend in ["io_uring", "mmsg"] {
        let mut edge = Edge::with(&Options { backend, ..Options::default() });
        let mut uplinks = edge.api().events("/uplinks?from=0");
        let (with, without) = (edge.provision("with-cid"), edge.provision("without-cid"));
        let mut devices = [
            Device::connect(edge.coap_port, &with, &["cid=0"]),
            Device::connect(edge.coap_port, &without, &[]),
        ];
        for round in 0..3 {
            for device in &mut devices {
                let text = format!("round {round}");
                assert_eq!(device.asks(&format!("con put t {text}")).code, "2.04", "{backend}");
                assert_eq!(payload(&uplinks.next_event().data), text);
            }
            edge.kill_dataplane();
            edge.start_dataplane();
            edge.wait_until_ready();
        }
        // The Connection ID still finds the session from a new port.
        devices[0].rebinds();
        assert_eq!(devices[0].asks("con put t moved").code, "2.04", "{backend}");
        // And the edge can reach the device that moved.
        let led = json!({"RequestMethod": "PUT", "UriPaths": ["led"]});
        let message = edge.api().send_data(&with.id, &led, "on");
        assert_eq!(devices[0].next_request(), "put CON led on");
        assert_eq!(edge.final_state(&with, &message)["Status"], "RESPONDED");
    }
}

/// A request that arrives while the control plane is down waits in the ring; its response comes
/// when the control plane is back and has published it.
#[test]
fn a_request_waits_for_the_control_plane() {
    let mut edge = Edge::embedded();
    let provisioned = edge.provision("waits");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    edge.kill_controlplane();
    device.starts("con put t 2");
    device.acknowledged();
    edge.start_controlplane();
    let response = device.response();
    assert_eq!((response.code.as_str(), response.message_type.as_str()), ("2.04", "CON"));

    edge.wait_until_ready();
    let mut uplinks = edge.api().events("/uplinks?from=0");
    assert_eq!(payload(&uplinks.next_event().data), "1");
    assert_eq!(payload(&uplinks.next_event().data), "2");
}

/// The application's answer finds its request although the control plane was killed in between:
/// the ResponseToken carries what is needed.
#[test]
fn an_answer_finds_its_request_after_the_control_plane_was_killed() {
    let mut edge = Edge::embedded();
    let provisioned = edge.provision("asks");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    let mut uplinks = edge.api().events("/uplinks?from=0");
    device.starts("con get time");
    device.acknowledged();
    let token = text(coap(&uplinks.next_event().data), "ResponseToken");
    edge.kill_controlplane();
    edge.start_controlplane();
    edge.wait_until_ready();
    edge.api().answer(&provisioned.id, &token, "noon");
    let response = device.response();
    assert_eq!((response.code.as_str(), response.text.as_str()), ("2.05", "noon"));
}

/// SIGTERM ends both with success, whatever is under way.
#[test]
fn both_stop_cleanly_when_asked() {
    let mut edge = Edge::embedded();
    let provisioned = edge.provision("busy");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    device.starts("con get never");
    device.acknowledged();
    edge.stop();
}

/// A deleted device's session ends; so does a session whose key was changed.
#[test]
fn a_device_that_was_deleted_is_not_served() {
    let edge = Edge::embedded();
    let provisioned = edge.provision("gone");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0", "patience=3000"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    let target = format!("/wireless-devices/{}", provisioned.id);
    edge.api().succeed("DELETE", &target, &serde_json::Value::Null);
    device.starts("con put t 2");
    assert!(device.is_cut_off(), "no 2.xx after the device was deleted");
}
