//! A request whose body crosses the ring in pieces.

use super::*;

/// A body of so many bytes, as JSON shows it.
fn body_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| at as u8).collect()
}

impl Story {
    fn piece(&mut self, exchange: u64, body: &[u8], from: usize, to: usize) -> Seq {
        let piece = contract::Body {
            exchange: exchange.into(),
            offset: (from as u32).into(),
            total: (body.len() as u32).into(),
        };
        self.entry(Kind::Body, &[piece.as_bytes(), &body[from..to]])
    }

    fn uplink_with_body(&mut self, exchange: u64, body_bytes: usize) -> Seq {
        let uplink = contract::Uplink { body_bytes: (body_bytes as u32).into(), ..head(exchange) };
        self.entry(Kind::Uplink, &[uplink.as_bytes(), &message(Type::Con, Code::PUT, b"")])
    }

    pub(super) fn last_payload(&self) -> Vec<u8> {
        use base64::Engine as _;
        let (_, _, json) = self.publishes.last().unwrap();
        let json: serde_json::Value = serde_json::from_slice(json).unwrap();
        let text = json["PayloadData"].as_str().unwrap();
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }
}

/// It is published as one uplink, and no piece is done before the uplink is.
#[test]
fn pieces_are_published_as_one_and_done_with_it() {
    let mut story = Story::new();
    let body = body_of(5_000);
    let pieces = [(0, 2_048), (2_048, 4_096), (4_096, 5_000)];
    let seqs: Vec<Seq> = pieces.map(|(from, to)| story.piece(9, &body, from, to)).to_vec();
    let uplink = story.uplink_with_body(9, 5_000);
    assert_eq!((story.parts.clone(), story.done.len(), story.publishes.len()), (seqs, 0, 1));
    assert_eq!(story.last_payload(), body);
    story.confirms(0);
    assert_eq!(story.done, [uplink]);
    assert_eq!(story.publications(), [(9, Publication::Confirmed)]);
}

/// A worker was killed between pieces: the next body is not taken for the rest of them.
#[test]
fn what_a_worker_left_is_no_part_of_the_next_body() {
    let mut story = Story::new();
    let body = body_of(3_000);
    story.piece(9, &body, 0, 2_048);
    story.hello(77);
    for exchange in [9, 10] {
        story.piece(exchange, &body, 0, 2_048);
        story.piece(exchange, &body, 2_048, 3_000);
        story.uplink_with_body(exchange, 3_000);
        assert_eq!(story.last_payload(), body);
    }
    assert_eq!(story.publishes.len(), 2);
}

type Act = fn(&mut Story, &[u8]);

/// Entries that make no body: each is done, nothing is published.
#[test]
fn a_body_that_is_not_whole_is_nobodys() {
    let body = body_of(3_000);
    let acts: [Act; 5] = [
        |story, _| {
            story.uplink_with_body(9, 3_000);
        },
        |story, body| {
            story.piece(9, body, 0, 2_048);
            story.uplink_with_body(9, 3_000);
        },
        |story, body| {
            story.piece(9, body, 0, 2_048);
            story.piece(9, body, 2_048, 3_000);
            story.uplink_with_body(9, 2_999);
        },
        |story, body| {
            story.piece(9, body, 0, 2_048);
            story.piece(9, body, 2_048, 3_000);
            story.uplink_with_body(8, 3_000);
        },
        |story, body| {
            story.piece(9, body, 0, 1_000);
            story.piece(9, body, 2_048, 3_000);
        },
    ];
    for act in acts {
        let mut story = Story::new();
        act(&mut story, &body);
        assert!(story.publishes.is_empty());
        assert_eq!(story.core.counts.malformed, 1);
    }
}

/// At both sides of what the contract allows.
#[test]
fn a_body_is_as_long_as_the_contract_says() {
    for (total, malformed) in [(contract::BODY_BYTES_MAX, 0), (contract::BODY_BYTES_MAX + 1, 1)] {
        let mut story = Story::new();
        let body = body_of(total);
        for from in (0..total).step_by(2_048) {
            story.piece(9, &body, from, total.min(from + 2_048));
        }
        assert_eq!(story.core.counts.malformed, malformed);
    }
}

/// The profile's limit is the class's: the worker refuses the first block already.
#[test]
fn the_limit_of_a_profile_reaches_the_workers() {
    use crate::model::{ApplicationProfile, ProfileId, ProfileTerms};
    let mut story = Story::new();
    let id = ProfileId::random();
    let put = |story: &mut Story, bytes| {
        let terms = ProfileTerms { uplink_payload_bytes: bytes, ..ProfileTerms::default() };
        let profile =
            ApplicationProfile { id, name: None, terms, tags: Vec::new(), created_unix_ms: 0 };
        let mut tx = Transaction::new();
        tx.put(Table::Profiles, id.0, records::encode(&profile));
        story.store.submit(tx, Box::new(|result| assert!(result.is_ok())));
        story.asks(Request::TermsChanged);
    };
    put(&mut story, Some(70_000));
    let mut device = device();
    device.application_profile = Some(id);
    put_device(&story.store, None, &device, STAMP);
    story.asks(Request::DeviceChanged { device: DEVICE, credentials: false });
    let class = story.core.class_of(DEVICE).unwrap();
    let longest = |story: &Story| story.sheet().class(class).unwrap().body_bytes;
    assert_eq!(longest(&story), 70_000);
    put(&mut story, Some(80_000));
    assert_eq!(longest(&story), 80_000);
    put(&mut story, None);
    assert_eq!(longest(&story), 0);
}
