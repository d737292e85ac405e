//! What is a constraint, and who violates it? Rules for text and numbers, and typed reading of JSON
//! members that [`super::spec`] has checked by them.
//!
//! Clients check little (boto3: types and minimums; JavaScript: nothing), so everything is checked
//! here. A member of another JSON type ends checking at once (SerializationException); violated
//! constraints are gathered and answered together (ValidationException). Members that no shape
//! knows are ignored, as AWS does. `null` is the same as absent.
//!
//! Nothing here puts a value into a text: members may be secret.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::ApiError;

/// One constraint that a value does not satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Member path, `Cellular.DtlsV1_2.PreSharedKeySecret`.
    pub path: String,
    /// `Member must …`.
    pub constraint: String,
}

/// The violations found so far. Reading goes on after one; [`Violations::check`] ends it.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Notes one.
    pub fn add(&mut self, path: &str, constraint: impl Into<String>) {
        self.0.push(Violation { path: path.to_owned(), constraint: constraint.into() });
    }

    /// `Err` when there was any.
    pub fn check(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::validation(self.0)) }
    }
}

/// A JSON object being read, and where it stands in the body.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    object: &'a Map<String, Value>,
    prefix: &'a str,
}

/// Parses a body into an object; an empty body is an empty object.
pub fn parse_body(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::serialization("Start of structure expected.")),
        Err(error) => Err(ApiError::serialization(format!(
            "The body is not valid JSON: line {}, column {}.",
            error.line(),
            error.column()
        ))),
    }
}

impl<'a> Members<'a> {
    /// The members of the whole body.
    pub fn of_body(object: &'a Map<String, Value>) -> Self {
        Self { object, prefix: "" }
    }

    /// The members of an object that stands at `prefix` in the body.
    pub fn at(object: &'a Map<String, Value>, prefix: &'a str) -> Self {
        Self { object, prefix }
    }

    /// The path of a member of this object.
    pub fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// A member that is there and not null.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Is there such a member?
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn wrong_type(&self, name: &str, wanted: &str) -> ApiError {
        ApiError::serialization(format!("Value at '{}' must be {wanted}.", self.path(name)))
    }

    /// A string.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong_type(name, "a string")),
        }
    }

    /// A string that its shape requires.
    pub fn required(&self, name: &str) -> Result<&'a str, ApiError> {
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// A string as one's own.
    pub fn owned(&self, name: &str) -> Result<Option<String>, ApiError> {
        Ok(self.text(name)?.map(ToOwned::to_owned))
    }

    /// An integer.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_i64().map(Some).ok_or_else(|| self.wrong_type(name, "an integer"))
    }

    /// A number, whole or not.
    pub fn number(&self, name: &str) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.wrong_type(name, "a number"))
    }

    /// A boolean.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong_type(name, "a boolean"))
    }

    /// A list.
    pub fn list(&self, name: &str) -> Result<Option<&'a [Value]>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong_type(name, "a list")),
        }
    }

    /// A list of strings.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<&'a str>>, ApiError> {
        let Some(items) = self.list(name)? else { return Ok(None) };
        let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
        texts.map(Some).ok_or_else(|| self.wrong_type(name, "a list of strings"))
    }

    /// A map of strings.
    pub fn texts_by_name(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let members = value.as_object().ok_or_else(|| self.wrong_type(name, "a map"))?;
        let read =
            |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        let texts: Option<BTreeMap<_, _>> = members.iter().map(read).collect();
        texts.map(Some).ok_or_else(|| self.wrong_type(name, "a map of strings"))
    }

    /// Reads a nested object with `read`, which gets its members.
    pub fn nested<T>(
        &self,
        name: &str,
        read: impl FnOnce(Members<'_>) -> Result<T, ApiError>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let object = value.as_object().ok_or_else(|| self.wrong_type(name, "a structure"))?;
        let prefix = self.path(name);
        read(Members { object, prefix: &prefix }).map(Some)
    }

    /// Reads every object of a list with `read`.
    pub fn nested_list<T>(
        &self,
        name: &str,
        mut read: impl FnMut(Members<'_>) -> Result<T, ApiError>,
    ) -> Result<Option<Vec<T>>, ApiError> {
        let Some(items) = self.list(name)? else { return Ok(None) };
        let mut all = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let object =
                item.as_object().ok_or_else(|| self.wrong_type(name, "a list of structures"))?;
            // AWS counts list members from 1.
            let prefix = format!("{}.{}", self.path(name), index + 1);
            all.push(read(Members { object, prefix: &prefix })?);
        }
        Ok(Some(all))
    }
}

/// What a string must be.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Fewest characters.
    pub min: usize,
    /// Most characters.
    pub max: usize,
    /// Which strings, beside their length.
    pub form: Form,
}

/// Which strings a rule allows.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Every string.
    Any,
    /// Strings that match the pattern whole, which is shown to the caller; the function is true for
    /// the same.
    Pattern(&'static str, fn(&str) -> bool),
    /// Strings for which the function is true, where a pattern would say little to people: they are
    /// shown words. What is allowed matches the pattern, and so may other strings.
    Words(&'static str, &'static str, fn(&str) -> bool),
    /// One of a closed set.
    OneOf(&'static [&'static str]),
}

impl Form {
    /// The pattern, as it is between `^(?:` and `)$`: ECMAScript and the crate `regex` read it.
    pub fn pattern(&self) -> Option<&'static str> {
        let (Self::Pattern(pattern, _) | Self::Words(_, pattern, _)) = self else { return None };
        let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
        Some(inner.unwrap_or(pattern))
    }
}

impl Rule {
    /// Any string of a length.
    pub const fn length(min: usize, max: usize) -> Self {
        Self { min, max, form: Form::Any }
    }

    /// One of `set`.
    pub const fn one_of(set: &'static [&'static str]) -> Self {
        Self { min: 0, max: usize::MAX, form: Form::OneOf(set) }
    }

    /// Notes what `text` violates.
    pub fn check(&self, path: &str, text: &str, violations: &mut Violations) {
        let count = text.chars().count();
        if count < self.min {
            violations.add(
                path,
                format!("Member must have length greater than or equal to {}", self.min),
            );
        }
        if count > self.max {
            violations
                .add(path, format!("Member must have length less than or equal to {}", self.max));
        }
        match self.form {
            Form::Any => {}
            Form::Pattern(shown, allows) | Form::Words(shown, _, allows) => {
                if !allows(text) {
                    violations.add(
                        path,
                        format!("Member must satisfy regular expression pattern: {shown}"),
                    );
                }
            }
            Form::OneOf(set) => {
                if !set.contains(&text) {
                    violations.add(
                        path,
                        format!("Member must satisfy enum value set: [{}]", set.join(", ")),
                    );
                }
            }
        }
    }
}

/// Notes a number outside `range`.
pub fn check_range(
    path: &str,
    number: i64,
    range: &std::ops::RangeInclusive<i64>,
    violations: &mut Violations,
) {
    if number < *range.start() {
        violations.add(
            path,
            format!("Member must have value greater than or equal to {}", range.start()),
        );
    }
    if number > *range.end() {
        violations
            .add(path, format!("Member must have value less than or equal to {}", range.end()));
    }
}

/// The constraint a missing required member violates.
pub const NOT_NULL: &str = "Member must not be null";

#[cfg(test)]
pub(super) mod tests;
