//! Application profiles, which are ours: Create, Get, List, Update, Delete.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::downlink::format_number;
use super::error::ApiError;
use super::queue::format_name;
use super::validate::Members;
use super::{Api, Call, Reply, page, shape};
use crate::model::{ApplicationProfile, Holds, Initial, LayoutRow, ProfileTerms, TERM_RULES};

/// `POST /application-profiles`
pub async fn create(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = call.members();
    let (name, terms, tags) = (body.owned("Name")?, terms(&body)?, shape::tags(&body)?);
    let token = body.text("ClientRequestToken")?;
    let made = api.control.create_profile(name, terms, tags, token).await?;
    let id = made.id.to_string();
    let arn = api.aws.arn("ApplicationProfile", &id);
    Ok(Reply::json(StatusCode::CREATED, json!({ "Arn": arn, "Id": id })))
}

/// `GET /application-profiles/{Id}`
pub async fn get(api: &Api, id: &str) -> Result<Reply, ApiError> {
    let profile = api.control.profile(id).await?;
    Ok(Reply::json(StatusCode::OK, described(api, profile)))
}

/// `GET /application-profiles`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let found = api.control.profiles(page::request(&call.query, LIST)?).await?;
    let body = page::answer(found, LIST, |profile| Value::Object(summarised(api, &profile)));
    Ok(Reply::json(StatusCode::OK, body))
}

/// `PATCH /application-profiles/{Id}`
pub async fn update(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let body = call.members();
    api.control.update_profile(id, body.owned("Name")?, terms(&body)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /application-profiles/{Id}`
pub async fn delete(api: &Api, id: &str) -> Result<Reply, ApiError> {
    api.control.delete_profile(id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The list's name in answers.
const LIST: &str = "ApplicationProfileList";

const ACK_RANDOM_FACTOR: &str = "AckRandomFactor";
const LAYOUT: &str = "ResourceLayout";
const EVENT: &str = "Event";
const LAST_VALUE: &str = "LastValue";

fn terms(body: &Members<'_>) -> Result<ProfileTerms, ApiError> {
    let mut terms = ProfileTerms::default();
    for rule in &TERM_RULES {
        let number = body.integer(rule.name)?;
        *(rule.of)(&mut terms) = number.and_then(|number| u32::try_from(number).ok());
    }
    terms.layout = body.nested_list(LAYOUT, layout_row)?;
    if let Some(factor) = body.number(ACK_RANDOM_FACTOR)? {
        terms.ack_random_percent = Some((factor * 100.0).round() as u32);
    }
    Ok(terms)
}

fn layout_row(row: Members<'_>) -> Result<LayoutRow, ApiError> {
    let payload = row.text("InitialPayload")?.map(|text| STANDARD.decode(text).unwrap_or_default());
    let content_format = format_number(&row, "ContentFormat")?;
    Ok(LayoutRow {
        path: row.required("Path")?.trim_start_matches('/').to_owned(),
        holds: if row.required("Holds")? == EVENT { Holds::Event } else { Holds::LastValue },
        initial: payload.map(|payload| Initial { payload, content_format }),
    })
}

fn layout(rows: Vec<LayoutRow>) -> Value {
    let row = |row: LayoutRow| {
        let holds = if row.holds == Holds::Event { EVENT } else { LAST_VALUE };
        let mut body = json!({ "Path": row.path, "Holds": holds });
        if let Some(Initial { payload, content_format }) = row.initial {
            body["InitialPayload"] = json!(STANDARD.encode(payload));
            if let Some(format) = content_format {
                body["ContentFormat"] = json!(format_name(format));
            }
        }
        body
    };
    rows.into_iter().map(row).collect()
}

fn summarised(api: &Api, profile: &ApplicationProfile) -> Map<String, Value> {
    let id = profile.id.to_string();
    let mut body = Map::new();
    body.insert("Arn".to_owned(), json!(api.aws.arn("ApplicationProfile", &id)));
    body.insert("Id".to_owned(), json!(id));
    if let Some(name) = &profile.name {
        body.insert("Name".to_owned(), json!(name));
    }
    body
}

fn described(api: &Api, mut profile: ApplicationProfile) -> Value {
    let mut body = summarised(api, &profile);
    for rule in &TERM_RULES {
        if let Some(value) = *(rule.of)(&mut profile.terms) {
            body.insert(rule.name.to_owned(), json!(value));
        }
    }
    if let Some(rows) = profile.terms.layout {
        body.insert(LAYOUT.to_owned(), layout(rows));
    }
    if let Some(percent) = profile.terms.ack_random_percent {
        body.insert(ACK_RANDOM_FACTOR.to_owned(), json!(f64::from(percent) / 100.0));
    }
    Value::Object(body)
}
