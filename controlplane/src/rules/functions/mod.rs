//! Which functions are there? AWS IoT SQL's, less those that ask AWS's own services.
// Some can't fail, but a table has one type.
#![allow(clippy::unnecessary_wraps)]

mod context;
mod digest;
mod numbers;
mod pattern;
mod structure;
mod text;
mod time;
mod time_format;
mod time_parse;

use std::borrow::Cow;
use std::ops::RangeInclusive;

use regex::Regex;

use super::Fault;
use super::evaluate::{Failure, Scene};
use super::value::Value;

pub(in crate::rules) use numbers::floor;
pub(in crate::rules) use text::encode_payload;

/// A function of the language.
pub(in crate::rules) struct Function {
    /// In lower case; any case calls it.
    pub(in crate::rules) name: &'static str,
    /// How many arguments it takes; called with another number it is Undefined.
    pub(in crate::rules) arguments: RangeInclusive<usize>,
    pub(in crate::rules) run: fn(&Scene<'_>, &Given<'_>) -> Outcome,
    /// The second argument is a regular expression.
    pub(in crate::rules) takes_pattern: bool,
    /// The first argument may be `*`, and is then the payload's bytes.
    pub(in crate::rules) takes_bytes: bool,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

type Outcome = Result<Value, Failure>;

/// What a function was called with.
pub(in crate::rules) struct Given<'a> {
    pub(in crate::rules) values: &'a [Cow<'a, Value>],
    /// The compiled pattern, when it is a literal.
    pub(in crate::rules) pattern: Option<&'a Regex>,
}

impl Given<'_> {
    fn value(&self, at: usize) -> &Value {
        self.values.get(at).map_or(&Value::Undefined, |value| value)
    }

    fn text(&self, at: usize) -> Option<Cow<'_, str>> {
        self.value(at).to_text()
    }

    fn index(&self, at: usize) -> Option<i128> {
        self.value(at).to_index()
    }
}

const fn function(
    name: &'static str,
    arguments: RangeInclusive<usize>,
    run: fn(&Scene<'_>, &Given<'_>) -> Outcome,
) -> Function {
    Function { name, arguments, run, takes_pattern: false, takes_bytes: false }
}

/// All of them, by where they are.
const GROUPS: [&[Function]; 7] = [
    context::FUNCTIONS,
    digest::FUNCTIONS,
    numbers::FUNCTIONS,
    pattern::FUNCTIONS,
    structure::FUNCTIONS,
    text::FUNCTIONS,
    time::FUNCTIONS,
];

/// Ask a service of AWS, or MQTT 5.
const ELSEWHERE: [&str; 9] = [
    "aws_lambda",
    "get_dynamodb",
    "get_mqtt_property",
    "get_registry_data",
    "get_secret",
    "get_thing_shadow",
    "get_user_properties",
    "machinelearning_predict",
    "sourceip",
];

/// The function of that name.
pub(in crate::rules) fn named(name: &str) -> Result<&'static Function, Fault> {
    let lower = name.to_ascii_lowercase();
    let mut all = GROUPS.iter().flat_map(|group| group.iter());
    if let Some(function) = all.find(|function| function.name == lower) {
        return Ok(function);
    }
    if ELSEWHERE.contains(&lower.as_str()) {
        return Err(Fault::new(format!("{lower} is not served here: it needs a service of AWS")));
    }
    Err(Fault::new(format!("there is no function {name}")))
}

/// The names of all functions, for the documentation's test.
#[cfg(test)]
pub(in crate::rules) fn names() -> Vec<&'static str> {
    GROUPS.iter().flat_map(|group| group.iter()).map(|function| function.name).collect()
}
