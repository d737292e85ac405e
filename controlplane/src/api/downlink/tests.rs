//! What a body makes of a downlink, and what it is refused for.

#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value};

use super::*;
use crate::api::spec::{self, shapes};

/// As the API does: checked by the shape, then read.
fn reading(body: Value) -> Result<Downlink, ApiError> {
    let body: Map<String, Value> = body.as_object().unwrap().clone();
    let mut violations = Violations::default();
    spec::check(&body, "", shapes::SEND, &mut violations)?;
    violations.check()?;
    read(&Members::of_body(&body))
}

fn request_of(body: Value) -> DownlinkRequest {
    match reading(body).unwrap() {
        Downlink::Request(request) => request,
        Downlink::Response(response) => panic!("{response:?}"),
    }
}

/// The message of the refusal.
fn refusal(body: Value) -> String {
    let error = reading(body).unwrap_err();
    error.body(super::super::error::Dialect::Wireless)["Message"].as_str().unwrap().to_owned()
}

/// A PUT with `value` as its CoAP member `name`.
fn put_with(name: &str, value: Value) -> Value {
    let mut body = json!({ "PayloadData": "", "CoAP": { "RequestMethod": "PUT" } });
    body["CoAP"][name] = value;
    body
}

#[test]
fn a_request_carries_what_was_asked_for() {
    let request = request_of(json!({
        "TransmitMode": 0,
        "PayloadData": "MjEuNQ==",
        "CoAP": {
            "MessageType": "CONFIRMABLE", "RequestMethod": "PUT",
            "UriPaths": ["/sensors/temp", "x"],
            "UriQuery": [{ "Key": "unit", "Value": "c" }, { "Key": "now" }],
            "ContentFormat": "application/json", "Accept": "60", "QueueMode": 1,
        },
    }));
    let expected = DownlinkRequest {
        message_type: MessageType::Confirmable,
        method: Method::Put,
        uri_paths: vec!["sensors".into(), "temp".into(), "x".into()],
        uri_query: vec!["unit=c".into(), "now".into()],
        content_format: Some(50),
        accept: Some(60),
        queue_mode: QueueMode::Queued,
        priority: Priority::Normal,
        ttl_s: None,
        options: Vec::new(),
        payload: b"21.5".to_vec(),
        reference: None,
    };
    assert_eq!(request, expected);
}

#[test]
fn transmit_mode_counts_only_without_a_message_type() {
    let kind = |transmit_mode: Value, message_type: Value| {
        request_of(json!({
            "TransmitMode": transmit_mode,
            "CoAP": { "RequestMethod": "GET", "MessageType": message_type },
        }))
        .message_type
    };
    let (con, non) = (MessageType::Confirmable, MessageType::NonConfirmable);
    assert_eq!(kind(json!(null), json!(null)), con);
    assert_eq!(kind(json!(1), json!(null)), con);
    assert_eq!(kind(json!(0), json!(null)), non);
    assert_eq!(kind(json!(0), json!("CONFIRMABLE")), con);
    assert_eq!(kind(json!(1), json!("NON_CONFIRMABLE")), non);
}

#[test]
fn a_payload_may_be_missing_only_where_a_method_has_none() {
    for method in ["GET", "DELETE"] {
        assert!(reading(json!({ "CoAP": { "RequestMethod": method } })).is_ok(), "{method}");
    }
    for method in ["PUT", "POST"] {
        let message = refusal(json!({ "CoAP": { "RequestMethod": method } }));
        assert!(message.contains("'PayloadData'"), "{method}: {message}");
        let empty = json!({ "PayloadData": "", "CoAP": { "RequestMethod": method } });
        assert!(reading(empty).is_ok(), "{method}");
    }
}

#[test]
fn a_payload_is_base64_of_at_most_1024_bytes() {
    let put =
        |data: &str| reading(json!({ "PayloadData": data, "CoAP": { "RequestMethod": "PUT" } }));
    assert!(put(&STANDARD.encode(vec![7; PAYLOAD_BYTES_MAX])).is_ok());
    assert!(put(&STANDARD.encode(vec![7; PAYLOAD_BYTES_MAX + 1])).is_err());
    for bad in ["A", "AA", "AAA", "A===", "AA=A", "AA\n==", "_-__"] {
        assert_eq!(put(bad).unwrap_err().shape(), "ValidationException", "{bad}");
    }
}

#[test]
fn a_response_needs_its_token_and_a_response_code() {
    let answer = |status: &str| {
        reading(json!({
            "PayloadData": "b2s=",
            "CoAP": { "ResponseToken": "t", "ResponseStatus": status, "LocationPath": ["a/b"],
                      "ContentFormat": 0 },
        }))
    };
    for status in ["CONTENT(2.05)", "2.05", "content(2.05)"] {
        let Ok(Downlink::Response(response)) = answer(status) else { panic!("{status}") };
        assert_eq!((response.status, response.token.as_str()), (0x45, "t"));
        assert_eq!(response.location_path, ["a", "b"]);
        assert_eq!((response.content_format, response.payload), (Some(0), b"ok".to_vec()));
    }
    for status in ["", "GET", "0.01", "CONTENT(2.04)", "7.01", "205"] {
        assert_eq!(answer(status).unwrap_err().shape(), "ValidationException", "{status}");
    }
    let message = refusal(json!({ "CoAP": { "ResponseStatus": "2.05" } }));
    assert!(message.contains("'CoAP.ResponseToken'"), "{message}");
    let message = refusal(json!({ "CoAP": { "ResponseToken": "t" } }));
    assert!(message.contains("'CoAP.ResponseStatus'"), "{message}");
    let message = refusal(json!({
        "CoAP": { "ResponseToken": "t", "ResponseStatus": "2.05", "RequestMethod": "GET" },
    }));
    assert!(message.contains("together with RequestMethod"), "{message}");
}

#[test]
fn without_a_coap_member_nothing_is_guessed() {
    let message = refusal(json!({ "TransmitMode": 1, "PayloadData": "AA==" }));
    assert!(message.contains("'CoAP'") && message.contains("not be null"), "{message}");
}

#[test]
fn enums_and_numbers_are_checked_on_both_sides() {
    for (name, good, bad) in [
        ("QueueMode", vec![json!(0), json!(1)], vec![json!(-1), json!(2)]),
        (
            "Accept",
            vec![json!(0), json!(65_535), json!("65535")],
            vec![json!(-1), json!(65_536), json!("65536"), json!("no/such")],
        ),
        ("MessageType", vec![json!("NON_CONFIRMABLE")], vec![json!("CON"), json!("")]),
        ("RequestMethod", vec![json!("DELETE"), json!("IPATCH")], vec![json!("iPATCH"), json!("")]),
        ("NoResponse", vec![json!(0), json!(26)], vec![json!(1), json!(4), json!(27)]),
        ("HopLimit", vec![json!(1), json!(255)], vec![json!(0), json!(256)]),
        ("IfMatch", vec![json!([""]), json!(["AQIDBAUGBwg="])], vec![json!(["AQIDBAUGBwgJ"])]),
        ("ETags", vec![json!(["AQ=="])], vec![json!([""]), json!(["AQIDBAUGBwgJ"])]),
        // Of an answer, and of a GET or FETCH.
        ("MaxAge", vec![], vec![json!(60)]),
        ("Observe", vec![], vec![json!(0), json!(1)]),
    ] {
        for value in good {
            assert!(reading(put_with(name, value.clone())).is_ok(), "{name} {value}");
        }
        for value in bad {
            let error = reading(put_with(name, value.clone())).unwrap_err();
            assert_eq!(error.shape(), "ValidationException", "{name} {value}");
        }
    }
}

#[test]
fn options_keep_the_lengths_of_rfc_7252() {
    let path = |length: usize| reading(put_with("UriPaths", json!(["a".repeat(length)])));
    assert!(path(255).is_ok());
    assert!(path(256).is_err());
    let query = |length: usize| {
        let value = "v".repeat(length - 2);
        reading(put_with("UriQuery", json!([{ "Key": "k", "Value": value }])))
    };
    assert!(query(255).is_ok());
    assert!(query(256).is_err());
    let many = |count: usize| reading(put_with("UriPaths", json!(vec!["a"; count])));
    assert!(many(OPTIONS_MAX).is_ok());
    assert!(many(OPTIONS_MAX + 1).is_err());
    assert!(reading(put_with("UriPaths", json!(["a/../b"]))).is_err());
    assert!(reading(put_with("UriPaths", json!(["a", "."]))).is_err());
}
