//! Observe in both directions (RFC 7641): resources of a device that applications observe, and
//! notifications for a device.

use tidegate_coap::block::{Block, BlockSize};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_dataplane::bounds::OBSERVATIONS_PER_DEVICE_MAX;
use tidegate_dataplane::fate::Tally;
use tidegate_ring::contract::{self as wire, FailReason, Kind, Publication, Step};
use tidegate_tests::story::{Story, Who, device_id, message, seen};
use zerocopy::IntoBytes;

const MESSAGE: wire::MessageId = [3; 16];

/// RFC 7641 figure 2 with the edge as the client: the response and every notification have the
/// token of the request.
#[test]
fn what_a_device_tells_after_its_response_is_a_notification() {
    let (mut story, device, token) = observing(1, 10);
    assert_eq!(last_step(&story), (Step::Responded, 1));
    for (mid, ty) in [(1, Type::Con), (2, Type::Non)] {
        story.sends(device, &notification(ty, mid, &token, Some(10 + u32::from(mid)), b"on"));
        let ack = (ty == Type::Con).then_some((Type::Ack, Code::EMPTY, mid));
        assert_eq!(seen(story.hears(device)), ack);
        let (told, bytes, _) = story.notifications.last().expect("told");
        assert_eq!(
            (told.message_id, told.sequence.get(), told.is_last),
            (MESSAGE, 10 + u32::from(mid), 0)
        );
        assert_eq!(Message::parse(bytes).expect("a message").payload, b"on");
    }
    assert_eq!(story.notifications.len(), 2);
    assert_eq!(story.worker().counters().of(Tally::Notification), 2);
}

/// Section 3.4: what is older than the last one is acknowledged and counted, nothing else; a copy
/// is answered from memory.
#[test]
fn old_notifications_and_copies_are_not_told() {
    let (mut story, device, token) = observing(2, 10);
    let newest = notification(Type::Con, 1, &token, Some(12), b"new");
    story.sends(device, &newest);
    story.sends(device, &notification(Type::Con, 2, &token, Some(11), b"old"));
    story.sends(device, &newest);
    for mid in [1, 2, 1] {
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, mid)));
    }
    assert_eq!(story.notifications.len(), 1);
    assert_eq!(story.worker().counters().of(Tally::NotificationStale), 1);
    // After 128 s every number is fresh.
    story.waits_ms(128_001);
    story.sends(device, &notification(Type::Con, 3, &token, Some(11), b"late"));
    assert_eq!(story.notifications.len(), 2);
}

/// Section 3.2: an error, or a response without Observe, is the last word; what comes after it is
/// rejected.
#[test]
fn without_a_number_it_is_the_last_word() {
    for (code, sequence) in [(Code::CONTENT, None), (Code::NOT_FOUND, Some(11))] {
        let (mut story, device, token) = observing(3, 10);
        let last = message(Type::Con, code, 1, &token, |writer| {
            if let Some(sequence) = sequence {
                writer.option_uint(Number::OBSERVE, sequence);
            }
        });
        story.sends(device, &last);
        assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 1)));
        assert_eq!(story.notifications.last().map(|(told, ..)| told.is_last), Some(1), "{code}");
        story.sends(device, &notification(Type::Con, 2, &token, Some(12), b""));
        assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 2)));
        assert_eq!(story.notifications.len(), 1);
    }
}

/// A device that answers without Observe is not observed.
#[test]
fn a_device_may_disagree() {
    let mut story = Story::new(4);
    let device = story.connected(1, Some(b""));
    let token = asks(&mut story, device, 0);
    let reply = message(Type::Con, Code::CONTENT, 1, &token, |_| {});
    story.sends(device, &reply);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 1)));
    story.sends(device, &notification(Type::Con, 2, &token, Some(12), b""));
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 2)));
    assert!(story.notifications.is_empty());
}

/// Section 3.6: Observe 1 has the token of the registration; what still comes is rejected.
#[test]
fn who_wants_no_more_says_so_with_the_same_token() {
    let (mut story, device, token) = observing(5, 10);
    let again = asks(&mut story, device, 1);
    assert_eq!(again, token);
    story.sends(device, &notification(Type::Con, 9, &Token::new(b"other"), Some(1), b""));
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 9)));
    story.sends(device, &message(Type::Con, Code::CONTENT, 8, &token, |_| {}));
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 8)));
    assert_eq!(last_step(&story), (Step::Responded, 1));
    story.sends(device, &notification(Type::Con, 10, &token, Some(12), b""));
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 10)));
}

/// Asked for again in the same session, the token is the same: the device replaces its entry.
#[test]
fn who_asks_again_keeps_the_token() {
    let (mut story, device, token) = observing(6, 10);
    assert_eq!(asks(&mut story, device, 0), token);
    story.sends(device, &notification(Type::Con, 7, &token, Some(3), b"fresh"));
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 7)));
    assert_eq!(last_step(&story), (Step::Responded, 1), "a response, whatever its number");
    story.sends(device, &notification(Type::Con, 8, &token, Some(4), b""));
    assert_eq!(story.notifications.len(), 1);
}

/// A device that sleeps does not answer; what it agreed to before counts when it wakes.
#[test]
fn who_is_asked_again_and_does_not_answer_still_tells() {
    let (mut story, device, token) = observing(13, 10);
    assert_eq!(asks(&mut story, device, 0), token);
    story.waits_ms(300_000);
    assert_eq!(last_step(&story), (Step::Delivered, 1), "without a response");
    story.sends(device, &notification(Type::Con, 7, &token, Some(11), b"on"));
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 7)));
    assert_eq!(story.notifications.len(), 1);
}

/// Asked again it may disagree: what it tells then is nobody's.
#[test]
fn who_is_asked_again_may_disagree() {
    let (mut story, device, token) = observing(14, 10);
    assert_eq!(asks(&mut story, device, 0), token);
    story.sends(device, &notification(Type::Con, 7, &token, None, b"last"));
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 7)));
    assert_eq!(last_step(&story), (Step::Responded, 1));
    story.sends(device, &notification(Type::Con, 8, &token, Some(12), b""));
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 8)));
}

/// Asked again it may reject that: the control plane forgets it, and so does the worker.
#[test]
fn who_is_asked_again_may_reject_it() {
    let (mut story, device, token) = observing(15, 10);
    let entry = downlink(&story);
    story.tells(Kind::Downlink, entry.as_bytes(), &get(0));
    let request = story.hears(device).expect("a request");
    let request = Message::parse(&request).expect("a message");
    story.sends(device, &empty(Type::Rst, request.mid));
    assert_eq!(last_step(&story), (Step::Failed, 1));
    story.sends(device, &notification(Type::Con, 8, &token, Some(12), b""));
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 8)));
}

/// What the control plane does not know is observed no more.
#[test]
fn what_is_cancelled_is_observed_no_more() {
    let (mut story, device, token) = observing(16, 10);
    let session = story.last_session().session;
    let cancel = wire::Cancel { message_id: MESSAGE, device: device_id(1), session };
    story.tells(Kind::Cancel, cancel.as_bytes(), &[]);
    story.sends(device, &notification(Type::Con, 8, &token, Some(12), b""));
    assert_eq!(seen(story.hears(device)), Some((Type::Rst, Code::EMPTY, 8)));
}

/// The bound of one device, on both sides; a session that ends takes its observations with it.
#[test]
fn a_device_has_so_many_observations_and_a_session_its_own() {
    let mut story = Story::new(7);
    let device = story.connected(1, Some(b""));
    for number in 1..=OBSERVATIONS_PER_DEVICE_MAX as u8 + 1 {
        let is_beyond = usize::from(number) > OBSERVATIONS_PER_DEVICE_MAX;
        let entry = wire::Downlink { message_id: [number; 16], ..downlink(&story) };
        story.tells(Kind::Downlink, entry.as_bytes(), &get(0));
        let request = story.hears(device);
        assert_eq!(request.is_some(), !is_beyond, "{number}");
        if let Some(request) = request {
            let request = Message::parse(&request).expect("a message");
            let mid = request.mid;
            let reply = notification(Type::Ack, mid, &request.token, Some(1), b"");
            story.sends(device, &reply);
        } else {
            let (last, _) = story.outcomes.last().expect("an outcome");
            assert_eq!((last.step, last.reason), (Step::Failed as u8, FailReason::Busy as u8));
        }
    }
    let end = wire::SessionEnd {
        device: device_id(1),
        session: story.last_session().session,
        reason: wire::EndReason::Replaced as u8,
    };
    story.tells(Kind::SessionEnd, end.as_bytes(), &[]);
    let device = story.connected(1, Some(b""));
    let token = asks(&mut story, device, 0);
    story.sends(device, &notification(Type::Con, 1, &token, Some(1), b""));
    assert_eq!(last_step(&story), (Step::Responded, 1), "there is room again");
}

/// RFC 7959 section 2.6: the notification has the first block, the others are fetched without
/// Observe, and one notification is told.
#[test]
fn a_long_notification_is_fetched_and_told_once() {
    let (mut story, device, token) = observing(8, 10);
    let body: Vec<u8> = (0..40).collect();
    let block = |number: u32| {
        Block::new(number, number < 2, BlockSize::exactly(16).expect("a size")).expect("a number")
    };
    let part = |ty, mid, token: &Token, number: u32| {
        message(ty, Code::CONTENT, mid, token, |writer| {
            writer.option(Number::ETAG, b"1");
            if number == 0 {
                writer.option_uint(Number::OBSERVE, 11);
            }
            writer.option_uint(Number::BLOCK2, block(number).value());
            let from = number as usize * 16;
            writer.payload(&body[from..body.len().min(from + 16)]);
        })
    };
    story.sends(device, &part(Type::Con, 1, &token, 0));
    let mut asked = 0;
    for _ in 0..3 {
        let heard = story.hears(device).expect("an ACK and two requests");
        let request = Message::parse(&heard).expect("a message");
        if request.code == Code::EMPTY {
            continue;
        }
        asked += 1;
        assert_eq!(request.options.uint(Number::OBSERVE), None);
        assert_eq!(request.options.first(Number::URI_PATH), Some(&b"state"[..]));
        let wanted = Block::of(&request.options, Number::BLOCK2).expect("Block2");
        assert_eq!(wanted.number(), asked);
        story.sends(device, &part(Type::Ack, request.mid, &request.token, asked));
    }
    let (told, head, heard) = story.notifications.last().expect("told");
    let head = Message::parse(head).expect("a message");
    assert_eq!(head.options.uint(Number::OBSERVE), Some(11), "the number of the first block");
    assert_eq!((asked, story.notifications.len(), heard), (2, 1, &body));
    assert_eq!((told.sequence.get(), told.message_id), (11, MESSAGE));
    assert_eq!(
        story.outcomes.len(),
        3,
        "sent, delivered, responded: what was fetched is no message"
    );
    // The next one is short again.
    story.sends(device, &notification(Type::Con, 9, &token, Some(12), b"x"));
    assert_eq!(story.notifications.len(), 2);
}

/// Section 4.5 with the edge as the server: a notification has the token of the device's request,
/// is sent again until it is acknowledged, and its end is told.
#[test]
fn a_notification_for_a_device_ends_with_its_ack() {
    for (answer, expected) in [
        (Type::Ack, (Step::Delivered, FailReason::None)),
        (Type::Rst, (Step::Failed, FailReason::Reset)),
    ] {
        let mut story = Story::new(9);
        let device = story.connected(1, Some(b""));
        notifies(&mut story, MESSAGE, b"22");
        let first = story.hears(device).expect("a notification");
        let heard = Message::parse(&first).expect("a message");
        assert_eq!((heard.ty, heard.code), (Type::Con, Code::CONTENT));
        assert_eq!((heard.token.as_bytes(), heard.payload), (&b"their token"[..], &b"22"[..]));
        story.waits_ms(3_001);
        assert_eq!(story.hears(device).as_ref(), Some(&first), "again");
        story.sends(device, &empty(answer, heard.mid));
        let (last, _) = story.outcomes.last().expect("an outcome");
        assert_eq!((last.step, last.reason), (expected.0 as u8, expected.1 as u8));
        assert_eq!((last.is_final, last.message_id), (1, MESSAGE));
        story.waits_ms(100_000);
        assert_eq!(story.hears(device), None);
    }
}

/// A device that went away is found out by the last copy.
#[test]
fn a_notification_nobody_acknowledges_fails() {
    let mut story = Story::new(10);
    let device = story.connected(1, Some(b""));
    notifies(&mut story, MESSAGE, b"22");
    story.waits_ms(93_000);
    let copies = std::iter::from_fn(|| story.hears(device)).count();
    let (last, _) = story.outcomes.last().expect("an outcome");
    assert_eq!((copies, last.reason, last.is_final), (5, FailReason::Timeout as u8, 1));
}

/// Section 4.5.1: notifications and requests share NSTART.
#[test]
fn a_notification_waits_for_its_turn() {
    let mut story = Story::new(11);
    let device = story.connected(1, Some(b""));
    let entry = downlink(&story);
    story.tells(Kind::Downlink, entry.as_bytes(), &get(1 << 20));
    notifies(&mut story, [4; 16], b"22");
    let request = story.hears(device).expect("the request");
    assert_eq!(story.hears(device), None, "NSTART is 1");
    let mid = Message::parse(&request).expect("a message").mid;
    story.sends(device, &empty(Type::Ack, mid));
    let heard = story.hears(device).expect("the notification");
    assert_eq!(Message::parse(&heard).expect("a message").payload, b"22");
}

/// RFC 7959 section 2.6: of a long value the notification has the first block, and how long it is.
#[test]
fn a_notification_has_the_first_block_of_a_long_value() {
    let mut story = Story::new(12);
    let device = story.connected(1, Some(b""));
    let entry = wire::Downlink { body_bytes: 3_000.into(), ..downlink(&story) };
    let bytes = message(Type::Con, Code::CONTENT, 0, &Token::new(b"t"), |writer| {
        writer.option(Number::ETAG, b"1").option_uint(Number::OBSERVE, 7).payload(&[5; 1_024]);
    });
    story.tells(Kind::Notify, entry.as_bytes(), &bytes);
    let heard = story.hears(device).expect("a notification");
    let heard = Message::parse(&heard).expect("a message");
    let block = Block::of(&heard.options, Number::BLOCK2).expect("Block2");
    assert_eq!((block.number(), block.more, heard.payload.len()), (0, true, 1_024));
    assert_eq!(heard.options.uint(Number::SIZE2), Some(3_000));
}

/// Section 2.6: blocks of a long value are asked for without Observe. They are of the value that
/// the device was told of last.
#[test]
fn a_device_reads_the_value_that_it_was_told_of() {
    let mut story = Story::new(17);
    let device = story.connected(1, Some(b""));
    story.publishes = Some(Publication::AwaitingAnswer);
    let asks = |story: &mut Story, mid: u16, block2: Option<u32>| {
        let get = message(Type::Con, Code::GET, mid, &Token::new(b"v"), |writer| {
            if block2.is_none() {
                writer.option_uint(Number::OBSERVE, 0);
            }
            writer.option(Number::URI_PATH, b"settings");
            if let Some(block2) = block2 {
                writer.option_uint(Number::BLOCK2, block2);
            }
        });
        story.sends(device, &get);
    };
    let second = Block::new(1, false, BlockSize::MAX).expect("a number").value();
    asks(&mut story, 1, None);
    story.hears(device).expect("the empty ACK");
    let mut message_id = [1; 16];
    message_id[..8].copy_from_slice(&wire::VALUE_PREFIX);
    story.long.insert(message_id, vec![5; 3_000]);
    let exchange = story.uplinks.last().expect("an uplink").0.exchange;
    let (body_bytes, terms) = (3_000.into(), wire::Terms::OWN);
    let answer = wire::Answer { exchange, message_id, device: device_id(1), terms, body_bytes };
    let value = |ty, payload: &[u8]| {
        message(ty, Code::CONTENT, 0, &Token::new(b"v"), |writer| {
            writer.option_uint(Number::OBSERVE, 7).payload(payload);
        })
    };
    story.tells(Kind::Answer, answer.as_bytes(), &value(Type::Con, b""));
    story.hears(device).expect("the first block");
    asks(&mut story, 2, Some(second));
    let block = story.hears(device).expect("the second block");
    let block = Message::parse(&block).expect("a message");
    assert_eq!((block.payload, story.uplinks.len()), (&[5; 1_024][..], 1));

    let entry = wire::Downlink { body_bytes, ..downlink(&story) };
    story.tells(Kind::Notify, entry.as_bytes(), &value(Type::Con, &[6; 1_024]));
    story.hears(device).expect("a notification");
    asks(&mut story, 3, Some(second));
    assert_eq!(story.uplinks.len(), 2, "the control plane has the value of now");
}

/// Registered, with this number in the response; the token of it.
fn observing(seed: u64, sequence: u32) -> (Story, Who, Token) {
    let mut story = Story::new(seed);
    let device = story.connected(1, Some(b""));
    let token = asks(&mut story, device, 0);
    let reply = notification(Type::Con, 1_000, &token, Some(sequence), b"off");
    story.sends(device, &reply);
    assert_eq!(seen(story.hears(device)), Some((Type::Ack, Code::EMPTY, 1_000)));
    assert!(story.notifications.is_empty());
    (story, device, token)
}

/// The application asks, the device acknowledges; the token it was asked with.
fn asks(story: &mut Story, device: Who, observe: u32) -> Token {
    let entry = downlink(story);
    story.tells(Kind::Downlink, entry.as_bytes(), &get(observe));
    let request = story.hears(device).expect("a request");
    let request = Message::parse(&request).expect("a message");
    assert_eq!(request.options.uint(Number::OBSERVE), Some(observe));
    story.sends(device, &empty(Type::Ack, request.mid));
    request.token
}

fn get(observe: u32) -> Vec<u8> {
    message(Type::Con, Code::GET, 0, &Token::EMPTY, |writer| {
        writer.option_uint(Number::OBSERVE, observe).option(Number::URI_PATH, b"state");
    })
}

fn downlink(story: &Story) -> wire::Downlink {
    wire::Downlink {
        message_id: MESSAGE,
        device: device_id(1),
        session: story.last_session().session,
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
    }
}

fn notifies(story: &mut Story, message_id: wire::MessageId, payload: &[u8]) {
    let entry = wire::Downlink { message_id, ..downlink(story) };
    let token = Token::new(b"their token");
    let bytes = message(Type::Con, Code::CONTENT, 0, &token, |writer| {
        writer.option_uint(Number::OBSERVE, 7).payload(payload);
    });
    story.tells(Kind::Notify, entry.as_bytes(), &bytes);
}

fn notification(
    ty: Type,
    mid: u16,
    token: &Token,
    sequence: Option<u32>,
    payload: &[u8],
) -> Vec<u8> {
    message(ty, Code::CONTENT, mid, token, |writer| {
        if let Some(sequence) = sequence {
            writer.option_uint(Number::OBSERVE, sequence);
        }
        writer.payload(payload);
    })
}

fn last_step(story: &Story) -> (Step, u8) {
    let (last, _) = story.outcomes.last().expect("an outcome");
    (Step::from_wire(last.step).expect("a step"), last.is_final)
}
