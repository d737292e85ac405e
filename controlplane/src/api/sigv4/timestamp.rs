//! The two spellings of time in a signed request: `YYYYMMDDTHHMMSSZ`, and the HTTP `Date` header.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Unix seconds of a basic-format timestamp.
pub(super) fn to_unix(text: &str) -> Option<i64> {
    let parsed = PrimitiveDateTime::parse(text, BASIC).ok()?;
    Some(parsed.assume_utc().unix_timestamp())
}

/// The basic format of Unix seconds.
pub(super) fn from_unix(unix_s: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_s)
        .ok()
        .and_then(|time| time.format(BASIC).ok())
        .unwrap_or_default()
}

/// The basic format of an HTTP date (RFC 9110 section 5.6.7, preferred form).
pub(super) fn from_http_date(text: &str) -> Option<String> {
    let parsed = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(from_unix(parsed.unix_timestamp()))
}

const BASIC: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_format_goes_both_ways_and_refuses_other_forms() {
        assert_eq!(to_unix("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(from_unix(1_440_938_160), "20150830T123600Z");
        for bad in ["", "20150830", "2015-08-30T12:36:00Z", "20151330T123600Z", "20150830T123600"] {
            assert_eq!(to_unix(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_http_date_becomes_basic_format() {
        let http = "Sun, 30 Aug 2015 12:36:00 GMT";
        assert_eq!(from_http_date(http).as_deref(), Some("20150830T123600Z"));
        assert_eq!(from_http_date("yesterday"), None);
    }
}
