//! AssociateWirelessDeviceWithThing, DisassociateWirelessDeviceFromThing,
//! DeregisterWirelessDevice, GetWirelessDeviceStatistics: what do they read and answer?

use serde_json::json;
use warp::http::StatusCode;

use super::error::ApiError;
use super::queue::check_type;
use super::validate::{Members, Rule, Violations, parse_body};
use super::{Api, Call, Reply, shape};

/// `PUT /wireless-devices/{Id}/thing`
pub async fn associate(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    let arn = body.required("ThingArn", &Rule::length(0, 2048), &mut violations)?;
    violations.check()?;
    api.control.associate(id, arn).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /wireless-devices/{Id}/thing`
pub async fn disassociate(api: &Api, id: &str) -> Result<Reply, ApiError> {
    api.control.disassociate(id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `PATCH /wireless-devices/{Identifier}/deregister`
pub async fn deregister(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    check_type(call)?;
    api.control.deregister(id).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

/// `GET /wireless-devices/{Id}/statistics`
pub async fn statistics(api: &Api, id: &str) -> Result<Reply, ApiError> {
    let last = api.control.last_uplink(id).await?;
    let mut body = json!({ "WirelessDeviceId": id });
    if let Some(unix_ms) = last {
        body["LastUplinkReceivedAt"] = json!(shape::iso8601(unix_ms));
    }
    Ok(Reply::json(StatusCode::OK, body))
}
