//! CreatePayload, PutPayloadPart, GetPayload, ListPayloads, DeletePayload, which are ours: payloads
//! that are too long for one request come before the message that refers to them.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::downlink::payload;
use super::error::ApiError;
use super::validate::Violations;
use super::{Api, Call, Reply, page, shape};
use crate::model::Upload;

/// `POST /payloads`
pub async fn create(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = call.members();
    let bytes = body.integer("Bytes")?.and_then(|bytes| u32::try_from(bytes).ok());
    let upload = api.control.begin_upload(body.owned("Name")?, bytes.unwrap_or(0)).await?;
    Ok(Reply::json(StatusCode::CREATED, described(api, upload)))
}

/// `PUT /payloads/{Id}`
pub async fn put_part(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let body = call.members();
    let mut violations = Violations::default();
    let part = payload(&body, &mut violations)?.unwrap_or_default();
    violations.check()?;
    let at = body.integer("Offset")?.and_then(|at| u32::try_from(at).ok());
    let upload = api.control.take_part(id, at.unwrap_or(0), &part).await?;
    Ok(Reply::json(StatusCode::OK, described(api, upload)))
}

/// `GET /payloads/{Id}`
pub async fn get(api: &Api, id: &str) -> Result<Reply, ApiError> {
    let upload = api.control.upload(id).await?;
    Ok(Reply::json(StatusCode::OK, described(api, upload)))
}

/// `GET /payloads`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let found = api.control.uploads(page::request(&call.query, LIST)?).await?;
    let body = page::answer(found, LIST, |upload| described(api, upload));
    Ok(Reply::json(StatusCode::OK, body))
}

/// `DELETE /payloads/{Id}`
pub async fn delete(api: &Api, id: &str) -> Result<Reply, ApiError> {
    api.control.delete_upload(id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The list's name in answers.
const LIST: &str = "PayloadList";

fn described(api: &Api, upload: Upload) -> Value {
    let expires_unix_ms = upload.created_unix_ms + api.control.upload_age_ms();
    let mut body = json!({
        "Id": upload.id.to_string(),
        "PayloadReference": upload.url(),
        "Bytes": upload.bytes,
        "ReceivedBytes": upload.received,
        "CreatedAt": shape::iso8601(upload.created_unix_ms),
        "ExpiresAt": shape::iso8601(expires_unix_ms),
    });
    if let Some(name) = upload.name {
        body["Name"] = json!(name);
    }
    body
}
