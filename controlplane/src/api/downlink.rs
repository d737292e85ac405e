//! SendDataToWirelessDevice: which CoAP message does the application want at the device?
//!
//! `RequestMethod` makes a request for the device's CoAP server; `ResponseStatus` with
//! `ResponseToken` answers a GET or POST of the device. Without a `CoAP` member nothing is sent:
//! clients with AWS's own model drop it silently, and a guess would reach the device.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tidegate_coap::code::Code;
use tidegate_coap::content_format;
use warp::http::StatusCode;

use super::error::ApiError;
use super::validate::{Members, NOT_NULL, Violations};
use super::{Api, Call, Reply, options};
use crate::control::PAYLOAD_BYTES_MAX;
use crate::model::{
    Downlink, DownlinkRequest, DownlinkResponse, MessageType, Method, PayloadReference, Priority,
    QueueMode,
};

/// `POST /wireless-devices/{Id}/data`
pub async fn send(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let downlink = read(&call.members())?;
    let message = api.control.send(id, downlink).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, json!({ "MessageId": message.to_string() })))
}

fn read(body: &Members<'_>) -> Result<Downlink, ApiError> {
    let mut violations = Violations::default();
    let transmit_mode = body.integer("TransmitMode")?;
    let payload = payload(body, &mut violations)?;
    let downlink = body.nested("CoAP", |coap| {
        let is_response = coap.has("ResponseStatus") || coap.has("ResponseToken");
        if is_response && coap.has("RequestMethod") {
            let constraint = "Member must not be set together with RequestMethod";
            violations.add(&coap.path("ResponseStatus"), constraint);
        }
        if is_response {
            response(&coap, payload, &mut violations).map(Downlink::Response)
        } else {
            request(&coap, transmit_mode, payload, &mut violations).map(Downlink::Request)
        }
    })?;
    violations.check()?;
    downlink.ok_or_else(ApiError::unknown_operation)
}

fn request(
    coap: &Members<'_>,
    transmit_mode: Option<i64>,
    payload: Option<Vec<u8>>,
    violations: &mut Violations,
) -> Result<DownlinkRequest, ApiError> {
    let non_confirmable = match coap.text("MessageType")? {
        Some(text) => text == "NON_CONFIRMABLE",
        None => transmit_mode == Some(0),
    };
    needs(coap, "RequestMethod", violations);
    let method = coap.required("RequestMethod")?;
    let method = Method::ALL.into_iter().find(|known| known.as_str() == method);
    let method = method.unwrap_or(Method::Get);
    let reference = coap.owned("PayloadReference")?;
    let has_body = !matches!(method, Method::Get | Method::Delete);
    if payload.is_none() && reference.is_none() && has_body {
        violations.add("PayloadData", NOT_NULL);
    }
    if reference.is_some() && (payload.is_some() || !has_body) {
        let constraint =
            "Member must stand in the place of PayloadData, and not with GET or DELETE";
        violations.add(&coap.path("PayloadReference"), constraint);
    }
    let priority = coap.text("Priority")?;
    let priority = Priority::ALL.into_iter().find(|level| Some(level.as_str()) == priority);
    let is_queued = coap.integer("QueueMode")? == Some(1);
    Ok(DownlinkRequest {
        message_type: if non_confirmable {
            MessageType::NonConfirmable
        } else {
            MessageType::Confirmable
        },
        method,
        uri_paths: segments(coap, "UriPaths", violations)?,
        uri_query: pairs(coap, "UriQuery", violations)?,
        content_format: format_number(coap, "ContentFormat")?,
        accept: format_number(coap, "Accept")?,
        options: options::of_request(coap, method, violations)?,
        priority: priority.unwrap_or_default(),
        ttl_s: coap.integer("TtlSeconds")?.and_then(|s| u32::try_from(s).ok()),
        queue_mode: if is_queued { QueueMode::Queued } else { QueueMode::Immediate },
        payload: payload.unwrap_or_default(),
        reference: reference.map(PayloadReference::to),
    })
}

fn response(
    coap: &Members<'_>,
    payload: Option<Vec<u8>>,
    violations: &mut Violations,
) -> Result<DownlinkResponse, ApiError> {
    needs(coap, "ResponseToken", violations);
    needs(coap, "ResponseStatus", violations);
    let location_query = pairs(coap, "LocationQuery", violations)?;
    let reference = coap.owned("PayloadReference")?;
    if reference.is_some() && payload.is_some() {
        let constraint = "Member must stand in the place of PayloadData";
        violations.add(&coap.path("PayloadReference"), constraint);
    }
    Ok(DownlinkResponse {
        token: coap.required("ResponseToken")?.to_owned(),
        status: Code::parse_response(coap.required("ResponseStatus")?).map_or(0, |code| code.0),
        location_path: segments(coap, "LocationPath", violations)?,
        content_format: format_number(coap, "ContentFormat")?,
        options: options::of_response(coap, location_query, violations)?,
        payload: payload.unwrap_or_default(),
        reference: reference.map(PayloadReference::to),
    })
}

/// What a request has to have, or an answer: the shape is of both.
fn needs(coap: &Members<'_>, name: &str, violations: &mut Violations) {
    if !coap.has(name) {
        violations.add(&coap.path(name), NOT_NULL);
    }
}

pub(super) fn payload(
    body: &Members<'_>,
    violations: &mut Violations,
) -> Result<Option<Vec<u8>>, ApiError> {
    let Some(text) = body.text("PayloadData")? else { return Ok(None) };
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if bytes.len() > PAYLOAD_BYTES_MAX {
        let constraint = format!("Member must decode to at most {PAYLOAD_BYTES_MAX} bytes");
        violations.add("PayloadData", constraint);
    }
    Ok(Some(bytes))
}

/// Path segments. One entry may hold several: `sensors/temp` is what people write.
pub(super) fn segments(
    coap: &Members<'_>,
    name: &str,
    violations: &mut Violations,
) -> Result<Vec<String>, ApiError> {
    let mut segments = Vec::new();
    for text in coap.texts(name)?.unwrap_or_default() {
        let parts = text.strip_prefix('/').unwrap_or(text).split('/');
        segments.extend(parts.map(ToOwned::to_owned));
    }
    check_options(&coap.path(name), &segments, violations);
    if segments.iter().any(|segment| segment == "." || segment == "..") {
        violations.add(&coap.path(name), "Member must not have a segment '.' or '..'");
    }
    Ok(segments)
}

/// Arguments of a query: `key=value`, or a key alone.
fn pairs(
    coap: &Members<'_>,
    name: &str,
    violations: &mut Violations,
) -> Result<Vec<String>, ApiError> {
    let pairs = coap.nested_list(name, |pair| {
        let key = pair.required("Key")?;
        let value = pair.text("Value")?;
        Ok(value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}")))
    })?;
    let pairs = pairs.unwrap_or_default();
    check_options(&coap.path(name), &pairs, violations);
    Ok(pairs)
}

/// What a repeated string option can carry (RFC 7252 section 5.10), and how many we take.
fn check_options(path: &str, values: &[String], violations: &mut Violations) {
    if values.len() > OPTIONS_MAX {
        let constraint = format!("Member must have length less than or equal to {OPTIONS_MAX}");
        violations.add(path, constraint);
    }
    if values.iter().any(|value| value.len() > OPTION_BYTES_MAX) {
        let constraint =
            format!("Member must not have a part longer than {OPTION_BYTES_MAX} bytes");
        violations.add(path, constraint);
    }
}

/// A content format by name or number; numbers may come as JSON numbers.
pub(super) fn format_number(coap: &Members<'_>, name: &str) -> Result<Option<u16>, ApiError> {
    if let Ok(number) = coap.integer(name) {
        return Ok(number.and_then(|number| u16::try_from(number).ok()));
    }
    Ok(coap.text(name)?.and_then(content_format::parse))
}

/// Longest value of Uri-Path, Uri-Query and Location-Path, bytes (RFC 7252 section 5.10).
pub(super) const OPTION_BYTES_MAX: usize = 255;

/// Most options of one number. *Bound:* what fits one record anyway.
pub(super) const OPTIONS_MAX: usize = 32;

#[cfg(test)]
mod tests;
