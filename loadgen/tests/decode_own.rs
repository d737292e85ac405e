//! Is every kind of association decoded that our own two ends can make? Connection IDs, every
//! suite, no extended master secret, moved clients, lost and repeated packets.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_crypto::secret::Secret;
use tidegate_dtls::client::{self, Credential};
use tidegate_dtls::cookie::{CookieJar, Greeting, greet};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::server::{self, Answer, Event, Handshake, Randoms};
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Established, Suite};
use tidegate_loadgen::decode::association::{Finished, Obstacle, Records};
use tidegate_loadgen::decode::{Counts, Decoded, Direction, What};
use tidegate_loadgen::device::Device;

const PSK: &[u8] = b"a pre-shared key";
/// CON PUT /t "21", CON GET /t, ACK 2.04.
const PUT: &[u8] = b"\x41\x03\x12\x34\xaa\xb1t\xff21";
const CHANGED: &[u8] = b"\x61\x44\x12\x34\xaa";

#[test]
fn every_suite_is_decoded() {
    for suite in Suite::of(KeyExchange::Psk) {
        let mut story = Story::new(Setup { suite, ..Setup::default() });
        story.shake_hands();
        story.exchange();
        let decoded = story.decode();
        let association = &decoded.associations[0];
        assert_eq!(association.suite(), Some(suite));
        assert_eq!(association.identity, b"device-1");
        assert_eq!(said(&decoded), [(Direction::ToServer, PUT), (Direction::ToClient, CHANGED)]);
        assert!(decoded.is_complete(), "{suite:?}: {association:?}");
    }
}

/// RFC 9146 section 3: each direction has its own, or none.
#[test]
fn connection_ids_of_any_kind_are_followed() {
    for (client_cid, server_cid) in [
        (Some(&b"client"[..]), &b"server-cid"[..]),
        (Some(b""), b"srv"),
        (Some(b"c"), b""),
        (Some(&[7; 32]), &[9; 32]),
        (None, b"srv"),
    ] {
        let mut story = Story::new(Setup { client_cid, server_cid, ..Setup::default() });
        story.shake_hands();
        story.exchange();
        story.exchange();
        let decoded = story.decode();
        let association = &decoded.associations[0];
        let has_cids = client_cid.is_some();
        assert_eq!(association.cid(Direction::ToClient), client_cid.unwrap_or_default());
        assert_eq!(association.cid(Direction::ToServer), if has_cids { server_cid } else { b"" });
        assert_eq!(association.records.application, 4);
        assert!(decoded.is_complete(), "{client_cid:?} {server_cid:?}");
    }
}

#[test]
fn a_handshake_without_extended_master_secret_is_decoded() {
    for extended_master_secret in [false, true] {
        let mut story = Story::new(Setup { extended_master_secret, ..Setup::default() });
        story.shake_hands();
        let decoded = story.decode();
        let association = &decoded.associations[0];
        assert_eq!(association.has_extended_master_secret(), extended_master_secret);
        assert!(decoded.is_complete());
    }
}

/// A CID finds its association behind another address, and both ends go on there.
#[test]
fn a_client_that_moved_is_the_same_association() {
    let mut story =
        Story::new(Setup { client_cid: Some(b""), server_cid: b"srv", ..Setup::default() });
    story.shake_hands();
    story.client_addr = "198.51.100.9:9999".parse().unwrap();
    story.exchange();
    let decoded = story.decode();
    assert_eq!(decoded.associations.len(), 1);
    assert_eq!(decoded.associations[0].records.application, 2);
    assert_eq!(decoded.counts.unattributed, 0);
}

/// The control: without a CID nothing leads from the new address to the association.
#[test]
fn without_a_connection_id_a_moved_client_is_unknown() {
    let mut story = Story::new(Setup::default());
    story.shake_hands();
    story.client_addr = "198.51.100.9:9999".parse().unwrap();
    story.exchange();
    let decoded = story.decode();
    assert_eq!(decoded.associations[0].records.application, 0);
    assert_eq!(decoded.counts.unattributed, 2);
}

#[test]
fn packets_captured_twice_are_said_once() {
    let mut story = Story::new(Setup::default());
    story.shake_hands();
    story.exchange();
    let once = story.decode();
    story.packets =
        story.packets.iter().flat_map(|packet| [packet.clone(), packet.clone()]).collect();
    let twice = story.decode();
    let coap = |decoded: &Decoded| decoded.messages().count();
    assert_eq!(coap(&once), coap(&twice));
    assert_eq!(twice.associations.len(), 1);
    let records = Records { application: 2, other: 2, repeated: 4, refused: 0 };
    assert_eq!(twice.associations[0].records, records);
    assert!(twice.is_complete());
}

/// A device that reboots keeps its port: the new handshake is an association of its own, and late
/// records of the old one still open.
#[test]
fn a_second_handshake_between_the_same_addresses_is_another_association() {
    let mut story = Story::new(Setup::default());
    story.shake_hands();
    story.exchange();
    let late = story.seal_from_client(PUT);
    story.reboot();
    story.shake_hands();
    story.exchange();
    story.capture(Direction::ToServer, &late);
    let decoded = story.decode();
    let opened: Vec<_> = decoded.associations.iter().map(|a| a.records.application).collect();
    assert_eq!(opened, [3, 2]);
    assert!(decoded.is_complete());
}

/// Without its handshake an association can't be opened, and is counted.
#[test]
fn a_capture_that_starts_too_late_says_so() {
    let mut story = Story::new(Setup::default());
    story.shake_hands();
    story.packets.clear();
    story.exchange();
    let decoded = story.decode();
    let counts = Counts { packets: 2, datagrams: 2, unattributed: 2, ..Counts::default() };
    assert_eq!(decoded.counts, counts);
    assert!(!decoded.is_complete());
}

/// Without the extended master secret the keys do not depend on the transcript: the Finished open,
/// and do not fit a ClientHello that was altered under way.
#[test]
fn a_finished_over_another_transcript_is_wrong() {
    let setup = Setup { extended_master_secret: false, ..Setup::default() };
    let mut story = Story::new(setup);
    story.shake_hands();
    // The last cipher suite that the second ClientHello offers, SCSV, before the compression.
    let hello = &mut story.packets[2].2;
    let place = hello.windows(4).position(|bytes| bytes == [0x00, 0xff, 0x01, 0x00]).unwrap();
    hello[place + 1] ^= 1;
    let decoded = story.decode();
    let association = &decoded.associations[0];
    assert_eq!(association.client_finished, Finished::Wrong);
    assert_eq!(association.server_finished, Finished::Wrong);
    assert!(!decoded.is_complete());
}

#[test]
fn the_key_that_fits_is_found_among_several() {
    let mut story = Story::new(Setup::default());
    story.shake_hands();
    story.exchange();
    let keys = [b"other".as_slice(), PSK, b"another"].map(Secret::new);
    assert!(Decoded::from_capture(&story.pcap(), &keys).unwrap().is_complete());
    let keys = [b"other".as_slice(), b"another"].map(Secret::new);
    let decoded = Decoded::from_capture(&story.pcap(), &keys).unwrap();
    assert_eq!(decoded.associations[0].records, Records { refused: 4, ..Records::default() });
}

#[test]
fn alerts_and_data_that_is_no_coap_are_shown() {
    let mut story = Story::new(Setup { client_cid: Some(b"c"), ..Setup::default() });
    story.shake_hands();
    let sealed = story.seal_from_client(b"not CoAP");
    story.capture(Direction::ToServer, &sealed);
    let mut out = [0; 200];
    let len = story.device.close(&mut out).unwrap();
    story.capture(Direction::ToServer, &out[..len]);
    let decoded = story.decode();
    let [.., data, alert] = &decoded.events[..] else { panic!("events") };
    assert_eq!(data.what, What::NotCoap(b"not CoAP".to_vec()));
    let What::Alert { alert: Some(alert), is_protected: true } = alert.what else {
        panic!("an alert: {alert:?}");
    };
    assert_eq!(alert.description.name(), "close_notify");
}

#[test]
fn a_suite_without_psk_is_named_as_the_obstacle() {
    let mut story = Story::new(Setup::default());
    story.shake_hands();
    let code = Suite::PskAes128Ccm8.code().to_be_bytes();
    // Epoch 0, so that the ServerHello can be rewritten: the suite stands before compression 0.
    let hello = &mut story.packets[3].2;
    let place = hello.windows(3).position(|bytes| bytes == [code[0], code[1], 0]).unwrap();
    hello[place + 1] = 0xae;
    let decoded = story.decode();
    assert_eq!(decoded.associations[0].obstacle, Some(Obstacle::Suite(0xc0ae)));
    assert!(!decoded.is_complete());
}

/// What a capture holds is a stranger's: bits may flip anywhere.
#[test]
fn flipped_bits_never_panic() {
    let mut story =
        Story::new(Setup { client_cid: Some(b"c"), server_cid: b"srv", ..Setup::default() });
    story.shake_hands();
    story.exchange();
    let file = story.pcap();
    let psks = [Secret::new(PSK)];
    let whole = Decoded::from_capture(&file, &psks).unwrap();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(decoded) = Decoded::from_capture(&flipped, &psks) {
            assert!(decoded.messages().count() <= whole.messages().count());
        }
    }
    for len in 0..file.len() {
        if let Ok(decoded) = Decoded::from_capture(&file[..len], &psks) {
            assert!(decoded.counts.packets < whole.counts.packets);
        }
    }
}

fn said(decoded: &Decoded) -> Vec<(Direction, &[u8])> {
    decoded
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Coap(bytes) => Some((event.direction, bytes.as_slice())),
            _ => None,
        })
        .collect()
}

#[derive(Clone, Copy)]
struct Setup {
    suite: Suite,
    client_cid: Option<&'static [u8]>,
    server_cid: &'static [u8],
    extended_master_secret: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            suite: Suite::PskAes128Ccm8,
            client_cid: None,
            server_cid: b"",
            extended_master_secret: true,
        }
    }
}

/// A device, a server and the wire between them.
struct Story {
    setup: Setup,
    device: Device,
    server: Option<Established>,
    client_addr: SocketAddr,
    server_addr: SocketAddr,
    /// Handshakes so far, so that each has its own randoms.
    boots: u8,
    packets: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
}

impl Story {
    fn new(setup: Setup) -> Self {
        Self {
            device: device(&setup, 1),
            setup,
            server: None,
            client_addr: "192.0.2.1:40000".parse().unwrap(),
            server_addr: "203.0.113.5:5684".parse().unwrap(),
            boots: 1,
            packets: Vec::new(),
        }
    }

    fn reboot(&mut self) {
        self.boots += 1;
        self.device = device(&self.setup, self.boots);
    }

    fn capture(&mut self, direction: Direction, datagram: &[u8]) {
        let (source, destination) = match direction {
            Direction::ToServer => (self.client_addr, self.server_addr),
            Direction::ToClient => (self.server_addr, self.client_addr),
        };
        self.packets.push((source, destination, datagram.to_vec()));
    }

    fn shake_hands(&mut self) {
        let jar = CookieJar::new(0, &[5; 32], 60_000);
        let config = Arc::new(server::Config {
            own_cid_len: self.setup.server_cid.len(),
            ..server::Config::default()
        });
        let random = [0x80 | self.boots; 32];
        let randoms =
            Randoms { random, fake_key: [3; 32], ephemeral_seed: [4; 48], session_id: None };
        let own_cid = self.setup.server_cid;
        let mut handshake = Handshake::new(&config, 0, 0, own_cid, &randoms, None);
        let (mut is_proven, mut out) = (false, [0; 1500]);
        while !self.device.is_up() {
            let len = self.device.poll_transmit(&mut out).expect("the device goes on");
            let mut datagram = out[..len].to_vec();
            self.capture(Direction::ToServer, &datagram);
            if !is_proven {
                match greet(&jar, 0, b"peer", &datagram, &mut out) {
                    Greeting::Proven => is_proven = true,
                    Greeting::Verify(len) => {
                        self.deliver(&mut out[..len]);
                        continue;
                    }
                    Greeting::Drop(drop) => panic!("{drop:?}"),
                }
            }
            handshake.on_datagram(0, &mut datagram);
            while let Some(event) = handshake.poll_event() {
                match event {
                    Event::CredentialWanted => handshake.on_credential(0, Answer::Psk(PSK)),
                    Event::Established(established) => self.server = Some(established),
                    Event::Failed(failure) => panic!("{failure:?}"),
                }
            }
            while let Some(len) = handshake.poll_transmit(&mut out) {
                self.deliver(&mut out[..len]);
            }
        }
    }

    fn deliver(&mut self, datagram: &mut [u8]) {
        self.capture(Direction::ToClient, datagram);
        self.device.on_datagram(0, datagram);
    }

    /// A PUT and its answer.
    fn exchange(&mut self) {
        let mut request = self.seal_from_client(PUT);
        self.capture(Direction::ToServer, &request);
        let server = self.server.as_mut().unwrap();
        let record = Record::parse(&request, 0, server.own_cid_len()).unwrap();
        server.open(&record, &mut request).unwrap();
        let mut out = [0; 200];
        let len = server.seal(ContentType::APPLICATION_DATA, CHANGED, &mut out).unwrap();
        self.capture(Direction::ToClient, &out[..len]);
    }

    fn seal_from_client(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = [0; 200];
        let len = self.device.seal(message, &mut out).unwrap();
        out[..len].to_vec()
    }

    fn decode(&self) -> Decoded {
        Decoded::from_capture(&self.pcap(), &[Secret::new(PSK)]).unwrap()
    }

    /// Raw IPv4 in the older format, little-endian, microseconds.
    fn pcap(&self) -> Vec<u8> {
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
        file.extend([0; 8]);
        file.extend(65_535u32.to_le_bytes());
        file.extend(101u32.to_le_bytes());
        for (second, packet) in (1_700_000_000u32..).zip(&self.packets) {
            let ip = ipv4(packet);
            for number in [second, 0, ip.len() as u32, ip.len() as u32] {
                file.extend(number.to_le_bytes());
            }
            file.extend(ip);
        }
        file
    }
}

fn device(setup: &Setup, boots: u8) -> Device {
    let config = client::Config {
        suites: vec![setup.suite],
        extended_master_secret: setup.extended_master_secret,
        ..client::Config::default()
    };
    let credential = Credential::Psk { identity: b"device-1".to_vec(), psk: Secret::new(PSK) };
    let randoms = client::Randoms::expand(&[boots; 32]);
    Device::new(&Arc::new(config), 0, 0, setup.client_cid, &randoms, credential, None)
}

fn ipv4((source, destination, payload): &(SocketAddr, SocketAddr, Vec<u8>)) -> Vec<u8> {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (source, destination) else {
        panic!("IPv4 only");
    };
    let mut ip = vec![0x45, 0];
    ip.extend((28 + payload.len() as u16).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(source.ip().octets());
    ip.extend(destination.ip().octets());
    ip.extend(source.port().to_be_bytes());
    ip.extend(destination.port().to_be_bytes());
    ip.extend((8 + payload.len() as u16).to_be_bytes());
    ip.extend([0, 0]);
    ip.extend(payload);
    ip
}
