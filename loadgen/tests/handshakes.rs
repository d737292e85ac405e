//! Does the storm shake hands, and does it say so when it doesn't? Against a server of ours behind
//! a real socket.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Parser;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tidegate_crypto::certificate::Authorities;
use tidegate_crypto::signature::SigningKey;
use tidegate_dtls::Suite;
use tidegate_dtls::cookie::{CookieJar, Greeting, PERIOD_MS, greet};
use tidegate_dtls::resumption::Resumable;
use tidegate_dtls::server::{self, Answer, Claim, Config, Event, Handshake, Identity, Randoms};
use tidegate_loadgen::handshakes;

const UNIX_S: u64 = 1_800_000_000;
const PSK: &str = "0123456789abcdef";

/// A server that knows devices `dev-…` by [`PSK`] and everybody who proves to own a key.
struct Edge {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Edge {
    fn new(config: Config) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let (address, over) = (socket.local_addr().expect("bound"), Arc::default());
        let mut serving = Serving {
            config: Arc::new(config),
            jar: CookieJar::new(0, &[42; 32], PERIOD_MS),
            handshakes: HashMap::new(),
            sessions: HashMap::new(),
            made: 0,
            socket,
        };
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || serving.serve(&until));
        Self { address, over, thread: Some(thread) }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("once").join().expect("the server did not panic");
    }
}

struct Serving {
    config: Arc<Config>,
    jar: CookieJar,
    handshakes: HashMap<SocketAddr, (Handshake, [u8; 32])>,
    sessions: HashMap<[u8; 32], Resumable>,
    made: u64,
    socket: UdpSocket,
}

impl Serving {
    fn serve(&mut self, over: &AtomicBool) {
        let mut datagram = [0; 2048];
        while !over.load(Ordering::Relaxed) {
            if let Ok((len, peer)) = self.socket.recv_from(&mut datagram) {
                self.on_datagram(peer, &mut datagram[..len]);
            }
        }
    }

    fn on_datagram(&mut self, peer: SocketAddr, datagram: &mut [u8]) {
        let mut out = [0; 2048];
        let known = self.handshakes.get(&peer);
        if known.is_none_or(|(handshake, _)| handshake.is_stranger(datagram)) {
            let address = peer.to_string();
            match greet(&self.jar, 0, address.as_bytes(), datagram, &mut out) {
                Greeting::Verify(len) => {
                    self.socket.send_to(&out[..len], peer).expect("sent");
                    return;
                }
                Greeting::Proven => self.open(peer, datagram),
                Greeting::Drop(_) => return,
            }
        }
        let (handshake, id) = self.handshakes.get_mut(&peer).expect("opened");
        handshake.on_datagram(0, datagram);
        while let Some(event) = handshake.poll_event() {
            match event {
                Event::CredentialWanted => {
                    let answer = match handshake.claim().expect("a claim") {
                        Claim::Psk(identity) if identity.starts_with(b"dev-") => {
                            Answer::Psk(PSK.as_bytes())
                        }
                        Claim::Psk(_) => Answer::Unknown,
                        Claim::RawPublicKey(_) | Claim::Certificate(_) => Answer::Known,
                    };
                    handshake.on_credential(0, answer);
                }
                Event::Established(_) => {
                    self.sessions.extend(handshake.resumable().map(|kept| (*id, kept)));
                }
                Event::Failed(_) => {}
            }
        }
        while let Some(len) = handshake.poll_transmit(&mut out) {
            self.socket.send_to(&out[..len], peer).expect("sent");
        }
    }

    fn open(&mut self, peer: SocketAddr, datagram: &[u8]) {
        self.made += 1;
        let mut id = [0x1d; 32];
        id[..8].copy_from_slice(&self.made.to_le_bytes());
        let mut seed = [0x5e; 48];
        seed[..8].copy_from_slice(&self.made.to_le_bytes());
        let randoms =
            Randoms { random: id, fake_key: [3; 32], ephemeral_seed: seed, session_id: Some(id) };
        let kept = server::session_id(datagram).and_then(|id| self.sessions.get(id));
        let cid = vec![7; self.config.own_cid_len];
        let handshake = Handshake::new(&self.config, 0, UNIX_S, &cid, &randoms, kept);
        self.handshakes.insert(peer, (handshake, id));
    }
}

/// Files of one test, gone with it.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: handshakes::Arguments,
}

/// Whether all succeeded, and the report.
fn storm(edge: &Edge, options: &[&str]) -> (bool, serde_json::Value) {
    storm_of(edge, "4", options)
}

fn storm_of(edge: &Edge, in_flight: &str, options: &[&str]) -> (bool, serde_json::Value) {
    let address = edge.address.to_string();
    let line = ["storm", &address, "--json", "--in-flight", in_flight, "-n", "40"];
    let line = Line::parse_from(line.iter().chain(options));
    let mut out = Vec::new();
    let all = handshakes::run(&line.arguments, &mut out).expect("a storm");
    (all, serde_json::from_slice(&out).expect("one JSON object"))
}

const DEVICES: [&str; 4] = ["--psk-identity", "dev-{n}", "--psk", PSK];

fn options<'a>(credentials: &[&'a str], others: &[&'a str]) -> Vec<&'a str> {
    [credentials, others].concat()
}

fn with_psk() -> Config {
    Config {
        suites: vec![Suite::EcdhePskAes128Ccm8, Suite::PskAes128Ccm8],
        own_cid_len: 6,
        ..Config::default()
    }
}

#[test]
fn every_device_of_the_storm_is_let_in() {
    let edge = Edge::new(with_psk());
    for others in [
        &["--suite", "TLS_PSK_WITH_AES_128_CCM_8"][..],
        &["--suite", "TLS_PSK_WITH_AES_128_CCM_8", "--no-cid"],
        &["--group", "x25519", "--cid", "0102"],
        &["--group", "secp256r1", "--leave-open"],
    ] {
        let (all, report) = storm(&edge, &options(&DEVICES, others));
        assert!(all, "{report}");
        assert_eq!((&report["completed"], &report["failed"]), (&40.into(), &0.into()));
        assert_eq!(report["resumed"], 0);
        assert!(report["handshakes_per_s"].as_f64() > Some(0.0));
        assert!(report["server_cpu_us_per_handshake"].is_null(), "nobody said which process");
    }
}

#[test]
fn devices_come_back_with_their_sessions() {
    let edge = Edge::new(with_psk());
    let (all, report) = storm(&edge, &options(&DEVICES, &["--resume-percent", "50"]));
    assert!(all, "{report}");
    // Every other one of 40 would; the first four have no session yet.
    assert_eq!(report["resumed"], 18);
    let (all, report) =
        storm(&edge, &options(&DEVICES, &["--resume-percent", "100", "--devices", "10"]));
    assert!(all && report["resumed"] == 30, "the first time of ten devices: {report}");
}

#[test]
fn a_storm_of_strangers_fails_and_says_why() {
    let edge = Edge::new(with_psk());
    let strangers = ["--psk-identity", "stranger", "--psk", PSK, "--timeout", "1"];
    let (all, report) = storm_of(&edge, "40", &strangers);
    assert!(!all);
    assert_eq!((&report["completed"], &report["failed"]), (&0.into(), &40.into()));
    let reasons = report["failures"].as_object().expect("reasons");
    assert_eq!(reasons.values().filter_map(serde_json::Value::as_u64).sum::<u64>(), 40);
    let (all, report) = storm(&edge, &options(&DEVICES, &["--suite", "PSK_WITH_AES_256_CCM"]));
    assert!(!all && report["completed"] == 0, "no suite in common: {report}");
}

#[test]
fn certificates_and_raw_public_keys_storm_too() {
    let files = Files::new("storm");
    let key = || KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
    let issue = |name: &str, usage| {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![usage];
        let key = key();
        (params.signed_by(&key, &authority).expect("a certificate"), key)
    };
    let (server_certificate, server_key) =
        issue("edge.example", ExtendedKeyUsagePurpose::ServerAuth);
    let (device_certificate, device_key) =
        issue("device.example", ExtendedKeyUsagePurpose::ClientAuth);
    let identity = Identity {
        key: SigningKey::from_pkcs8(server_key.serialized_der()).expect("a key"),
        chain: vec![server_certificate.der().to_vec()],
        names: vec!["edge.example".to_owned()],
    };
    let edge = Edge::new(Config {
        suites: vec![Suite::EcdheEcdsaAes128Ccm8],
        identities: vec![Arc::new(identity)],
        authorities: Some(Arc::new(
            Authorities::from_ders([authority.der().as_ref()]).expect("an authority"),
        )),
        ..Config::default()
    });
    let ca = files.write("ca.pem", &authority.pem());
    let certificate = files.write("device.pem", &device_certificate.pem());
    let device = files.write("device.key", &device_key.serialize_pem());
    let server = files.write("server.spki", &server_key.public_key_pem());

    let x509 = ["--certificate", &certificate, "--key", &device, "--authority", &ca];
    let (all, report) = storm(&edge, &options(&x509, &["--server-name", "edge.example"]));
    assert!(all, "{report}");
    let (all, report) = storm(&edge, &options(&x509, &["--server-name", "other.example"]));
    assert!(!all && report["failed"] == 40, "another server's name: {report}");
    let raw = ["--raw-key", &device, "--server-raw-key", &server];
    let (all, report) = storm(&edge, &raw);
    assert!(all, "{report}");
}
