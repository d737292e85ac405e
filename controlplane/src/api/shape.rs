//! Which constraints do the shapes of AWS IoT Wireless put on text? One name per shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_coap::code::Code;
use tidegate_coap::content_format;
use tidegate_ring::policy;

use super::error::ApiError;
use super::validate::{Form, Members, Rule};
use crate::control::{PAYLOAD_BYTES_MAX, credential};
use crate::model::{INITIAL_BYTES_MAX, RESOURCE_PATH_BYTES_MAX, Tag};

/// Device and profile names.
pub const NAME: Rule = Rule::length(0, 256);
/// Descriptions.
pub const DESCRIPTION: Rule = Rule::length(0, 2048);
/// Destination names.
pub const DESTINATION_NAME: Rule =
    Rule { min: 0, max: 128, form: Form::Pattern("[a-zA-Z0-9-_]+", is_name) };
/// A topic or a rule name.
pub const EXPRESSION: Rule = Rule::length(0, 2048);
/// How an expression is read.
pub const EXPRESSION_TYPE: Rule = Rule::one_of(&["RuleName", "MqttTopic"]);
/// A role; kept, without meaning here.
pub const ROLE_ARN: Rule = Rule::length(20, 2048);
/// ClientRequestToken.
pub const CLIENT_REQUEST_TOKEN: Rule =
    Rule { min: 1, max: 64, form: Form::Pattern("^[a-zA-Z0-9-_]+$", is_name) };
/// The technologies that are served.
pub const DEVICE_TYPE: Rule = Rule::one_of(&["CoAP"]);
/// The technologies that may be asked for in filters.
pub const DEVICE_TYPE_FILTER: Rule = Rule::one_of(&["Sidewalk", "LoRaWAN", "CoAP"]);
/// Positioning.
pub const ON_OFF: Rule = Rule::one_of(&["Enabled", "Disabled"]);
/// PreSharedKeyIdentity.
pub const PSK_IDENTITY: Rule =
    Rule { min: 32, max: 256, form: Form::Pattern("[\\x21-\\x7e]+", is_printable) };
/// PreSharedKeySecret.
pub const PSK_SECRET: Rule = Rule {
    min: 32,
    max: 512,
    form: Form::Words(
        "0x([0-9a-fA-F]{2})+ or, not beginning with 0x, [\\x20-\\x7e]+",
        "0x([0-9a-fA-F]{2})+|[\\x20-\\x2f\\x31-\\x7e][\\x20-\\x7e]*|0([\\x20-\\x77\\x79-\\x7e][\\x20-\\x7e]*)?",
        is_secret,
    ),
};
/// Cellular.Imei.
pub const IMEI: Rule = Rule { min: 0, max: 15, form: Form::Pattern("[0-9]{15}", is_imei) };
/// WiFi.MacAddress.
pub const MAC_ADDRESS: Rule =
    Rule { min: 0, max: 17, form: Form::Pattern("([0-9a-fA-F]{2}[:-]?){5}[0-9a-fA-F]{2}", is_mac) };
/// DtlsV1_2.RawPublicKey.
pub const RAW_PUBLIC_KEY: Rule = Rule {
    min: 0,
    max: credential::PUBLIC_KEY_CHARACTERS_MAX,
    form: Form::Words(
        credential::PUBLIC_KEY,
        "[A-Za-z0-9+/=\\s]+|[\\s\\S]*-----BEGIN PUBLIC KEY-----[\\s\\S]+",
        |text| credential::public_key(text).is_some(),
    ),
};
/// DtlsV1_2.CertificateName.
pub const CERTIFICATE_NAME: Rule = Rule {
    min: 0,
    max: credential::CERTIFICATE_NAME_CHARACTERS_MAX,
    form: Form::Words(
        credential::CERTIFICATE_NAME,
        "CN=[^\\x00-\\x1f\\x7f-\\x9f]+|DNS:[a-zA-Z0-9_-]+(\\.[a-zA-Z0-9_-]+)*|\
         URI:[a-zA-Z][a-zA-Z0-9+.-]*:[\\x21-\\x7e]+",
        |text| credential::certificate_name(text).is_some(),
    ),
};
/// DtlsV1_2.CertificateFingerprint.
pub const CERTIFICATE_FINGERPRINT: Rule = Rule {
    min: 0,
    max: credential::FINGERPRINT_CHARACTERS_MAX,
    form: Form::Pattern(credential::FINGERPRINT, |text| credential::fingerprint(text).is_some()),
};
/// NoSec.SourceAddress.
pub const SOURCE_ADDRESS: Rule = Rule {
    min: 0,
    max: credential::ADDRESS_CHARACTERS_MAX,
    form: Form::Words(credential::SOURCE_ADDRESS, "[0-9a-fA-F.:%\\[\\]]+", |text| {
        credential::source_address(text).is_some()
    }),
};
/// Endpoint.
pub const ENDPOINT: Rule = Rule {
    min: 0,
    max: credential::ADDRESS_CHARACTERS_MAX,
    form: Form::Words(credential::ENDPOINT, "[0-9a-fA-F.:%\\[\\]]+:[0-9]+", |text| {
        credential::endpoint(text).is_some()
    }),
};
/// One of SecurityModes.
pub const SECURITY_MODE: Rule =
    Rule::one_of(&["PreSharedKey", "RawPublicKey", "Certificate", "NoSec"]);
/// GetWirelessDevice's identifierType.
pub const IDENTIFIER_TYPE: Rule = Rule::one_of(&[
    "WirelessDeviceId",
    "DevEui",
    "ThingName",
    "SidewalkManufacturingSn",
    "Imei",
    "MacAddress",
    "PreSharedKeyIdentity",
]);
/// ARNs of what is tagged.
pub const RESOURCE_ARN: Rule = Rule::length(1, 1011);
/// What is said of a place in a list.
pub const NEXT_TOKEN: Rule = Rule::length(1, 4096);
/// Of which thing of AWS IoT.
pub const THING_ARN: Rule = Rule::length(0, 2048);
/// A file under the import directory.
pub const IMPORT_FILE: Rule = Rule::length(1, 1024);
/// What is to be sent, base64.
pub const PAYLOAD_DATA: Rule = Rule {
    min: 0,
    max: PAYLOAD_BYTES_MAX.div_ceil(3) * 4,
    form: Form::Words(BASE64, BASE64, |text| STANDARD.decode(text).is_ok()),
};
/// The first value of a path, base64.
pub const INITIAL_PAYLOAD: Rule =
    Rule { min: 0, max: INITIAL_BYTES_MAX.div_ceil(3) * 4, form: PAYLOAD_DATA.form };
/// Paths of a layout.
pub const LAYOUT_PATH: Rule = Rule {
    min: 0,
    max: RESOURCE_PATH_BYTES_MAX,
    form: Form::Pattern("^[A-Za-z0-9._~%/*?-]*$", |text| {
        let stands = |byte| policy::is_unreserved(byte) || b"%/*?".contains(&byte);
        text.bytes().all(stands)
    }),
};
/// What the paths of a layout are for.
pub const HOLDS: Rule = Rule::one_of(&["Event", "LastValue"]);
/// As AWS has it. Bits behind the last byte are zero, too.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";
/// Where a payload lies.
pub const PAYLOAD_REFERENCE: Rule =
    Rule { min: 6, max: 1_024, form: Form::Pattern(REFERENCE, is_reference) };
const REFERENCE: &str = "^(s3://[a-zA-Z0-9._-]+/[^\\x00-\\x1f\\x7f]+|upload://[a-fA-F0-9-]{36})$";
/// The name of an answer's code.
pub const RESPONSE_STATUS: Rule = Rule {
    min: 0,
    max: 64,
    form: Form::Words(
        "a response code: CONTENT(2.05) or 2.05",
        "[2-5]\\.[0-3][0-9]|[A-Za-z_]+(\\([2-5]\\.[0-3][0-9]\\))?",
        |text| Code::parse_response(text).is_some(),
    ),
};
/// By its name, or its number as text.
pub const CONTENT_FORMAT: Rule = Rule {
    min: 0,
    max: 128,
    form: Form::Words(
        "a CoAP Content-Format: its media type, application/json, or its number, 50",
        "\\s*[0-9]+\\s*|[^/]+/[\\s\\S]+",
        |text| content_format::parse(text).is_some(),
    ),
};
/// Identifiers in paths.
pub const IDENTIFIER: Rule = Rule::length(0, 256);

/// A tag's key.
pub const TAG_KEY: Rule = Rule::length(1, 128);
/// Its value.
pub const TAG_VALUE: Rule = Rule::length(0, 256);

/// Most tags in a request. A resource has at most [`crate::control::TAGS_MAX`].
pub const TAGS_MAX: usize = 200;

/// Reads `Tags`.
pub fn tags(body: &Members<'_>) -> Result<Vec<Tag>, ApiError> {
    let tags = body.nested_list("Tags", |tag| {
        let (key, value) = (tag.required("Key")?.to_owned(), tag.required("Value")?.to_owned());
        Ok(Tag { key, value })
    })?;
    Ok(tags.unwrap_or_default())
}

/// RFC 3339 text of Unix milliseconds, as AWS prints times in strings.
pub fn iso8601(unix_ms: u64) -> String {
    use time::format_description::well_known::Rfc3339;
    let nanos = i128::from(unix_ms) * 1_000_000;
    time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_reference(text: &str) -> bool {
    if let Some(id) = text.strip_prefix("upload://") {
        return id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    }
    let parts = text.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    parts.is_some_and(|(bucket, key)| {
        let is_known = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let is_control = |b: u8| b < 0x20 || b == 0x7f;
        !bucket.is_empty()
            && bucket.bytes().all(is_known)
            && !key.is_empty()
            && !key.bytes().any(is_control)
    })
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_secret(text: &str) -> bool {
    match text.strip_prefix("0x") {
        Some(digits) => {
            !digits.is_empty()
                && digits.len().is_multiple_of(2)
                && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        None => !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
    }
}

fn is_imei(text: &str) -> bool {
    text.len() == 15 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_mac(text: &str) -> bool {
    let mut digits = 0;
    let mut separated_at = 0;
    for b in text.bytes() {
        if b.is_ascii_hexdigit() {
            digits += 1;
        } else if (b == b':' || b == b'-') && digits % 2 == 0 && digits > separated_at {
            separated_at = digits;
        } else {
            return false;
        }
    }
    digits == 12 && separated_at < 12
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::validate::tests::allows;

    #[test]
    fn an_identity_has_32_to_256_printable_characters() {
        assert!(!allows(&PSK_IDENTITY, &"a".repeat(31)));
        assert!(allows(&PSK_IDENTITY, &"a".repeat(32)));
        assert!(allows(&PSK_IDENTITY, &"~!".repeat(128)));
        assert!(!allows(&PSK_IDENTITY, &"a".repeat(257)));
        assert!(!allows(&PSK_IDENTITY, &format!("{} ", "a".repeat(40))));
        assert!(!allows(&PSK_IDENTITY, &"é".repeat(40)));
    }

    #[test]
    fn a_secret_has_32_to_512_characters_and_0x_means_hex() {
        assert!(!allows(&PSK_SECRET, &"s".repeat(31)));
        assert!(allows(&PSK_SECRET, &"s".repeat(32)));
        assert!(allows(&PSK_SECRET, &"s".repeat(512)));
        assert!(!allows(&PSK_SECRET, &"s".repeat(513)));
        assert!(allows(&PSK_SECRET, &format!("0x{}", "aF".repeat(15))));
        assert!(!allows(&PSK_SECRET, &format!("0x{}", "a".repeat(31))));
        assert!(!allows(&PSK_SECRET, &format!("0x{}", "g".repeat(32))));
        assert!(!allows(&PSK_SECRET, &format!("0x{}", "a".repeat(512))));
    }

    #[test]
    fn an_imei_has_15_digits_and_a_mac_address_12_hex_digits() {
        assert!(allows(&IMEI, "352753090123456"));
        assert!(!allows(&IMEI, "35275309012345"));
        assert!(!allows(&IMEI, "3527530901234567"));
        assert!(!allows(&IMEI, "35275309012345x"));
        for good in ["00:1A:2b:3c:4d:5e", "00-1a-2b-3c-4d-5e", "001a2b3c4d5e"] {
            assert!(allows(&MAC_ADDRESS, good), "{good}");
        }
        let bad =
            ["", "00:1a:2b:3c:4d", "00:1a:2b:3c:4d:5e:", "0:01a:2b:3c:4d:5e", "::001a2b3c4d5e"];
        for bad in bad {
            assert!(!allows(&MAC_ADDRESS, bad), "{bad}");
        }
    }

    #[test]
    fn names_and_tokens_keep_aws_patterns() {
        assert!(allows(&DESTINATION_NAME, &"a-_9".repeat(32)));
        assert!(!allows(&DESTINATION_NAME, &"a".repeat(129)));
        assert!(!allows(&DESTINATION_NAME, ""));
        assert!(!allows(&DESTINATION_NAME, "a b"));
        assert!(allows(&CLIENT_REQUEST_TOKEN, &"t".repeat(64)));
        assert!(!allows(&CLIENT_REQUEST_TOKEN, &"t".repeat(65)));
        assert!(!allows(&CLIENT_REQUEST_TOKEN, ""));
    }

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(iso8601(1_440_938_160_000), "2015-08-30T12:36:00Z");
        assert_eq!(iso8601(1_440_938_160_500), "2015-08-30T12:36:00.5Z");
    }
}
