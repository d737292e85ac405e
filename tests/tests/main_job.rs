//! Does the main job work? libcoap's clients on OpenSSL and GnuTLS, a real broker, an application.

#![forbid(unsafe_code)]

use serde_json::json;
use tidegate_tests::api::{coap, payload, text};
use tidegate_tests::coap_client::Flavour::{self, GnuTls, OpenSsl};
use tidegate_tests::coap_client::{CoapClient, Logged, Request};
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::mosquitto::{Mosquitto, Subscriber};

/// An edge, a subscriber to everything, and one device for each client that will run.
struct Stage {
    edge: Edge,
    subscriber: Subscriber,
    _broker: Mosquitto,
}

impl Stage {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let broker = Mosquitto::start();
        let subscriber = broker.subscribe("#");
        let edge = Edge::with(&Options { mqtt_url: Some(broker.url()), ..options });
        Self { edge, subscriber, _broker: broker }
    }

    fn start(&self, flavour: Flavour, device: &Provisioned, request: &Request) -> CoapClient {
        CoapClient::start(flavour, self.edge.coap_port, device, request)
    }
}

const CLIENTS: [(Flavour, &str); 2] = [(OpenSsl, "openssl"), (GnuTls, "gnutls")];

/// The names of a message type in the uplink and on the wire.
fn types(confirmable: bool) -> (&'static str, &'static str) {
    if confirmable { ("CONFIRMABLE", "ACK") } else { ("NON_CONFIRMABLE", "NON") }
}

#[test]
fn a_put_reaches_the_subscriber_and_then_its_2_04_the_device() {
    let mut stage = Stage::new();
    for (flavour, name) in CLIENTS {
        let device = stage.edge.provision(name);
        for confirmable in [true, false] {
            let (type_name, reply_type) = types(confirmable);
            let uri = "/sensors/t1?unit=C&raw";
            let request = Request { method: "put", confirmable, uri, payload: "21.5" };
            let response = stage.start(flavour, &device, &request).response();
            assert_eq!(
                (response.code.as_str(), response.message_type.as_str()),
                ("2.04", reply_type),
                "{name}, {type_name}"
            );

            let (topic, uplink) = stage.subscriber.next_message();
            assert_eq!(topic, device.topic);
            assert_eq!(text(&uplink, "WirelessDeviceId"), device.id);
            assert_eq!(payload(&uplink), "21.5");
            let coap = coap(&uplink);
            assert_eq!(coap["MessageType"], type_name);
            assert_eq!(coap["RequestMethod"], "PUT");
            assert_eq!(coap["UriPaths"], json!(["sensors", "t1"]));
            assert_eq!(coap["UriQuery"], json!([{"Key": "unit", "Value": "C"}, {"Key": "raw"}]));
            assert_eq!(coap["ContentFormat"], "text/plain; charset=utf-8");
            assert_eq!(coap["Network"], "Cellular");
            assert!(coap.get("ResponseToken").is_none(), "no answer is expected: {coap}");
            let is_utc = text(coap, "Timestamp").ends_with('Z');
            assert!(is_utc && !coap["MessageId"].is_null(), "{coap}");
        }
    }
    assert_eq!(stage.subscriber.pending(), [] as [serde_json::Value; 0], "each event once");
}

#[test]
fn a_delete_is_answered_2_02_when_it_is_published() {
    let mut stage = Stage::new();
    for (flavour, name) in CLIENTS {
        let device = stage.edge.provision(name);
        for confirmable in [true, false] {
            let request = Request { method: "delete", confirmable, uri: "/old", payload: "" };
            let response = stage.start(flavour, &device, &request).response();
            assert_eq!(response.code, "2.02", "{name}");
            let uplink = stage.subscriber.next_of(&device.id);
            assert_eq!(coap(&uplink)["RequestMethod"], "DELETE");
            assert_eq!(payload(&uplink), "");
        }
    }
}

/// GET and POST: acknowledged at once, and the application's answer comes as its own message.
#[test]
fn an_application_answers_a_get_and_a_post_through_the_api() {
    let mut stage = Stage::new();
    let api = stage.edge.api();
    for (flavour, name) in CLIENTS {
        let device = stage.edge.provision(name);
        for (method, sent) in [("get", ""), ("post", "how are you")] {
            for confirmable in [true, false] {
                let request = Request { method, confirmable, uri: "/ask", payload: sent };
                let client = stage.start(flavour, &device, &request);
                let uplink = stage.subscriber.next_of(&device.id);
                assert_eq!(coap(&uplink)["RequestMethod"], method.to_uppercase());
                assert_eq!(payload(&uplink), sent);
                let token = text(coap(&uplink), "ResponseToken");
                let message = api.answer(&device.id, &token, "the answer");

                let messages = client.messages();
                let answer = messages.iter().find(|m| m.code == "2.05");
                let answer = answer.unwrap_or_else(|| panic!("{messages:#?}"));
                assert_eq!(answer.text, "the answer");
                let separate = if confirmable { "CON" } else { "NON" };
                assert_eq!(answer.message_type, separate, "{messages:#?}");
                // For a CON: the edge's empty ACK of the request, the device's of the answer.
                let is_ack = |m: &&Logged| m.code == "0.00" && m.message_type == "ACK";
                let acks = messages.iter().filter(is_ack).count();
                assert_eq!(acks, if confirmable { 2 } else { 0 }, "{messages:#?}");
                let end = stage.edge.final_state(&device, &message);
                assert_eq!(end["Status"], if confirmable { "DELIVERED" } else { "SENT" }, "{end}");
            }
        }
    }
}

#[test]
fn a_get_that_no_application_answers_gets_5_04() {
    let coap = "response_timeout_ms = 1000".to_owned();
    let mut stage = Stage::with(Options { coap, ..Options::default() });
    let device = stage.edge.provision("patient");
    for confirmable in [true, false] {
        let request = Request { method: "get", confirmable, uri: "/void", payload: "" };
        let response = stage.start(OpenSsl, &device, &request).response();
        assert_eq!(response.code, "5.04");

        // The answer that comes too late is told so.
        let token = text(self::coap(&stage.subscriber.next_of(&device.id)), "ResponseToken");
        let late = stage.edge.api().answer(&device.id, &token, "too late");
        let end = stage.edge.final_state(&device, &late);
        assert_eq!((&end["Status"], &end["Reason"]), (&json!("FAILED"), &json!("TOKEN_GONE")));
    }
}

/// The first publication of a device without a usable destination: 4.04, and nothing published.
#[test]
fn without_a_route_a_request_is_answered_4_04() {
    let stage = Stage::new();
    let device = stage.edge.provision("lost");
    let api = stage.edge.api();
    let to_nowhere = json!({"ExpressionType": "RuleName", "Expression": "no_such_rule"});
    api.succeed("PATCH", &format!("/destinations/{}", device.destination), &to_nowhere);
    let request = Request { method: "put", confirmable: true, uri: "/x", payload: "1" };
    assert_eq!(stage.start(OpenSsl, &device, &request).response().code, "4.04");
    assert_eq!(stage.subscriber.pending().len(), 0);
}

/// A rule republishes: the destination names it, the rule names the topic.
#[test]
fn a_destination_may_name_a_rule_that_republishes() {
    let mut stage = Stage::new();
    let device = stage.edge.provision("ruled");
    let api = stage.edge.api();
    let rule = json!({
        "sql": "SELECT *",
        "actions": [{"republish": {"topic": "from/rule", "roleArn": "arn:aws:iam::0:role/r"}}],
    });
    api.succeed("POST", "/rules/to_topic", &rule);
    let by_rule = json!({"ExpressionType": "RuleName", "Expression": "to_topic"});
    api.succeed("PATCH", &format!("/destinations/{}", device.destination), &by_rule);
    let request = Request { method: "put", confirmable: true, uri: "/x", payload: "1" };
    assert_eq!(stage.start(GnuTls, &device, &request).response().code, "2.04");
    assert_eq!(stage.subscriber.next_message().0, "from/rule");
}
