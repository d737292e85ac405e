//! Can the edge be the DTLS client of a device that listens? Foreign servers are the devices: a
//! message for one without a session opens the session, and the device's response comes back.

#![forbid(unsafe_code)]

use serde_json::json;
use tidegate_tests::api::{payload, text};
use tidegate_tests::coap_client::Flavour;
use tidegate_tests::device::Library;
use tidegate_tests::edge::Provisioned;
use tidegate_tests::fleet::Fleet;
use tidegate_tests::foreign_server::{Running, Server};
use tidegate_tests::matrix::{Attempt, Way};
use tidegate_tests::suite::Credential;

#[test]
fn a_message_opens_a_session_to_a_device_that_listens() {
    let mut fleet = Fleet::default();
    let edge = fleet.edge();
    let api = edge.api();
    let mut uplinks = api.events("/uplinks?from=0");
    let (credential, way) = (Credential::Psk, Way { cid: false, resumed: false });
    let what = Attempt { credential, suite: &credential.suites()[0], way };
    let servers = [
        Server::LibCoap(Flavour::OpenSsl),
        Server::LibCoap(Flavour::GnuTls),
        Server::Device(Library::MbedTls),
        Server::Device(Library::WolfSsl),
        Server::Device(Library::TinyDtls),
    ];
    for (number, server) in servers.into_iter().enumerate() {
        let name = server.name();
        let devices = fleet.devices(number, 0);
        let running = Running::start(server, &fleet, &devices, what);
        let mut running = running.unwrap_or_else(|why| panic!("{name}: {why:?}"));
        let Provisioned { identity, secret, destination, topic, .. } = &devices.psk;
        let id = edge.provision_block(
            destination,
            topic,
            &json!({
                "DtlsV1_2": {"PreSharedKeyIdentity": identity, "PreSharedKeySecret": secret},
                "Endpoint": format!("127.0.0.1:{}", running.port),
            }),
        );
        let device = Provisioned { id, ..devices.psk.clone() };

        let get = json!({"RequestMethod": "GET", "UriPaths": [".well-known", "core"]});
        let message = api.send_data(&device.id, &get, "");
        assert_eq!(edge.final_state(&device, &message)["Status"], "RESPONDED", "{name}");
        let uplink = uplinks.next_event().data;
        assert_eq!(text(&uplink, "WirelessDeviceId"), device.id, "{name}");
        assert!(!payload(&uplink).is_empty(), "{name}: {uplink}");

        // The session is like any other: the device may ask as well.
        if let Server::Device(_) = server {
            running.process.tell("con put t 21.5");
            running.process.next_line("2.04", |line| line.starts_with("response 2.04 "));
            assert_eq!(payload(&uplinks.next_event().data), "21.5", "{name}");
        }
    }
}
