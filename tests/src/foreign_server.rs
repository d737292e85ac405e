//! Which foreign programs act as servers, how is each told what to accept, and how does our client
//! fare with it?

use std::path::Path;
use std::process::Command;

use crate::coap_client::Flavour;
use crate::device::Library;
use crate::fleet::Fleet;
use crate::foreign::{Target, gnutls_has, gnutls_priority};
use crate::matrix::{Attempt, Outcome, Refusal};
use crate::place::{Directory, free_ports, is_taken};
use crate::process::Process;
use crate::repository::binary;
use crate::suite::Credential;
use crate::wait::eventually;

/// A foreign server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// `openssl s_server`: bytes, no CoAP.
    OpenSsl,
    /// `gnutls-serv --echo`: bytes, no CoAP.
    GnuTls,
    /// `coap-server` on OpenSSL or GnuTLS.
    LibCoap(Flavour),
    /// Our CoAP device on somebody's DTLS library, being the server.
    Device(Library),
}

impl Server {
    /// Every one of them.
    pub const ALL: [Self; 7] = [
        Self::OpenSsl,
        Self::GnuTls,
        Self::LibCoap(Flavour::OpenSsl),
        Self::LibCoap(Flavour::GnuTls),
        Self::Device(Library::MbedTls),
        Self::Device(Library::WolfSsl),
        Self::Device(Library::TinyDtls),
    ];

    /// Its row.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "OpenSSL s_server",
            Self::GnuTls => "gnutls-serv",
            Self::LibCoap(Flavour::OpenSsl) => "coap-server-openssl",
            Self::LibCoap(Flavour::GnuTls) => "coap-server-gnutls",
            Self::Device(Library::MbedTls) => "Mbed TLS",
            Self::Device(Library::WolfSsl) => "wolfSSL",
            Self::Device(Library::TinyDtls) => "tinydtls",
        }
    }

    /// Whether it takes bytes that are no CoAP and answers with such.
    fn is_raw(self) -> bool {
        matches!(self, Self::OpenSsl | Self::GnuTls)
    }
}

/// A server at work for one suite of one credential.
#[derive(Debug)]
pub struct Running {
    server: Server,
    /// The program.
    pub process: Process,
    /// Its UDP port on loopback.
    pub port: u16,
    _place: Directory,
}

impl Running {
    /// Starts it and waits until it has its port; `Err`: it says that it can't.
    pub fn start(
        server: Server,
        fleet: &Fleet,
        devices: &Target,
        what: Attempt,
    ) -> Result<Self, Refusal> {
        let place = Directory::new("server");
        // libcoap: plain CoAP on the one before.
        let port = free_ports(2) + 1;
        let parts = Parts { fleet, devices, what, port, place: &place };
        let mut command = match server {
            Server::OpenSsl => parts.openssl()?,
            Server::GnuTls => parts.gnutls()?,
            Server::LibCoap(flavour) => parts.libcoap(flavour)?,
            Server::Device(library) => parts.device(library),
        };
        let mut process = Process::start(server.name(), &mut command);
        let ended = eventually("the server's port is taken or it ends", || {
            process.try_wait().map(|_| true).or_else(|| is_taken(port).then_some(false))
        });
        if ended {
            process.wait();
            return Err(can_not(server, &process.said()));
        }
        Ok(Self { server, process, port, _place: place })
    }

    /// Our client connects as told and asks.
    pub fn attempt(&mut self, devices: &Target, what: &Attempt) -> Outcome {
        let mut command = our_client(self.port, devices, what);
        if self.server.is_raw() {
            command.args(["--raw", "--payload", "ping\n"]);
        }
        let mut client = Process::start("tidegate-loadgen", &mut command);
        if self.server == Server::OpenSsl {
            // It has no echo over DTLS: the answer is typed.
            for _ in 0..=usize::from(what.way.resumed) {
                let is_asked = eventually("a question or the client's end", || {
                    let is_asked = self.process.has_said_next(|line| line.contains("ping"));
                    if is_asked { Some(true) } else { client.try_wait().map(|_| false) }
                });
                if is_asked {
                    self.process.tell("pong");
                }
            }
        }
        client.wait();
        self.judge(&client.said(), what)
    }

    fn judge(&self, said: &str, what: &Attempt) -> Outcome {
        let name = self.server.name();
        let lacks = |reason: &str| Err(Refusal::Lacks(format!("{name}: {reason}")));
        if said.contains("failed: ") && said.contains("handshake_failure") {
            return lacks("it refuses our ClientHello: handshake_failure");
        }
        let mut backwards = said.lines().rev();
        let Some(last) = backwards.find(|line| line.starts_with("negotiated: ")) else {
            return Err(Refusal::Failed(format!("{said}\n{}", self.process.said())));
        };
        if what.way.cid && last.contains(" cid_in=0 ") {
            return lacks("its ServerHello has no extension 54 (connection_id)");
        }
        if what.way.resumed && last.contains("resumable=no") {
            return lacks("its ServerHello has no session id");
        }
        if what.way.resumed && !last.contains("handshake=resumed") {
            return lacks("it makes a new session of the one it gave an id to");
        }
        let answered = said.lines().filter(|line| match line.strip_prefix("response: ") {
            Some(code) => code == "raw" || code.starts_with("2."),
            None => false,
        });
        if answered.count() == 1 + usize::from(what.way.resumed) {
            Ok(())
        } else {
            Err(Refusal::Failed(format!("{said}\n{}", self.process.said())))
        }
    }
}

/// Reads what a server said when it ended at once.
fn can_not(server: Server, said: &str) -> Refusal {
    let reasons = [
        "no cipher match",
        "unknown suite",
        "no raw public keys in Mbed TLS",
        "no certificates in tinydtls",
    ];
    match reasons.iter().find(|reason| said.contains(**reason)) {
        Some(reason) => Refusal::Lacks(format!("{}: \"{reason}\"", server.name())),
        None => Refusal::Failed(said.to_owned()),
    }
}

/// `tidegate-loadgen request` towards a server on loopback.
pub fn our_client(port: u16, devices: &Target, what: &Attempt) -> Command {
    let mut command = Command::new(binary("tidegate-loadgen"));
    command.args(["request", &format!("coaps://127.0.0.1:{port}/")]);
    command.args(["--suite", &what.suite.iana(), "--server-name", devices.server_name]);
    match what.credential {
        Credential::Certificate => {
            command.arg("--certificate").arg(&devices.certified.certificate);
            command.arg("--key").arg(&devices.certified.key);
            command.arg("--authority").arg(devices.pki.authority());
        }
        Credential::RawPublicKey => {
            command.arg("--raw-key").arg(&devices.raw.key);
            command.arg("--server-raw-key").arg(devices.server_public);
        }
        Credential::Psk | Credential::EcdhePsk => {
            command.args(["--psk-identity", &devices.psk.identity, "--psk", &devices.psk.secret]);
        }
    }
    if what.way.cid {
        command.args(["--cid", "0102"]);
    } else {
        command.arg("--no-cid");
    }
    if what.way.resumed {
        command.args(["--resume", "1"]);
    }
    command
}

/// What a server's command line is made of.
struct Parts<'a> {
    fleet: &'a Fleet,
    devices: &'a Target<'a>,
    what: Attempt,
    port: u16,
    place: &'a Directory,
}

impl Parts<'_> {
    fn key_hex(&self) -> String {
        hex::encode(self.devices.psk.key())
    }

    fn openssl(&self) -> Result<Command, Refusal> {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-dtls1_2", "-quiet"]);
        command.args(["-accept", &format!("127.0.0.1:{}", self.port)]);
        command.args(["-cipher", &format!("{}:@SECLEVEL=0", self.what.suite.openssl)]);
        match self.what.credential {
            Credential::RawPublicKey => {
                let reason = "s_server -help names no raw public keys (OpenSSL 3.2 has them)";
                return Err(Refusal::Lacks(format!("OpenSSL s_server: {reason}")));
            }
            Credential::Certificate => {
                command.arg("-cert").arg(&self.fleet.server.certificate);
                command.arg("-key").arg(&self.fleet.server.key);
                command.arg("-CAfile").arg(self.fleet.pki.authority());
                command.args(["-Verify", "1", "-verify_return_error"]);
            }
            Credential::Psk | Credential::EcdhePsk => {
                command.args(["-nocert", "-psk", &self.key_hex()]);
                command.args(["-psk_identity", &self.devices.psk.identity]);
            }
        }
        Ok(command)
    }

    fn gnutls(&self) -> Result<Command, Refusal> {
        gnutls_has(&self.what)?;
        let mut command = Command::new("gnutls-serv");
        let priority = gnutls_priority(&self.what);
        command.args(["--udp", "--echo", "--quiet", "--priority", &priority]);
        command.args(["-p", &self.port.to_string()]);
        match self.what.credential {
            Credential::Certificate => {
                command.arg("--x509certfile").arg(&self.fleet.server.certificate);
                command.arg("--x509keyfile").arg(&self.fleet.server.key);
                command.arg("--x509cafile").arg(self.fleet.pki.authority());
                command.args(["--require-client-cert", "--verify-client-cert"]);
            }
            Credential::RawPublicKey => {
                command.arg("--rawpkkeyfile").arg(&self.fleet.server_raw.key);
                command.arg("--rawpkfile").arg(&self.fleet.server_raw.public_pem);
                command.arg("--require-client-cert");
            }
            Credential::Psk | Credential::EcdhePsk => {
                let line = format!("{}:{}\n", self.devices.psk.identity, self.key_hex());
                command.arg("--pskpasswd").arg(self.place.write("passwords", &line));
            }
        }
        Ok(command)
    }

    /// It has one port for plain CoAP and the next for DTLS.
    fn libcoap(&self, flavour: Flavour) -> Result<Command, Refusal> {
        let program = match flavour {
            Flavour::OpenSsl => "coap-server-openssl",
            Flavour::GnuTls => "coap-server-gnutls",
        };
        let mut command = Command::new(program);
        command.args(["-A", "127.0.0.1", "-p", &(self.port - 1).to_string(), "-v", "7"]);
        match (self.what.credential, flavour) {
            (Credential::RawPublicKey, Flavour::OpenSsl) => {
                return Err(Refusal::Lacks(format!("{program}: \"no RPK support\"")));
            }
            (Credential::RawPublicKey, Flavour::GnuTls) => {
                command.arg("-M").arg(&self.fleet.server_raw.both_pem);
            }
            (Credential::Certificate, _) => {
                command.arg("-c").arg(&self.fleet.server.certificate);
                command.arg("-j").arg(&self.fleet.server.key);
                command.arg("-C").arg(self.fleet.pki.authority());
            }
            (Credential::Psk | Credential::EcdhePsk, _) => {
                let key = String::from_utf8(self.devices.psk.key()).expect("a key of text");
                command.args(["-k", &key]);
            }
        }
        Ok(command)
    }

    fn device(&self, library: Library) -> Command {
        let mut command = library.command();
        command.args(["127.0.0.1", &self.port.to_string(), "serve=yes"]);
        if library != Library::TinyDtls {
            command.arg("cid=4");
        }
        command.arg(format!("suite={}", self.what.suite.iana()));
        let mut file = |name: &str, path: &Path| {
            command.arg(format!("{name}={}", path.display()));
        };
        match self.what.credential {
            Credential::Certificate => {
                file("cert", &self.fleet.server.certificate);
                file("key", &self.fleet.server.key);
                file("ca", &self.fleet.pki.authority());
            }
            Credential::RawPublicKey => {
                file("raw_key", &self.fleet.server_raw.key_sec1);
                file("raw_public", &self.fleet.server_raw.public);
                file("raw_peer", &self.devices.raw.public);
            }
            Credential::Psk | Credential::EcdhePsk => {
                let (identity, key) = (&self.devices.psk.identity, self.key_hex());
                command.arg(format!("psk={identity}:{key}"));
            }
        }
        command
    }
}
