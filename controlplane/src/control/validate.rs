//! Is what was asked for well formed? AWS's limits, in AWS's words; never the value of a secret.

use zeroize::Zeroizing;

use super::TAGS_MAX;
use crate::model::{Refused, Tag};

/// Optional text of bounded length, counted in characters.
pub(super) fn text_max(path: &str, text: Option<&String>, max: usize) -> Result<(), Refused> {
    match text {
        Some(text) if text.chars().count() > max => Err(too_long(path, max)),
        _ => Ok(()),
    }
}

/// Text with a least and a greatest length.
pub(super) fn text_between(path: &str, text: &str, min: usize, max: usize) -> Result<(), Refused> {
    match text.chars().count() {
        length if length < min => Err(too_short(path, min)),
        length if length > max => Err(too_long(path, max)),
        _ => Ok(()),
    }
}

/// `[a-zA-Z0-9-_]{1,128}`.
pub(super) fn destination_name(path: &str, name: &str) -> Result<(), Refused> {
    text_between(path, name, 1, 128)?;
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.bytes().all(is_known) {
        return Ok(());
    }
    Err(pattern(path, "[a-zA-Z0-9-_]+"))
}

/// `[a-zA-Z0-9-_]{1,64}`.
pub(super) fn request_token(token: &str) -> Result<(), Refused> {
    const PATH: &str = "ClientRequestToken";
    text_between(PATH, token, 1, 64)?;
    destination_name(PATH, token).map_err(|_| pattern(PATH, "^[a-zA-Z0-9-_]+$"))
}

pub(super) fn tags(tags: &[Tag]) -> Result<(), Refused> {
    if tags.len() > TAGS_MAX {
        return Err(too_long("Tags", TAGS_MAX));
    }
    for (at, tag) in tags.iter().enumerate() {
        let path = format!("Tags.{}.Key", at + 1);
        text_between(&path, &tag.key, 1, 128)?;
        text_between(&format!("Tags.{}.Value", at + 1), &tag.value, 0, 256)?;
        if tag.key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Refused::invalid(&path, "Member must not begin with aws:"));
        }
        if tags[..at].iter().any(|before| before.key == tag.key) {
            return Err(Refused::invalid(&path, "Member must not be given twice"));
        }
    }
    Ok(())
}

/// A number that may be left out.
pub(super) fn within(
    path: &str,
    value: Option<u32>,
    range: &std::ops::RangeInclusive<u32>,
) -> Result<(), Refused> {
    match value {
        Some(value) if value < *range.start() => Err(Refused::invalid(
            path,
            format!("Member must have value greater than or equal to {}", range.start()),
        )),
        Some(value) if value > *range.end() => Err(Refused::invalid(
            path,
            format!("Member must have value less than or equal to {}", range.end()),
        )),
        _ => Ok(()),
    }
}

pub(super) fn positioning(value: Option<&String>) -> Result<(), Refused> {
    match value.map(String::as_str) {
        None | Some("Enabled" | "Disabled") => Ok(()),
        Some(_) => Err(Refused::invalid(
            "Positioning",
            "Member must satisfy enum value set: [Enabled, Disabled]",
        )),
    }
}

/// 15 digits.
pub(super) fn imei(text: &str) -> Result<String, Refused> {
    if text.len() == 15 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(pattern("Cellular.Imei", "[0-9]{15}"))
}

/// 12 hex digits, separated or not, as `00:11:22:aa:bb:cc`.
pub(super) fn mac_address(path: &str, text: &str) -> Result<String, Refused> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let is_mac = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_mac || text.len() > 17 {
        return Err(pattern(path, "([0-9a-fA-F]{2}[:-]?){5}[0-9a-fA-F]{2}"));
    }
    let digits = digits.to_ascii_lowercase();
    let pairs: Vec<_> = (0..6).map(|at| &digits[at * 2..at * 2 + 2]).collect();
    Ok(pairs.join(":"))
}

/// 32–256 printable ASCII characters without spaces.
pub(super) fn identity(path: &str, text: &str) -> Result<(), Refused> {
    text_between(path, text, 32, 256)?;
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(pattern(path, "[!-~]+"))
}

/// 32–512 printable ASCII characters; `0x…` is hex.
pub(super) fn secret(path: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
    text_between(path, text, 32, 512)?;
    match text.strip_prefix("0x") {
        Some(digits) => {
            let bytes = hex::decode(digits).map(Zeroizing::new);
            bytes.map_err(|_| pattern(path, "0x([0-9a-fA-F]{2})+"))
        }
        None if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Zeroizing::new(text.as_bytes().to_vec()))
        }
        None => Err(pattern(path, "[!-~]+")),
    }
}

pub(super) fn too_long(path: &str, max: usize) -> Refused {
    Refused::invalid(path, format!("Member must have length less than or equal to {max}"))
}

fn too_short(path: &str, min: usize) -> Refused {
    Refused::invalid(path, format!("Member must have length greater than or equal to {min}"))
}

pub(super) fn required(path: &str) -> Refused {
    Refused::invalid(path, "Member must not be null")
}

pub(super) fn pattern(path: &str, pattern: &str) -> Refused {
    Refused::invalid(path, format!("Member must satisfy regular expression pattern: {pattern}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn identities_and_secrets_have_their_lengths() {
        for (length, is_good) in [(31, false), (32, true), (256, true), (257, false)] {
            assert_eq!(identity("p", &"i".repeat(length)).is_ok(), is_good, "{length}");
        }
        for (length, is_good) in [(31, false), (32, true), (512, true), (513, false)] {
            assert_eq!(secret("p", &"s".repeat(length)).is_ok(), is_good, "{length}");
        }
        assert!(identity("p", &"a b".repeat(20)).is_err());
        assert!(identity("p", &"ä".repeat(40)).is_err());
    }

    #[test]
    fn a_secret_in_hex_is_binary() {
        let text = format!("0x{}", "0aFF".repeat(8));
        assert_eq!(secret("p", &text).unwrap().as_slice(), [0x0a, 0xff].repeat(8));
        assert!(secret("p", &format!("0x{}", "0".repeat(31))).is_err(), "half a byte");
        assert!(secret("p", &format!("0x{}", "g".repeat(32))).is_err());
        let said = secret("p", &format!("0x{}", "g".repeat(32))).unwrap_err().to_string();
        assert!(!said.contains("ggg"), "an error never shows the value");
    }

    #[test]
    fn hardware_names_have_one_form() {
        for text in ["00:1A:2b:3c:4D:5e", "00-1a-2b-3c-4d-5e", "001a.2b3c.4d5e", "001A2B3C4D5E"] {
            assert_eq!(mac_address("p", text).unwrap(), "00:1a:2b:3c:4d:5e");
        }
        for text in ["", "00:1a:2b:3c:4d", "00:1a:2b:3c:4d:5g", "0:0:1:a:2:b:3:c:4:d:5:e"] {
            assert!(mac_address("p", text).is_err(), "{text}");
        }
        assert!(imei("123456789012345").is_ok());
        assert!(imei("12345678901234").is_err());
        assert!(imei("12345678901234x").is_err());
    }
}
