//! May the caller do this? Its account decides what it sees, its policies what it may do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value};

use super::directory::User;
use super::policy::{Circumstances, Resource, Verdict};
use crate::api::error::ApiError;
use crate::api::route::{Names, Operation};
use crate::api::{Api, Call};
use crate::model::{DeviceKey, Refused, Resource as Named};
use crate::store::account::Account;

/// Who signed a request.
#[derive(Clone)]
pub struct Caller {
    /// A user of the directory; `None`: the key pair of the installation's root.
    pub user: Option<Arc<User>>,
}

/// How the request came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// From where; a Unix socket is nowhere.
    pub address: Option<IpAddr>,
    /// Over TLS.
    pub is_secure: bool,
}

impl Caller {
    /// Whose records it sees.
    pub fn account(&self) -> Account {
        self.user.as_ref().map_or(Account::ROOT, |user| user.account)
    }

    /// May it call this operation? Each resource that the call names must be allowed.
    pub async fn authorize(
        &self,
        api: &Api,
        operation: &Operation,
        call: &Call,
        peer: Peer,
    ) -> Result<(), ApiError> {
        self.check_account(api, operation, call)?;
        let Some(user) = self.user.as_ref().filter(|user| !user.is_root()) else { return Ok(()) };
        let none = Map::new();
        let body = call.json.as_ref().unwrap_or(&none);
        let principal = format!(
            "arn:{}:iam::{}:user/{}",
            api.aws.partition, api.aws.account_id, user.record.name
        );
        let about = Circumstances {
            principal,
            user: user.record.name.clone(),
            account: api.aws.account_id.clone(),
            source: peer.address,
            is_secure: peer.is_secure,
            now_unix_s: UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs().cast_signed()),
            request_tags: tags_of(body.get("Tags").or(body.get("tags"))),
            tag_keys: call.query.all("tagKeys").map(ToOwned::to_owned).collect(),
        };
        for resource in resources(api, operation, call, body).await? {
            let verdict = user.policies.judge(operation.action, &resource, &about);
            if verdict != Verdict::Allowed {
                return Err(denied(&about.principal, operation.action, &resource.arn, verdict));
            }
        }
        Ok(())
    }

    /// What even the root of an account may not do.
    fn check_account(&self, api: &Api, operation: &Operation, call: &Call) -> Result<(), ApiError> {
        let principal = || format!("arn:{}:iam::{}:root", api.aws.partition, api.aws.account_id);
        let action = operation.action;
        // A certificate of any authority here may name any device of the edge.
        if self.account() != Account::ROOT && action.ends_with("CACertificate") {
            return Err(denied(&principal(), action, "*", Verdict::NotAllowed));
        }
        let arn = call.query.first("resourceArn").filter(|_| operation.names.contains(&Names::Arn));
        let of = arn.and_then(|arn| arn.split(':').nth(4));
        if let (Some(arn), Some(of)) = (arn, of)
            && of != api.aws.account_id
        {
            return Err(denied(&principal(), action, arn, Verdict::NotAllowed));
        }
        Ok(())
    }
}

/// As AWS says it.
fn denied(principal: &str, action: &str, resource: &str, verdict: Verdict) -> ApiError {
    let why = match verdict {
        Verdict::Denied => "with an explicit deny in an identity-based policy".to_owned(),
        _ => format!("because no identity-based policy allows the {action} action"),
    };
    ApiError::access_denied(format!(
        "User: {principal} is not authorized to perform: {action} on resource: {resource} {why}"
    ))
}

/// Every resource that the call names; one that stands for all when it names none.
async fn resources(
    api: &Api,
    operation: &Operation,
    call: &Call,
    body: &Map<String, Value>,
) -> Result<Vec<Resource>, ApiError> {
    let labels = operation.labels(&call.path);
    let label = labels.first().copied().unwrap_or_default();
    let mut resources = Vec::new();
    for names in operation.names {
        resources.extend(match names {
            Names::Path(kind) => Some(known(api, kind, label)?),
            Names::Device => Some(device(api, call, label).await?),
            Names::Body(kind, member) => match body.get(*member).and_then(Value::as_str) {
                Some(id) => Some(known(api, kind, id)?),
                None => None,
            },
            Names::Arn => {
                let arn = call.query.first("resourceArn").unwrap_or_default();
                let (kind, id) = arn.rsplit(':').next().and_then(|r| r.split_once('/')).unzip();
                Some(known(api, kind.unwrap_or_default(), id.unwrap_or_default())?)
            }
        });
    }
    if resources.is_empty() {
        let service = operation.action.split(':').next().unwrap_or_default();
        resources.push(Resource { arn: arn(api, service, "*"), tags: Vec::new() });
    }
    Ok(resources)
}

/// A resource by its kind and id, with the tags it has.
fn known(api: &Api, kind: &str, id: &str) -> Result<Resource, ApiError> {
    let service = if matches!(kind, "rule" | "cacert") { "iot" } else { "iotwireless" };
    let arn = arn(api, service, &format!("{kind}/{id}"));
    let tags = match Named::parse(&format!("{kind}/{id}")) {
        Some(named) => existing(api.control.tags_of(&named))?,
        None => None,
    };
    let tags = tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect();
    Ok(Resource { arn, tags })
}

/// A device by any of its identifiers. *Why an unknown one is all of them:* who may not see every
/// device is not told which exist.
async fn device(api: &Api, call: &Call, label: &str) -> Result<Resource, ApiError> {
    let label = label.to_owned();
    let key = match call.query.first("identifierType") {
        Some("Imei") => DeviceKey::Imei(label),
        Some("MacAddress") => DeviceKey::MacAddress(label),
        Some("PreSharedKeyIdentity") => DeviceKey::Identity(label),
        _ => return known(api, "WirelessDevice", &label),
    };
    match existing(api.control.device(key).await)? {
        Some(device) => known(api, "WirelessDevice", &device.id.to_string()),
        None => Ok(Resource { arn: arn(api, "iotwireless", "*"), tags: Vec::new() }),
    }
}

/// What is not there, or not well named, is for the operation to say.
fn existing<T>(found: Result<T, Refused>) -> Result<Option<T>, ApiError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Refused::NotFound { .. } | Refused::Validation { .. }) => Ok(None),
        Err(refused) => Err(refused.into()),
    }
}

fn arn(api: &Api, service: &str, resource: &str) -> String {
    let aws = &api.aws;
    format!("arn:{}:{service}:{}:{}:{resource}", aws.partition, aws.region, aws.account_id)
}

fn tags_of(tags: Option<&Value>) -> Vec<(String, String)> {
    let tags = tags.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
    tags.iter().filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value")?))).collect()
}
