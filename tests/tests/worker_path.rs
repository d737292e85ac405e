//! When does a session move to another address? RFC 9853 where both hellos had it: after an answer
//! from there. RFC 9146 section 6 where not: with the newest record.

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;
use tidegate_dataplane::bounds::PATHS_MAX;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Tally;
use tidegate_dataplane::net::peer::Peer;
use tidegate_dtls::client;
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::return_routability::{AMPLIFICATION_MAX, Cookie, PathMessage, TIMEOUT_MS};
use tidegate_ring::contract as wire;
use tidegate_tests::story::{KEY, Story, Who, request, seen};
use zerocopy::IntoBytes;

/// A device that offers the check, or does not, with a session.
fn connected(story: &mut Story, number: usize, return_routability: bool) -> Who {
    let config = client::Config { return_routability, ..client::Config::default() };
    let device = story.device_with(number, Some(b""), KEY, config);
    story.exchange();
    assert!(story.at(device).is_up());
    device
}

/// What a device sends, in whoever's hands it falls.
fn record(story: &mut Story, device: Who, mid: u16) -> Vec<u8> {
    let mut out = [0; 200];
    let put = request(Type::Con, Code::PUT, mid, "/t", b"1");
    let length = story.at(device).seal(&put, &mut out).expect("a session");
    out[..length].to_vec()
}

/// What the device sends by itself, before it is carried anywhere.
fn answer(story: &mut Story, device: Who) -> Vec<u8> {
    let mut out = [0; 200];
    let length = story.at(device).poll_transmit(&mut out).expect("an answer");
    out[..length].to_vec()
}

fn tally(story: &mut Story, tally: Tally) -> u64 {
    story.worker().counters().of(tally)
}

/// Where replies of the only session go.
fn bound(story: &mut Story) -> Peer {
    story.worker().slab().get(0).peer
}

fn elsewhere(text: &str) -> Peer {
    Peer::new(text.parse().expect("an address"), 0)
}

/// RFC 9853 section 5.1: a record from B, path_challenge to B, path_response from B.
#[test]
fn a_session_moves_when_the_device_has_answered_at_the_new_address() {
    let mut story = Story::new(1);
    let device = connected(&mut story, 1, true);
    story.rebinds(device);
    let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"1");
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
    assert_eq!(story.at(device).challenges(), 1);
    assert_eq!(bound(&mut story), story.peer(device));
    assert_eq!(tally(&mut story, Tally::AddressMoved), 1);
    story.waits_ms(10 * TIMEOUT_MS);
    assert_eq!(
        (tally(&mut story, Tally::PathChallenge), tally(&mut story, Tally::PathTimeout)),
        (1, 0)
    );
    story.requests(device, Type::Con, Code::PUT, "/t", b"2");
    assert_eq!(story.at(device).challenges(), 1, "it is known there now");
}

/// Somebody on the path sends a genuine record from an address of his own: nobody answers there.
#[test]
fn a_session_stays_when_nobody_answers_at_the_new_address() {
    let mut story = Story::new(2);
    let device = connected(&mut story, 1, true);
    let (home, thief) = (story.peer(device), elsewhere("203.0.113.9:7"));
    let mut stolen = record(&mut story, device, 1);
    story.arrives(thief, &mut stolen);
    assert_eq!(story.uplinks.len(), 1, "the record itself counts: it is authentic and new");
    assert_eq!((bound(&mut story), tally(&mut story, Tally::PathChallenge)), (home, 1));
    story.waits_ms(TIMEOUT_MS - 1);
    assert_eq!(tally(&mut story, Tally::PathTimeout), 0);
    story.waits_ms(1);
    assert_eq!(
        (tally(&mut story, Tally::PathTimeout), tally(&mut story, Tally::AddressMoved)),
        (1, 0)
    );
    let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"2");
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
}

/// The control: without the check the thief gets what the device should.
#[test]
fn without_the_check_a_session_follows_whoever_sends_the_newest_record() {
    let mut story = Story::new(3);
    let device = connected(&mut story, 1, false);
    let thief = elsewhere("203.0.113.9:7");
    let mut stolen = record(&mut story, device, 1);
    story.arrives(thief, &mut stolen);
    assert_eq!(bound(&mut story), thief);
    assert_eq!(
        (tally(&mut story, Tally::PathChallenge), tally(&mut story, Tally::AddressMoved)),
        (0, 1)
    );
}

/// Section 5: what goes to an unvalidated address is limited to the anti-amplification limit, and
/// what is beyond it goes to the address that is known.
#[test]
fn an_unvalidated_address_gets_three_times_what_came_from_it_and_no_more() {
    let mut story = Story::new(4);
    let device = connected(&mut story, 1, true);
    let (home, victim) = (story.peer(device), elsewhere("203.0.113.9:7"));
    let mut stolen = record(&mut story, device, 1);
    let received = stolen.len();
    story.arrives(victim, &mut stolen);
    let downlink = wire::Downlink {
        message_id: [1; 16],
        device: story.last_session().device,
        session: story.last_session().session,
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    };
    let message = request(Type::Con, Code::PUT, 0, "/led", &[7; 600]);
    story.tells(wire::Kind::Downlink, downlink.as_bytes(), &message);
    let to_victim = story.sent.iter().filter(|(to, _)| *to == victim).map(|(_, bytes)| bytes.len());
    let (count, bytes) = (to_victim.clone().count(), to_victim.sum::<usize>());
    assert_eq!(count, 2, "the challenge, and the response to what came from there");
    assert!(bytes <= AMPLIFICATION_MAX * received, "{bytes} of {received}");
    let (to, last) = story.sent.back().expect("the downlink");
    assert!(*to == home && last.len() > 600, "what is beyond the limit goes where it always did");
}

/// The answer counts from the address that was asked, with the cookie that was sent, in time.
#[test]
fn an_answer_from_elsewhere_or_to_no_challenge_or_too_late_moves_nothing() {
    let mut story = Story::new(5);
    let device = connected(&mut story, 1, true);
    let home = story.peer(device);
    let unasked = |story: &mut Story| {
        let mut out = [0; 200];
        let message = PathMessage::Response(Cookie([7; 8]));
        let session = story.at(device).session().expect("a session");
        let length = session.path_message(message, &mut out).expect("negotiated");
        out[..length].to_vec()
    };
    story.rebinds(device);
    let new = story.peer(device);
    let mut request = record(&mut story, device, 1);
    story.arrives(new, &mut request);
    let mut genuine = answer(&mut story, device);
    let mut invented = unasked(&mut story);
    story.arrives(new, &mut invented);
    story.arrives(elsewhere("203.0.113.9:7"), &mut genuine);
    assert_eq!((bound(&mut story), tally(&mut story, Tally::PathInvalid)), (home, 2));
    story.waits_ms(TIMEOUT_MS);
    assert_eq!((bound(&mut story), tally(&mut story, Tally::PathTimeout)), (home, 1));
    let mut late = unasked(&mut story);
    story.arrives(new, &mut late);
    assert_eq!(bound(&mut story), home);
    // That record was the newest, and from an address that is not known: it is checked.
    assert_eq!(tally(&mut story, Tally::PathChallenge), 2);
    story.exchange();
    assert_eq!(bound(&mut story), new);
}

/// Section 5.2, path_drop: the device has left the new address on purpose.
#[test]
fn a_device_that_drops_the_path_stays_where_it_was() {
    let mut story = Story::new(6);
    let device = connected(&mut story, 1, true);
    let home = story.peer(device);
    story.rebinds(device);
    let new = story.peer(device);
    let mut request = record(&mut story, device, 1);
    // The device as it is before it hears anything: what it would answer is replaced.
    let mut twin = *story.at(device).session().expect("a session");
    story.sent.clear();
    story.arrives(new, &mut request);
    let (_, mut challenge) = story.sent.remove(0).expect("the challenge");
    let challenge = {
        let record = Record::parse(&challenge, 0, 0).expect("a record");
        let opened = twin.open(&record, &mut challenge).expect("for the device");
        PathMessage::parse(&challenge[opened.content]).expect("a message")
    };
    let PathMessage::Challenge(cookie) = challenge else { panic!("{challenge:?}") };
    let mut out = [0; 200];
    let length = twin.path_message(PathMessage::Drop(cookie), &mut out).expect("negotiated");
    story.arrives(new, &mut out[..length]);
    assert_eq!((bound(&mut story), tally(&mut story, Tally::PathDropped)), (home, 1));
    story.waits_ms(TIMEOUT_MS);
    assert_eq!(tally(&mut story, Tally::PathTimeout), 0);
}

/// The device is back at the old address before the check is over: there is nothing to check.
#[test]
fn a_newer_record_from_the_known_address_ends_the_check() {
    let mut story = Story::new(7);
    let device = connected(&mut story, 1, true);
    let home = story.peer(device);
    let mut stolen = record(&mut story, device, 1);
    story.arrives(elsewhere("203.0.113.9:7"), &mut stolen);
    let mut next = record(&mut story, device, 2);
    story.arrives(home, &mut next);
    story.waits_ms(10 * TIMEOUT_MS);
    assert_eq!(
        (tally(&mut story, Tally::PathTimeout), tally(&mut story, Tally::AddressMoved)),
        (0, 0)
    );
}

/// Section 5.4: exactly one answer to each challenge, to where it came from.
#[test]
fn a_challenge_of_the_device_is_answered_where_it_came_from() {
    let mut story = Story::new(8);
    let device = connected(&mut story, 1, true);
    let new = elsewhere("127.9.9.9:4000");
    let mut out = [0; 200];
    let challenge = PathMessage::Challenge(Cookie(*b"8 bytes!"));
    let session = story.at(device).session().expect("a session");
    let length = session.path_message(challenge, &mut out).expect("negotiated");
    let challenge = out[..length].to_vec();
    story.sent.clear();
    story.arrives(new, &mut challenge.clone());
    assert_eq!(tally(&mut story, Tally::PathAnswered), 1);
    // Our own challenge to the unknown address, and the answer.
    assert_eq!(story.sent.iter().filter(|(peer, _)| *peer == new).count(), 2);
    story.arrives(new, &mut challenge.clone());
    assert_eq!(tally(&mut story, Tally::PathAnswered), 1, "a replayed one is none");
}

/// Without the extension on both sides there are no such messages.
#[test]
fn a_challenge_without_the_extension_is_not_answered() {
    let mut story = Story::new(9);
    let device = connected(&mut story, 1, false);
    let kind = ContentType::RETURN_ROUTABILITY_CHECK;
    let mut out = [0; 200];
    let content = PathMessage::Challenge(Cookie(*b"8 bytes!")).bytes();
    let session = story.at(device).session().expect("a session");
    let length = session.seal(kind, &content, &mut out).expect("a record");
    let peer = story.peer(device);
    let sent = tally(&mut story, Tally::Sent);
    story.arrives(peer, &mut out[..length]);
    assert_eq!((tally(&mut story, Tally::PathAnswered), tally(&mut story, Tally::Sent)), (0, sent));
}

/// Checks under way have a bound; beyond it a session keeps its address and tries again later.
#[test]
fn checks_have_a_bound() {
    let mut story = Story::new(10);
    let count = PATHS_MAX as usize + 1;
    let devices: Vec<Who> = (1..=count).map(|number| connected(&mut story, number, true)).collect();
    let thief = elsewhere("203.0.113.9:7");
    for (number, device) in devices.iter().enumerate() {
        let mut stolen = record(&mut story, *device, 1);
        story.arrives(thief, &mut stolen);
        let full = u64::from(number == PATHS_MAX as usize);
        assert_eq!(tally(&mut story, Tally::PathNoRoom), full, "{number}");
    }
    assert_eq!(tally(&mut story, Tally::PathChallenge), u64::from(PATHS_MAX));
    story.waits_ms(TIMEOUT_MS);
    let last = devices[count - 1];
    let mut stolen = record(&mut story, last, 2);
    story.arrives(thief, &mut stolen);
    assert_eq!(tally(&mut story, Tally::PathChallenge), u64::from(PATHS_MAX) + 1);
}

/// A session that ends takes its check with it, and the next one in its slot begins without.
#[test]
fn a_session_that_ends_takes_its_check_with_it() {
    let mut story = Story::new(11);
    let device = connected(&mut story, 1, true);
    let home = story.peer(device);
    let mut stolen = record(&mut story, device, 1);
    story.arrives(elsewhere("203.0.113.9:7"), &mut stolen);
    let mut out = [0; 200];
    let length = story.at(device).close(&mut out).expect("a session");
    story.arrives(home, &mut out[..length]);
    connected(&mut story, 2, true);
    story.waits_ms(10 * TIMEOUT_MS);
    assert_eq!(tally(&mut story, Tally::PathTimeout), 0);
}

/// Both sides of the knob: links whose round trips take longer.
#[test]
fn the_answer_may_take_as_long_as_configured() {
    for (wait_ms, moves) in [(4_999, true), (5_000, false)] {
        let mut config = Config::default();
        config.sessions.path_timeout_ms = 5_000;
        let mut story = Story::with(12, config);
        let device = connected(&mut story, 1, true);
        story.rebinds(device);
        let new = story.peer(device);
        let mut request = record(&mut story, device, 1);
        story.arrives(new, &mut request);
        let mut response = answer(&mut story, device);
        story.waits_ms(wait_ms);
        story.arrives(new, &mut response);
        assert_eq!(bound(&mut story) == new, moves, "{wait_ms}");
    }
}
