//! Which foreign programs are whole CoAP clients? They offer all the suites of their library and
//! can't be told one, so the edge is told.

use std::process::Command;

use crate::client_hello;
use crate::coap_client::Flavour;
use crate::foreign::{NO_CID_IN_HELLO, Target, lacks, refusal};
use crate::matrix::{Attempt, Outcome, Refusal};
use crate::place::Directory;
use crate::process::Process;
use crate::repository::cached;
use crate::suite::Credential;

/// A command line that makes one CoAP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoapTool {
    /// `coap-client` on one of libcoap's TLS libraries.
    LibCoap(Flavour),
    /// `aiocoap-client`, which has tinydtls through DTLSSocket.
    Aiocoap,
}

impl CoapTool {
    /// Every one of them.
    pub const ALL: [Self; 3] =
        [Self::LibCoap(Flavour::OpenSsl), Self::LibCoap(Flavour::GnuTls), Self::Aiocoap];

    /// Its row.
    pub fn name(self) -> &'static str {
        match self {
            Self::LibCoap(flavour) => flavour.program(),
            Self::Aiocoap => "aiocoap-client",
        }
    }

    /// A PUT of `payload` to `/t`; `place` is for the files it wants.
    pub fn command(
        self,
        target: &Target,
        credential: Credential,
        payload: &str,
        place: &Directory,
    ) -> Command {
        let uri = format!("coaps://127.0.0.1:{}/t", target.port);
        let mut command = match self {
            Self::LibCoap(flavour) => libcoap(flavour, target, credential, payload),
            Self::Aiocoap => aiocoap(target, credential, payload, place),
        };
        command.arg(uri);
        command
    }

    /// What it can't; asked of itself, and of the ClientHello it sends.
    pub fn can(self, target: &Target, what: &Attempt) -> Outcome {
        let no = |reason: &str| lacks(&format!("{}: {reason}", self.name()));
        if self == Self::LibCoap(Flavour::OpenSsl) && what.credential == Credential::RawPublicKey {
            let usage = Process::run("usage", &mut Command::new(self.name()));
            assert!(usage.unwrap_or_else(|said| said).contains("no RPK support"));
            return no("\"no RPK support\"");
        }
        let place = Directory::new("hello");
        let hello = client_hello::try_of(|port| {
            let target = Target { port, ..target.clone() };
            self.command(&target, what.credential, "", &place)
        });
        let hello = hello.map_err(|said| refusal(self.name(), &said, &[NO_CERTIFICATES]))?;
        if !hello.suites.contains(&what.suite.code) {
            no("its ClientHello lacks the suite")
        } else if what.way.cid {
            assert!(!hello.extensions.contains(&CONNECTION_ID), "it has the extension: {hello:?}");
            no(NO_CID_IN_HELLO)
        } else if what.way.resumed {
            no("makes one session and keeps nothing of it")
        } else {
            Ok(())
        }
    }

    /// Connects and puts `payload` to `/t`.
    pub fn puts(self, target: &Target, credential: Credential, payload: &str) -> Outcome {
        let changed = match self {
            Self::LibCoap(_) => " c:2.04 ",
            Self::Aiocoap => ":2.04 Changed from ",
        };
        let place = Directory::new("tool");
        let mut command = self.command(target, credential, payload, &place);
        match Process::run(self.name(), &mut command) {
            Ok(said) if said.contains(changed) => Ok(()),
            Ok(said) | Err(said) => Err(Refusal::Failed(said)),
        }
    }
}

fn libcoap(flavour: Flavour, target: &Target, credential: Credential, payload: &str) -> Command {
    let mut command = Command::new(flavour.program());
    command.args(["-v", "7", "-B", "20", "-m", "put", "-e", payload]);
    match credential {
        Credential::Certificate => {
            command.arg("-c").arg(&target.certified.certificate);
            command.arg("-j").arg(&target.certified.key);
            command.arg("-C").arg(target.pki.authority());
        }
        Credential::RawPublicKey => {
            command.arg("-M").arg(&target.raw.both_pem);
        }
        Credential::Psk | Credential::EcdhePsk => {
            let key = String::from_utf8(target.psk.key()).expect("a key of text");
            command.args(["-u", &target.psk.identity, "-k", &key]);
        }
    }
    command
}

/// Its credentials are a file; under `dtls` it looks for a pre-shared key and nothing else.
fn aiocoap(target: &Target, credential: Credential, payload: &str, place: &Directory) -> Command {
    let dtls = match credential {
        Credential::Certificate | Credential::RawPublicKey => {
            serde_json::json!({"certificate": target.certified.certificate})
        }
        Credential::Psk | Credential::EcdhePsk => serde_json::json!({
            "psk": {"hex": hex::encode(target.psk.key())},
            "client-identity": {"ascii": target.psk.identity},
        }),
    };
    let whole_edge = format!("coaps://127.0.0.1:{}/*", target.port);
    let credentials = serde_json::json!({whole_edge: {"dtls": dtls}}).to_string();
    let mut command = Command::new(cached("foreign/python/bin/aiocoap-client", "foreign"));
    command.args(["-v", "-m", "PUT", "--payload", payload]);
    command.arg("--credentials").arg(place.write("credentials.json", &credentials));
    command
}

/// What aiocoap says of the file.
const NO_CERTIFICATES: &str = "attribute certificate of DTLS: expected attribute does not exist";

const CONNECTION_ID: u16 = 54;
