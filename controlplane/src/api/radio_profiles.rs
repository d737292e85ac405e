//! Device and service profiles, which say how a radio is used: CoAP devices have none, so none
//! can be made, and none is there. What says how CoAP is spoken is an application profile.

use serde_json::Value;

use super::error::ApiError;
use super::validate::Violations;
use super::{Call, Reply, page};
use crate::model::Page;
use warp::http::StatusCode;

/// `POST /device-profiles`, `POST /service-profiles`
pub fn create() -> Result<Reply, ApiError> {
    let mut violations = Violations::default();
    let constraint = "Member must be null: CoAP devices have application profiles \
        (CreateApplicationProfile)";
    violations.add("LoRaWAN", constraint);
    violations.check()?;
    Err(ApiError::unknown_operation())
}

/// `GET /device-profiles`, `GET /service-profiles`
pub fn list(call: &Call, name: &str) -> Result<Reply, ApiError> {
    page::request(&call.query, name)?;
    let none = Page { items: Vec::<Value>::new(), next: None };
    Ok(Reply::json(StatusCode::OK, page::answer(none, name, |none| none)))
}

/// One of them.
pub fn missing(kind: &'static str, id: &str) -> Result<Reply, ApiError> {
    Err(ApiError::not_found(kind, id))
}
