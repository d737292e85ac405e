//! A device's request, from its first datagram to the last word about it (design section 8).

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Type, empty};
use tidegate_coap::option::Number;
use tidegate_dataplane::bounds::EXCHANGE_PATH_BYTES_MAX;
use tidegate_dataplane::fate::Tally;
use tidegate_ring::contract::{self as wire, Event, Kind, Publication};
use tidegate_tests::story::{Story, device_id, request, seen};
use zerocopy::IntoBytes;

/// CON PUT and DELETE are answered on the ACK once the publication is confirmed.
#[test]
fn a_confirmed_publication_is_answered_on_the_ack() {
    let mut story = Story::new(1);
    let device = story.connected(1, Some(b""));
    for (method, code) in [(Code::PUT, Code::CHANGED), (Code::DELETE, Code::DELETED)] {
        let mid = story.requests(device, Type::Con, method, "/t", b"");
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, code, mid)));
        assert_eq!(story.hears(device), None);
    }
    assert_eq!(story.uplinks.len(), 2);
    assert_eq!(story.uplinks[0].0.device, device_id(1));
}

/// The 2.04 promises: nothing leaves before the confirmation.
#[test]
fn nothing_is_promised_before_the_publication_is_confirmed() {
    let mut story = Story::new(2);
    story.publishes = None;
    let device = story.connected(1, Some(b""));
    let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"21");
    story.waits_ms(1_499);
    assert_eq!(story.hears(device), None);
    let uplink = story.uplinks[0].0;
    story.published(&uplink, Publication::Confirmed);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
}

/// RFC 7252 figure 5: an empty ACK when the window is over, the response follows as a CON of its
/// own, and is sent again until it is acknowledged.
#[test]
fn a_slow_publication_gets_an_empty_ack_and_a_separate_response() {
    let mut story = Story::new(3);
    story.publishes = None;
    let device = story.connected(1, Some(b""));
    let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"21");
    story.waits_ms(1_500);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, mid)));

    let uplink = story.uplinks[0].0;
    story.published(&uplink, Publication::Confirmed);
    let first = story.hears(device).expect("a separate response");
    let response = Message::parse(&first).expect("a message");
    assert_eq!((response.ty, response.code), (Type::Con, Code::CHANGED));
    assert_eq!(response.token.as_bytes(), mid.to_be_bytes());
    assert_ne!(response.mid, mid);

    story.waits_ms(3_001);
    assert_eq!(story.hears(device).as_ref(), Some(&first), "the same message again");
    story.sends(device, &empty(Type::Ack, response.mid));
    story.waits_ms(200_000);
    assert_eq!(story.hears(device), None);
}

/// RFC 7252 section 4.5: a lost ACK is answered from memory; the event is not made twice.
#[test]
fn a_repeated_confirmable_gets_the_same_reply() {
    let mut story = Story::new(4);
    let device = story.connected(1, Some(b""));
    let put = request(Type::Con, Code::PUT, 7, "/t", b"21");
    story.loses(1);
    story.sends(device, &put);
    assert_eq!(story.hears(device), None);
    story.waits_ms(2_400);
    story.sends(device, &put);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, 7)));
    assert_eq!(story.uplinks.len(), 1);
    assert_eq!(story.worker().counters().of(Tally::RequestRepeated), 1);

    // The control: after EXCHANGE_LIFETIME the Message ID means another request.
    story.waits_ms(249_000);
    story.sends(device, &put);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, 7)));
    assert_eq!(story.uplinks.len(), 2);
}

/// A copy that comes while the publication is awaited is met with silence.
#[test]
fn a_copy_of_a_waiting_request_is_not_published_again() {
    let mut story = Story::new(5);
    story.publishes = None;
    let device = story.connected(1, Some(b""));
    let put = request(Type::Con, Code::PUT, 7, "/t", b"21");
    story.sends(device, &put);
    story.sends(device, &put);
    assert_eq!((story.uplinks.len(), story.hears(device)), (1, None));
}

/// NON PUT and DELETE: the same, answered by a NON; a copy is met with silence.
#[test]
fn a_non_confirmable_is_answered_by_a_non_confirmable() {
    let mut story = Story::new(6);
    let device = story.connected(1, Some(b""));
    let put = request(Type::Non, Code::PUT, 9, "/t", b"21");
    story.sends(device, &put);
    let (ty, code, _) = seen(story.hears(device)).expect("an answer");
    assert_eq!((ty, code), (Type::Non, Code::CHANGED));
    story.sends(device, &put);
    assert_eq!((story.hears(device), story.uplinks.len()), (None, 1));
}

#[test]
fn what_became_of_a_publication_decides_the_code() {
    let rows = [
        (Publication::Unavailable, Code::SERVICE_UNAVAILABLE, Some(7)),
        (Publication::NoRoute, Code::NOT_FOUND, None),
        (Publication::Forbidden, Code::FORBIDDEN, None),
    ];
    for (publication, code, max_age) in rows {
        let mut story = Story::new(7);
        story.publishes = Some(publication);
        let device = story.connected(1, Some(b""));
        story.requests(device, Type::Con, Code::PUT, "/t", b"21");
        let reply = story.hears(device).expect("a reply");
        let reply = Message::parse(&reply).expect("a message");
        assert_eq!((reply.ty, reply.code), (Type::Ack, code));
        assert_eq!(reply.options.uint(Number::MAX_AGE), max_age);
    }
}

/// GET and POST: an ACK once published, then the application's answer as a separate response.
#[test]
fn an_application_answers_a_get() {
    let mut story = Story::new(8);
    story.publishes = Some(Publication::AwaitingAnswer);
    let device = story.connected(1, Some(b""));
    let mid = story.requests(device, Type::Con, Code::GET, "/config", b"");
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, mid)));
    let uplink = story.uplinks[0].0;
    assert_eq!(uplink.answer_awaited, 1);

    answers(&mut story, &uplink, device_id(1), b"{\"interval\":60}");
    let response = story.hears(device).expect("the answer");
    let response = Message::parse(&response).expect("a message");
    assert_eq!((response.ty, response.code), (Type::Con, Code::CONTENT));
    assert_eq!(response.payload, b"{\"interval\":60}");
    assert_eq!(steps(&story), [(wire::Step::Sent as u8, 0)]);
    story.sends(device, &empty(Type::Ack, response.mid));
    assert_eq!(steps(&story)[1..], [(wire::Step::Delivered as u8, 1)]);
}

/// With an answer window a quick answer travels on the ACK, however long it is, and a copy of the
/// request gets the same bytes.
#[test]
fn a_quick_answer_is_piggybacked_and_kept_for_copies() {
    let mut config = tidegate_dataplane::config::Config::default();
    config.coap.answer_window_ms = 1_000;
    let mut story = Story::with(9, config);
    story.publishes = Some(Publication::AwaitingAnswer);
    let device = story.connected(1, Some(b""));
    let get = request(Type::Con, Code::GET, 5, "/config", b"");
    story.sends(device, &get);
    assert_eq!(story.hears(device), None);
    let uplink = story.uplinks[0].0;
    let body = [b'x'; 900];
    answers(&mut story, &uplink, device_id(1), &body);
    let reply = story.hears(device).expect("the answer");
    let message = Message::parse(&reply).expect("a message");
    assert_eq!((message.ty, message.mid, message.payload), (Type::Ack, 5, &body[..]));
    story.waits_ms(2_000);
    story.sends(device, &get);
    assert_eq!(story.hears(device), Some(reply));
    assert_eq!(story.uplinks.len(), 1);
    assert_eq!(steps(&story), [(wire::Step::Sent as u8, 1)]);
}

/// No answer in the response timeout: 5.04, and an answer that comes later is refused.
#[test]
fn a_get_nobody_answers_times_out() {
    let mut story = Story::new(10);
    story.publishes = Some(Publication::AwaitingAnswer);
    let device = story.connected(1, Some(b""));
    story.requests(device, Type::Con, Code::GET, "/config", b"");
    story.hears(device).expect("the empty ACK");
    story.waits_ms(59_999);
    assert_eq!(story.hears(device), None);
    story.waits_ms(1);
    let (ty, code, own_mid) = seen(story.hears(device)).expect("a response");
    assert_eq!((ty, code), (Type::Con, Code::GATEWAY_TIMEOUT));
    story.sends(device, &empty(Type::Ack, own_mid));
    let uplink = story.uplinks[0].0;
    answers(&mut story, &uplink, device_id(1), b"late");
    assert_eq!(story.hears(device), None);
    let (outcome, _) = story.outcomes.last().expect("an outcome");
    assert_eq!(outcome.reason, wire::FailReason::TokenGone as u8);
    assert_eq!(outcome.is_final, 1);
}

/// An answer for another device's request is refused, whoever has learnt the token.
#[test]
fn an_answer_of_the_wrong_device_is_refused() {
    let mut story = Story::new(11);
    story.publishes = Some(Publication::AwaitingAnswer);
    let device = story.connected(1, Some(b""));
    story.requests(device, Type::Con, Code::GET, "/config", b"");
    story.hears(device).expect("the empty ACK");
    let uplink = story.uplinks[0].0;
    answers(&mut story, &uplink, device_id(2), b"stolen");
    assert_eq!(story.hears(device), None);
    answers(&mut story, &uplink, device_id(1), b"right");
    assert!(story.hears(device).is_some());
}

/// A full ring: 5.03 with Max-Age, or silence for NON; nothing is acknowledged, nothing is lost.
#[test]
fn a_full_exchange_table_says_so() {
    let mut config = tidegate_dataplane::config::Config::default();
    config.coap.exchanges = 1;
    let mut story = Story::with(12, config);
    story.publishes = None;
    let device = story.connected(1, Some(b""));
    story.requests(device, Type::Con, Code::PUT, "/t", b"1");
    let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"2");
    let reply = story.hears(device).expect("a refusal");
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.ty, reply.code, reply.mid), (Type::Ack, Code::SERVICE_UNAVAILABLE, mid));
    assert_eq!(reply.options.uint(Number::MAX_AGE), Some(5));
    story.requests(device, Type::Non, Code::PUT, "/t", b"3");
    assert_eq!(story.hears(device), None);
    assert_eq!(story.uplinks.len(), 1);
    assert_eq!(story.worker().counters().of(Tally::UplinkRefused), 2);
}

/// `[echo]`: a PUT to its path is answered at once, a copy of it with the same, and nothing of it
/// reaches the control plane.
#[test]
fn the_echo_path_is_answered_and_published_nowhere() {
    let mut config = tidegate_dataplane::config::Config::default();
    config.echo.path = "test/echo".into();
    let mut story = Story::with(14, config);
    let device = story.connected(1, Some(b""));
    let put = request(Type::Con, Code::PUT, 7, "/test/echo", b"21");
    for _ in 0..2 {
        story.sends(device, &put);
        let reply = story.hears(device).expect("a reply");
        let message = Message::parse(&reply).expect("a message");
        assert_eq!((message.ty, message.code, message.mid), (Type::Ack, Code::CHANGED, 7));
        assert!(message.options.is_empty() && message.payload.is_empty());
    }
    story.sends(device, &request(Type::Non, Code::PUT, 8, "/test/echo", b"21"));
    let (ty, code, _) = seen(story.hears(device)).expect("an answer");
    assert_eq!((ty, code, story.uplinks.len()), (Type::Non, Code::CHANGED, 0));
    let counters = story.worker().counters();
    assert_eq!((counters.of(Tally::Echo), counters.of(Tally::RequestRepeated)), (2, 1));

    // The control: another method or path is an uplink as ever.
    story.sends(device, &request(Type::Con, Code::DELETE, 9, "/test/echo", b""));
    story.sends(device, &request(Type::Con, Code::PUT, 10, "/test", b""));
    assert_eq!(story.uplinks.len(), 2);
}

/// Requests the worker refuses by itself, and pings.
#[test]
fn bad_requests_are_refused_by_the_book() {
    let mut story = Story::new(13);
    let device = story.connected(1, Some(b""));
    // An unknown critical option (9 OSCORE), a method nobody knows, discovery, a ping.
    story.sends(device, &[0x40, 3, 0, 1, 0x90]);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::BAD_OPTION, 1)));
    story.sends(device, &[0x40, 0x1f, 0, 2]);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::METHOD_NOT_ALLOWED, 2)));
    story.sends(device, &request(Type::Con, Code::GET, 3, "/.well-known/core", b""));
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::NOT_FOUND, 3)));
    story.sends(device, &[0x40, 0, 0, 4]);
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 4)));
    // A message format error: RST for a CON, silence for a NON.
    story.sends(device, &[0x49, 1, 0, 5]);
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 5)));
    story.sends(device, &[0x59, 1, 0, 6]);
    assert_eq!((story.hears(device), story.uplinks.len()), (None, 0));
}

/// What a profile says of ACK timing counts for separate responses, the application's and our own;
/// where it says nothing, the worker's does (RFC 7252 section 4.8: 2 s, up to 3 s, 4 times).
#[test]
fn a_separate_response_is_sent_again_as_the_profile_says() {
    let ways = [Separate::Answer, Separate::LateConfirmation, Separate::NoAnswer];
    for (seed, way) in (20..).zip(ways) {
        let told = wire::Terms {
            ack_timeout_ms: 5_000.into(),
            ack_random_percent: 100.into(),
            max_retransmit_plus_1: 3,
            ..wire::Terms::OWN
        };
        assert_eq!(way.instants(seed, told), [5_000, 15_000], "{way:?}");
        let never = wire::Terms { max_retransmit_plus_1: 1, ..told };
        assert_eq!(way.instants(seed, never), Vec::<u64>::new(), "{way:?}");
        let own = way.instants(seed, wire::Terms::OWN);
        assert_eq!(own.len(), 4, "{way:?}: {own:?}");
        assert!((2_000..=3_000).contains(&own[0]), "{way:?}: {own:?}");
        // Each time-out is twice the one before, and the clock of this story has steps.
        let doubled = [own[0] * 3, own[0] * 7, own[0] * 15];
        let is_near = |(at, doubled): (&u64, u64)| at.abs_diff(doubled) <= 15 * STEP_MS;
        assert!(own[1..].iter().zip(doubled).all(is_near), "{way:?}: {own:?}");
    }
}

/// What a response that is not piggybacked comes from.
#[derive(Clone, Copy, Debug)]
enum Separate {
    /// The application.
    Answer,
    /// A publication that took longer than the ACK may be held back.
    LateConfirmation,
    /// The response timeout.
    NoAnswer,
}

impl Separate {
    /// When the response is sent again, ms after it was sent first.
    fn instants(self, seed: u64, terms: wire::Terms) -> Vec<u64> {
        let mut story = Story::new(seed);
        story.publishes = None;
        let device = story.connected(1, Some(b""));
        let method = if matches!(self, Self::LateConfirmation) { Code::PUT } else { Code::POST };
        let mid = story.requests(device, Type::Con, method, "/t", b"21");
        let uplink = story.uplinks[0].0;
        let publication = match self {
            Self::LateConfirmation => Publication::Confirmed,
            Self::Answer | Self::NoAnswer => Publication::AwaitingAnswer,
        };
        let terms_of = |said| wire::Published { terms: said, ..published(&uplink, publication) };
        if matches!(self, Self::LateConfirmation) {
            story.waits_ms(1_500);
        } else {
            // What an answer says counts, not what the publication said before it.
            let before = if matches!(self, Self::Answer) { wire::Terms::OWN } else { terms };
            story.tells(Kind::Published, terms_of(before).as_bytes(), &[]);
        }
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, mid)), "{self:?}");
        match self {
            Self::Answer => {
                answers_so(&mut story, &uplink, device_id(1), terms, b"{}");
            }
            Self::LateConfirmation => {
                story.tells(Kind::Published, terms_of(terms).as_bytes(), &[]);
            }
            Self::NoAnswer => story.waits_ms(60_000),
        }
        let first = story.hears(device).expect("a separate response");
        assert_eq!(Message::parse(&first).expect("a message").ty, Type::Con);
        let mut instants = Vec::new();
        for step in 1..=100_000 / STEP_MS {
            story.waits_ms(STEP_MS);
            if let Some(again) = story.hears(device) {
                assert_eq!(again, first);
                instants.push(step * STEP_MS);
            }
        }
        instants
    }
}

/// What is refused after it was published, or never answered, is told with its path.
#[test]
fn what_the_control_plane_refuses_is_told_with_its_path() {
    let long = "/a".to_owned() + &"b".repeat(200);
    let longest = EXCHANGE_PATH_BYTES_MAX - 1;
    for (path, shown) in [("/t/x y", "t/x%20y"), (&long, &long[1..=longest]), ("", "")] {
        let mut story = Story::new(30);
        story.publishes = Some(Publication::Unavailable);
        let device = story.connected(1, Some(b""));
        story.requests(device, Type::Con, Code::PUT, path, b"21");
        assert_eq!(told(&story), [(Event::Unpublished as u8, shown)]);
        story.publishes = Some(Publication::AwaitingAnswer);
        story.requests(device, Type::Con, Code::POST, path, b"21");
        let uplink = story.uplinks[1].0;
        refuses(&mut story, &uplink);
        assert_eq!(told(&story)[1..], [(Event::Answered as u8, shown)]);
        story.requests(device, Type::Con, Code::GET, path, b"");
        story.waits_ms(60_000);
        assert_eq!(told(&story)[2..], [(Event::TimedOut as u8, shown)]);
    }
}

/// What was told for the customer's log: the event, and the path.
fn told(story: &Story) -> Vec<(u8, &str)> {
    let text = |tail| std::str::from_utf8(tail).expect("ASCII");
    story.notices.iter().map(|(notice, tail)| (notice.event, text(tail))).collect()
}

fn published(uplink: &wire::Uplink, publication: Publication) -> wire::Published {
    wire::Published::new(uplink.exchange, 7, publication)
}

fn refuses(story: &mut Story, uplink: &wire::Uplink) {
    let (exchange, device, terms) = (uplink.exchange, uplink.device, wire::Terms::OWN);
    let answer =
        wire::Answer { exchange, message_id: [4; 16], device, terms, body_bytes: 0.into() };
    let response = request(Type::Con, Code::CONFLICT, 0, "", b"");
    story.tells(Kind::Answer, answer.as_bytes(), &response);
}

/// How finely the time of a retransmission is looked at, ms.
const STEP_MS: u64 = 10;

fn answers(story: &mut Story, uplink: &wire::Uplink, device: wire::DeviceId, payload: &[u8]) {
    answers_so(story, uplink, device, wire::Terms::OWN, payload);
}

fn answers_so(
    story: &mut Story,
    uplink: &wire::Uplink,
    device: wire::DeviceId,
    terms: wire::Terms,
    payload: &[u8],
) {
    let answer = wire::Answer {
        exchange: uplink.exchange,
        message_id: [3; 16],
        device,
        terms,
        body_bytes: 0.into(),
    };
    let response = request(Type::Con, Code::CONTENT, 0, "", payload);
    story.tells(Kind::Answer, answer.as_bytes(), &response);
}

/// The steps told so far, and whether each is final.
fn steps(story: &Story) -> Vec<(u8, u8)> {
    story.outcomes.iter().map(|(outcome, _)| (outcome.step, outcome.is_final)).collect()
}
