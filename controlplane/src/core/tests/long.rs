//! Messages whose body goes to its device block by block, and responses that come so.

use super::*;
use crate::model::{
    DownlinkResponse, Failure, NewEdgeResource, PIECE_BYTES, PayloadReference, ProfileTerms,
    RESOURCE_FIRST_BYTES, UploadId,
};
use crate::payloads::{Fault, READ_BYTES};
use crate::store::keys;
use bytes::Bytes;
use tidegate_ring::contract::TAIL_BYTES_MAX;

fn body_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7) as u8).collect()
}

impl Story {
    /// The worker asks for a piece; what it gets.
    fn wants(&mut self, id: MessageId, offset: usize) -> Vec<u8> {
        self.asks_for(id, offset);
        let post = self.posts.iter().rev().find(|post| post.kind == Kind::Piece).unwrap();
        let (piece, bytes) = contract::Piece::split(&post.bytes).unwrap();
        assert_eq!((piece.body.get(), piece.offset.get() as usize), (5, offset));
        bytes.to_vec()
    }

    fn wants_all(&mut self, id: MessageId) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let piece = self.wants(id, body.len());
            if piece.is_empty() {
                return body;
            }
            assert!(piece.len() <= TAIL_BYTES_MAX);
            body.extend(piece);
        }
    }

    fn answers_with(&mut self, token: &str, payload: &[u8]) -> MessageId {
        let response = DownlinkResponse {
            token: token.to_owned(),
            status: Code::CONTENT.0,
            location_path: Vec::new(),
            content_format: Some(42),
            options: Vec::new(),
            payload: payload.to_vec(),
            reference: None,
        };
        let body = Body::Response(response);
        match self.asks(Request::Send { device: DEVICE, body }) {
            Some(Ok(Reply::Accepted(id))) => id,
            other => panic!("not accepted: {other:?}"),
        }
    }

    fn published_token(&self) -> String {
        let json: serde_json::Value =
            serde_json::from_slice(&self.publishes.last().unwrap().2).unwrap();
        json["WirelessMetadata"]["CoAP"]["ResponseToken"].as_str().unwrap().to_owned()
    }
}

/// What fits a block stands in the entry; a byte more, and the worker asks for it.
#[test]
fn a_body_longer_than_a_block_is_asked_for() {
    for (bytes, body_bytes) in [(1_024, 0), (1_025, 1_025), (256 << 10, 256 << 10)] {
        let mut story = Story::new();
        story.session_up(1);
        let body = body_of(bytes);
        let id = story.sends(QueueMode::Immediate, &body);
        let post = story.posted(Kind::Downlink)[0];
        let (downlink, message) = contract::Downlink::split(&post.bytes).unwrap();
        assert_eq!(downlink.body_bytes.get(), body_bytes);
        let message = tidegate_coap::message::Message::parse(message).unwrap();
        assert_eq!(message.payload.len() as u32 + body_bytes, bytes as u32);
        if body_bytes > 0 {
            assert_eq!(story.wants_all(id), body);
            assert_eq!(story.wants(id, 1_000), body[1_000..1_025.max(3_048.min(bytes))]);
        }
    }
}

/// Longer than the edge takes, or than the device's profile says: refused at once.
#[test]
fn a_body_is_as_long_as_it_may_be() {
    let mut story = Story::new();
    story.session_up(1);
    story.sends(QueueMode::Immediate, &body_of(256 << 10));
    let refused = story.asks(send(QueueMode::Immediate, &body_of((256 << 10) + 1)));
    assert!(matches!(refused, Some(Err(_))), "{refused:?}");
}

/// It waits on the disk: a control plane that starts anew has it, until its message ends.
#[test]
fn a_body_lives_as_long_as_its_message() {
    let mut story = Story::new();
    story.session_up(1);
    let body = body_of(5_000);
    let id = story.sends(QueueMode::Queued, &body);
    story.hello(1);
    story.outcome(id, Step::Sent, false);
    let mut story = story.restarts();
    assert_eq!(story.wants_all(id), body);
    story.outcome(id, Step::Delivered, true);
    assert_eq!((story.wants(id, 0), story.stored_keys(Table::Queue)), (Vec::new(), 0));
    assert_eq!(story.wants(MessageId([9; 16]), 0), b"", "nobody's message");
}

/// A device may take hours: the message is not given up while pieces are asked for.
#[test]
fn a_message_is_not_given_up_while_its_body_is_taken() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, &body_of(5_000));
    story.outcome(id, Step::Sent, false);
    for _ in 0..10 {
        story.waits_ms(500_000);
        story.wants(id, 0);
        assert!(!story.has_ended(id));
    }
    // The control: nobody asks any more.
    story.waits_ms(600_001);
    assert!(story.has_ended(id));
}

/// An answer to a device's GET: the same, also after a restart.
#[test]
fn a_long_answer_is_asked_for() {
    let mut story = Story::new();
    story.hello(1);
    story.uplink(4, Code::GET, b"");
    let token = story.published_token();
    let body = body_of(70_000);
    let id = story.answers_with(&token, &body);
    let post = story.posted(Kind::Answer)[0];
    let (answer, message) = contract::Answer::split(&post.bytes).unwrap();
    let message = tidegate_coap::message::Message::parse(message).unwrap();
    assert_eq!((answer.body_bytes.get(), message.payload), (70_000, &b""[..]));
    assert_eq!(message.options.content_format(), Some(42));
    assert_eq!(story.wants_all(id), body);
    let mut story = story.restarts();
    assert_eq!(story.wants_all(id), body);
    story.outcome(id, Step::Sent, true);
    assert_eq!(story.wants(id, 0), b"");
}

/// A response that came block by block crosses in pieces and is published as one.
#[test]
fn a_long_response_is_published_as_one() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"give");
    let body = body_of(3_000);
    for (from, to) in [(0, 2_048), (2_048, 3_000)] {
        let piece = contract::Body {
            exchange: contract::name_of_message(&id.0).into(),
            offset: (from as u32).into(),
            total: 3_000.into(),
        };
        story.entry(Kind::Body, &[piece.as_bytes(), &body[from..to]]);
    }
    let outcome = contract::Outcome {
        message_id: id.0,
        device: DEVICE.0,
        at_unix_ms: UNIX_MS.into(),
        step: Step::Responded as u8,
        reason: FailReason::None as u8,
        is_final: 1,
        network: contract::Network::Cellular as u8,
        body_bytes: 3_000.into(),
    };
    let response = message(Type::Ack, Code::CONTENT, b"");
    story.entry(Kind::Outcome, &[outcome.as_bytes(), &response]);
    assert_eq!(story.state(id), MessageState::Responded);
    assert_eq!(story.last_payload(), body);
}

/// A payload of so many bytes that lies elsewhere.
fn elsewhere(bytes: u32) -> PayloadReference {
    PayloadReference { url: "s3://firmware/v2".to_owned(), bytes, etag: Some("1".to_owned()) }
}

impl Story {
    fn sends_reference(&mut self, reference: PayloadReference) -> Option<MessageId> {
        let Request::Send { device, body: Body::Request(request) } = send(QueueMode::Queued, b"")
        else {
            panic!("a request")
        };
        let body = Body::Request(DownlinkRequest { reference: Some(reference), ..request });
        match self.asks(Request::Send { device, body }) {
            Some(Ok(Reply::Accepted(id))) => Some(id),
            _ => None,
        }
    }

    /// The worker asks; the entry is finished, with or without a piece.
    fn asks_for(&mut self, id: MessageId, offset: usize) {
        let wanted = contract::Wanted {
            body: 5.into(),
            message_id: id.0,
            device: DEVICE.0,
            offset: (offset as u32).into(),
        };
        let seq = self.entry(Kind::Wanted, &[wanted.as_bytes()]);
        assert!(self.done.contains(&seq), "no entry waits for a read");
    }

    fn brings(&mut self, id: MessageId, at: usize, read: Result<&[u8], Fault>) {
        self.core.on_read(self.now(), id, at, read.map(Bytes::copy_from_slice));
        self.settles();
    }

    /// Pieces so far: where each begins, and its bytes.
    fn pieces(&self) -> Vec<(usize, Vec<u8>)> {
        let split = |post: &&Post| {
            let (piece, bytes) = contract::Piece::split(&post.bytes).unwrap();
            (piece.offset.get() as usize, bytes.to_vec())
        };
        self.posted(Kind::Piece).iter().map(split).collect()
    }
}

/// One read at a time, of one part; what it brings serves the pieces in it.
#[test]
fn a_body_that_lies_elsewhere_is_read_as_its_device_takes_it() {
    let body = body_of(READ_BYTES + 3_000);
    let mut story = Story::new();
    let id = story.sends_reference(elsewhere(body.len() as u32)).unwrap();
    story.session_up(1);
    let post = story.posted(Kind::Downlink)[0];
    let (downlink, _) = contract::Downlink::split(&post.bytes).unwrap();
    assert_eq!(downlink.body_bytes.get() as usize, body.len());
    story.asks_for(id, 0);
    story.asks_for(id, 0);
    assert_eq!((story.reads.clone(), story.pieces()), (vec![(id, 0)], vec![]));
    story.brings(id, 0, Ok(&body[..READ_BYTES]));
    story.asks_for(id, TAIL_BYTES_MAX);
    let at = TAIL_BYTES_MAX;
    let pieces = vec![(0, body[..at].to_vec()), (at, body[at..2 * at].to_vec())];
    assert_eq!((story.reads.len(), story.pieces()), (1, pieces));
    // Behind it, and after a restart that has nothing at hand.
    story.hello(1);
    let mut story = story.restarts();
    story.asks_for(id, READ_BYTES);
    assert_eq!(story.reads, [(id, READ_BYTES)]);
    story.brings(id, READ_BYTES, Ok(&body[READ_BYTES..]));
    story.asks_for(id, READ_BYTES + TAIL_BYTES_MAX);
    assert_eq!(story.reads.len(), 1);
    assert_eq!(story.pieces()[1].1, body[READ_BYTES + TAIL_BYTES_MAX..]);
    story.asks_for(id, body.len());
    assert_eq!((story.reads.len(), story.pieces()[2].1.len()), (1, 0), "there is no more");
}

/// One that is not there any more ends its message; one that can't be read now is asked for again.
#[test]
fn a_read_that_fails_is_tried_again_or_ends_the_message() {
    let mut story = Story::new();
    let id = story.sends_reference(elsewhere(9_000)).unwrap();
    story.session_up(1);
    story.asks_for(id, 0);
    story.brings(id, 0, Err(Fault::Later));
    assert!(story.pieces().is_empty());
    story.asks_for(id, 0);
    assert_eq!(story.reads.len(), 2);
    // A read that is never heard of is begun anew.
    story.waits_ms(60_001);
    story.asks_for(id, 0);
    assert_eq!(story.reads.len(), 3);
    story.brings(id, 0, Err(Fault::Gone));
    assert_eq!(story.pieces(), [(0, Vec::new())]);
    assert_eq!(story.state(id), MessageState::Failed(Failure::PayloadGone));
    story.brings(id, 0, Ok(b"late"));
    assert_eq!(story.pieces().len(), 1, "nobody waits for it");
}

/// An upload lies in the store, piece by piece; at hand is no more of it than one piece.
#[test]
fn an_upload_is_read_piece_by_piece() {
    let body = body_of(2 * PIECE_BYTES + 3_000);
    let mut story = Story::new();
    let upload = UploadId([7; 16]);
    let mut tx = Transaction::new();
    for (number, piece) in body.chunks(PIECE_BYTES).enumerate() {
        tx.put(Table::Pieces, keys::piece(&upload.0, number as u32), piece);
    }
    story.store.submit(tx, Box::new(|result| assert!(result.is_ok())));
    let reference = |bytes: usize| PayloadReference {
        url: format!("upload://{upload}"),
        bytes: bytes as u32,
        etag: None,
    };
    let id = story.sends_reference(reference(body.len())).unwrap();
    story.session_up(1);
    assert!(story.wants_all(id) == body);
    assert_eq!(story.core.long.held_bytes().1, PIECE_BYTES as u64, "never more of it");
    // One that was deleted meanwhile ends its message.
    let mut tx = Transaction::new();
    tx.delete(Table::Pieces, keys::piece(&upload.0, 1));
    story.store.submit(tx, Box::new(|result| assert!(result.is_ok())));
    assert_eq!(story.wants(id, 0), body[..TAIL_BYTES_MAX]);
    assert!(story.wants(id, PIECE_BYTES).is_empty());
    assert_eq!(story.state(id), MessageState::Failed(Failure::PayloadGone));
}

/// A value of the edge that lies elsewhere: with it stands its first block, the rest is read as the
/// device asks for it; who observes it hears of the first block.
#[test]
fn a_value_that_lies_elsewhere_is_read_as_its_device_takes_it() {
    let body = body_of(READ_BYTES + 100);
    let mut story = Story::new();
    story.session_up(1);
    let set = |body: &[u8]| Request::SetResource {
        device: DEVICE,
        resource: NewEdgeResource {
            path: vec!["t".to_owned()],
            content_format: Some(42),
            max_age_s: 60,
            payload: body[..RESOURCE_FIRST_BYTES].to_vec(),
            reference: Some(elsewhere(body.len() as u32)),
        },
    };
    assert!(matches!(story.asks(set(&body)), Some(Ok(Reply::Changed { .. }))));
    story.gets(1, &[]);
    let post = story.posted(Kind::Answer)[0].bytes.clone();
    let (answer, message) = contract::Answer::split(&post).unwrap();
    let payload = tidegate_coap::message::Message::parse(message).unwrap().payload.to_vec();
    assert_eq!(answer.body_bytes.get() as usize, body.len());
    assert_eq!(payload, body[..RESOURCE_FIRST_BYTES]);
    let id = MessageId(answer.message_id);
    story.asks_for(id, 1_024);
    assert_eq!(story.reads, [(id, 1_024)]);
    let read_end = 1_024 + READ_BYTES;
    story.brings(id, 1_024, Ok(&body[1_024..read_end.min(body.len())]));
    story.asks_for(id, READ_BYTES);
    assert_eq!(story.pieces()[1].1, body[READ_BYTES..]);
    story.asks_for(id, body.len());
    assert_eq!((story.reads.len(), story.pieces()[2].1.len()), (1, 0), "there is no more");

    assert!(story.registers(2).is_some());
    assert!(matches!(story.asks(set(&body[..5_000])), Some(Ok(Reply::Changed { .. }))));
    let post = story.posted(Kind::Notify)[0].bytes.clone();
    let (head, message) = contract::Downlink::split(&post).unwrap();
    let payload = tidegate_coap::message::Message::parse(message).unwrap().payload;
    assert_eq!((head.body_bytes.get(), payload), (5_000, &body[..RESOURCE_FIRST_BYTES]));
    // The object is gone: so the device hears, and may ask for what is there then.
    story.gets(3, &[]);
    let post = story.posted(Kind::Answer)[2].bytes.clone();
    let id = MessageId(contract::Answer::split(&post).unwrap().0.message_id);
    story.asks_for(id, 1_024);
    story.brings(id, 1_024, Err(Fault::Gone));
    assert_eq!(story.pieces()[3], (1_024, Vec::new()));
}

/// As the profile says, where it says something; no other bound is the core's.
#[test]
fn a_profile_bounds_what_lies_elsewhere() {
    let mut story = Story::new();
    assert!(story.sends_reference(elsewhere(16 << 20)).is_some());
    story.profile_says(ProfileTerms {
        downlink_payload_bytes: Some(100_000),
        ..ProfileTerms::default()
    });
    assert!(story.sends_reference(elsewhere(100_000)).is_some());
    assert!(story.sends_reference(elsewhere(100_001)).is_none());
}
