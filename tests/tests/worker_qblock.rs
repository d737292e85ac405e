//! A request whose blocks come as they like (Q-Block1, RFC 9177), from its first block to the
//! response.

use tidegate_coap::block::Block;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Tally;
use tidegate_ring::contract::Publication;
use tidegate_ring::policy::{Class, Item, Rate};
use tidegate_tests::quick::{Link, Quick, missing};
use tidegate_tests::story::{Story, Who, device_id, message, request};

/// RFC 9177 figures 2 and 3: nothing is said of a block but of the last of a set, 2.31, and of the
/// last of all, the response to the whole, which is published once.
#[test]
fn a_burst_is_published_once_its_last_block_is_here() {
    let (mut story, mut put) = begun(1, 64);
    let body = body_of(64 * 10 + 7);
    put.sends(&mut story, &body, 0..9);
    assert_eq!(story.hears(put.who), None);
    put.sends(&mut story, &body, 9..10);
    let reply = heard(&mut story, put.who);
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.ty, reply.code, reply.token), (Type::Non, Code::CONTINUE, last(&put)));
    let here = Block::of(&reply.options, Number::Q_BLOCK1);
    assert_eq!(here, Block::new(9, true, put.size));
    assert!(story.uplinks.is_empty());
    put.sends(&mut story, &body, 10..11);
    let reply = heard(&mut story, put.who);
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.ty, reply.code, reply.token), (Type::Non, Code::CHANGED, last(&put)));
    assert!(reply.options.is_empty(), "which block it was is the token's to say");
    assert_eq!((story.uplinks.len(), &story.bodies[0]), (1, &body));
    let (uplink, message) = &story.uplinks[0];
    let message = Message::parse(message).expect("a message");
    assert_eq!((uplink.device, message.payload), (device_id(1), &b""[..]));
    assert_eq!(story.worker().counters().of(Tally::UploadWhole), 1);
    assert_eq!(story.worker().upload_bytes(), 0);
}

/// Figures 4 and 5: another set asks for what is missing of those before, silence for the rest.
#[test]
fn missing_blocks_are_asked_for() {
    let (mut story, mut put) = begun(2, 64);
    let body = body_of(64 * 12 + 7);
    put.sends(&mut story, &body, [0, 2, 3, 4, 5, 6, 7, 8].into_iter());
    put.sends(&mut story, &body, 11..12);
    assert_eq!(asked(&mut story, put.who), (last(&put), vec![1, 9]));
    put.sends(&mut story, &body, [1, 9, 12].into_iter());
    story.waits_ms(3_999);
    assert_eq!(story.hears(put.who), None);
    story.waits_ms(2);
    assert_eq!(asked(&mut story, put.who), (last(&put), vec![10]));
    put.sends(&mut story, &body, 10..11);
    assert_eq!(code_of(&mut story, put.who), Code::CHANGED);
    assert_eq!(story.bodies, [body]);
    assert_eq!(story.worker().counters().of(Tally::UploadAsked), 2);
}

/// Figure 6, and section 4.3: RST ends it at once.
#[test]
fn a_body_whose_blocks_stay_away_is_forgotten() {
    let (mut story, mut put) = begun(3, 64);
    let body = body_of(150);
    put.sends(&mut story, &body, [0, 2].into_iter());
    for wait_ms in [4_000, 8_000, 16_000, 32_000] {
        story.waits_ms(wait_ms + 1);
        assert_eq!(asked(&mut story, put.who), (last(&put), vec![1]));
    }
    assert!(story.worker().upload_bytes() > 0);
    story.waits_ms(64_000);
    assert_eq!((story.hears(put.who), story.worker().upload_bytes()), (None, 0));
    assert_eq!(story.worker().counters().of(Tally::UploadForgotten), 1);

    put.sends(&mut story, &body, [0, 2].into_iter());
    story.waits_ms(4_001);
    let question = heard(&mut story, put.who);
    let question = Message::parse(&question).expect("a message");
    story.sends(put.who, &empty(Type::Rst, question.mid.wrapping_add(1)));
    assert!(story.worker().upload_bytes() > 0, "a RST for something else");
    story.sends(put.who, &empty(Type::Rst, question.mid));
    assert_eq!(story.worker().upload_bytes(), 0);
    story.waits_ms(60_000);
    assert_eq!(story.hears(put.who), None);
}

/// RFC 9177 appendix A.1: each block is acknowledged, and the last one answered on its ACK; what is
/// missing is the sender's to know.
#[test]
fn confirmable_blocks_are_acknowledged() {
    let (mut story, mut put) = begun(4, 64);
    put.ty = Type::Con;
    let body = body_of(64 * 12);
    for number in (0..12).rev().skip(1).chain([11]) {
        let part = put.part(&body, number);
        for _ in 0..2 {
            story.sends(put.who, &part);
            let reply = heard(&mut story, put.who);
            let reply = Message::parse(&reply).expect("a message");
            let code = if number == 11 { Code::CHANGED } else { Code::EMPTY };
            assert_eq!((reply.ty, reply.code, reply.mid), (Type::Ack, code, put.mid));
        }
        story.waits_ms(5_000);
        assert_eq!(story.hears(put.who), None);
    }
    assert_eq!(story.bodies, [body]);
}

/// "it MUST ignore the payload of the packet but MUST still respond as if the block was received
/// for the first time": while the body is under way, and when it is whole.
#[test]
fn a_block_that_comes_again_changes_nothing() {
    let (mut story, mut put) = begun(5, 64);
    let body = body_of(64 * 11);
    put.sends(&mut story, &body, (0..10).flat_map(|number| [number, number]));
    let replies: Vec<Code> = (0..2).map(|_| code_of(&mut story, put.who)).collect();
    assert_eq!(replies, [Code::CONTINUE; 2]);
    put.sends(&mut story, &body, 10..11);
    assert_eq!(code_of(&mut story, put.who), Code::CHANGED);
    put.sends(&mut story, &body, [10, 3].into_iter());
    assert_eq!(code_of(&mut story, put.who), Code::CHANGED);
    assert_eq!(code_of(&mut story, put.who), Code::CHANGED, "all others are here, too");
    story.waits_ms(60_000);
    assert_eq!((story.hears(put.who), story.worker().upload_bytes()), (None, 0));
    put.ty = Type::Con;
    put.sends(&mut story, &body, [10, 3].into_iter());
    assert_eq!(code_of(&mut story, put.who), Code::CHANGED);
    assert_eq!(code_of(&mut story, put.who), Code::CHANGED);
    assert_eq!((story.bodies.len(), story.uplinks.len()), (1, 1));
    assert_eq!(story.worker().counters().of(Tally::UploadBlockLate), 4);

    // After its time, and in another session, the tag is another body's.
    put.ty = Type::Non;
    put.who = story.connected(1, Some(b""));
    put.sends(&mut story, &body, 0..11);
    story.waits_ms(250_000);
    put.sends(&mut story, &body, 0..11);
    assert_eq!(story.bodies.len(), 3);
}

/// Bodies with other tags are other bodies, whatever order their blocks come in.
#[test]
fn request_tags_tell_bodies_apart() {
    let (mut story, mut put) = begun(6, 64);
    let bodies = [body_of(500), body_of(450), body_of(400)];
    for number in [2, 0, 6, 5, 1, 3, 4] {
        for (tag, body) in bodies.iter().enumerate() {
            put.tag = vec![tag as u8];
            put.sends(&mut story, body, number..=number);
        }
    }
    put.tag = vec![0];
    put.sends(&mut story, &bodies[0], 7..8);
    put.tag = vec![1];
    put.sends(&mut story, &bodies[1], 7..8);
    assert_eq!(story.bodies.len(), 3);
    story.bodies.sort_by_key(|body| std::cmp::Reverse(body.len()));
    assert_eq!(story.bodies, bodies);
}

/// Sections 4.1 and 4.3: what must be there, what must not, what contradicts itself or is too long.
#[test]
fn what_breaks_the_rules_is_refused() {
    let longest = Config::default().coap.upload_bytes;
    let rows: [(&[Number], u32, usize, Code); 7] = [
        (&[Number::SIZE1], 0x0a, 64, Code::BAD_REQUEST),
        (&[Number::REQUEST_TAG], 0x0a, 64, Code::BAD_REQUEST),
        (&[Number::SIZE1, Number::REQUEST_TAG, Number::BLOCK1], 0x0a, 64, Code::BAD_OPTION),
        (&[Number::SIZE1, Number::REQUEST_TAG, Number::BLOCK2], 0x0a, 64, Code::BAD_OPTION),
        (&[Number::SIZE1, Number::REQUEST_TAG], 0x0f, 64, Code::BAD_REQUEST),
        (&[Number::SIZE1, Number::REQUEST_TAG], 0x0a, 63, Code::BAD_REQUEST),
        (&[Number::SIZE1, Number::REQUEST_TAG], 0x0a, 0, Code::REQUEST_ENTITY_TOO_LARGE),
    ];
    for ty in [Type::Con, Type::Non] {
        let mut story = Story::new(7);
        let device = story.connected(1, Some(b""));
        for (at, (options, value, length, code)) in rows.iter().enumerate() {
            let is_long = *code == Code::REQUEST_ENTITY_TOO_LARGE;
            let size1 = if is_long { longest + 1 } else { 100 };
            let mid = at as u16 + 1;
            let put = message(ty, Code::PUT, mid, &Token::new(b"t"), |writer| {
                writer.option(Number::URI_PATH, b"log").option_uint(Number::Q_BLOCK1, *value);
                for number in [Number::BLOCK2, Number::BLOCK1, Number::SIZE1] {
                    if options.contains(&number) {
                        let is_size = number == Number::SIZE1;
                        writer.option_uint(number, if is_size { size1 } else { 0x0a });
                    }
                }
                if options.contains(&Number::REQUEST_TAG) {
                    writer.option(Number::REQUEST_TAG, b"t");
                }
                writer.payload(&vec![7; if is_long { 64 } else { *length }]);
            });
            story.sends(device, &put);
            let reply = heard(&mut story, device);
            let reply = Message::parse(&reply).expect("a message");
            assert_eq!(reply.code, *code, "{ty:?} {at}");
            let said = reply.options.uint(Number::SIZE1);
            assert_eq!(said, is_long.then_some(longest));
        }
        assert!(story.uplinks.is_empty() && story.worker().upload_bytes() == 0);
    }
}

/// What libcoap asks before it uses either option: a GET of `/.well-known/core` with Q-Block2. The
/// answer says that we speak it; without security we do not.
#[test]
fn a_client_finds_out_that_q_block_is_spoken() {
    let mut story = Story::new(8);
    let device = story.connected(1, Some(b""));
    let probe = |mid| {
        message(Type::Con, Code::GET, mid, &Token::new(b"p"), |writer| {
            writer.option(Number::URI_PATH, b".well-known").option(Number::URI_PATH, b"core");
            writer.option_uint(Number::Q_BLOCK2, 0);
        })
    };
    story.sends(device, &probe(1));
    let reply = heard(&mut story, device);
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.ty, reply.code), (Type::Ack, Code::NOT_FOUND));
    assert_eq!(reply.options.uint(Number::Q_BLOCK2), Some(0));
}

/// A device that starts anew uses its tags again: what it had sent before is no part of that body.
#[test]
fn a_body_ends_with_its_session() {
    let (mut story, mut put) = begun(9, 64);
    let (one, other) = (body_of(300), vec![9; 300]);
    put.sends(&mut story, &one, 0..4);
    put.who = story.connected(1, Some(b""));
    put.sends(&mut story, &other, 4..5);
    story.waits_ms(4_001);
    assert_eq!(asked(&mut story, put.who).1, [0, 1, 2, 3]);
    put.sends(&mut story, &other, 0..4);
    assert_eq!((code_of(&mut story, put.who), &story.bodies[0]), (Code::CHANGED, &other));
}

/// A body counts as one uplink. Where it may not be published its device is told, Confirmable or
/// not, and nothing is left of it.
#[test]
fn a_body_that_is_not_published_is_answered() {
    let mut story = Story::new(10);
    story.class = 3;
    let device = story.connected(1, Some(b""));
    let rate = Rate { interval_us: 10_000_000, burst: 1 };
    story.permits(&[Item::Class(3, Class { device: rate, ..Class::default() })]);
    let mut put = Quick::new(device, 64);
    let body = body_of(300);
    for (ty, code) in [
        (Type::Non, Code::CHANGED),
        (Type::Non, Code::TOO_MANY_REQUESTS),
        (Type::Con, Code::TOO_MANY_REQUESTS),
    ] {
        put.ty = ty;
        put.tag.push(1);
        put.sends(&mut story, &body, 0..5);
        let acks = if ty == Type::Con { 4 } else { 0 };
        (0..acks).for_each(|_| assert_eq!(code_of(&mut story, device), Code::EMPTY));
        assert_eq!(code_of(&mut story, device), code);
        assert_eq!(story.worker().upload_bytes(), 0);
    }
    // Once it may be, the same body under the same tag is taken.
    story.waits_ms(10_000);
    put.ty = Type::Non;
    put.sends(&mut story, &body, 0..5);
    assert_eq!((code_of(&mut story, device), story.bodies.len()), (Code::CHANGED, 2));

    // What the control plane could not publish may come again, too.
    story.waits_ms(10_000);
    story.publishes = Some(Publication::Unavailable);
    put.tag.push(1);
    put.sends(&mut story, &body, 0..5);
    assert_eq!(code_of(&mut story, device), Code::SERVICE_UNAVAILABLE);
    story.waits_ms(10_000);
    story.publishes = Some(Publication::Confirmed);
    put.sends(&mut story, &body, 0..5);
    assert_eq!((code_of(&mut story, device), story.bodies.len()), (Code::CHANGED, 4));
}

/// A burst leaves what is remembered of other requests alone.
#[test]
fn a_burst_pushes_no_message_id_out() {
    let (mut story, mut quick) = begun(11, 64);
    let put = request(Type::Con, Code::PUT, 7, "t", b"21");
    story.sends(quick.who, &put);
    assert_eq!(code_of(&mut story, quick.who), Code::CHANGED);
    let body = body_of(64 * 40);
    quick.sends(&mut story, &body, 0..40);
    while story.hears(quick.who).is_some() {}
    story.sends(quick.who, &put);
    assert_eq!((code_of(&mut story, quick.who), story.uplinks.len()), (Code::CHANGED, 2));
}

/// Nothing is lost and nothing doubled, whatever the link loses, doubles and delays.
#[test]
fn bodies_arrive_over_a_bad_link() {
    for loss_percent in [0, 5, 10, 20, 30] {
        for seed in 0..12 {
            let (mut story, mut put) = begun(seed, 64);
            let body = body_of(64 * (seed as usize * 4 + 3) + 5);
            let mut link = Link::new(seed, loss_percent);
            let code = put.uploads(&mut story, &mut link, &body);
            assert_eq!(code, Code::CHANGED, "{loss_percent} % seed {seed}");
            story.waits_ms(300_000);
            assert!(story.bodies == [body], "{loss_percent} % seed {seed}");
            assert_eq!((story.uplinks.len(), story.worker().upload_bytes()), (1, 0));
        }
    }
}

/// 10 000 devices begin bursts and never finish them, each with the highest block it can: their
/// memory stays inside its bound, and is free again when they were asked in vain.
#[test]
fn bursts_that_are_never_finished_stay_inside_the_bound() {
    const DEVICES: usize = 10_000;
    let mut config = Config::default();
    config.sessions.per_worker = 4_096;
    config.coap.uploads_kib = 4_096;
    let bound = u64::from(config.coap.uploads_kib) << 10;
    let mut story = Story::with(12, config);
    let body = body_of(64 << 10);
    let mut most = 0;
    for number in 1..=DEVICES {
        let device = story.connected(number, Some(b""));
        let mut abuse = Quick::new(device, 1_024);
        abuse.sends(&mut story, &body, [63, 7].into_iter());
        story.forget(device);
        most = most.max(story.worker().upload_bytes());
        story.waits_ms(5);
    }
    assert!(most <= bound, "{most} of {bound}");
    let counters = story.worker().counters();
    let (begun, refused) = (counters.of(Tally::UploadBegun), counters.of(Tally::UploadNoRoom));
    assert!(begun > 1_000 && refused > 1_000, "{begun} {refused}");
    story.waits_ms(260_000);
    assert_eq!(story.worker().upload_bytes(), 0);
    let diligent = story.connected(0, Some(b""));
    let mut put = Quick::new(diligent, 1_024);
    put.sends(&mut story, &body, 0..64);
    assert_eq!(story.bodies, [body]);
}

/// A device with a session, and how it sends bodies.
fn begun(seed: u64, block_bytes: usize) -> (Story, Quick) {
    let mut story = Story::new(seed);
    let device = story.connected(1, Some(b""));
    (story, Quick::new(device, block_bytes))
}

/// The token of the last request.
fn last(quick: &Quick) -> Token {
    Token::new(&quick.mid.to_be_bytes())
}

/// A 4.08: its token, and the blocks it asks for.
fn asked(story: &mut Story, who: Who) -> (Token, Vec<u32>) {
    let question = heard(story, who);
    let question = Message::parse(&question).expect("a message");
    assert_eq!((question.ty, question.code), (Type::Non, Code::REQUEST_ENTITY_INCOMPLETE));
    (question.token, missing(&question))
}

fn code_of(story: &mut Story, who: Who) -> Code {
    Message::parse(&heard(story, who)).expect("a message").code
}

fn heard(story: &mut Story, who: Who) -> Vec<u8> {
    story.hears(who).expect("a message")
}

fn body_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}
