//! DESIGN section 8, the rows of a device's requests.

use serde_json::Value;
use tidegate_ring::contract::{Answer, FailReason, Published};

use super::*;
use crate::model::{DownlinkResponse, Failure};
use crate::store::StoreError;

/// CON or NON PUT, DELETE: published, and confirmed only after the publish is.
#[test]
fn a_put_is_confirmed_after_its_publish_is() {
    let mut story = Story::new();
    let seq = story.uplink(11, Code::PUT, b"21");
    assert_eq!(story.publications(), [], "nothing is promised yet");
    assert!(!story.done.contains(&seq), "nor is the entry released");
    let (_, topic, json) = &story.publishes[0];
    assert_eq!(topic, TOPIC);
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["WirelessDeviceId"], DEVICE.to_string());
    assert_eq!(json["PayloadData"], "MjE=");
    assert_eq!(json["WirelessMetadata"]["CoAP"]["RequestMethod"], "PUT");
    assert_eq!(json["WirelessMetadata"]["CoAP"]["ResponseToken"], Value::Null);
    story.confirms(0);
    assert_eq!(story.publications(), [(11, Publication::Confirmed)]);
    assert!(story.done.contains(&seq));
}

/// Publishes may be confirmed in any order; each answer belongs to its own exchange.
#[test]
fn each_confirmation_answers_its_own_exchange() {
    let mut story = Story::new();
    for exchange in 1..=3 {
        story.uplink(exchange, Code::PUT, b"");
    }
    story.confirms(1);
    story.confirms(0);
    let (id, now) = (story.publishes[1].0, story.now());
    story.core.on_published(now, id, PublishResult::Confirmed);
    story.settles();
    let confirmed = |exchange| (exchange, Publication::Confirmed);
    assert_eq!(story.publications(), [confirmed(2), confirmed(1)], "and a second PUBACK is none");
}

/// GET, POST: published with a ResponseToken; the application's answer goes to that exchange.
#[test]
fn a_get_is_answered_through_its_token() {
    let mut story = Story::new();
    story.hello(77);
    story.uplink(12, Code::GET, b"");
    story.confirms(0);
    assert_eq!(story.publications(), [(12, Publication::AwaitingAnswer)]);
    let id = story.answers(&story.token(0)).unwrap();
    let answers = story.posted(Kind::Answer);
    let (answer, response) = Answer::split(&answers[0].bytes).unwrap();
    assert_eq!((answer.exchange.get(), answer.device), (12, DEVICE.0));
    assert_eq!(answer.message_id, id.0);
    let response = tidegate_coap::message::Message::parse(response).unwrap();
    assert_eq!((response.code, response.payload), (Code::CONTENT, &b"ok"[..]));
    story.outcome(id, Step::Sent, false);
    story.outcome(id, Step::Delivered, true);
    assert_eq!((story.state(id), story.has_ended(id)), (MessageState::Delivered, true));
}

#[test]
fn a_token_is_of_its_device_and_of_that_life_of_the_worker() {
    let mut story = Story::new();
    story.hello(77);
    story.uplink(12, Code::GET, b"");
    let token = story.token(0);
    let refused = story.answers("AAAA").unwrap_err();
    assert!(
        matches!(refused, Refused::Validation { ref path, .. } if path == "CoAP.ResponseToken")
    );
    story.hello(78);
    let id = story.answers(&token).unwrap();
    assert_eq!(story.state(id), MessageState::Failed(Failure::TokenGone));
    assert_eq!(story.posted(Kind::Answer).len(), 0);
}

#[test]
fn an_answer_that_came_too_late_has_failed() {
    let mut story = Story::new();
    story.uplink(12, Code::GET, b"");
    let id = story.answers(&story.token(0)).unwrap();
    story.fails(id, FailReason::TokenGone);
    assert_eq!(story.state(id), MessageState::Failed(Failure::TokenGone));
}

/// Broker down: 5.03 with Max-Age at once, nothing acknowledged; back: it flows.
#[test]
fn without_a_broker_an_uplink_is_unavailable() {
    let mut story = Story::new();
    story.core.on_publisher(story.now(), false);
    let seq = story.uplink(1, Code::PUT, b"");
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
    let max_age_s =
        Published::split(&story.posted(Kind::Published)[0].bytes).unwrap().0.max_age_s.get();
    assert_eq!(max_age_s, story.limits.unavailable_max_age_s);
    assert!(story.done.contains(&seq) && story.publishes.is_empty());
    story.core.on_publisher(story.now(), true);
    story.uplink(2, Code::PUT, b"");
    assert_eq!(story.publishes.len(), 1);
}

/// Too slow is the same; a PUBACK after that changes nothing.
#[test]
fn a_slow_broker_is_given_up_at_the_timeout() {
    let mut story = Story::new();
    story.uplink(1, Code::PUT, b"");
    story.waits_ms(story.limits.publish_timeout_ms - 1);
    assert_eq!(story.publications(), []);
    assert_eq!(story.core.pending_ms(), Some(story.ms + 1));
    story.waits_ms(1);
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
    assert_eq!(story.abandoned, [story.publishes[0].0]);
    story.confirms(0);
    assert_eq!(story.publications().len(), 1);
    assert_eq!(story.core.pending_ms(), None);
}

#[test]
fn no_more_than_so_many_publishes_are_in_flight() {
    let limits = Limits { publishes_in_flight_max: 2, ..Limits::default() };
    let mut story = Story::with_limits(limits);
    for exchange in 1..=3 {
        story.uplink(exchange, Code::PUT, b"");
    }
    assert_eq!(story.publications(), [(3, Publication::Unavailable)]);
    story.confirms(0);
    story.uplink(4, Code::PUT, b"");
    assert_eq!(story.publishes.len(), 3);
}

/// No route: 4.04. Not a device any more: 4.03.
#[test]
fn without_a_route_nothing_is_published() {
    let mut story = Story::new();
    set_destination(&story.store, ExpressionType::RuleName, "route");
    story.asks(Request::RoutesChanged);
    story.uplink(1, Code::PUT, b"");
    set_rule(&story.store, true);
    story.asks(Request::RoutesChanged);
    story.uplink(2, Code::PUT, b"");
    story.uplink_of(DeviceId([8; 16]), 3, Code::PUT, b"");
    let publications = story.publications();
    let no_route = |exchange| (exchange, Publication::NoRoute);
    assert_eq!(publications, [no_route(1), no_route(2), (3, Publication::Forbidden)]);
    assert!(story.publishes.is_empty());
}

#[test]
fn a_rule_republishes_to_its_own_topic() {
    let mut story = Story::new();
    set_destination(&story.store, ExpressionType::RuleName, "route");
    set_rule(&story.store, false);
    story.uplink(1, Code::PUT, b"");
    assert_eq!(story.publishes[0].1, "from/the/rule");
}

/// A change takes effect between two entries, not before it is told.
#[test]
fn a_changed_destination_counts_from_the_next_uplink() {
    let mut story = Story::new();
    story.uplink(1, Code::PUT, b"");
    set_destination(&story.store, ExpressionType::MqttTopic, "elsewhere");
    story.uplink(2, Code::PUT, b"");
    story.asks(Request::RoutesChanged);
    story.uplink(3, Code::PUT, b"");
    let topics: Vec<_> = story.publishes.iter().map(|(_, topic, _)| topic.as_str()).collect();
    assert_eq!(topics, [TOPIC, TOPIC, "elsewhere"]);
}

/// What a restarted control plane reads again it publishes again, under the same MessageId.
#[test]
fn an_uplink_read_again_has_the_same_id() {
    let id_of = |story: &Story| {
        let json: Value = serde_json::from_slice(&story.publishes[0].2).unwrap();
        json["WirelessMetadata"]["CoAP"]["MessageId"].as_str().unwrap().to_owned()
    };
    let mut story = Story::new();
    story.uplink(1, Code::PUT, b"21");
    let before = id_of(&story);
    let mut story = story.restarts();
    story.uplink(1, Code::PUT, b"21");
    assert_eq!(id_of(&story), before);
    let mut story = story.restarts();
    story.uplink(2, Code::PUT, b"21");
    assert_ne!(id_of(&story), before);
}

#[test]
fn entries_that_do_not_parse_are_counted_and_released() {
    let mut story = Story::new();
    for (kind, bytes) in [(0, &[][..]), (255, &[]), (Kind::Uplink as u8, &[0; 40]), (2, &[0; 60])] {
        story.next_seq += 1;
        let (seq, link, now) = (Seq(story.next_seq), story.link, story.now());
        story.core.on_entry(now, link, seq, kind, bytes);
        story.settles();
        assert!(story.done.contains(&seq), "kind {kind}");
    }
    match story.asks(Request::Health) {
        Some(Ok(Reply::Health(health))) => assert_eq!(health.malformed, 4),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_that_fails_costs_a_503_and_nothing_else() {
    let mut story = Story::new();
    story.store.breaks(Some(StoreError::Busy));
    assert!(matches!(
        story.asks(send(QueueMode::Queued, b"")),
        Some(Err(Refused::Internal { .. }))
    ));
    story.store.breaks(None);
    story.sends(QueueMode::Queued, b"");
}

impl Story {
    pub(super) fn token(&self, at: usize) -> String {
        let json: Value = serde_json::from_slice(&self.publishes[at].2).unwrap();
        json["WirelessMetadata"]["CoAP"]["ResponseToken"].as_str().unwrap().to_owned()
    }

    pub(super) fn answers(&mut self, token: &str) -> Result<MessageId, Refused> {
        let response = DownlinkResponse {
            token: token.to_owned(),
            status: Code::CONTENT.0,
            location_path: Vec::new(),
            content_format: None,
            options: Vec::new(),
            payload: b"ok".to_vec(),
            reference: None,
        };
        let request = Request::Send { device: DEVICE, body: Body::Response(response) };
        self.asks(request).unwrap().map(|reply| match reply {
            Reply::Accepted(id) => id,
            other => panic!("{other:?}"),
        })
    }
}
