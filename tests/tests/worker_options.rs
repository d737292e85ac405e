//! What do the options of a request change? Those of RFC 7967, 8132, 8768, 8974 and 9175.

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, TOKEN_BYTES_MAX, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_dataplane::fate::Tally;
use tidegate_ring::contract::{self as wire, Kind, Publication, Step};
use tidegate_ring::policy::{Class, Item};
use tidegate_tests::story::{Story, Who, device_id, message, request_with, seen};
use zerocopy::IntoBytes;

/// RFC 7967 section 2: a class that is not wanted is not sent; a CON is acknowledged all the same,
/// and a copy of it again.
#[test]
fn a_response_that_is_not_wanted_is_not_sent() {
    let mut story = Story::new(1);
    let device = story.connected(1, Some(b""));
    for (value, publication, expected) in [
        (&b""[..], Publication::Confirmed, Code::CHANGED),
        (&[2], Publication::Confirmed, Code::EMPTY),
        (&[8 | 16], Publication::Confirmed, Code::CHANGED),
        (&[2 | 16], Publication::NoRoute, Code::NOT_FOUND),
        (&[8], Publication::NoRoute, Code::EMPTY),
        (&[2 | 8], Publication::Unavailable, Code::SERVICE_UNAVAILABLE),
        (&[16], Publication::Unavailable, Code::EMPTY),
    ] {
        story.publishes = Some(publication);
        for ty in [Type::Con, Type::Non] {
            let mid = story.uplinks.len() as u16 + 1;
            let put = request_with(ty, Code::PUT, mid, "t", &[(Number::NO_RESPONSE, value)]);
            story.sends(device, &put);
            let heard = seen(story.hears(device)).map(|(ty, code, _)| (ty, code));
            let answer = if ty == Type::Con { Type::Ack } else { Type::Non };
            let is_silent = ty == Type::Non && expected == Code::EMPTY;
            assert_eq!(heard, (!is_silent).then_some((answer, expected)), "{value:?} {ty:?}");
            if ty == Type::Con {
                story.sends(device, &put);
                assert_eq!(seen(story.hears(device)), Some((Type::Ack, expected, mid)), "a copy");
            }
            assert_eq!(story.hears(device), None);
        }
    }
    assert_eq!(story.uplinks.len(), 14);
}

/// The application's answer is suppressed, too, and its outcome told; what the worker refuses by
/// itself as well.
#[test]
fn an_answer_that_is_not_wanted_ends_as_sent() {
    let mut story = Story::new(2);
    story.publishes = Some(Publication::AwaitingAnswer);
    let device = story.connected(1, Some(b""));
    let get = request_with(Type::Con, Code::GET, 1, "t", &[(Number::NO_RESPONSE, &[26])]);
    story.sends(device, &get);
    let answer = wire::Answer { message_id: [9; 16], ..answer_to(&story.uplinks[0].0) };
    let content = message(Type::Con, Code::CONTENT, 0, &Token::EMPTY, |writer| {
        writer.payload(b"21");
    });
    story.tells(Kind::Answer, answer.as_bytes(), &content);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 1)));
    assert_eq!(story.hears(device), None);
    let told: Vec<_> = story.outcomes.iter().map(|(o, _)| (o.step, o.is_final)).collect();
    assert_eq!(told, [(Step::Sent as u8, 1)]);

    let unknown = [(Number::NO_RESPONSE, &[8][..]), (Number(9_999), b"")];
    story.sends(device, &request_with(Type::Con, Code::PUT, 2, "t", &unknown));
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 2)));
}

/// RFC 8974 section 2: a token as long as we keep comes back; a longer one is no format error, but
/// 4.00 with the token.
#[test]
fn extended_tokens_come_back_and_those_that_are_too_long_with_an_error() {
    let mut story = Story::new(3);
    let device = story.connected(1, Some(b""));
    let token: [u8; TOKEN_BYTES_MAX] = std::array::from_fn(|at| at as u8);
    let put = message(Type::Con, Code::PUT, 1, &Token::new(&token), |writer| {
        writer.option(Number::URI_PATH, b"t");
    });
    story.sends(device, &put);
    let reply = story.hears(device).expect("an answer");
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.code, reply.token.as_bytes()), (Code::CHANGED, &token[..]));

    for (first, ty) in [(0x4d, Type::Ack), (0x5d, Type::Non)] {
        let long = [7; TOKEN_BYTES_MAX + 1];
        let extended = (long.len() - 13) as u8;
        let put = [&[first, Code::PUT.0, 0, 2, extended][..], &long, b"\xb1t"].concat();
        story.sends(device, &put);
        let reply = story.hears(device).expect("an answer");
        assert_eq!(reply[0], 0x4d | (ty as u8) << 4);
        assert_eq!(reply[1], Code::BAD_REQUEST.0);
        assert_eq!(reply[4..], [&[extended][..], &long].concat());
    }
    assert_eq!(story.uplinks.len(), 1);

    story.sends(device, &[0x4f, Code::PUT.0, 0, 3, 0, 0, 0]);
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 3)), "reserved");
}

/// RFC 8974 with a separate response: the exchange keeps the token.
#[test]
fn a_separate_response_has_the_extended_token() {
    let mut story = Story::new(4);
    story.publishes = None;
    let device = story.connected(1, Some(b""));
    let token = Token::new(&[5; TOKEN_BYTES_MAX]);
    story.sends(device, &message(Type::Con, Code::PUT, 1, &token, |_| {}));
    story.waits_ms(1_500);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 1)));
    let uplink = story.uplinks[0].0;
    story.published(&uplink, Publication::Unavailable);
    let reply = story.hears(device).expect("an answer");
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.code, reply.token), (Code::SERVICE_UNAVAILABLE, token));
    assert_eq!(reply.options.uint(Number::MAX_AGE), Some(7));
}

/// RFC 8132: a FETCH is answered by the application, a PATCH and an iPATCH as a PUT.
#[test]
fn the_methods_of_rfc_8132_are_uplinks() {
    let mut story = Story::new(5);
    let device = story.connected(1, Some(b""));
    for (method, awaited) in [(Code::FETCH, 1), (Code::PATCH, 0), (Code::IPATCH, 0)] {
        let mid = story.requests(device, Type::Con, method, "/t", b"[]");
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CHANGED, mid)));
        let (uplink, bytes) = story.uplinks.last().expect("an uplink");
        assert_eq!(uplink.answer_awaited, awaited, "{method}");
        assert_eq!(Message::parse(bytes).expect("a message").code, method);
    }
}

/// RFC 8768 section 3: a Hop-Limit of 0 or above 255 is refused; the edge forwards to nobody.
#[test]
fn a_hop_limit_that_is_none_is_refused() {
    let mut story = Story::new(6);
    let device = story.connected(1, Some(b""));
    for (mid, value, code) in [
        (1, &[1][..], Code::CHANGED),
        (2, &[255], Code::CHANGED),
        (3, &[0], Code::BAD_REQUEST),
        (4, &[1, 0], Code::BAD_REQUEST),
    ] {
        let put = request_with(Type::Con, Code::PUT, mid, "t", &[(Number::HOP_LIMIT, value)]);
        story.sends(device, &put);
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, code, mid)));
    }
}

/// RFC 9175 section 2.3: where the profile wants it, a request that changes something is answered
/// 4.01 with Echo, and served once it carries that; until the value is too old.
#[test]
fn a_request_has_to_be_as_fresh_as_the_profile_says() {
    let (mut story, device) = with_freshness_of(7, 60);
    let echo = challenged(&mut story, device, 1, None);
    assert!(story.uplinks.is_empty());
    assert_eq!(put(&mut story, device, 2, Some(&echo)), Code::CHANGED);
    story.waits_ms(59_000);
    assert_eq!(put(&mut story, device, 3, Some(&echo)), Code::CHANGED);
    story.waits_ms(1_000);
    let newer = challenged(&mut story, device, 4, Some(&echo));
    assert_eq!(put(&mut story, device, 5, Some(&newer)), Code::CHANGED);
    assert_eq!(story.uplinks.len(), 3);
    assert_eq!(story.worker().counters().of(Tally::RequestUnfresh), 2);

    // What only reads is not asked, nor are the later blocks of a body.
    story.requests(device, Type::Con, Code::GET, "/t", b"");
    assert_eq!(story.uplinks.len(), 4);
}

/// Nobody else's value, none of another life, and none that was made up.
#[test]
fn an_echo_value_counts_for_its_device_and_the_worker_that_made_it() {
    let (mut story, device) = with_freshness_of(8, 60);
    let other = story.connected(2, Some(b""));
    let echo = challenged(&mut story, device, 1, None);
    challenged(&mut story, other, 1, Some(&echo));
    challenged(&mut story, device, 2, Some(&[0; 12]));
    challenged(&mut story, device, 3, Some(&echo[..11]));
    assert_eq!(put(&mut story, device, 4, Some(&echo)), Code::CHANGED);
    story.restarts();
    story.permits(&[Item::Class(3, Class { fresh_s: 60, ..Class::default() })]);
    challenged(&mut story, device, 5, Some(&echo));
}

/// A copy of a request that was challenged is challenged; a NON is, too.
#[test]
fn a_copy_is_challenged_like_the_request() {
    let (mut story, device) = with_freshness_of(9, 60);
    let put = request_with(Type::Con, Code::PUT, 1, "t", &[]);
    for _ in 0..2 {
        story.sends(device, &put);
        let reply = story.hears(device).expect("an answer");
        let reply = Message::parse(&reply).expect("a message");
        assert_eq!((reply.ty, reply.code), (Type::Ack, Code::UNAUTHORIZED));
        assert!(reply.options.first(Number::ECHO).is_some());
    }
    story.sends(device, &request_with(Type::Non, Code::PUT, 2, "t", &[]));
    let heard = seen(story.hears(device)).map(|(ty, code, _)| (ty, code));
    assert_eq!(heard, Some((Type::Non, Code::UNAUTHORIZED)));
}

/// The other way round: a device that wants to know gets our request again, with its value. Once.
#[test]
fn a_device_gets_the_echo_that_it_asks_for() {
    let mut story = Story::new(10);
    let device = story.connected(1, Some(b""));
    let downlink = wire::Downlink {
        message_id: [1; 16],
        device: device_id(1),
        session: story.last_session().session,
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    };
    let put = message(Type::Con, Code::PUT, 0, &Token::EMPTY, |writer| {
        writer.option(Number::URI_PATH, b"lock").option_uint(Number::NO_RESPONSE, 0);
        writer.payload(b"open");
    });
    story.tells(Kind::Downlink, downlink.as_bytes(), &put);
    for echo in [None, Some(&b"now"[..])] {
        let request = story.hears(device).expect("a request");
        let request = Message::parse(&request).expect("a message");
        assert_eq!(request.options.first(Number::ECHO), echo);
        assert_eq!(request.options.uint(Number::NO_RESPONSE), Some(0));
        assert_eq!(request.payload, b"open");
        let mid = request.mid;
        let challenge = message(Type::Ack, Code::UNAUTHORIZED, mid, &request.token, |writer| {
            writer.option(Number::ECHO, b"now");
        });
        story.sends(device, &challenge);
    }
    assert_eq!(story.hears(device), None, "a second challenge is the response");
    let last = story.outcomes.last().expect("an outcome");
    assert_eq!((last.0.step, last.0.is_final), (Step::Responded as u8, 1));
    assert_eq!(Message::parse(&last.1).expect("a message").code, Code::UNAUTHORIZED);
    story.sends(device, &empty(Type::Con, 77));
}

fn with_freshness_of(seed: u64, fresh_s: u32) -> (Story, Who) {
    let mut story = Story::new(seed);
    story.permits(&[Item::Class(3, Class { fresh_s, ..Class::default() })]);
    story.class = 3;
    let device = story.connected(1, Some(b""));
    (story, device)
}

/// A PUT with this Echo; what it is answered.
fn put(story: &mut Story, device: Who, mid: u16, echo: Option<&[u8]>) -> Code {
    let options: Vec<_> = echo.into_iter().map(|echo| (Number::ECHO, echo)).collect();
    story.sends(device, &request_with(Type::Con, Code::PUT, mid, "t", &options));
    let reply = story.hears(device).expect("an answer");
    Message::parse(&reply).expect("a message").code
}

/// The same where it is not fresh; the value that would be.
fn challenged(story: &mut Story, device: Who, mid: u16, echo: Option<&[u8]>) -> Vec<u8> {
    let options: Vec<_> = echo.into_iter().map(|echo| (Number::ECHO, echo)).collect();
    story.sends(device, &request_with(Type::Con, Code::PUT, mid, "t", &options));
    let reply = story.hears(device).expect("an answer");
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!(reply.code, Code::UNAUTHORIZED);
    reply.options.first(Number::ECHO).expect("a challenge").to_vec()
}

fn answer_to(uplink: &wire::Uplink) -> wire::Answer {
    wire::Answer {
        exchange: uplink.exchange,
        message_id: [0; 16],
        device: uplink.device,
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    }
}
