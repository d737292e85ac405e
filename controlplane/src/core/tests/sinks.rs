//! What does a device hear when actions go out of the house? 2.xx once all of them are kept or the
//! error action took what failed, and 5.03 otherwise.

use serde_json::{Value, json};

use super::rules::{health, put_rule, republish, ruled, topics};
use super::*;
use crate::rules::Failed;
use crate::sinks::Delivered;

const SENT: &[u8] = br#"{"t":31}"#;

fn http(url: &str) -> Action {
    Action::Http { url: url.to_owned(), confirmation_url: None, headers: Vec::new() }
}

fn file(path: &str) -> Action {
    Action::File { path: path.to_owned() }
}

fn failed(message: &str) -> Delivered {
    let (action, resource) = ("HttpAction", "https://a/x".to_owned());
    Delivered::Failed(Failed { action, resource, message: message.to_owned() })
}

/// The sink says so of the delivery at that place.
fn says(story: &mut Story, at: usize, delivered: Delivered) {
    let (id, now) = (story.deliveries[at].0, story.now());
    story.core.on_delivered(now, id, delivered);
    story.settles();
}

fn paths(story: &Story) -> Vec<String> {
    let named = |(_, lane, sink, _): &(PublishId, Lane, Sink, Vec<u8>)| sink.resource(lane);
    story.deliveries.iter().map(named).collect()
}

#[test]
fn an_uplink_is_confirmed_once_every_sink_keeps_it() {
    let mut story = ruled("SELECT VALUE decode(PayloadData, 'base64').t", |rule| {
        rule.actions = vec![http("https://a/${topic(1)}"), republish("out"), file("b/${topic()}")];
    });
    story.uplink(1, Code::POST, SENT);
    assert_eq!(
        (paths(&story), topics(&story)),
        (vec!["https://a/t".into(), "b/t".into()], vec!["out"])
    );
    assert!(story.deliveries.iter().all(|(.., payload)| payload == b"31"));
    assert_eq!(story.deliveries[0].1, Lane::Http("https://a".into()));
    says(&mut story, 1, Delivered::Confirmed);
    story.confirms(0);
    assert_eq!(story.publications(), []);
    says(&mut story, 0, Delivered::Confirmed);
    assert_eq!(story.publications(), [(1, Publication::AwaitingAnswer)]);
    says(&mut story, 0, Delivered::Confirmed);
    assert_eq!((story.publications().len(), health(&mut story).in_flight), (1, 0));
}

/// A full queue is the device's business: 5.03, and the error action has nothing to do with it.
#[test]
fn a_busy_sink_is_a_503() {
    let mut story = ruled("SELECT *", |rule| {
        rule.actions = vec![http("https://a/x")];
        rule.error_action = Some(republish("errors"));
    });
    story.uplink(1, Code::PUT, SENT);
    says(&mut story, 0, Delivered::Busy);
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
    assert!(story.publishes.is_empty());
}

#[test]
fn the_error_action_takes_what_sinks_could_not() {
    let mut story = ruled("SELECT *", |rule| {
        rule.actions = vec![http("https://a/x"), file("f"), http("https://a/y")];
        rule.error_action = Some(republish("errors/${topic()}"));
    });
    story.uplink(1, Code::PUT, SENT);
    says(&mut story, 0, failed("The endpoint answered 500"));
    says(&mut story, 2, failed("no answer in time"));
    assert!(story.publishes.is_empty(), "one message for all of them");
    says(&mut story, 1, Delivered::Confirmed);
    assert_eq!(topics(&story), ["errors/t"]);
    let said: Value = serde_json::from_slice(&story.publishes[0].2).unwrap();
    let failure = |message: &str| {
        json!({"failedAction": "HttpAction", "failedResource": "https://a/x",
               "errorMessage": message})
    };
    let failures = json!([failure("The endpoint answered 500"), failure("no answer in time")]);
    assert_eq!(said["failures"], failures);
    assert_eq!((&said["ruleName"], &said["topic"]), (&json!("route"), &json!("t")));
    assert_eq!(said["clientId"], json!(DEVICE.to_string()));
    assert!(said["base64OriginalPayload"].as_str().is_some_and(|text| text.len() > 100));
    assert_eq!(story.publications(), []);
    story.confirms(0);
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
    assert_eq!((health(&mut story).rules_failed, health(&mut story).in_flight), (2, 0));
}

/// The error action may be a sink, and may fail itself.
#[test]
fn an_error_action_that_fails_is_a_503() {
    for (end, publication) in [
        (Delivered::Confirmed, Publication::Confirmed),
        (Delivered::Busy, Publication::Unavailable),
        (failed("no"), Publication::Unavailable),
    ] {
        let mut story = ruled("SELECT *", |rule| {
            rule.actions = vec![http("https://a/x")];
            rule.error_action = Some(file("errors"));
        });
        story.uplink(1, Code::PUT, SENT);
        says(&mut story, 0, failed("The endpoint answered 404"));
        assert_eq!((paths(&story).len(), story.publications().len()), (2, 0));
        says(&mut story, 1, end);
        assert_eq!(story.publications(), [(1, publication)]);
        assert_eq!(story.deliveries.len(), 2, "no second error action");
    }
}

#[test]
fn a_failure_that_nobody_takes_is_a_503() {
    let mut story = ruled("SELECT *", |rule| rule.actions = vec![http("https://a/x"), file("f")]);
    story.uplink(1, Code::PUT, SENT);
    says(&mut story, 0, failed("The endpoint answered 404"));
    assert_eq!(story.publications(), [], "the other is under way");
    says(&mut story, 1, Delivered::Confirmed);
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
}

/// Nothing hangs on a sink that never says anything.
#[test]
fn a_sink_that_says_nothing_times_out() {
    let mut story = ruled("SELECT *", |rule| {
        rule.actions = vec![http("https://a/x")];
        rule.error_action = Some(republish("errors"));
    });
    story.uplink(1, Code::PUT, SENT);
    story.waits_ms(Limits::default().publish_timeout_ms - 1);
    assert_eq!(story.publications(), []);
    story.waits_ms(1);
    assert_eq!(story.publications(), [(1, Publication::Unavailable)]);
    says(&mut story, 0, failed("late"));
    assert_eq!((story.publications().len(), story.publishes.len()), (1, 0));
}

/// The topic has the message: a rule beside it is counted and holds nothing up, but a queue that
/// is full is a 5.03 there too.
#[test]
fn a_rule_beside_a_topic_does_not_decide() {
    for (end, publication) in
        [(failed("no"), Publication::Confirmed), (Delivered::Busy, Publication::Unavailable)]
    {
        let mut story = Story::new();
        let posts = |rule: &mut Rule| rule.actions = vec![http("https://a/x")];
        put_rule(&mut story, "beside", "SELECT * FROM 'uplinks/#'", posts);
        story.uplink(1, Code::PUT, SENT);
        story.confirms(0);
        assert_eq!((topics(&story), story.publications()), (vec![TOPIC], vec![]));
        says(&mut story, 0, end);
        assert_eq!(story.publications(), [(1, publication)]);
    }
}

/// A rule that republishes nothing needs no broker.
#[test]
fn a_rule_of_sinks_works_without_the_publisher() {
    let mut story = ruled("SELECT *", |rule| rule.actions = vec![file("f")]);
    story.core.on_publisher(story.now(), false);
    story.uplink(1, Code::PUT, SENT);
    says(&mut story, 0, Delivered::Confirmed);
    assert_eq!(story.publications(), [(1, Publication::Confirmed)]);
}

/// A response stays while it is not taken, and goes when it never will be.
#[test]
fn a_response_waits_for_a_busy_sink_and_is_dropped_by_a_failing_one() {
    let mut story = ruled("SELECT *", |rule| rule.actions = vec![file("f")]);
    story.hello(1);
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"");
    story.responds(id, b"on");
    says(&mut story, 0, Delivered::Busy);
    assert_eq!(story.stored_keys(Table::Outbox), 1);
    story.waits_ms(5_000);
    assert_eq!(story.deliveries.len(), 2);
    says(&mut story, 1, failed("there is no such directory"));
    assert_eq!((story.stored_keys(Table::Outbox), health(&mut story).in_flight), (0, 0));
}
