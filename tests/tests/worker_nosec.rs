//! RFC 7252 section 9, mode NoSec: a device is its address, and nothing of it touches DTLS.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Type};
use tidegate_coap::option::Number;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::{Fate, Tally};
use tidegate_dataplane::net::peer::Peer;
use tidegate_ring::contract::{self as wire, EndReason, FailReason, Kind, Step};
use tidegate_ring::trust::{Item, NoSec};
use tidegate_tests::story::{SessionNotice, Story, device_id, request, request_with, seen};
use zerocopy::IntoBytes;

const METER: &str = "10.0.0.7:5683";

fn plain_config() -> Config {
    let mut config = Config::default();
    config.nosec.listen = vec!["127.0.0.1:5683".parse().expect("a literal")];
    config
}

/// Device `number` at an address; port 0 stands for any.
fn at(number: usize, address: &str) -> Item<'static> {
    let peer = Peer::new(address.parse().expect("an address"), 0);
    let (ip, port, network) = (peer.ip_bytes(), peer.port(), wire::Network::WiFi as u8);
    let (device, stamp) = (device_id(number), 40 + number as u64);
    Item::NoSec(NoSec { ip, port, network, device, stamp, class: 0 })
}

fn with_meter(seed: u64) -> (Story, Peer) {
    let mut story = Story::with(seed, plain_config());
    story.trusts(&[at(1, METER)]);
    let meter = story.plain_peer(METER);
    (story, meter)
}

fn put(mid: u16, payload: &[u8]) -> Vec<u8> {
    request(Type::Con, Code::PUT, mid, "/t", payload)
}

fn downlink(story: &mut Story, message_id: u8) {
    let session = story.last_session().session;
    let message_id = [message_id; 16];
    let entry = wire::Downlink {
        message_id,
        device: device_id(1),
        session,
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    };
    story.tells(
        Kind::Downlink,
        entry.as_bytes(),
        &request(Type::Con, Code::POST, 0, "/led", b"on"),
    );
}

fn ended(story: &Story) -> Vec<u8> {
    let reason = |notice: &SessionNotice| match notice {
        SessionNotice::Down(down) => Some(down.reason),
        SessionNotice::Up(_) => None,
    };
    story.sessions.iter().filter_map(reason).collect()
}

/// A request in the clear, published and answered in the clear; the session says how it came to be.
#[test]
fn a_device_known_by_its_address_is_served() {
    let (mut story, meter) = with_meter(1);
    story.sends_plain(meter, &put(7, b"21"));
    let (to, reply) = story.hears_plain().expect("a reply");
    assert_eq!((to, seen(Some(reply))), (meter, Some((Type::Ack, Code::CHANGED, 7))));
    let (uplink, bytes) = story.uplinks.pop().expect("an uplink");
    assert_eq!((uplink.device, uplink.network), (device_id(1), wire::Network::WiFi as u8));
    assert_eq!(bytes, put(7, b"21"));

    let up = story.last_session();
    assert_eq!((up.device, up.session), (device_id(1), uplink.session));
    assert_eq!((up.claim, up.stamp.get()), (wire::Claim::Address as u8, 41));
    assert_eq!((up.suite.get(), up.has_cid, up.peer_port.get()), (0, 0, 5683));
    let name = [&meter.ip_bytes()[..], &5683u16.to_le_bytes()].concat();
    assert_eq!(story.names, [name], "the address as the sheet has it");
}

/// RFC 9177 section 11: a datagram from a forged address would cause a burst to it.
#[test]
fn q_block_is_not_spoken_without_security() {
    let (mut story, meter) = with_meter(2);
    for (mid, number) in [(1, Number::Q_BLOCK2), (2, Number::Q_BLOCK1)] {
        let ask = request_with(Type::Con, Code::GET, mid, "t", &[(number, &[0x08])]);
        story.sends_plain(meter, &ask);
        let (_, reply) = story.hears_plain().expect("a reply");
        assert_eq!(seen(Some(reply)), Some((Type::Ack, Code::BAD_OPTION, mid)));
    }
    let ask = request_with(Type::Non, Code::GET, 3, "t", &[(Number::Q_BLOCK2, &[0x08])]);
    story.sends_plain(meter, &ask);
    assert!(story.hears_plain().is_none() && story.uplinks.is_empty());
}

/// RFC 7252 section 4.5: a lost ACK is answered from memory; the event is not made twice.
#[test]
fn a_repeated_confirmable_gets_the_same_reply() {
    let (mut story, meter) = with_meter(2);
    story.sends_plain(meter, &put(7, b"21"));
    let first = story.hears_plain();
    story.waits_ms(2_400);
    story.sends_plain(meter, &put(7, b"21"));
    assert_eq!(story.hears_plain(), first);
    assert!(first.is_some() && story.uplinks.len() == 1 && story.sessions.len() == 1);
}

/// A request of the application, its ACK, and its repetition as long as none comes.
#[test]
fn a_downlink_leaves_unprotected_and_is_repeated_until_it_is_acknowledged() {
    let (mut story, meter) = with_meter(3);
    story.sends_plain(meter, &put(7, b"21"));
    story.hears_plain();
    downlink(&mut story, 9);
    let (to, first) = story.hears_plain().expect("the request");
    assert_eq!(to, meter);
    story.waits_ms(4_000);
    let (_, again) = story.hears_plain().expect("the request again");
    assert_eq!(first, again);
    let message = Message::parse(&again).expect("a message");
    assert_eq!((message.ty, message.code, message.payload), (Type::Con, Code::POST, &b"on"[..]));
    let ack = tidegate_coap::message::empty(Type::Ack, message.mid);
    story.sends_plain(meter, &ack);
    let steps: Vec<u8> = story.outcomes.iter().map(|(outcome, _)| outcome.step).collect();
    assert_eq!(steps, [Step::Sent as u8, Step::Delivered as u8]);
    story.waits_ms(120_000);
    assert_eq!(story.hears_plain(), None);
}

/// Strangers get nothing: no reply, no session, one counter.
#[test]
fn a_stranger_is_met_with_silence() {
    let (mut story, meter) = with_meter(4);
    let mut another_port = story.plain_peer("10.0.0.7:5684");
    for _ in 0..3 {
        story.sends_plain(another_port, &put(7, b"21"));
        another_port = story.plain_peer("10.0.0.8:5683");
    }
    let ping = tidegate_coap::message::empty(Type::Con, 1);
    story.sends_plain(another_port, &ping);
    assert_eq!(story.hears_plain(), None);
    assert_eq!(story.worker().counters().fate(Fate::NoSecStranger), 4);
    assert!(story.uplinks.is_empty() && story.worker().slab().live() == 0);
    // The control: the device itself is answered.
    story.sends_plain(meter, &ping);
    assert_eq!(seen(story.hears_plain().map(|heard| heard.1)).map(|s| s.0), Some(Type::Rst));
}

/// Before a sheet has come nobody is known.
#[test]
fn without_a_sheet_everyone_is_a_stranger() {
    let mut story = Story::with(5, plain_config());
    let meter = story.plain_peer(METER);
    story.sends_plain(meter, &put(7, b"21"));
    assert_eq!((story.hears_plain(), story.uplinks.len()), (None, 0));
}

/// A device with any port has one endpoint at a time; its newest.
#[test]
fn a_device_with_any_port_moves() {
    let mut story = Story::with(6, plain_config());
    story.trusts(&[at(1, "10.0.0.7:0")]);
    let (before, after) = (story.plain_peer("10.0.0.7:1000"), story.plain_peer("10.0.0.7:2000"));
    story.sends_plain(before, &put(7, b"21"));
    // The same Message ID from another endpoint is another message (RFC 7252 section 4.5).
    story.sends_plain(after, &put(7, b"22"));
    assert_eq!(story.hears_plain().map(|heard| heard.0), Some(before));
    assert_eq!(story.hears_plain().map(|heard| heard.0), Some(after));
    assert_eq!((story.uplinks.len(), ended(&story)), (2, vec![EndReason::Replaced as u8]));
    assert_eq!(story.worker().slab().live(), 1);
    let name = [&before.ip_bytes()[..], &[0, 0]].concat();
    assert_eq!(story.names, [name.clone(), name]);
}

/// A sheet without the device ends its session; one that still has it does not.
#[test]
fn a_new_sheet_ends_the_sessions_of_devices_it_does_not_name() {
    let (mut story, meter) = with_meter(7);
    story.sends_plain(meter, &put(7, b"21"));
    story.trusts(&[at(2, "10.0.0.9:0"), at(1, METER)]);
    story.trusts(&[at(2, "10.0.0.9:0"), at(1, "10.0.0.7:0")]);
    assert_eq!(ended(&story), [0u8; 0]);
    story.sends_plain(meter, &put(7, b"21"));
    assert_eq!((story.uplinks.len(), story.names.len()), (1, 1), "the session went on");

    story.trusts(&[at(2, METER)]);
    assert_eq!(ended(&story), [EndReason::CredentialDropped as u8]);
    story.sends_plain(meter, &put(8, b"22"));
    assert_eq!(story.last_session().device, device_id(2));
    story.trusts(&[]);
    story.sends_plain(meter, &put(9, b"23"));
    assert_eq!((story.uplinks.len(), story.worker().slab().live()), (2, 0));
}

/// A sheet with one bad item changes nothing.
#[test]
fn a_bad_sheet_leaves_the_last_good_one() {
    let (mut story, meter) = with_meter(8);
    let mut bad = at(2, METER);
    if let Item::NoSec(device) = &mut bad {
        device.network = 77;
    }
    story.trusts(&[bad]);
    assert_eq!(story.worker().counters().of(Tally::TrustRefused), 1);
    story.sends_plain(meter, &put(7, b"21"));
    assert_eq!(story.last_session().device, device_id(1));
}

/// The control plane ends a session; the device's next message begins another.
#[test]
fn a_session_that_is_ended_begins_anew() {
    let (mut story, meter) = with_meter(9);
    story.sends_plain(meter, &put(7, b"21"));
    let (device, session) = (device_id(1), story.last_session().session);
    let reason = EndReason::CredentialDropped as u8;
    let entry = wire::SessionEnd { device, session, reason };
    story.tells(Kind::SessionEnd, entry.as_bytes(), &[]);
    assert_eq!(ended(&story), [reason]);
    story.sends_plain(meter, &put(7, b"22"));
    assert!(story.last_session().session != session && story.uplinks.len() == 2);
}

/// Idle as long as any session may be, and not a second longer.
#[test]
fn a_silent_device_is_forgotten() {
    let mut config = plain_config();
    config.sessions.idle_timeout_s = 60;
    let mut story = Story::with(10, config);
    story.trusts(&[at(1, METER)]);
    let meter = story.plain_peer(METER);
    story.sends_plain(meter, &put(7, b"21"));
    story.waits_ms(58_000);
    assert_eq!(ended(&story), [0u8; 0]);
    story.waits_ms(4_000);
    assert_eq!(ended(&story), [EndReason::Idle as u8]);
    downlink(&mut story, 1);
    let outcome = story.outcomes.last().expect("an outcome").0;
    assert_eq!(outcome.reason, FailReason::NoSession as u8);
}

/// A restarted process goes on with the endpoint and its Message IDs, before a sheet has come and
/// after one confirmed it; not after one that does not know it.
#[test]
fn an_endpoint_survives_a_restart() {
    let (mut story, meter) = with_meter(11);
    story.sends_plain(meter, &put(7, b"21"));
    let first = story.hears_plain();
    story.restarts();
    story.sends_plain(meter, &put(7, b"21"));
    assert_eq!(story.hears_plain(), first, "answered from memory");
    story.trusts(&[at(1, METER)]);
    story.sends_plain(meter, &put(7, b"21"));
    assert_eq!(story.hears_plain(), first);
    assert_eq!((story.uplinks.len(), story.names.len()), (1, 1));
    story.restarts();
    story.trusts(&[]);
    assert_eq!(ended(&story), [EndReason::CredentialDropped as u8]);
}

/// The same bytes on the wrong socket, in both directions, with the same address.
#[test]
fn plain_coap_and_dtls_do_not_touch_each_other() {
    let mut story = Story::with(12, plain_config());
    let without_cid = story.connected(1, None);
    let with_cid = story.connected(2, Some(b"cid"));
    let address = story.peer(without_cid).address().to_string();
    story.trusts(&[at(1, &address), at(3, METER)]);
    let (same, meter) = (story.plain_peer(&address), story.plain_peer(METER));
    let sessions = story.names.len();

    // Records of a session, with and without a Connection ID, on the plain socket.
    let mut record = [0; 200];
    for device in [without_cid, with_cid] {
        let length = story.at(device).seal(&put(1, b"1"), &mut record).expect("a session");
        for from in [same, meter] {
            story.sends_plain(from, &record[..length]);
        }
        let home = story.peer(device);
        story.arrives(home, &mut record[..length]);
        story.exchange();
        assert_eq!(story.uplinks.len(), 1, "the record itself was still good");
        story.uplinks.clear();
    }
    assert_eq!(story.worker().counters().fate(Fate::NotCoap), 4);
    assert_eq!((story.hears_plain(), story.names.len()), (None, sessions));

    // A message in the clear on the DTLS socket, from the address of a device without security.
    let home = Peer::new(meter.address(), 0);
    for from in [home, story.peer(without_cid)] {
        story.arrives(from, &mut put(7, b"21"));
    }
    assert_eq!((story.uplinks.len(), story.names.len()), (0, sessions));

    // The device with both: two sessions, each with its own way back.
    story.sends_plain(same, &put(7, b"21"));
    assert_eq!(story.hears_plain().map(|heard| heard.0), Some(same));
    let plain = story.uplinks.pop().expect("an uplink").0.session;
    story.requests(without_cid, Type::Con, Code::PUT, "/t", b"2");
    assert_ne!(story.uplinks.pop().expect("an uplink").0.session, plain);
    assert_eq!((ended(&story), story.hears_plain()), (vec![], None));
}

/// Garbage and spoilt messages from known and unknown addresses: every datagram is counted, a
/// device has one slot, and both kinds of good devices are served throughout.
#[test]
fn a_storm_on_the_plain_socket_disturbs_nobody() {
    let count: u64 = 300_000;
    let mut config = plain_config();
    config.sessions.per_worker = 64;
    let mut story = Story::with(13, config);
    let good = story.connected(0, Some(b"good"));
    let devices: Vec<String> = (1..=20).map(|n| format!("10.0.0.{n}:{}", n % 2 * 7_000)).collect();
    let sheet: Vec<Item<'_>> = devices.iter().zip(1..).map(|(text, n)| at(n, text)).collect();
    story.trusts(&sheet);
    let mut random = StdRng::seed_from_u64(13);
    for number in 0..count {
        let ip = random.random_range(1..=24);
        let port = if random.random() { 7_000 } else { random.random_range(1..u16::MAX) };
        let peer = story.plain_peer(&format!("10.0.0.{ip}:{port}"));
        let mut bytes = put(random.random(), b"spoilt");
        match random.random_range(0..4) {
            0 => bytes.truncate(random.random_range(0..bytes.len())),
            1 => bytes = (0..random.random_range(0..100)).map(|_| random.random()).collect(),
            2 => {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
            _ => {}
        }
        story.arrives(peer, &mut bytes);
        while story.hears_plain().is_some() {}
        if number % 5_000 == 0 {
            story.waits_ms(1_000);
            let mid = story.requests(good, Type::Con, Code::PUT, "/t", b"still here");
            assert_eq!(seen(story.hears(good)), Some((Type::Ack, Code::CHANGED, mid)));
            let received = story.received;
            assert_eq!(story.worker().counters().datagrams(), received);
            assert!(story.worker().slab().used() <= 22, "a slot each, and the good device's");
            story.uplinks.clear();
            story.sessions.clear();
            story.names.clear();
        }
    }
    let counters = story.worker().counters();
    assert!(counters.fate(Fate::Accepted) > count / 8 && counters.fate(Fate::NoSecStranger) > 0);
    assert!(counters.fate(Fate::NotCoap) > 0 && counters.of(Tally::MessageMalformed) > 0);
    let last = story.plain_peer("10.0.0.1:7000");
    story.waits_ms(300_000);
    while story.hears_plain().is_some() {}
    story.sends_plain(last, &put(1, b"still here"));
    assert!(story.hears_plain().is_some_and(|heard| heard.0 == last));
}
