//! What does each operation answer when the store fails? That it failed, by the shape of its
//! service, and nothing of what was asked.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::harness::{Server, device};
use crate::api::route::Operation;
use crate::api::route::table::OPERATIONS;
use crate::api::spec::{Kind, Member, operations};
use crate::identity::testing::Issued;
use crate::store::testing::FaultyStore;

const ID: &str = "00000000-0000-4000-8000-000000000000";

/// They ask no store.
const ASK_NO_STORE: [&str; 12] = [
    "GetOpenApiDocument",
    "GetServiceEndpoint",
    "GetAccountQuotas",
    "FollowUplinks",
    "CreateDeviceProfile",
    "GetDeviceProfile",
    "ListDeviceProfiles",
    "DeleteDeviceProfile",
    "CreateServiceProfile",
    "GetServiceProfile",
    "ListServiceProfiles",
    "DeleteServiceProfile",
];

/// A value that the shape allows.
fn good(kind: &Kind) -> Value {
    match kind {
        Kind::Text(rule) | Kind::Removable(rule) => match rule.form {
            crate::api::validate::Form::OneOf(set) => json!(set[0]),
            _ => json!("a".repeat(rule.min.max(1))),
        },
        Kind::Integer(least, _) | Kind::Decimal(least, _) => json!(least),
        Kind::Number => json!(0),
        Kind::Boolean => json!(false),
        Kind::List(..) => json!([]),
        Kind::Map => json!({}),
        Kind::Structure(members) => good_structure(members),
        Kind::OneOf(kinds) => good(&kinds[0]),
    }
}

fn good_structure(members: &[Member]) -> Value {
    let required = members.iter().filter(|member| member.required);
    Value::Object(required.map(|member| (member.name.to_owned(), good(&member.kind))).collect())
}

/// What the shape alone does not say.
fn body_of(name: &str) -> Option<Value> {
    let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
        "Action": "coap:Get", "Resource": "arn:aws:iotwireless:*:*:coap/*" }] });
    let line = json!({ "DestinationName": "d", "CoAP": { "DeviceCreationData": "{}" } });
    let rule = json!({ "sql": "SELECT *", "actions": [{ "republish": { "topic": "t" } }] });
    Some(match name {
        "CreateWirelessDevice" => device(1),
        "UpdateWirelessDevice" => json!({ "Name": "n" }),
        "StartSingleWirelessDeviceImportTask" => {
            json!({ "DestinationName": "d", "Cellular": device(1)["Cellular"] })
        }
        "CreatePayload" => json!({ "Bytes": 1 }),
        "PutPayloadPart" => json!({ "Offset": 0, "PayloadData": "AQ==" }),
        "PutWirelessDeviceResource" => json!({ "UriPaths": ["t"], "PayloadData": "" }),
        "SendDataToWirelessDevice" => json!({ "CoAP": { "RequestMethod": "GET" } }),
        "AssociateWirelessDeviceWithThing" => {
            json!({ "ThingArn": "arn:aws:iot:us-east-1:123456789012:thing/t" })
        }
        "StartWirelessDeviceImportTask" | "UpdateWirelessDeviceImportTask" => line,
        "PutWirelessDevicePolicy" | "PutApplicationProfilePolicy" => {
            json!({ "PolicyDocument": policy.to_string() })
        }
        "CreateTopicRule" | "ReplaceTopicRule" => rule,
        "RegisterCACertificate" => json!({ "certificateMode": "SNI_ONLY",
            "caCertificate": Issued::authority("root").certificate }),
        "UpdateAccountQuotas" => json!({ "Quotas": { "Rules": 7 } }),
        "GetMetrics" => json!({ "SummaryMetricQueries": [{ "MetricName": "AwsAccountUplinkCount",
            "AggregationPeriod": "OneHour", "StartTimestamp": now_s() - 7_200,
            "EndTimestamp": now_s() }] }),
        _ => return None,
    })
}

fn now_s() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A call that nothing is wrong with.
fn call_of(operation: &Operation) -> (&'static str, String, Value) {
    let spec = operations::of(operation.name()).unwrap();
    let (method, path) = operation.pattern.split_once(' ').unwrap();
    let segment = |segment: &str| match segment {
        "{Name}" => "d".to_owned(),
        "{ruleName}" => "r".to_owned(),
        "{certificateId}" => "a".repeat(64),
        label if label.starts_with('{') => ID.to_owned(),
        literal => literal.to_owned(),
    };
    let path: Vec<String> = path.split('/').map(segment).collect();
    let mut query: Vec<String> = Vec::new();
    for member in spec.query.iter().filter(|member| member.required) {
        let arn =
            format!("arn%3Aaws%3Aiotwireless%3Aus-east-1%3A123456789012%3AWirelessDevice%2F{ID}");
        let value = match member.name {
            "resourceArn" => arn,
            "tagKeys" => "k".to_owned(),
            "id" | "messageId" => ID.to_owned(),
            "resourceType" => "WirelessDevice".to_owned(),
            "identifierType" => "WirelessDeviceId".to_owned(),
            _ => good(&member.kind).as_str().unwrap().to_owned(),
        };
        query.push(format!("{}={value}", member.name));
    }
    query.sort();
    let body = body_of(spec.name).or_else(|| spec.input.map(good_structure));
    let target = if query.is_empty() {
        path.join("/")
    } else {
        format!("{}?{}", path.join("/"), query.join("&"))
    };
    (method, target, body.unwrap_or_else(|| Value::Object(Map::new())))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_says_that_the_store_has_failed() {
    let store = Arc::new(FaultyStore::new());
    let settings = crate::sinks::Settings::default();
    let server = Server::start_as(None, settings, Some(store.clone())).await;
    store.fails();
    let mut failed = 0;
    for operation in OPERATIONS {
        let (method, target, body) = call_of(operation);
        if ASK_NO_STORE.contains(&operation.name()) {
            continue;
        }
        let answer = server.send(method, &target, body).await;
        let shape = match operation.action.split_once(':').unwrap() {
            ("iot", name) if name.contains("CACertificate") => "InternalFailureException",
            ("iot", _) => "InternalException",
            _ => "InternalServerException",
        };
        let told = (answer.status, answer.shape());
        assert_eq!(told, (500, shape), "{method} {target}: {}", answer.text);
        assert!(!answer.text.contains("as it was told to"), "the cause is for the log");
        failed += 1;
    }
    assert_eq!(failed, OPERATIONS.len() - ASK_NO_STORE.len());
    server.stop().await;
}
