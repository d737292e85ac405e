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
use super::validate::{Form, Members, NOT_NULL, Rule, Violations, parse_body};
use super::{Api, Call, Reply};
use crate::control::PAYLOAD_BYTES_MAX;
use crate::model::{
    Downlink, DownlinkRequest, DownlinkResponse, MessageType, Method, Priority, QueueMode,
    TTL_S_MAX,
};

/// `POST /wireless-devices/{Id}/data`
pub async fn send(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let body = parse_body(&call.body)?;
    let downlink = read(&Members::of_body(&body))?;
    let message = api.control.send(id, downlink).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, json!({ "MessageId": message.to_string() })))
}

fn read(body: &Members<'_>) -> Result<Downlink, ApiError> {
    let mut violations = Violations::default();
    let transmit_mode = body.integer("TransmitMode", 0..=1, &mut violations)?;
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
    if downlink.is_none() {
        violations.add("CoAP", format!("{NOT_NULL} (is the client's model extended?)"));
    }
    violations.check()?;
    downlink.ok_or_else(ApiError::unknown_operation)
}

fn request(
    coap: &Members<'_>,
    transmit_mode: Option<i64>,
    payload: Option<Vec<u8>>,
    violations: &mut Violations,
) -> Result<DownlinkRequest, ApiError> {
    let message_type = coap.checked("MessageType", &MESSAGE_TYPE, violations)?;
    let non_confirmable = match message_type {
        Some(text) => text == "NON_CONFIRMABLE",
        None => transmit_mode == Some(0),
    };
    let method = match coap.required("RequestMethod", &REQUEST_METHOD, violations)? {
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        _ => Method::Get,
    };
    if payload.is_none() && matches!(method, Method::Post | Method::Put) {
        violations.add("PayloadData", NOT_NULL);
    }
    let queue_mode = coap.integer("QueueMode", 0..=1, violations)?;
    let ttl_s = coap.integer("TtlSeconds", 1..=i64::from(TTL_S_MAX), violations)?;
    let priority = coap.checked("Priority", &PRIORITY, violations)?;
    let priority = Priority::ALL.into_iter().find(|level| Some(level.as_str()) == priority);
    Ok(DownlinkRequest {
        message_type: if non_confirmable {
            MessageType::NonConfirmable
        } else {
            MessageType::Confirmable
        },
        method,
        uri_paths: segments(coap, "UriPaths", violations)?,
        uri_query: uri_query(coap, violations)?,
        content_format: format_number(coap, "ContentFormat", violations)?,
        accept: format_number(coap, "Accept", violations)?,
        priority: priority.unwrap_or_default(),
        ttl_s: ttl_s.and_then(|s| u32::try_from(s).ok()),
        queue_mode: if queue_mode == Some(1) { QueueMode::Queued } else { QueueMode::Immediate },
        payload: payload.unwrap_or_default(),
    })
}

fn response(
    coap: &Members<'_>,
    payload: Option<Vec<u8>>,
    violations: &mut Violations,
) -> Result<DownlinkResponse, ApiError> {
    let token = coap.required("ResponseToken", &RESPONSE_TOKEN, violations)?.to_owned();
    let status = coap.required("ResponseStatus", &RESPONSE_STATUS, violations)?;
    let _ = coap.checked("MessageType", &MESSAGE_TYPE, violations)?;
    let _ = coap.integer("QueueMode", 0..=1, violations)?;
    Ok(DownlinkResponse {
        token,
        // What is no response code has violated its rule already.
        status: Code::parse_response(status).map_or(0, |code| code.0),
        location_path: segments(coap, "LocationPath", violations)?,
        content_format: format_number(coap, "ContentFormat", violations)?,
        payload: payload.unwrap_or_default(),
    })
}

fn payload(body: &Members<'_>, violations: &mut Violations) -> Result<Option<Vec<u8>>, ApiError> {
    let Some(text) = body.checked("PayloadData", &PAYLOAD_DATA, violations)? else {
        return Ok(None);
    };
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if bytes.len() > PAYLOAD_BYTES_MAX {
        let constraint = format!("Member must decode to at most {PAYLOAD_BYTES_MAX} bytes");
        violations.add("PayloadData", constraint);
    }
    Ok(Some(bytes))
}

/// Path segments. One entry may hold several: `sensors/temp` is what people write.
fn segments(
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

fn uri_query(coap: &Members<'_>, violations: &mut Violations) -> Result<Vec<String>, ApiError> {
    let pairs = coap.nested_list("UriQuery", |pair| {
        let key = pair.required("Key", &Rule::length(1, OPTION_BYTES_MAX), violations)?;
        let value = pair.text("Value")?;
        Ok(value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}")))
    })?;
    let pairs = pairs.unwrap_or_default();
    check_options(&coap.path("UriQuery"), &pairs, violations);
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
fn format_number(
    coap: &Members<'_>,
    name: &str,
    violations: &mut Violations,
) -> Result<Option<u16>, ApiError> {
    if let Ok(number) = coap.integer(name, 0..=65_535, violations) {
        return Ok(number.map(|number| number as u16));
    }
    let text = coap.checked(name, &CONTENT_FORMAT, violations)?;
    Ok(text.and_then(content_format::parse))
}

/// Longest value of Uri-Path, Uri-Query and Location-Path, bytes (RFC 7252 section 5.10).
const OPTION_BYTES_MAX: usize = 255;

/// Most options of one number. *Bound:* what fits one record anyway.
const OPTIONS_MAX: usize = 32;

const MESSAGE_TYPE: Rule = Rule::one_of(&["CONFIRMABLE", "NON_CONFIRMABLE"]);
const PRIORITY: Rule = Rule::one_of(&["URGENT", "HIGH", "NORMAL", "LOW"]);
const REQUEST_METHOD: Rule = Rule::one_of(&["GET", "PUT", "POST", "DELETE"]);
const RESPONSE_TOKEN: Rule = Rule::length(1, 256);
const RESPONSE_STATUS: Rule = Rule {
    min: 0,
    max: 64,
    form: Form::Pattern("a response code: CONTENT(2.05) or 2.05", |text| {
        Code::parse_response(text).is_some()
    }),
};
const CONTENT_FORMAT: Rule = Rule {
    min: 0,
    max: 128,
    form: Form::Pattern(
        "a CoAP Content-Format: its media type, application/json, or its number, 50",
        |text| content_format::parse(text).is_some(),
    ),
};
const PAYLOAD_DATA: Rule = Rule {
    min: 0,
    max: 2048,
    form: Form::Pattern(
        "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        |text| STANDARD.decode(text).is_ok(),
    ),
};

#[cfg(test)]
mod tests;
