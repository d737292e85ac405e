//! Which members has a request or an answer? Shapes as data: what checks a request is what the
//! OpenAPI document says of it.

pub mod openapi;
pub mod operations;
pub mod shapes;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Call;
use super::error::ApiError;
use super::validate::{Members, NOT_NULL, Rule, Violations, check_range, parse_body};

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    Text(&'static Rule),
    /// A whole number.
    Integer(i64, i64),
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// Every value of a kind, at most so many.
    List(&'static Kind, usize),
    /// An object.
    Structure(&'static [Member]),
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

/// Reads a body of this shape.
pub fn input<T: DeserializeOwned>(call: &Call, members: &[Member]) -> Result<T, ApiError> {
    let body = parse_body(&call.body)?;
    let mut violations = Violations::default();
    check(&body, "", members, &mut violations)?;
    violations.check()?;
    let known = known(&body, members);
    serde_json::from_value(known)
        .map_err(|_| ApiError::serialization("The body has members of another type."))
}

/// What is violated of the shape; another JSON type is an error at once.
fn check(
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
        Kind::Text(rule) => {
            rule.check(path, value.as_str().ok_or_else(|| wrong("a string"))?, violations);
        }
        Kind::Integer(least, most) => {
            let number = value.as_i64().ok_or_else(|| wrong("an integer"))?;
            check_range(path, number, &(*least..=*most), violations);
        }
        Kind::Number => {
            value.as_f64().ok_or_else(|| wrong("a number"))?;
        }
        Kind::Boolean => {
            value.as_bool().ok_or_else(|| wrong("a boolean"))?;
        }
        Kind::List(kind, most) => {
            let items = value.as_array().ok_or_else(|| wrong("a list"))?;
            if items.len() > *most {
                violations
                    .add(path, format!("Member must have length less than or equal to {most}"));
            }
            for (at, item) in items.iter().enumerate().take(*most) {
                // AWS counts list members from 1.
                check_value(item, &format!("{path}.{}", at + 1), kind, violations)?;
            }
        }
        Kind::Structure(members) => {
            let object = value.as_object().ok_or_else(|| wrong("a structure"))?;
            check(object, path, members, violations)?;
        }
    }
    Ok(())
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
        (Kind::List(kind, _), Value::Array(items)) => {
            items.iter().map(|item| known_value(item, kind)).collect()
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests;
