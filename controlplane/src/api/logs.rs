//! Log levels: of all devices, of one. Read, changed, put back.

use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::spec::{self, shapes};
use super::{Api, Call, Reply};
use crate::control::LOG_LEVELS_MAX;
use crate::model::{LogLevels, ResourceLogLevel, ResourceType};
use crate::store::keys;

/// `GET /log-levels`
pub async fn get(api: &Api) -> Result<Reply, ApiError> {
    let levels: LogLevels = api.control.setting(keys::LOG_LEVELS).await?;
    Ok(Reply::json(StatusCode::OK, json!(levels)))
}

/// `POST /log-levels`: what is given replaces what was there, whole lists too.
pub async fn update(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let change: Map<String, Value> = spec::input(call, shapes::LOG_LEVELS)?;
    let before: LogLevels = api.control.setting(keys::LOG_LEVELS).await?;
    let mut after = json!(before);
    for (name, value) in change {
        after[name] = value;
    }
    let after: LogLevels = serde_json::from_value(after)
        .map_err(|_| ApiError::serialization("The body has members of another type."))?;
    api.control.set(keys::LOG_LEVELS, &after).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

/// `GET /log-levels/{ResourceIdentifier}?resourceType=`
pub async fn get_own(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let key = key(api, call, id).await?;
    let own: Option<ResourceLogLevel> = api.control.own_setting(&key).await?;
    let own = own.ok_or_else(|| ApiError::not_found("LogLevel", id))?;
    Ok(Reply::json(StatusCode::OK, json!(own)))
}

/// `PUT /log-levels/{ResourceIdentifier}?resourceType=`
pub async fn put_own(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let own: ResourceLogLevel = spec::input(call, shapes::RESOURCE_LOG_LEVEL)?;
    let key = key(api, call, id).await?;
    let place = (keys::RESOURCE_LOG_LEVELS, key.as_slice());
    api.control.set_own(place, LOG_LEVELS_MAX, &own).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

/// `DELETE /log-levels/{ResourceIdentifier}?resourceType=`
pub async fn reset_own(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let key = key(api, call, id).await?;
    api.control.forget_own(&key).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /log-levels`
pub async fn reset_all(api: &Api) -> Result<Reply, ApiError> {
    api.control.forget_all_own(keys::RESOURCE_LOG_LEVELS).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Where the level of a resource lies; there are devices here and no gateways.
async fn key(api: &Api, call: &Call, id: &str) -> Result<Vec<u8>, ApiError> {
    let kind = call.query.first("resourceType").unwrap_or_default();
    if kind != "WirelessDevice" {
        return Err(ApiError::not_found(kind_of(kind), id));
    }
    let id = api.control.has_device(id).await?;
    Ok(keys::resource_log_level(kind, &id))
}

fn kind_of(kind: &str) -> &'static str {
    match kind {
        "WirelessGateway" => "WirelessGateway",
        "FuotaTask" => "FuotaTask",
        _ => ResourceType::WirelessDevice.as_str(),
    }
}
