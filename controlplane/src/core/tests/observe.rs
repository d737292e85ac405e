//! Observe (RFC 7641): what applications observe at devices, and devices at the edge.

use super::*;
use crate::model::{CoapOption, NewEdgeResource, ProfileTerms, RESOURCES_PER_DEVICE_MAX};
use tidegate_coap::message::Message as CoapMessage;
use tidegate_ring::contract::{Answer, Notification};

/// A GET is answered by the edge once there is a value, and published before that.
#[test]
fn a_value_is_answered_by_the_edge_and_nothing_is_published() {
    let mut story = Story::new();
    story.session_up(1);
    story.gets(1, &[]);
    assert_eq!(story.publishes.len(), 1, "the application's business");
    story.sets("t", b"on");
    let seq = story.gets(2, &[]);
    assert_eq!(story.publishes.len(), 1);
    assert!(story.done.contains(&seq));
    let answer = story.answered(2);
    let answer = CoapMessage::parse(&answer).unwrap();
    assert_eq!((answer.code, answer.payload), (Code::CONTENT, &b"on"[..]));
    assert_eq!(answer.options.content_format(), Some(0));
    assert_eq!(answer.options.uint(Number::MAX_AGE), Some(60));
    assert_eq!(answer.options.uint(Number::OBSERVE), None);
    assert!(answer.options.first(Number::ETAG).is_some());
    // Another path, and another method, are the application's.
    story.asks_edge(3, Code::POST, &[(Number::URI_PATH, b"t")]);
    story.asks_edge(4, Code::GET, &[(Number::URI_PATH, b"t"), (Number::URI_PATH, b"")]);
    assert_eq!(story.publishes.len(), 3);
}

/// RFC 7641 section 4.4: a later value has a greater number, though the time of day was set back
/// while the process was away.
#[test]
fn versions_ascend_over_a_restart_and_a_clock_that_is_set_back() {
    let mut story = Story::new();
    story.waits_ms(3_600_000);
    story.sets("t", b"on");
    let version = |story: &Story| story.core.edge_resource(DEVICE, "t").unwrap().version;
    let before = version(&story);
    let mut story = story.restarts();
    story.ms = 0;
    story.sets("t", b"off");
    assert_eq!(version(&story), before + 1);
}

/// RFC 7252 section 5.10.6.2: who has it hears 2.03; section 5.10.4: who wants another format 4.06.
#[test]
fn a_known_tag_is_confirmed_and_another_format_is_not_to_be_had() {
    let mut story = Story::new();
    story.session_up(1);
    story.sets("t", b"on");
    let tag = story.tag();
    story.gets(1, &[(Number::ETAG, b"other"), (Number::ETAG, &tag)]);
    let answer = story.answered(1);
    let answer = CoapMessage::parse(&answer).unwrap();
    assert_eq!((answer.code, answer.payload), (Code::VALID, &b""[..]));
    assert_eq!(answer.options.first(Number::ETAG), Some(&tag[..]));
    story.sets("t", b"off");
    story.gets(2, &[(Number::ETAG, &tag)]);
    assert_eq!(CoapMessage::parse(&story.answered(2)).unwrap().code, Code::CONTENT);
    for (exchange, format, code) in [(3, &b""[..], Code::CONTENT), (4, &[50], Code::NOT_ACCEPTABLE)]
    {
        story.gets(exchange, &[(Number::ACCEPT, format)]);
        assert_eq!(CoapMessage::parse(&story.answered(exchange)).unwrap().code, code);
    }
}

/// RFC 7252 section 5.10.8: conditions on what the edge has; what does not hold is not published.
#[test]
fn a_condition_that_does_not_hold_is_answered_4_12() {
    let mut story = Story::new();
    story.session_up(1);
    story.sets("t", b"on");
    let tag = story.tag();
    let path = |segment: &'static [u8]| (Number::URI_PATH, segment);
    for (exchange, options, holds) in [
        (1, [(Number::IF_MATCH, &tag[..]), path(b"t")], true),
        (2, [(Number::IF_MATCH, b""), path(b"t")], true),
        (3, [(Number::IF_MATCH, b"x"), path(b"t")], false),
        (4, [(Number::IF_MATCH, b""), path(b"other")], false),
        (5, [(Number::IF_NONE_MATCH, b""), path(b"t")], false),
        (6, [(Number::IF_NONE_MATCH, b""), path(b"other")], true),
    ] {
        let before = story.publishes.len();
        story.asks_edge(exchange, Code::PUT, &options);
        assert_eq!(story.publishes.len() - before, usize::from(holds), "{exchange}");
        let refused = story.publications().contains(&(exchange, Publication::NotFulfilled));
        assert_eq!(refused, !holds, "{exchange}");
    }
}

/// RFC 7641 section 4: who registered hears of the next state, under its token; one at a time, and
/// after that the state that is current then.
#[test]
fn an_observer_hears_of_the_last_state_one_notification_at_a_time() {
    let mut story = Story::new();
    story.session_up(1);
    story.sets("t", b"0");
    let first = story.registers(1);
    assert!(first.is_some(), "registered");
    for value in [b"1", b"2", b"3"] {
        story.sets("t", value);
    }
    assert_eq!(story.notified().len(), 1, "one at a time");
    let (id, bytes) = story.notified().remove(0);
    let told = CoapMessage::parse(&bytes).unwrap();
    assert_eq!((told.token.as_bytes(), told.payload), (&b"tok"[..], &b"1"[..]));
    assert!(told.options.uint(Number::OBSERVE) > first);
    assert!(told.options.uint(Number::MAX_AGE).is_some());
    story.outcome(id, Step::Sent, false);
    assert_eq!(story.notified().len(), 1);
    story.outcome(id, Step::Delivered, true);
    let (id, bytes) = story.notified().remove(1);
    assert_eq!(CoapMessage::parse(&bytes).unwrap().payload, b"3", "states between are skipped");
    story.outcome(id, Step::Delivered, true);
    assert_eq!(story.notified().len(), 2);
    // Of another path it hears nothing.
    story.sets("other", b"1");
    assert_eq!(story.notified().len(), 2);
}

/// Section 4.5: RST, silence and the end of its session take an observer off the list.
#[test]
fn an_observer_that_went_away_hears_no_more() {
    for reason in [FailReason::Reset, FailReason::Timeout, FailReason::NoSession] {
        let mut story = Story::new();
        story.session_up(1);
        story.sets("t", b"0");
        story.registers(1);
        story.sets("t", b"1");
        let (id, _) = story.notified().remove(0);
        story.fails(id, reason);
        story.sets("t", b"2");
        assert_eq!(story.notified().len(), 1, "{reason:?}");
        assert_eq!(story.stored_keys(Table::Observed), 0);
    }
    for next in [2, 1] {
        let mut story = Story::new();
        story.session_up(1);
        story.sets("t", b"0");
        story.registers(1);
        if next == 2 {
            story.session_up(2)
        } else {
            story.session_down(1)
        };
        story.sets("t", b"1");
        assert!(story.notified().is_empty());
    }
}

/// Section 3.6: Observe 1 takes it off, too; and what is deleted is told as 4.04, the last word.
#[test]
fn deregistered_or_deleted_is_the_end() {
    let mut story = Story::new();
    story.session_up(1);
    story.sets("t", b"0");
    story.registers(1);
    story.gets(2, &[(Number::OBSERVE, &[1])]);
    let answer = story.answered(2);
    assert_eq!(CoapMessage::parse(&answer).unwrap().options.uint(Number::OBSERVE), None);
    story.sets("t", b"1");
    assert!(story.notified().is_empty());

    story.registers(3);
    let path = "t".to_owned();
    let deleted = story.asks(Request::DeleteResource { device: DEVICE, path: path.clone() });
    assert!(matches!(deleted, Some(Ok(Reply::Changed { .. }))));
    let (_, bytes) = story.notified().remove(0);
    let told = CoapMessage::parse(&bytes).unwrap();
    assert_eq!((told.code, told.options.uint(Number::OBSERVE)), (Code::NOT_FOUND, None));
    assert_eq!(story.stored_keys(Table::Observed), 0);
    let again = story.asks(Request::DeleteResource { device: DEVICE, path });
    assert!(matches!(again, Some(Err(Refused::NotFound { .. }))));
}

/// A GET without Observe, even under the same token, leaves the list as it is.
#[test]
fn a_get_does_not_end_an_observation() {
    let mut story = Story::new();
    story.session_up(1);
    story.sets("t", b"0");
    story.registers(1);
    story.gets(2, &[]);
    story.sets("t", b"1");
    assert_eq!(story.notified().len(), 1);
}

/// Section 4.1: the entry of a token is replaced.
#[test]
fn who_registers_twice_is_told_once() {
    let mut story = Story::new();
    story.session_up(1);
    story.sets("t", b"0");
    assert!(story.registers(1).is_some() && story.registers(2).is_some());
    story.sets("t", b"1");
    assert_eq!((story.notified().len(), story.stored_keys(Table::Observed)), (1, 1));
}

/// Section 4.1, the bound of a device on both sides: beyond it there is no Observe in the answer.
#[test]
fn a_full_list_makes_a_get_a_get() {
    let mut story = Story::new();
    story.session_up(1);
    story.sets("t", b"0");
    for number in 0..=16 {
        let token = Token::new(&[number]);
        story.gets_as(&token, u64::from(number), &[(Number::OBSERVE, b"")]);
        let answer = story.answered(number.into());
        let answer = CoapMessage::parse(&answer).unwrap();
        assert_eq!(answer.code, Code::CONTENT);
        assert_eq!(answer.options.uint(Number::OBSERVE).is_some(), number < 16, "{number}");
    }
}

/// Section 4.2: a value in another format is told as 4.06, and no more.
#[test]
fn another_format_is_the_last_word() {
    let mut story = Story::new();
    story.session_up(1);
    story.sets("t", b"0");
    story.registers(1);
    let Request::SetResource { device, mut resource } = setting("t", b"{}") else {
        unreachable!("a value is set")
    };
    resource.content_format = Some(50);
    story.asks(Request::SetResource { device, resource });
    let (_, bytes) = story.notified().remove(0);
    assert_eq!(CoapMessage::parse(&bytes).unwrap().code, Code::NOT_ACCEPTABLE);
    story.sets("t", b"1");
    assert_eq!(story.notified().len(), 1);
}

/// Both processes may restart: the list stays, and what was under way is sent again.
#[test]
fn the_list_outlives_both_processes() {
    let mut story = Story::new();
    story.hello(1);
    story.session_up(1);
    story.sets("t", b"0");
    story.registers(1);
    story = story.restarts();
    story.hello(1);
    story.sets("t", b"1");
    assert_eq!(story.notified().len(), 1);
    story.hello(2);
    assert_eq!(story.notified().len(), 2, "that worker has lost it");
    let (id, _) = story.notified().remove(1);
    story.outcome(id, Step::Delivered, true);
    assert_eq!(story.notified().len(), 2);
}

/// The bound of a device, on both sides.
#[test]
fn a_device_has_so_many_values() {
    let mut story = Story::new();
    for number in 0..RESOURCES_PER_DEVICE_MAX {
        story.sets(&format!("{number}"), b"");
    }
    let beyond = story.asks(setting("beyond", b""));
    assert!(matches!(beyond, Some(Err(Refused::Limit { .. }))));
    story.sets("0", b"a known one");
    story.asks(Request::DeleteResource { device: DEVICE, path: "1".to_owned() });
    story.sets("beyond", b"");
    story.asks(Request::DeviceDeleted { device: DEVICE });
    assert_eq!(story.stored_keys(Table::Resources), 0);
}

/// A response with Observe makes a subscription; its notifications are uplinks with its id, in
/// order, once they are durable.
#[test]
fn a_notification_is_published_with_the_id_of_its_message() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.observes();
    story.agrees(id, Some(5));
    assert!(story.has_ended(id));
    assert_eq!(story.publishes.len(), 1, "the first state");
    for (sequence, payload) in [(6, b"a"), (7, b"b")] {
        let seq = story.notifies(id, Some(sequence), payload);
        assert!(story.done.contains(&seq));
    }
    story.drains();
    let read: Vec<_> = story.publishes.iter().map(|(_, _, json)| json_of(json)).collect();
    let told: Vec<_> = read[1..].iter().map(|json| json["PayloadData"].clone()).collect();
    assert_eq!(told, ["YQ==", "Yg=="]);
    for (json, sequence) in read.iter().zip(5..) {
        let coap = &json["WirelessMetadata"]["CoAP"];
        assert_eq!(coap["MessageId"], id.to_string());
        assert_eq!(coap["Observe"], sequence);
    }
    // The last word.
    story.notifies(id, None, b"");
    assert_eq!(story.publishes.len(), 4);
    assert_eq!(story.stored_keys(Table::Observed), 0);
    assert!(story.posted(Kind::Cancel).is_empty());
    story.notifies(id, Some(9), b"stray");
    assert_eq!(story.publishes.len(), 4);
    assert_eq!(story.posted(Kind::Cancel).len(), 1, "the worker is told");
}

/// A device that does not agree has responded, and that is all.
#[test]
fn without_agreement_there_is_no_subscription() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.observes();
    story.agrees(id, None);
    assert_eq!((story.publishes.len(), story.stored_keys(Table::Observed)), (1, 0));
}

/// Another session, a worker that restarted, a control plane that restarted: registered where the
/// device is, and nowhere twice.
#[test]
fn a_subscription_is_registered_again_in_the_next_session() {
    let mut story = Story::new();
    story.hello(1);
    story.session_up(1);
    let id = story.observes();
    story.agrees(id, Some(5));
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.handed_over(), [id], "it is registered here");
    story.session_up(2);
    assert_eq!(story.handed_over(), [id, id]);
    story.uplink_by(session(2), 2, Code::PUT);
    assert_eq!(story.handed_over(), [id, id], "asked for, not answered");
    story.fails(id, FailReason::Timeout);
    story.uplink_by(session(2), 3, Code::PUT);
    assert_eq!(story.handed_over(), [id, id, id], "the device slept");
    story.agrees(id, Some(0));
    story = story.restarts();
    story.hello(1);
    story.uplink_by(session(2), 4, Code::PUT);
    assert!(story.handed_over().is_empty(), "remembered");
    story.hello(2);
    assert_eq!(story.handed_over(), [id], "that worker has lost it");
    story.drains();
    let before = story.publishes.len();
    story.notifies(id, Some(1), b"x");
    assert_eq!(story.publishes.len(), before + 1);
}

/// RFC 7641 section 3.3.1: 5 to 15 s after the Max-Age of the last state, which is 60 s unless it
/// says another; a newer state puts that off.
#[test]
fn what_a_device_told_last_is_asked_for_again_when_it_is_stale() {
    for (max_age_s, fresh_ms) in [(None, 60_000), (Some(0), 0), (Some(600), 600_000)] {
        let mut story = Story::new();
        story.session_up(1);
        let id = story.observes();
        story.agrees_for(id, 5, max_age_s);
        story.waits_ms(fresh_ms + 4_999);
        assert_eq!(story.handed_over(), [id], "{max_age_s:?}");
        story.waits_ms(10_001);
        assert_eq!(story.handed_over(), [id, id], "{max_age_s:?}");
        story.waits_ms(600_000);
        assert_eq!(story.handed_over(), [id, id], "asked for once");
        story.agrees_for(id, 6, max_age_s);
        story.waits_ms(fresh_ms);
        story.notifies(id, Some(7), b"x");
        story.waits_ms(59_999);
        assert_eq!(story.handed_over(), [id, id], "a newer state has its own Max-Age");
        story.waits_ms(15_001);
        assert_eq!(story.handed_over(), [id, id, id]);
        // It said no more, and nothing is asked for again.
        story.notifies(id, None, b"");
        story.waits_ms(1_000_000);
        assert_eq!(story.handed_over().len(), 3);
    }
}

/// A device that does not answer, or listens no more, is asked at its next sign of life; and after
/// a restart a state is as old as can be.
#[test]
fn a_device_that_sleeps_is_asked_again_when_it_wakes() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.observes();
    story.agrees(id, Some(5));
    story.waits_ms(75_001);
    story.fails(id, FailReason::Timeout);
    story.waits_ms(600_000);
    assert_eq!(story.handed_over(), [id, id]);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.handed_over(), [id, id, id]);
    story.agrees(id, Some(6));
    // Acknowledged is not answered.
    story.waits_ms(75_001);
    story.outcome(id, Step::Delivered, true);
    story.waits_ms(600_000);
    assert_eq!(story.handed_over().len(), 4);
    story.uplink(5, Code::PUT, b"");
    assert_eq!(story.handed_over().len(), 5);
    story.agrees(id, Some(6));
    let listening_s = Some(10);
    story.profile_says(ProfileTerms { listening_s, ..ProfileTerms::default() });
    story.waits_ms(600_000);
    assert_eq!(story.handed_over().len(), 5, "its window is closed");
    story.uplink(2, Code::PUT, b"");
    assert_eq!(story.handed_over().len(), 6);
    story.agrees(id, Some(7));
    story.uplink(3, Code::PUT, b"");
    assert_eq!(story.handed_over().len(), 6, "it is fresh");
    let mut story = story.restarts();
    story.hello(1);
    story.waits_ms(60_001);
    story.uplink(4, Code::PUT, b"");
    assert_eq!(story.handed_over(), [id]);
}

/// A device that has nothing there any more ends it.
#[test]
fn a_registration_that_is_refused_is_the_last_word() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.observes();
    story.agrees(id, Some(5));
    story.session_up(2);
    let gone = message(Type::Ack, Code::NOT_FOUND, b"");
    story.outcome_with(id, Step::Responded, FailReason::None, true, &gone);
    story.drains();
    assert_eq!((story.publishes.len(), story.stored_keys(Table::Observed)), (2, 0));
}

/// DeleteQueuedMessages with the id: the device is told, by a GET with Observe 1.
#[test]
fn deleting_the_message_ends_its_subscription() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.observes();
    story.agrees(id, Some(5));
    let deleted = story.asks(Request::Delete { device: DEVICE, message: Some(id) });
    assert!(matches!(deleted, Some(Ok(Reply::Done))));
    let last = story.posted(Kind::Downlink).pop().unwrap();
    let (head, bytes) = contract::Downlink::split(&last.bytes).unwrap();
    let request = CoapMessage::parse(bytes).unwrap();
    assert_eq!((head.message_id, request.code), (id.0, Code::GET));
    assert_eq!(request.options.uint(Number::OBSERVE), Some(1));
    story.outcome(id, Step::Delivered, true);
    story.session_up(2);
    assert_eq!(story.handed_over().len(), 2, "not registered again");
    let again = story.asks(Request::Delete { device: DEVICE, message: Some(id) });
    assert!(matches!(again, Some(Err(Refused::NotFound { .. }))));
}

impl Story {
    pub(super) fn sets(&mut self, path: &str, payload: &[u8]) {
        let set = self.asks(setting(path, payload));
        assert!(matches!(set, Some(Ok(Reply::Changed { .. }))), "{set:?}");
    }

    fn tag(&self) -> Vec<u8> {
        self.core.edge_resource(DEVICE, "t").unwrap().tag()
    }

    pub(super) fn gets(&mut self, exchange: u64, options: &[(Number, &[u8])]) -> Seq {
        self.gets_as(&Token::new(b"tok"), exchange, options)
    }

    fn gets_as(&mut self, token: &Token, exchange: u64, options: &[(Number, &[u8])]) -> Seq {
        let mut all = vec![(Number::URI_PATH, &b"t"[..])];
        all.extend(options);
        self.asks_edge_as(token, exchange, Code::GET, &all)
    }

    /// Observe 0; the number in the answer.
    pub(super) fn registers(&mut self, exchange: u64) -> Option<u32> {
        self.gets(exchange, &[(Number::OBSERVE, b"")]);
        let answer = self.answered(exchange);
        CoapMessage::parse(&answer).unwrap().options.uint(Number::OBSERVE)
    }

    fn asks_edge(&mut self, exchange: u64, code: Code, options: &[(Number, &[u8])]) -> Seq {
        self.asks_edge_as(&Token::new(b"tok"), exchange, code, options)
    }

    fn asks_edge_as(
        &mut self,
        token: &Token,
        exchange: u64,
        code: Code,
        options: &[(Number, &[u8])],
    ) -> Seq {
        let uplink = contract::Uplink { answer_awaited: 1, ..head(exchange) };
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, Type::Con, code, 9, token);
        let mut options = options.to_vec();
        options.sort_by_key(|(number, _)| *number);
        for (number, value) in options {
            writer.option(number, value);
        }
        let len = writer.finish().unwrap();
        self.entry(Kind::Uplink, &[uplink.as_bytes(), &buffer[..len]])
    }

    pub(super) fn answered(&self, exchange: u64) -> Vec<u8> {
        let mut answers = self.posted(Kind::Answer).into_iter().map(|post| {
            let (head, bytes) = Answer::split(&post.bytes).unwrap();
            (head.exchange.get(), bytes.to_vec())
        });
        answers.rfind(|(of, _)| *of == exchange).unwrap().1
    }

    pub(super) fn notified(&self) -> Vec<(MessageId, Vec<u8>)> {
        let posts = self.posted(Kind::Notify).into_iter().map(|post| {
            let (head, bytes) = contract::Downlink::split(&post.bytes).unwrap();
            (MessageId(head.message_id), bytes.to_vec())
        });
        posts.collect()
    }

    /// The application asks for a GET with Observe.
    fn observes(&mut self) -> MessageId {
        let Request::Send { device, body: Body::Request(mut request) } =
            send(QueueMode::Immediate, b"")
        else {
            unreachable!("a request is sent")
        };
        request.method = Method::Get;
        request.options = vec![CoapOption::uint(Number::OBSERVE, 0)];
        match self.asks(Request::Send { device, body: Body::Request(request) }) {
            Some(Ok(Reply::Accepted(id))) => id,
            other => panic!("not accepted: {other:?}"),
        }
    }

    fn agrees_for(&mut self, id: MessageId, sequence: u32, max_age_s: Option<u32>) {
        let mut buffer = [0; 128];
        let token = Token::new(b"ours");
        let mut writer = Writer::new(&mut buffer, Type::Con, Code::CONTENT, 9, &token);
        writer.option_uint(Number::OBSERVE, sequence);
        if let Some(max_age_s) = max_age_s {
            writer.option_uint(Number::MAX_AGE, max_age_s);
        }
        let len = writer.payload(b"state").finish().unwrap();
        self.outcome_with(id, Step::Responded, FailReason::None, true, &buffer[..len]);
    }

    fn agrees(&mut self, id: MessageId, sequence: Option<u32>) {
        let response = observed(Code::CONTENT, sequence, b"first");
        self.outcome_with(id, Step::Responded, FailReason::None, true, &response);
    }

    fn notifies(&mut self, id: MessageId, sequence: Option<u32>, payload: &[u8]) -> Seq {
        let head = Notification {
            message_id: id.0,
            device: DEVICE.0,
            at_unix_ms: UNIX_MS.into(),
            sequence: sequence.unwrap_or(0).into(),
            body_bytes: 0.into(),
            is_last: sequence.is_none().into(),
            network: contract::Network::Cellular as u8,
        };
        let bytes = observed(Code::CONTENT, sequence, payload);
        self.entry(Kind::Notification, &[head.as_bytes(), &bytes])
    }
}

fn setting(path: &str, payload: &[u8]) -> Request {
    let resource = NewEdgeResource {
        path: vec![path.to_owned()],
        content_format: Some(0),
        max_age_s: 60,
        payload: payload.to_vec(),
        reference: None,
    };
    Request::SetResource { device: DEVICE, resource }
}

fn observed(code: Code, sequence: Option<u32>, payload: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 128];
    let mut writer = Writer::new(&mut buffer, Type::Con, code, 9, &Token::new(b"ours"));
    if let Some(sequence) = sequence {
        writer.option_uint(Number::OBSERVE, sequence);
    }
    let len = writer.payload(payload).finish().unwrap();
    buffer[..len].to_vec()
}

fn json_of(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}
