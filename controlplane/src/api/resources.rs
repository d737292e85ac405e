//! PutWirelessDeviceResource, ListWirelessDeviceResources, DeleteWirelessDeviceResource, which are
//! ours: what the edge has for a device to read and observe.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::downlink::{format_number, payload, segments};
use super::error::ApiError;
use super::queue::format_name;
use super::validate::{NOT_NULL, Violations};
use super::{Api, Call, Reply, page, shape};
use crate::model::{EdgeResource, NewEdgeResource, PayloadReference, RESOURCE_MAX_AGE_S};

/// `PUT /wireless-devices/{Id}/resources`
pub async fn put(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let body = call.members();
    let mut violations = Violations::default();
    let payload = payload(&body, &mut violations)?;
    let reference = body.owned("PayloadReference")?;
    match (&payload, &reference) {
        (None, None) => violations.add("PayloadData", NOT_NULL),
        (Some(_), Some(_)) => {
            violations.add("PayloadReference", "Member must stand in the place of PayloadData");
        }
        _ => {}
    }
    let path = segments(&body, "UriPaths", &mut violations)?;
    violations.check()?;
    let max_age_s = body.integer("MaxAge")?.and_then(|s| u32::try_from(s).ok());
    let resource = NewEdgeResource {
        path,
        content_format: format_number(&body, "ContentFormat")?,
        max_age_s: max_age_s.unwrap_or(RESOURCE_MAX_AGE_S),
        payload: payload.unwrap_or_default(),
        reference: reference.map(PayloadReference::to),
    };
    let tag = api.control.set_resource(id, resource).await?;
    Ok(Reply::json(StatusCode::OK, json!({ "ETag": STANDARD.encode(tag) })))
}

/// `GET /wireless-devices/{Id}/resources`
pub async fn list(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let page = page::request(&call.query, LIST)?;
    let found = api.control.resources(id, page).await?;
    Ok(Reply::json(StatusCode::OK, page::answer(found, LIST, listed)))
}

/// `DELETE /wireless-devices/{Id}/resources?uriPath=`
pub async fn delete(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    api.control.delete_resource(id, call.query.first("uriPath").unwrap_or_default()).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The list's name in answers.
const LIST: &str = "WirelessDeviceResourceList";

fn listed(resource: EdgeResource) -> Value {
    let mut body = Map::new();
    let path: Vec<_> = resource.path.split('/').collect();
    body.insert("UriPaths".to_owned(), json!(path));
    let (name, value) = match &resource.reference {
        None => ("PayloadData", STANDARD.encode(&resource.payload)),
        Some(reference) => ("PayloadReference", reference.url.clone()),
    };
    body.insert(name.to_owned(), json!(value));
    if let Some(format) = resource.content_format {
        body.insert("ContentFormat".to_owned(), json!(format_name(format)));
    }
    body.insert("MaxAge".to_owned(), json!(resource.max_age_s));
    body.insert("ETag".to_owned(), json!(STANDARD.encode(resource.tag())));
    body.insert("ChangedAt".to_owned(), json!(shape::iso8601(resource.changed_unix_ms)));
    Value::Object(body)
}
