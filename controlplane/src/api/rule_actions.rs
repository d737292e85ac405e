//! How are actions of rules written? Those of AWS in AWS's members, `nats` and `file` in ours.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::error::ApiError;
use super::validate::{Form, Members, Rule as Shape, Violations};
use crate::model::{Action, Header};

/// Reads one action; `None`: what is wrong with it is noted.
pub(super) fn read(item: &Members<'_>, v: &mut Violations) -> Result<Option<Action>, ApiError> {
    let mut found = Vec::new();
    found.extend(item.nested("republish", |m| republish(&m, v))?);
    found.extend(item.nested("http", |m| http(&m, v))?);
    found.extend(item.nested("kafka", |m| kafka(&m, v))?);
    found.extend(item.nested("s3", |m| s3(&m, v))?);
    found.extend(item.nested("nats", |m| nats(&m, v))?);
    found.extend(item.nested("file", |m| file(&m, v))?);
    if found.len() != 1 {
        let path = item.path("");
        let constraint = "Member must be one action: http, kafka, republish, s3, nats or file";
        v.add(path.trim_end_matches('.'), constraint);
        return Ok(None);
    }
    Ok(found.pop())
}

/// As GetTopicRule shows it.
pub(super) fn described(action: &Action) -> Value {
    match action {
        Action::Republish { topic, qos, role_arn } => {
            let body = json!({ "topic": topic, "qos": qos });
            json!({ "republish": with(body, "roleArn", role_arn.as_deref()) })
        }
        Action::Http { url, confirmation_url, headers } => {
            let body = json!({ "url": url, "headers": shown(headers) });
            json!({ "http": with(body, "confirmationUrl", confirmation_url.as_deref()) })
        }
        Action::Kafka { destination_arn, topic, key, partition, client_properties, headers } => {
            let body = json!({
                "destinationArn": destination_arn, "topic": topic,
                "clientProperties": client_properties,
            });
            let body = with(body, "key", key.as_deref());
            let mut body = with(body, "partition", partition.as_deref());
            // AWS's list has one at least.
            if !headers.is_empty() {
                body["headers"] = shown(headers);
            }
            json!({ "kafka": body })
        }
        Action::S3 { bucket, key, role_arn, canned_acl } => {
            let body = json!({ "bucketName": bucket, "key": key });
            let body = with(body, "roleArn", role_arn.as_deref());
            json!({ "s3": with(body, "cannedAcl", canned_acl.as_deref()) })
        }
        Action::Nats { server, subject, headers } => {
            json!({ "nats": { "server": server, "subject": subject, "headers": shown(headers) } })
        }
        Action::File { path } => json!({ "file": { "path": path } }),
    }
}

fn with(mut body: Value, name: &str, value: Option<&str>) -> Value {
    if let Some(value) = value {
        body[name] = json!(value);
    }
    body
}

fn shown(headers: &[Header]) -> Value {
    headers.iter().map(|header| json!({ "key": header.key, "value": header.value })).collect()
}

fn republish(m: &Members<'_>, v: &mut Violations) -> Result<Action, ApiError> {
    let topic = m.required("topic", &TOPIC, v)?.to_owned();
    let qos = m.integer("qos", 0..=1, v)?.unwrap_or(0) as u8;
    let role_arn = m.text("roleArn")?.map(ToOwned::to_owned);
    refuse(m, v, "headers", "brokers are asked by MQTT 3.1.1");
    Ok(Action::Republish { topic, qos, role_arn })
}

fn http(m: &Members<'_>, v: &mut Violations) -> Result<Action, ApiError> {
    let url = m.required("url", &URL, v)?.to_owned();
    let confirmation_url = m.checked("confirmationUrl", &URL, v)?.map(ToOwned::to_owned);
    let headers = headers(m, v)?;
    refuse(m, v, "auth", "credentials are the operator's");
    refuse(m, v, "batchConfig", "a message is confirmed by itself");
    if m.boolean("enableBatching")? == Some(true) {
        v.add(&m.path("enableBatching"), "Member must be false: a message is confirmed by itself");
    }
    Ok(Action::Http { url, confirmation_url, headers })
}

fn kafka(m: &Members<'_>, v: &mut Violations) -> Result<Action, ApiError> {
    let destination_arn = m.required("destinationArn", &ARN, v)?.to_owned();
    let topic = m.required("topic", &TEXT, v)?.to_owned();
    let key = m.checked("key", &TEXT, v)?.map(ToOwned::to_owned);
    let partition = m.checked("partition", &TEXT, v)?.map(ToOwned::to_owned);
    let client_properties: Option<BTreeMap<String, String>> =
        m.texts_by_name("clientProperties")?;
    let headers = headers(m, v)?;
    let client_properties = client_properties.unwrap_or_default();
    Ok(Action::Kafka { destination_arn, topic, key, partition, client_properties, headers })
}

fn s3(m: &Members<'_>, v: &mut Violations) -> Result<Action, ApiError> {
    let bucket = m.required("bucketName", &NAME, v)?.to_owned();
    let key = m.required("key", &TEXT, v)?.to_owned();
    let role_arn = m.text("roleArn")?.map(ToOwned::to_owned);
    let canned_acl = m.checked("cannedAcl", &ACL, v)?.map(ToOwned::to_owned);
    Ok(Action::S3 { bucket, key, role_arn, canned_acl })
}

fn nats(m: &Members<'_>, v: &mut Violations) -> Result<Action, ApiError> {
    let server = m.required("server", &NAME, v)?.to_owned();
    let subject = m.required("subject", &TEXT, v)?.to_owned();
    let headers = headers(m, v)?;
    Ok(Action::Nats { server, subject, headers })
}

fn file(m: &Members<'_>, v: &mut Violations) -> Result<Action, ApiError> {
    Ok(Action::File { path: m.required("path", &TEXT, v)?.to_owned() })
}

fn headers(m: &Members<'_>, v: &mut Violations) -> Result<Vec<Header>, ApiError> {
    let headers = m.nested_list("headers", |item| {
        let key = item.required("key", &HEADER_KEY, v)?.to_owned();
        let value = item.required("value", &HEADER_VALUE, v)?.to_owned();
        Ok(Header { key, value })
    })?;
    let headers = headers.unwrap_or_default();
    if headers.len() > HEADERS_MAX {
        let constraint = format!("Member must have length less than or equal to {HEADERS_MAX}");
        v.add(&m.path("headers"), constraint);
    }
    Ok(headers)
}

fn refuse(m: &Members<'_>, v: &mut Violations, name: &str, why: &str) {
    if m.has(name) {
        v.add(&m.path(name), format!("Member must not be set: {why}"));
    }
}

/// Most headers of an action.
const HEADERS_MAX: usize = 100;

const TOPIC: Shape = Shape::length(1, 2_048);
const URL: Shape = Shape::length(1, 2_000);
const ARN: Shape = Shape::length(1, 2_048);
const TEXT: Shape = Shape::length(1, 16_384);
const HEADER_KEY: Shape = Shape::length(1, 256);
const HEADER_VALUE: Shape = Shape::length(0, 16_384);
const ACL: Shape = Shape::one_of(&["private"]);
const NAME: Shape = Shape {
    min: 1,
    max: 128,
    form: Form::Pattern("[a-zA-Z0-9._-]+", |text| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }),
};
