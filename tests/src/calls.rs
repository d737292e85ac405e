//! What do AWS's clients call? A table that all of them share, the edge it is called at, and
//! callers who may not.

use std::fs;

use serde_json::{Value, json};

use crate::api::text;
use crate::edge::{Edge, Options};
use crate::pki::Pki;
use crate::process::Process;
use crate::repository::root;
use crate::sigv4::Credentials;

/// They say how a radio is used, and no device here has one: none is made, found or deleted.
pub const NEVER_SUCCEED: [&str; 6] = [
    "CreateDeviceProfile",
    "CreateServiceProfile",
    "DeleteDeviceProfile",
    "DeleteServiceProfile",
    "GetDeviceProfile",
    "GetServiceProfile",
];

/// Streams and documents: no client has them, stories of their own do.
const NO_CLIENT: [&str; 2] = ["FollowUplinks", "GetOpenApiDocument"];

/// An edge of which every operation can be asked.
pub fn edge() -> Edge {
    let controlplane = "[endpoints]\ncoap = \"coaps://edge.example.com:5684\"\n".to_owned();
    Edge::with(&Options { controlplane, ..Options::default() })
}

/// What a program needs to call every operation: `calls` (`tests/foreign/calls.json`), the `values`
/// of its names, and the `document` that the edge serves.
pub fn given(edge: &Edge, pki: &Pki) -> Value {
    let path = root().join("tests/foreign/calls.json");
    let calls = fs::read_to_string(path).expect("it is in the repository");
    let calls: Value = serde_json::from_str(&calls).expect("JSON");
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs();
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "coap:Put", "Resource": "arn:aws:iotwireless:*:*:coap/*",
    }]});
    json!({
        "calls": calls,
        "values": {
            "role": "arn:aws:iam::123456789012:role/tidegate",
            "thing": "arn:aws:iot:us-east-1:123456789012:thing/pump",
            "secret": "s".repeat(32),
            "policy": policy.to_string(),
            "ca": fs::read_to_string(pki.authority()).expect("openssl wrote it"),
            "start": now_s - 7_200,
            "end": now_s + 7_200,
        },
        "document": edge.api().succeed("GET", "/openapi.json", &Value::Null),
    })
}

/// The operations of a document that clients call with success, in the order of their names.
pub fn operations(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().expect("an object").values();
    let all = paths.flat_map(|methods| methods.as_object().expect("an object").values());
    let mut names: Vec<String> = all.map(|said| text(said, "operationId")).collect();
    names.retain(|name| {
        !NEVER_SUCCEED.contains(&name.as_str()) && !NO_CLIENT.contains(&name.as_str())
    });
    names.sort_unstable();
    names
}

/// A call of the table as it goes over HTTP.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its operation.
    pub operation: String,
    /// Of HTTP.
    pub method: String,
    /// Path and query, encoded, the query in order.
    pub target: String,
    /// JSON; null: none.
    pub body: Value,
    /// What success is answered with.
    pub status: u16,
}

/// Has every call of the table made, in its order: `call` answers with the body that came.
pub fn each(given: &Value, mut call: impl FnMut(&Request) -> Value) {
    let mut values = given["values"].clone();
    let steps = |part: &str| given["calls"][part].as_array().cloned().expect("a list");
    for step in [steps("first"), steps("last")].concat() {
        let input = filled(&step["in"], &values);
        let answer = call(&request(&given["document"], &text(&step, "op"), &input));
        for (name, member) in step["keep"].as_object().into_iter().flatten() {
            values[name] = answer[member.as_str().expect("a name")].clone();
        }
    }
}

/// What stands for a `$name`.
fn filled(value: &Value, values: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, of)| (name.clone(), filled(of, values))).collect()
        }
        Value::Array(items) => items.iter().map(|of| filled(of, values)).collect(),
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) => values[name].clone(),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// Where the document has the operation, and what of its input stands where.
fn request(document: &Value, operation: &str, input: &Value) -> Request {
    let paths = document["paths"].as_object().expect("an object");
    let all = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("an object");
        methods.iter().map(move |(method, said)| (path, method, said))
    });
    let mut of = all.filter(|(_, _, said)| said["operationId"] == operation);
    let (path, method, said) = of.next().unwrap_or_else(|| panic!("no {operation}"));
    let mut path = path.clone();
    let mut query: Vec<(String, String)> = Vec::new();
    let mut body = input.as_object().cloned().expect("an object");
    for parameter in said["parameters"].as_array().expect("a list") {
        let name = text(parameter, "name");
        let is_label = parameter["in"] == "path";
        // What the models call otherwise.
        let others: &[&str] = if is_label { &["Identifier", "WirelessDeviceId"] } else { &[] };
        let upper = first_upper(&name);
        let names = [&[&*name, &*upper], others].concat();
        let Some(value) = names.iter().find_map(|name| body.remove(*name)) else { continue };
        if is_label {
            path = path.replace(&format!("{{{name}}}"), &encoded(&value));
        } else if let Value::Array(items) = &value {
            query.extend(items.iter().map(|item| (name.clone(), encoded(item))));
        } else {
            query.push((name, encoded(&value)));
        }
    }
    // The one member that is the whole body.
    if let Some(Value::Object(payload)) = body.remove("topicRulePayload") {
        body = payload;
    }
    query.sort_unstable();
    let query: Vec<String> = query.iter().map(|(name, of)| format!("{name}={of}")).collect();
    let mut status = said["responses"].as_object().expect("an object").keys();
    Request {
        operation: operation.to_owned(),
        method: method.to_uppercase(),
        target: if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) },
        body: if said["requestBody"].is_null() { Value::Null } else { body.into() },
        status: status.find_map(|status| status.parse().ok()).expect("a status"),
    }
}

fn first_upper(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}

/// RFC 3986, as SigV4 wants it.
fn encoded(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A user whom no policy allows anything.
pub fn nobody(edge: &Edge) -> Credentials {
    admin(edge, &["user", "create", "nobody"]);
    key(edge, &admin(edge, &["key", "create", "--user", "nobody"]))
}

/// The root of an account that may call an operation once a second.
pub fn slow(edge: &Edge) -> Credentials {
    let account = admin(edge, &["account", "create", "slow"]);
    let id = text(&account, "AccountId");
    admin(edge, &["quota", "set", "--account", &id, "api_rate", "1"]);
    key(edge, &account)
}

fn key(edge: &Edge, made: &Value) -> Credentials {
    Credentials {
        access_key_id: text(made, "AccessKeyId"),
        secret_access_key: text(made, "SecretAccessKey"),
        ..edge.root_key()
    }
}

fn admin(edge: &Edge, order: &[&str]) -> Value {
    let said = Process::run("admin", edge.controlplane_command("admin").args(order));
    let said = said.unwrap_or_else(|e| panic!("{order:?}: {e}"));
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{order:?}: {e}: {said}"))
}
