//! Topic rules in the words of AWS IoT: create, get, list, replace, delete, enable, disable.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::validate::Violations;
use super::{Api, Call, Reply, page, rule_actions};
use crate::model::Rule;
use crate::rules;

/// `POST /rules/{ruleName}`
pub async fn create(api: &Api, call: &Call, name: &str) -> Result<Reply, ApiError> {
    api.control.create_rule(read(call, name)?).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

/// `PATCH /rules/{ruleName}`: the whole rule is replaced.
pub async fn replace(api: &Api, call: &Call, name: &str) -> Result<Reply, ApiError> {
    api.control.replace_rule(read(call, name)?).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

/// `GET /rules/{ruleName}`
pub async fn get(api: &Api, name: &str) -> Result<Reply, ApiError> {
    let rule = api.control.rule(name).await?;
    let arn = arn(api, &rule.name);
    Ok(Reply::json(StatusCode::OK, json!({ "ruleArn": arn, "rule": described(&rule) })))
}

/// `GET /rules`: of `topic`, those whose FROM takes it; a page may be shorter than asked for.
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let disabled = call.query.first("ruleDisabled").map(|text| text == "true");
    let topic = call.query.first("topic");
    let is_wanted = |rule: &&Rule| {
        disabled.is_none_or(|disabled| rule.disabled == disabled)
            && topic.is_none_or(|topic| rules::takes_topic(&rule.sql, topic))
    };
    let found = api.control.rules(page::request(&call.query, LIST)?).await?;
    let rules: Vec<Value> = found
        .items
        .iter()
        .filter(is_wanted)
        .map(|rule| {
            json!({
                "ruleArn": arn(api, &rule.name),
                "ruleName": rule.name,
                "topicPattern": rules::topic_pattern(&rule.sql),
                "createdAt": seconds(rule.created_unix_ms),
                "ruleDisabled": rule.disabled,
            })
        })
        .collect();
    let mut body = json!({ LIST: rules });
    if let Some(next) = found.next {
        body["nextToken"] = json!(page::token(&next, LIST));
    }
    Ok(Reply::json(StatusCode::OK, body))
}

/// `DELETE /rules/{ruleName}`
pub async fn delete(api: &Api, name: &str) -> Result<Reply, ApiError> {
    api.control.delete_rule(name).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

/// `POST /rules/{ruleName}/enable` and `…/disable`
pub async fn enable(api: &Api, name: &str, enabled: bool) -> Result<Reply, ApiError> {
    api.control.enable_rule(name, enabled).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

fn read(call: &Call, name: &str) -> Result<Rule, ApiError> {
    let body = call.members();
    let mut violations = Violations::default();
    let v = &mut violations;
    let error_action = body.nested("errorAction", |item| rule_actions::read(&item, v))?.flatten();
    let actions = body.nested_list("actions", |item| rule_actions::read(&item, v))?;
    if actions.as_ref().is_some_and(Vec::is_empty) {
        v.add("actions", "Member must have length greater than or equal to 1");
    }
    violations.check()?;
    let actions = actions.unwrap_or_default().into_iter().flatten().collect();
    Ok(Rule {
        name: name.to_owned(),
        sql: body.required("sql")?.to_owned(),
        description: body.owned("description")?,
        disabled: body.boolean("ruleDisabled")?.unwrap_or(false),
        sql_version: body.owned("awsIotSqlVersion")?,
        actions,
        error_action,
        created_unix_ms: 0,
    })
}

fn described(rule: &Rule) -> Value {
    let actions: Vec<Value> = rule.actions.iter().map(rule_actions::described).collect();
    let mut body = json!({
        "ruleName": rule.name,
        "sql": rule.sql,
        "createdAt": seconds(rule.created_unix_ms),
        "actions": actions,
        "ruleDisabled": rule.disabled,
    });
    if let Some(description) = &rule.description {
        body["description"] = json!(description);
    }
    // What AWS takes for a rule that names none.
    body["awsIotSqlVersion"] = json!(rule.sql_version.as_deref().unwrap_or("2015-10-08"));
    if let Some(action) = &rule.error_action {
        body["errorAction"] = rule_actions::described(action);
    }
    body
}

fn arn(api: &Api, name: &str) -> String {
    let aws = &api.aws;
    format!("arn:{}:iot:{}:{}:rule/{name}", aws.partition, aws.region, aws.account_id)
}

/// AWS IoT's times are Unix seconds.
fn seconds(unix_ms: u64) -> u64 {
    unix_ms / 1_000
}

/// The list's name in answers.
const LIST: &str = "rules";
