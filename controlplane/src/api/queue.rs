//! ListQueuedMessages, DeleteQueuedMessages, and ours: GetMessageStatus.

use serde_json::{Map, Value, json};
use tidegate_coap::content_format;
use warp::http::StatusCode;

use super::error::ApiError;
use super::{Api, Call, Reply, options, page, shape};
use crate::model::{MessageState, MessageStatus, MessageType, QueueMode, QueuedMessage, Wait};

/// `GET /wireless-devices/{Id}/data`
pub async fn list(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let page = page::request(&call.query, LIST)?;
    let found = api.control.queued_messages(id, page).await?;
    let body = page::answer(found, LIST, listed);
    Ok(Reply::json(StatusCode::OK, body))
}

/// `DELETE /wireless-devices/{Id}/data?messageId=`, `*` for all that were not sent yet.
pub async fn delete(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let message = call.query.first("messageId").unwrap_or_default();
    if message == "*" {
        api.control.delete_queued_messages(id).await?;
    } else {
        api.control.delete_queued_message(id, message).await?;
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /wireless-devices/{Id}/data/{MessageId}`
pub async fn status(api: &Api, id: &str, message: &str) -> Result<Reply, ApiError> {
    let (status, wait) = api.control.message_status(id, message).await?;
    Ok(Reply::json(StatusCode::OK, described(&status, wait)))
}

/// The list's name in answers.
const LIST: &str = "DownlinkQueueMessagesList";

fn listed(message: QueuedMessage) -> Value {
    let request = message.request;
    let confirmable = request.message_type == MessageType::Confirmable;
    let query: Vec<Value> = request
        .uri_query
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => json!({ "Key": key, "Value": value }),
            None => json!({ "Key": pair }),
        })
        .collect();
    let mut coap = Map::new();
    coap.insert(
        "MessageType".into(),
        json!(if confirmable { "CONFIRMABLE" } else { "NON_CONFIRMABLE" }),
    );
    coap.insert("RequestMethod".into(), json!(request.method.as_str()));
    coap.insert("UriPaths".into(), json!(request.uri_paths));
    coap.insert("UriQuery".into(), json!(query));
    if let Some(number) = request.content_format {
        coap.insert("ContentFormat".into(), json!(format_name(number)));
    }
    if let Some(number) = request.accept {
        coap.insert("Accept".into(), json!(format_name(number)));
    }
    options::listed(&request.options, &mut coap);
    let queue_mode = u8::from(request.queue_mode == QueueMode::Queued);
    coap.insert("QueueMode".into(), json!(queue_mode));
    coap.insert("Priority".into(), json!(request.priority.as_str()));
    if let Some(unix_ms) = message.expires_unix_ms {
        coap.insert("ExpiresAt".into(), json!(shape::iso8601(unix_ms)));
    }
    coap.insert("Status".into(), json!(message.state.as_str()));
    if let Some(wait) = message.wait {
        coap.insert("WaitReason".into(), json!(wait.as_str()));
    }
    if let Some(reference) = request.reference {
        coap.insert("PayloadReference".into(), json!(reference.url));
    }
    json!({
        "MessageId": message.id.to_string(),
        "TransmitMode": u8::from(confirmable),
        "ReceivedAt": shape::iso8601(message.accepted_unix_ms),
        "CoAP": coap,
    })
}

fn described(status: &MessageStatus, wait: Option<Wait>) -> Value {
    let mut body = json!({
        "MessageId": status.id.to_string(),
        "WirelessDeviceId": status.device.to_string(),
        "Status": status.state.as_str(),
        "AcceptedAt": shape::iso8601(status.accepted_unix_ms),
    });
    if let MessageState::Failed(failure) = status.state {
        body["Reason"] = json!(failure.as_str());
    }
    if let Some(wait) = wait {
        body["WaitReason"] = json!(wait.as_str());
    }
    let times = [
        ("ExpiresAt", status.expires_unix_ms),
        ("SentAt", status.sent_unix_ms),
        ("DeliveredAt", status.delivered_unix_ms),
        ("EndedAt", status.ended_unix_ms),
    ];
    for (name, unix_ms) in times {
        if let Some(unix_ms) = unix_ms {
            body[name] = json!(shape::iso8601(unix_ms));
        }
    }
    body
}

/// The registered name of a content format, or its number.
pub(super) fn format_name(number: u16) -> String {
    content_format::name(number).map_or_else(|| number.to_string(), ToOwned::to_owned)
}
