//! AssociateWirelessDeviceWithThing, DisassociateWirelessDeviceFromThing,
//! DeregisterWirelessDevice, GetWirelessDeviceStatistics, TestWirelessDevice: what do they
//! read and answer?

use serde_json::json;
use warp::http::StatusCode;

use super::error::ApiError;
use super::{Api, Call, Reply, shape};
use crate::control::Trial;

/// `PUT /wireless-devices/{Id}/thing`
pub async fn associate(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    api.control.associate(id, call.members().required("ThingArn")?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /wireless-devices/{Id}/thing`
pub async fn disassociate(api: &Api, id: &str) -> Result<Reply, ApiError> {
    api.control.disassociate(id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `PATCH /wireless-devices/{Identifier}/deregister`
pub async fn deregister(api: &Api, id: &str) -> Result<Reply, ApiError> {
    api.control.deregister(id).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

/// `POST /wireless-devices/{Id}/test`: a message as the device would send it, through its
/// destination.
pub async fn test(api: &Api, id: &str) -> Result<Reply, ApiError> {
    let result = match api.control.test_device(id).await? {
        Trial::Published => "Test succeeded. One message is sent with payload: Hello".to_owned(),
        Trial::NoRoute => "Test failed: the device's destination leads nowhere".to_owned(),
        Trial::Unavailable => "Test failed: the message could not be published".to_owned(),
    };
    Ok(Reply::json(StatusCode::OK, json!({ "Result": result })))
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
