//! TagResource, UntagResource, ListTagsForResource: which tags has a resource, by its ARN?

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::validate::{Members, NOT_NULL, Rule, Violations, parse_body};
use super::{Api, Call, Reply, shape};
use crate::model::{Resource, Tag};

/// `POST /tags?resourceArn=`
pub async fn tag(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    let arn = arn(call, &mut violations);
    let tags = shape::tags(&body, &mut violations)?;
    if !body.has("Tags") {
        violations.add("Tags", NOT_NULL);
    }
    violations.check()?;
    let tagged = api.control.tag(&resource(api, arn)?, &tags).await;
    tagged.map_err(|refused| ApiError::from(refused).with_arn(|_| arn.to_owned()))?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /tags?resourceArn=&tagKeys=&tagKeys=`
pub async fn untag(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let mut violations = Violations::default();
    let arn = arn(call, &mut violations);
    let keys: Vec<&str> = call.query.all("tagKeys").collect();
    if keys.is_empty() {
        violations.add("tagKeys", NOT_NULL);
    }
    if keys.len() > shape::TAGS_MAX {
        let most = shape::TAGS_MAX;
        violations.add("tagKeys", format!("Member must have length less than or equal to {most}"));
    }
    for (at, key) in keys.iter().enumerate() {
        shape::TAG_KEY.check(&format!("tagKeys.{}", at + 1), key, &mut violations);
    }
    violations.check()?;
    api.control.untag(&resource(api, arn)?, &keys).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /tags?resourceArn=`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let mut violations = Violations::default();
    let arn = arn(call, &mut violations);
    violations.check()?;
    let tags = std::future::ready(api.control.tags_of(&resource(api, arn)?)).await?;
    let tags: Vec<Value> =
        tags.into_iter().map(|Tag { key, value }| json!({ "Key": key, "Value": value })).collect();
    Ok(Reply::json(StatusCode::OK, json!({ "Tags": tags })))
}

const RESOURCE_ARN: Rule = Rule::length(1, 1011);

fn arn<'a>(call: &'a Call, violations: &mut Violations) -> &'a str {
    let arn = call.query.first("resourceArn");
    match arn {
        Some(arn) => RESOURCE_ARN.check("resourceArn", arn, violations),
        None => violations.add("resourceArn", NOT_NULL),
    }
    arn.unwrap_or_default()
}

/// What an ARN names; one of another service, region or account names nothing here.
fn resource(api: &Api, arn: &str) -> Result<Resource, ApiError> {
    let ours = api.aws.arn("", "");
    let ours = ours.trim_end_matches('/');
    if !arn.starts_with("arn:") || arn.splitn(6, ':').count() < 6 {
        let mut violations = Violations::default();
        violations.add("resourceArn", "Member must be the ARN of a resource of this service");
        violations.check()?;
    }
    let resource = arn.strip_prefix(ours).and_then(Resource::parse);
    resource.ok_or_else(|| ApiError::not_found("Resource", arn))
}
