//! Which options of CoAP may an application set beside those that every message has? Conditions,
//! tags, ages, and how much of an answer is wanted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tidegate_coap::option::Number;
use tidegate_coap::option::list::uint;

use super::error::ApiError;
use super::validate::{Form, Members, Rule, Violations};
use crate::model::{CoapOption, Method};

/// An ETag: 1 to 8 bytes as base64 (RFC 7252 section 5.10.6).
pub const ETAG: Rule = Rule {
    min: 4,
    max: 12,
    form: Form::Words("base64 of 1 to 8 bytes", TAG, |text| is_tag(text, 1)),
};
/// What If-Match carries: an ETag, or nothing, which any representation has (section 5.10.8.1).
pub const IF_MATCH: Rule = Rule {
    min: 0,
    max: 12,
    form: Form::Words("base64 of 0 to 8 bytes", TAG, |text| is_tag(text, 0)),
};
const TAG: &str = "([A-Za-z0-9+/]{4}){0,2}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?";
/// Most tags in one message.
pub const TAGS_MAX: usize = 8;
/// Every class of responses that RFC 7967 knows.
pub const NO_RESPONSE_MAX: i64 = 26;

fn is_tag(text: &str, least: usize) -> bool {
    STANDARD.decode(text).is_ok_and(|tag| (least..=8).contains(&tag.len()))
}

/// Those of a request.
pub fn of_request(
    coap: &Members<'_>,
    method: Method,
    violations: &mut Violations,
) -> Result<Vec<CoapOption>, ApiError> {
    let mut options = Vec::new();
    tags(coap, "IfMatch", Number::IF_MATCH, &mut options)?;
    tags(coap, "ETags", Number::ETAG, &mut options)?;
    if coap.boolean("IfNoneMatch")? == Some(true) {
        options.push(CoapOption::new(Number::IF_NONE_MATCH, &[]));
    }
    for (name, number) in
        [("Observe", Number::OBSERVE), ("HopLimit", Number::HOP_LIMIT), ("NoResponse", NO_RESPONSE)]
    {
        number_of(coap, name, number, &mut options)?;
    }
    if coap.has("Observe") && !matches!(method, Method::Get | Method::Fetch) {
        violations.add(&coap.path("Observe"), "Member must be set with GET or FETCH only");
    }
    if coap.integer("NoResponse")?.is_some_and(|bits| bits & !NO_RESPONSE_MAX != 0) {
        violations.add(&coap.path("NoResponse"), "Member must be a sum of 2, 8 and 16");
    }
    refuse(coap, &["MaxAge", "LocationQuery"], "an answer", violations);
    Ok(options)
}

/// Those of an answer.
pub fn of_response(
    coap: &Members<'_>,
    location_query: Vec<String>,
    violations: &mut Violations,
) -> Result<Vec<CoapOption>, ApiError> {
    let mut options = Vec::new();
    tags(coap, "ETags", Number::ETAG, &mut options)?;
    if options.len() > 1 {
        violations.add(&coap.path("ETags"), "Member must have one tag in an answer");
    }
    number_of(coap, "MaxAge", Number::MAX_AGE, &mut options)?;
    let query = location_query.iter();
    options.extend(query.map(|part| CoapOption::new(Number::LOCATION_QUERY, part.as_bytes())));
    let of_requests = ["IfMatch", "IfNoneMatch", "Observe", "HopLimit", "NoResponse"];
    refuse(coap, &of_requests, "a request", violations);
    Ok(options)
}

/// The same as the API shows them.
pub fn listed(options: &[CoapOption], coap: &mut Map<String, Value>) {
    for (name, number) in [("IfMatch", Number::IF_MATCH), ("ETags", Number::ETAG)] {
        let of_number = options.iter().filter(|option| option.number == number.0);
        let tags: Vec<_> = of_number.map(|option| STANDARD.encode(&option.value)).collect();
        if !tags.is_empty() {
            coap.insert(name.to_owned(), json!(tags));
        }
    }
    for option in options {
        let name = match Number(option.number) {
            Number::IF_NONE_MATCH => {
                coap.insert("IfNoneMatch".to_owned(), json!(true));
                continue;
            }
            Number::OBSERVE => "Observe",
            Number::HOP_LIMIT => "HopLimit",
            NO_RESPONSE => "NoResponse",
            _ => continue,
        };
        coap.insert(name.to_owned(), json!(uint(&option.value)));
    }
}

const NO_RESPONSE: Number = Number::NO_RESPONSE;

fn tags(
    coap: &Members<'_>,
    name: &str,
    number: Number,
    options: &mut Vec<CoapOption>,
) -> Result<(), ApiError> {
    for text in coap.texts(name)?.unwrap_or_default() {
        let tag = STANDARD.decode(text).unwrap_or_default();
        options.push(CoapOption::new(number, &tag));
    }
    Ok(())
}

fn number_of(
    coap: &Members<'_>,
    name: &str,
    number: Number,
    options: &mut Vec<CoapOption>,
) -> Result<(), ApiError> {
    if let Some(value) = coap.integer(name)?.and_then(|value| u32::try_from(value).ok()) {
        options.push(CoapOption::uint(number, value));
    }
    Ok(())
}

fn refuse(coap: &Members<'_>, names: &[&str], of: &str, violations: &mut Violations) {
    for name in names.iter().filter(|name| coap.has(name)) {
        violations.add(&coap.path(name), format!("Member must be set in {of} only"));
    }
}
