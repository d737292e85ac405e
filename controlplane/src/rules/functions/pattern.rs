//! Does a text match a regular expression? Patterns of the `regex` crate: linear time, so without
//! look-around and back-references.

use std::borrow::Cow;

use regex::{Captures, Regex};

use super::{Function, Given, Outcome, function};
use crate::rules::evaluate::{Failure, Scene};
use crate::rules::expression;
use crate::rules::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function { takes_pattern: true, ..function("regexp_matches", 2..=2, matches) },
    Function { takes_pattern: true, ..function("regexp_replace", 3..=3, replace) },
    Function { takes_pattern: true, ..function("regexp_substr", 2..=2, substr) },
];

/// What compiling a pattern counts, in steps.
const PATTERN_STEPS: usize = 2_000;
/// Longest pattern that a message may bring, bytes.
const PATTERN_BYTES_MAX: usize = 256;
/// Largest compiled, bytes.
const COMPILED_BYTES_MAX: usize = 64 << 10;

type Parts<'a> = (Cow<'a, str>, Cow<'a, Regex>);

/// The text, and the pattern compiled with the rule or, when the message brings it, now.
fn parts<'a>(scene: &Scene<'_>, given: &'a Given<'_>) -> Result<Option<Parts<'a>>, Failure> {
    let (Some(text), Some(pattern)) = (given.text(0), given.text(1)) else { return Ok(None) };
    scene.spend(1 + text.len() / 8)?;
    if let Some(compiled) = given.pattern {
        return Ok(Some((text, Cow::Borrowed(compiled))));
    }
    scene.spend(PATTERN_STEPS)?;
    if pattern.len() > PATTERN_BYTES_MAX {
        return Ok(None);
    }
    Ok(expression::pattern(&pattern, COMPILED_BYTES_MAX)
        .ok()
        .map(|pattern| (text, Cow::Owned(pattern))))
}

fn matches(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let parts = parts(scene, given)?;
    Ok(parts.map(|(text, pattern)| pattern.is_match(&text).into()).into())
}

fn substr(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let Some((text, pattern)) = parts(scene, given)? else { return Ok(Value::Undefined) };
    match pattern.find(&text) {
        Some(found) => scene.text(found.as_str().to_owned()),
        None => Ok(Value::Undefined),
    }
}

fn replace(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let (Some((text, pattern)), Some(by)) = (parts(scene, given)?, given.text(2)) else {
        return Ok(Value::Undefined);
    };
    let mut replaced = String::new();
    let mut rest = 0;
    for found in pattern.captures_iter(&text) {
        let Some(all) = found.get(0) else { continue };
        replaced.push_str(&text[rest..all.start()]);
        rest = all.end();
        if expand(&by, &found, &mut replaced).is_none() {
            return Ok(Value::Undefined);
        }
        scene.spend_text(replaced.len())?;
    }
    replaced.push_str(&text[rest..]);
    scene.text(replaced)
}

/// `$1` is a group, `\` takes the meaning of what follows; `None`: there is no such group. As many
/// digits count as name a group.
fn expand(by: &str, found: &Captures<'_>, to: &mut String) -> Option<()> {
    let mut rest = by.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\\' => to.push(rest.next()?),
            '$' => {
                let mut group = rest.next()?.to_digit(10)? as usize;
                while let Some(digit) = rest.peek().and_then(|digit| digit.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer >= found.len() {
                        break;
                    }
                    group = longer;
                    rest.next();
                }
                if group >= found.len() {
                    return None;
                }
                to.push_str(found.get(group).map_or("", |group| group.as_str()));
            }
            other => to.push(other),
        }
    }
    Some(())
}
