//! Which foreign programs take long bodies? libcoap's server as a device that listens, aiocoap as
//! one that asks.

use std::process::Command;

use serde_json::json;

use crate::edge::{Edge, Provisioned};
use crate::place::{Directory, free_ports, is_taken};
use crate::process::Process;
use crate::repository::cached;
use crate::wait::eventually;

/// libcoap's server, a device that listens and keeps what is put to it.
#[derive(Debug)]
pub struct Listening {
    /// What the edge knows of it.
    pub device: Provisioned,
    /// Its port for DTLS.
    pub port: u16,
    _process: Process,
}

impl Listening {
    /// Starts it and makes it known; `more` are arguments of the server.
    pub fn start(edge: &Edge, name: &str, more: &[&str]) -> Self {
        // It has one port for plain CoAP and the next for DTLS.
        let port = free_ports(2) + 1;
        let key = format!("{name:-<16}");
        let mut command = Command::new("coap-server-openssl");
        command.args(["-A", "127.0.0.1", "-p", &(port - 1).to_string(), "-d", "4"]);
        command.args(["-k", &key]).args(more);
        let mut process = Process::start("coap-server-openssl", &mut command);
        eventually("the server's port is taken", || {
            assert!(process.try_wait().is_none(), "{}", process.said());
            is_taken(port).then_some(())
        });
        let mut device = Provisioned {
            id: String::new(),
            identity: format!("{name:-<32}"),
            secret: format!("0x{}", hex::encode(&key)),
            destination: format!("to-{name}"),
            topic: format!("fleet/{name}"),
        };
        let cellular = json!({
            "DtlsV1_2": {
                "PreSharedKeyIdentity": device.identity, "PreSharedKeySecret": device.secret,
            },
            "Endpoint": format!("127.0.0.1:{port}"),
        });
        device.id = edge.provision_block(&device.destination, &device.topic, &cellular);
        Self { device, port, _process: process }
    }
}

/// A device whose identity and key are as short as tinydtls has them.
pub fn small_credential(edge: &Edge, name: &str) -> Provisioned {
    edge.provision_as(Provisioned {
        id: String::new(),
        identity: format!("{name:-<32}"),
        secret: format!("0x{}", hex::encode(format!("{name:-<16}"))),
        destination: format!("to-{name}"),
        topic: format!("fleet/{name}"),
    })
}

/// aiocoap's client with the device's credentials, towards this port.
pub fn aiocoap(port: u16, device: &Provisioned, place: &Directory) -> Command {
    let whole_edge = format!("coaps://127.0.0.1:{port}/*");
    let dtls = json!({
        "psk": {"hex": hex::encode(device.key())}, "client-identity": {"ascii": device.identity},
    });
    let credentials = json!({whole_edge: {"dtls": dtls}}).to_string();
    let mut command = Command::new(cached("foreign/python/bin/aiocoap-client", "foreign"));
    command.arg("--credentials").arg(place.write("credentials.json", &credentials));
    command
}

/// Text in which no two parts of 16 bytes are alike.
pub fn text_of(name: &str, bytes: usize) -> String {
    let lines = (0..).map(|line| format!("{name} line {line:06}\n"));
    let mut text: String = lines.take(bytes / 16 + 1).collect();
    text.truncate(bytes);
    text
}
