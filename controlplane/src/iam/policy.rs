//! What does a policy say of a request? AWS's JSON policies, judged by `iam-rs`.
//!
//! *Invariant:* what can't be judged is denied.

use std::net::IpAddr;

use iam_rs::{
    Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, PolicyEvaluator, Principal,
    PrincipalId, Validate,
};
use serde_json::{Map, Value};

use super::record::POLICY_BYTES_MAX;

/// The policies of one user, ready to judge.
pub struct Policies(PolicyEvaluator);

/// Who asks, when and from where, with which tags.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// `arn:aws:iam::123456789012:user/name`.
    pub principal: String,
    /// The user's name.
    pub user: String,
    /// The account's id.
    pub account: String,
    /// Where the request came from; a Unix socket is nowhere.
    pub source: Option<IpAddr>,
    /// It came over TLS.
    pub is_secure: bool,
    /// Unix time, seconds.
    pub now_unix_s: i64,
    /// Tags that the request gives.
    pub request_tags: Vec<(String, String)>,
    /// Keys of tags that the request takes away, beside those of `request_tags`.
    pub tag_keys: Vec<String>,
}

/// One resource of a request.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its ARN.
    pub arn: String,
    /// The tags it has.
    pub tags: Vec<(String, String)>,
}

/// What the policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it and none denies it.
    Allowed,
    /// No statement allows it.
    NotAllowed,
    /// A statement denies it, or can't be judged.
    Denied,
}

impl Policies {
    /// Of these documents, each checked by [`parse`] before it was stored. One that can't be read
    /// any more is a mistake nobody should profit of: it denies all.
    pub fn of<'a>(documents: impl Iterator<Item = &'a Value>) -> Self {
        let deny = || IAMPolicy::new().add_statement(deny_all());
        let policies = documents.map(|document| parse(document).unwrap_or_else(|_| deny()));
        Self(PolicyEvaluator::with_policies(policies.collect()))
    }

    /// May this be done to that?
    pub fn judge(&self, action: &str, resource: &Resource, about: &Circumstances) -> Verdict {
        let Ok(arn) = Arn::parse(&resource.arn) else { return Verdict::Denied };
        let principal = Principal::Aws(PrincipalId::String(about.principal.clone()));
        let context = context(resource, about);
        let request = IAMRequest::new_with_context(principal, action, arn, context);
        match self.0.evaluate(&request).map(|result| result.decision) {
            Ok(Decision::Allow) => Verdict::Allowed,
            Ok(Decision::NotApplicable) => Verdict::NotAllowed,
            Ok(Decision::Deny) => Verdict::Denied,
            Err(error) => {
                tracing::warn!(user = about.user, %error, "a policy can't be judged: denied");
                Verdict::Denied
            }
        }
    }
}

/// Reads a policy; a sentence says what is wrong with it.
pub fn parse(document: &Value) -> Result<IAMPolicy, String> {
    let bytes = document.to_string().len();
    if bytes > POLICY_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, at most {POLICY_BYTES_MAX} may be"));
    }
    let mut document = document.clone();
    for statement in statements(&mut document)? {
        check_statement(statement)?;
        fold_condition_keys(statement);
    }
    let policy: IAMPolicy = serde_json::from_value(document).map_err(|e| e.to_string())?;
    if policy.is_valid() { Ok(policy) } else { Err("it is not a valid policy".to_owned()) }
}

/// A policy's statements; AWS lets one stand without its list.
fn statements(document: &mut Value) -> Result<Vec<&mut Map<String, Value>>, String> {
    const NONE: &str = "it has no Statement";
    let version = document.get("Version").and_then(Value::as_str);
    if version != Some("2012-10-17") {
        return Err("its Version must be 2012-10-17".to_owned());
    }
    let found = document.get_mut("Statement").ok_or(NONE)?;
    if found.is_object() {
        *found = Value::Array(vec![found.take()]);
    }
    let found = found.as_array_mut().filter(|all| !all.is_empty()).ok_or(NONE)?;
    let objects: Option<Vec<_>> = found.iter_mut().map(Value::as_object_mut).collect();
    objects.ok_or_else(|| "a Statement is not an object".to_owned())
}

fn check_statement(statement: &Map<String, Value>) -> Result<(), String> {
    for member in ["Principal", "NotPrincipal"] {
        if statement.contains_key(member) {
            return Err(format!("a policy of a user has no {member}"));
        }
    }
    for [one, other] in [["Action", "NotAction"], ["Resource", "NotResource"]] {
        if statement.contains_key(one) == statement.contains_key(other) {
            return Err(format!("a Statement needs {one} or {other}, and not both"));
        }
    }
    Ok(())
}

/// Names of condition keys have no case; we write them all in lower case.
fn fold_condition_keys(statement: &mut Map<String, Value>) {
    let Some(Value::Object(conditions)) = statement.get_mut("Condition") else { return };
    for keys in conditions.values_mut().filter_map(Value::as_object_mut) {
        let folded = std::mem::take(keys).into_iter();
        *keys = folded.map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
    }
}

fn context(resource: &Resource, about: &Circumstances) -> Context {
    let mut context = Context::new();
    let mut text = |key: &str, value: &str| {
        context.insert(key.to_ascii_lowercase(), ContextValue::String(value.to_owned()));
    };
    text("aws:username", &about.user);
    text("aws:PrincipalArn", &about.principal);
    text("aws:PrincipalAccount", &about.account);
    text("aws:PrincipalType", "User");
    text("aws:ResourceAccount", &about.account);
    text("aws:CurrentTime", &iso8601(about.now_unix_s));
    text("aws:EpochTime", &about.now_unix_s.to_string());
    if let Some(source) = about.source {
        text("aws:SourceIp", &source.to_string());
    }
    for (key, value) in &about.request_tags {
        text(&format!("aws:RequestTag/{key}"), value);
    }
    for (key, value) in &resource.tags {
        text(&format!("aws:ResourceTag/{key}"), value);
    }
    context.insert("aws:securetransport".to_owned(), ContextValue::Boolean(about.is_secure));
    let given = about.request_tags.iter().map(|(key, _)| key.clone());
    let keys: Vec<String> = given.chain(about.tag_keys.iter().cloned()).collect();
    if !keys.is_empty() {
        context.insert("aws:tagkeys".to_owned(), ContextValue::StringList(keys));
    }
    context
}

fn iso8601(unix_s: i64) -> String {
    crate::api::shape::iso8601(u64::try_from(unix_s).unwrap_or(0) * 1_000)
}

fn deny_all() -> iam_rs::IAMStatement {
    iam_rs::IAMStatement::new(iam_rs::IAMEffect::Deny)
        .with_action(iam_rs::IAMAction::Single("*".to_owned()))
        .with_resource(iam_rs::IAMResource::Single("*".to_owned()))
}

#[cfg(test)]
mod tests;
