//! Which moment does a text name? By the letters of `java.time`'s patterns; UTC without a zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::time::{Part, zone_named};
use super::time_format::MONTHS;

/// What was read so far.
#[derive(Default)]
struct Read {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    hour: Option<i64>,
    /// 1 to 12.
    hour_of_half: Option<i64>,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    nanosecond: i64,
    zone: Option<TimeZone>,
}

/// `None`: the text is not of this pattern, or there is no such moment.
pub(super) fn parse(parts: &[Part], text: &str) -> Option<Timestamp> {
    let mut read = Read::default();
    let mut rest = text;
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Text(plain) => rest = rest.strip_prefix(plain.as_str())?,
            Part::Field(letter, count) => {
                let next_is_number = matches!(parts.get(at + 1), Some(Part::Field(..)));
                rest = read.field(*letter, *count, next_is_number, rest)?;
            }
        }
    }
    if rest.is_empty() { read.timestamp() } else { None }
}

impl Read {
    /// Reads one field; what follows it.
    fn field<'a>(
        &mut self,
        letter: char,
        count: usize,
        is_adjacent: bool,
        text: &'a str,
    ) -> Option<&'a str> {
        match letter {
            'M' | 'L' if count >= 3 => return self.month_name(count, text),
            'S' => return self.fraction(text),
            'E' | 'G' => return Some(text.trim_start_matches(|c: char| c.is_ascii_alphabetic())),
            'a' => {
                self.afternoon = Some(match text.get(..2)?.to_ascii_uppercase().as_str() {
                    "AM" => false,
                    "PM" => true,
                    _ => return None,
                });
                return text.get(2..);
            }
            'z' | 'v' | 'V' | 'O' | 'X' | 'x' | 'Z' => return self.zone(text),
            _ => {}
        }
        let width = if is_adjacent || count == 2 { count } else { 9 };
        let digits = text.bytes().take(width).take_while(u8::is_ascii_digit).count();
        if digits == 0 || (count > 1 && digits < count) {
            return None;
        }
        let (number, rest) = text.split_at(digits);
        let number: i64 = number.parse().ok()?;
        match letter {
            'y' | 'u' if count == 2 => self.year = Some(2_000 + number),
            'y' | 'u' => self.year = Some(number),
            'M' | 'L' => self.month = Some(number),
            'd' => self.day = Some(number),
            'H' => self.hour = Some(number),
            'k' => self.hour = Some(number % 24),
            'h' => self.hour_of_half = Some(number),
            'K' => self.hour_of_half = Some(number + i64::from(number == 0) * 12),
            'm' => self.minute = number,
            's' => self.second = number,
            _ => return None,
        }
        Some(rest)
    }

    fn month_name<'a>(&mut self, count: usize, text: &'a str) -> Option<&'a str> {
        let name = |month: &&'static str| if count == 3 { &month[..3] } else { *month };
        let at = MONTHS.iter().position(|month| {
            let name = name(month);
            text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        })?;
        self.month = i64::try_from(at + 1).ok();
        text.get(name(&MONTHS[at]).len()..)
    }

    fn fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let digits = text.bytes().take(9).take_while(u8::is_ascii_digit).count();
        let (fraction, rest) = text.split_at(digits);
        self.nanosecond = format!("{fraction:0<9}").parse().ok()?;
        (digits > 0).then_some(rest)
    }

    fn zone<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "/_+-:".contains(c);
        let end = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        self.zone = Some(zone_named(name)?);
        Some(rest)
    }

    fn timestamp(self) -> Option<Timestamp> {
        let hour = match (self.hour, self.hour_of_half, self.afternoon) {
            (Some(hour), _, _) => hour,
            (None, Some(hour @ 1..=12), afternoon) => {
                hour % 12 + if afternoon == Some(true) { 12 } else { 0 }
            }
            (None, Some(_), _) => return None,
            (None, None, _) => 0,
        };
        let small = |number: i64| i8::try_from(number).ok();
        let civil = DateTime::new(
            i16::try_from(self.year?).ok()?,
            small(self.month.unwrap_or(1))?,
            small(self.day.unwrap_or(1))?,
            small(hour)?,
            small(self.minute)?,
            small(self.second)?,
            i32::try_from(self.nanosecond).ok()?,
        );
        let zoned = civil.ok()?.to_zoned(self.zone.unwrap_or(TimeZone::UTC)).ok()?;
        Some(zoned.timestamp())
    }
}
