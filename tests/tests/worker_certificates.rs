//! RFC 7252 sections 9.1.3.2 and 9.1.3.3: devices with raw public keys and with certificates, and
//! the trust sheet that says whom the edge believes and who it is.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Tally;
use tidegate_dtls::client::{self, Trust};
use tidegate_dtls::suite::{KeyExchange, Suite};
use tidegate_ring::contract::{self as wire, Claim, Kind};
use tidegate_ring::trust::{Item, Redacted};
use tidegate_tests::story::credentials::{Authority, Server, raw_device};
use tidegate_tests::story::{KEY, SessionNotice, Story, Who, device_id, identity, seen};
use zerocopy::IntoBytes;

const EDGE: &str = "edge.example";

fn config(trust: Trust) -> client::Config {
    client::Config { server_name: Some(EDGE.to_owned()), trust, ..client::Config::default() }
}

/// The common name by which the control plane of the story knows device `number`.
fn common_name(number: usize) -> String {
    String::from_utf8(identity(number)).expect("digits")
}

/// A story whose edge has a certificate and believes one authority.
fn edge(seed: u64) -> (Story, Authority) {
    let (mut story, authority) = (Story::new(seed), Authority::new());
    let server = authority.server(EDGE);
    story.trusts(&[&[authority.item()][..], &server.items()].concat());
    assert_eq!(counted(&mut story, [Tally::Trust, Tally::TrustRefused]), [1, 0]);
    (story, authority)
}

fn counted<const N: usize>(story: &mut Story, tallies: [Tally; N]) -> [u64; N] {
    tallies.map(|tally| story.worker().counters().of(tally))
}

/// Datagrams of the device arrive one by one, until `count` have.
fn says(story: &mut Story, who: Who, count: usize) {
    let mut out = [0; 1_452];
    for _ in 0..count {
        let length = story.at(who).poll_transmit(&mut out).expect("it has more to say");
        let peer = story.peer(who);
        story.arrives(peer, &mut out[..length]);
    }
}

/// Every suite with certificates: a session, and an uplink of the device in the certificate.
#[test]
fn a_device_is_let_in_by_its_certificate() {
    for suite in Suite::of(KeyExchange::EcdheEcdsa) {
        let (mut story, authority) = edge(1);
        let config = client::Config { suites: vec![suite], ..config(authority.trust()) };
        let credential = authority.device(&common_name(1), &["m.example"]);
        let client::Credential::Certificate { chain, .. } = &credential else { unreachable!() };
        let leaf = tidegate_crypto::certificate::leaf(&chain[0]).expect("readable");
        let device = story.device_as(1, credential, Some(b"cid"), config);
        story.exchange();
        assert!(story.at(device).is_up(), "{}", suite.name());
        let up = story.last_session();
        assert_eq!((up.device, up.claim), (device_id(1), Claim::Certificate as u8));
        assert_eq!((up.suite.get(), up.stamp.get(), up.has_cid), (suite.code(), 1, 1));
        let names = [&[35, 0][..], b"CN=", &identity(1), &[13, 0], b"DNS:m.example"].concat();
        assert_eq!(story.names, [[&leaf.fingerprint[..], &names].concat()]);
        let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"21");
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
        assert_eq!(story.uplinks[0].0.device, device_id(1));
    }
}

/// A flight of several datagrams leaves in one call: all but the last are as long as the link
/// takes. Flights of one datagram have nothing to join.
#[test]
fn a_flight_with_a_certificate_is_a_run() {
    let mut small = Config::default();
    small.handshake.mtu = 256;
    let (mut story, authority) = (Story::with(1, small), Authority::new());
    let server = authority.server(EDGE);
    story.trusts(&[&[authority.item()][..], &server.items()].concat());
    let credential = authority.device(&common_name(1), &[]);
    let device = story.device_as(1, credential, None, config(authority.trust()));
    story.exchange();
    assert!(story.at(device).is_up());
    assert!(story.longest_run > 1, "{}", story.longest_run);

    let mut story = Story::new(1);
    story.connected(1, None);
    assert_eq!(story.longest_run, 1);
}

/// RFC 7250: both sides show raw public keys; the device knows the server's, we know the device's.
#[test]
fn a_device_is_let_in_by_its_raw_public_key() {
    let mut story = Story::new(2);
    let server = Server::raw();
    story.trusts(&server.items());
    let (credential, spki) = raw_device();
    story.keys = vec![Vec::new(), spki.clone()];
    let device = story.device_as(1, credential, None, config(server.trust()));
    story.exchange();
    assert!(story.at(device).is_up());
    let up = story.last_session();
    assert_eq!((up.device, up.claim), (device_id(1), Claim::RawPublicKey as u8));
    assert_eq!(story.names, [spki]);
    story.requests(device, Type::Con, Code::PUT, "/t", b"21");
    assert!(story.hears(device).is_some());
}

/// Whoever proves what nobody was provisioned with, or proves nothing, is refused and counted.
#[test]
fn strangers_are_refused_by_reason() {
    let (mut story, authority) = edge(3);
    let other = Authority::new();
    let refused = [
        (authority.device("nobody", &[]), Tally::HandshakeUnknown),
        (raw_device().0, Tally::HandshakeUnknown),
        (other.device(&common_name(1), &[]), Tally::HandshakeCertificate),
        (authority.expired_device(&common_name(1)), Tally::HandshakeCertificate),
        (client::Credential::Nobody, Tally::HandshakeCertificate),
    ];
    for (number, (credential, reason)) in refused.into_iter().enumerate() {
        let before = counted(&mut story, [reason]);
        let device = story.device_as(1 + number, credential, None, config(authority.trust()));
        story.exchange();
        assert!(!story.at(device).is_up());
        assert_eq!(counted(&mut story, [reason]), before.map(|count| count + 1), "{number}");
    }
    assert!(story.names.is_empty() && story.worker().slab().live() == 0);
    assert_eq!(counted(&mut story, [Tally::HandshakeFailed, Tally::HandshakeKnown]), [5, 0]);
    assert_eq!(story.wanted, 2, "only proven names are asked for");
    // The control.
    let device =
        story.device_as(9, authority.device(&common_name(9), &[]), None, config(authority.trust()));
    story.exchange();
    assert!(story.at(device).is_up());
}

/// Before a sheet has come there is no key to sign with: certificates have to wait, PSK does not.
#[test]
fn without_a_sheet_there_are_pre_shared_keys_alone() {
    let (mut story, authority) = (Story::new(4), Authority::new());
    let device =
        story.device_as(1, authority.device(&common_name(1), &[]), None, config(authority.trust()));
    story.exchange();
    assert!(!story.at(device).is_up());
    assert_eq!(counted(&mut story, [Tally::HandshakeNothingCommon]), [1]);
    story.connected(2, None);
}

/// RFC 6066 section 3: the name picks the identity; a name that nobody claims gets the first.
#[test]
fn the_server_is_who_it_is_asked_for() {
    let (mut story, authority) = (Story::new(5), Authority::new());
    let (first, second) = (authority.server("a.example"), authority.server(EDGE));
    story.trusts(&[&[authority.item()][..], &first.items(), &second.items()].concat());
    for (number, name, good) in [(1, "a.example", true), (2, EDGE, true), (3, "c.example", false)] {
        let config =
            client::Config { server_name: Some(name.to_owned()), ..config(authority.trust()) };
        let credential = authority.device(&common_name(number), &[]);
        let device = story.device_as(number, credential, None, config);
        story.exchange();
        assert_eq!(story.at(device).is_up(), good, "{name}");
    }
    assert_eq!(counted(&mut story, [Tally::HandshakeRefused]), [1], "the device said no");
    // The same name, by a device that knows the first key.
    let (credential, spki) = raw_device();
    story.keys = vec![Vec::new(), spki];
    let config = client::Config {
        server_name: Some("c.example".to_owned()),
        trust: first.trust(),
        ..client::Config::default()
    };
    let device = story.device_as(1, credential, None, config);
    story.exchange();
    assert!(story.at(device).is_up());
}

/// A handshake goes on with the sheet it began with; the next one has the new sheet.
#[test]
fn a_new_sheet_does_not_disturb_a_handshake_under_way() {
    let (mut story, authority) = edge(6);
    let device =
        story.device_as(1, authority.device(&common_name(1), &[]), None, config(authority.trust()));
    // Both hellos: our whole flight, signed with the old key, is with the device.
    says(&mut story, device, 2);
    assert!(story.names.is_empty());
    let (after, server) = (Authority::new(), Server::raw());
    story.trusts(&[&[after.item()][..], &server.items()].concat());
    assert!(story.at(device).is_up(), "everything that follows has happened");
    assert_eq!(story.last_session().device, device_id(1));

    let device =
        story.device_as(2, authority.device(&common_name(2), &[]), None, config(authority.trust()));
    story.exchange();
    assert!(!story.at(device).is_up(), "its authority and our certificate are gone");
    let trust = Trust { authorities: None, ..server.trust() };
    let device = story.device_as(3, after.device(&common_name(3), &[]), None, config(trust));
    story.exchange();
    assert!(story.at(device).is_up());
}

/// An answer is remembered by kind and name, until its device's credential is dropped.
#[test]
fn whose_a_certificate_is_is_remembered() {
    let (mut story, authority) = edge(7);
    let credential = authority.device(&common_name(1), &[]);
    let connect = |story: &mut Story| {
        let device = story.device_as(1, credential.clone(), None, config(authority.trust()));
        story.exchange();
        assert!(story.at(device).is_up());
    };
    connect(&mut story);
    connect(&mut story);
    assert_eq!((story.wanted, story.names.len()), (1, 2));
    assert_eq!(story.names[0], story.names[1]);
    let dropped = wire::CredentialDropped { device: device_id(1) };
    story.tells(Kind::CredentialDropped, dropped.as_bytes(), &[]);
    connect(&mut story);
    assert_eq!(story.wanted, 2);
}

/// A sheet with one bad line is refused whole, and the last good one stays.
#[test]
fn a_sheet_with_a_bad_line_changes_nothing() {
    let (mut story, authority) = edge(8);
    let (other, third) = (authority.server("other.example"), authority.server(EDGE));
    let (items, key) = (other.items(), third.items()[0]);
    let bad: [&[Item<'_>]; 5] = [
        &[Item::Authority(b"no certificate")],
        &[Item::Key(Redacted(b"no key"))],
        &[items[0], Item::Chain(b"no certificate")],
        &[key, items[1]],
        &[&[items[0]][..], &[items[1]; 9]].concat(),
    ];
    for (number, bad) in bad.into_iter().enumerate() {
        story.trusts(&[items.as_slice(), bad].concat());
        assert_eq!(counted(&mut story, [Tally::TrustRefused]), [1 + number as u64], "{number}");
    }
    let device =
        story.device_as(1, authority.device(&common_name(1), &[]), None, config(authority.trust()));
    story.exchange();
    assert!(story.at(device).is_up());
    // The control: the same lines without a bad one.
    story.trusts(&items);
    assert_eq!(counted(&mut story, [Tally::Trust]), [2]);
}

/// A known device whose certificate does not get it in is told apart from strangers: here it
/// refuses us.
#[test]
fn a_device_that_does_not_believe_us_is_counted() {
    let (mut story, authority) = edge(9);
    let trust = Authority::new().trust();
    let device = story.device_as(1, authority.device(&common_name(1), &[]), None, config(trust));
    story.exchange();
    assert!(!story.at(device).is_up());
    assert_eq!(counted(&mut story, [Tally::HandshakeRefused, Tally::HandshakeKnown]), [1, 0]);
    let psk = client::Credential::Psk {
        identity: identity(2),
        psk: tidegate_crypto::secret::Secret::new(KEY),
    };
    let device = story.device_as(2, psk, None, client::Config::default());
    story.exchange();
    assert!(story.at(device).is_up(), "PSK beside certificates");
}

/// An authority that is not trusted any more: whoever it vouched for is out, at once and for
/// resumption too. Devices with keys of their own stay, and a new authority ends nothing.
#[test]
fn whoever_an_authority_vouched_for_goes_with_it() {
    let (mut story, server) = (Story::new(10), Server::raw());
    let (first, second) = (Authority::new(), Authority::new());
    story.trusts(&[&[first.item()][..], &server.items()].concat());
    let psk = story.connected(1, None);
    let credential = first.device(&common_name(2), &[]);
    let certified = story.device_as(2, credential.clone(), None, config(server.trust()));
    story.exchange();
    let session = story.at(certified).resumable().cloned().expect("a session to resume");

    story.trusts(&[&[first.item(), second.item()][..], &server.items()].concat());
    assert_eq!(ended(&story), [0u8; 0]);
    let resume = |story: &mut Story| {
        let config = config(server.trust());
        let device = story.device_resuming(2, credential.clone(), None, config, Some(&session));
        story.exchange();
        (story.at(device).is_up(), story.at(device).is_resumed())
    };
    assert_eq!(resume(&mut story), (true, true));

    let before = ended(&story).len();
    story.trusts(&[&[second.item()][..], &server.items()].concat());
    assert_eq!(ended(&story)[before..], [wire::EndReason::CredentialDropped as u8]);
    assert_eq!(resume(&mut story), (false, false));
    assert_eq!(counted(&mut story, [Tally::HandshakeCertificate]), [1]);
    story.requests(psk, Type::Con, Code::PUT, "/t", b"21");
    assert!(story.hears(psk).is_some());
    // Had it been a matter of the sheet alone, not of the authority:
    story.trusts(&[&[second.item(), first.item()][..], &server.items()].concat());
    assert_eq!(resume(&mut story), (true, false));
}

fn ended(story: &Story) -> Vec<u8> {
    let reason = |notice: &SessionNotice| match notice {
        SessionNotice::Down(down) => Some(down.reason),
        SessionNotice::Up(_) => None,
    };
    story.sessions.iter().filter_map(reason).collect()
}
