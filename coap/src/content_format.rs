//! Which format is a payload in? Registered Content-Formats (RFC 7252 section 12.3), by number and
//! by name.

/// The registered media type, with content coding or parameters as the registry prints them.
pub fn name(number: u16) -> Option<&'static str> {
    let index = REGISTRY.binary_search_by_key(&number, |&(known, _)| known).ok()?;
    Some(REGISTRY[index].1)
}

/// Reads a number (`50`, registered or not) or a registered name (`application/json`, letters in
/// any case, spaces around `;` or not). `text/plain` alone means 0.
pub fn parse(text: &str) -> Option<u16> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    if text.eq_ignore_ascii_case("text/plain") {
        return Some(TEXT_PLAIN);
    }
    REGISTRY.iter().find(|(_, known)| is_same(known, text)).map(|&(number, _)| number)
}

/// Equal but for spaces and the case of letters.
fn is_same(left: &str, right: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().filter(|byte| *byte != b' ').map(|byte| byte.to_ascii_lowercase())
    }
    letters(left).eq(letters(right))
}

/// `text/plain; charset=utf-8`.
pub const TEXT_PLAIN: u16 = 0;
/// `application/link-format`.
pub const LINK_FORMAT: u16 = 40;
/// `application/octet-stream`.
pub const OCTET_STREAM: u16 = 42;
/// `application/json`.
pub const JSON: u16 = 50;
/// `application/cbor`.
pub const CBOR: u16 = 60;
/// `application/missing-blocks+cbor-seq`.
pub const MISSING_BLOCKS: u16 = 272;

/// Ascending by number.
const REGISTRY: &[(u16, &str)] = &[
    (TEXT_PLAIN, "text/plain; charset=utf-8"),
    (16, "application/cose; cose-type=\"cose-encrypt0\""),
    (17, "application/cose; cose-type=\"cose-mac0\""),
    (18, "application/cose; cose-type=\"cose-sign1\""),
    (LINK_FORMAT, "application/link-format"),
    (41, "application/xml"),
    (OCTET_STREAM, "application/octet-stream"),
    (47, "application/exi"),
    (JSON, "application/json"),
    (51, "application/json-patch+json"),
    (52, "application/merge-patch+json"),
    (CBOR, "application/cbor"),
    (61, "application/cwt"),
    (62, "application/multipart-core"),
    (63, "application/cbor-seq"),
    (96, "application/cose; cose-type=\"cose-encrypt\""),
    (97, "application/cose; cose-type=\"cose-mac\""),
    (98, "application/cose; cose-type=\"cose-sign\""),
    (101, "application/cose-key"),
    (102, "application/cose-key-set"),
    (110, "application/senml+json"),
    (111, "application/sensml+json"),
    (112, "application/senml+cbor"),
    (113, "application/sensml+cbor"),
    (114, "application/senml-exi"),
    (115, "application/sensml-exi"),
    (256, "application/coap-group+json"),
    (257, "application/concise-problem-details+cbor"),
    (271, "application/dots+cbor"),
    (MISSING_BLOCKS, "application/missing-blocks+cbor-seq"),
    (310, "application/senml+xml"),
    (311, "application/sensml+xml"),
    (320, "application/senml-etch+json"),
    (322, "application/senml-etch+cbor"),
    (432, "application/td+json"),
    (10_001, "application/oscore"),
    (11_542, "application/vnd.oma.lwm2m+tlv"),
    (11_543, "application/vnd.oma.lwm2m+json"),
    (11_544, "application/vnd.oma.lwm2m+cbor"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_and_numbers_agree() {
        assert!(REGISTRY.is_sorted());
        for &(number, known) in REGISTRY {
            assert_eq!(name(number), Some(known));
            assert_eq!(parse(known), Some(number));
            assert_eq!(parse(&number.to_string()), Some(number));
        }
    }

    #[test]
    fn names_are_read_as_people_write_them() {
        assert_eq!(parse("text/plain"), Some(0));
        assert_eq!(parse("text/plain;charset=UTF-8"), Some(0));
        assert_eq!(parse(" Application/JSON "), Some(50));
    }

    #[test]
    fn numbers_reach_to_16_bits_and_need_no_name() {
        assert_eq!(parse("65535"), Some(65_535));
        assert_eq!(parse("65536"), None);
        assert_eq!(parse("1542"), Some(1_542));
        assert_eq!(name(1_542), None, "reserved, do not use");
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in ["", "json", "-1", "+50", "0x32", "text/", "application/json; a=b"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
