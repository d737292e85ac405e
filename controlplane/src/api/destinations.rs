//! CreateDestination, GetDestination, ListDestinations, UpdateDestination, DeleteDestination:
//! what do they read and answer?

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::{Api, Call, Reply, page, shape};
use crate::model::{Destination, DestinationChange, ExpressionType};

/// `POST /destinations`
pub async fn create(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let body = call.members();
    let new = Destination {
        name: body.required("Name")?.to_owned(),
        expression_type: expression_type(body.required("ExpressionType")?),
        expression: body.required("Expression")?.to_owned(),
        description: body.owned("Description")?,
        role_arn: body.required("RoleArn")?.to_owned(),
        tags: shape::tags(&body)?,
        created_unix_ms: 0,
    };
    let made = api.control.create_destination(new, body.text("ClientRequestToken")?).await?;
    let arn = api.aws.arn("Destination", &made.name);
    Ok(Reply::json(StatusCode::CREATED, json!({ "Arn": arn, "Name": made.name })))
}

/// `GET /destinations/{Name}`
pub async fn get(api: &Api, name: &str) -> Result<Reply, ApiError> {
    let destination = api.control.destination(name).await?;
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
    let body = call.members();
    let change = DestinationChange {
        expression_type: body.text("ExpressionType")?.map(expression_type),
        expression: body.owned("Expression")?,
        description: body.owned("Description")?,
        role_arn: body.owned("RoleArn")?,
    };
    api.control.update_destination(name, change).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /destinations/{Name}`
pub async fn delete(api: &Api, name: &str) -> Result<Reply, ApiError> {
    api.control.delete_destination(name).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The list's name in answers.
const LIST: &str = "DestinationList";

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
