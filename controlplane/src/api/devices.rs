//! CreateWirelessDevice, GetWirelessDevice, ListWirelessDevices, UpdateWirelessDevice,
//! DeleteWirelessDevice: what do they read and answer?
//!
//! The secret of a device is read here and never written.

use serde_json::{Map, Value, json};
use warp::http::StatusCode;
use zeroize::Zeroizing;

use super::error::ApiError;
use super::validate::{Members, NOT_NULL, Rule, Violations, parse_body};
use super::{Api, Call, Reply, page, shape};
use crate::model::{
    Device, DeviceChange, DeviceFilter, DeviceKey, DeviceSummary, NetworkBlock, NewDevice,
    NewNetwork, Page, SecurityMode,
};

/// `POST /wireless-devices`
pub async fn create(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    body.required("Type", &shape::DEVICE_TYPE, &mut violations)?;
    let new = NewDevice {
        name: owned(body.checked("Name", &shape::NAME, &mut violations)?),
        description: owned(body.checked("Description", &shape::DESCRIPTION, &mut violations)?),
        destination: body
            .required("DestinationName", &shape::DESTINATION_NAME, &mut violations)?
            .to_owned(),
        cellular: network(&body, &CELLULAR, Needs::WholeKey, &mut violations)?,
        wifi: network(&body, &WIFI, Needs::WholeKey, &mut violations)?,
        positioning: owned(body.checked("Positioning", &shape::ON_OFF, &mut violations)?),
        application_profile: owned(body.checked(PROFILE, &shape::IDENTIFIER, &mut violations)?),
        tags: shape::tags(&body, &mut violations)?,
    };
    let token = body.checked(TOKEN, &shape::CLIENT_REQUEST_TOKEN, &mut violations)?;
    violations.check()?;
    let device = api.control.create_device(new, token).await?;
    let id = device.id.to_string();
    let arn = api.aws.arn("WirelessDevice", &id);
    Ok(Reply::json(StatusCode::CREATED, json!({ "Arn": arn, "Id": id })))
}

/// `GET /wireless-devices/{Identifier}?identifierType=`
pub async fn get(api: &Api, call: &Call, identifier: &str) -> Result<Reply, ApiError> {
    let mut violations = Violations::default();
    shape::IDENTIFIER.check("identifier", identifier, &mut violations);
    let kind = call.query.first("identifierType");
    match kind {
        Some(kind) => IDENTIFIER_TYPE.check("identifierType", kind, &mut violations),
        None => violations.add("identifierType", NOT_NULL),
    }
    violations.check()?;
    let text = identifier.to_owned();
    let key = match kind.unwrap_or_default() {
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
    let mut violations = Violations::default();
    let destination = call.query.first("destinationName");
    if let Some(name) = destination {
        shape::DESTINATION_NAME.check("destinationName", name, &mut violations);
    }
    let technology = call.query.first("wirelessDeviceType");
    if let Some(technology) = technology {
        shape::DEVICE_TYPE_FILTER.check("wirelessDeviceType", technology, &mut violations);
    }
    violations.check()?;
    // No device here belongs to another technology, a LoRaWAN profile or a FUOTA task.
    let elsewhere = technology.is_some_and(|technology| technology != "CoAP")
        || FILTERS_ELSEWHERE.iter().any(|name| call.query.first(name).is_some());
    let found = if elsewhere {
        Page { items: Vec::new(), next: None }
    } else {
        let filter = DeviceFilter {
            destination: destination.map(ToOwned::to_owned),
            application_profile: owned(call.query.first("applicationProfileId")),
        };
        api.control.devices(filter, page).await?
    };
    let body = page::answer(found, LIST, |summary| summarised(api, summary));
    Ok(Reply::json(StatusCode::OK, body))
}

/// `PATCH /wireless-devices/{Id}`
pub async fn update(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    shape::IDENTIFIER.check("id", id, &mut violations);
    let change = DeviceChange {
        name: owned(body.checked("Name", &shape::NAME, &mut violations)?),
        description: owned(body.checked("Description", &shape::DESCRIPTION, &mut violations)?),
        destination: owned(body.checked(
            "DestinationName",
            &shape::DESTINATION_NAME,
            &mut violations,
        )?),
        cellular: network(&body, &CELLULAR, Needs::Anything, &mut violations)?,
        wifi: network(&body, &WIFI, Needs::Anything, &mut violations)?,
        positioning: owned(body.checked("Positioning", &shape::ON_OFF, &mut violations)?),
        application_profile: owned(body.checked(PROFILE, &shape::IDENTIFIER, &mut violations)?),
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

const IDENTIFIER_TYPE: Rule = Rule::one_of(&[
    "WirelessDeviceId",
    "DevEui",
    "ThingName",
    "SidewalkManufacturingSn",
    "Imei",
    "MacAddress",
    "PreSharedKeyIdentity",
]);

/// Filters of ListWirelessDevices that name things of other technologies.
const FILTERS_ELSEWHERE: [&str; 4] =
    ["deviceProfileId", "serviceProfileId", "fuotaTaskId", "multicastGroupId"];

/// A network block's names.
struct Block {
    name: &'static str,
    hardware: &'static str,
    hardware_rule: Rule,
}

const CELLULAR: Block = Block { name: "Cellular", hardware: "Imei", hardware_rule: shape::IMEI };
const WIFI: Block =
    Block { name: "WiFi", hardware: "MacAddress", hardware_rule: shape::MAC_ADDRESS };

/// What a block must have, and what may be empty.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Create: an identity has its secret, nothing is empty.
    WholeKey,
    /// Update: what is to change; what is empty is removed.
    Anything,
}

/// Reads the members of a network block.
struct Reader<'a> {
    needs: Needs,
    violations: &'a mut Violations,
}

impl Reader<'_> {
    /// A member as it came.
    fn text(
        &mut self,
        of: &Members<'_>,
        name: &str,
        rule: &Rule,
    ) -> Result<Option<String>, ApiError> {
        let text = of.text(name)?;
        if let Some(text) = text
            && !(text.is_empty() && self.needs == Needs::Anything)
        {
            rule.check(&of.path(name), text, self.violations);
        }
        Ok(owned(text))
    }

    fn credentials(&mut self, dtls: &Members<'_>, new: &mut NewNetwork) -> Result<(), ApiError> {
        // The service document prints both names.
        let short = dtls.has("PreSharedKeyId") && !dtls.has(IDENTITY);
        let name = if short { "PreSharedKeyId" } else { IDENTITY };
        new.identity = self.text(dtls, name, &shape::PSK_IDENTITY)?;
        new.secret = self.text(dtls, SECRET, &shape::PSK_SECRET)?.map(Zeroizing::new);
        new.raw_public_key = self.text(dtls, "RawPublicKey", &shape::RAW_PUBLIC_KEY)?;
        new.certificate_name = self.text(dtls, "CertificateName", &shape::CERTIFICATE_NAME)?;
        new.certificate_fingerprint =
            self.text(dtls, "CertificateFingerprint", &shape::CERTIFICATE_FINGERPRINT)?;
        if self.needs == Needs::WholeKey {
            match (&new.identity, &new.secret) {
                (Some(_), None) => self.violations.add(&dtls.path(SECRET), NOT_NULL),
                (None, Some(_)) => self.violations.add(&dtls.path(IDENTITY), NOT_NULL),
                _ => {}
            }
        }
        Ok(())
    }

    fn modes(&mut self, block: &Members<'_>) -> Result<Option<Vec<SecurityMode>>, ApiError> {
        let Some(names) = block.texts("SecurityModes")? else { return Ok(None) };
        let mut modes = Vec::new();
        for (at, name) in names.into_iter().enumerate() {
            let path = format!("{}.{}", block.path("SecurityModes"), at + 1);
            shape::SECURITY_MODE.check(&path, name, self.violations);
            modes.extend(SecurityMode::ALL.into_iter().find(|mode| mode.as_str() == name));
        }
        Ok(Some(modes))
    }
}

const IDENTITY: &str = "PreSharedKeyIdentity";
const SECRET: &str = "PreSharedKeySecret";

fn network(
    body: &Members<'_>,
    block: &Block,
    needs: Needs,
    violations: &mut Violations,
) -> Result<Option<NewNetwork>, ApiError> {
    let mut reader = Reader { needs, violations };
    body.nested(block.name, |network| {
        let hardware = reader.text(&network, block.hardware, &block.hardware_rule)?;
        let mut new = NewNetwork { hardware, ..NewNetwork::default() };
        network.nested("DtlsV1_2", |dtls| reader.credentials(&dtls, &mut new))?;
        network.nested("NoSec", |plain| {
            let path = "SourceAddress";
            new.source_address = reader.text(&plain, path, &shape::SOURCE_ADDRESS)?;
            Ok(())
        })?;
        new.endpoint = reader.text(&network, "Endpoint", &shape::ENDPOINT)?;
        new.security_modes = reader.modes(&network)?;
        Ok(new)
    })
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
