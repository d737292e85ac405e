//! Put-, Get- and DeleteWirelessDevicePolicy, and the same of application profiles, which are ours:
//! what may a device, or every device of a profile, ask for over CoAP?
//!
//! The document travels as a string, as in AWS IoT's CreatePolicy; as an object it is taken too.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::{Api, Call, Reply, shape};
use crate::control::PolicyOf;
use crate::policy::Scope;

/// `PUT /wireless-devices/{Id}/policy`, `PUT /application-profiles/{Id}/policy`
pub async fn put(api: &Api, call: &Call, of: PolicyOf<'_>) -> Result<Reply, ApiError> {
    let json = call.json.as_ref().map_err(ApiError::clone)?;
    let document = match json.get(DOCUMENT) {
        Some(Value::String(text)) => text.clone(),
        Some(object) => object.to_string(),
        None => String::new(),
    };
    api.control.put_policy(of, &document, scope(api)).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `GET …/policy`
pub async fn get(api: &Api, of: PolicyOf<'_>) -> Result<Reply, ApiError> {
    let policy = api.control.policy(of).await?;
    let changed = shape::iso8601(policy.changed_unix_ms);
    let body = json!({ DOCUMENT: policy.document, "LastModifiedAt": changed });
    Ok(Reply::json(StatusCode::OK, body))
}

/// `DELETE …/policy`
pub async fn delete(api: &Api, of: PolicyOf<'_>) -> Result<Reply, ApiError> {
    api.control.delete_policy(of).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

const DOCUMENT: &str = "PolicyDocument";

fn scope(api: &Api) -> Scope<'_> {
    let aws = &api.aws;
    Scope { partition: &aws.partition, region: &aws.region, account: &aws.account_id }
}
