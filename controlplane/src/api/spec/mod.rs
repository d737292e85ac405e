//! Which members has a request or an answer? Shapes as data, and the one place where a call is
//! checked by them: what checks a request is what the OpenAPI document says of it.
//!
//! Handlers read what was checked already. They add only what lies between members (a PUT needs a
//! payload), which no shape can say.

pub mod iot_shapes;
pub mod openapi;
pub mod operations;
pub mod resource_shapes;
pub mod shapes;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Call;
use super::error::ApiError;
use super::query::Query;
use super::route::Operation;
use super::shape;
use super::validate::{Members, NOT_NULL, Rule, Violations, check_range};

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    Text(&'static Rule),
    /// A string, or the empty one to remove what is there.
    Removable(&'static Rule),
    /// A whole number.
    Integer(i64, i64),
    /// A number.
    Number,
    /// A number within these.
    Decimal(i64, i64),
    /// True or false.
    Boolean,
    /// Every value of a kind, at most so many.
    List(&'static Kind, usize),
    /// Strings by their names.
    Map,
    /// An object.
    Structure(&'static [Member]),
    /// Any of these; no two have the same type in JSON.
    OneOf(&'static [Kind]),
}

/// A member of a structure, or a name in a query.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// It must be there.
    pub required: bool,
    /// What it must be.
    pub kind: Kind,
}

/// A member that may be left out.
pub const fn may(name: &'static str, kind: Kind) -> Member {
    Member { name, required: false, kind }
}

/// A member that must be there.
pub const fn must(name: &'static str, kind: Kind) -> Member {
    Member { name, required: true, kind }
}

/// Is the call what its operation's shapes allow? Labels of the path, query and body together: what
/// is violated is told at once.
pub fn check_call(operation: &Operation, call: &Call) -> Result<(), ApiError> {
    let Some(spec) = operations::of(operation.name()) else { return Ok(()) };
    let mut violations = Violations::default();
    for (name, label) in operation.label_names().zip(operation.labels(&call.path)) {
        label_rule(name).check(&lower_first(name), label, &mut violations);
    }
    check_query(&call.query, spec.query, &mut violations)?;
    if let Some(members) = spec.input {
        let body = call.json.as_ref().map_err(ApiError::clone)?;
        check(body, "", members, &mut violations)?;
    }
    violations.check()
}

/// What a segment of the path must be, by the name that the table of operations gives it.
pub fn label_rule(name: &str) -> &'static Rule {
    match name {
        "Name" => &shape::DESTINATION_NAME,
        "ruleName" => &iot_shapes::RULE_NAME,
        "certificateId" => &iot_shapes::CERTIFICATE_ID,
        _ => &shape::IDENTIFIER,
    }
}

/// As AWS's messages write it.
fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().collect::<String>() + letters.as_str()
    })
}

/// The same of a query: everything in it is text.
pub(super) fn check_query(
    query: &Query,
    members: &[Member],
    violations: &mut Violations,
) -> Result<(), ApiError> {
    for member in members {
        let mut found = query.all(member.name).enumerate().peekable();
        if member.required && found.peek().is_none() {
            violations.add(member.name, NOT_NULL);
        }
        if let Kind::List(kind, most) = member.kind {
            let count = query.all(member.name).count();
            if count > most {
                violations.add(member.name, at_most(most));
            }
            for (at, text) in found.take(most) {
                check_text(text, &format!("{}.{}", member.name, at + 1), kind, violations)?;
            }
        } else if let Some((_, text)) = found.next() {
            check_text(text, member.name, &member.kind, violations)?;
        }
    }
    Ok(())
}

fn check_text(
    text: &str,
    path: &str,
    kind: &Kind,
    violations: &mut Violations,
) -> Result<(), ApiError> {
    let wrong = |wanted: &str| ApiError::serialization(format!("{path} must be {wanted}."));
    match kind {
        Kind::Integer(least, most) => {
            let number = text.parse().map_err(|_| wrong("an integer"))?;
            check_range(path, number, &(*least..=*most), violations);
        }
        Kind::Boolean if text != "true" && text != "false" => return Err(wrong("true or false")),
        Kind::Text(rule) => rule.check(path, text, violations),
        _ => {}
    }
    Ok(())
}

/// The body, which was checked, as a type.
pub fn input<T: DeserializeOwned>(call: &Call, members: &[Member]) -> Result<T, ApiError> {
    let body = call.json.as_ref().map_err(ApiError::clone)?;
    serde_json::from_value(known(body, members))
        .map_err(|_| ApiError::serialization("The body has members of another type."))
}

/// Is this what the operation answers? For those who test it.
#[cfg(test)]
pub(super) fn check_answer(spec: &operations::Spec, body: &Value) -> Result<(), String> {
    let Some(members) = spec.output else { return Ok(()) };
    let Some(object) = body.as_object() else { return Err("no object".to_owned()) };
    let mut violations = Violations::default();
    let said = check(object, "", members, &mut violations).and_then(|()| violations.check());
    said.map_err(|error| error.body(super::error::Dialect::Wireless).to_string())?;
    if known(object, members) == *body { Ok(()) } else { Err("it has other members".to_owned()) }
}

fn at_most(most: usize) -> String {
    format!("Member must have length less than or equal to {most}")
}

/// What is violated of the shape; another JSON type is an error at once.
pub(super) fn check(
    body: &Map<String, Value>,
    prefix: &str,
    members: &[Member],
    violations: &mut Violations,
) -> Result<(), ApiError> {
    let of = Members::at(body, prefix);
    for member in members {
        let path = of.path(member.name);
        match body.get(member.name).filter(|value| !value.is_null()) {
            Some(value) => check_value(value, &path, &member.kind, violations)?,
            None if member.required => violations.add(&path, NOT_NULL),
            None => {}
        }
    }
    Ok(())
}

fn check_value(
    value: &Value,
    path: &str,
    kind: &Kind,
    violations: &mut Violations,
) -> Result<(), ApiError> {
    let wrong =
        |wanted: &str| ApiError::serialization(format!("Value at '{path}' must be {wanted}."));
    match kind {
        Kind::Text(rule) | Kind::Removable(rule) => {
            let text = value.as_str().ok_or_else(|| wrong("a string"))?;
            if !(text.is_empty() && matches!(kind, Kind::Removable(_))) {
                rule.check(path, text, violations);
            }
        }
        Kind::Integer(least, most) => {
            let number = value.as_i64().ok_or_else(|| wrong("an integer"))?;
            check_range(path, number, &(*least..=*most), violations);
        }
        Kind::Number => {
            value.as_f64().ok_or_else(|| wrong("a number"))?;
        }
        Kind::Decimal(least, most) => {
            let number = value.as_f64().ok_or_else(|| wrong("a number"))?;
            let (low, high) = (number < *least as f64, number > *most as f64);
            let outside = if low { least - 1 } else { most + 1 };
            if low || high {
                check_range(path, outside, &(*least..=*most), violations);
            }
        }
        Kind::Boolean => {
            value.as_bool().ok_or_else(|| wrong("a boolean"))?;
        }
        Kind::List(kind, most) => {
            let items = value.as_array().ok_or_else(|| wrong("a list"))?;
            if items.len() > *most {
                violations.add(path, at_most(*most));
            }
            for (at, item) in items.iter().enumerate().take(*most) {
                // AWS counts list members from 1.
                check_value(item, &format!("{path}.{}", at + 1), kind, violations)?;
            }
        }
        Kind::Map => {
            let object = value.as_object().ok_or_else(|| wrong("a map"))?;
            if !object.values().all(Value::is_string) {
                return Err(wrong("a map of strings"));
            }
        }
        Kind::OneOf(kinds) => {
            let kind = kinds.iter().find(|kind| kind.fits(value));
            check_value(value, path, kind.unwrap_or(&kinds[0]), violations)?;
        }
        Kind::Structure(members) => {
            let object = value.as_object().ok_or_else(|| wrong("a structure"))?;
            check(object, path, members, violations)?;
        }
    }
    Ok(())
}

impl Kind {
    /// Is it a value of its type in JSON?
    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Text(_) | Self::Removable(_) => value.is_string(),
            Self::Integer(..) | Self::Number | Self::Decimal(..) => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::List(..) => value.is_array(),
            Self::Map | Self::Structure(_) => value.is_object(),
            Self::OneOf(kinds) => kinds.iter().any(|kind| kind.fits(value)),
        }
    }
}

/// The members that the shape knows: others are ignored, as AWS does, and null is absent.
fn known(body: &Map<String, Value>, members: &[Member]) -> Value {
    let known = members.iter().filter_map(|member| {
        let value = body.get(member.name).filter(|value| !value.is_null())?;
        Some((member.name.to_owned(), known_value(value, &member.kind)))
    });
    Value::Object(known.collect())
}

fn known_value(value: &Value, kind: &Kind) -> Value {
    match (kind, value) {
        (Kind::Structure(members), Value::Object(object)) => known(object, members),
        (Kind::OneOf(kinds), _) => match kinds.iter().find(|kind| kind.fits(value)) {
            Some(kind) => known_value(value, kind),
            None => value.clone(),
        },
        (Kind::List(kind, _), Value::Array(items)) => {
            items.iter().map(|item| known_value(item, kind)).collect()
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests;
