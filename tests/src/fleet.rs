//! Who are the peers of the interoperability tests? One device per credential and one server, with
//! names and keys that the smallest of the foreign libraries can take.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::edge::{Edge, Options, Provisioned};
use crate::foreign::Target;
use crate::pki::{KeyPair, Pki};
use crate::process::Process;

/// Keys of the server and the authority that signs for everybody.
#[derive(Debug)]
pub struct Fleet {
    /// Who signs.
    pub pki: Pki,
    /// The server's certificate.
    pub server: KeyPair,
    /// The server's raw public key.
    pub server_raw: KeyPair,
}

impl Default for Fleet {
    fn default() -> Self {
        let pki = Pki::new();
        let server = pki.certified(SERVER_NAME);
        let server_raw = pki.key_pair("server-raw");
        Self { pki, server, server_raw }
    }
}

impl Fleet {
    /// A device for each credential; `number` (one hexadecimal digit) makes them unique.
    pub fn devices(&self, number: usize, port: u16) -> Target<'_> {
        let psk = Provisioned {
            id: String::new(),
            identity: format!("device-{number:x}-{:->23}", ""),
            secret: format!("0x{}", hex::encode(format!("sixteen-bytes--{number:x}"))),
            destination: format!("to-{number}"),
            topic: format!("fleet/{number}"),
        };
        Target {
            port,
            psk,
            certified: self.pki.certified(&format!("device-{number}.tests")),
            certified_id: String::new(),
            raw: self.pki.key_pair(&format!("raw-{number}")),
            raw_id: String::new(),
            server_name: SERVER_NAME,
            server_public: &self.server_raw.public,
            pki: &self.pki,
        }
    }

    /// An edge that shows the certificate, trusts the authority, and whose raw key is
    /// [`Fleet::server_raw`] from now on.
    pub fn edge(&mut self) -> Edge {
        let (certificate, key) = (self.server.certificate.display(), self.server.key.display());
        let edge = Edge::with(&Options {
            controlplane: format!(
                "[[server_identity]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n"
            ),
            ..Options::default()
        });
        let authority = fs::read_to_string(self.pki.authority()).expect("made with the fleet");
        edge.api().succeed(
            "POST",
            "/cacertificate?setAsActive=true",
            &json!({
                "caCertificate": authority, "certificateMode": "SNI_ONLY",
            }),
        );
        let mut command = edge.controlplane_command("server-key");
        let said = Process::run("server-key", &mut command).expect("the edge has a raw key");
        let public = said.lines().find_map(|line| line.strip_prefix("SubjectPublicKeyInfo: "));
        let public = BASE64.decode(public.expect("a line of it")).expect("base64");
        fs::write(&self.server_raw.public, public).expect("our directory");
        edge
    }

    /// Devices that the edge knows.
    pub fn provision(&self, edge: &Edge, number: usize) -> Target<'_> {
        let devices = self.devices(number, edge.coap_port);
        let block = |kind: &str, dtls: Value| {
            let (destination, topic) = (format!("{kind}-{number}"), format!("{kind}/{number}"));
            edge.provision_block(&destination, &topic, &json!({"DtlsV1_2": dtls}))
        };
        let public = fs::read_to_string(&devices.raw.public_pem).expect("made with the fleet");
        let name = format!("DNS:device-{number}.tests");
        Target {
            psk: edge.provision_as(devices.psk.clone()),
            raw_id: block("raw", json!({"RawPublicKey": public})),
            certified_id: block("certified", json!({"CertificateName": name})),
            ..devices
        }
    }
}

/// The name in the server's certificate.
pub const SERVER_NAME: &str = "edge.tests";
