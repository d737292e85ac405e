//! Event configurations: which events are told, of all devices and of one?
//!
//! They are kept in AWS's own shapes; [`crate::store::settings::events`] reads what counts.

use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::spec::{self, shapes};
use super::{Api, Call, Reply, page};
use crate::control::EVENTS_MAX;
use crate::model::{DeviceKey, Page};
use crate::store::keys;

/// `GET /event-configurations-resource-types`
pub async fn get(api: &Api) -> Result<Reply, ApiError> {
    let events: Map<String, Value> = api.control.setting(keys::EVENTS).await?;
    Ok(Reply::json(StatusCode::OK, Value::Object(events)))
}

/// `PATCH /event-configurations-resource-types`
pub async fn update(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let change: Value = spec::input(call, shapes::EVENTS)?;
    let before: Map<String, Value> = api.control.setting(keys::EVENTS).await?;
    let mut after = Value::Object(before);
    merge(&mut after, change);
    api.control.set(keys::EVENTS, &after).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /event-configurations/{Identifier}?identifierType=`
pub async fn get_own(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let id = device(api, call, id).await?;
    let own: Option<Value> = api.control.own_setting(&keys::resource_events(&id)).await?;
    Ok(Reply::json(StatusCode::OK, own.unwrap_or_else(|| json!({}))))
}

/// `PATCH /event-configurations/{Identifier}?identifierType=`
pub async fn update_own(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let change: Value = spec::input(call, shapes::RESOURCE_EVENTS)?;
    let id = device(api, call, id).await?;
    let key = keys::resource_events(&id);
    let before: Option<Value> = api.control.own_setting(&key).await?;
    let mut after = before.unwrap_or_else(|| json!({}));
    merge(&mut after, change);
    let place = (keys::RESOURCE_EVENTS, key.as_slice());
    api.control.set_own(place, EVENTS_MAX, &after).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /event-configurations?resourceType=`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let page = page::request(&call.query, LIST)?;
    let kind = call.query.first("resourceType");
    let found = if kind == Some("WirelessDevice") {
        api.control.own_settings::<Value>(keys::RESOURCE_EVENTS, page).await?
    } else {
        Page { items: Vec::new(), next: None }
    };
    let body = page::answer(
        found,
        LIST,
        |(id, events)| json!({ "Identifier": id, "IdentifierType": "WirelessDeviceId", "Events": events }),
    );
    Ok(Reply::json(StatusCode::OK, body))
}

/// The list's name in answers.
const LIST: &str = "EventConfigurationsList";
/// The device that is asked for; identifiers of other technologies name none here.
async fn device(api: &Api, call: &Call, id: &str) -> Result<String, ApiError> {
    let kind = call.query.first("identifierType");
    let key = if kind == Some("WirelessDeviceId") { id } else { "" };
    match api.control.device(DeviceKey::Id(key.to_owned())).await {
        Ok(device) => Ok(device.id.to_string()),
        Err(crate::model::Refused::NotFound { .. }) => {
            Err(ApiError::not_found("WirelessDevice", id))
        }
        Err(refused) => Err(refused.into()),
    }
}

/// What is given counts, what is not stays.
fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (name, value) in change {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let mut held = json!({ "Join": { "A": "Enabled", "B": "Enabled" } });
        merge(&mut held, json!({ "Join": { "A": "Disabled" }, "Proximity": { "C": "Enabled" } }));
        let expected = json!({ "Join": { "A": "Disabled", "B": "Enabled" },
            "Proximity": { "C": "Enabled" } });
        assert_eq!(held, expected);
    }
}
