//! Does every worker and every socket serve? Both backends, IPv4 and IPv6, records that land on
//! whatever worker the kernel picks.

#![forbid(unsafe_code)]

use serde_json::json;
use tidegate_tests::api::{payload, text};
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options};

/// Three workers, six devices, each from four ports: the Connection ID leads every record to the
/// worker that owns the session, whatever the 4-tuple hash says.
fn moving_devices_are_served(backend: &'static str, host: &str) {
    let edge = Edge::with(&Options { backend, workers: 3, ..Options::default() });
    let mut uplinks = edge.api().events("/uplinks?from=0");
    let mut devices: Vec<_> = (0..6)
        .map(|n| {
            let provisioned = edge.provision(&format!("mover-{n}"));
            let device = Device::connect_to(host, edge.coap_port, &provisioned, &["cid=0"]);
            (provisioned, device)
        })
        .collect();
    for round in 0..4 {
        for (provisioned, device) in &mut devices {
            assert_eq!(device.asks(&format!("con put t {round}")).code, "2.04", "{backend} {host}");
            let uplink = uplinks.next_event().data;
            assert_eq!(text(&uplink, "WirelessDeviceId"), provisioned.id);
            assert_eq!(payload(&uplink), round.to_string());
            device.rebinds();
        }
    }
    for (provisioned, device) in &mut devices {
        assert_eq!(device.asks("non put t last").code, "2.04", "{backend} {host}");
        let led = json!({"RequestMethod": "PUT", "UriPaths": ["led"]});
        let message = edge.api().send_data(&provisioned.id, &led, "on");
        assert_eq!(device.next_request(), "put CON led on", "{backend} {host}");
        assert_eq!(edge.final_state(provisioned, &message)["Status"], "RESPONDED");
    }
}

#[test]
fn io_uring_serves_ipv4() {
    moving_devices_are_served("io_uring", "127.0.0.1");
}

#[test]
fn io_uring_serves_ipv6() {
    moving_devices_are_served("io_uring", "::1");
}

#[test]
fn mmsg_serves_ipv4() {
    moving_devices_are_served("mmsg", "127.0.0.1");
}

#[test]
fn mmsg_serves_ipv6() {
    moving_devices_are_served("mmsg", "::1");
}
