//! Import tasks: start, get, list, extend, delete, and what became of their lines.

use serde_json::{Map, Value, json};
use warp::http::StatusCode;
use zeroize::Zeroizing;

use super::error::ApiError;
use super::validate::{Members, NOT_NULL, Rule, Violations, parse_body};
use super::{Api, Call, Reply, page, shape};
use crate::control::{NewImport, NewSource};
use crate::model::{ImportStatus, ImportTask, Imported};

/// `POST /wireless_device_import_task`
pub async fn start(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    let v = &mut violations;
    let destination = body.required("DestinationName", &shape::DESTINATION_NAME, v)?.to_owned();
    let positioning = body.checked("Positioning", &shape::ON_OFF, v)?.map(ToOwned::to_owned);
    let tags = shape::tags(&body, v)?;
    let token = body.checked("ClientRequestToken", &shape::CLIENT_REQUEST_TOKEN, v)?;
    let profile = body.nested("CoAP", |coap| {
        let id = coap.checked("ApplicationProfileId", &shape::IDENTIFIER, v)?;
        Ok(id.map(ToOwned::to_owned))
    })?;
    let source = source(&body, v)?;
    violations.check()?;
    let application_profile = profile.flatten();
    let new = NewImport { destination, application_profile, positioning, tags };
    let Some(source) = source else { return Err(ApiError::unknown_operation()) };
    let task = api.control.start_import(new, source, token).await?;
    let id = task.id.to_string();
    let arn = api.aws.arn("ImportTask", &id);
    Ok(Reply::json(StatusCode::CREATED, json!({ "Arn": arn, "Id": id })))
}

/// `GET /wireless_device_import_task/{Id}`
pub async fn get(api: &Api, id: &str) -> Result<Reply, ApiError> {
    let task = api.control.import(id).await?;
    Ok(Reply::json(StatusCode::OK, described(api, task)))
}

/// `GET /wireless_device_import_tasks`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let found = api.control.imports(page::request(&call.query, LIST)?).await?;
    let body = page::answer(found, LIST, |task| described(api, task));
    Ok(Reply::json(StatusCode::OK, body))
}

/// `GET /wireless_device_import_task?id=`
pub async fn devices(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let page = page::request(&call.query, DEVICES)?;
    let mut violations = Violations::default();
    let id = call.query.first("id");
    match id {
        Some(id) => shape::IDENTIFIER.check("id", id, &mut violations),
        None => violations.add("id", NOT_NULL),
    }
    let status = call.query.first("status");
    if let Some(status) = status {
        STATUS.check("status", status, &mut violations);
    }
    violations.check()?;
    let id = id.unwrap_or_default();
    let task = api.control.import(id).await?;
    let made = status.map(|status| status == ONBOARDED);
    let found = match status {
        // A line that was read made a device or did not.
        Some("INITIALIZED" | "PENDING") => crate::model::Page { items: Vec::new(), next: None },
        _ => api.control.imported(id, made, page).await?,
    };
    let mut body = page::answer(found, DEVICES, imported);
    body["DestinationName"] = json!(task.destination);
    Ok(Reply::json(StatusCode::OK, body))
}

/// `PATCH /wireless_device_import_task/{Id}`
pub async fn update(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    let source = source(&body, &mut violations)?;
    violations.check()?;
    let Some(source) = source else { return Err(ApiError::unknown_operation()) };
    api.control.extend_import(id, source).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /wireless_device_import_task/{Id}`
pub async fn delete(api: &Api, id: &str) -> Result<Reply, ApiError> {
    api.control.delete_import(id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The lists' names in answers.
const LIST: &str = "WirelessDeviceImportTaskList";
const DEVICES: &str = "ImportedWirelessDeviceList";

const ONBOARDED: &str = "ONBOARDED";
const STATUS: Rule = Rule::one_of(&["INITIALIZED", "PENDING", ONBOARDED, "FAILED"]);
const FILE: Rule = Rule::length(1, 1024);

/// Where the devices come from: a file, or lines; clients with AWS's own model have only the
/// former, under `Sidewalk`. `None`: its violation is noted.
fn source(body: &Members<'_>, v: &mut Violations) -> Result<Option<NewSource>, ApiError> {
    const NAME: &str = "DeviceCreationFile";
    let ours = body.nested("CoAP", |coap| {
        let file = coap.checked(NAME, &FILE, v)?.map(ToOwned::to_owned).map(NewSource::File);
        let lines = coap.text("DeviceCreationData")?;
        let lines = lines.map(|lines| NewSource::Lines(Zeroizing::new(lines.to_owned())));
        if file.is_some() && lines.is_some() {
            v.add("CoAP.DeviceCreationData", "Member must not be set together with a file");
        }
        Ok(file.or(lines))
    })?;
    let theirs = body.nested("Sidewalk", |sidewalk| {
        Ok(sidewalk.checked(NAME, &FILE, v)?.map(ToOwned::to_owned).map(NewSource::File))
    })?;
    let source = ours.flatten().or(theirs.flatten());
    if source.is_none() {
        v.add("CoAP.DeviceCreationFile", NOT_NULL);
    }
    Ok(source)
}

fn described(api: &Api, task: ImportTask) -> Value {
    let id = task.id.to_string();
    let mut body = Map::new();
    body.insert("Arn".into(), json!(api.aws.arn("ImportTask", &id)));
    body.insert("Id".into(), json!(id));
    body.insert("DestinationName".into(), json!(task.destination));
    body.insert("CreationTime".into(), json!(shape::iso8601(task.created_unix_ms)));
    body.insert("Status".into(), json!(task.status.as_str()));
    if let Some(positioning) = task.positioning {
        body.insert("Positioning".into(), json!(positioning));
    }
    if let Some(reason) = task.reason {
        body.insert("StatusReason".into(), json!(reason));
    }
    let is_open = matches!(task.status, ImportStatus::Initialized | ImportStatus::Pending);
    for (name, count) in [
        ("InitializedImportedDeviceCount", 0),
        // How many lines are left is not known: it is the sources that are.
        ("PendingImportedDeviceCount", u64::from(is_open)),
        ("OnboardedImportedDeviceCount", task.onboarded),
        ("FailedImportedDeviceCount", task.failed),
    ] {
        body.insert(name.into(), json!(count));
    }
    Value::Object(body)
}

fn imported(line: Imported) -> Value {
    let status = if line.device.is_some() { ONBOARDED } else { "FAILED" };
    let mut coap = json!({
        "Line": line.line,
        "OnboardingStatus": status,
        "LastUpdateTime": shape::iso8601(line.at_unix_ms),
    });
    if let Some(device) = line.device {
        coap["WirelessDeviceId"] = json!(device.to_string());
    }
    if let Some(reason) = line.reason {
        coap["OnboardingStatusReason"] = json!(reason);
    }
    json!({ "CoAP": coap })
}
