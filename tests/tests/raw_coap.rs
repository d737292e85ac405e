//! Does a session serve whoever speaks DTLS? `openssl s_client` with each PSK suite, CoAP by hand.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use tidegate_tests::api::{payload, text};
use tidegate_tests::edge::{Edge, Provisioned};

/// `openssl s_client` with its stdin and stdout as the DTLS session; killed when dropped.
struct SClient(Child);

impl SClient {
    fn start(port: u16, device: &Provisioned, suite: &str) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-dtls1_2", "-quiet", "-cipher", suite]);
        command.args(["-psk_identity", &device.identity, "-psk", &hex::encode(&device.secret)]);
        command.args(["-connect", &format!("127.0.0.1:{port}")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("openssl can be run"))
    }

    /// Sends bytes as one record and returns the bytes of one record.
    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let stdin = self.0.stdin.as_mut().expect("piped");
        stdin.write_all(request).and_then(|()| stdin.flush()).expect("s_client reads");
        let mut reply = vec![0; 1_500];
        let n = self.0.stdout.as_mut().expect("piped").read(&mut reply).expect("s_client writes");
        reply.truncate(n);
        reply
    }
}

impl Drop for SClient {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_psk_suite_carries_an_uplink_and_its_reply() {
    let edge = Edge::embedded();
    let mut uplinks = edge.api().events("/uplinks?from=0");
    let device = edge.provision("by-hand");
    for suite in [
        "PSK-AES128-CCM8",
        "PSK-AES256-CCM8",
        "PSK-AES128-CCM",
        "PSK-AES256-CCM",
        "PSK-AES128-GCM-SHA256",
        "PSK-AES256-GCM-SHA384",
    ] {
        let mut client = SClient::start(edge.coap_port, &device, suite);
        // RFC 7252 section 3: CON PUT, Message ID 0x1234, token aa, Uri-Path "t", payload.
        let put = [b"\x41\x03\x12\x34\xaa\xb1t\xff", suite.as_bytes()].concat();
        assert_eq!(client.exchange(&put), b"\x61\x44\x12\x34\xaa", "2.04 piggybacked, {suite}");
        assert_eq!(payload(&uplinks.next_event().data), suite);
        // The same Message ID again: the same reply, and no second event (section 4.5).
        assert_eq!(client.exchange(&put), b"\x61\x44\x12\x34\xaa", "{suite}");
        // A ping (section 4.3): an empty CON is answered by RST.
        assert_eq!(client.exchange(b"\x40\x00\x12\x35"), b"\x70\x00\x12\x35", "{suite}");
        // An unknown critical option, number 9 + 2 = 65001: 4.02 (section 5.4.1).
        let strange = b"\x41\x03\x12\x36\xab\xe0\xfc\xdc";
        let reply = client.exchange(strange);
        assert_eq!(reply[..5], *b"\x61\x82\x12\x36\xab", "4.02, {suite}: {reply:02x?}");
    }
}

/// Neither gets in, neither gets a word that tells one from the other (RFC 4279 section 2), and
/// the good device beside them is served.
#[test]
fn a_wrong_key_and_an_unknown_identity_look_the_same() {
    let edge = Edge::embedded();
    let device = edge.provision("known");
    let strangers = [
        Provisioned { secret: "x".repeat(32), ..device.clone() },
        Provisioned { identity: device.identity.replace("known", "other"), ..device.clone() },
    ];
    let strangers = strangers.map(|stranger| {
        let mut client = SClient::start(edge.coap_port, &stranger, "PSK-AES128-CCM8");
        client.0.stdin.as_mut().expect("piped").write_all(PUT).expect("s_client reads");
        client
    });
    let mut client = SClient::start(edge.coap_port, &device, "PSK-AES128-CCM8");
    assert_eq!(client.exchange(PUT), b"\x60\x44\x00\x07");

    let told = strangers.map(|mut client| {
        let _ = client.0.kill();
        let (mut reply, mut words) = (Vec::new(), String::new());
        client.0.stdout.take().expect("piped").read_to_end(&mut reply).expect("read");
        client.0.stderr.take().expect("piped").read_to_string(&mut words).expect("read");
        assert!(reply.is_empty(), "a stranger is not served");
        words.lines().filter(|line| line.contains("alert")).map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(told[0], told[1], "the same alerts, or the same silence");
    assert_eq!(edge.health().expect("an answer")["Sessions"], 1);
    let first = edge.api().events("/uplinks?from=0").next_event().data;
    assert_eq!(text(&first, "WirelessDeviceId"), device.id);
}

/// CON PUT without a token, Message ID 7, Uri-Path "t".
const PUT: &[u8] = b"\x40\x03\x00\x07\xb1t";
