//! How are arrays and objects taken apart and put together?

use std::borrow::Cow;

use super::{Function, Given, Outcome, function};
use crate::rules::evaluate::Scene;
use crate::rules::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("concat", 0..=usize::MAX, concat),
    function("get", 2..=2, get),
    function("get_or_default", 1..=2, get_or_default),
    function("isnull", 1..=1, |_, given| Ok((*given.value(0) == Value::Null).into())),
    function("isundefined", 1..=1, |_, given| Ok((*given.value(0) == Value::Undefined).into())),
    function("transform", 3..=3, transform),
];

fn concat(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let values = given.values;
    if let [only] = values {
        return scene.own(Cow::Borrowed(only));
    }
    if values.iter().any(|value| matches!(**value, Value::Array(_))) {
        let mut items = Vec::new();
        for value in values {
            match scene.own(Cow::Borrowed(value))? {
                Value::Array(more) => items.extend(more),
                value => items.push(value),
            }
        }
        return Ok(Value::Array(items));
    }
    if !values.iter().any(|value| matches!(**value, Value::String(_))) {
        return Ok(Value::Undefined);
    }
    let mut text = String::new();
    for value in values {
        let Some(more) = value.to_text() else { return Ok(Value::Undefined) };
        scene.spend_text(text.len() + more.len())?;
        text.push_str(&more);
    }
    Ok(Value::String(text))
}

fn get(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let at = || given.index(1).and_then(|at| usize::try_from(at).ok());
    match (given.value(0), given.value(1)) {
        (object @ Value::Object(_), Value::String(name)) => {
            scene.own(Cow::Borrowed(object.member(name)))
        }
        (Value::Array(items), _) => match at().and_then(|at| items.get(at)) {
            Some(item) => scene.own(Cow::Borrowed(item)),
            None => Ok(Value::Undefined),
        },
        (Value::String(text), _) => {
            scene.spend(text.len() / 32)?;
            Ok(at().and_then(|at| text.chars().nth(at)).map(Value::text).into())
        }
        _ => Ok(Value::Undefined),
    }
}

/// The second argument where the first is Null or Undefined.
fn get_or_default(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let is_none = matches!(given.value(0), Value::Null | Value::Undefined);
    scene.own(Cow::Borrowed(given.value(usize::from(is_none))))
}

/// `enrichArray`: every object of the array has the members of the object too.
fn transform(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let parts = (given.value(0), given.value(1), given.value(2));
    let (Value::String(mode), Value::Object(additions), Value::Array(items)) = parts else {
        return Ok(Value::Undefined);
    };
    if mode != "enrichArray" {
        return Ok(Value::Undefined);
    }
    let mut enriched = Vec::with_capacity(items.len());
    for item in items {
        let mut item = scene.own(Cow::Borrowed(item))?;
        if !matches!(item, Value::Object(_)) {
            return Ok(Value::Undefined);
        }
        for (name, value) in additions {
            let value = scene.own(Cow::Borrowed(value))?;
            item.set(&[name.as_str().into()], value);
        }
        enriched.push(item);
    }
    Ok(Value::Array(enriched))
}
