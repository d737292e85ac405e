//! How does a library without CoAP become a device? The programs of `tests/foreign/{python,node,
//! rust}` shake hands and carry bytes; the CoAP message is written by hand, as with `openssl`.

use std::process::Command;

use crate::client_hello::{self, ClientHello};
use crate::foreign::{NO_CID_IN_HELLO, Target, device_options, lacks, refusal};
use crate::matrix::{Attempt, Outcome, Refusal};
use crate::raw_client::RawClient;
use crate::repository::cached;
use crate::suite::Credential;
use crate::wiretap::Wiretap;

/// A DTLS library with a program of ours around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// python-mbedtls 2.10, which is Mbed TLS 2.28.
    PythonMbedTls,
    /// node-dtls-client 2.0
    NodeDtlsClient,
    /// webrtc-dtls 0.12
    WebrtcDtls,
    /// dimpl 0.9
    Dimpl,
}

impl Carrier {
    /// Its row.
    pub fn name(self) -> &'static str {
        match self {
            Self::PythonMbedTls => "python-mbedtls",
            Self::NodeDtlsClient => "node-dtls-client",
            Self::WebrtcDtls => "webrtc-dtls",
            Self::Dimpl => "dimpl",
        }
    }

    /// The program that `make foreign` installed, towards the edge.
    pub fn command(self, target: &Target, what: &Attempt) -> Command {
        let mut command = match self {
            Self::PythonMbedTls => interpreter(
                "foreign/python/bin/python",
                &crate::repository::root().join("tests/foreign/python/mbedtls_device.py"),
            ),
            Self::NodeDtlsClient => interpreter(
                "foreign/node/nodejs/bin/node",
                &cached("foreign/node/device.mjs", "foreign"),
            ),
            Self::WebrtcDtls => Command::new(cached("foreign/rust/debug/webrtc_device", "foreign")),
            Self::Dimpl => Command::new(cached("foreign/rust/debug/dimpl_device", "foreign")),
        };
        command.args(["127.0.0.1", &target.port.to_string()]);
        command.arg(format!("code={:04x}", what.suite.code)).args(device_options(target, what));
        command
    }

    /// Connects as told and puts `payload` to `/t`. What it lacks of a way is seen on the wire.
    pub fn attempt(self, target: &Target, what: &Attempt, payload: &str) -> Outcome {
        let mut what = *what;
        if what.credential == Credential::RawPublicKey {
            // With a certificate instead: the extension would have to come with it as well.
            what.credential = Credential::Certificate;
            let hello = self.hello(target, &what)?;
            return self.never_offers(&hello, CLIENT_CERTIFICATE_TYPE, NO_RAW_KEYS_IN_HELLO);
        }
        if what.way.cid {
            what.way.cid = false;
            let hello = self.hello(target, &what)?;
            return self.never_offers(&hello, CONNECTION_ID, NO_CID_IN_HELLO);
        }
        let puts = |command: &mut Command| {
            RawClient::start(command).puts(payload).map_err(|said| self.refusal(&said))
        };
        if !what.way.resumed {
            return puts(&mut self.command(target, &what));
        }
        let wiretap = Wiretap::towards(target.port);
        let tapped = Target { port: wiretap.port, ..target.clone() };
        puts(self.command(&tapped, &what).arg("again=yes"))?;
        let hellos = wiretap.client_hellos();
        // With and without a cookie, for each of two sessions.
        if hellos.len() < 4 || hellos.iter().any(ClientHello::asks_for_a_session) {
            return Err(Refusal::Failed(format!("it resumes sessions now: {hellos:?}")));
        }
        lacks(&format!("{}: its next ClientHello has no session id", self.name()))
    }

    /// The first ClientHello it sends with these credentials.
    fn hello(self, target: &Target, what: &Attempt) -> Result<ClientHello, Refusal> {
        let command = |port| self.command(&Target { port, ..target.clone() }, what);
        client_hello::try_of(command).map_err(|said| self.refusal(&said))
    }

    fn never_offers(self, hello: &ClientHello, extension: u16, reason: &str) -> Outcome {
        if hello.extensions.contains(&extension) {
            return Err(Refusal::Failed(format!("it has the extension now: {hello:?}")));
        }
        lacks(&format!("{}: {reason}", self.name()))
    }

    fn refusal(self, said: &str) -> Refusal {
        refusal(self.name(), said, self.reasons())
    }

    /// In the library's own words, where it has some: python-mbedtls and node-dtls-client have
    /// lists of their suites, in which the program looks.
    fn reasons(self) -> &'static [&'static str] {
        match self {
            Self::PythonMbedTls | Self::NodeDtlsClient => &["unknown suite"],
            Self::WebrtcDtls => &["invalid or unknown cipher suite"],
            Self::Dimpl => &["no cipher suites remain after filtering"],
        }
    }
}

fn interpreter(program: &str, script: &std::path::Path) -> Command {
    let mut command = Command::new(cached(program, "foreign"));
    command.arg(script);
    command
}

/// Said by [`Carrier::attempt`] of a ClientHello it has looked into.
const NO_RAW_KEYS_IN_HELLO: &str =
    "its ClientHello never has extension 19 (client_certificate_type)";

const CLIENT_CERTIFICATE_TYPE: u16 = 19;
const CONNECTION_ID: u16 = 54;
