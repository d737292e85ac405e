//! Resumption by session id (RFC 5246 section 7.3): who resumes, where, for how long, and what ends
//! it.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Tally;
use tidegate_dtls::client::Session;
use tidegate_dtls::record::ContentType;
use tidegate_ring::contract::{self as wire, Kind};
use tidegate_tests::story::{KEY, SessionNotice, Story, Who, device_id, seen};
use zerocopy::IntoBytes;

const CID: Option<&[u8]> = Some(b"");

/// What the device keeps of its session.
fn kept(story: &mut Story, device: Who) -> Option<Session> {
    story.at(device).resumable().cloned()
}

/// The device says close_notify.
fn closes(story: &mut Story, device: Who) {
    ends(story, device, |session, out| session.close_notify(out).expect("a session"));
}

/// The device gives up with a fatal alert.
fn breaks(story: &mut Story, device: Who) {
    const INTERNAL_ERROR: [u8; 2] = [2, 80];
    ends(story, device, |session, out| {
        session.seal(ContentType::ALERT, &INTERNAL_ERROR, out).expect("a session")
    });
}

fn ends(
    story: &mut Story,
    device: Who,
    alert: impl FnOnce(&mut tidegate_dtls::Established, &mut [u8]) -> usize,
) {
    let mut out = [0; 200];
    let length = alert(story.at(device).session().expect("a session"), &mut out);
    let peer = story.peer(device);
    story.arrives(peer, &mut out[..length]);
}

/// The device comes back to one of the workers with what it kept; says whether that was resumed.
fn resumes(story: &mut Story, number: usize, worker: usize, session: &Session) -> bool {
    let device = story.comes_back(number, CID, Some(session));
    story.lands_on(device, worker);
    story.exchange();
    assert!(story.at(device).is_up(), "resumed or not, it gets in");
    let resumed = story.at(device).is_resumed();
    assert_eq!(story.last_session().resumed == 1, resumed, "both sides know");
    assert_eq!(story.last_session().device, device_id(number));
    let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"1");
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
    resumed
}

/// Device 1 with a session, on worker 0, and what it keeps of it.
fn first(story: &mut Story) -> (Who, Session) {
    let device = story.connected(1, CID);
    let session = kept(story, device).expect("the server names its sessions");
    (device, session)
}

fn tally(story: &mut Story, worker: usize, tally: Tally) -> u64 {
    story.worker_at(worker).counters().of(tally)
}

/// ClientHello with the session id; ServerHello, CCS, Finished; CCS, Finished.
#[test]
fn a_device_that_closed_its_session_resumes_it() {
    let mut story = Story::new(1);
    let (device, session) = first(&mut story);
    let before = story.last_session();
    closes(&mut story, device);
    assert!(resumes(&mut story, 1, 0, &session));
    let up = story.last_session();
    assert_eq!((up.stamp, up.claim, up.network), (before.stamp, before.claim, before.network));
    assert_eq!((up.suite, up.has_cid), (before.suite, 1));
    assert_ne!(up.session, before.session, "a new session with a Connection ID of its own");
    assert_eq!(story.names.last().map(Vec::len), Some(0), "nobody said a name");
    assert_eq!(tally(&mut story, 0, Tally::CredentialWanted), 1, "the control plane was not asked");
    assert_eq!(tally(&mut story, 0, Tally::SessionResumed), 1);
    assert!(resumes(&mut story, 1, 0, &session), "and again");
}

/// The control: without the session id it is a full handshake.
#[test]
fn a_device_that_forgot_its_session_shakes_hands_in_full() {
    let mut story = Story::new(2);
    let (device, _) = first(&mut story);
    closes(&mut story, device);
    let device = story.comes_back(1, CID, None);
    story.exchange();
    assert!(story.at(device).is_up() && !story.at(device).is_resumed());
    assert_eq!(story.last_session().resumed, 0);
}

/// With a Connection ID before and without one after, and the other way (RFC 9146 section 3).
#[test]
fn connection_ids_are_negotiated_anew() {
    for (before, after) in [(CID, None), (None, CID), (None, None), (CID, Some(&b"mine"[..]))] {
        let mut story = Story::new(3);
        let device = story.connected(1, before);
        let session = kept(&mut story, device);
        let again = story.comes_back(1, after, session.as_ref());
        story.exchange();
        assert!(story.at(again).is_up() && story.at(again).is_resumed());
        assert_eq!(story.last_session().has_cid == 1, after.is_some());
        let mid = story.requests(again, Type::Con, Code::PUT, "/t", b"1");
        assert_eq!(seen(story.hears(again)), Some((Type::Ack, Code::CHANGED, mid)));
    }
}

/// The tables are read by every worker: no datagram has to be handed over for it.
#[test]
fn a_session_resumes_on_whichever_worker_the_hello_lands() {
    let mut story = Story::with_workers(4, 3, Config::default());
    let (_, session) = first(&mut story);
    for worker in [0, 1, 2, 1, 0] {
        assert!(resumes(&mut story, 1, worker, &session), "on worker {worker}");
        let owner = wire::SessionRef(story.last_session().session.get()).worker();
        assert_eq!(usize::from(owner), worker);
    }
    let handed_over = |story: &mut Story, n| {
        story.worker_at(n).counters().fate(tidegate_dataplane::fate::Fate::HandedOver)
    };
    assert_eq!([0, 1, 2].map(|n| handed_over(&mut story, n)), [0, 0, 0]);
}

#[test]
fn a_session_resumes_after_a_restart_of_the_dataplane() {
    let mut story = Story::with_workers(5, 2, Config::default());
    let (_, session) = first(&mut story);
    story.restarts();
    assert!(resumes(&mut story, 1, 0, &session));
    story.restarts();
    assert!(resumes(&mut story, 1, 1, &session));
}

/// Both sides of the age.
#[test]
fn a_session_resumes_for_its_age_and_not_a_second_longer() {
    for (wait_s, resumed) in [(59, true), (60, false)] {
        let mut config = Config::default();
        config.resumption.age_s = 60;
        let mut story = Story::with(6, config);
        let to_full_second = 1_000 - story.now.ms % 1_000;
        story.waits_ms(to_full_second);
        let (_, session) = first(&mut story);
        story.waits_ms(wait_s * 1_000);
        assert_eq!(resumes(&mut story, 1, 0, &session), resumed, "after {wait_s} s");
        assert_eq!(tally(&mut story, 0, Tally::ResumptionUnknown), u64::from(!resumed));
    }
}

/// Both sides of the bound: the oldest gives way.
#[test]
fn as_many_sessions_as_configured_resume() {
    let mut config = Config::default();
    config.resumption.per_worker = 2;
    let mut story = Story::with(7, config);
    let mut sessions = Vec::new();
    for number in 1..=3 {
        story.waits_ms(1_000);
        let device = story.connected(number, CID);
        sessions.push(kept(&mut story, device).expect("named"));
    }
    // The newest first: a full handshake takes a place of its own.
    assert!(resumes(&mut story, 3, 0, &sessions[2]));
    assert!(resumes(&mut story, 2, 0, &sessions[1]));
    assert!(!resumes(&mut story, 1, 0, &sessions[0]));
}

#[test]
fn without_a_table_no_session_is_named() {
    let mut config = Config::default();
    config.resumption.per_worker = 0;
    let mut story = Story::with(8, config);
    let device = story.connected(1, CID);
    assert!(kept(&mut story, device).is_none());
}

/// The control plane says to every worker that a credential changed.
#[test]
fn a_dropped_credential_takes_its_sessions_with_it() {
    let mut story = Story::with_workers(9, 2, Config::default());
    let (_, session) = first(&mut story);
    let other = story.connected(2, CID);
    let others = kept(&mut story, other).expect("named");
    let dropped = wire::CredentialDropped { device: device_id(1) };
    story.tells(Kind::CredentialDropped, dropped.as_bytes(), &[]);
    assert!(!resumes(&mut story, 1, 1, &session));
    assert!(resumes(&mut story, 2, 1, &others), "and nobody else's");
}

/// RFC 5246 section 7.2.2: not after a fatal alert, wherever the session lived.
#[test]
fn a_fatal_alert_makes_a_session_unresumable_and_close_notify_does_not() {
    for (worker, is_fatal) in [(0, true), (1, true), (0, false), (1, false)] {
        let mut story = Story::with_workers(10, 2, Config::default());
        let (_, session) = first(&mut story);
        let again = story.comes_back(1, CID, Some(&session));
        story.lands_on(again, worker);
        story.exchange();
        assert!(story.at(again).is_resumed());
        if is_fatal {
            breaks(&mut story, again);
        } else {
            closes(&mut story, again);
        }
        assert!(story.sessions.iter().any(|n| matches!(n, SessionNotice::Down(_))), "it ended");
        assert_eq!(resumes(&mut story, 1, 0, &session), !is_fatal, "worker {worker}");
        assert_eq!(tally(&mut story, 0, Tally::ResumptionForgotten), u64::from(is_fatal));
    }
}

/// Who saw the session id go by can begin with it, from his own address and with a secret of his
/// own; he can't go on with it, and he can't end it.
#[test]
fn a_session_id_in_strange_hands_is_of_no_use() {
    let mut story = Story::new(11);
    let (_, session) = first(&mut story);
    let own = story.connected(2, CID);
    let resumable = kept(&mut story, own).expect("named").resumable;
    let forged = Session { id: session.id.clone(), resumable };
    let thief = story.comes_back(3, CID, Some(&forged));
    story.exchange();
    let peer = story.peer(thief);
    let fatal = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    story.arrives(peer, &mut fatal.to_vec());
    story.waits_ms(70_000);
    assert!(!story.at(thief).is_up());
    assert!(resumes(&mut story, 1, 0, &session));
}

/// Each of the first datagrams lost in turn, and two at once: timers bring the handshake home.
#[test]
fn a_resumption_survives_lost_datagrams() {
    for lost in 1..=3 {
        for after in 0..3 {
            let mut story = Story::new(12);
            let (_, session) = first(&mut story);
            let device = story.comes_back(1, CID, Some(&session));
            let mut out = [0; 1_452];
            for _ in 0..after {
                let Some(length) = story.at(device).poll_transmit(&mut out) else { break };
                let peer = story.peer(device);
                story.arrives(peer, &mut out[..length]);
            }
            story.loses(lost);
            story.exchange();
            story.waits_ms(60_000);
            assert!(story.at(device).is_up() && story.at(device).is_resumed(), "{lost} {after}");
            story.loses(0);
            let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"1");
            assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
        }
    }
}

/// A fleet that comes at once: handshakes under way together don't take each other's place.
#[test]
fn everyone_of_a_crowd_can_resume() {
    let mut story = Story::new(14);
    let crowd: Vec<_> = (1..=20).map(|number| story.device(number, CID, KEY)).collect();
    let mut out = [0; 1_452];
    for _ in 0..2 {
        for device in &crowd {
            let length = story.at(*device).poll_transmit(&mut out).expect("a hello");
            let peer = story.peer(*device);
            story.arrives(peer, &mut out[..length]);
        }
    }
    story.exchange();
    let sessions: Vec<_> = crowd.iter().map(|device| kept(&mut story, *device)).collect();
    for (number, session) in (1..).zip(sessions) {
        assert!(resumes(&mut story, number, 0, &session.expect("named")), "{number}");
    }
}

/// Handshakes that are begun and given up push no session out.
#[test]
fn abandoned_handshakes_push_no_session_out() {
    let mut config = Config::default();
    config.resumption.per_worker = 2;
    let mut story = Story::with(13, config);
    let (_, session) = first(&mut story);
    let mut out = [0; 1_452];
    for number in 10..20 {
        let stranger = story.device(number, CID, b"a key that does not fit");
        for _ in 0..2 {
            let length = story.at(stranger).poll_transmit(&mut out).expect("a hello");
            let peer = story.peer(stranger);
            story.arrives(peer, &mut out[..length]);
        }
    }
    story.waits_ms(70_000);
    assert!(resumes(&mut story, 1, 0, &session));
}
