//! How are texts cut, padded, searched and encoded? Positions count characters from 0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Function, Given, Outcome, function};
use crate::rules::evaluate::Scene;
use crate::rules::number;
use crate::rules::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("chr", 1..=1, chr),
    function("decode", 2..=2, decode),
    Function { takes_bytes: true, ..function("encode", 2..=2, encode) },
    function("endswith", 2..=2, |_, given| Ok(both(given, |text, end| text.ends_with(end)))),
    function("indexof", 2..=2, indexof),
    function("length", 1..=1, |_, given| Ok(count(given, |text| text.chars().count()))),
    function("lower", 1..=1, |scene, given| mapped(scene, given, str::to_lowercase)),
    function("lpad", 2..=2, |scene, given| padded(scene, given, |text, pad| pad + text)),
    function("ltrim", 1..=1, |scene, given| {
        mapped(scene, given, |text| text.trim_start_matches(SPACE).to_owned())
    }),
    function("numbytes", 1..=1, |_, given| Ok(count(given, str::len))),
    function("replace", 3..=3, replace),
    function("rpad", 2..=2, |scene, given| {
        padded(scene, given, |text, pad| text.to_owned() + &pad)
    }),
    function("rtrim", 1..=1, |scene, given| {
        mapped(scene, given, |text| text.trim_end_matches(SPACE).to_owned())
    }),
    function("startswith", 2..=2, |_, given| {
        Ok(both(given, |text, start| text.starts_with(start)))
    }),
    function("substring", 2..=3, substring),
    function("trim", 1..=1, |scene, given| {
        mapped(scene, given, |text| text.trim_matches(SPACE).to_owned())
    }),
    function("upper", 1..=1, |scene, given| mapped(scene, given, str::to_uppercase)),
];

/// What the trims take away.
const SPACE: [char; 2] = [' ', '\t'];
/// Most spaces that padding adds.
const PADDING_MAX: i128 = 1_000;

/// `encode(*, 'base64')`: the bytes of the payload, JSON or not.
pub(in crate::rules) fn encode_payload(scene: &Scene<'_>) -> Outcome {
    scene.spend_text(scene.message.payload.len() / 3 * 4)?;
    Ok(Value::String(STANDARD.encode(scene.message.payload)))
}

fn encode(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let (Some(text), true) = (given.text(0), is_base64(given)) else {
        return Ok(Value::Undefined);
    };
    scene.text(STANDARD.encode(text.as_bytes()))
}

/// An addressable value when the text is JSON, the text when it is not, Null when it can't be
/// decoded.
fn decode(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let (Some(text), true) = (given.text(0), is_base64(given)) else {
        return Ok(Value::Undefined);
    };
    scene.spend(1 + text.len() / 32)?;
    let decoded = STANDARD.decode(text.as_bytes()).ok();
    let Some(decoded) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return Ok(Value::Null);
    };
    match scene.read(decoded.as_bytes()) {
        Some(value) => {
            scene.spend(decoded.len() / 8)?;
            Ok(value)
        }
        None => Ok(Value::String(decoded)),
    }
}

fn is_base64(given: &Given<'_>) -> bool {
    matches!(given.value(1), Value::String(scheme) if scheme == "base64")
}

fn both(given: &Given<'_>, is: fn(&str, &str) -> bool) -> Value {
    given.text(0).zip(given.text(1)).map(|(text, other)| is(&text, &other).into()).into()
}

fn count(given: &Given<'_>, of: fn(&str) -> usize) -> Value {
    given.text(0).map(|text| number::int(of(&text) as i128)).into()
}

fn mapped(scene: &Scene<'_>, given: &Given<'_>, to: impl Fn(&str) -> String) -> Outcome {
    match given.text(0) {
        Some(text) => scene.text(to(&text)),
        None => Ok(Value::Undefined),
    }
}

fn padded(scene: &Scene<'_>, given: &Given<'_>, to: fn(&str, String) -> String) -> Outcome {
    let (Some(text), Some(spaces)) = (given.text(0), given.index(1)) else {
        return Ok(Value::Undefined);
    };
    scene.text(to(&text, " ".repeat(spaces.clamp(0, PADDING_MAX) as usize)))
}

fn chr(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let ascii = given.index(0).and_then(|code| u8::try_from(code).ok()).filter(u8::is_ascii);
    match ascii {
        Some(ascii) => scene.text(char::from(ascii).to_string()),
        None => Ok(Value::Undefined),
    }
}

fn indexof(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let (Some(text), Some(wanted)) = (given.text(0), given.text(1)) else {
        return Ok(Value::Undefined);
    };
    scene.spend(text.len() / 32)?;
    let at = text.find(&*wanted).map(|at| text[..at].chars().count());
    Ok(number::int(at.map_or(-1, |at| at as i128)))
}

fn replace(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let (Some(text), Some(old), Some(new)) = (given.text(0), given.text(1), given.text(2)) else {
        return Ok(Value::Undefined);
    };
    let count = text.matches(&*old).count();
    scene.spend_text(text.len().saturating_add(count.saturating_mul(new.len())))?;
    Ok(Value::String(text.replace(&*old, &new)))
}

fn substring(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let (Some(text), Some(start)) = (given.text(0), given.index(1)) else {
        return Ok(Value::Undefined);
    };
    let end = match given.values.get(2) {
        Some(_) => given.index(2),
        None => Some(i128::MAX),
    };
    let Some(end) = end else { return Ok(Value::Undefined) };
    let within = |at: i128| usize::try_from(at.max(0)).unwrap_or(usize::MAX);
    let (start, end) = (within(start), within(end));
    scene.text(text.chars().take(end).skip(start).collect())
}
