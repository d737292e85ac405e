//! What does a device hear when rules look at its uplinks? Every publish confirmed, or 5.03.

use serde_json::Value;

use super::*;

const SENT: &[u8] = br#"{"t":31}"#;

pub(super) fn republish(topic: &str) -> Action {
    Action::Republish { topic: topic.to_owned(), qos: 0, role_arn: None }
}

/// A rule of that name; `change` makes it what the story needs.
pub(super) fn put_rule(story: &mut Story, name: &str, sql: &str, change: impl FnOnce(&mut Rule)) {
    let mut rule = Rule {
        name: name.to_owned(),
        sql: sql.to_owned(),
        description: None,
        disabled: false,
        sql_version: Some("2016-03-23".to_owned()),
        actions: vec![republish("out")],
        error_action: None,
        created_unix_ms: UNIX_MS,
    };
    change(&mut rule);
    let mut tx = Transaction::new();
    tx.put(Table::Rules, name, records::encode(&rule));
    story.store.submit(tx, Box::new(|result| assert!(result.is_ok())));
    story.asks(Request::RoutesChanged);
}

/// A story whose destination names the rule `route`.
pub(super) fn ruled(sql: &str, change: impl FnOnce(&mut Rule)) -> Story {
    ruled_with(Limits::default(), sql, change)
}

pub(super) fn ruled_with(limits: Limits, sql: &str, change: impl FnOnce(&mut Rule)) -> Story {
    let mut story = Story::with_limits(limits);
    story.core.set_account("123456789012");
    set_destination(&story.store, ExpressionType::RuleName, "route");
    put_rule(&mut story, "route", sql, change);
    story
}

pub(super) fn topics(story: &Story) -> Vec<&str> {
    story.publishes.iter().map(|(_, topic, _)| topic.as_str()).collect()
}

pub(super) fn health(story: &mut Story) -> super::super::CoreHealth {
    match story.asks(Request::Health) {
        Some(Ok(Reply::Health(health))) => *health,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_selects_from_the_uplink() {
    let sql = "SELECT decode(PayloadData, 'base64').t AS t, topic() AS path, clientid() AS d, \
               accountid() AS a WHERE decode(PayloadData, 'base64').t > 30";
    let mut story = ruled(sql, |rule| rule.actions = vec![republish("${topic(1)}/hot")]);
    story.uplink(1, Code::PUT, SENT);
    assert_eq!(topics(&story), ["t/hot"]);
    let payload: Value = serde_json::from_slice(&story.publishes[0].2).unwrap();
    let device = DEVICE.to_string();
    let expected = serde_json::json!({"t": 31, "path": "t", "d": device, "a": "123456789012"});
    assert_eq!(payload, expected);
    assert_eq!(story.publications(), []);
    story.confirms(0);
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
}

/// It was looked at and is not wanted: nothing is published, nobody will answer.
#[test]
fn what_where_does_not_want_is_confirmed_at_once() {
    let mut story = ruled("SELECT * WHERE decode(PayloadData, 'base64').t > 31", |_| ());
    story.uplink(1, Code::PUT, SENT);
    story.uplink(2, Code::POST, SENT);
    let confirmed = |exchange| (exchange, Publication::Confirmed);
    assert_eq!(story.publications(), [confirmed(1), confirmed(2)]);
    assert!(story.publishes.is_empty());
}

/// Not even that is confirmed while the publisher is away.
#[test]
fn nothing_is_confirmed_while_the_publisher_is_away() {
    let mut story = ruled("SELECT * WHERE false", |_| ());
    story.core.on_publisher(story.now(), false);
    story.uplink(1, Code::PUT, SENT);
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
}

#[test]
fn several_actions_are_confirmed_together() {
    let mut story = ruled("SELECT *", |rule| {
        rule.actions = vec![republish("a"), republish("b"), republish("c")];
    });
    story.uplink(1, Code::POST, SENT);
    assert_eq!(topics(&story), ["a", "b", "c"]);
    for at in [2, 0] {
        story.confirms(at);
        assert_eq!(story.publications(), []);
    }
    story.confirms(1);
    assert_eq!(story.publications(), [(1, Publication::AwaitingAnswer)]);
    assert_eq!(health(&mut story).in_flight, 0);
}

/// One that can't be published is enough for a 5.03; the device sends again.
#[test]
fn one_action_that_times_out_is_a_503() {
    let mut story = ruled("SELECT *", |rule| {
        rule.actions = vec![republish("a"), republish("b")];
    });
    story.uplink(1, Code::PUT, SENT);
    story.confirms(0);
    story.waits_ms(Limits::default().publish_timeout_ms - 1);
    assert_eq!(story.publications(), []);
    story.waits_ms(1);
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
    assert_eq!(story.abandoned, [story.publishes[1].0]);
    story.confirms(1);
    assert_eq!(story.publications().len(), 1, "an abandoned publish says nothing");
}

/// Every action counts as one that is under way.
#[test]
fn actions_fill_the_publisher() {
    let limits = Limits { publishes_in_flight_max: 2, ..Limits::default() };
    let mut story = ruled_with(limits, "SELECT *", |rule| {
        rule.actions = vec![republish("a"), republish("b")];
    });
    story.uplink(1, Code::PUT, SENT);
    story.uplink(2, Code::PUT, SENT);
    assert_eq!(story.publications(), [(2, Publication::Unavailable)]);
}

#[test]
fn a_failure_that_the_error_action_took_is_confirmed() {
    let mut story = ruled("SELECT *", |rule| {
        rule.actions = vec![republish("${missing}")];
        rule.error_action = Some(republish("errors"));
    });
    story.uplink(1, Code::PUT, SENT);
    assert_eq!(topics(&story), ["errors"]);
    let said: Value = serde_json::from_slice(&story.publishes[0].2).unwrap();
    assert_eq!((&said["ruleName"], &said["topic"]), (&Value::from("route"), &Value::from("t")));
    assert_eq!(story.publications(), []);
    story.confirms(0);
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
    assert_eq!(health(&mut story).rules_failed, 1);
}

/// Nothing is published and nothing is promised: the device keeps what it has.
#[test]
fn a_failure_that_nobody_takes_is_a_503() {
    let mut story = ruled("SELECT *", |rule| {
        rule.actions = vec![republish("good"), republish("${missing}")];
    });
    story.uplink(1, Code::PUT, SENT);
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
    assert!(story.publishes.is_empty());
    assert_eq!(health(&mut story).rules_failed, 1);
    put_rule(&mut story, "route", "SELECT *", |_| ());
    story.uplink(2, Code::PUT, SENT);
    assert_eq!(topics(&story), ["out"]);
}

/// A destination's topic triggers the rules whose FROM takes it, and those only.
#[test]
fn a_topic_triggers_rules() {
    let mut story = Story::new();
    put_rule(&mut story, "taking", "SELECT VALUE topic() FROM 'uplinks/#'", |_| ());
    put_rule(&mut story, "other", "SELECT * FROM 'other/#'", |_| ());
    put_rule(&mut story, "without", "SELECT *", |_| ());
    put_rule(&mut story, "disabled", "SELECT * FROM 'uplinks/#'", |rule| rule.disabled = true);
    story.uplink(1, Code::PUT, SENT);
    assert_eq!(topics(&story), [TOPIC, "out"]);
    assert_eq!(story.publishes[1].2, format!("\"{TOPIC}\"").into_bytes());
    story.confirms(0);
    assert_eq!(story.publications(), []);
    story.confirms(1);
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
}

/// The message has its topic: a rule beside it that fails does not hold it up.
#[test]
fn a_failing_rule_beside_a_topic_holds_nothing_up() {
    let mut story = Story::new();
    let failing = |rule: &mut Rule| rule.actions = vec![republish("${missing}")];
    put_rule(&mut story, "failing", "SELECT * FROM 'uplinks/#'", failing);
    story.uplink(1, Code::PUT, SENT);
    assert_eq!(topics(&story), [TOPIC]);
    story.confirms(0);
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
    assert_eq!(health(&mut story).rules_failed, 1);
}

/// A device's response to a downlink goes through the rule too, and waits in the outbox.
#[test]
fn responses_go_through_the_rule() {
    let mut story = ruled("SELECT VALUE WirelessMetadata.CoAP.ResponseStatus", |rule| {
        rule.actions = vec![republish("a"), republish("b")];
    });
    story.hello(1);
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"");
    story.responds(id, b"on");
    assert_eq!(topics(&story), ["a", "b"]);
    assert_eq!(story.publishes[0].2, br#""CONTENT(2.05)""#);
    assert_eq!(story.stored_keys(Table::Outbox), 1);
    story.confirms(0);
    assert_eq!(story.stored_keys(Table::Outbox), 1);
    story.confirms(1);
    assert_eq!(story.stored_keys(Table::Outbox), 0);

    put_rule(&mut story, "route", "SELECT * WHERE false", |_| ());
    let id = story.sends(QueueMode::Immediate, b"");
    story.responds(id, b"on");
    assert_eq!((story.publishes.len(), story.stored_keys(Table::Outbox)), (2, 0));
}

/// A record of a version before this one has no error action.
#[test]
fn a_rule_stored_before_error_actions_is_read() {
    let mut story = ruled("SELECT *", |_| ());
    let raw = story.store.get(Table::Rules, b"route").unwrap().unwrap();
    let mut json: Value = serde_json::from_slice(&raw).unwrap();
    json.as_object_mut().unwrap().remove("error_action").unwrap();
    let mut tx = Transaction::new();
    tx.put(Table::Rules, "route", json.to_string().into_bytes());
    story.store.submit(tx, Box::new(|result| assert!(result.is_ok())));
    story.asks(Request::RoutesChanged);
    story.uplink(1, Code::PUT, SENT);
    assert_eq!(topics(&story), ["out"]);
}
