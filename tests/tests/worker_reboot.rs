//! A device that lost its state shakes hands again from where it was (RFC 6347 section 4.2.8): what
//! it had before lives until what comes is proven.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_dtls::client::Session;
use tidegate_ring::contract::{self as wire, EndReason, Kind};
use tidegate_tests::story::{SessionNotice, Story, Who, request, seen};
use zerocopy::IntoBytes;

const WITH_AND_WITHOUT: [Option<&[u8]>; 2] = [Some(b""), None];

/// A record that the device sealed before it lost its state, on its way.
fn record(story: &mut Story, device: Who, mid: u16) -> Vec<u8> {
    let mut out = [0; 200];
    let put = request(Type::Con, Code::PUT, mid, "/t", b"1");
    let length = story.at(device).seal(&put, &mut out).expect("a session");
    out[..length].to_vec()
}

/// Carries so many datagrams of the device and no more.
fn says(story: &mut Story, device: Who, count: usize) {
    let mut out = [0; 1_452];
    for _ in 0..count {
        let length = story.at(device).poll_transmit(&mut out).expect("a datagram");
        let peer = story.peer(device);
        story.arrives(peer, &mut out[..length]);
    }
}

fn ended(story: &Story, reason: EndReason) -> usize {
    let is_one = |notice: &&SessionNotice| matches!(notice, SessionNotice::Down(down) if down.reason == reason as u8);
    story.sessions.iter().filter(is_one).count()
}

/// A device with a session, and the same device after it lost it.
fn rebooted(story: &mut Story, cid: Option<&[u8]>, resumes: bool) -> (Who, Who) {
    let before = story.connected(1, cid);
    let session: Option<Session> = story.at(before).resumable().cloned().filter(|_| resumes);
    let after = story.comes_back(1, cid, session.as_ref());
    assert_eq!(story.peer(before), story.peer(after));
    (before, after)
}

/// After the ClientHello, after the cookie, with a handshake under way: the old session is served.
#[test]
fn the_old_association_lives_while_the_new_one_is_not_proven() {
    for cid in WITH_AND_WITHOUT {
        for resumes in [false, true] {
            for datagrams in 0..=2 {
                let mut story = Story::new(1);
                let (before, after) = rebooted(&mut story, cid, resumes);
                says(&mut story, after, datagrams);
                let mut late = record(&mut story, before, 7);
                let peer = story.peer(before);
                story.arrives(peer, &mut late);
                assert_eq!(story.uplinks.len(), 1, "{cid:?} {resumes} {datagrams}");
                assert_eq!(story.sessions.len(), 1, "nothing ended, nothing is new");
            }
        }
    }
}

/// Then it is proven: without a Connection ID the address is the new session's at once.
#[test]
fn the_new_association_takes_the_address_once_its_finished_is_verified() {
    for resumes in [false, true] {
        let mut story = Story::new(2);
        let (before, after) = rebooted(&mut story, None, resumes);
        let mut late = record(&mut story, before, 7);
        story.exchange();
        assert!(story.at(after).is_up() && story.at(after).is_resumed() == resumes);
        assert_eq!(ended(&story, EndReason::Replaced), 1);
        let peer = story.peer(after);
        story.arrives(peer, &mut late);
        assert_eq!(story.uplinks.len(), 0, "the old keys are gone");
        let mid = story.requests(after, Type::Con, Code::PUT, "/t", b"1");
        assert_eq!(seen(story.hears(after)), Some((Type::Ack, Code::CHANGED, mid)));
    }
}

/// With Connection IDs the sessions don't share a key to find them by; the control plane, which
/// knows of both, ends the old one.
#[test]
fn with_connection_ids_the_control_plane_ends_the_old_association() {
    for resumes in [false, true] {
        let mut story = Story::new(3);
        let (before, after) = rebooted(&mut story, Some(b""), resumes);
        let old = story.last_session();
        story.exchange();
        assert!(story.at(after).is_up());
        let mut late = record(&mut story, before, 7);
        let peer = story.peer(before);
        story.arrives(peer, &mut late);
        assert_eq!((story.uplinks.len(), ended(&story, EndReason::Replaced)), (1, 0));
        let reason = EndReason::Replaced as u8;
        let end = wire::SessionEnd { device: old.device, session: old.session, reason };
        story.tells(Kind::SessionEnd, end.as_bytes(), &[]);
        assert_eq!(ended(&story, EndReason::Replaced), 1);
        let mid = story.requests(after, Type::Con, Code::PUT, "/t", b"1");
        assert_eq!(seen(story.hears(after)), Some((Type::Ack, Code::CHANGED, mid)));
    }
}

/// The control: a handshake that is never proven ends nothing, whoever began it there.
#[test]
fn a_handshake_that_fails_costs_the_old_association_nothing() {
    for cid in WITH_AND_WITHOUT {
        let mut story = Story::new(4);
        let device = story.connected(1, cid);
        let peer = story.peer(device);
        let stranger = story.device(1, cid, b"a key that does not fit");
        story.exchange();
        story.waits_ms(70_000);
        assert!(!story.at(stranger).is_up());
        let mut next = record(&mut story, device, 7);
        story.arrives(peer, &mut next);
        assert_eq!((story.uplinks.len(), story.sessions.len()), (1, 1));
    }
}
