//! Does a message reach a device that is libcoap? A coap-client that waits for an answer gets the
//! queued request in between, and its response comes back with the MessageId.

#![forbid(unsafe_code)]

use serde_json::json;
use tidegate_tests::api::{coap, payload, text};
use tidegate_tests::coap_client::Flavour::{self, GnuTls, OpenSsl};
use tidegate_tests::coap_client::{CoapClient, Request};
use tidegate_tests::edge::Edge;

#[test]
fn coap_client_on_openssl_answers_a_queued_request() {
    queued_request_is_answered(OpenSsl);
}

#[test]
fn coap_client_on_gnutls_answers_a_queued_request() {
    queued_request_is_answered(GnuTls);
}

fn queued_request_is_answered(flavour: Flavour) {
    let edge = Edge::embedded();
    let device = edge.provision("libcoap");
    let api = edge.api();
    let mut uplinks = api.events("/uplinks?from=0");
    let led = json!({"RequestMethod": "PUT", "UriPaths": ["led"], "QueueMode": 1});
    let message = api.send_data(&device.id, &led, "on");

    let get = Request { method: "get", confirmable: true, uri: "/setpoint", payload: "" };
    let client = CoapClient::start(flavour, edge.coap_port, &device, &get);
    // coap-client has no resources: it answers 4.04, which is an answer.
    let end = edge.final_state(&device, &message);
    assert_eq!(end["Status"], "RESPONDED", "{end}");
    let mut token = None;
    for _ in 0..2 {
        let uplink = uplinks.next_event().data;
        let said = coap(&uplink);
        if said["RequestMethod"] == "GET" {
            token = Some(text(said, "ResponseToken"));
        } else {
            assert_eq!(text(said, "MessageId"), message);
            assert!(text(said, "ResponseStatus").contains("4.04"), "{uplink}");
            assert_eq!(payload(&uplink), "Not Found");
        }
    }

    api.answer(&device.id, &token.expect("the GET was published"), "19");
    let messages = client.messages();
    let put = messages.iter().find(|m| m.code == "PUT").expect("the request at the device");
    assert_eq!((put.message_type.as_str(), put.text.as_str()), ("CON", "on"));
    assert!(messages.iter().any(|m| m.code == "2.05" && m.text == "19"), "{messages:#?}");
}
