//! Paths that a profile's layout names: events, and last values that a device writes and reads.

use super::*;
use crate::model::{
    ApplicationProfile, Holds, Initial, LayoutRow, ProfileId, ProfileTerms, RESOURCE_BYTES_MAX,
    RESOURCES_PER_DEVICE_MAX,
};
use tidegate_coap::message::Message as CoapMessage;

impl Story {
    /// The device of stories with this layout.
    fn laid_out(rows: &[(&str, Holds, Option<&str>)]) -> Self {
        let mut story = Self::new();
        let row = |(path, holds, initial): &(&str, Holds, Option<&str>)| LayoutRow {
            path: (*path).to_owned(),
            holds: *holds,
            initial: initial
                .map(|text| Initial { payload: text.as_bytes().to_vec(), content_format: Some(0) }),
        };
        let profile = ApplicationProfile {
            id: ProfileId([5; 16]),
            name: None,
            terms: ProfileTerms {
                layout: Some(rows.iter().map(row).collect()),
                ..ProfileTerms::default()
            },
            tags: Vec::new(),
            created_unix_ms: UNIX_MS,
        };
        let known = read::<Device>(&*story.store, Table::Devices, &DEVICE.0).unwrap().unwrap();
        let device = Device { application_profile: Some(profile.id), ..known };
        let mut tx = Transaction::new();
        tx.put(Table::Profiles, profile.id.0, records::encode(&profile));
        tx.put(Table::Devices, DEVICE.0, records::encode(&device));
        story.writes(tx, None);
        story.session_up(1);
        story
    }

    fn requests(&mut self, exchange: u64, code: Code, path: &str, payload: &[u8]) -> Seq {
        self.requests_with(exchange, code, path, &[], payload)
    }

    fn requests_with(
        &mut self,
        exchange: u64,
        code: Code,
        path: &str,
        options: &[(Number, &[u8])],
        payload: &[u8],
    ) -> Seq {
        let answer_awaited = u8::from(matches!(code, Code::GET | Code::POST));
        let uplink = contract::Uplink { answer_awaited, ..head(exchange) };
        let segments = path.split('/').map(|part| (Number::URI_PATH, part.as_bytes()));
        let mut all: Vec<_> = segments.chain(options.iter().copied()).collect();
        all.sort_by_key(|(number, _)| *number);
        let mut buffer = vec![0; payload.len() + 256];
        let token = Token::new(b"tok");
        let mut writer = Writer::new(&mut buffer, Type::Con, code, 9, &token);
        for (number, value) in all {
            writer.option(number, value);
        }
        writer.payload(payload);
        let len = writer.finish().unwrap();
        self.entry(Kind::Uplink, &[uplink.as_bytes(), &buffer[..len]])
    }

    fn read_back(&mut self, exchange: u64, path: &str) -> (Code, Vec<u8>) {
        self.requests(exchange, Code::GET, path, b"");
        let answer = self.answered(exchange);
        let answer = CoapMessage::parse(&answer).unwrap();
        (answer.code, answer.payload.to_vec())
    }
}

/// A POST is an uplink like a PUT: nobody is asked for an answer, and none could be given.
#[test]
fn an_event_is_confirmed_when_it_is_published() {
    let mut story = Story::laid_out(&[("logs", Holds::Event, None)]);
    story.requests(1, Code::POST, "logs", b"a line");
    assert!(!String::from_utf8_lossy(&story.publishes[0].2).contains("ResponseToken"));
    story.confirms(0);
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
    // What the layout does not name, and what is asked, is the application's as before.
    story.requests(2, Code::POST, "other", b"");
    story.requests(3, Code::GET, "logs", b"");
    story.confirms(1);
    story.confirms(2);
    let awaiting = [(2, Publication::AwaitingAnswer), (3, Publication::AwaitingAnswer)];
    assert_eq!(story.publications()[1..], awaiting);
}

#[test]
fn the_first_row_that_fits_counts() {
    let rows = [(".d/logs/*", Holds::Event, None), (".d/*", Holds::LastValue, Some("null"))];
    let mut story = Story::laid_out(&rows);
    story.requests(1, Code::PUT, ".d/logs/a", b"1");
    assert_eq!(story.stored_keys(Table::Resources), 0);
    story.requests(2, Code::PUT, ".d/a", b"1");
    assert_eq!(story.stored_keys(Table::Resources), 1);
}

#[test]
fn what_a_device_writes_it_reads_back_and_the_application_hears_of() {
    let mut story = Story::laid_out(&[(".d/*", Holds::LastValue, Some("null"))]);
    assert_eq!(story.read_back(1, ".d/my_int"), (Code::CONTENT, b"null".to_vec()));
    for (exchange, code) in [(2, Code::POST), (3, Code::PUT)] {
        let value = exchange.to_string();
        story.requests(exchange, code, ".d/my_int", value.as_bytes());
        let published = story.publishes.len() - 1;
        assert_eq!(story.last_payload(), value.as_bytes());
        story.confirms(published);
        assert_eq!(*story.publications().last().unwrap(), (exchange, Publication::Confirmed));
        assert_eq!(story.read_back(exchange + 10, ".d/my_int").1, value.as_bytes());
    }
    story.requests(4, Code::DELETE, ".d/my_int", b"");
    assert_eq!(story.read_back(20, ".d/my_int"), (Code::CONTENT, b"null".to_vec()));
}

/// Without a first value there is nothing to answer with: the GET is the application's.
#[test]
fn what_is_deleted_and_has_no_first_value_is_gone() {
    let mut story = Story::laid_out(&[("v", Holds::LastValue, None)]);
    story.requests(1, Code::PUT, "v", b"1");
    assert_eq!(story.stored_keys(Table::Resources), 1);
    story.requests(2, Code::DELETE, "v", b"");
    assert_eq!(story.stored_keys(Table::Resources), 0);
    let before = story.publishes.len();
    story.requests(3, Code::GET, "v", b"");
    assert_eq!(story.publishes.len(), before + 1);
}

/// What is told to be kept is kept: nothing is published, and so nothing confirmed, before.
#[test]
fn the_uplink_waits_for_the_disk() {
    let mut story = Story::laid_out(&[("v", Holds::LastValue, None)]);
    story.syncs = false;
    let seq = story.requests(1, Code::PUT, "v", b"1");
    assert_eq!((story.publishes.len(), story.done.contains(&seq)), (0, false));
    story.disk_syncs();
    assert_eq!(story.publishes.len(), 1);
    story.confirms(0);
    assert!(story.done.contains(&seq));
}

/// An update of the application reaches an observer of a path that had its first value.
#[test]
fn a_first_value_is_observed() {
    let mut story = Story::laid_out(&[(".rpc", Holds::LastValue, Some("\"OK\""))]);
    story.requests_with(1, Code::GET, ".rpc", &[(Number::OBSERVE, b"")], b"");
    let number = |bytes: &[u8]| CoapMessage::parse(bytes).unwrap().options.uint(Number::OBSERVE);
    let first = number(&story.answered(1)).unwrap();
    story.ms += 1;
    story.sets(".rpc", b"{\"id\":1}");
    let [(_, notification)] = &story.notified()[..] else { panic!("one") };
    assert!(number(notification).unwrap() > first, "RFC 7641 section 4.4");
}

/// Each limit on both sides: the longest value, and the most values.
#[test]
fn what_is_too_long_or_too_many_is_refused_with_4_13() {
    let mut story = Story::laid_out(&[("v/*", Holds::LastValue, Some("0"))]);
    for (exchange, bytes) in [(1, RESOURCE_BYTES_MAX), (2, RESOURCE_BYTES_MAX + 1)] {
        story.requests(exchange, Code::PUT, "v/long", &vec![b'x'; bytes]);
    }
    assert_eq!(story.publications(), [(2, Publication::TooLarge)]);
    for at in 1..RESOURCES_PER_DEVICE_MAX {
        story.requests(10 + at as u64, Code::PUT, &format!("v/{at}"), b"x");
    }
    assert_eq!(story.stored_keys(Table::Resources), RESOURCES_PER_DEVICE_MAX);
    story.requests(99, Code::PUT, "v/one-more", b"x");
    assert_eq!(story.publications()[1..], [(99, Publication::TooLarge)]);
    // A first value would be one more, too: the GET is the application's.
    let before = story.publishes.len();
    story.requests(100, Code::GET, "v/one-more", b"");
    assert_eq!(story.publishes.len(), before + 1);
}
