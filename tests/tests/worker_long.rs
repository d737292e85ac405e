//! Long bodies on their way to a device, and long responses of one: block by block (RFC 7959).

use tidegate_coap::block::{Block, BlockSize};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_dataplane::config::Config;
use tidegate_ring::contract::{self as wire, FailReason, Kind, Publication, Step};
use tidegate_tests::story::{Story, Who, device_id, message};
use zerocopy::IntoBytes;

const MESSAGE: wire::MessageId = [3; 16];

/// RFC 7959 figure 7 with the edge as the client: each block follows the 2.31 to the one before,
/// with a Message ID and token of its own; the application hears of one message.
#[test]
fn a_long_request_goes_block_by_block() {
    let (mut story, device) = with_blocks_of(128);
    let body = body_of(300);
    sends(&mut story, &body);
    let mut tokens = Vec::new();
    for number in 0..3 {
        let request = heard(&mut story, device);
        let is_last = number == 2;
        let request = Message::parse(&request).expect("a message");
        let range = number * 128..body.len().min(number * 128 + 128);
        assert_eq!((request.ty, request.code), (Type::Con, Code::PUT));
        assert_eq!(request.payload, &body[range]);
        let block1 = Block::of(&request.options, Number::BLOCK1);
        assert_eq!(block1, Some(block(number as u32, !is_last, 128)));
        assert_eq!(request.options.uint(Number::SIZE1), (number == 0).then_some(300));
        assert_eq!(request.options.first(Number::URI_PATH), Some(&b"fw"[..]));
        tokens.push((request.token, request.mid));
        let code = if is_last { Code::CHANGED } else { Code::CONTINUE };
        let block1 = block1.expect("Block1");
        let reply = message(Type::Ack, code, request.mid, &request.token, |writer| {
            writer.option_uint(Number::BLOCK1, block1.value());
        });
        story.sends(device, &reply);
    }
    tokens.sort_by_key(|(_, mid)| *mid);
    assert!(tokens.windows(2).all(|two| two[0].0 != two[1].0 && two[0].1 != two[1].1));
    assert_eq!(steps(&story), [(Step::Sent, 0), (Step::Delivered, 0), (Step::Responded, 1)]);
    assert_eq!(story.hears(device), None);
}

/// A device that lost the first block and says so with the ACK of the last one has not got the
/// message: it is delivered once it has it all.
#[test]
fn a_body_that_has_to_go_again_is_not_delivered() {
    let (mut story, device) = with_blocks_of(128);
    let body = body_of(200);
    sends(&mut story, &body);
    for code in [Code::CONTINUE, Code::REQUEST_ENTITY_INCOMPLETE] {
        let request = heard(&mut story, device);
        let request = Message::parse(&request).expect("a message");
        let block1 = Block::of(&request.options, Number::BLOCK1).expect("Block1");
        let reply = message(Type::Ack, code, request.mid, &request.token, |writer| {
            if code == Code::CONTINUE {
                writer.option_uint(Number::BLOCK1, block1.value());
            }
        });
        story.sends(device, &reply);
    }
    assert_eq!(steps(&story), [(Step::Sent, 0)]);
    assert_eq!(takes(&mut story, device, 128), body);
    assert_eq!(steps(&story), [(Step::Sent, 0), (Step::Delivered, 0), (Step::Responded, 1)]);
}

/// RFC 9175 section 3.4: all blocks of a body have one tag, which no other body has.
#[test]
fn each_body_has_a_request_tag_of_its_own() {
    let (mut story, device) = with_blocks_of(128);
    let mut tags = Vec::new();
    for number in [1, 2] {
        let body = body_of(200);
        let entry = wire::Downlink { message_id: [number; 16], ..downlink(&mut story, 200) };
        story.long.insert([number; 16], body);
        let put = message(Type::Con, Code::PUT, 0, &Token::EMPTY, |writer| {
            writer.option(Number::URI_PATH, b"fw");
        });
        story.tells(Kind::Downlink, entry.as_bytes(), &put);
        for more in [true, false] {
            let request = heard(&mut story, device);
            let request = Message::parse(&request).expect("a message");
            tags.push(request.options.first(Number::REQUEST_TAG).expect("a tag").to_vec());
            let block1 = Block::of(&request.options, Number::BLOCK1).expect("Block1");
            assert_eq!(block1.more, more);
            let code = if more { Code::CONTINUE } else { Code::CHANGED };
            let reply = message(Type::Ack, code, request.mid, &request.token, |writer| {
                writer.option_uint(Number::BLOCK1, block1.value());
            });
            story.sends(device, &reply);
        }
    }
    assert!(tags[0] == tags[1] && tags[2] == tags[3] && tags[0] != tags[2], "{tags:?}");
}

/// Figures 9 and section 2.9.3: the device wants smaller blocks, at once or after the first one.
#[test]
fn a_device_says_how_large_its_blocks_are() {
    for too_large in [false, true] {
        let (mut story, device) = with_blocks_of(128);
        let body = body_of(300);
        sends(&mut story, &body);
        let request = heard(&mut story, device);
        let request = Message::parse(&request).expect("a message");
        let code = if too_large { Code::REQUEST_ENTITY_TOO_LARGE } else { Code::CONTINUE };
        let reply = message(Type::Ack, code, request.mid, &request.token, |writer| {
            writer.option_uint(Number::BLOCK1, block(0, true, 32).value());
        });
        story.sends(device, &reply);
        let received = takes(&mut story, device, 32);
        assert_eq!(received, body[if too_large { 0 } else { 128 }..]);
        assert_eq!(story.outcomes.last().map(|(last, _)| last.step), Some(Step::Responded as u8));
    }
}

/// A body as long as a ring has no room for is asked for piece by piece, and what is under way is a
/// block and a piece. Every fifth datagram of the edge is lost.
#[test]
fn a_firmware_arrives_whole_over_a_lossy_link() {
    let (mut story, device) = with_blocks_of(1_024);
    let body = body_of(2_000_000);
    sends(&mut story, &body);
    let (mut received, mut turn) = (Vec::new(), 0);
    while received.len() < body.len() {
        turn += 1;
        let Some(request) = story.hears(device) else {
            story.waits_ms(3_100);
            continue;
        };
        let request = Message::parse(&request).expect("a message");
        let block1 = Block::of(&request.options, Number::BLOCK1).expect("Block1");
        if block1.offset() == received.len() {
            received.extend_from_slice(request.payload);
        }
        let code = if block1.more { Code::CONTINUE } else { Code::CHANGED };
        let reply = message(Type::Ack, code, request.mid, &request.token, |writer| {
            writer.option_uint(Number::BLOCK1, block1.value());
        });
        if turn % 5 == 0 {
            story.loses(1);
        }
        story.sends(device, &reply);
    }
    assert!(received == body);
    assert_eq!(story.outcomes.last().map(|(last, _)| last.step), Some(Step::Responded as u8));
    assert_eq!(story.outcomes.iter().filter(|(outcome, _)| outcome.is_final == 1).count(), 1);
}

/// NSTART is kept: another message gets its turn between blocks, never beside one.
#[test]
fn blocks_keep_to_nstart() {
    let (mut story, device) = with_blocks_of(128);
    let body = body_of(300);
    sends(&mut story, &body);
    let other = wire::Downlink { message_id: [4; 16], ..downlink(&mut story, 0) };
    let get = message(Type::Con, Code::GET, 0, &Token::EMPTY, |writer| {
        writer.option(Number::URI_PATH, b"state");
    });
    story.tells(Kind::Downlink, other.as_bytes(), &get);
    let mut methods = Vec::new();
    while let Some(request) = story.hears(device) {
        assert_eq!(story.hears(device), None, "one at a time");
        let request = Message::parse(&request).expect("a message");
        methods.push(request.code);
        let block1 = Block::of(&request.options, Number::BLOCK1);
        let code = match block1 {
            Some(block) if block.more => Code::CONTINUE,
            Some(_) => Code::CHANGED,
            None => Code::CONTENT,
        };
        let reply = message(Type::Ack, code, request.mid, &request.token, |writer| {
            if let Some(block1) = block1 {
                writer.option_uint(Number::BLOCK1, block1.value());
            }
        });
        story.sends(device, &reply);
    }
    assert_eq!(methods, [Code::PUT, Code::PUT, Code::PUT, Code::GET]);
}

/// A piece is asked for again when it does not come, and not for ever.
#[test]
fn a_piece_that_does_not_come_is_asked_for_again() {
    let (mut story, device) = with_blocks_of(128);
    let body = body_of(300);
    story.gives_pieces = false;
    sends(&mut story, &body);
    assert_eq!((story.hears(device), story.wanted_pieces.len()), (None, 1));
    story.waits_ms(10_000);
    assert_eq!((story.hears(device), story.wanted_pieces.len()), (None, 2));
    story.gives_pieces = true;
    story.waits_ms(10_000);
    assert_eq!(takes(&mut story, device, 128), body);

    let (mut story, device) = with_blocks_of(128);
    story.gives_pieces = false;
    sends(&mut story, &body);
    story.waits_ms(41_000);
    assert_eq!((story.hears(device), story.wanted_pieces.len()), (None, 4));
    assert_eq!(last_failure(&story), Some(FailReason::Timeout));
}

/// The application deleted it, or it has expired: the control plane has no body any more.
#[test]
fn a_body_that_is_gone_ends_its_message() {
    let (mut story, device) = with_blocks_of(1_024);
    let body = body_of(5_000);
    sends(&mut story, &body);
    story.long.clear();
    for _ in 0..2 {
        let request = heard(&mut story, device);
        let request = Message::parse(&request).expect("a message");
        let block1 = Block::of(&request.options, Number::BLOCK1).expect("Block1");
        let reply = message(Type::Ack, Code::CONTINUE, request.mid, &request.token, |writer| {
            writer.option_uint(Number::BLOCK1, block1.value());
        });
        story.sends(device, &reply);
    }
    assert_eq!(last_failure(&story), Some(FailReason::Cancelled));
    assert_eq!(story.hears(device), None);
}

/// RFC 7959 figure 3: a response that comes in blocks is fetched to its end and told as one.
#[test]
fn a_long_response_is_fetched_block_by_block() {
    let (mut story, device) = with_blocks_of(1_024);
    let body = body_of(300);
    let entry = downlink(&mut story, 0);
    let get = message(Type::Con, Code::GET, 0, &Token::EMPTY, |writer| {
        writer.option(Number::URI_PATH, b"log");
    });
    story.tells(Kind::Downlink, entry.as_bytes(), &get);
    serves(&mut story, device, &body, 64, |_| b"tag");
    let (outcome, response) = story.outcomes.last().expect("an outcome");
    assert_eq!((outcome.step, outcome.is_final), (Step::Responded as u8, 1));
    assert_eq!(story.response_bodies.last(), Some(&body));
    let response = Message::parse(response).expect("a message");
    assert_eq!((response.code, response.payload), (Code::CONTENT, &b""[..]));
    assert_eq!(story.worker().upload_bytes(), 0);
}

/// Blocks of two bodies are no body, and one that is too long is not fetched.
#[test]
fn a_response_that_can_not_be_had_fails() {
    let tags: [fn(u32) -> &'static [u8]; 2] =
        [|number| if number < 2 { b"a" } else { b"b" }, |_| b"a"];
    for (tag, reason) in tags.into_iter().zip([FailReason::Malformed, FailReason::TooLarge]) {
        let mut config = Config::default();
        config.coap.upload_bytes = if reason == FailReason::TooLarge { 200 } else { 300 };
        let mut story = Story::with(7, config);
        let device = story.connected(1, Some(b""));
        let entry = downlink(&mut story, 0);
        let get = message(Type::Con, Code::GET, 0, &Token::EMPTY, |_| ());
        story.tells(Kind::Downlink, entry.as_bytes(), &get);
        serves(&mut story, device, &body_of(300), 64, tag);
        assert_eq!(last_failure(&story), Some(reason));
        assert_eq!(story.worker().upload_bytes(), 0);
    }
}

/// What comes instead of the rest of a response: an error is told as the response, without what
/// came before it; a whole response is none of this body.
#[test]
fn a_response_is_never_told_in_part() {
    for code in [Code::REQUEST_ENTITY_INCOMPLETE, Code::CONTENT] {
        let (mut story, device) = with_blocks_of(1_024);
        let entry = downlink(&mut story, 0);
        let get = message(Type::Con, Code::GET, 0, &Token::EMPTY, |_| ());
        story.tells(Kind::Downlink, entry.as_bytes(), &get);
        let request = heard(&mut story, device);
        let request = Message::parse(&request).expect("a message");
        let first = message(Type::Ack, Code::CONTENT, request.mid, &request.token, |writer| {
            writer.option_uint(Number::BLOCK2, block(0, true, 64).value()).payload(&[7; 64]);
        });
        story.sends(device, &first);
        let request = heard(&mut story, device);
        let request = Message::parse(&request).expect("a message");
        let other = message(Type::Ack, code, request.mid, &request.token, |writer| {
            writer.payload(b"gone");
        });
        story.sends(device, &other);
        assert!(story.response_bodies.iter().all(Vec::is_empty), "nothing is told in part");
        if code == Code::CONTENT {
            assert_eq!(last_failure(&story), Some(FailReason::Malformed));
        } else {
            let (outcome, response) = story.outcomes.last().expect("an outcome");
            let response = Message::parse(response).expect("a message");
            assert_eq!((outcome.step, outcome.body_bytes.get()), (Step::Responded as u8, 0));
            assert_eq!((response.code, response.payload), (code, &b"gone"[..]));
        }
        assert_eq!(story.worker().upload_bytes(), 0);
    }
}

/// RFC 7959 figures 2 and 3: an answer longer than a block is read block by block, published once,
/// and ends with its last block. ETag and Size2 say which body it is and how long.
#[test]
fn a_long_answer_is_read_block_by_block() {
    for asked in [None, Some(64)] {
        let (mut story, device) = with_blocks_of(128);
        let body = body_of(300);
        let size = asked.unwrap_or(128);
        let get = question(1, Code::GET, asked.map(|size| block(0, false, size)));
        let first = answered(&mut story, device, &get, &body);
        let first = Message::parse(&first).expect("a message");
        assert_eq!((first.code, first.payload), (Code::CONTENT, &body[..size]));
        assert_eq!(Block::of(&first.options, Number::BLOCK2), Some(block(0, true, size)));
        assert_eq!(first.options.uint(Number::SIZE2), Some(300));
        assert_eq!(first.options.content_format(), Some(42));
        let tag = first.options.first(Number::ETAG).expect("an ETag").to_vec();
        assert_eq!(steps(&story), [(Step::Sent, 0)]);

        for number in 1..body.len().div_ceil(size) {
            let get =
                question(10 + number as u16, Code::GET, Some(block(number as u32, false, size)));
            story.sends(device, &get);
            let reply = heard(&mut story, device);
            let reply = Message::parse(&reply).expect("a message");
            let range = number * size..body.len().min((number + 1) * size);
            assert_eq!((reply.ty, reply.payload), (Type::Ack, &body[range.clone()]));
            assert_eq!(reply.options.first(Number::ETAG), Some(&tag[..]));
            let is_last = range.end == body.len();
            let expected = block(number as u32, !is_last, size);
            assert_eq!(Block::of(&reply.options, Number::BLOCK2), Some(expected));
        }
        assert_eq!(story.uplinks.len(), 1);
        assert_eq!(steps(&story).last(), Some(&(Step::Sent, 1)));
    }
}

/// RFC 7959 figure 11: a long POST, answered by a long body; the application hears of one request.
#[test]
fn td_coap_block_05() {
    let (mut story, device) = with_blocks_of(128);
    let (question, answer) = (body_of(200), body_of(300));
    let post = |mid, option, block: Block, payload: &[u8]| {
        message(Type::Con, Code::POST, mid, &Token::new(b"soap"), |writer| {
            writer.option(Number::URI_PATH, b"log").option_uint(option, block.value());
            writer.payload(payload);
        })
    };
    story.sends(device, &post(1, Number::BLOCK1, block(0, true, 128), &question[..128]));
    let reply = heard(&mut story, device);
    assert_eq!(Message::parse(&reply).expect("a message").code, Code::CONTINUE);
    let last = post(2, Number::BLOCK1, block(1, false, 128), &question[128..]);
    let first = answered(&mut story, device, &last, &answer);
    let first = Message::parse(&first).expect("a message");
    assert_eq!(Block::of(&first.options, Number::BLOCK1), Some(block(1, false, 128)));
    assert_eq!(Block::of(&first.options, Number::BLOCK2), Some(block(0, true, 128)));
    let mut read = first.payload.to_vec();
    for number in 1..3 {
        let mid = 2 + number as u16;
        story.sends(device, &post(mid, Number::BLOCK2, block(number, false, 128), b""));
        let reply = heard(&mut story, device);
        let reply = Message::parse(&reply).expect("a message");
        let expected = block(number, number < 2, 128);
        assert_eq!(Block::of(&reply.options, Number::BLOCK2), Some(expected));
        read.extend_from_slice(reply.payload);
    }
    assert_eq!((read, story.uplinks.len(), &story.bodies[0]), (answer, 1, &question));
}

/// A copy of a request for a block is answered like the request, the first one from memory; the
/// application hears of none of them.
#[test]
fn copies_of_requests_for_blocks_are_answered_alike() {
    let (mut story, device) = with_blocks_of(128);
    let body = body_of(300);
    let first = question(1, Code::GET, None);
    let reply = answered(&mut story, device, &first, &body);
    let own = Message::parse(&reply).expect("a message");
    assert_eq!(own.ty, Type::Con, "a separate response: it is acknowledged");
    story.sends(device, &empty(Type::Ack, own.mid));
    for number in [1, 2] {
        let get = question(10 + number, Code::GET, Some(block(number.into(), false, 128)));
        story.sends(device, &get);
        let reply = heard(&mut story, device);
        story.sends(device, &get);
        assert_eq!(heard(&mut story, device), reply);
    }
    assert_eq!(story.uplinks.len(), 1);
}

/// Block 0 again is the whole request again; a block of an answer that nobody has is a question
/// for the application when asking is safe, and 4.08 when it is not. Beyond the end is 4.00.
#[test]
fn only_what_is_here_is_served() {
    let (mut story, device) = with_blocks_of(128);
    let body = body_of(300);
    story.publishes = Some(Publication::AwaitingAnswer);
    let get = question(1, Code::GET, Some(block(2, false, 128)));
    let reply = answered(&mut story, device, &get, &body);
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.payload, story.uplinks.len()), (&body[256..], 1));
    story.sends(device, &question(2, Code::POST, Some(block(2, false, 128))));
    let reply = heard(&mut story, device);
    let reply = Message::parse(&reply).expect("a message");
    assert_eq!((reply.code, story.uplinks.len()), (Code::REQUEST_ENTITY_INCOMPLETE, 1));
    story.sends(device, &question(3, Code::GET, Some(block(3, false, 128))));
    let reply = heard(&mut story, device);
    assert_eq!(Message::parse(&reply).expect("a message").code, Code::BAD_REQUEST);
}

/// An answer that nobody reads to its end has failed.
#[test]
fn an_answer_that_is_not_read_fails_after_its_time() {
    let (mut story, device) = with_blocks_of(128);
    let get = question(1, Code::GET, None);
    answered(&mut story, device, &get, &body_of(300));
    story.waits_ms(246_000);
    assert_eq!(last_failure(&story), None);
    story.waits_ms(3_000);
    assert_eq!(last_failure(&story), Some(FailReason::Timeout));
    assert_eq!(story.outcomes.iter().filter(|(outcome, _)| outcome.is_final == 1).count(), 1);
}

/// A device with a session at an edge that sends blocks of this size.
fn with_blocks_of(bytes: u16) -> (Story, Who) {
    let mut config = Config::default();
    config.coap.block_bytes = bytes;
    let mut story = Story::with(7, config);
    let device = story.connected(1, Some(b""));
    (story, device)
}

fn downlink(story: &mut Story, body_bytes: usize) -> wire::Downlink {
    wire::Downlink {
        message_id: MESSAGE,
        device: device_id(1),
        session: story.last_session().session,
        terms: wire::Terms::OWN,
        body_bytes: (body_bytes as u32).into(),
    }
}

/// The application sends a long PUT.
fn sends(story: &mut Story, body: &[u8]) {
    story.long.insert(MESSAGE, body.to_vec());
    let entry = downlink(story, body.len());
    let put = message(Type::Con, Code::PUT, 0, &Token::EMPTY, |writer| {
        writer.option(Number::URI_PATH, b"fw");
    });
    story.tells(Kind::Downlink, entry.as_bytes(), &put);
}

/// The device takes block after block of this size; what it received.
fn takes(story: &mut Story, device: Who, size: usize) -> Vec<u8> {
    let mut received = Vec::new();
    while let Some(request) = story.hears(device) {
        let request = Message::parse(&request).expect("a message");
        let block1 = Block::of(&request.options, Number::BLOCK1).expect("Block1");
        assert_eq!(block1.size.bytes(), size);
        received.extend_from_slice(request.payload);
        let code = if block1.more { Code::CONTINUE } else { Code::CHANGED };
        let reply = message(Type::Ack, code, request.mid, &request.token, |writer| {
            writer.option_uint(Number::BLOCK1, block1.value());
        });
        story.sends(device, &reply);
    }
    received
}

/// The device serves a long body, as long as it is asked for.
fn serves(story: &mut Story, device: Who, body: &[u8], size: usize, tag: fn(u32) -> &'static [u8]) {
    while let Some(request) = story.hears(device) {
        let request = Message::parse(&request).expect("a message");
        let wanted = Block::of(&request.options, Number::BLOCK2);
        let number = wanted.map_or(0, Block::number);
        let from = number as usize * size;
        let to = body.len().min(from + size);
        let block2 = block(number, to < body.len(), size);
        let reply = message(Type::Ack, Code::CONTENT, request.mid, &request.token, |writer| {
            writer.option(Number::ETAG, tag(number));
            writer.option_uint(Number::BLOCK2, block2.value()).payload(&body[from..to]);
        });
        story.sends(device, &reply);
    }
}

/// A request of the device for `/log`.
fn question(mid: u16, method: Code, block2: Option<Block>) -> Vec<u8> {
    message(Type::Con, method, mid, &Token::new(&mid.to_be_bytes()), |writer| {
        writer.option(Number::URI_PATH, b"log");
        if let Some(block2) = block2 {
            writer.option_uint(Number::BLOCK2, block2.value());
        }
    })
}

/// The device asks, and the application answers; the first block, behind the empty ACK.
fn answered(story: &mut Story, device: Who, request: &[u8], body: &[u8]) -> Vec<u8> {
    story.publishes = Some(Publication::AwaitingAnswer);
    story.long.insert(MESSAGE, body.to_vec());
    story.sends(device, request);
    story.hears(device).expect("the empty ACK");
    let exchange = story.uplinks.last().expect("an uplink").0.exchange;
    let body_bytes = (body.len() as u32).into();
    let (message_id, terms) = (MESSAGE, wire::Terms::OWN);
    let answer = wire::Answer { exchange, message_id, device: device_id(1), terms, body_bytes };
    let response = message(Type::Con, Code::CONTENT, 0, &Token::EMPTY, |writer| {
        writer.option_uint(Number::CONTENT_FORMAT, 42);
    });
    story.tells(Kind::Answer, answer.as_bytes(), &response);
    heard(story, device)
}

fn heard(story: &mut Story, device: Who) -> Vec<u8> {
    story.hears(device).expect("a message")
}

fn steps(story: &Story) -> Vec<(Step, u8)> {
    let steps = story.outcomes.iter();
    steps.map(|(o, _)| (Step::from_wire(o.step).expect("a step"), o.is_final)).collect()
}

fn last_failure(story: &Story) -> Option<FailReason> {
    let (last, _) = story.outcomes.last()?;
    (last.step == Step::Failed as u8).then(|| FailReason::from_wire(last.reason).expect("one"))
}

fn block(number: u32, more: bool, bytes: usize) -> Block {
    Block::new(number, more, BlockSize::exactly(bytes).expect("a size")).expect("a number")
}

fn body_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}
