//! How does a number read? Thousands apart, three digits that count, the unit that fits.

/// A count, thousands apart: `1 234 567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A measured number to three digits that count, no fewer before the point: `0.0123`, `1.23`,
/// `123`, `12 346`.
pub(crate) fn measured(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if magnitude >= 99.95 {
        return count(value.round() as u64);
    }
    if magnitude == 0.0 {
        return "0".to_owned();
    }
    // Rounded first: 9.996 is 10.0 in three digits.
    let scientific = format!("{value:.2e}");
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok());
    let decimals = 2_i32.saturating_sub(exponent.unwrap_or(0)).max(0);
    format!("{value:.*}", decimals as usize)
}

/// A share as percent: `0.004 %`, `100 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", measured(share * 100.0))
}

/// Seconds as people say them: `850 ms`, `12.5 s`, `2 min 5 s`, `3 h 20 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds == 0.0 => "0 s".to_owned(),
        _ if seconds < 0.9995 => format!("{} ms", trim(&measured(seconds * 1e3))),
        _ if seconds < 99.95 => format!("{} s", trim(&measured(seconds))),
        0..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// Bytes: `999 B`, `12.3 kB`, `1.23 MB`.
pub(crate) fn bytes(value: u64) -> String {
    let value = value as f64;
    match value {
        ..1e3 => format!("{value} B"),
        ..1e6 => format!("{} kB", measured(value / 1e3)),
        ..1e9 => format!("{} MB", measured(value / 1e6)),
        _ => format!("{} GB", measured(value / 1e9)),
    }
}

/// Without zeros at the end that say nothing: `10`, not `10.0`.
pub(crate) fn trim(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1 000"), (1_234_567, "1 234 567")];
        for (value, text) in cases {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn three_digits_count() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_123_4, "0.000123"),
            (0.012_34, "0.0123"),
            (0.999_4, "0.999"),
            (0.999_6, "1.00"),
            (1.0, "1.00"),
            (1.234, "1.23"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (12.34, "12.3"),
            (99.94, "99.9"),
            (99.96, "100"),
            (123.4, "123"),
            (12_345.6, "12 346"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(measured(value), text, "{value}");
        }
    }

    #[test]
    fn units_fit() {
        assert_eq!(
            [0.85, 10.0, 12.34, 125.0, 12_000.0].map(duration),
            ["850 ms", "10 s", "12.3 s", "2 min 5 s", "3 h 20 min"]
        );
        assert_eq!(
            [999, 12_345, 1_234_567, 5_000_000_000].map(bytes),
            ["999 B", "12.3 kB", "1.23 MB", "5.00 GB"]
        );
        assert_eq!([0.0, 0.000_04, 1.0].map(percent), ["0 %", "0.00400 %", "100 %"]);
        assert_eq!([trim("10.0"), trim("0.50"), trim("100")], ["10", "0.5", "100"]);
    }
}
