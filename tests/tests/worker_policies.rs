//! What may a device ask for, and how often? Policies and quotas as a device meets them.

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Type};
use tidegate_coap::option::Number;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Tally;
use tidegate_dtls::client;
use tidegate_ring::contract::{self as wire, Event, Kind, Mishap};
use tidegate_ring::policy::{self, Class, Effect, Item, METHODS_ALL, Rate, method_bit};
use tidegate_tests::story::credentials::Authority;
use tidegate_tests::story::{Story, Who, device_id, identity, request, seen};
use zerocopy::IntoBytes;

/// The class of the devices here.
const CLASS: u16 = 5;

fn policy(statements: &[(Effect, u8, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (effect, methods, pattern) in statements {
        policy::write_statement(&mut bytes, *effect, *methods, pattern.as_bytes());
    }
    bytes
}

/// From now on the class may only do this.
fn may(story: &mut Story, statements: &[(Effect, u8, &str)]) {
    let class = Class { own: 1, ..Class::default() };
    story.permits(&[Item::Policy(&policy(statements)), Item::Class(CLASS, class)]);
}

/// Puts to `sensors` alone are allowed.
const SENSORS: &[(Effect, u8, &str)] = &[(Effect::Allow, 1 << 2, "sensors/*")];

fn story(seed: u64) -> Story {
    story_with(seed, Config::default())
}

fn story_with(seed: u64, config: Config) -> Story {
    let mut story = Story::with(seed, config);
    story.class = CLASS;
    story
}

fn asks(story: &mut Story, who: Who, method: Code, path: &str) -> Option<Code> {
    story.requests(who, Type::Con, method, path, b"");
    seen(story.hears(who)).map(|(_, code, _)| code)
}

fn tally(story: &mut Story, tally: Tally) -> u64 {
    story.worker().counters().of(tally)
}

#[test]
fn what_no_policy_allows_is_forbidden_and_told() {
    let mut story = story(1);
    may(&mut story, SENSORS);
    let device = story.connected(1, Some(b""));
    assert_eq!(asks(&mut story, device, Code::PUT, "/sensors/1"), Some(Code::CHANGED));
    assert_eq!(story.uplinks[0].0.class.get(), CLASS);
    assert!(story.notices.is_empty());

    let mid = story.requests(device, Type::Con, Code::PUT, "/admin/x", b"");
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::FORBIDDEN, mid)));
    assert_eq!((story.uplinks.len(), tally(&mut story, Tally::RequestForbidden)), (1, 1));
    let (notice, path) = &story.notices[0];
    assert_eq!((notice.device, notice.event), (device_id(1), Event::Refused as u8));
    assert_eq!((notice.method, notice.code), (Code::PUT.0, Code::FORBIDDEN.0));
    assert_eq!((notice.mid.get(), notice.class.get(), &path[..]), (mid, CLASS, &b"admin/x"[..]));

    story.requests(device, Type::Non, Code::GET, "/sensors/1", b"");
    let answer = seen(story.hears(device)).map(|(ty, code, _)| (ty, code));
    assert_eq!(answer, Some((Type::Non, Code::FORBIDDEN)), "another method");
}

/// A copy of a forbidden request is answered from memory, whatever was allowed meanwhile, and told
/// once.
#[test]
fn a_copy_of_a_forbidden_request_gets_the_same_reply() {
    let mut story = story(2);
    may(&mut story, SENSORS);
    let device = story.connected(1, Some(b""));
    let put = request(Type::Con, Code::PUT, 7, "/other", b"");
    for _ in 0..2 {
        story.sends(device, &put);
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::FORBIDDEN, 7)));
        may(&mut story, &[(Effect::Allow, METHODS_ALL, "*")]);
    }
    assert_eq!((story.notices.len(), tally(&mut story, Tally::RequestRepeated)), (1, 1));
    assert_eq!(asks(&mut story, device, Code::PUT, "/other"), Some(Code::CHANGED));
}

#[test]
fn a_new_sheet_counts_for_sessions_that_are_there() {
    let mut story = story(3);
    may(&mut story, &[(Effect::Allow, METHODS_ALL, "*")]);
    let device = story.connected(1, Some(b""));
    assert_eq!(asks(&mut story, device, Code::DELETE, "/a"), Some(Code::DELETED));
    may(&mut story, SENSORS);
    assert_eq!(asks(&mut story, device, Code::DELETE, "/a"), Some(Code::FORBIDDEN));
    // What is not a sheet changes nothing.
    story.tells(Kind::Policies, &[0; 15], &[]);
    let piece = wire::Policies { generation: 99.into(), offset: 0.into(), total: 1.into() };
    story.tells(Kind::Policies, piece.as_bytes(), &[77]);
    assert_eq!(tally(&mut story, Tally::PoliciesRefused), 1);
    assert_eq!(asks(&mut story, device, Code::DELETE, "/a"), Some(Code::FORBIDDEN));
}

/// A device gets another policy: its session is told, and so is what is remembered of it.
#[test]
fn a_device_changes_its_class() {
    let mut story = story(4);
    let class = Class { own: 1, ..Class::default() };
    let all = policy(&[(Effect::Allow, METHODS_ALL, "*")]);
    let none = policy(&[(Effect::Deny, METHODS_ALL, "*")]);
    story.permits(&[
        Item::Policy(&all),
        Item::Policy(&none),
        Item::Class(CLASS, class),
        Item::Class(6, Class { own: 2, ..class }),
    ]);
    let (device, other) = (story.connected(1, Some(b"")), story.connected(2, Some(b"")));
    let sessions = story.sessions.iter().filter_map(|notice| match notice {
        tidegate_tests::story::SessionNotice::Up(up) => Some(up.session),
        tidegate_tests::story::SessionNotice::Down(_) => None,
    });
    let sessions: Vec<_> = sessions.collect();
    let order = wire::Class { device: device_id(1), session: sessions[0], class: 6.into() };
    // Not for a session that is another device's.
    let strange = wire::Class { session: sessions[1], ..order };
    story.tells(Kind::Class, strange.as_bytes(), &[]);
    assert_eq!(asks(&mut story, other, Code::PUT, "/a"), Some(Code::CHANGED));
    story.tells(Kind::Class, order.as_bytes(), &[]);
    assert_eq!(asks(&mut story, device, Code::PUT, "/a"), Some(Code::FORBIDDEN));
    assert_eq!(asks(&mut story, other, Code::PUT, "/a"), Some(Code::CHANGED));
    let wanted = story.wanted;
    let again = story.connected(1, Some(b""));
    assert_eq!((story.wanted, story.last_session().class.get()), (wanted, 6));
    assert_eq!(asks(&mut story, again, Code::PUT, "/a"), Some(Code::FORBIDDEN));
}

/// A worker that starts anew knows its sessions' classes, and lets nobody through before it hears
/// what they may do; a device without policies goes on.
#[test]
fn after_a_restart_nobody_passes_before_the_sheet_comes() {
    let mut story = story(5);
    may(&mut story, SENSORS);
    let device = story.connected(1, Some(b""));
    story.class = 0;
    let free = story.connected(2, Some(b""));
    story.restarts();
    story.requests(device, Type::Con, Code::PUT, "/sensors/1", b"");
    let answer = story.hears(device).expect("an answer");
    let answer = Message::parse(&answer).expect("a message");
    assert_eq!(answer.code, Code::SERVICE_UNAVAILABLE);
    assert_eq!(answer.options.uint(Number::MAX_AGE), Some(2));
    assert_eq!(asks(&mut story, free, Code::PUT, "/any"), Some(Code::CHANGED));
    may(&mut story, SENSORS);
    assert_eq!(asks(&mut story, device, Code::PUT, "/sensors/1"), Some(Code::CHANGED));
    assert_eq!(asks(&mut story, device, Code::PUT, "/any"), Some(Code::FORBIDDEN));
}

/// What is resumed is in the class it was made in, until the control plane says otherwise.
#[test]
fn a_resumed_session_keeps_its_class() {
    let mut story = story(6);
    may(&mut story, SENSORS);
    let device = story.connected(1, Some(b""));
    let session = story.at(device).resumable().cloned().expect("it can be");
    let back = story.comes_back(1, Some(b""), Some(&session));
    story.exchange();
    assert_eq!((story.last_session().resumed, story.last_session().class.get()), (1, CLASS));
    assert_eq!(asks(&mut story, back, Code::PUT, "/any"), Some(Code::FORBIDDEN));
}

/// RFC 8516: 4.29 with the time to wait; a NON gets nothing, and neither counts as sent.
#[test]
fn a_device_beyond_its_quota_waits() {
    let mut story = story(7);
    let device_rate = Rate { interval_us: 2_500_000, burst: 2 };
    let class = Class { device: device_rate, ..Class::default() };
    story.permits(&[Item::Class(CLASS, class)]);
    let (device, other) = (story.connected(1, Some(b"")), story.connected(2, Some(b"")));
    for _ in 0..2 {
        assert_eq!(asks(&mut story, device, Code::PUT, "/t"), Some(Code::CHANGED));
    }
    let mid = story.requests(device, Type::Con, Code::PUT, "/t", b"");
    let answer = story.hears(device).expect("an answer");
    let answer = Message::parse(&answer).expect("a message");
    assert_eq!((answer.code, answer.mid), (Code::TOO_MANY_REQUESTS, mid));
    assert_eq!(answer.options.uint(Number::MAX_AGE), Some(3), "2.5 seconds, rounded up");
    story.requests(device, Type::Non, Code::PUT, "/t", b"");
    assert_eq!(story.hears(device), None);
    assert_eq!((story.uplinks.len(), tally(&mut story, Tally::RequestLimited)), (2, 2));
    let codes: Vec<u8> = story.notices.iter().map(|(notice, _)| notice.code).collect();
    assert_eq!(codes, [Code::TOO_MANY_REQUESTS.0, 0]);
    assert_eq!(asks(&mut story, other, Code::PUT, "/t"), Some(Code::CHANGED));
    story.waits_ms(2_500);
    assert_eq!(asks(&mut story, device, Code::PUT, "/t"), Some(Code::CHANGED));
    assert_eq!(asks(&mut story, device, Code::PUT, "/t"), Some(Code::TOO_MANY_REQUESTS));
}

#[test]
fn devices_of_an_account_share_its_quota() {
    let mut story = story(8);
    let rate = Rate { interval_us: 10_000_000, burst: 3 };
    let class = Class { account: 1, ..Class::default() };
    story.permits(&[Item::Account(rate), Item::Class(CLASS, class)]);
    let devices = [1, 2].map(|number| story.connected(number, Some(b"")));
    story.class = 0;
    let stranger = story.connected(3, Some(b""));
    for who in [devices[0], devices[1], devices[0]] {
        assert_eq!(asks(&mut story, who, Code::PUT, "/t"), Some(Code::CHANGED));
    }
    for who in devices {
        assert_eq!(asks(&mut story, who, Code::PUT, "/t"), Some(Code::TOO_MANY_REQUESTS));
    }
    assert_eq!(asks(&mut story, stranger, Code::PUT, "/t"), Some(Code::CHANGED));
    story.waits_ms(10_000);
    assert_eq!(asks(&mut story, devices[1], Code::PUT, "/t"), Some(Code::CHANGED));
    assert_eq!(asks(&mut story, devices[0], Code::PUT, "/t"), Some(Code::TOO_MANY_REQUESTS));
}

/// The echo path publishes nothing: policies count for it, quotas do not.
#[test]
fn the_echo_path_is_judged_and_not_counted() {
    let mut config = Config::default();
    config.echo.path = "/echo".to_owned();
    let mut story = story_with(9, config);
    let rate = Rate { interval_us: 60_000_000, burst: 1 };
    let class = Class { own: 1, device: rate, ..Class::default() };
    let echo = policy(&[(Effect::Allow, method_bit(Code::PUT.0), "echo")]);
    story.permits(&[Item::Policy(&echo), Item::Class(CLASS, class)]);
    let device = story.connected(1, Some(b""));
    for _ in 0..3 {
        assert_eq!(asks(&mut story, device, Code::PUT, "/echo"), Some(Code::CHANGED));
    }
    may(&mut story, SENSORS);
    assert_eq!(asks(&mut story, device, Code::PUT, "/echo"), Some(Code::FORBIDDEN));
}

/// What the worker itself answers 4.xx or 5.xx is told, whatever the reason.
#[test]
fn every_refusal_of_the_worker_is_told() {
    let mut story = Story::new(10);
    story.publishes = None;
    let device = story.connected(1, Some(b""));
    asks(&mut story, device, Code::GET, "/.well-known/core");
    asks(&mut story, device, Code::new(0, 9), "/x");
    story.requests(device, Type::Con, Code::PUT, "/t", b"");
    story.waits_ms(100_000);
    let told: Vec<_> =
        story.notices.iter().map(|(notice, _)| (notice.event, notice.code)).collect();
    let (refused, late) = (Event::Refused as u8, Event::TimedOut as u8);
    let expected = [
        (refused, Code::NOT_FOUND.0),
        (refused, Code::METHOD_NOT_ALLOWED.0),
        (late, Code::SERVICE_UNAVAILABLE.0),
    ];
    assert_eq!(told, expected);
}

#[test]
fn failed_handshakes_of_known_devices_are_told() {
    let mut story = Story::new(11);
    story.device(1, Some(b""), b"another key than its own");
    story.exchange();
    story.waits_ms(70_000);
    let (notice, _) = story.notices[0];
    assert_eq!((notice.device, notice.event), (device_id(1), Event::HandshakeFailed as u8));
    assert_eq!(notice.detail, Mishap::WrongKey as u8);
    // The control: an identity that is nobody's.
    let nobody = b"nobody's".to_vec();
    story.device_named(2, nobody, Some(b""), b"any key", client::Config::default());
    story.exchange();
    story.waits_ms(70_000);
    assert_eq!(story.notices.len(), 1);
}

/// Of a certificate that has expired only the name is known, and that is not proven.
#[test]
fn the_name_on_an_expired_certificate_is_told() {
    let (mut story, authority) = (Story::new(12), Authority::new());
    let server = authority.server("edge.example");
    story.trusts(&[&[authority.item()][..], &server.items()].concat());
    let name = String::from_utf8(identity(1)).expect("digits");
    let server_name = Some("edge.example".to_owned());
    let config =
        client::Config { server_name, trust: authority.trust(), ..client::Config::default() };
    story.device_as(1, authority.expired_device(&name), Some(b""), config);
    story.exchange();
    let (notice, tail) = &story.notices[0];
    assert_eq!((notice.device, notice.event), ([0; 16], Event::HandshakeUnproven as u8));
    let (claim, mishap) = (wire::Claim::Certificate as u8, Mishap::CertificateExpired as u8);
    assert_eq!((notice.code, notice.detail), (claim, mishap));
    assert!(tail[34..].starts_with(format!("CN={name}").as_bytes()));
}

/// Notices are the first to be left out, and that is counted.
#[test]
fn notices_beyond_their_bound_are_counted() {
    use tidegate_dataplane::bounds::NOTICES_BURST;
    let mut story = story(13);
    may(&mut story, SENSORS);
    let device = story.connected(1, Some(b""));
    for _ in 0..=NOTICES_BURST {
        assert_eq!(asks(&mut story, device, Code::PUT, "/other"), Some(Code::FORBIDDEN));
    }
    assert_eq!(story.notices.len(), NOTICES_BURST as usize);
    assert_eq!(tally(&mut story, Tally::NoticeShed), 1);
    story.waits_ms(1);
    asks(&mut story, device, Code::PUT, "/other");
    assert_eq!(story.notices.len(), NOTICES_BURST as usize + 1);
}
