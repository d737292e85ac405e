//! How are actions of rules written? Those of AWS in AWS's members, `nats` and `file` in ours.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::error::ApiError;
use super::validate::{Members, Violations};
use crate::model::{Action, Header};

/// Reads one action; `None`: what is wrong with it is noted.
pub(super) fn read(item: &Members<'_>, v: &mut Violations) -> Result<Option<Action>, ApiError> {
    let mut found = Vec::new();
    found.extend(item.nested("republish", |m| republish(&m, v))?);
    found.extend(item.nested("http", |m| http(&m, v))?);
    found.extend(item.nested("kafka", |m| kafka(&m))?);
    found.extend(item.nested("s3", |m| s3(&m))?);
    found.extend(item.nested("nats", |m| nats(&m))?);
    found.extend(item.nested("file", |m| file(&m))?);
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
    let topic = m.required("topic")?.to_owned();
    let qos = m.integer("qos")?.unwrap_or(0) as u8;
    let role_arn = m.owned("roleArn")?;
    refuse(m, v, "headers", "brokers are asked by MQTT 3.1.1");
    Ok(Action::Republish { topic, qos, role_arn })
}

fn http(m: &Members<'_>, v: &mut Violations) -> Result<Action, ApiError> {
    let url = m.required("url")?.to_owned();
    let confirmation_url = m.owned("confirmationUrl")?;
    let headers = headers(m)?;
    refuse(m, v, "auth", "credentials are the operator's");
    refuse(m, v, "batchConfig", "a message is confirmed by itself");
    if m.boolean("enableBatching")? == Some(true) {
        v.add(&m.path("enableBatching"), "Member must be false: a message is confirmed by itself");
    }
    Ok(Action::Http { url, confirmation_url, headers })
}

fn kafka(m: &Members<'_>) -> Result<Action, ApiError> {
    let destination_arn = m.required("destinationArn")?.to_owned();
    let topic = m.required("topic")?.to_owned();
    let key = m.owned("key")?;
    let partition = m.owned("partition")?;
    let client_properties: Option<BTreeMap<String, String>> =
        m.texts_by_name("clientProperties")?;
    let headers = headers(m)?;
    let client_properties = client_properties.unwrap_or_default();
    Ok(Action::Kafka { destination_arn, topic, key, partition, client_properties, headers })
}

fn s3(m: &Members<'_>) -> Result<Action, ApiError> {
    let bucket = m.required("bucketName")?.to_owned();
    let key = m.required("key")?.to_owned();
    let role_arn = m.owned("roleArn")?;
    let canned_acl = m.owned("cannedAcl")?;
    Ok(Action::S3 { bucket, key, role_arn, canned_acl })
}

fn nats(m: &Members<'_>) -> Result<Action, ApiError> {
    let server = m.required("server")?.to_owned();
    let subject = m.required("subject")?.to_owned();
    let headers = headers(m)?;
    Ok(Action::Nats { server, subject, headers })
}

fn file(m: &Members<'_>) -> Result<Action, ApiError> {
    Ok(Action::File { path: m.required("path")?.to_owned() })
}

fn headers(m: &Members<'_>) -> Result<Vec<Header>, ApiError> {
    let headers = m.nested_list("headers", |item| {
        let (key, value) = (item.required("key")?.to_owned(), item.required("value")?.to_owned());
        Ok(Header { key, value })
    })?;
    Ok(headers.unwrap_or_default())
}

fn refuse(m: &Members<'_>, v: &mut Violations, name: &str, why: &str) {
    if m.has(name) {
        v.add(&m.path(name), format!("Member must not be set: {why}"));
    }
}
