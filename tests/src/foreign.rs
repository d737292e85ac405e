//! Which foreign programs act as devices, and how is each told what to try?

use std::path::Path;
use std::process::Command;

use crate::carrier::Carrier;
use crate::device::{Device, Library};
use crate::edge::Provisioned;
use crate::matrix::{Attempt, Outcome, Refusal, Way};
use crate::pki::{KeyPair, Pki};
use crate::place::Directory;
use crate::process::Process;
use crate::raw_client::RawClient;
use crate::suite::Credential;

/// The edge as the devices see it, and who they are.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// Its UDP port on loopback.
    pub port: u16,
    /// The device with a pre-shared key: 16 bytes of text, a name of 32 (tinydtls takes no more).
    pub psk: Provisioned,
    /// The device with a certificate.
    pub certified: KeyPair,
    /// Its `WirelessDeviceId`, when the edge knows it.
    pub certified_id: String,
    /// The device with a raw public key.
    pub raw: KeyPair,
    /// Its `WirelessDeviceId`, when the edge knows it.
    pub raw_id: String,
    /// The name in the edge's certificate.
    pub server_name: &'a str,
    /// The edge's SubjectPublicKeyInfo, DER.
    pub server_public: &'a Path,
    /// Who signed both certificates.
    pub pki: &'a Pki,
}

impl Target<'_> {
    /// Which device a credential stands for, and the `SecurityMode` of its uplinks.
    pub fn device(&self, credential: Credential) -> (&str, &'static str) {
        match credential {
            Credential::Psk | Credential::EcdhePsk => (&self.psk.id, "PreSharedKey"),
            Credential::RawPublicKey => (&self.raw_id, "RawPublicKey"),
            Credential::Certificate => (&self.certified_id, "Certificate"),
        }
    }
}

/// A foreign program that can be told which suite to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `openssl s_client`
    OpenSsl,
    /// `gnutls-cli`
    GnuTls,
    /// Our CoAP device on somebody's DTLS library.
    Device(Library),
    /// Bytes carried by somebody's DTLS library.
    Carrier(Carrier),
}

impl Client {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::OpenSsl,
        Self::GnuTls,
        Self::Device(Library::MbedTls),
        Self::Device(Library::WolfSsl),
        Self::Device(Library::TinyDtls),
        Self::Carrier(Carrier::PythonMbedTls),
        Self::Carrier(Carrier::NodeDtlsClient),
        Self::Carrier(Carrier::WebrtcDtls),
        Self::Carrier(Carrier::Dimpl),
    ];

    /// Its row.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "OpenSSL s_client",
            Self::GnuTls => "gnutls-cli",
            Self::Device(Library::MbedTls) => "Mbed TLS",
            Self::Device(Library::WolfSsl) => "wolfSSL",
            Self::Device(Library::TinyDtls) => "tinydtls",
            Self::Carrier(carrier) => carrier.name(),
        }
    }

    /// Connects as told and puts `payload` to `/t`.
    pub fn attempt(self, target: &Target, what: &Attempt, payload: &str) -> Outcome {
        match self {
            Self::OpenSsl => openssl(target, what, payload),
            Self::GnuTls => gnutls(target, what, payload),
            Self::Device(library) => device(library, target, what, payload),
            Self::Carrier(carrier) => carrier.attempt(target, what, payload),
        }
    }
}

/// The foreign program can't.
pub fn lacks(reason: &str) -> Outcome {
    Err(Refusal::Lacks(reason.to_owned()))
}

/// Reads what a program said: one of the reasons why it can't, or a failure.
pub fn refusal(program: &str, said: &str, reasons: &[&str]) -> Refusal {
    match reasons.iter().find(|reason| said.contains(**reason)) {
        Some(reason) => Refusal::Lacks(format!("{program}: \"{reason}\"")),
        None => Refusal::Failed(said.to_owned()),
    }
}

/// A reason that the matrix's own tests check with [`crate::client_hello`].
pub const NO_CID_IN_HELLO: &str = "its ClientHello never has extension 54 (connection_id)";

fn openssl(target: &Target, what: &Attempt, payload: &str) -> Outcome {
    if what.credential == Credential::RawPublicKey {
        let mut probe = Command::new("openssl");
        let help = Process::run("openssl", probe.args(["s_client", "-help"])).expect("a help");
        return if help.contains("rpk") {
            Err(Refusal::Failed("s_client has raw public keys now: use them".to_owned()))
        } else {
            lacks("OpenSSL: s_client -help names no raw public keys (OpenSSL 3.2 has them)")
        };
    }
    let suite =
        Process::run("openssl", Command::new("openssl").args(["ciphers", what.suite.openssl]));
    suite.map_err(|said| refusal("OpenSSL", &said, &["no cipher match"]))?;
    if what.way.cid {
        return lacks(&format!("OpenSSL: {NO_CID_IN_HELLO}"));
    }
    let place = Directory::new("session");
    let session = place.path().join("session.pem");
    let mut client = RawClient::start(openssl_command(target, what).arg("-sess_out").arg(&session));
    client.puts(payload).map_err(Refusal::Failed)?;
    if !what.way.resumed {
        return Ok(());
    }
    drop(client);
    let mut client = RawClient::start(openssl_command(target, what).arg("-sess_in").arg(&session));
    client.puts(payload).map_err(Refusal::Failed)?;
    let said = client.said();
    if said.contains("Reused, ") { Ok(()) } else { Err(Refusal::Failed(said)) }
}

/// `openssl s_client` towards the edge.
pub fn openssl_command(target: &Target, what: &Attempt) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-dtls1_2", "-nocommands"]);
    // From OpenSSL 3.2 on CCM_8 counts as weak.
    command.args(["-cipher", &format!("{}:@SECLEVEL=0", what.suite.openssl)]);
    command.args(["-connect", &format!("127.0.0.1:{}", target.port)]);
    if what.credential == Credential::Certificate {
        command.arg("-cert").arg(&target.certified.certificate);
        command.arg("-key").arg(&target.certified.key);
        command.arg("-CAfile").arg(target.pki.authority());
        command.args(["-servername", target.server_name, "-verify_hostname", target.server_name]);
        command.arg("-verify_return_error");
    } else {
        command.args(["-psk_identity", &target.psk.identity]);
        command.args(["-psk", &hex::encode(target.psk.key())]);
    }
    command
}

fn gnutls(target: &Target, what: &Attempt, payload: &str) -> Outcome {
    gnutls_has(what)?;
    if what.way.cid {
        return lacks(&format!("GnuTLS: {NO_CID_IN_HELLO}"));
    }
    let mut command = gnutls_command(target, what);
    if what.way.resumed {
        command.arg("--resume");
    }
    let mut client = RawClient::start(&mut command);
    client.puts(payload).map_err(Refusal::Failed)?;
    let said = client.said();
    let is_resumed = said.contains("This is a resumed session");
    if is_resumed == what.way.resumed { Ok(()) } else { Err(Refusal::Failed(said)) }
}

/// Asks GnuTLS itself which suites come of a priority string.
pub fn gnutls_has(what: &Attempt) -> Outcome {
    let mut command = Command::new("gnutls-cli");
    command.args(["--list", "--priority", &gnutls_priority(what)]);
    let list = Process::run("gnutls-cli", &mut command).map_err(Refusal::Failed)?;
    let [high, low] = what.suite.code.to_be_bytes();
    if list.contains(&format!("{high:#04x}, {low:#04x}")) {
        Ok(())
    } else {
        lacks("GnuTLS: gnutls-cli --list knows no such suite")
    }
}

/// The one suite, and the certificate types of the credential.
pub fn gnutls_priority(what: &Attempt) -> String {
    let types = if what.credential == Credential::RawPublicKey {
        "+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK"
    } else {
        "+CTYPE-X509"
    };
    let suite = what.suite.gnutls;
    format!("NONE:+VERS-DTLS1.2:{suite}:+AEAD:+COMP-NULL:+GROUP-ALL:+SIGN-ALL:{types}")
}

/// `gnutls-cli` towards the edge.
pub fn gnutls_command(target: &Target, what: &Attempt) -> Command {
    let mut command = Command::new("gnutls-cli");
    let priority = gnutls_priority(what);
    command.args(["--udp", "--priority", &priority, "-p", &target.port.to_string(), "127.0.0.1"]);
    match what.credential {
        Credential::Certificate => {
            command.arg("--x509certfile").arg(&target.certified.certificate);
            command.arg("--x509keyfile").arg(&target.certified.key);
            command.arg("--x509cafile").arg(target.pki.authority());
            command.args(["--sni-hostname", target.server_name]);
            command.args(["--verify-hostname", target.server_name]);
        }
        Credential::RawPublicKey => {
            command.arg("--rawpkkeyfile").arg(&target.raw.key);
            command.arg("--rawpkfile").arg(&target.raw.public_pem).arg("--insecure");
        }
        Credential::Psk | Credential::EcdhePsk => {
            command.args(["--pskusername", &target.psk.identity, "--insecure"]);
            command.args(["--pskkey", &hex::encode(target.psk.key())]);
        }
    }
    command
}

fn device(library: Library, target: &Target, what: &Attempt, payload: &str) -> Outcome {
    let program = Client::Device(library).name();
    let can_not = |said: String| {
        let reasons = [
            "unknown suite",
            "no raw public keys in Mbed TLS",
            "no certificates in tinydtls",
            "no Connection ID in tinydtls",
            "no resumption in tinydtls",
        ];
        refusal(program, &said, &reasons)
    };
    let options = device_options(target, what);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut device = Device::start(library, "127.0.0.1", target.port, &options).map_err(can_not)?;
    if what.way.resumed {
        device.resumes().map_err(can_not)?;
        if !device.is_resumed {
            return Err(Refusal::Failed("a full handshake instead".to_owned()));
        }
    }
    if what.way.cid == (device.edge_cid == "none") {
        return Err(Refusal::Failed(format!("the edge's CID: {}", device.edge_cid)));
    }
    let response = device.tries(&format!("con put t {payload}")).map_err(Refusal::Failed)?;
    device.closes();
    if response.code == "2.04" { Ok(()) } else { Err(Refusal::Failed(format!("{response:?}"))) }
}

/// Options of a device driver, see `tests/foreign/coap_device.c`.
pub fn device_options(target: &Target, what: &Attempt) -> Vec<String> {
    let Way { cid, .. } = what.way;
    let mut options = vec![format!("suite={}", what.suite.iana())];
    let mut file = |name: &str, path: &Path| options.push(format!("{name}={}", path.display()));
    match what.credential {
        Credential::Certificate => {
            file("cert", &target.certified.certificate);
            file("key", &target.certified.key);
            file("ca", &target.pki.authority());
            options.push(format!("sni={}", target.server_name));
        }
        Credential::RawPublicKey => {
            file("raw_key", &target.raw.key_sec1);
            file("raw_public", &target.raw.public);
            file("raw_peer", target.server_public);
        }
        Credential::Psk | Credential::EcdhePsk => {
            let key = hex::encode(target.psk.key());
            options.push(format!("psk={}:{key}", target.psk.identity));
        }
    }
    if cid {
        options.push("cid=4".to_owned());
    }
    options.push("patience=20000".to_owned());
    options
}
