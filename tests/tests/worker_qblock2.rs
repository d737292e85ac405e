//! A long answer whose blocks go without being asked for one by one (Q-Block2, RFC 9177), from the
//! request to its last block.

use tidegate_coap::block::Block;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::fate::Tally;
use tidegate_ring::contract::{self as wire, FailReason, Kind, Publication, Step};
use tidegate_tests::quick::{Link, Quick};
use tidegate_tests::story::{Story, Who, device_id, message};
use zerocopy::IntoBytes;

const MESSAGE: wire::MessageId = [3; 16];

/// RFC 9177 figures 7 and 8: a set goes at once, the next one when the client says that it has it;
/// all with the token of the request, the same ETag and Size2.
#[test]
fn a_set_goes_at_once_and_the_next_one_when_it_is_asked_for() {
    let (mut story, mut get) = begun(1, Type::Non);
    let body = body_of(64 * 20 + 7);
    let first = get.asks(&[(0, true)]);
    let token = last(&get);
    story.sends(get.who, &first);
    answers(&mut story, &body);
    assert_eq!(
        numbers(&mut story, get.who, &body, (Type::Non, token)),
        (0..10).collect::<Vec<_>>()
    );
    assert_eq!(steps(&story), [(Step::Sent, 0)]);
    for (from, to) in [(10, 20), (20, 21)] {
        let go_on = get.asks(&[(from, true)]);
        for _ in 0..2 {
            story.sends(get.who, &go_on);
        }
        let heard = numbers(&mut story, get.who, &body, (Type::Non, token));
        assert_eq!(heard, (from..to).collect::<Vec<_>>());
    }
    assert_eq!(story.uplinks.len(), 1);
    // As long as its device may ask for what it misses, it is not over.
    story.waits_ms(63_999);
    assert_eq!((steps(&story), story.hears(get.who)), (vec![(Step::Sent, 0)], None));
    story.waits_ms(2);
    assert_eq!(steps(&story), [(Step::Sent, 0), (Step::Sent, 1)]);
    assert_eq!(story.worker().counters().of(Tally::AnswerQuick), 1);
}

/// Section 7.2: NON_TIMEOUT_RANDOM between two sets, when nothing is heard.
#[test]
fn the_next_set_goes_after_a_while_by_itself() {
    let (mut story, mut get) = begun(2, Type::Non);
    let body = body_of(64 * 25);
    let first = get.asks(&[(0, true)]);
    let token = last(&get);
    story.sends(get.who, &first);
    answers(&mut story, &body);
    let mut from = 10;
    numbers(&mut story, get.who, &body, (Type::Non, token));
    for to in [20, 25] {
        story.waits_ms(1_990);
        assert_eq!(story.hears(get.who), None);
        story.waits_ms(1_020);
        let heard = numbers(&mut story, get.who, &body, (Type::Non, token));
        assert_eq!(heard, (from..to).collect::<Vec<_>>());
        from = to;
    }
    story.waits_ms(60_000);
    assert_eq!(story.hears(get.who), None);
}

/// Figures 9 and 10: what is missing comes with the token of the request for it, once, and nothing
/// else does.
#[test]
fn missing_blocks_are_sent_again() {
    let (mut story, mut get) = begun(3, Type::Non);
    let body = body_of(64 * 12);
    let first = get.asks(&[(0, true)]);
    story.sends(get.who, &first);
    answers(&mut story, &body);
    let token = last(&get);
    numbers(&mut story, get.who, &body, (Type::Non, token));
    story.waits_ms(3_000);
    numbers(&mut story, get.who, &body, (Type::Non, token));
    for (blocks, expected) in [
        (&[(1, false), (9, false)][..], &[1, 9][..]),
        (&[(7, true)], &[7, 8, 9]),
        (&[(7, true), (8, false), (11, false)], &[7, 8, 9, 11]),
        (&[(0, false)], &[0]),
    ] {
        let again = get.asks(blocks);
        let token = last(&get);
        story.sends(get.who, &again);
        let heard = numbers(&mut story, get.who, &body, (Type::Non, token));
        assert_eq!(heard, expected, "{blocks:?}");
    }
    assert_eq!(story.uplinks.len(), 1);
    assert_eq!(story.worker().counters().of(Tally::AnswerBlockMissing), 10);
    for wrong in [&[(9, false), (1, false)][..], &[(12, false)], &[(10, true), (11, false)]] {
        let again = get.asks(wrong);
        story.sends(get.who, &again);
        let reply = heard(&mut story, get.who);
        let reply = Message::parse(&reply).expect("a message");
        assert_eq!(reply.code, Code::BAD_REQUEST, "{wrong:?}");
    }
}

/// What is missing goes before the next set, and that one waits again (section 7.2).
#[test]
fn the_pause_begins_anew_behind_missing_blocks() {
    let (mut story, mut get) = begun(4, Type::Non);
    let body = body_of(64 * 12);
    let first = get.asks(&[(0, true)]);
    let token = last(&get);
    story.sends(get.who, &first);
    answers(&mut story, &body);
    numbers(&mut story, get.who, &body, (Type::Non, token));
    story.waits_ms(1_900);
    let again = get.asks(&[(4, false)]);
    story.sends(get.who, &again);
    let missing = last(&get);
    assert_eq!(numbers(&mut story, get.who, &body, (Type::Non, missing)), [4]);
    story.waits_ms(1_900);
    assert_eq!(story.hears(get.who), None);
    story.waits_ms(1_200);
    assert_eq!(numbers(&mut story, get.who, &body, (Type::Non, token)), [10, 11]);
}

/// RFC 9177 appendix A.2 with NSTART = 1: the first block on the ACK, each other one as a CON when
/// the one before is acknowledged.
#[test]
fn confirmable_blocks_go_one_by_one() {
    let (mut story, mut get) = begun(5, Type::Con);
    let body = body_of(64 * 12);
    let first = get.asks(&[(0, true)]);
    let (token, mid) = (last(&get), get.mid);
    story.publishes = None;
    story.sends(get.who, &first);
    answers(&mut story, &body);
    let mut expected = 0;
    while let Some(reply) = story.hears(get.who) {
        assert_eq!(checked(&reply, &body, token), expected);
        let reply = Message::parse(&reply).expect("a message");
        if expected == 0 {
            assert_eq!((reply.ty, reply.mid), (Type::Ack, mid));
            expected += 1;
            continue;
        }
        assert_eq!((reply.ty, story.hears(get.who)), (Type::Con, None));
        if expected % 3 == 0 {
            story.waits_ms(3_001);
            assert_eq!(checked(&heard(&mut story, get.who), &body, token), expected, "again");
        }
        story.sends(get.who, &empty(Type::Ack, reply.mid));
        expected += 1;
    }
    assert_eq!(expected, 12);
    assert_eq!(steps(&story), [(Step::Sent, 0), (Step::Sent, 0), (Step::Delivered, 1)]);
}

/// A device that acknowledges nothing any more gets nothing any more.
#[test]
fn a_confirmable_answer_ends_with_a_block_that_is_not_acknowledged() {
    let (mut story, mut get) = begun(6, Type::Con);
    let first = get.asks(&[(0, true)]);
    story.publishes = None;
    story.sends(get.who, &first);
    answers(&mut story, &body_of(64 * 12));
    story.waits_ms(100_000);
    let heard = std::iter::from_fn(|| story.hears(get.who)).count();
    assert_eq!(heard, 1 + 5, "the first block, and the second with its copies");
    let (last, _) = story.outcomes.last().expect("an outcome");
    assert_eq!((last.step, last.reason), (Step::Failed as u8, FailReason::Timeout as u8));
    assert_eq!(story.outcomes.iter().filter(|(outcome, _)| outcome.is_final == 1).count(), 1);
}

/// Of an answer that is not here: what is safe is asked again, what is not is 4.08.
#[test]
fn an_answer_that_is_gone_is_asked_for_again() {
    let (mut story, mut get) = begun(7, Type::Non);
    let request = get.asks(&[(12, false)]);
    story.sends(get.who, &request);
    answers(&mut story, &body_of(64 * 12));
    let reply = heard(&mut story, get.who);
    assert_eq!(Message::parse(&reply).expect("a message").code, Code::BAD_REQUEST, "no block 12");
    for (method, blocks, is_asked) in [
        (Code::GET, [(10, true)], true),
        (Code::GET, [(3, false)], true),
        (Code::POST, [(10, true)], false),
        (Code::POST, [(3, false)], false),
        (Code::POST, [(0, false)], false),
    ] {
        let (mut story, mut get) = begun(7, Type::Non);
        get.method = method;
        let body = body_of(64 * 12);
        let request = get.asks(&blocks);
        let token = last(&get);
        story.sends(get.who, &request);
        assert_eq!(story.uplinks.len(), usize::from(is_asked), "{method} {blocks:?}");
        if !is_asked {
            let reply = heard(&mut story, get.who);
            let code = Message::parse(&reply).expect("a message").code;
            assert_eq!(code, Code::REQUEST_ENTITY_INCOMPLETE);
            continue;
        }
        answers(&mut story, &body);
        let expected = if blocks[0].1 { vec![10, 11] } else { vec![blocks[0].0] };
        assert_eq!(numbers(&mut story, get.who, &body, (Type::Non, token)), expected);
    }
}

/// The first block alone is asked for by a request that stands for itself, if it has a body; one
/// without asks for a block that was missed, and an application that heard of it would hear of it
/// twice.
#[test]
fn a_first_block_that_was_missed_is_no_other_request() {
    for (payload, is_asked) in [(&b"question"[..], true), (b"", false)] {
        let (mut story, post) = begun(13, Type::Non);
        let request = message(Type::Non, Code::POST, 1, &Token::new(b"t"), |writer| {
            let first = Block::new(0, false, post.size).expect("a number");
            writer.option(Number::URI_PATH, b"log").option_uint(Number::Q_BLOCK2, first.value());
            writer.payload(payload);
        });
        story.sends(post.who, &request);
        assert_eq!(story.uplinks.len(), usize::from(is_asked));
    }
}

/// A long POST answered by a long body (figure 12): Q-Block1 alone says that Q-Block2 is spoken.
#[test]
fn a_long_question_has_a_long_answer() {
    let (mut story, mut post) = begun(8, Type::Non);
    post.method = Code::POST;
    let (question, answer) = (body_of(64 * 11), body_of(64 * 10 + 3));
    post.size = tidegate_coap::block::BlockSize::exactly(64).expect("a size");
    post.sends(&mut story, &question, 0..10);
    let reply = heard(&mut story, post.who);
    assert_eq!(Message::parse(&reply).expect("a message").code, Code::CONTINUE);
    post.sends(&mut story, &question, 10..11);
    let token = last(&post);
    answers(&mut story, &answer);
    let heard = numbers(&mut story, post.who, &answer, (Type::Non, token));
    assert_eq!(heard, (0..10).collect::<Vec<_>>());
    let tag = post.tag.clone();
    let block = Block::new(10, true, post.size).expect("a number");
    let go_on = message(Type::Non, Code::POST, 9, &Token::new(b"other"), |writer| {
        writer.option(Number::URI_PATH, b"log").option_uint(Number::Q_BLOCK2, block.value());
        writer.option(Number::REQUEST_TAG, &tag);
    });
    story.sends(post.who, &go_on);
    assert_eq!(numbers(&mut story, post.who, &answer, (Type::Non, token)), [10]);
    assert_eq!((story.uplinks.len(), &story.bodies[0]), (1, &question));
}

/// More blocks than there are numbers: nobody could read it in such blocks.
#[test]
fn an_answer_has_no_more_blocks_than_there_are_numbers() {
    let (mut story, mut get) = begun(12, Type::Non);
    get.size = tidegate_coap::block::BlockSize::MIN;
    let request = get.asks(&[(0, true)]);
    story.sends(get.who, &request);
    let exchange = story.uplinks[0].0.exchange;
    let (message_id, terms, body_bytes) = (MESSAGE, wire::Terms::OWN, (16 << 20 | 1).into());
    let answer = wire::Answer { exchange, message_id, device: device_id(1), terms, body_bytes };
    let response = message(Type::Con, Code::CONTENT, 0, &Token::EMPTY, |_| ());
    story.tells(Kind::Answer, answer.as_bytes(), &response);
    let reply = heard(&mut story, get.who);
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!(reply.code, Code::REQUEST_ENTITY_TOO_LARGE);
    let (last, _) = story.outcomes.last().expect("an outcome");
    assert_eq!((last.step, last.reason), (Step::Failed as u8, FailReason::TooLarge as u8));
}

/// Without Q-Block in the request an answer goes as ever; and a short one does in any case.
#[test]
fn only_who_speaks_q_block_is_answered_so() {
    let (mut story, mut get) = begun(9, Type::Non);
    let request = message(Type::Non, Code::GET, 1, &Token::new(b"t"), |writer| {
        writer.option(Number::URI_PATH, b"log");
    });
    story.sends(get.who, &request);
    answers(&mut story, &body_of(300));
    let reply = heard(&mut story, get.who);
    let reply = Message::parse(&reply).expect("a message");
    assert!(reply.options.first(Number::BLOCK2).is_some());
    assert!(reply.options.first(Number::Q_BLOCK2).is_none() && story.hears(get.who).is_none());
    let request = get.asks(&[(0, true)]);
    story.sends(get.who, &request);
    answers(&mut story, b"short");
    let reply = heard(&mut story, get.who);
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.payload, reply.options.first(Number::BLOCK2)), (&b"short"[..], None));
}

/// Pieces that do not come are asked for again, and not for ever.
#[test]
fn a_piece_that_does_not_come_is_asked_for_again() {
    let (mut story, mut get) = begun(10, Type::Non);
    let body = body_of(5_000);
    let first = get.asks(&[(0, true)]);
    story.sends(get.who, &first);
    let token = last(&get);
    story.gives_pieces = false;
    answers(&mut story, &body);
    assert_eq!((story.hears(get.who), story.wanted_pieces.len()), (None, 1));
    story.waits_ms(2_001);
    assert_eq!((story.hears(get.who), story.wanted_pieces.len()), (None, 2));
    story.gives_pieces = true;
    story.waits_ms(2_001);
    let heard = numbers(&mut story, get.who, &body, (Type::Non, token));
    assert_eq!(heard, (0..10).collect::<Vec<_>>());

    story.gives_pieces = false;
    story.waits_ms(60_000);
    let heard = std::iter::from_fn(|| story.hears(get.who)).count();
    assert!(heard < 30, "what was at hand, {heard}");
    let (last, _) = story.outcomes.last().expect("an outcome");
    assert_eq!((last.step, last.reason), (Step::Failed as u8, FailReason::Timeout as u8));
}

/// Section 4.5.
#[test]
fn observe_stands_in_every_block_that_was_not_missing() {
    let (mut story, mut get) = begun(11, Type::Non);
    let body = body_of(64 * 3);
    let request = message(Type::Non, Code::GET, 1, &Token::new(b"t"), |writer| {
        writer.option(Number::OBSERVE, b"").option(Number::URI_PATH, b"log");
        let block = Block::new(0, true, get.size).expect("a number");
        writer.option_uint(Number::Q_BLOCK2, block.value());
    });
    story.sends(get.who, &request);
    story.long.insert(MESSAGE, body.clone());
    let exchange = story.uplinks[0].0.exchange;
    let (message_id, terms, body_bytes) = (MESSAGE, wire::Terms::OWN, (64 * 3).into());
    let answer = wire::Answer { exchange, message_id, device: device_id(1), terms, body_bytes };
    let response = message(Type::Con, Code::CONTENT, 0, &Token::EMPTY, |writer| {
        writer.option(Number::OBSERVE, b"\x07");
    });
    story.tells(Kind::Answer, answer.as_bytes(), &response);
    let observe =
        |reply: &[u8]| Message::parse(reply).expect("a message").options.uint(Number::OBSERVE);
    for _ in 0..3 {
        assert_eq!(observe(&heard(&mut story, get.who)), Some(7));
    }
    let again = get.asks(&[(1, false)]);
    story.sends(get.who, &again);
    let reply = heard(&mut story, get.who);
    assert_eq!((observe(&reply), story.uplinks.len()), (None, 1));
    assert_eq!(Message::parse(&reply).expect("a message").payload, &body[64..128]);
}

/// Nothing is lost, and the application hears of one request, whatever the link does.
#[test]
fn answers_arrive_over_a_bad_link() {
    for loss_percent in [0, 5, 10, 20, 30] {
        for seed in 0..12 {
            let (mut story, mut post) = begun(seed, Type::Non);
            post.method = Code::POST;
            let body = body_of(64 * (seed as usize * 4 + 3) + 5);
            let mut link = Link::new(seed, loss_percent);
            let received = post.downloads(&mut story, &mut link, |story| answers(story, &body));
            assert!(received == body, "{loss_percent} % seed {seed}");
            assert_eq!(story.uplinks.len(), 1);
            story.waits_ms(260_000);
            let last = story.outcomes.iter().filter(|(outcome, _)| outcome.is_final == 1);
            assert_eq!(last.count(), 1, "{loss_percent} % seed {seed}");
        }
    }
}

/// A device with a session at an edge that sends blocks of 64 bytes, and how it asks.
fn begun(seed: u64, ty: Type) -> (Story, Quick) {
    let mut config = Config::default();
    config.coap.block_bytes = 64;
    let mut story = Story::with(seed, config);
    story.publishes = Some(Publication::AwaitingAnswer);
    let device = story.connected(1, Some(b""));
    let get = Quick { ty, method: Code::GET, ..Quick::new(device, 64) };
    (story, get)
}

/// The application answers the last uplink.
fn answers(story: &mut Story, body: &[u8]) {
    story.long.insert(MESSAGE, body.to_vec());
    let exchange = story.uplinks.last().expect("an uplink").0.exchange;
    let is_long = body.len() > 64;
    let body_bytes = if is_long { body.len() as u32 } else { 0 }.into();
    let (message_id, terms) = (MESSAGE, wire::Terms::OWN);
    let answer = wire::Answer { exchange, message_id, device: device_id(1), terms, body_bytes };
    let response = message(Type::Con, Code::CONTENT, 0, &Token::EMPTY, |writer| {
        writer.option_uint(Number::CONTENT_FORMAT, 42);
        writer.payload(if is_long { b"" } else { body });
    });
    story.tells(Kind::Answer, answer.as_bytes(), &response);
}

/// The blocks the device hears, all of this type and with this token.
fn numbers(story: &mut Story, who: Who, body: &[u8], (ty, token): (Type, Token)) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(reply) = story.hears(who) {
        assert_eq!(Message::parse(&reply).expect("a message").ty, ty);
        numbers.push(checked(&reply, body, token));
    }
    numbers
}

/// Which block of the body a response is; everything in it is as it must be.
fn checked(reply: &[u8], body: &[u8], token: Token) -> u32 {
    let reply = Message::parse(reply).expect("a message");
    assert_eq!((reply.code, reply.token), (Code::CONTENT, token));
    let options = &reply.options;
    let block = Block::of(options, Number::Q_BLOCK2).expect("Q-Block2");
    let to = body.len().min(block.offset() + block.size.bytes());
    assert_eq!((reply.payload, block.more), (&body[block.offset()..to], to < body.len()));
    assert_eq!(options.uint(Number::SIZE2), Some(body.len() as u32));
    assert_eq!(options.first(Number::ETAG), Some(&[0x83, 3, 3, 3][..]));
    assert_eq!(options.content_format(), Some(42));
    block.number()
}

/// The token of the last request.
fn last(quick: &Quick) -> Token {
    Token::new(&quick.mid.to_be_bytes())
}

fn steps(story: &Story) -> Vec<(Step, u8)> {
    let steps = story.outcomes.iter();
    steps.map(|(o, _)| (Step::from_wire(o.step).expect("a step"), o.is_final)).collect()
}

fn heard(story: &mut Story, who: Who) -> Vec<u8> {
    story.hears(who).expect("a message")
}

fn body_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}
