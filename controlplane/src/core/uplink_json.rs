//! What does an application read? One JSON object per uplink, in AWS IoT Wireless's shape.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_coap::content_format;
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;
use tidegate_coap::option::list::Options;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::model::{DeviceId, MessageId, Network, SecurityMode};

/// What the message alone does not say.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The authenticated sender.
    pub device: DeviceId,
    /// For a request: a name that stays the same when it is published again. For a response: the
    /// downlink it belongs to.
    pub message: MessageId,
    /// Unix time of receipt, milliseconds.
    pub received_unix_ms: u64,
    /// The block the device authenticated with.
    pub network: Network,
    /// How the device authenticated; `None` when its handshake is not remembered.
    pub security_mode: Option<SecurityMode>,
    /// For a request that awaits an answer.
    pub response_token: Option<String>,
}

/// The JSON of a request or response of a device. Written straight into one buffer: every uplink
/// passes here.
pub fn uplink_json(message: &Message<'_>, about: &Circumstances) -> Vec<u8> {
    let options = &message.options;
    let mut out = Vec::with_capacity(ROOM + message.payload.len() * 4 / 3);
    out.extend_from_slice(br#"{"WirelessDeviceId":""#);
    write_uuid(&mut out, about.device.0);
    out.extend_from_slice(br#"","PayloadData":""#);
    write_base64(&mut out, message.payload);
    out.extend_from_slice(br#"","WirelessMetadata":{"CoAP":{"MessageType":"#);
    write_text(&mut out, message.ty.service_name());
    let is_request = message.code.is_request();
    let code = if is_request { &b",\"RequestMethod\":\""[..] } else { b",\"ResponseStatus\":\"" };
    out.extend_from_slice(code);
    write!(out, "{}\"", message.code.service_name()).expect("a Vec");
    write_list(&mut out, "UriPaths", options.all(Number::URI_PATH), write_bytes);
    write_list(&mut out, "UriQuery", options.all(Number::URI_QUERY), write_query_param);
    write_list(&mut out, "LocationPath", options.all(Number::LOCATION_PATH), write_bytes);
    write_format(&mut out, "ContentFormat", options.content_format());
    write_format(&mut out, "Accept", options.accept());
    if options.iter().any(|option| is_rare(option.number)) {
        write_rare(&mut out, options);
    }
    if let Some(token) = &about.response_token {
        out.extend_from_slice(br#","ResponseToken":"#);
        write_text(&mut out, token);
    }
    out.extend_from_slice(br#","MessageId":""#);
    write_uuid(&mut out, about.message.0);
    out.extend_from_slice(br#"","Timestamp":""#);
    write_timestamp(&mut out, about.received_unix_ms);
    out.extend_from_slice(br#"","Network":"#);
    write_text(&mut out, about.network.as_str());
    if let Some(mode) = about.security_mode {
        out.extend_from_slice(br#","SecurityMode":"#);
        write_text(&mut out, mode.as_str());
    }
    out.extend_from_slice(b"}}}");
    out
}

/// Options that few messages have.
fn is_rare(number: Number) -> bool {
    matches!(
        number,
        Number::IF_MATCH
            | Number::ETAG
            | Number::IF_NONE_MATCH
            | Number::OBSERVE
            | Number::MAX_AGE
            | Number::HOP_LIMIT
            | Number::LOCATION_QUERY
            | Number::NO_RESPONSE
    )
}

fn write_rare(out: &mut Vec<u8>, options: &Options<'_>) {
    write_list(out, "IfMatch", options.all(Number::IF_MATCH), write_tag);
    write_list(out, "ETags", options.all(Number::ETAG), write_tag);
    if options.first(Number::IF_NONE_MATCH).is_some() {
        out.extend_from_slice(br#","IfNoneMatch":true"#);
    }
    for (name, number) in [
        ("Observe", Number::OBSERVE),
        ("MaxAge", Number::MAX_AGE),
        ("HopLimit", Number::HOP_LIMIT),
        ("NoResponse", Number::NO_RESPONSE),
    ] {
        if let Some(value) = options.uint(number) {
            write!(out, ",\"{name}\":{value}").expect("a Vec");
        }
    }
    let query = options.all(Number::LOCATION_QUERY);
    write_list(out, "LocationQuery", query, write_query_param);
}

fn write_tag(out: &mut Vec<u8>, tag: &[u8]) {
    out.push(b'"');
    write_base64(out, tag);
    out.push(b'"');
}

/// What an uplink takes beside its payload, mostly.
const ROOM: usize = 640;

fn write_uuid(out: &mut Vec<u8>, bytes: [u8; 16]) {
    let mut text = [0; Hyphenated::LENGTH];
    out.extend_from_slice(Uuid::from_bytes(bytes).hyphenated().encode_lower(&mut text).as_bytes());
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.resize(at + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[at..]).expect("as long as base64 is");
}

/// A JSON string.
fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes any text");
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_text(out, &String::from_utf8_lossy(bytes));
}

/// A member that is left out when it is empty.
fn write_list<'a>(
    out: &mut Vec<u8>,
    name: &str,
    values: impl Iterator<Item = &'a [u8]>,
    write_value: fn(&mut Vec<u8>, &[u8]),
) {
    let mut is_first = true;
    for value in values {
        if is_first {
            write!(out, ",\"{name}\":[").expect("a Vec");
        } else {
            out.push(b',');
        }
        is_first = false;
        write_value(out, value);
    }
    if !is_first {
        out.push(b']');
    }
}

/// `key=value`, or a key alone.
fn write_query_param(out: &mut Vec<u8>, argument: &[u8]) {
    let argument = String::from_utf8_lossy(argument);
    let (key, value) = match argument.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (&*argument, None),
    };
    out.extend_from_slice(br#"{"Key":"#);
    write_text(out, key);
    if let Some(value) = value {
        out.extend_from_slice(br#","Value":"#);
        write_text(out, value);
    }
    out.push(b'}');
}

/// The registered name, or the number as text.
fn write_format(out: &mut Vec<u8>, name: &str, format: Option<u16>) {
    let Some(format) = format else { return };
    write!(out, ",\"{name}\":").expect("a Vec");
    match content_format::name(format) {
        Some(format) => write_text(out, format),
        None => write!(out, "\"{format}\"").expect("a Vec"),
    }
}

/// `2026-11-21T05:00:00.123Z`; nothing after the year 9999.
fn write_timestamp(out: &mut Vec<u8>, unix_ms: u64) {
    let (day, ms) = (unix_ms / DAY_MS, unix_ms % DAY_MS);
    if day > LAST_DAY {
        return;
    }
    let (year, month, day) = date_of(day);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (at, digits, mut value) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, hour),
        (14, 2, minute),
        (17, 2, second),
        (20, 3, ms % 1_000),
    ] {
        for place in text[at..at + digits].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    out.extend_from_slice(&text);
}

/// Year, month and day, so many days after 1970-01-01. Counted in years that begin in March, so
/// that a leap day is the last of its year, and in 400 years, after which days repeat.
fn date_of(day: u64) -> (u64, u64, u64) {
    const TO_MARCH_OF_YEAR_0: u64 = 719_468;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let day = day + TO_MARCH_OF_YEAR_0;
    let (era, day) = (day / DAYS_OF_400_YEARS, day % DAYS_OF_400_YEARS);
    // Leap days before this one: one in 4 years, none in 100, one in 400.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days, and so have the next five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (era * 400 + year + u64::from(is_next_year), month, day)
}

const DAY_MS: u64 = 86_400_000;
/// 9999-12-31.
const LAST_DAY: u64 = 2_932_896;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};
    use tidegate_coap::code::Code;
    use tidegate_coap::message::{Token, Type, Writer};

    fn about(response_token: Option<&str>) -> Circumstances {
        Circumstances {
            device: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap(),
            message: "11111111-2222-4333-8444-555555555555".parse().unwrap(),
            received_unix_ms: 1_795_237_200_123,
            network: Network::Cellular,
            security_mode: response_token.map(|_| SecurityMode::RawPublicKey),
            response_token: response_token.map(str::to_owned),
        }
    }

    #[test]
    fn a_request_reads_as_the_service_prints_it() {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, Type::Con, Code::POST, 7, &Token::new(b"t"));
        writer.option(Number::URI_PATH, b"sensors").option(Number::URI_PATH, b"1");
        writer.option_uint(Number::CONTENT_FORMAT, 50);
        writer.option(Number::URI_QUERY, b"a=b=c").option(Number::URI_QUERY, b"flag");
        writer.option_uint(Number::ACCEPT, 65_000);
        let len = writer.payload(b"21").finish().unwrap();
        let message = Message::parse(&buffer[..len]).unwrap();
        let read: Value =
            serde_json::from_slice(&uplink_json(&message, &about(Some("tok")))).unwrap();
        assert_eq!(
            read,
            json!({
                "WirelessDeviceId": "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
                "PayloadData": "MjE=",
                "WirelessMetadata": { "CoAP": {
                    "MessageType": "CONFIRMABLE",
                    "RequestMethod": "POST",
                    "UriPaths": ["sensors", "1"],
                    "UriQuery": [{"Key": "a", "Value": "b=c"}, {"Key": "flag"}],
                    "ContentFormat": "application/json",
                    "Accept": "65000",
                    "ResponseToken": "tok",
                    "MessageId": "11111111-2222-4333-8444-555555555555",
                    "Timestamp": "2026-11-21T05:00:00.123Z",
                    "Network": "Cellular",
                    "SecurityMode": "RawPublicKey",
                }},
            })
        );
    }

    #[test]
    fn a_response_has_a_status_and_no_method() {
        let mut buffer = [0; 64];
        let len = Writer::new(&mut buffer, Type::Ack, Code::CONTENT, 7, &Token::EMPTY).finish();
        let message = Message::parse(&buffer[..len.unwrap()]).unwrap();
        let read: Value = serde_json::from_slice(&uplink_json(&message, &about(None))).unwrap();
        let coap = &read["WirelessMetadata"]["CoAP"];
        assert_eq!(coap["ResponseStatus"], "CONTENT(2.05)");
        assert_eq!(coap["RequestMethod"], Value::Null);
        assert_eq!(coap.get("SecurityMode"), None, "not remembered, not said");
        assert_eq!(read["PayloadData"], "");
    }

    #[test]
    fn options_that_few_messages_have_are_told_too() {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, Type::Con, Code::PATCH, 7, &Token::EMPTY);
        writer.option(Number::IF_MATCH, b"").option(Number::IF_MATCH, b"\xff\x01");
        writer.option(Number::ETAG, b"12345678").option(Number::IF_NONE_MATCH, b"");
        writer.option_uint(Number::OBSERVE, 0).option_uint(Number::MAX_AGE, 90);
        writer.option_uint(Number::HOP_LIMIT, 3).option(Number::LOCATION_QUERY, b"a=b");
        writer.option_uint(Number::NO_RESPONSE, 26);
        let len = writer.finish().unwrap();
        let message = Message::parse(&buffer[..len]).unwrap();
        let read: Value = serde_json::from_slice(&uplink_json(&message, &about(None))).unwrap();
        let coap = &read["WirelessMetadata"]["CoAP"];
        let expected = json!({
            "IfMatch": ["", "/wE="], "ETags": ["MTIzNDU2Nzg="], "IfNoneMatch": true, "Observe": 0,
            "MaxAge": 90, "HopLimit": 3, "LocationQuery": [{"Key": "a", "Value": "b"}],
            "NoResponse": 26, "RequestMethod": "PATCH",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&coap[name], value, "{name}");
        }
    }

    /// Each day of 8030 years, against the `time` crate.
    #[test]
    fn every_day_has_its_date() {
        let mut date = time::Date::from_ordinal_date(1970, 1).unwrap();
        for day in 0..=LAST_DAY {
            let expected =
                (date.year() as u64, u64::from(u8::from(date.month())), u64::from(date.day()));
            assert_eq!(date_of(day), expected);
            date = date.next_day().unwrap_or(date);
        }
    }

    #[test]
    fn a_timestamp_has_milliseconds() {
        let of = |unix_ms| {
            let mut out = Vec::new();
            write_timestamp(&mut out, unix_ms);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(of(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(of(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(of(1_709_251_200_000), "2024-03-01T00:00:00.000Z");
        assert_eq!(of(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(of(253_402_300_800_000), "", "five digits are no year");
    }

    #[test]
    fn what_is_no_text_is_escaped() {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, Type::Non, Code::PUT, 7, &Token::new(b"t"));
        writer.option(Number::URI_PATH, b"a\"\\\n").option(Number::URI_PATH, b"\xff");
        let len = writer.payload(&[0xff; 4]).finish().unwrap();
        let message = Message::parse(&buffer[..len]).unwrap();
        let read: Value = serde_json::from_slice(&uplink_json(&message, &about(None))).unwrap();
        let coap = &read["WirelessMetadata"]["CoAP"];
        assert_eq!(coap["UriPaths"], json!(["a\"\\\n", "\u{fffd}"]));
        assert_eq!(coap["UriQuery"], Value::Null);
        assert_eq!(read["PayloadData"], "/////w==");
    }
}
