//! Topic rules in the words of AWS IoT: create, get, list, replace, delete, enable, disable.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::validate::{Form, Members, NOT_NULL, Rule as Shape, Violations, parse_body};
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
    let rule = api.control.rule(checked_name(name)?).await?;
    let arn = arn(api, &rule.name);
    Ok(Reply::json(StatusCode::OK, json!({ "ruleArn": arn, "rule": described(&rule) })))
}

/// `GET /rules`: of `topic`, those whose FROM takes it; a page may be shorter than asked for.
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let disabled = match call.query.first("ruleDisabled") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(ApiError::serialization("ruleDisabled must be true or false.")),
    };
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
    api.control.delete_rule(checked_name(name)?).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

/// `POST /rules/{ruleName}/enable` and `…/disable`
pub async fn enable(api: &Api, name: &str, enabled: bool) -> Result<Reply, ApiError> {
    api.control.enable_rule(checked_name(name)?, enabled).await?;
    Ok(Reply::json(StatusCode::OK, json!({})))
}

fn read(call: &Call, name: &str) -> Result<Rule, ApiError> {
    let body = parse_body(&call.body)?;
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    let v = &mut violations;
    RULE_NAME.check("ruleName", name, v);
    let sql = body.required("sql", &SQL, v)?.to_owned();
    let description = body.checked("description", &DESCRIPTION, v)?.map(ToOwned::to_owned);
    let sql_version = body.checked("awsIotSqlVersion", &SQL_VERSION, v)?.map(ToOwned::to_owned);
    let disabled = body.boolean("ruleDisabled")?.unwrap_or(false);
    let error_action = body.nested("errorAction", |item| rule_actions::read(&item, v))?.flatten();
    let actions = body.nested_list("actions", |item| rule_actions::read(&item, v))?;
    match &actions {
        None => v.add("actions", NOT_NULL),
        Some(actions) if !(1..=ACTIONS_MAX).contains(&actions.len()) => {
            v.add("actions", format!("Member must have length between 1 and {ACTIONS_MAX}"));
        }
        Some(_) => {}
    }
    violations.check()?;
    let actions = actions.unwrap_or_default().into_iter().flatten().collect();
    let name = name.to_owned();
    Ok(Rule {
        name,
        sql,
        description,
        disabled,
        sql_version,
        actions,
        error_action,
        created_unix_ms: 0,
    })
}

fn checked_name(name: &str) -> Result<&str, ApiError> {
    let mut violations = Violations::default();
    RULE_NAME.check("ruleName", name, &mut violations);
    violations.check()?;
    Ok(name)
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

/// Most actions of a rule.
const ACTIONS_MAX: usize = 10;

const RULE_NAME: Shape =
    Shape { min: 1, max: 128, form: Form::Pattern("^[a-zA-Z0-9_]+$", is_rule_name) };
const SQL: Shape = Shape::length(1, 262_144);
const DESCRIPTION: Shape = Shape::length(0, 1_000);
const SQL_VERSION: Shape = Shape::one_of(&["2015-10-08", "2016-03-23", "beta"]);

fn is_rule_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_name_has_1_to_128_letters_digits_and_underscores() {
        assert!(checked_name("a").is_ok());
        assert!(checked_name(&"_9".repeat(64)).is_ok());
        assert!(checked_name(&"a".repeat(129)).is_err());
        assert!(checked_name("a-b").is_err());
        assert!(checked_name("").is_err());
    }
}
