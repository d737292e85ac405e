//! Does curl with `--aws-sigv4` work, as deploy/aws/README.md shows it? Every method, queries,
//! percent-encoded segments, bodies, and how refusals look.

#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::api::text;
use tidegate_tests::calls;
use tidegate_tests::edge::{Edge, REGION};
use tidegate_tests::pki::Pki;
use tidegate_tests::process::Process;
use tidegate_tests::sigv4::Credentials;

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
        Self::by(edge, &edge.root_key())
    }

    fn by(edge: &Edge, key: &Credentials) -> Self {
        Self {
            url: format!("http://127.0.0.1:{}", edge.http_port),
            user: format!("{}:{}", key.access_key_id, key.secret_access_key),
        }
    }

    fn asks(&self, method: &str, target: &str, body: &Value) -> Answer {
        self.runs(self.signing(), method, target, body)
    }

    fn signing(&self) -> Command {
        let mut command = Command::new("curl");
        command.args(["--aws-sigv4", &format!("aws:amz:{REGION}:iotwireless")]);
        command.args(["--user", &self.user]);
        command
    }

    /// Without a signature, or with what the command has already.
    fn runs(&self, mut command: Command, method: &str, target: &str, body: &Value) -> Answer {
        command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]);
        command.args(["--request", method]);
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
        self.asks(method, target, body).refusal()
    }
}

impl Answer {
    fn refusal(&self) -> (u16, String) {
        let message = ["Message", "message"].iter().find_map(|name| self.body.get(name));
        assert!(message.is_some_and(Value::is_string), "{}", self.body);
        (self.status, self.shape.clone())
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

/// All of them, by the table that boto3 and the JavaScript client read, too.
#[test]
fn curl_calls_every_operation() {
    let edge = calls::edge();
    let curl = Curl::of(&edge);
    let given = calls::given(&edge, &Pki::new());
    let mut called = Vec::new();
    calls::each(&given, |request| {
        called.push(request.operation.clone());
        curl.does(&request.method, &request.target, request.status, &request.body)
    });
    called.sort_unstable();
    called.dedup();
    assert_eq!(called, calls::operations(&given["document"]));
    let document = curl.gets("/openapi.json");
    assert_eq!(document, given["document"]);
}

/// Every shape of refusal, here or in the next one, once. Not here: what takes a store that fails
/// (`controlplane/src/api/tests/store_fails.rs`), 64 authorities (`tests/authorities.rs` beside it)
/// or a body that never ends (`tests/mod.rs` there).
#[test]
fn curl_sees_why_it_is_refused() {
    let edge = Edge::embedded();
    let curl = Curl::of(&edge);
    let role = "arn:aws:iam::123456789012:role/any";
    let destination = json!({"Name": "d", "ExpressionType": "MqttTopic", "Expression": "t",
        "RoleArn": role});
    let made = curl.does("POST", "/destinations", 201, &destination);
    let arn = text(&made, "Arn").replace(':', "%3A").replace('/', "%2F");
    let tags: Vec<Value> = (0..51).map(|at| json!({"Key": at.to_string(), "Value": ""})).collect();
    let rule = |sql: &str| json!({"sql": sql, "actions": [{"republish": {"topic": "t", "roleArn": role}}]});
    curl.does("POST", "/rules/r", 200, &rule("SELECT *"));
    let pki = Pki::new();
    let pem = |path| fs::read_to_string(path).expect("openssl wrote it");
    let authority = |pem: String| json!({"caCertificate": pem, "certificateMode": "SNI_ONLY"});
    let ca = authority(pem(pki.authority()));
    let id = text(&curl.does("POST", "/cacertificate?setAsActive=true", 200, &ca), "certificateId");
    let leaf = authority(pem(pki.certified("leaf").certificate));
    let rows = [
        ("GET", "/destinations/none", Value::Null, 404, "ResourceNotFoundException"),
        ("POST", "/destinations", json!({"Name": "a b"}), 400, "ValidationException"),
        ("POST", "/destinations", json!([1]), 400, "SerializationException"),
        ("POST", "/destinations", destination.clone(), 409, "ConflictException"),
        ("GET", "/nothing", Value::Null, 404, "UnknownOperationException"),
        (
            "POST",
            &format!("/tags?resourceArn={arn}"),
            json!({"Tags": tags}),
            400,
            "TooManyTagsException",
        ),
        ("GET", "/rules/none", Value::Null, 404, "ResourceNotFoundException"),
        ("POST", "/rules/a-b", rule("SELECT *"), 400, "InvalidRequestException"),
        ("POST", "/rules/bad", rule("SELECT"), 400, "SqlParseException"),
        ("POST", "/rules/r", rule("SELECT *"), 409, "ResourceAlreadyExistsException"),
        ("POST", "/cacertificate", ca, 409, "ResourceAlreadyExistsException"),
        ("POST", "/cacertificate", leaf, 400, "CertificateValidationException"),
        ("DELETE", &format!("/cacertificate/{id}"), Value::Null, 406, "CertificateStateException"),
    ];
    for (method, target, body, status, shape) in rows {
        let refused = curl.is_refused(method, target, &body);
        assert_eq!(refused, (status, shape.to_owned()), "{method} {target}");
    }
}

/// Who may not, or says so in a way that is none.
#[test]
fn curl_sees_why_it_is_not_let_in() {
    let edge = Edge::embedded();
    let curl = Curl::of(&edge);
    let refused = |status: u16, shape: &str| (status, shape.to_owned());
    let nobody = Curl::by(&edge, &calls::nobody(&edge));
    assert_eq!(
        nobody.is_refused("GET", "/destinations", &Value::Null),
        refused(403, "AccessDeniedException")
    );
    assert_eq!(curl_is_throttled(&edge), refused(429, "ThrottlingException"));
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
    let with = |mut command: Command, more: &[&str]| {
        command.args(more);
        curl.runs(command, "POST", "/destinations", &Value::Null).refusal()
    };
    assert_eq!(with(Command::new("curl"), &[]), refused(403, "MissingAuthenticationToken"));
    let half = ["--header", "authorization: AWS4-HMAC-SHA256 Credential=x"];
    assert_eq!(with(Command::new("curl"), &half), refused(400, "IncompleteSignature"));
    let text = ["--header", "content-type: text/plain", "--data", "{}"];
    assert_eq!(with(curl.signing(), &text), refused(415, "UnsupportedMediaTypeException"));
    let long = edge.directory().join("long");
    fs::write(&long, "x".repeat(600_000)).expect("a file can be written");
    let long = ["--data", &format!("@{}", long.display())];
    assert_eq!(with(curl.signing(), &long), refused(413, "RequestEntityTooLargeException"));
}

/// One of an account's calls, which it makes until there are too many of them in a second.
fn curl_is_throttled(edge: &Edge) -> (u16, String) {
    let slow = Curl::by(edge, &calls::slow(edge));
    for _ in 0..100 {
        let answer = slow.asks("GET", "/destinations", &Value::Null);
        if answer.status != 200 {
            return answer.refusal();
        }
    }
    panic!("100 calls in 100 seconds?")
}
