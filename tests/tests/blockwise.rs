//! Do bodies that are longer than a message get through? Foreign CoAP stacks send theirs block by
//! block over DTLS (RFC 7959), and the application reads each as one uplink.

#![forbid(unsafe_code)]

use std::process::Command;

use serde_json::json;
use tidegate_tests::api::{Events, coap, payload, text};
use tidegate_tests::coap_client::Flavour;
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::long_bodies::{Listening, aiocoap, small_credential, text_of};
use tidegate_tests::place::Directory;
use tidegate_tests::process::Process;

/// libcoap on both of its TLS libraries: a body of 100 KiB in blocks of three sizes.
#[test]
fn coap_client_puts_a_long_body() {
    let edge = Edge::embedded();
    let mut uplinks = edge.api().events("/uplinks?from=0");
    let place = Directory::new("bodies");
    for (flavour, block_bytes, name) in [
        (Flavour::OpenSsl, 1_024, "large"),
        (Flavour::OpenSsl, 64, "small"),
        (Flavour::GnuTls, 256, "middle"),
    ] {
        let device = edge.provision(name);
        let body = text_of(name, if block_bytes == 64 { 20_000 } else { 100_000 });
        let said = libcoap(flavour, &edge, &device, &place, &body, block_bytes, &[]);
        assert!(said.contains(" c:2.04 "), "{said}");
        assert_eq!(said.matches("c:2.31").count(), body.len().div_ceil(block_bytes) - 1);
        published(&mut uplinks, &device, "PUT", &body);
    }
}

/// Every tenth datagram of the device is lost: nothing is lost, nothing doubled.
#[test]
fn coap_client_puts_a_long_body_over_a_lossy_link() {
    let edge = Edge::embedded();
    let mut uplinks = edge.api().events("/uplinks?from=0");
    let place = Directory::new("bodies");
    let device = edge.provision("lossy");
    let body = text_of("lossy", 10_000);
    // The handshake is let through: losing from it is another story's. Of what follows the 8th,
    // 11th … datagram is lost, the 31st twice.
    let lost = ["-l", "8,11,17,23,24,31,32"];
    let said = libcoap(Flavour::OpenSsl, &edge, &device, &place, &body, 512, &lost);
    assert!(said.contains(" c:2.04 "), "{said}");
    published(&mut uplinks, &device, "PUT", &body);
    // What comes next on the stream is the next thing put, not a second one of the same.
    let said = libcoap(Flavour::OpenSsl, &edge, &device, &place, "after", 512, &[]);
    assert!(said.contains(" c:2.04 "), "{said}");
    published(&mut uplinks, &device, "PUT", "after");
}

/// aiocoap, which begins with blocks of 1024 bytes and takes up the edge's smaller ones.
#[test]
fn aiocoap_puts_a_long_body() {
    for block_bytes in [1_024, 128] {
        let coap = format!("block_bytes = {block_bytes}");
        let edge = Edge::with(&Options { coap, ..Options::default() });
        let mut uplinks = edge.api().events("/uplinks?from=0");
        let device = small_credential(&edge, "aiocoap");
        let body = text_of("aiocoap", 30_000);
        let place = Directory::new("bodies");
        let mut command = aiocoap(edge.coap_port, &device, &place);
        command.args(["-v", "-m", "PUT", "--payload"]);
        command.arg(format!("@{}", place.write("body", &body).display()));
        command.arg(format!("coaps://127.0.0.1:{}/log", edge.coap_port));
        let said = Process::run("aiocoap-client", &mut command).unwrap_or_else(|said| said);
        assert!(said.contains("2.04 Changed"), "{said}");
        published(&mut uplinks, &device, "PUT", &body);
    }
}

/// Longer than the device's profile allows: 4.13, and nothing is published.
#[test]
fn a_profile_says_how_long_a_body_may_be() {
    let edge = Edge::embedded();
    let api = edge.api();
    let mut uplinks = api.events("/uplinks?from=0");
    let place = Directory::new("bodies");
    let device = edge.provision("limited");
    let profile = json!({"Name": "short", "UplinkPayloadBytes": 5_000});
    let profile = text(&api.succeed("POST", "/application-profiles", &profile), "Id");
    let refers = json!({"ApplicationProfileId": profile});
    api.succeed("PATCH", &format!("/wireless-devices/{}", device.id), &refers);
    for (bytes, code) in [(5_001, " c:4.13 "), (5_000, " c:2.04 ")] {
        let body = text_of("limited", bytes);
        let said = libcoap(Flavour::OpenSsl, &edge, &device, &place, &body, 512, &[]);
        assert!(said.contains(code), "{bytes}: {said}");
        // It says itself how long its body is.
        assert!(said.contains("Size1:5000"), "{said}");
    }
    published(&mut uplinks, &device, "PUT", &text_of("limited", 5_000));
}

/// libcoap's server is the device: a long PUT goes to it block by block, and the response to a GET
/// comes back so; a part of what it sends is lost.
#[test]
fn coap_server_takes_a_long_body_and_gives_it_back() {
    let patient = "ack_timeout_ms = 1000\nmax_retransmit = 8".to_owned();
    let edge = Edge::with(&Options { coap: patient, ..Options::default() });
    let api = edge.api();
    let mut uplinks = api.events("/uplinks?from=0");
    for (name, bytes, more) in [("whole", 100_000, &[][..]), ("lossy", 20_000, &["-l", "5%"][..])] {
        let listening = Listening::start(&edge, name, more);
        let body = text_of(name, bytes);
        let put = json!({"RequestMethod": "PUT", "UriPaths": ["fw"]});
        let message = api.send_data(&listening.device.id, &put, &body);
        let end = edge.final_state(&listening.device, &message);
        assert_eq!(end["Status"], "RESPONDED", "{end}");
        let uplink = uplinks.next_event().data;
        assert!(text(coap(&uplink), "ResponseStatus").contains("2.0"), "{uplink}");

        let get = json!({"RequestMethod": "GET", "UriPaths": ["fw"]});
        let message = api.send_data(&listening.device.id, &get, "");
        assert_eq!(edge.final_state(&listening.device, &message)["Status"], "RESPONDED");
        let uplink = uplinks.next_event().data;
        assert_eq!(text(coap(&uplink), "MessageId"), message);
        assert!(payload(&uplink) == body, "{} bytes", payload(&uplink).len());
    }
}

/// A device asks, and the application answers with more than a message holds: aiocoap reads it
/// block by block. (libcoap 4.3.1 follows up on the first block only when that comes on the ACK.)
#[test]
fn aiocoap_reads_a_long_answer() {
    let edge = Edge::embedded();
    let place = Directory::new("answers");
    let device = small_credential(&edge, "aiocoap");
    let body = text_of("aiocoap", 30_000);
    let mut command = aiocoap(edge.coap_port, &device, &place);
    command.arg(format!("coaps://127.0.0.1:{}/firmware", edge.coap_port));
    let mut client = Process::start("aiocoap-client", &mut command);
    answers_next(&edge, &device, &body);
    client.wait();
    // What it prints has line ends of its own.
    let said = client.said();
    assert!(said.contains(body.trim_end()), "{} bytes of {}", said.len(), body.len());
}

/// The application answers the device's question with this text; the message's id.
fn answers_next(edge: &Edge, device: &Provisioned, body: &str) -> String {
    let api = edge.api();
    let mut uplinks = api.events("/uplinks?from=0");
    let asked = loop {
        let uplink = uplinks.next_event().data;
        if text(&uplink, "WirelessDeviceId") == device.id {
            break uplink;
        }
    };
    assert_eq!(coap(&asked)["RequestMethod"], "GET");
    api.answer(&device.id, &text(coap(&asked), "ResponseToken"), body)
}

/// The next uplink is this one.
fn published(uplinks: &mut Events, device: &Provisioned, method: &str, body: &str) {
    let uplink = uplinks.next_event().data;
    assert_eq!(text(&uplink, "WirelessDeviceId"), device.id);
    assert_eq!(coap(&uplink)["RequestMethod"], method);
    assert_eq!(coap(&uplink)["UriPaths"], json!(["log"]));
    assert!(payload(&uplink) == body, "{} bytes instead of {}", payload(&uplink).len(), body.len());
}

/// Puts a body to `/log`; what the client logged.
fn libcoap(
    flavour: Flavour,
    edge: &Edge,
    device: &Provisioned,
    place: &Directory,
    body: &str,
    block_bytes: usize,
    more: &[&str],
) -> String {
    let mut command = Command::new(flavour.program());
    command.args(["-v", "7", "-B", "60", "-m", "put", "-b", &block_bytes.to_string()]);
    command.args(["-u", &device.identity, "-k", &device.secret]).args(more);
    command.arg("-f").arg(place.write("body", body));
    command.arg(format!("coaps://127.0.0.1:{}/log", edge.coap_port));
    Process::run(flavour.program(), &mut command).unwrap_or_else(|said| said)
}
