//! How is a moment written? By the letters of Joda-Time's patterns.

use std::fmt::Write as _;

use jiff::Zoned;

use super::time::Part;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// Most digits or letters that one field is asked for.
const WIDTH_MAX: usize = 40;

/// `None`: the pattern has a letter that means nothing.
pub(super) fn format(parts: &[Part], at: &Zoned) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Field(letter, count) => field(*letter, (*count).min(WIDTH_MAX), at, &mut text)?,
        }
    }
    Some(text)
}

fn field(letter: char, width: usize, at: &Zoned, to: &mut String) -> Option<()> {
    let year = i64::from(at.year());
    let of_era = if year > 0 { year } else { 1 - year };
    let hour = i64::from(at.hour());
    let week = at.date().iso_week_date();
    let number = match letter {
        'G' => return text(if year > 0 { "AD" } else { "BC" }, to),
        'a' => return text(if hour < 12 { "AM" } else { "PM" }, to),
        'E' => {
            let day = DAYS[at.weekday().to_monday_zero_offset() as usize];
            return text(if width < 4 { &day[..3] } else { day }, to);
        }
        'M' if width >= 3 => {
            let month = MONTHS[at.month() as usize - 1];
            return text(if width == 3 { &month[..3] } else { month }, to);
        }
        'S' => return fraction(width, at, to),
        'z' | 'Z' => return zone(letter, width, at, to),
        'y' | 'Y' | 'x' if width == 2 => {
            let year = if letter == 'x' { i64::from(week.year()) } else { of_era };
            year.rem_euclid(100)
        }
        'y' => year,
        'Y' => of_era,
        'C' => of_era / 100,
        'x' => i64::from(week.year()),
        'w' => i64::from(week.week()),
        'e' => i64::from(at.weekday().to_monday_one_offset()),
        'D' => i64::from(at.day_of_year()),
        'M' => i64::from(at.month()),
        'd' => i64::from(at.day()),
        'K' => hour % 12,
        'h' => (hour + 11) % 12 + 1,
        'H' => hour,
        'k' => (hour + 23) % 24 + 1,
        'm' => i64::from(at.minute()),
        's' => i64::from(at.second()),
        _ => return None,
    };
    write!(to, "{number:0width$}").ok()
}

fn text(text: &str, to: &mut String) -> Option<()> {
    to.push_str(text);
    Some(())
}

/// Of a second, to so many digits; there are no finer ones than milliseconds.
fn fraction(width: usize, at: &Zoned, to: &mut String) -> Option<()> {
    let digits = format!("{:03}", at.millisecond());
    to.extend(digits.chars().chain(std::iter::repeat('0')).take(width));
    Some(())
}

fn zone(letter: char, width: usize, at: &Zoned, to: &mut String) -> Option<()> {
    if letter == 'z' {
        let info = at.time_zone().to_offset_info(at.timestamp());
        return text(info.abbreviation(), to);
    }
    if width >= 3 {
        return text(at.time_zone().iana_name().unwrap_or("UTC"), to);
    }
    let seconds = at.offset().seconds();
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
    let colon = if width == 2 { ":" } else { "" };
    write!(to, "{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60).ok()
}
