//! Topic rules in the dialect of AWS IoT.

use std::sync::Arc;

use serde_json::{Value, json};

use super::harness::Server;
use crate::sinks;
use crate::store::testing::FaultyStore;

fn rule() -> Value {
    json!({
        "sql": "SELECT * FROM 'devices/+'", "description": "on", "awsIotSqlVersion": "2016-03-23",
        "actions": [{ "republish": { "topic": "out/up", "roleArn": "arn:aws:iam::1:role/r" } }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_lives() {
    let server = Server::start().await;
    let made = server.send("POST", "/rules/one", rule()).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let again = server.send("POST", "/rules/one", rule()).await;
    assert_eq!((again.status, again.shape()), (409, "ResourceAlreadyExistsException"));
    assert!(again.json["message"].is_string(), "{}", again.text);

    let got = server.get("/rules/one").await;
    assert_eq!(got.json["ruleArn"], "arn:aws:iot:us-east-1:123456789012:rule/one");
    let kept = &got.json["rule"];
    assert_eq!((&kept["ruleName"], &kept["ruleDisabled"]), (&json!("one"), &json!(false)));
    assert_eq!(kept["sql"], rule()["sql"]);
    assert_eq!(kept["actions"][0]["republish"]["topic"], "out/up");
    assert!(kept["createdAt"].as_u64().unwrap() > 1_600_000_000);

    assert_eq!(server.call("POST", "/rules/one/disable", "").await.status, 200);
    let list = server.get("/rules").await.json;
    assert_eq!(list["rules"][0]["ruleName"], "one");
    assert_eq!(list["rules"][0]["ruleDisabled"], true);
    assert_eq!(list["rules"][0]["topicPattern"], "devices/+");
    assert_eq!(server.call("POST", "/rules/one/enable", "").await.status, 200);
    assert_eq!(server.get("/rules/one").await.json["rule"]["ruleDisabled"], false);

    let mut other = rule();
    other["actions"][0]["republish"]["topic"] = json!("out/other");
    assert_eq!(server.send("PATCH", "/rules/one", other).await.status, 200);
    let kept = server.get("/rules/one").await.json;
    assert_eq!(kept["rule"]["actions"][0]["republish"]["topic"], "out/other");

    assert_eq!(server.call("DELETE", "/rules/one", "").await.status, 200);
    let gone = server.get("/rules/one").await;
    assert_eq!((gone.status, gone.shape()), (404, "ResourceNotFoundException"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_cannot_be_is_an_invalid_request() {
    let server = Server::start().await;
    for (member, value) in [
        ("sql", json!(null)),
        ("sql", json!("")),
        ("actions", json!([{ "republish": { "topic": "t/#" } }])),
        ("actions", json!([{ "republish": { "topic": "t", "headers": {} } }])),
        ("actions", json!(null)),
        ("actions", json!([])),
        ("actions", json!([{ "lambda": { "functionArn": "x" } }])),
        ("actions", json!([{ "republish": { "topic": "t", "qos": 2 } }])),
        ("awsIotSqlVersion", json!("2020-01-01")),
        ("errorAction", json!({ "republish": { "topic": "" } })),
        ("errorAction", json!({ "s3": { "bucketName": "x" } })),
        ("ruleDisabled", json!("no")),
    ] {
        let mut body = rule();
        body[member] = value.clone();
        let answer = server.send("POST", "/rules/one", body).await;
        assert_eq!(
            (answer.status, answer.shape()),
            (400, "InvalidRequestException"),
            "{member} {value}"
        );
        assert!(answer.json["message"].is_string());
    }
    let answer = server.send("POST", "/rules/a-b", rule()).await;
    assert_eq!((answer.status, answer.shape()), (400, "InvalidRequestException"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_compile_is_a_sql_parse_exception() {
    let server = Server::start().await;
    for (member, value) in [
        ("sql", json!("SELECT")),
        ("sql", json!("SELECT nothing(a) FROM 'x'")),
        ("sql", json!("SELECT * FROM 'a/#/b'")),
        ("actions", json!([{ "republish": { "topic": "t/${" } }])),
        ("errorAction", json!({ "republish": { "topic": "${a b}" } })),
    ] {
        let mut body = rule();
        body[member] = value.clone();
        let answer = server.send("POST", "/rules/one", body).await;
        assert_eq!((answer.status, answer.shape()), (400, "SqlParseException"), "{value}");
        let message = answer.json["message"].as_str().unwrap();
        assert!(message.starts_with(member) || message.contains("topic"), "{message}");
    }
    assert_eq!(server.get("/rules").await.json["rules"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_has_an_error_action_and_lists_are_filtered() {
    let server = Server::start().await;
    let mut body = rule();
    body["errorAction"] = json!({ "republish": { "topic": "errors/${topic()}", "qos": 1 } });
    assert_eq!(server.send("POST", "/rules/one", body.clone()).await.status, 200);
    let kept = server.get("/rules/one").await.json;
    assert_eq!(kept["rule"]["errorAction"], body["errorAction"]);

    body["ruleDisabled"] = json!(true);
    body["sql"] = json!("SELECT *");
    body.as_object_mut().unwrap().remove("awsIotSqlVersion");
    assert_eq!(server.send("POST", "/rules/two", body).await.status, 200);
    assert_eq!(server.get("/rules/two").await.json["rule"]["awsIotSqlVersion"], "2015-10-08");
    for (query, names) in [
        ("", vec!["one", "two"]),
        ("?ruleDisabled=true", vec!["two"]),
        ("?ruleDisabled=false", vec!["one"]),
        ("?topic=devices/7", vec!["one"]),
        ("?topic=devices/7/8", vec![]),
    ] {
        let list = server.get(&format!("/rules{query}")).await.json;
        let listed: Vec<_> = list["rules"].as_array().unwrap().iter().collect();
        let listed: Vec<_> = listed.iter().map(|rule| rule["ruleName"].as_str().unwrap()).collect();
        assert_eq!(listed, names, "{query}");
    }
    assert_eq!(server.get("/rules?ruleDisabled=maybe").await.shape(), "InvalidRequestException");
    server.stop().await;
}

/// `actions.accounts`: beside the operator's own, rules of these accounts reach what is listed, and
/// no others. An account that is taken off the list keeps its rules and makes no more of them.
#[tokio::test(flavor = "multi_thread")]
async fn rules_of_accounts_that_are_listed_reach_what_the_operator_lists() {
    let store = Arc::new(FaultyStore::new());
    let server = Server::start_as(None, sinks::Settings::default(), Some(store.clone())).await;
    let (listed, key) = server.directory().create_account("listed").await.unwrap();
    let (_, other) = server.directory().create_account("other").await.unwrap();
    server.stop().await;

    let origin = "http://127.0.0.1:9".to_owned();
    let http = vec![sinks::HttpSettings { origin, authorization_file: None, ca_file: None }];
    let actions =
        sinks::Settings { accounts: vec![listed.to_string()], http, ..sinks::Settings::default() };
    let server = Server::start_as(None, actions.clone(), Some(store.clone())).await;
    let post = |url: &str| json!({ "sql": "SELECT *", "actions": [{ "http": { "url": url } }] });
    let (inside, outside) = (post("http://127.0.0.1:9/x"), post("http://127.0.0.2:9/x"));
    assert_eq!(server.send("POST", "/rules/r", inside.clone()).await.status, 200);
    let made = server.call_as(&key, "POST", "/rules/r", &inside).await;
    assert_eq!(made.status, 200, "{}", made.text);
    for (key, rule) in [(&other, &inside), (&key, &outside)] {
        let refused = server.call_as(key, "POST", "/rules/s", rule).await;
        assert_eq!((refused.status, refused.shape()), (400, "InvalidRequestException"));
    }
    server.stop().await;

    let actions = sinks::Settings { accounts: Vec::new(), ..actions };
    let server = Server::start_as(None, actions, Some(store)).await;
    assert_eq!(server.call_as(&key, "GET", "/rules/r", &Value::Null).await.status, 200);
    let refused = server.call_as(&key, "POST", "/rules/s", &inside).await;
    assert_eq!((refused.status, refused.shape()), (400, "InvalidRequestException"));
    server.stop().await;
}
