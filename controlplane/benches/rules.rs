//! What does a rule cost per uplink? From the uplink's JSON to what is published; and once, to
//! compile it.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_controlplane::model::{Action, Rule};
use tidegate_controlplane::rules::{Compiled, Message};

/// Name, statement, topic.
const RULES: [(&str, &str, &str); 6] = [
    ("all", "SELECT *", "out"),
    ("all, topic of a template", "SELECT *", "out/${clientid()}"),
    ("all, where", "SELECT * WHERE WirelessMetadata.CoAP.RequestMethod = 'POST(0.02)'", "out"),
    (
        "two columns",
        "SELECT WirelessDeviceId AS device, WirelessMetadata.CoAP.UriPaths AS path",
        "out",
    ),
    (
        "decoded payload",
        "SELECT decode(PayloadData, 'base64').t AS celsius, WirelessDeviceId AS device \
         WHERE decode(PayloadData, 'base64').t > 30",
        "alarms/${WirelessDeviceId}",
    ),
    (
        "nested",
        "SELECT (SELECT VALUE v FROM decode(PayloadData, 'base64')) AS v, \
         regexp_substr(WirelessDeviceId, '^[0-9a-f]+') AS head, \
         parse_time('yyyy-MM-dd', timestamp()) AS day",
        "out",
    ),
];

fn rule(sql: &str, topic: &str) -> Rule {
    Rule {
        name: "bench".to_owned(),
        sql: sql.to_owned(),
        description: None,
        disabled: false,
        sql_version: Some("2016-03-23".to_owned()),
        actions: vec![Action::Republish { topic: topic.to_owned(), qos: 1, role_arn: None }],
        error_action: None,
        created_unix_ms: 0,
    }
}

/// An uplink as the core writes it.
fn uplink() -> Vec<u8> {
    let payload = r#"{"t":31.5,"h":48,"v":[1,2,3]}"#;
    format!(
        r#"{{"WirelessDeviceId":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","PayloadData":"{}",
        "WirelessMetadata":{{"CoAP":{{"MessageType":"CONFIRMABLE","RequestMethod":"POST(0.02)",
        "UriPaths":["sensors","1"],"UriQuery":[{{"Key":"a","Value":"b"}}],
        "ContentFormat":"application/json","MessageId":"11111111-2222-4333-8444-555555555555",
        "Timestamp":"2026-11-21T05:00:00.123Z","Network":"Cellular",
        "SecurityMode":"PreSharedKey"}}}}}}"#,
        STANDARD.encode(payload)
    )
    .into_bytes()
}

fn run(c: &mut Criterion) {
    let payload = uplink();
    let message = Message {
        topic: "sensors/1",
        client_id: "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        account_id: "123456789012",
        principal: None,
        trace_id: "11111111-2222-4333-8444-555555555555",
        now_unix_ms: 1_795_237_200_123,
        payload: &payload,
    };
    let mut group = c.benchmark_group("rules/run");
    for (name, sql, topic) in RULES {
        let rule = Compiled::new(&rule(sql, topic)).expect("a good rule");
        assert_eq!(rule.run(&message).deliveries.len(), 1, "{name}");
        group.bench_function(name, |b| b.iter(|| rule.run(black_box(&message))));
    }
    group.finish();
}

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("rules/compile");
    for (name, sql, topic) in RULES {
        let rule = rule(sql, topic);
        group.bench_function(name, |b| b.iter(|| Compiled::new(black_box(&rule))));
    }
    group.finish();
}

criterion_group!(benches, run, compile);
criterion_main!(benches);
