//! How are moments written and read? `parse_time` by Joda-Time's letters, `time_to_epoch` by those
//! of `java.time`; zones by the IANA database that comes with `jiff`.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::{Function, Given, Outcome, function, time_format, time_parse};
use crate::rules::evaluate::Scene;
use crate::rules::number;
use crate::rules::value::Value;

pub(super) const FUNCTIONS: &[Function] =
    &[function("parse_time", 2..=3, parse_time), function("time_to_epoch", 2..=2, time_to_epoch)];

/// Longest pattern, bytes.
const PATTERN_BYTES_MAX: usize = 128;

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// So many of a letter.
    Field(char, usize),
    /// Written as it is.
    Text(String),
}

fn parse_time(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let zone = match given.values.get(2) {
        Some(zone) => zone.to_text().and_then(|name| zone_named(&name)),
        None => Some(TimeZone::UTC),
    };
    let parts = given.text(0).and_then(|pattern| parts(&pattern));
    let ms = given.index(1).and_then(|ms| i64::try_from(ms).ok());
    let at = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let (Some(parts), Some(at), Some(zone)) = (parts, at, zone) else {
        return Ok(Value::Undefined);
    };
    scene.spend(parts.len())?;
    match time_format::format(&parts, &at.to_zoned(zone)) {
        Some(text) => scene.text(text),
        None => Ok(Value::Undefined),
    }
}

fn time_to_epoch(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let (Some(text), Some(pattern)) = (given.text(0), given.text(1)) else {
        return Ok(Value::Undefined);
    };
    scene.spend(1 + text.len() / 8)?;
    let at = parts(&pattern).and_then(|parts| time_parse::parse(&parts, &text));
    Ok(at.map(|at| number::int(i128::from(at.as_millisecond()))).into())
}

/// `None`: a quote is not closed, or it is too long.
fn parts(pattern: &str) -> Option<Vec<Part>> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return None;
    }
    let mut parts = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\'' if rest.next_if_eq(&'\'').is_some() => push_text(&mut parts, '\''),
            '\'' => loop {
                match rest.next()? {
                    '\'' if rest.next_if_eq(&'\'').is_some() => push_text(&mut parts, '\''),
                    '\'' => break,
                    quoted => push_text(&mut parts, quoted),
                }
            },
            letter if letter.is_ascii_alphabetic() => {
                let mut count = 1;
                while rest.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                parts.push(Part::Field(letter, count));
            }
            other => push_text(&mut parts, other),
        }
    }
    Some(parts)
}

fn push_text(parts: &mut Vec<Part>, text: char) {
    match parts.last_mut() {
        Some(Part::Text(so_far)) => so_far.push(text),
        _ => parts.push(Part::Text(text.into())),
    }
}

/// A region (`America/Belize`), `UTC`, `Z`, an offset (`+01:00`), or `UTC+01:00`.
pub(super) fn zone_named(name: &str) -> Option<TimeZone> {
    if matches!(name, "UTC" | "GMT" | "UT" | "Z" | "z") {
        return Some(TimeZone::UTC);
    }
    let bare = ["UTC", "GMT", "UT"].iter().find_map(|prefix| name.strip_prefix(prefix));
    if let Some(offset) = offset(bare.unwrap_or(name)) {
        return Some(TimeZone::fixed(offset));
    }
    TimeZone::get(name).ok()
}

/// `+1`, `+01`, `+0100`, `+01:00` or `+01:00:00`.
fn offset(text: &str) -> Option<Offset> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| digits.get(at..at + 2).map_or(Some(0), |two| two.parse::<i32>().ok());
    let hours = if digits.len() == 1 { digits.parse().ok()? } else { two(0)? };
    let (minutes, seconds) = (two(2)?, two(4)?);
    if hours > 18 || minutes > 59 || seconds > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60 + seconds)).ok()
}
