//! Does curl with `--aws-sigv4` work, as deploy/aws/README.md shows it? Every method, queries,
//! percent-encoded segments, bodies, and how refusals look.

#![forbid(unsafe_code)]

use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::api::text;
use tidegate_tests::edge::{Edge, REGION};
use tidegate_tests::process::Process;

/// What curl got.
struct Answer {
    status: u16,
    /// `x-amzn-ErrorType`, of a refusal.
    shape: String,
    body: Value,
}

struct Curl {
    url: String,
    user: String,
}

impl Curl {
    fn of(edge: &Edge) -> Self {
        let key = edge.root_key();
        Self {
            url: format!("http://127.0.0.1:{}", edge.http_port),
            user: format!("{}:{}", key.access_key_id, key.secret_access_key),
        }
    }

    fn asks(&self, method: &str, target: &str, body: &Value) -> Answer {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]);
        command.args(["--aws-sigv4", &format!("aws:amz:{REGION}:iotwireless")]);
        command.args(["--user", &self.user, "--request", method]);
        command.args(["--write-out", "\n%{http_code} %header{x-amzn-errortype}"]);
        if !body.is_null() {
            command.args(["--header", "content-type: application/json"]);
            command.args(["--data", &body.to_string()]);
        }
        command.arg(format!("{}{target}", self.url));
        let said = Process::run("curl", &mut command).unwrap_or_else(|said| panic!("{said}"));
        let (body, last) = said.rsplit_once('\n').expect("a line of its own");
        let (status, shape) = last.split_once(' ').expect("status and shape");
        Answer {
            status: status.parse().expect("a status"),
            shape: shape.split(':').next().unwrap_or_default().to_owned(),
            body: if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"))
            },
        }
    }

    fn gets(&self, target: &str) -> Value {
        let answer = self.asks("GET", target, &Value::Null);
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        answer.body
    }

    fn does(&self, method: &str, target: &str, status: u16, body: &Value) -> Value {
        let answer = self.asks(method, target, body);
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.body);
        answer.body
    }

    fn is_refused(&self, method: &str, target: &str, body: &Value) -> (u16, String) {
        let answer = self.asks(method, target, body);
        let message = ["Message", "message"].iter().find_map(|name| answer.body.get(name));
        assert!(message.is_some_and(Value::is_string), "{}", answer.body);
        (answer.status, answer.shape)
    }
}

#[test]
fn curl_makes_a_device_and_asks_for_it() {
    let edge = Edge::embedded();
    let curl = Curl::of(&edge);
    let destination = json!({"Name": "plant", "ExpressionType": "MqttTopic", "Expression": "up",
        "RoleArn": "arn:aws:iam::123456789012:role/any", "Description": "größer als ASCII"});
    curl.does("POST", "/destinations", 201, &destination);
    assert_eq!(curl.gets("/destinations/plant")["Description"], "größer als ASCII");
    let identity = "urn:dev:imei:490154203237518:0001";
    let device = json!({"Type": "CoAP", "Name": "pump", "DestinationName": "plant",
        "Cellular": {"Imei": "490154203237518", "DtlsV1_2": {
            "PreSharedKeyIdentity": identity, "PreSharedKeySecret": "s".repeat(32)}}});
    let id = text(&curl.does("POST", "/wireless-devices", 201, &device), "Id");

    // Queries in order, their values as they are and percent-encoded.
    let listed = curl.gets("/wireless-devices?destinationName=plant&maxResults=5");
    assert_eq!(listed["WirelessDeviceList"][0]["Id"], json!(id));
    let by_imei = curl.gets("/wireless-devices/490154203237518?identifierType=Imei");
    assert_eq!(by_imei["Id"], json!(id));
    curl.does("PATCH", &format!("/wireless-devices/{id}"), 204, &json!({"Name": "pump 2"}));
    let arn =
        text(&curl.gets(&format!("/wireless-devices/{id}?identifierType=WirelessDeviceId")), "Arn");
    let arn = arn.replace(':', "%3A").replace('/', "%2F");
    let tags = json!({"Tags": [{"Key": "site", "Value": "north"}]});
    curl.does("POST", &format!("/tags?resourceArn={arn}"), 204, &tags);
    assert_eq!(curl.gets(&format!("/tags?resourceArn={arn}")), tags);

    let level = json!({"LogLevel": "INFO"});
    let of_device = format!("/log-levels/{id}?resourceType=WirelessDevice");
    curl.does("PUT", &of_device, 200, &level);
    assert_eq!(curl.gets(&of_device), level);

    let coap = json!({"RequestMethod": "PUT", "UriPaths": ["led"], "QueueMode": 1});
    let message = json!({"TransmitMode": 1, "PayloadData": "b24=", "CoAP": coap});
    let data = format!("/wireless-devices/{id}/data");
    let sent = text(&curl.does("POST", &data, 202, &message), "MessageId");
    assert_eq!(curl.gets(&format!("{data}/{sent}"))["Status"], "PENDING");
    curl.does("DELETE", &format!("{data}?messageId=%2A"), 204, &Value::Null);
    assert_eq!(curl.gets(&format!("{data}/{sent}"))["Status"], "DELETED");
    curl.does("DELETE", &format!("/wireless-devices/{id}"), 204, &Value::Null);
    curl.does("DELETE", "/destinations/plant", 204, &Value::Null);
}

#[test]
fn curl_sees_why_it_is_refused() {
    let edge = Edge::embedded();
    let curl = Curl::of(&edge);
    let refused = |status: u16, shape: &str| (status, shape.to_owned());
    assert_eq!(
        curl.is_refused("GET", "/destinations/none", &Value::Null),
        refused(404, "ResourceNotFoundException")
    );
    assert_eq!(
        curl.is_refused("POST", "/destinations", &json!({"Name": "a b"})),
        refused(400, "ValidationException")
    );
    assert_eq!(
        curl.is_refused("POST", "/destinations", &json!([1])),
        refused(400, "SerializationException")
    );
    assert_eq!(
        curl.is_refused("GET", "/nothing", &Value::Null),
        refused(404, "UnknownOperationException")
    );
    let mut other = Curl::of(&edge);
    other.user.push('x');
    assert_eq!(
        other.is_refused("GET", "/destinations", &Value::Null),
        refused(403, "SignatureDoesNotMatch")
    );
    other.user = "TGRKNOBODYKNOWSTHIS0:secret".to_owned();
    assert_eq!(
        other.is_refused("GET", "/destinations", &Value::Null),
        refused(403, "InvalidClientTokenId")
    );
}
