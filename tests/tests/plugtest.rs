//! Which cases of the fourth ETSI CoAP plugtest does the edge pass? `docs/plugtests.md` has a row
//! for each; those of the base protocol are played here, with the edge as the server.

use std::path::Path;

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_ring::contract::{self as wire, Kind, Publication};
use tidegate_tests::repository;
use tidegate_tests::story::{Story, Who, message, request_with, seen};
use zerocopy::IntoBytes;

/// GET, DELETE, PUT and POST, each as a CON.
#[test]
fn td_coap_core_01_to_04() {
    transactions(Type::Con, Type::Ack);
}

/// The same as a NON.
#[test]
fn td_coap_core_05_to_08() {
    transactions(Type::Non, Type::Non);
}

fn transactions(ty: Type, answered_by: Type) {
    for (method, code) in [
        (Code::GET, Code::CONTENT),
        (Code::DELETE, Code::DELETED),
        (Code::PUT, Code::CHANGED),
        (Code::POST, Code::CREATED),
    ] {
        let (mut story, device) = served();
        story.publishes =
            matches!(method, Code::PUT | Code::DELETE).then_some(Publication::Confirmed);
        let asked = message(ty, method, 7, &Token::new(b"t"), |writer| {
            writer.option(Number::URI_PATH, b"test");
            if matches!(method, Code::PUT | Code::POST) {
                writer.option_uint(Number::CONTENT_FORMAT, 0).payload(b"some");
            }
        });
        story.sends(device, &asked);
        let (_, published) = story.uplinks.last().expect("it is published");
        assert_eq!(*published, asked, "as it came");
        if story.publishes.is_none() {
            answers(&mut story, code, |_| {});
        }
        let reply = story.hears(device).expect("an answer");
        let reply = Message::parse(&reply).expect("a message");
        assert_eq!((reply.ty, reply.code, reply.token), (answered_by, code, Token::new(b"t")));
        if ty == Type::Con {
            assert_eq!(reply.mid, 7);
        }
    }
}

/// A GET whose answer is late: an empty ACK, then a CON with another Message ID, which the client
/// acknowledges.
#[test]
fn td_coap_core_09_and_11() {
    let (mut story, device) = served();
    let token = Token::new(b"eight_by");
    story.sends(device, &get(Type::Con, 7, &token));
    story.waits_ms(2_000);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 7)));
    answers(&mut story, Code::CONTENT, |_| {});
    let reply = story.hears(device).expect("an answer");
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.ty, reply.code, reply.token), (Type::Con, Code::CONTENT, token));
    assert_eq!(reply.payload, b"content");
    story.sends(device, &empty(Type::Ack, reply.mid));
    story.waits_ms(100_000);
    assert_eq!(story.hears(device), None);
}

/// Tokens of one to eight bytes, and none at all, come back.
#[test]
fn td_coap_core_10_and_12() {
    for length in 0..=8 {
        let (mut story, device) = served();
        let token = Token::new(&[9; 8][..length]);
        story.sends(device, &get(Type::Con, 7, &token));
        answers(&mut story, Code::CONTENT, |_| {});
        let reply = story.hears(device).expect("an answer");
        assert_eq!(Message::parse(&reply).expect("a message").token, token);
    }
}

/// Several segments and several arguments reach the application in their order.
#[test]
fn td_coap_core_13_and_14() {
    let (mut story, device) = served();
    let query = [(Number::URI_QUERY, &b"first=1"[..]), (Number::URI_QUERY, b"second=2")];
    story.sends(device, &request_with(Type::Con, Code::GET, 7, "seg1/seg2/seg3", &query));
    let (_, bytes) = &story.uplinks[0];
    let published = Message::parse(bytes).expect("a message");
    let path: Vec<_> = published.options.uri_path().flatten().collect();
    let query: Vec<_> = published.options.uri_query().flatten().collect();
    assert_eq!(
        (path.join("/"), query.join("&")),
        ("seg1/seg2/seg3".into(), "first=1&second=2".into())
    );
}

/// The answer on the ACK is lost, or the request is: the client repeats it, and gets the answer,
/// made once.
#[test]
fn td_coap_core_15() {
    let (mut story, device) = served();
    let asked = get(Type::Con, 7, &Token::new(b"t"));
    story.sends(device, &asked);
    story.loses(1);
    answers(&mut story, Code::CONTENT, |_| {});
    assert_eq!(story.hears(device), None, "lost");
    story.sends(device, &asked);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::CONTENT, 7)));
    assert_eq!(story.uplinks.len(), 1);
}

/// The empty ACK is lost, then the response: either comes again.
#[test]
fn td_coap_core_16() {
    let (mut story, device) = served();
    let asked = get(Type::Con, 7, &Token::new(b"t"));
    story.sends(device, &asked);
    story.loses(1);
    story.waits_ms(2_000);
    assert_eq!(story.hears(device), None, "lost");
    story.sends(device, &asked);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 7)));
    story.loses(1);
    answers(&mut story, Code::CONTENT, |_| {});
    assert_eq!(story.hears(device), None, "lost");
    story.waits_ms(3_001);
    let reply = story.hears(device).expect("again");
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.ty, reply.code), (Type::Con, Code::CONTENT));
    story.sends(device, &empty(Type::Ack, reply.mid));
    assert_eq!(story.uplinks.len(), 1);
}

/// A NON is answered by a NON, however late, and by nothing before.
#[test]
fn td_coap_core_17() {
    let (mut story, device) = served();
    story.sends(device, &get(Type::Non, 7, &Token::new(b"t")));
    story.waits_ms(5_000);
    assert_eq!(story.hears(device), None);
    answers(&mut story, Code::CONTENT, |_| {});
    let heard = seen(story.hears(device)).map(|(ty, code, _)| (ty, code));
    assert_eq!(heard, Some((Type::Non, Code::CONTENT)));
}

/// What was made is where the application says.
#[test]
fn td_coap_core_18_and_19() {
    let (mut story, device) = served();
    story.sends(device, &request_with(Type::Con, Code::POST, 7, "test", &[]));
    answers(&mut story, Code::CREATED, |writer| {
        for segment in [&b"location1"[..], b"location2", b"location3"] {
            writer.option(Number::LOCATION_PATH, segment);
        }
        for argument in [&b"first=1"[..], b"second=2"] {
            writer.option(Number::LOCATION_QUERY, argument);
        }
    });
    let reply = story.hears(device).expect("an answer");
    let options = Message::parse(&reply).expect("a message").options;
    let path: Vec<_> = options.all(Number::LOCATION_PATH).collect();
    assert_eq!(path, [&b"location1"[..], b"location2", b"location3"]);
    let query: Vec<_> = options.all(Number::LOCATION_QUERY).collect();
    assert_eq!(query, [&b"first=1"[..], b"second=2"]);
}

/// An empty CON is answered by a RST.
#[test]
fn td_coap_core_31() {
    let (mut story, device) = served();
    story.sends(device, &empty(Type::Con, 7));
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 7)));
}

/// Every row names a test that is there.
#[test]
fn the_table_leads_to_tests() {
    let root = repository::root();
    let page = std::fs::read_to_string(root.join("docs/plugtests.md")).expect("the table");
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| TD_COAP_")) {
        rows += 1;
        let place = row.split('`').nth(1).unwrap_or_else(|| panic!("no test in {row}"));
        let (path, function) = place.split_once("::").expect("path::function");
        let text = std::fs::read_to_string(Path::new(&root).join(path)).expect(path);
        assert!(text.contains(&format!("fn {function}(")), "{row}");
    }
    assert!(rows >= 43, "{rows} rows");
}

/// A device with a session, whose requests wait for the application.
fn served() -> (Story, Who) {
    let mut story = Story::new(1);
    story.publishes = None;
    let device = story.connected(1, Some(b""));
    (story, device)
}

fn get(ty: Type, mid: u16, token: &Token) -> Vec<u8> {
    message(ty, Code::GET, mid, token, |writer| {
        writer.option(Number::URI_PATH, b"test");
    })
}

/// The application answers the last request.
fn answers(
    story: &mut Story,
    code: Code,
    fill: impl FnOnce(&mut tidegate_coap::message::Writer<'_>),
) {
    let uplink = story.uplinks.last().expect("a request").0;
    let answer = wire::Answer {
        exchange: uplink.exchange,
        message_id: [9; 16],
        device: uplink.device,
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    };
    let bytes = message(Type::Con, code, 0, &Token::EMPTY, |writer| {
        fill(writer);
        writer.payload(b"content");
    });
    story.tells(Kind::Answer, answer.as_bytes(), &bytes);
}
