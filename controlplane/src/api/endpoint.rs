//! GetServiceEndpoint: where do devices connect?

use serde_json::json;
use warp::http::StatusCode;

use super::error::ApiError;
use super::{Api, Call, Reply};
use crate::identity::ServerPublicKey;

/// What the operator says about the endpoints. Nothing is guessed: a daemon behind NAT does not
/// know its own public name.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// `coaps://host:5684`.
    pub coap: Option<String>,
    /// A LoRaWAN configuration server run beside this one.
    pub cups: Option<String>,
    /// A LoRaWAN network server run beside this one.
    pub lns: Option<String>,
    /// What devices in mode RawPublicKey must know of the server.
    pub raw_key: Option<ServerPublicKey>,
}

/// `GET /service-endpoint?serviceType=`; CoAP when the type is left out. The raw key is told even
/// when the operator did not say where devices connect.
pub fn get(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let kind = call.query.first("serviceType").unwrap_or("COAP");
    let endpoint = match kind {
        "CUPS" => &api.endpoints.cups,
        "LNS" => &api.endpoints.lns,
        _ => &api.endpoints.coap,
    };
    let raw_key = api.endpoints.raw_key.as_ref().filter(|_| kind == "COAP");
    if endpoint.is_none() && raw_key.is_none() {
        return Err(ApiError::not_found("ServiceEndpoint", kind));
    }
    let mut body = json!({ "ServiceType": kind });
    if let Some(endpoint) = endpoint {
        body["ServiceEndpoint"] = json!(endpoint);
    }
    if let Some(key) = raw_key {
        body["ServerPublicKey"] = json!({
            "SubjectPublicKeyInfo": key.base64(), "Pem": key.pem(), "Sha256": key.sha256(),
        });
    }
    Ok(Reply::json(StatusCode::OK, body))
}
