//! CreateWirelessDevice, GetWirelessDevice, ListWirelessDevices, UpdateWirelessDevice,
//! DeleteWirelessDevice: what do they read and answer?
//!
//! The secret of a device is read here and never written.

use serde_json::{Map, Value, json};
use warp::http::StatusCode;
use zeroize::Zeroizing;

use super::error::ApiError;
use super::validate::{Members, NOT_NULL, Violations};
use super::{Api, Call, Reply, page, shape};
use crate::model::{
    Device, DeviceChange, DeviceFilter, DeviceKey, DeviceSummary, NetworkBlock, NewDevice,
    NewNetwork, Page, SecurityMode,
};

/// `POST /wireless-devices`
pub async fn create(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = call.members();
    let mut violations = Violations::default();
    let new = NewDevice {
        name: body.owned("Name")?,
        description: body.owned("Description")?,
        destination: body.required("DestinationName")?.to_owned(),
        cellular: network(&body, &CELLULAR, Needs::WholeKey, &mut violations)?,
        wifi: network(&body, &WIFI, Needs::WholeKey, &mut violations)?,
        positioning: body.owned("Positioning")?,
        application_profile: body.owned(PROFILE)?,
        tags: shape::tags(&body)?,
    };
    violations.check()?;
    let device = api.control.create_device(new, body.text(TOKEN)?).await?;
    let id = device.id.to_string();
    let arn = api.aws.arn("WirelessDevice", &id);
    Ok(Reply::json(StatusCode::CREATED, json!({ "Arn": arn, "Id": id })))
}

/// `GET /wireless-devices/{Identifier}?identifierType=`
pub async fn get(api: &Api, call: &Call, identifier: &str) -> Result<Reply, ApiError> {
    let text = identifier.to_owned();
    let key = match call.query.first("identifierType").unwrap_or_default() {
        "Imei" => DeviceKey::Imei(text),
        "MacAddress" => DeviceKey::MacAddress(text),
        "PreSharedKeyIdentity" => DeviceKey::Identity(text),
        "ThingName" => DeviceKey::Thing(text),
        "WirelessDeviceId" => DeviceKey::Id(text),
        // Identifiers of other technologies: no device here has one.
        _ => DeviceKey::Id(String::new()),
    };
    let device = api.control.device(key).await?;
    Ok(Reply::json(StatusCode::OK, described(api, device)))
}

/// `GET /wireless-devices`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let page = page::request(&call.query, LIST)?;
    // No device here belongs to another technology, a LoRaWAN profile or a FUOTA task.
    let technology = call.query.first("wirelessDeviceType");
    let elsewhere = technology.is_some_and(|technology| technology != "CoAP")
        || FILTERS_ELSEWHERE.iter().any(|name| call.query.first(name).is_some());
    let found = if elsewhere {
        Page { items: Vec::new(), next: None }
    } else {
        let filter = DeviceFilter {
            destination: owned(call.query.first("destinationName")),
            application_profile: owned(call.query.first("applicationProfileId")),
        };
        api.control.devices(filter, page).await?
    };
    let body = page::answer(found, LIST, |summary| summarised(api, summary));
    Ok(Reply::json(StatusCode::OK, body))
}

/// `PATCH /wireless-devices/{Id}`
pub async fn update(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let body = call.members();
    let mut violations = Violations::default();
    let change = DeviceChange {
        name: body.owned("Name")?,
        description: body.owned("Description")?,
        destination: body.owned("DestinationName")?,
        cellular: network(&body, &CELLULAR, Needs::Anything, &mut violations)?,
        wifi: network(&body, &WIFI, Needs::Anything, &mut violations)?,
        positioning: body.owned("Positioning")?,
        application_profile: body.owned(PROFILE)?,
    };
    violations.check()?;
    api.control.update_device(id, change).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /wireless-devices/{Id}`
pub async fn delete(api: &Api, id: &str) -> Result<Reply, ApiError> {
    api.control.delete_device(id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The list's name in answers.
const LIST: &str = "WirelessDeviceList";

const TOKEN: &str = "ClientRequestToken";

const PROFILE: &str = "ApplicationProfileId";

/// Filters of ListWirelessDevices that name things of other technologies.
const FILTERS_ELSEWHERE: [&str; 4] =
    ["deviceProfileId", "serviceProfileId", "fuotaTaskId", "multicastGroupId"];

/// A network block's names.
struct Block {
    name: &'static str,
    hardware: &'static str,
}

const CELLULAR: Block = Block { name: "Cellular", hardware: "Imei" };
const WIFI: Block = Block { name: "WiFi", hardware: "MacAddress" };

/// What a block must have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Create: an identity has its secret.
    WholeKey,
    /// Update: what is to change.
    Anything,
}

const IDENTITY: &str = "PreSharedKeyIdentity";
const SECRET: &str = "PreSharedKeySecret";

fn network(
    body: &Members<'_>,
    block: &Block,
    needs: Needs,
    violations: &mut Violations,
) -> Result<Option<NewNetwork>, ApiError> {
    body.nested(block.name, |network| {
        let hardware = network.owned(block.hardware)?;
        let mut new = NewNetwork { hardware, ..NewNetwork::default() };
        network.nested("DtlsV1_2", |dtls| credentials(&dtls, needs, &mut new, violations))?;
        let address = network.nested("NoSec", |plain| plain.owned("SourceAddress"))?;
        new.source_address = address.flatten();
        new.endpoint = network.owned("Endpoint")?;
        let modes = network.texts("SecurityModes")?;
        let mode = |name: &str| SecurityMode::ALL.into_iter().find(|mode| mode.as_str() == name);
        new.security_modes = modes.map(|names| names.into_iter().filter_map(mode).collect());
        Ok(new)
    })
}

fn credentials(
    dtls: &Members<'_>,
    needs: Needs,
    new: &mut NewNetwork,
    violations: &mut Violations,
) -> Result<(), ApiError> {
    // The service document prints both names.
    let short = dtls.has("PreSharedKeyId") && !dtls.has(IDENTITY);
    new.identity = dtls.owned(if short { "PreSharedKeyId" } else { IDENTITY })?;
    new.secret = dtls.owned(SECRET)?.map(Zeroizing::new);
    new.raw_public_key = dtls.owned("RawPublicKey")?;
    new.certificate_name = dtls.owned("CertificateName")?;
    new.certificate_fingerprint = dtls.owned("CertificateFingerprint")?;
    if needs == Needs::WholeKey {
        match (&new.identity, &new.secret) {
            (Some(_), None) => violations.add(&dtls.path(SECRET), NOT_NULL),
            (None, Some(_)) => violations.add(&dtls.path(IDENTITY), NOT_NULL),
            _ => {}
        }
    }
    Ok(())
}

/// A device as GetWirelessDevice answers it.
fn described(api: &Api, device: Device) -> Value {
    let mut body = summary_members(api, &device);
    insert(&mut body, "Description", device.description.map(Value::from));
    let thing = device.thing_arn.as_deref();
    let name = thing.and_then(|arn| arn.split_once(":thing/")).map(|(_, name)| json!(name));
    insert(&mut body, "ThingName", name);
    insert(&mut body, "ThingArn", thing.map(Value::from));
    insert(&mut body, "Cellular", device.cellular.map(|block| block_value(block, "Imei")));
    insert(&mut body, "WiFi", device.wifi.map(|block| block_value(block, "MacAddress")));
    Value::Object(body)
}

/// A device as ListWirelessDevices answers it.
fn summarised(api: &Api, summary: DeviceSummary) -> Value {
    let device = summary.device;
    let mut body = summary_members(api, &device);
    let at = summary.last_uplink_unix_ms.map(shape::iso8601);
    insert(&mut body, "LastUplinkReceivedAt", at.map(Value::from));
    insert(&mut body, "Cellular", device.cellular.map(|block| block_value(block, "Imei")));
    insert(&mut body, "WiFi", device.wifi.map(|block| block_value(block, "MacAddress")));
    Value::Object(body)
}

fn summary_members(api: &Api, device: &Device) -> Map<String, Value> {
    let mut body = Map::new();
    let id = device.id.to_string();
    insert(&mut body, "Type", Some(json!("CoAP")));
    insert(&mut body, "Arn", Some(json!(api.aws.arn("WirelessDevice", &id))));
    insert(&mut body, "Id", Some(json!(id)));
    insert(&mut body, "Name", device.name.as_deref().map(Value::from));
    insert(&mut body, "DestinationName", Some(json!(device.destination)));
    let profile = device.application_profile.map(|profile| json!(profile.to_string()));
    insert(&mut body, PROFILE, profile);
    insert(&mut body, "Positioning", device.positioning.as_deref().map(Value::from));
    body
}

fn block_value(block: NetworkBlock, hardware: &str) -> Value {
    let modes: Vec<&str> = block.may_use().iter().map(SecurityMode::as_str).collect();
    let mut dtls = Map::new();
    insert(&mut dtls, IDENTITY, block.identity.map(Value::from));
    insert(&mut dtls, "RawPublicKey", block.raw_public_key.map(|key| json!(String::from(key))));
    insert(&mut dtls, "CertificateName", block.certificate_name.map(Value::from));
    let fingerprint = block.certificate_fingerprint.map(|leaf| json!(leaf.to_string()));
    insert(&mut dtls, "CertificateFingerprint", fingerprint);
    let mut body = Map::new();
    insert(&mut body, hardware, block.hardware.map(Value::from));
    insert(&mut body, "DtlsV1_2", (!dtls.is_empty()).then_some(Value::Object(dtls)));
    let address = block.source_address.map(|address| address.to_string());
    insert(&mut body, "NoSec", address.map(|address| json!({ "SourceAddress": address })));
    insert(&mut body, "Endpoint", block.endpoint.map(|endpoint| json!(endpoint.to_string())));
    insert(&mut body, "SecurityModes", Some(json!(modes)));
    Value::Object(body)
}

fn insert(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(ToOwned::to_owned)
}
