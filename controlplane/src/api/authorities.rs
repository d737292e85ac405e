//! Certificate authorities in the words of AWS IoT: RegisterCACertificate, DescribeCACertificate,
//! ListCACertificates, UpdateCACertificate, DeleteCACertificate.
//!
//! Devices are provisioned one by one here, so an authority vouches for certificates and makes no
//! devices: what asks for automatic registration is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_crypto::pem;
use warp::http::StatusCode;

use super::error::ApiError;
use super::validate::{Members, Violations};
use super::{Api, Call, Reply};
use crate::model::Authority;

/// `POST /cacertificate?setAsActive=&allowAutoRegistration=`
pub async fn register(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = call.members();
    let mut violations = Violations::default();
    let v = &mut violations;
    let certificate = body.required("caCertificate")?;
    if body.text("certificateMode")? != Some("SNI_ONLY") {
        v.add("certificateMode", "Member must be SNI_ONLY");
    }
    if body.has("verificationCertificate") {
        v.add("verificationCertificate", "Member must be null while certificateMode is SNI_ONLY");
    }
    let active = boolean(call, "setAsActive");
    if boolean(call, "allowAutoRegistration") {
        v.add("allowAutoRegistration", NO_REGISTRATION);
    }
    refuse_registration(&body, v);
    violations.check()?;
    let taken = |error: ApiError| error.with_arn(|id| arn(api, id));
    let made = api.control.register_authority(certificate, active).await;
    let made = made.map_err(|refused| taken(refused.into()))?;
    let id = made.id.to_string();
    let body = json!({ "certificateArn": arn(api, &id), "certificateId": id });
    Ok(Reply::json(StatusCode::OK, body))
}

/// `GET /cacertificate/{caCertificateId}`
pub async fn describe(api: &Api, id: &str) -> Result<Reply, ApiError> {
    let authority = api.control.authority(id).await?;
    let mut description = summarised(api, &authority);
    description["certificatePem"] = json!(pem::encode(pem::CERTIFICATE, &authority.certificate));
    description["ownedBy"] = json!(api.aws.account_id);
    description["autoRegistrationStatus"] = json!("DISABLE");
    description["lastModifiedDate"] = json!(seconds(authority.changed_unix_ms));
    description["customerVersion"] = json!(authority.version);
    description["certificateMode"] = json!("SNI_ONLY");
    description["validity"] = json!({
        "notBefore": authority.not_before_unix_s, "notAfter": authority.not_after_unix_s,
    });
    Ok(Reply::json(StatusCode::OK, json!({ "certificateDescription": description })))
}

/// `GET /cacertificates?pageSize=&marker=&isAscendingOrder=&templateName=`, newest first.
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let mut violations = Violations::default();
    let page_size = call.query.first("pageSize").and_then(|text| text.parse().ok());
    let page_size = page_size.unwrap_or(PAGE_SIZE_DEFAULT);
    let ascending = boolean(call, "isAscendingOrder");
    let after = call.query.first("marker").map(|marker| {
        let place = unmarked(marker);
        if place.is_none() {
            violations.add("marker", "Member must be a nextMarker that this operation returned");
        }
        place.unwrap_or_default()
    });
    violations.check()?;
    let mut all = api.control.authorities().await?;
    if call.query.first("templateName").is_some() {
        all.clear(); // no authority here has a provisioning template
    }
    all.sort_by_key(place);
    if !ascending {
        all.reverse();
    }
    let is_later = |authority: &Authority| match &after {
        None => true,
        Some(after) if ascending => place(authority) > *after,
        Some(after) => place(authority) < *after,
    };
    let mut rest = all.iter().filter(|authority| is_later(authority));
    let page: Vec<&Authority> = rest.by_ref().take(page_size).collect();
    let certificates: Vec<Value> =
        page.iter().map(|authority| summarised(api, authority)).collect();
    let mut body = json!({ "certificates": certificates });
    if let (Some(last), true) = (page.last(), rest.next().is_some()) {
        body["nextMarker"] = json!(marked(&place(last)));
    }
    Ok(Reply::json(StatusCode::OK, body))
}

/// `PUT /cacertificate/{caCertificateId}?newStatus=&newAutoRegistrationStatus=`
pub async fn update(api: &Api, call: &Call, id: &str) -> Result<Reply, ApiError> {
    let mut violations = Violations::default();
    let status = call.query.first("newStatus");
    if call.query.first("newAutoRegistrationStatus") == Some("ENABLE") {
        violations.add("newAutoRegistrationStatus", NO_REGISTRATION);
    }
    refuse_registration(&call.members(), &mut violations);
    violations.check()?;
    let active = status.map(|status| status == "ACTIVE");
    api.control.change_authority(id, active).await?;
    Ok(Reply::empty(StatusCode::OK))
}

/// `DELETE /cacertificate/{caCertificateId}`: an inactive one.
pub async fn delete(api: &Api, id: &str) -> Result<Reply, ApiError> {
    api.control.delete_authority(id).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

fn refuse_registration(body: &Members<'_>, violations: &mut Violations) {
    if body.has("registrationConfig") {
        violations.add("registrationConfig", NO_REGISTRATION);
    }
}

fn summarised(api: &Api, authority: &Authority) -> Value {
    let id = authority.id.to_string();
    json!({
        "certificateArn": arn(api, &id),
        "certificateId": id,
        "status": if authority.is_active { "ACTIVE" } else { "INACTIVE" },
        "creationDate": seconds(authority.created_unix_ms),
    })
}

fn arn(api: &Api, id: &str) -> String {
    let aws = &api.aws;
    format!("arn:{}:iot:{}:{}:cacert/{id}", aws.partition, aws.region, aws.account_id)
}

/// AWS IoT's times are Unix seconds.
fn seconds(unix_ms: u64) -> f64 {
    unix_ms as f64 / 1_000.0
}

/// A query parameter that is `true` or `false`.
fn boolean(call: &Call, name: &str) -> bool {
    call.query.first(name) == Some("true")
}

/// Where an authority stands in the list.
type Place = (u64, [u8; 32]);

fn place(authority: &Authority) -> Place {
    (authority.created_unix_ms, authority.id.0)
}

fn marked((created_unix_ms, id): &Place) -> String {
    STANDARD.encode([&created_unix_ms.to_be_bytes()[..], id].concat())
}

fn unmarked(marker: &str) -> Option<Place> {
    let bytes = STANDARD.decode(marker).ok()?;
    let (created, id) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*created), id.try_into().ok()?))
}

const PAGE_SIZE_DEFAULT: usize = 25;

const NO_REGISTRATION: &str =
    "Member must not ask for automatic registration: devices are made with CreateWirelessDevice";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_marker_is_a_place_in_the_alphabet_that_aws_allows() {
        let place = (u64::MAX, [0xfb; 32]);
        assert_eq!(unmarked(&marked(&place)), Some(place));
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        assert!(marked(&place).bytes().all(allowed));
        for bad in ["", "nonsense!", "AAAA", &STANDARD.encode([0; 41])] {
            assert_eq!(unmarked(bad), None, "{bad}");
        }
    }
}
