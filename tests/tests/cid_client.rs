//! Does a session survive a new address? Mbed TLS and wolfSSL with a Connection ID (RFC 9146), and
//! a control without one.

#![forbid(unsafe_code)]

use serde_json::json;
use tidegate_tests::api::payload;
use tidegate_tests::device::{Device, Library};
use tidegate_tests::edge::Edge;

#[test]
fn a_device_with_a_connection_id_goes_on_from_a_new_port() {
    let edge = Edge::embedded();
    let mut uplinks = edge.api().events("/uplinks?from=0");
    // Our records carry no CID, a short one, and the longest that Mbed TLS takes.
    for (library, name, cid) in [
        (Library::MbedTls, "cid0", "cid=0"),
        (Library::MbedTls, "cid4", "cid=4"),
        (Library::MbedTls, "cid32", "cid=32"),
        (Library::WolfSsl, "wolf0", "cid=0"),
        (Library::WolfSsl, "wolf10", "cid=10"),
    ] {
        let provisioned = edge.provision(name);
        let psk = format!("psk={}:{}", provisioned.identity, hex::encode(provisioned.key()));
        let device = Device::start(library, "127.0.0.1", edge.coap_port, &[&psk, cid]);
        let mut device = device.unwrap_or_else(|said| panic!("{name}: {said}"));
        assert_ne!(device.edge_cid, "none", "the edge gives a Connection ID");
        assert_eq!(device.asks("con put t before").code, "2.04");
        assert_eq!(payload(&uplinks.next_event().data), "before");

        for text in ["after", "and again"] {
            device.rebinds();
            assert_eq!(device.asks(&format!("con put t {text}")).code, "2.04", "{name}");
            assert_eq!(payload(&uplinks.next_event().data), text);
        }

        // The way back has moved too: a downlink finds the device at its new address.
        let coap =
            json!({"MessageType": "CONFIRMABLE", "RequestMethod": "GET", "UriPaths": ["led"]});
        let message = edge.api().send_data(&provisioned.id, &coap, "");
        assert_eq!(device.next_request(), "get CON led", "{name}");
        assert_eq!(edge.final_state(&provisioned, &message)["Status"], "RESPONDED");
        assert_eq!(payload(&uplinks.next_event().data), "value of led");
        device.closes();
    }
}

/// The control: without the extension the edge can't know who speaks from the new port.
#[test]
fn a_device_without_a_connection_id_is_not_heard_from_a_new_port() {
    let edge = Edge::embedded();
    let mut uplinks = edge.api().events("/uplinks?from=0");
    let provisioned = edge.provision("nocid");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["patience=3000"]);
    assert_eq!(device.edge_cid, "none");
    assert_eq!(device.asks("con put t before").code, "2.04");
    assert_eq!(payload(&uplinks.next_event().data), "before");
    device.rebinds();
    assert_eq!(device.asks("con put t after").code, "timeout");

    // A new handshake helps, and shows that the unheard request was not published.
    let mut anew = Device::connect(edge.coap_port, &provisioned, &[]);
    assert_eq!(anew.asks("con put t anew").code, "2.04");
    assert_eq!(payload(&uplinks.next_event().data), "anew");
}

#[test]
fn every_psk_suite_works_with_a_connection_id() {
    let edge = Edge::embedded();
    let device = edge.provision("suites");
    for suite in [
        "TLS_PSK_WITH_AES_128_CCM_8",
        "TLS_PSK_WITH_AES_256_CCM_8",
        "TLS_PSK_WITH_AES_128_CCM",
        "TLS_PSK_WITH_AES_256_CCM",
        "TLS_PSK_WITH_AES_128_GCM_SHA256",
        "TLS_PSK_WITH_AES_256_GCM_SHA384",
    ] {
        let option = format!("suite={suite}");
        let mut client = Device::connect(edge.coap_port, &device, &[&option, "cid=2"]);
        client.rebinds();
        assert_eq!(client.asks("con put t 1").code, "2.04", "{suite}");
    }
}
