//! Where does a message go? Topics with templates, several actions, the error action.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::{Compiled, Outcome, Target};
use super::{V2, message};
use crate::model::{Action, Refused, Rule};

fn to(topic: &str) -> Action {
    Action::Republish { topic: topic.to_owned(), qos: 0, role_arn: None }
}

fn rule(sql: &str, topics: &[&str]) -> Rule {
    Rule {
        name: "rule".to_owned(),
        sql: sql.to_owned(),
        description: None,
        disabled: false,
        sql_version: Some(V2.to_owned()),
        actions: topics.iter().map(|topic| to(topic)).collect(),
        error_action: None,
        created_unix_ms: 0,
    }
}

fn run(rule: &Rule, payload: &str) -> Outcome {
    Compiled::new(rule).unwrap().run(&message(payload.as_bytes()))
}

fn topics(outcome: &Outcome) -> Vec<&str> {
    let topics = outcome.deliveries.iter().map(|delivery| match &delivery.target {
        Target::Topic(topic) => &**topic,
        Target::Sink(..) => panic!("no topic"),
    });
    topics.collect()
}

fn check(rule: &Rule) -> Result<(), Refused> {
    super::super::check(rule, &BTreeSet::new())
}

/// The example of substitution templates: an alias is not seen, the message is.
#[test]
fn a_topic_has_substitution_templates() {
    let sql = "SELECT *, timestamp() AS timestamp, 'no' AS deviceid FROM 'my/iot/topic'";
    let outcome = run(
        &rule(sql, &["${topic()}/republish", "device/${deviceid}", "$$aws/${temp > 50}/x"]),
        r#"{"deviceid":"iot123","temp":54.98}"#,
    );
    assert_eq!(
        topics(&outcome),
        ["things/myThings/thingOne/republish", "device/iot123", "$aws/true/x"]
    );
    let payload = outcome.deliveries[0].payload.as_deref().unwrap();
    let expected = r#"{"deviceid":"no","temp":54.98,"timestamp":1481825251155}"#;
    assert_eq!(std::str::from_utf8(payload).unwrap(), expected);
}

#[test]
fn select_all_is_the_message_as_it_came() {
    let outcome = run(&rule("SELECT * FROM 'a'", &["b"]), "no { JSON");
    assert_eq!((topics(&outcome), &outcome.deliveries[0].payload), (vec!["b"], &None));
}

#[test]
fn where_is_asked_first() {
    let rule = rule("SELECT a AS b FROM 'x' WHERE a = 1", &["t"]);
    assert_eq!(topics(&run(&rule, r#"{"a":1}"#)), ["t"]);
    for payload in [r#"{"a":2}"#, r#"{"b":1}"#, "", "1"] {
        assert_eq!(run(&rule, payload), Outcome::default(), "{payload}");
    }
}

/// One message for all that failed; what did not fail goes its way.
#[test]
fn failures_go_to_the_error_action() {
    let mut rule = rule("SELECT * FROM 'a'", &["x/${a}", "good", "y/${b}", "${c}"]);
    rule.error_action = Some(to("errors/${clientid()}"));
    let payload = r##"{"b":"#"}"##;
    let outcome = run(&rule, payload);
    assert_eq!(topics(&outcome), ["good", "errors/device"]);
    assert!(!outcome.is_unhandled);
    let said: Value =
        serde_json::from_slice(outcome.deliveries[1].payload.as_deref().unwrap()).unwrap();
    let failure = |resource: &str, message: &str| {
        json!({"failedAction": "RepublishAction", "failedResource": resource,
               "errorMessage": message})
    };
    let undefined = "A substitution template of the topic is Undefined.";
    assert_eq!(
        said,
        json!({
            "ruleName": "rule",
            "topic": "things/myThings/thingOne",
            "cloudwatchTraceId": "12345678-1234-1234-1234-123456789012",
            "clientId": "device",
            "base64OriginalPayload": "eyJiIjoiIyJ9",
            "failures": [
                failure("x/${a}", undefined),
                failure("y/${b}", "The substitution templates do not make a topic to publish to."),
                failure("${c}", undefined),
            ],
        })
    );
}

#[test]
fn a_failure_without_an_error_action_that_works_is_unhandled() {
    let mut rule = rule("SELECT * FROM 'a'", &["x/${a}", "good"]);
    let outcome = run(&rule, "{}");
    assert!(outcome.is_unhandled);
    assert_eq!((topics(&outcome), outcome.failures.len()), (vec!["good"], 1));
    rule.error_action = Some(to("${a}"));
    assert!(run(&rule, "{}").is_unhandled);
    assert!(!run(&rule, r#"{"a":"b"}"#).is_unhandled);
}

/// A statement that would take too long ends, and is a failure like another.
#[test]
fn a_statement_that_fails_goes_to_the_error_action() {
    let mut rule = rule(
        "SELECT (SELECT VALUE (SELECT VALUE (SELECT VALUE 1 FROM l) FROM l) FROM l) AS x",
        &["t"],
    );
    rule.error_action = Some(to("errors"));
    let nest = |n: usize, inner: &str| format!("{{\"l\":[{}]}}", vec![inner; n].join(","));
    let payload = nest(60, &nest(60, &nest(60, "1")));
    let outcome = run(&rule, &payload);
    assert_eq!(topics(&outcome), ["errors"]);
    assert_eq!(outcome.failures[0].action, "SqlStatement");
    let payload = nest(20, &nest(20, &nest(20, "1")));
    assert_eq!(topics(&run(&rule, &payload)), ["t"]);
}

#[test]
fn a_payload_has_at_most_128_kib() {
    let rule = rule("SELECT VALUE replace(x, 'a', y)", &["t"]);
    let payload =
        |bytes: usize| format!(r#"{{"x":"{}","y":"{}"}}"#, "a".repeat(2), "b".repeat(bytes / 2));
    // Two quotes are written too.
    assert_eq!(topics(&run(&rule, &payload((128 << 10) - 2))), ["t"]);
    assert_eq!(run(&rule, &payload(128 << 10)).failures.len(), 1);
}

#[test]
fn an_action_is_checked_when_the_rule_is_made() {
    let is_taken = |topic: &str| check(&rule("SELECT *", &[topic]));
    for topic in ["a", "a/${b}", "$$aws/x", "${a}"] {
        assert!(is_taken(topic).is_ok(), "{topic}");
    }
    for topic in ["", "a/+", "#", "a\0"] {
        assert!(matches!(is_taken(topic), Err(Refused::Validation { .. })), "{topic:?}");
    }
    for topic in ["${a", "${nothing()}", "a/${b c}"] {
        assert!(matches!(is_taken(topic), Err(Refused::Sql { .. })), "{topic}");
    }
    assert!(check(&rule("SELECT *", &["t"; 10])).is_ok());
    assert!(check(&rule("SELECT *", &["t"; 11])).is_err());
    assert!(check(&rule("SELECT *", &[])).is_err());
    assert!(check(&rule("SELECT * FROM 'a#'", &["t"])).is_err());
    let named = |name: String| check(&Rule { name, ..rule("SELECT *", &["t"]) });
    assert!(named("a".repeat(128)).is_ok());
    for name in ["a".repeat(129), String::new(), "a-b".to_owned()] {
        assert!(named(name).is_err());
    }
}

/// A line in the log for the 1st, 2nd, 4th, 8th … failure.
#[test]
fn failures_are_counted() {
    let rule = Compiled::new(&rule("SELECT *", &["t"])).unwrap();
    let counts: Vec<_> = (0..8).map(|_| rule.count_failure()).collect();
    assert_eq!(counts, [Some(1), Some(2), None, Some(4), None, None, None, Some(8)]);
}
