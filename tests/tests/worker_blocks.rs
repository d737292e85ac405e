//! A request whose body comes block by block (RFC 7959), from its first block to the response.

use tidegate_coap::block::{Block, BlockSize};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Tally;
use tidegate_ring::contract::{self as wire, Kind, Publication};
use tidegate_ring::policy::{Class, Item};
use tidegate_tests::story::{Story, Who, device_id};
use zerocopy::IntoBytes;

/// RFC 7959 figure 7: each block is answered 2.31 with its number, the last with the response to
/// the whole, which is published once.
#[test]
fn a_body_is_published_once_its_last_block_is_here() {
    let mut story = Story::new(1);
    let device = story.connected(1, Some(b""));
    let body = body_of(300);
    let put = Upload::new(device, "/log", 128);
    for number in 0..2 {
        put.sends(&mut story, &body, number);
        assert_eq!(answered(&mut story, device), (Code::CONTINUE, block(number, true, 128)));
        assert!(story.uplinks.is_empty());
    }
    put.sends(&mut story, &body, 2);
    assert_eq!(answered(&mut story, device), (Code::CHANGED, block(2, false, 128)));
    assert_eq!((story.uplinks.len(), &story.bodies[0]), (1, &body));
    let (uplink, message) = &story.uplinks[0];
    let message = Message::parse(message).expect("a message");
    assert_eq!((uplink.device, message.payload), (device_id(1), &b""[..]));
    assert_eq!(message.options.first(Number::URI_PATH), Some(&b"log"[..]));
    assert_eq!(story.worker().counters().of(Tally::UploadWhole), 1);
}

/// The whole way of a body as long as may be, and of one that is a byte longer.
#[test]
fn a_body_is_as_long_as_it_may_be() {
    let longest = Config::default().coap.upload_bytes as usize;
    let mut story = Story::new(2);
    let device = story.connected(1, Some(b""));
    let body = body_of(longest);
    let put = Upload::new(device, "/log", 1_024);
    assert_eq!(put.sends_all(&mut story, &body), Code::CHANGED);
    assert_eq!(story.bodies, [body]);
    let longer = body_of(longest + 1);
    assert_eq!(put.sends_all(&mut story, &longer), Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(story.bodies.len(), 1);
    assert_eq!(story.worker().counters().of(Tally::UploadTooLarge), 1);
}

/// Who says at once how long the body is, is told at once that it is too long, and how long it
/// may be: by the worker's own limit, and by the one of its device's class.
#[test]
fn what_is_too_long_is_refused_with_the_first_block_when_size1_says_so() {
    let mut story = Story::new(3);
    story.class = 7;
    let device = story.connected(1, Some(b""));
    let put = |size1: u32, mid: u16| {
        written(mid, Code::PUT, |writer| {
            writer.option(Number::URI_PATH, b"log");
            writer.option_uint(Number::BLOCK1, block(0, true, 64).value());
            writer.option_uint(Number::SIZE1, size1).payload(&[7; 64]);
        })
    };
    let mut mid = 0;
    for (told, longest) in [(0, 262_144), (70, 70), (wire::BODY_BYTES_MAX as u32, 1_048_576)] {
        let class = Class { body_bytes: told, ..Class::default() };
        story.permits(&[Item::Class(7, class)]);
        for (size1, code) in
            [(longest, Code::CONTINUE), (longest + 1, Code::REQUEST_ENTITY_TOO_LARGE)]
        {
            mid += 1;
            story.sends(device, &put(size1, mid));
            let reply = story.hears(device).expect("an answer");
            let reply = Message::parse(&reply).expect("a message");
            assert_eq!(reply.code, code, "{size1}");
            let said = reply.options.uint(Number::SIZE1);
            assert_eq!(said, (code != Code::CONTINUE).then_some(longest));
        }
    }
}

/// RFC 7959 figure 9: a device that begins with blocks larger than ours is told to go on with ours.
#[test]
fn blocks_become_as_small_as_the_edge_wants_them() {
    let mut config = Config::default();
    config.coap.block_bytes = 64;
    let mut story = Story::with(4, config);
    let device = story.connected(1, Some(b""));
    let body = body_of(300);
    let mut put = Upload::new(device, "/log", 128);
    put.sends(&mut story, &body, 0);
    assert_eq!(answered(&mut story, device), (Code::CONTINUE, block(0, true, 64)));
    put.size = BlockSize::within(64).expect("a size");
    for number in 2..4 {
        put.sends(&mut story, &body, number);
        assert_eq!(answered(&mut story, device), (Code::CONTINUE, block(number, true, 64)));
    }
    put.sends(&mut story, &body, 4);
    assert_eq!(answered(&mut story, device), (Code::CHANGED, block(4, false, 64)));
    assert_eq!(story.bodies, [body]);
}

/// A lost 2.31: the same block comes again, as a copy or under a new Message ID.
#[test]
fn a_block_that_comes_again_is_taken_once() {
    let mut story = Story::new(5);
    let device = story.connected(1, Some(b""));
    let body = body_of(200);
    let put = Upload::new(device, "/log", 64);
    let first = put.message(&body, 0);
    for _ in 0..2 {
        story.sends(device, &first);
        assert_eq!(answered(&mut story, device), (Code::CONTINUE, block(0, true, 64)));
    }
    for number in [1, 1, 2] {
        put.sends(&mut story, &body, number);
        assert_eq!(answered(&mut story, device), (Code::CONTINUE, block(number, true, 64)));
    }
    let last = put.message(&body, 3);
    for _ in 0..2 {
        story.sends(device, &last);
        assert_eq!(answered(&mut story, device), (Code::CHANGED, block(3, false, 64)));
    }
    assert_eq!(story.bodies, [body]);
}

/// RFC 7959 section 2.9.2: behind a gap, without a beginning, and after another Content-Format.
#[test]
fn a_block_without_those_before_it_is_incomplete() {
    let mut story = Story::new(6);
    let device = story.connected(1, Some(b""));
    let body = body_of(300);
    let mut put = Upload::new(device, "/log", 64);
    let incomplete = |number| (Code::REQUEST_ENTITY_INCOMPLETE, block(number, false, 64));
    put.sends(&mut story, &body, 1);
    assert_eq!(answered(&mut story, device), incomplete(1));
    put.sends(&mut story, &body, 0);
    answered(&mut story, device);
    put.sends(&mut story, &body, 2);
    assert_eq!(answered(&mut story, device), incomplete(2));
    put.format = Some(50);
    put.sends(&mut story, &body, 1);
    assert_eq!(answered(&mut story, device), incomplete(1));
    put.format = None;
    put.sends(&mut story, &body, 1);
    assert_eq!(answered(&mut story, device), (Code::CONTINUE, block(1, true, 64)));
    assert_eq!(story.worker().counters().of(Tally::UploadIncomplete), 3);
}

/// RFC 7959 sections 2.2 and 2.3: the reserved size, and a part that is not as long as it says.
#[test]
fn a_block_that_contradicts_itself_is_a_bad_request() {
    let mut story = Story::new(7);
    let device = story.connected(1, Some(b""));
    for (mid, value, len) in [(1, 0x0f, 64), (2, 0x0a, 63), (3, 0x0a, 65)] {
        let put = written(mid, Code::PUT, |writer| {
            writer.option(Number::URI_PATH, b"log");
            writer.option_uint(Number::BLOCK1, value).payload(&vec![1; len]);
        });
        story.sends(device, &put);
        let reply = story.hears(device).expect("an answer");
        assert_eq!(Message::parse(&reply).expect("a message").code, Code::BAD_REQUEST, "{mid}");
    }
}

/// One block that is all there is: served like any request, its answer says which block it was.
#[test]
fn a_body_of_one_block_is_served_at_once() {
    let mut story = Story::new(8);
    let device = story.connected(1, Some(b""));
    let put = Upload::new(device, "/log", 64);
    put.sends(&mut story, b"short", 0);
    assert_eq!(answered(&mut story, device), (Code::CHANGED, block(0, false, 64)));
    let message = Message::parse(&story.uplinks[0].1).expect("a message").payload.to_vec();
    assert_eq!((message, story.bodies[0].len()), (b"short".to_vec(), 0));
}

/// RFC 9175 section 3: two bodies for one path at once, told apart by their Request-Tags; and one
/// for another path.
#[test]
fn request_tags_and_paths_tell_bodies_apart() {
    let mut story = Story::new(9);
    let device = story.connected(1, Some(b""));
    let bodies = [body_of(200), body_of(170), body_of(140)];
    let puts = [("/log", Some(1)), ("/log", None), ("/other", None)].map(|(path, tag)| {
        let mut put = Upload::new(device, path, 64);
        put.tag = tag;
        put
    });
    for number in 0..4 {
        for (put, body) in puts.iter().zip(&bodies) {
            if number as usize * 64 < body.len() {
                put.sends(&mut story, body, number);
                let is_last = (number as usize + 1) * 64 >= body.len();
                let code = if is_last { Code::CHANGED } else { Code::CONTINUE };
                assert_eq!(answered(&mut story, device).0, code);
            }
        }
    }
    story.bodies.sort_by_key(|body| std::cmp::Reverse(body.len()));
    assert_eq!(story.bodies, bodies);
}

/// A NAT rebinds, then the device loses its session and makes another one: the body goes on.
#[test]
fn a_body_goes_on_at_another_address_and_in_another_session() {
    let mut story = Story::new(10);
    let device = story.connected(1, Some(b"cid"));
    let body = body_of(300);
    let mut put = Upload::new(device, "/log", 64);
    put.sends(&mut story, &body, 0);
    story.rebinds(device);
    put.sends(&mut story, &body, 1);
    assert_eq!(answered(&mut story, device).0, Code::CONTINUE);

    let again = story.connected(1, Some(b"cid"));
    put.who = again;
    for number in 2..4 {
        put.sends(&mut story, &body, number);
        assert_eq!(answered(&mut story, again), (Code::CONTINUE, block(number, true, 64)));
    }
    put.sends(&mut story, &body, 4);
    assert_eq!((answered(&mut story, again).0, &story.bodies[0]), (Code::CHANGED, &body));

    // The control: another device does not go on with it.
    put.sends(&mut story, &body, 0);
    put.who = story.connected(2, Some(b"cid"));
    put.sends(&mut story, &body, 1);
    let who = put.who;
    assert_eq!(answered(&mut story, who).0, Code::REQUEST_ENTITY_INCOMPLETE);
}

/// A POST: acknowledged when published, answered by the application, whose response says which
/// block it belongs to; its options stay in order.
#[test]
fn an_application_answers_a_body() {
    let mut story = Story::new(11);
    story.publishes = Some(Publication::AwaitingAnswer);
    let device = story.connected(1, Some(b""));
    let body = body_of(100);
    let mut post = Upload::new(device, "/query", 64);
    post.method = Code::POST;
    post.sends(&mut story, &body, 0);
    assert_eq!(answered(&mut story, device).0, Code::CONTINUE);
    post.sends(&mut story, &body, 1);
    story.hears(device).expect("the empty ACK");
    let uplink = story.uplinks[0].0;
    let answer = wire::Answer {
        exchange: uplink.exchange,
        message_id: [3; 16],
        device: device_id(1),
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    };
    let response = written(0, Code::CREATED, |writer| {
        writer.option(Number::LOCATION_PATH, b"made").option_uint(Number::CONTENT_FORMAT, 50);
        writer.option_uint(Number::SIZE1, 5).payload(b"{}");
    });
    story.tells(Kind::Answer, answer.as_bytes(), &response);
    let reply = story.hears(device).expect("the answer");
    let reply = Message::parse(&reply).expect("a message");
    let numbers: Vec<u16> = reply.options.iter().map(|option| option.number.0).collect();
    assert_eq!(
        (reply.code, reply.payload, numbers),
        (Code::CREATED, &b"{}"[..], vec![8, 12, 27, 60])
    );
    assert_eq!(Block::of(&reply.options, Number::BLOCK1), Some(block(1, false, 64)));
}

/// What is not published is answered so, and the device sends it all again.
#[test]
fn nothing_is_promised_before_the_body_is_published() {
    let mut story = Story::new(12);
    story.publishes = None;
    let device = story.connected(1, Some(b""));
    let body = body_of(100);
    let put = Upload::new(device, "/log", 64);
    put.sends(&mut story, &body, 0);
    answered(&mut story, device);
    put.sends(&mut story, &body, 1);
    story.waits_ms(1_000);
    assert_eq!(story.hears(device), None);
    let uplink = story.uplinks[0].0;
    story.published(&uplink, Publication::Unavailable);
    assert_eq!(answered(&mut story, device).0, Code::SERVICE_UNAVAILABLE);
    put.sends(&mut story, &body, 1);
    assert_eq!(answered(&mut story, device).0, Code::REQUEST_ENTITY_INCOMPLETE);
    story.publishes = Some(Publication::Confirmed);
    assert_eq!(put.sends_all(&mut story, &body), Code::CHANGED);
}

/// A body nobody goes on with is forgotten after its time, on both sides of it.
#[test]
fn a_body_is_forgotten_after_its_time() {
    for (idle_ms, code) in [(246_000, Code::CONTINUE), (249_000, Code::REQUEST_ENTITY_INCOMPLETE)] {
        let mut story = Story::new(13);
        let device = story.connected(1, Some(b""));
        let body = body_of(300);
        let put = Upload::new(device, "/log", 64);
        put.sends(&mut story, &body, 0);
        answered(&mut story, device);
        story.waits_ms(idle_ms);
        put.sends(&mut story, &body, 1);
        assert_eq!(answered(&mut story, device).0, code, "{idle_ms}");
        let forgotten = story.worker().counters().of(Tally::UploadForgotten);
        assert_eq!(forgotten, u64::from(code != Code::CONTINUE));
    }
}

/// The quota is asked for each request, not for each block; where it says no, the last block may
/// come again later.
#[test]
fn a_body_counts_as_one_uplink() {
    let mut story = Story::new(14);
    story.class = 3;
    let device = story.connected(1, Some(b""));
    let rate = tidegate_ring::policy::Rate { interval_us: 10_000_000, burst: 1 };
    story.permits(&[Item::Class(3, Class { device: rate, ..Class::default() })]);
    let body = body_of(200);
    let put = Upload::new(device, "/log", 64);
    assert_eq!(put.sends_all(&mut story, &body), Code::CHANGED);
    assert_eq!(put.sends_all(&mut story, &body), Code::TOO_MANY_REQUESTS);
    story.waits_ms(10_000);
    put.sends(&mut story, &body, 3);
    assert_eq!(answered(&mut story, device).0, Code::CHANGED);
    assert_eq!(story.bodies, [body.clone(), body]);
}

/// Where the ring has no room for the whole body: 5.03, nothing of it is on the ring, and the last
/// block may come again.
#[test]
fn a_body_crosses_whole_or_not_at_all() {
    let mut config = Config::default();
    config.coap.upload_bytes = 1 << 20;
    let mut story = Story::with(15, config);
    let device = story.connected(1, Some(b""));
    // The ring of a story has 1 MiB, of which uplinks leave a quarter.
    let body = body_of(900_000);
    let put = Upload::new(device, "/log", 1_024);
    assert_eq!(put.sends_all(&mut story, &body), Code::SERVICE_UNAVAILABLE);
    assert!(story.uplinks.is_empty() && story.bodies.is_empty());
    let body = body_of(700_000);
    assert_eq!(put.sends_all(&mut story, &body), Code::CHANGED);
    assert_eq!(story.bodies, [body]);
}

/// NON: each block is answered by a NON, refusals for want of room by silence.
#[test]
fn blocks_may_be_non_confirmable() {
    let mut story = Story::new(16);
    let device = story.connected(1, Some(b""));
    let body = body_of(100);
    let mut put = Upload::new(device, "/log", 64);
    put.ty = Type::Non;
    for (number, code) in [(0, Code::CONTINUE), (1, Code::CHANGED)] {
        put.sends(&mut story, &body, number);
        let reply = story.hears(device).expect("an answer");
        let reply = Message::parse(&reply).expect("a message");
        assert_eq!((reply.ty, reply.code), (Type::Non, code));
    }
    assert_eq!(story.bodies, [body]);
}

/// 10 000 devices begin bodies and never finish them: their memory stays inside its bound, those
/// who are at it go on, and a newcomer is served once others have been silent for long enough.
#[test]
fn bodies_that_are_never_finished_stay_inside_the_bound() {
    const DEVICES: usize = 10_000;
    let mut config = Config::default();
    config.sessions.per_worker = 4_096;
    config.coap.uploads_kib = 4_096;
    let bound = u64::from(config.coap.uploads_kib) << 10;
    let mut story = Story::with(17, config);
    let body = body_of(64 << 10);
    let diligent = story.connected(0, Some(b""));
    let put = Upload::new(diligent, "/log", 1_024);
    put.sends(&mut story, &body, 0);
    answered(&mut story, diligent);
    let mut refused = 0;
    for number in 1..=DEVICES {
        let device = story.connected(number, Some(b""));
        let abuse = Upload::new(device, "/log", 1_024);
        abuse.sends(&mut story, &body, 0);
        match answered(&mut story, device).0 {
            Code::CONTINUE => {}
            Code::SERVICE_UNAVAILABLE => refused += 1,
            other => panic!("{other}"),
        }
        story.forget(device);
        assert!(story.worker().upload_bytes() <= bound);
        // 200 a second; the diligent one sends a block every 10 s.
        story.waits_ms(5);
        if number % 2_000 == 0 {
            put.sends(&mut story, &body, number as u32 / 2_000);
            assert_eq!(answered(&mut story, diligent).0, Code::CONTINUE, "{number}");
        }
    }
    let counters = story.worker().counters();
    let (begun, gone) = (counters.of(Tally::UploadBegun), counters.of(Tally::UploadForgotten));
    assert!(refused > 1_000 && begun + refused == DEVICES as u64 + 1, "{begun} {refused}");
    assert!(gone > 0 && begun - gone <= 3 * 1_024 + 1, "{begun} {gone}");

    // All of them fall silent for good, and their memory is free again.
    story.waits_ms(260_000);
    assert_eq!(story.worker().upload_bytes(), 0);
    assert_eq!(put.sends_all(&mut story, &body), Code::CHANGED);
}

/// One device that begins bodies without end pushes out its own.
#[test]
fn a_device_has_a_few_bodies_under_way() {
    let mut story = Story::new(18);
    let device = story.connected(1, Some(b""));
    let body = body_of(200);
    let puts: Vec<Upload> = (0..5)
        .map(|tag| {
            let mut put = Upload::new(device, "/log", 64);
            put.tag = Some(tag);
            put
        })
        .collect();
    for put in &puts {
        put.sends(&mut story, &body, 0);
        assert_eq!(answered(&mut story, device).0, Code::CONTINUE);
        story.waits_ms(1);
    }
    for (at, put) in puts.iter().enumerate() {
        put.sends(&mut story, &body, 1);
        let expected = if at == 0 { Code::REQUEST_ENTITY_INCOMPLETE } else { Code::CONTINUE };
        assert_eq!(answered(&mut story, device).0, expected, "{at}");
    }
    assert_eq!(story.worker().counters().of(Tally::UploadForgotten), 1);
}

/// After a restart of the dataplane the blocks are gone: 4.08, and the device begins anew.
#[test]
fn a_restart_loses_what_was_not_whole() {
    let mut story = Story::new(19);
    let device = story.connected(1, Some(b""));
    let body = body_of(200);
    let put = Upload::new(device, "/log", 64);
    put.sends(&mut story, &body, 0);
    answered(&mut story, device);
    story.restarts();
    put.sends(&mut story, &body, 1);
    assert_eq!(answered(&mut story, device).0, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(put.sends_all(&mut story, &body), Code::CHANGED);
    assert_eq!(story.bodies, [body]);
}

/// A device that sends a body.
struct Upload {
    who: Who,
    ty: Type,
    method: Code,
    path: &'static str,
    size: BlockSize,
    tag: Option<u8>,
    format: Option<u32>,
}

impl Upload {
    fn new(who: Who, path: &'static str, block_bytes: usize) -> Self {
        let size = BlockSize::exactly(block_bytes).expect("a size");
        Self { who, ty: Type::Con, method: Code::PUT, path, size, tag: None, format: None }
    }

    /// One block of a body, under a new Message ID.
    fn message(&self, body: &[u8], number: u32) -> Vec<u8> {
        let mid = NEXT_MID.with(|next| next.replace(next.get().wrapping_add(1)));
        let from = number as usize * self.size.bytes();
        let to = body.len().min(from + self.size.bytes());
        let block = Block::new(number, to < body.len(), self.size).expect("a number");
        let (path, tag, format) = (self.path.trim_start_matches('/'), self.tag, self.format);
        let mut message = written(mid, self.method, |writer| {
            writer.option(Number::URI_PATH, path.as_bytes());
            if let Some(format) = format {
                writer.option_uint(Number::CONTENT_FORMAT, format);
            }
            writer.option_uint(Number::BLOCK1, block.value());
            if let Some(tag) = tag {
                writer.option(Number::REQUEST_TAG, &[tag]);
            }
            writer.payload(&body[from..to]);
        });
        message[0] |= (self.ty as u8) << 4;
        message
    }

    fn sends(&self, story: &mut Story, body: &[u8], number: u32) {
        let message = self.message(body, number);
        story.sends(self.who, &message);
    }

    /// The whole body; the last answer, or the first that is none.
    fn sends_all(&self, story: &mut Story, body: &[u8]) -> Code {
        for number in 0..body.len().div_ceil(self.size.bytes()) as u32 {
            self.sends(story, body, number);
            let (code, _) = answered(story, self.who);
            if code != Code::CONTINUE {
                return code;
            }
        }
        panic!("every block was answered 2.31");
    }
}

thread_local! {
    /// No Message ID twice in a story.
    static NEXT_MID: std::cell::Cell<u16> = const { std::cell::Cell::new(100) };
}

/// The code of the device's answer, and the block it is about; the device acknowledges nothing.
fn answered(story: &mut Story, who: Who) -> (Code, Block) {
    let reply = story.hears(who).expect("an answer");
    let reply = Message::parse(&reply).expect("a message");
    let block = Block::of(&reply.options, Number::BLOCK1);
    (reply.code, block.expect("Block1"))
}

fn block(number: u32, more: bool, bytes: usize) -> Block {
    Block::new(number, more, BlockSize::exactly(bytes).expect("a size")).expect("a number")
}

fn body_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn written(mid: u16, code: Code, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; 1_400];
    let token = Token::new(&mid.to_be_bytes());
    let mut writer = Writer::new(&mut bytes, Type::Con, code, mid, &token);
    fill(&mut writer);
    let length = writer.finish().expect("it fits");
    bytes.truncate(length);
    bytes
}
