//! What does an application read? One JSON object per uplink, in AWS IoT Wireless's shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tidegate_coap::content_format;
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;
use time::OffsetDateTime;
use time::macros::format_description;

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

/// The JSON of a request or response of a device.
pub fn uplink_json(message: &Message<'_>, about: &Circumstances) -> Vec<u8> {
    let options = &message.options;
    let is_request = message.code.is_request();
    let code = message.code.service_name().to_string();
    let coap = Coap {
        message_type: message.ty.service_name(),
        request_method: is_request.then(|| code.clone()),
        response_status: (!is_request).then_some(code),
        uri_paths: texts(options.all(Number::URI_PATH)),
        uri_query: options.all(Number::URI_QUERY).map(query_param).collect(),
        location_path: texts(options.all(Number::LOCATION_PATH)),
        content_format: options.content_format().map(format_name),
        accept: options.accept().map(format_name),
        response_token: about.response_token.as_deref(),
        message_id: about.message.to_string(),
        timestamp: timestamp(about.received_unix_ms),
        network: about.network.as_str(),
        security_mode: about.security_mode.map(SecurityMode::as_str),
    };
    let uplink = Uplink {
        device: about.device.to_string(),
        payload: STANDARD.encode(message.payload),
        metadata: Metadata { coap },
    };
    serde_json::to_vec(&uplink).expect("every member is a string or a list of them")
}

/// `2026-11-21T05:00:00.123Z`.
pub fn timestamp(unix_ms: u64) -> String {
    let nanoseconds = i128::from(unix_ms) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds);
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.ok().and_then(|at| at.format(&format).ok()).unwrap_or_default()
}

#[derive(Serialize)]
struct Uplink<'a> {
    #[serde(rename = "WirelessDeviceId")]
    device: String,
    #[serde(rename = "PayloadData")]
    payload: String,
    #[serde(rename = "WirelessMetadata")]
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "CoAP")]
    coap: Coap<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Coap<'a> {
    message_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uri_paths: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uri_query: Vec<QueryParam>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    location_path: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accept: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_token: Option<&'a str>,
    message_id: String,
    timestamp: String,
    network: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_mode: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct QueryParam {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// The registered name, or the number as text.
fn format_name(format: u16) -> String {
    content_format::name(format).map_or_else(|| format.to_string(), str::to_owned)
}

/// `key=value`, or a key alone.
fn query_param(argument: &[u8]) -> QueryParam {
    let argument = String::from_utf8_lossy(argument);
    match argument.split_once('=') {
        Some((key, value)) => QueryParam { key: key.to_owned(), value: Some(value.to_owned()) },
        None => QueryParam { key: argument.into_owned(), value: None },
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

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
}
