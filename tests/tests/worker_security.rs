//! RFC 7252 section 9: who is let in, by what they claim and prove, and what is counted of others.

use tidegate_dataplane::fate::Tally;
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
