//! TagResource, UntagResource, ListTagsForResource: which tags has a resource, by its ARN?

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::validate::Violations;
use super::{Api, Call, Reply, shape};
use crate::model::{Resource, Tag};

/// `POST /tags?resourceArn=`
pub async fn tag(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let tags = shape::tags(&call.members())?;
    let tagged = api.control.tag(&resource(api, arn(call))?, &tags).await;
    tagged.map_err(|refused| ApiError::from(refused).with_arn(|_| arn(call).to_owned()))?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /tags?resourceArn=&tagKeys=&tagKeys=`
pub async fn untag(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let keys: Vec<&str> = call.query.all("tagKeys").collect();
    api.control.untag(&resource(api, arn(call))?, &keys).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /tags?resourceArn=`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let tags = std::future::ready(api.control.tags_of(&resource(api, arn(call))?)).await?;
    let tags: Vec<Value> =
        tags.into_iter().map(|Tag { key, value }| json!({ "Key": key, "Value": value })).collect();
    Ok(Reply::json(StatusCode::OK, json!({ "Tags": tags })))
}

fn arn(call: &Call) -> &str {
    call.query.first("resourceArn").unwrap_or_default()
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
