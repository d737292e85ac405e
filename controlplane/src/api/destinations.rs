//! CreateDestination, GetDestination, ListDestinations, UpdateDestination, DeleteDestination:
//! what do they read and answer?

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::validate::{Members, Violations, parse_body};
use super::{Api, Call, Reply, page, shape};
use crate::model::{Destination, DestinationChange, ExpressionType};

/// `POST /destinations`
pub async fn create(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    let v = &mut violations;
    let new = Destination {
        name: body.required("Name", &shape::DESTINATION_NAME, v)?.to_owned(),
        expression_type: expression_type(body.required(
            "ExpressionType",
            &shape::EXPRESSION_TYPE,
            v,
        )?),
        expression: body.required("Expression", &shape::EXPRESSION, v)?.to_owned(),
        description: owned(body.checked("Description", &shape::DESCRIPTION, v)?),
        role_arn: body.required("RoleArn", &shape::ROLE_ARN, v)?.to_owned(),
        tags: shape::tags(&body, v)?,
        created_unix_ms: 0,
    };
    let token = body.checked("ClientRequestToken", &shape::CLIENT_REQUEST_TOKEN, v)?;
    violations.check()?;
    let made = api.control.create_destination(new, token).await?;
    let arn = api.aws.arn("Destination", &made.name);
    Ok(Reply::json(StatusCode::CREATED, json!({ "Arn": arn, "Name": made.name })))
}

/// `GET /destinations/{Name}`
pub async fn get(api: &Api, name: &str) -> Result<Reply, ApiError> {
    let destination = api.control.destination(checked_name(name)?).await?;
    Ok(Reply::json(StatusCode::OK, described(api, destination)))
}

/// `GET /destinations`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let found = api.control.destinations(page::request(&call.query, LIST)?).await?;
    let body = page::answer(found, LIST, |destination| described(api, destination));
    Ok(Reply::json(StatusCode::OK, body))
}

/// `PATCH /destinations/{Name}`
pub async fn update(api: &Api, call: &Call, name: &str) -> Result<Reply, ApiError> {
    let name = checked_name(name)?;
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    let v = &mut violations;
    let change = DestinationChange {
        expression_type: body
            .checked("ExpressionType", &shape::EXPRESSION_TYPE, v)?
            .map(expression_type),
        expression: owned(body.checked("Expression", &shape::EXPRESSION, v)?),
        description: owned(body.checked("Description", &shape::DESCRIPTION, v)?),
        role_arn: owned(body.checked("RoleArn", &shape::ROLE_ARN, v)?),
    };
    violations.check()?;
    api.control.update_destination(name, change).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /destinations/{Name}`
pub async fn delete(api: &Api, name: &str) -> Result<Reply, ApiError> {
    api.control.delete_destination(checked_name(name)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The list's name in answers.
const LIST: &str = "DestinationList";

fn checked_name(name: &str) -> Result<&str, ApiError> {
    let mut violations = Violations::default();
    shape::DESTINATION_NAME.check("name", name, &mut violations);
    violations.check()?;
    Ok(name)
}

/// Text that is neither has violated [`shape::EXPRESSION_TYPE`] already.
fn expression_type(text: &str) -> ExpressionType {
    if text == "RuleName" { ExpressionType::RuleName } else { ExpressionType::MqttTopic }
}

fn described(api: &Api, destination: Destination) -> Value {
    let expression_type = match destination.expression_type {
        ExpressionType::RuleName => "RuleName",
        ExpressionType::MqttTopic => "MqttTopic",
    };
    let mut body = json!({
        "Arn": api.aws.arn("Destination", &destination.name),
        "Name": destination.name,
        "ExpressionType": expression_type,
        "Expression": destination.expression,
        "RoleArn": destination.role_arn,
    });
    if let Some(description) = destination.description {
        body["Description"] = json!(description);
    }
    body
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(ToOwned::to_owned)
}
