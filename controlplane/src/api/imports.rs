//! Import tasks: start, get, list, extend, delete, and what became of their lines.

use serde_json::{Map, Value, json};
use warp::http::StatusCode;
use zeroize::Zeroizing;

use super::error::ApiError;
use super::spec::{self, shapes};
use super::validate::{Members, NOT_NULL, Violations};
use super::{Api, Call, Reply, page, shape};
use crate::control::{NewImport, NewSource};
use crate::model::{ImportStatus, ImportTask, Imported};

/// `POST /wireless_device_import_task`
pub async fn start(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = call.members();
    let profile = body.nested("CoAP", |coap| coap.owned("ApplicationProfileId"))?;
    let new = NewImport {
        destination: body.required("DestinationName")?.to_owned(),
        application_profile: profile.flatten(),
        positioning: body.owned("Positioning")?,
        tags: shape::tags(&body)?,
    };
    let token = body.text("ClientRequestToken")?;
    let task = api.control.start_import(new, source(&body)?, token).await?;
    Ok(started(api, &task))
}

/// `POST /wireless_single_device_import_task`: one device, as
/// CreateWirelessDevice would describe it.
pub async fn start_single(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = call.members();
    if !body.has("Cellular") && !body.has("WiFi") {
        let mut violations = Violations::default();
        violations.add("Cellular", "Member must not be null unless WiFi is given");
        violations.check()?;
    }
    let whole: Map<String, Value> = spec::input(call, shapes::NEW_SINGLE_IMPORT)?;
    let mut device = Map::new();
    for (name, as_told) in [("Name", "DeviceName"), ("Cellular", "Cellular"), ("WiFi", "WiFi")] {
        if let Some(value) = whole.get(as_told) {
            device.insert(name.to_owned(), value.clone());
        }
    }
    let line = Zeroizing::new(Value::Object(device).to_string());
    let new = NewImport {
        destination: body.required("DestinationName")?.to_owned(),
        application_profile: body.owned("ApplicationProfileId")?,
        positioning: body.owned("Positioning")?,
        tags: shape::tags(&body)?,
    };
    let token = body.text("ClientRequestToken")?;
    let task = api.control.start_import(new, NewSource::Lines(line), token).await?;
    Ok(started(api, &task))
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
    let id = call.query.first("id");
    let status = call.query.first("status");
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
    let source = source(&call.members())?;
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

/// Where the devices come from: a file, or lines; clients with AWS's own model have only the
/// former, under `Sidewalk`.
fn source(body: &Members<'_>) -> Result<NewSource, ApiError> {
    const NAME: &str = "DeviceCreationFile";
    let mut v = Violations::default();
    let ours = body.nested("CoAP", |coap| {
        let file = coap.owned(NAME)?.map(NewSource::File);
        let lines = coap.owned("DeviceCreationData")?;
        let lines = lines.map(|lines| NewSource::Lines(Zeroizing::new(lines)));
        if file.is_some() && lines.is_some() {
            v.add("CoAP.DeviceCreationData", "Member must not be set together with a file");
        }
        Ok(file.or(lines))
    })?;
    let theirs =
        body.nested("Sidewalk", |sidewalk| Ok(sidewalk.owned(NAME)?.map(NewSource::File)))?;
    let source = ours.flatten().or(theirs.flatten());
    if source.is_none() {
        v.add("CoAP.DeviceCreationFile", NOT_NULL);
    }
    v.check()?;
    source.ok_or_else(ApiError::unknown_operation)
}

fn started(api: &Api, task: &ImportTask) -> Reply {
    let id = task.id.to_string();
    let arn = api.aws.arn("ImportTask", &id);
    Reply::json(StatusCode::CREATED, json!({ "Arn": arn, "Id": id }))
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
