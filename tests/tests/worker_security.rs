//! RFC 7252 section 9: who is let in, by what they claim and prove, and what is counted of others.

use std::net::SocketAddr;

use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::{Fate, Tally};
use tidegate_dataplane::net::peer::Peer;
use tidegate_dtls::client;
use tidegate_ring::contract as wire;
use tidegate_tests::story::{KEY, Story, device_id, identity};

/// How often each of these was counted.
fn counted<const N: usize>(story: &mut Story, tallies: [Tally; N]) -> [u64; N] {
    tallies.map(|tally| story.worker().counters().of(tally))
}

/// A device with a pre-shared key: the control plane hears the identity and the stamp it gave.
#[test]
fn a_device_is_let_in_by_its_identity() {
    let mut story = Story::new(1);
    story.connected(1, Some(b""));
    let up = story.last_session();
    assert_eq!((up.claim, up.stamp.get()), (wire::Claim::PskIdentity as u8, 1));
    assert_eq!((up.device, &story.names), (device_id(1), &vec![identity(1)]));
}

/// The answer that was remembered carries its stamp too.
#[test]
fn a_remembered_credential_has_its_stamp() {
    let mut story = Story::new(2);
    story.connected(1, Some(b""));
    story.connected(1, Some(b""));
    assert_eq!(counted(&mut story, [Tally::CredentialRemembered, Tally::CredentialWanted]), [1, 1]);
    assert_eq!((story.last_session().stamp.get(), story.names.len()), (1, 2));
    assert_eq!(story.names[1], identity(1));
}

/// RFC 7925 section 6: an identity nobody knows (or of a device that may not use this mode) and a
/// wrong key look the same to the device. To the operator they do not.
#[test]
fn a_known_device_that_fails_is_counted_as_one() {
    let unknown = b"an identity that nobody has told".to_vec();
    for (identity, key, reason, known) in [
        (identity(1), &b"another key here"[..], Tally::HandshakeWrongKey, 1),
        (unknown, KEY, Tally::HandshakeUnknown, 0),
    ] {
        let mut story = Story::new(3);
        let device = story.device_named(1, identity, Some(b""), key, client::Config::default());
        story.exchange();
        story.waits_ms(70_000);
        assert!(!story.at(device).is_up() && story.names.is_empty());
        let tallies = [Tally::HandshakeFailed, reason, Tally::HandshakeKnown];
        assert_eq!(counted(&mut story, tallies), [1, 1, known], "{reason:?}");
    }
}

/// With the control plane gone nobody new is let in, and that is not the devices' fault; who is
/// remembered is.
#[test]
fn without_a_control_plane_only_the_remembered_get_in() {
    let mut story = Story::new(5);
    story.connected(1, None);
    story.knows_devices = false;
    story.connected(1, None);
    let stranger = story.device(2, None, KEY);
    story.exchange();
    story.waits_ms(70_000);
    assert!(!story.at(stranger).is_up());
    let tallies = [Tally::HandshakeFailed, Tally::HandshakeUnavailable, Tally::HandshakeTimeout];
    assert_eq!(counted(&mut story, tallies), [1, 1, 0]);
    story.knows_devices = true;
    story.connected(3, None);
}

/// A host that proves its address has its share of handshakes; others still find room.
#[test]
fn one_source_does_not_keep_others_out() {
    let mut config = Config::default();
    (config.handshake.half_open, config.handshake.half_open_per_source) = (8, 4);
    let mut story = Story::with(4, config);
    let mut out = [0; 1_452];
    // As many as the table has room for, each silent after its proven hello.
    for number in 0..8 {
        let device = story.device(1, None, KEY);
        let host = Peer::new(SocketAddr::from(([10, 0, 0, 1], 1_000 + number)), 0);
        story.speaks_from(device, host);
        for _ in ["the first hello", "the one with the cookie"] {
            let length = story.at(device).poll_transmit(&mut out).expect("a hello");
            story.arrives(host, &mut out[..length]);
        }
        story.forget(device);
    }
    assert_eq!(story.worker().counters().fate(Fate::SourceLimit), 4);
    assert_eq!(story.worker().slab().live(), 4);
    story.connected(2, None);
    // They give up, and the host may begin again.
    story.waits_ms(70_000);
    let device = story.device(3, None, KEY);
    story.speaks_from(device, Peer::new(SocketAddr::from(([10, 0, 0, 1], 9)), 0));
    story.exchange();
    assert!(story.at(device).is_up());
}
