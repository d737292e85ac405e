//! Does a device without security get through the whole edge? Plain CoAP from a provisioned
//! address, by hand and with libcoap's client (RFC 7252 section 9, NoSec).

#![forbid(unsafe_code)]

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::api::{coap, payload, text};
use tidegate_tests::edge::{Edge, Options};
use tidegate_tests::process::Process;
use tidegate_tests::wait::{eventually, patience};

/// A device on plain UDP.
struct Plain(UdpSocket);

impl Plain {
    fn new(ip: &str, edge: &Edge) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("loopback");
        socket.connect(("127.0.0.1", edge.plain_port)).expect("the same host");
        Self(socket)
    }

    fn address(&self) -> String {
        self.0.local_addr().expect("it is bound").to_string()
    }

    fn says(&self, message: &[u8]) {
        self.0.send(message).expect("loopback takes it");
    }

    /// The next datagram; `None` when none comes for so long.
    fn hears(&self, wait: Duration) -> Option<Vec<u8>> {
        let mut bytes = [0; 1_500];
        self.0.set_read_timeout(Some(wait)).expect("not zero");
        let length = self.0.recv(&mut bytes).ok()?;
        Some(bytes[..length].to_vec())
    }

    fn must_hear(&self) -> Vec<u8> {
        self.hears(patience().max(MOMENT)).expect("an answer")
    }
}

/// A device known by `address` alone, with a destination of its own; its id.
fn provision(edge: &Edge, name: &str, address: &str) -> String {
    let api = edge.api();
    api.succeed(
        "POST",
        "/destinations",
        &json!({
            "Name": name, "ExpressionType": "MqttTopic", "Expression": format!("fleet/{name}"),
            "RoleArn": "arn:aws:iam::000000000000:role/tidegate",
        }),
    );
    let device = json!({
        "Type": "CoAP", "Name": name, "DestinationName": name,
        "Cellular": {"NoSec": {"SourceAddress": address}},
    });
    text(&api.succeed("POST", "/wireless-devices", &device), "Id")
}

/// CON PUT of "21", Message ID as given, Uri-Path "t", token aa.
fn put(mid: u16) -> Vec<u8> {
    [&[0x41, 3][..], &mid.to_be_bytes(), b"\xaa\xb1t\xff21"].concat()
}

#[test]
fn a_device_is_served_by_its_address_both_ways() {
    let edge = Edge::with(&Options { nosec: true, ..Options::default() });
    let mut uplinks = edge.api().events("/uplinks?from=0");
    let (device, stranger) = (Plain::new("127.0.0.1", &edge), Plain::new("127.0.0.2", &edge));
    let id = provision(&edge, "pump", &device.address());
    // The workers hear of it a moment after the API has said so.
    let mut mid = 0;
    let reply = eventually("an answer", || {
        mid += 1;
        stranger.says(&put(mid));
        device.says(&put(mid));
        device.hears(MOMENT)
    });
    assert_eq!(reply, [&[0x61, 0x44][..], &mid.to_be_bytes(), &[0xaa]].concat(), "2.04");
    let uplink = uplinks.next_event().data;
    assert_eq!((text(&uplink, "WirelessDeviceId"), payload(&uplink)), (id.clone(), "21".into()));
    assert_eq!(coap(&uplink)["SecurityMode"], "NoSec");

    // RFC 7252 section 4.5: the same message again has the same answer, and is no second event.
    device.says(&put(mid));
    assert_eq!(device.must_hear(), reply);

    let led = json!({"RequestMethod": "PUT", "UriPaths": ["led"]});
    let message = edge.api().send_data(&id, &led, "on");
    let request = device.must_hear();
    assert_eq!((request[0] & 0xf0, request[1]), (0x40, 3), "CON PUT: {request:02x?}");
    assert!(request.ends_with(b"\xffon"), "{request:02x?}");
    // ACK with 2.04 and the same token.
    let head = 4 + usize::from(request[0] & 15);
    device.says(&[&[0x60 | (request[0] & 15), 0x44][..], &request[2..head]].concat());
    let target = format!("/wireless-devices/{id}/data/{message}");
    let end = eventually("the end", || {
        let status = edge.api().succeed("GET", &target, &Value::Null);
        (!status["EndedAt"].is_null()).then_some(status)
    });
    assert_eq!(end["Status"], "RESPONDED");
    let response = uplinks.next_event().data;
    assert_eq!(coap(&response)["SecurityMode"], "NoSec", "{response}");
    assert_eq!(stranger.hears(MOMENT), None, "not a word to a stranger");
}

/// libcoap's client comes from another port each time.
#[test]
fn a_device_may_use_any_port_of_its_address() {
    let edge = Edge::with(&Options { nosec: true, ..Options::default() });
    let mut uplinks = edge.api().events("/uplinks?from=0");
    provision(&edge, "any", "127.0.0.1");
    let probe = Plain::new("127.0.0.1", &edge);
    eventually("the device is known", || {
        probe.says(b"\x40\x00\x00\x01");
        probe.hears(MOMENT)
    });
    for number in 1..=3 {
        let mut client = Command::new("coap-client-notls");
        client.args(["-m", "put", "-B", "20", "-e", &number.to_string()]);
        client.arg(format!("coap://127.0.0.1:{}/t", edge.plain_port));
        Process::run("coap-client-notls", &mut client).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(payload(&uplinks.next_event().data), number.to_string());
    }
}

/// How long nothing is waited for.
const MOMENT: Duration = Duration::from_millis(200);
