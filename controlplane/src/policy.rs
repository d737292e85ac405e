//! What may a device ask for? Data-plane policies in the shape of IAM's, read, checked, compiled.
//!
//! ```text
//! { "Version": "2012-10-17", "Statement": [ { "Effect": "Allow", "Action": ["coap:Put"],
//!   "Resource": "arn:aws:iotwireless:*:*:coap/sensors/*" } ] }
//! ```
//!
//! Compiled they are the statements of [`tidegate_ring::policy`]. *Bound:* of the document
//! [`DOCUMENT_BYTES_MAX`], of what it compiles to `POLICY_BYTES_MAX`.

use serde::Deserialize;
use tidegate_ring::policy::{
    DEVICE, DEVICES_PER_PATTERN_MAX, Effect, METHODS_ALL, PATTERN_BYTES_MAX, POLICY_BYTES_MAX,
    is_unreserved, method_bit, write_statement,
};

/// Longest document, bytes (a managed policy of IAM may have as many characters).
pub const DOCUMENT_BYTES_MAX: usize = 6_144;

/// What names the device in a resource.
pub const DEVICE_VARIABLE: &str = "${iotwireless:WirelessDeviceId}";

/// Where policies count: the fields of an ARN that have to fit.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// `aws`.
    pub partition: &'a str,
    /// `us-east-1` …
    pub region: &'a str,
    /// Twelve digits.
    pub account: &'a str,
}

/// Compiles a document; `Err` says in a sentence what is wrong with it.
pub fn compile(document: &str, scope: Scope<'_>) -> Result<Vec<u8>, String> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("a policy document has at most {DOCUMENT_BYTES_MAX} bytes"));
    }
    let document: Document = serde_json::from_str(document)
        .map_err(|error| format!("not a policy document: {error}"))?;
    if let Some(version) = &document.version
        && !["2012-10-17", "2008-10-17"].contains(&version.as_str())
    {
        return Err("Version must be 2012-10-17 or 2008-10-17".to_owned());
    }
    let mut compiled = Vec::new();
    let statements = document.statement.into_vec();
    if statements.is_empty() {
        return Err("Statement must not be empty".to_owned());
    }
    for statement in statements {
        compile_statement(&statement, scope, &mut compiled)?;
    }
    if compiled.len() > POLICY_BYTES_MAX {
        let bytes = compiled.len();
        return Err(format!("compiled it has {bytes} bytes, more than {POLICY_BYTES_MAX}"));
    }
    Ok(compiled)
}

fn compile_statement(
    statement: &Statement,
    scope: Scope<'_>,
    compiled: &mut Vec<u8>,
) -> Result<(), String> {
    let effect = match statement.effect.as_str() {
        "Allow" => Effect::Allow,
        "Deny" => Effect::Deny,
        other => return Err(format!("Effect must be Allow or Deny, not {other}")),
    };
    let mut methods = 0;
    for action in statement.action.as_slice() {
        methods |= methods_of(action)?;
    }
    if methods == 0 || statement.resource.as_slice().is_empty() {
        return Err("a statement must name an Action and a Resource".to_owned());
    }
    for resource in statement.resource.as_slice() {
        write_statement(compiled, effect, methods, &pattern_of(resource, scope)?);
    }
    Ok(())
}

/// The methods an action names, `*` and `?` as in IAM, in any case.
fn methods_of(action: &str) -> Result<u8, String> {
    let wanted = action.to_ascii_lowercase();
    if wanted == "*" {
        return Ok(METHODS_ALL);
    }
    let named = METHODS.iter().filter(|(name, _)| fits(wanted.as_bytes(), name.as_bytes()));
    let bits = named.fold(0, |bits, (_, code)| bits | method_bit(*code));
    if bits == 0 {
        return Err(format!(
            "Action {action} names none of coap:Get, coap:Post, coap:Put, coap:Delete, \
             coap:Fetch, coap:Patch and coap:IPatch"
        ));
    }
    Ok(bits)
}

const METHODS: [(&str, u8); 7] = [
    ("coap:get", 1),
    ("coap:post", 2),
    ("coap:put", 3),
    ("coap:delete", 4),
    ("coap:fetch", 5),
    ("coap:patch", 6),
    ("coap:ipatch", 7),
];

/// The pattern of a resource: `*`, or what stands behind `coap/` in its ARN.
fn pattern_of(resource: &str, scope: Scope<'_>) -> Result<Vec<u8>, String> {
    if resource == "*" {
        return Ok(b"*".to_vec());
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let [arn, partition, service, region, account, path] = parts[..] else {
        return Err(format!("Resource {resource} is not an ARN, nor *"));
    };
    let places = [
        ("service", service, "iotwireless"),
        ("partition", partition, scope.partition),
        ("region", region, scope.region),
        ("account", account, scope.account),
    ];
    for (what, pattern, here) in places {
        if !fits(pattern.as_bytes(), here.as_bytes()) {
            return Err(format!("the {what} of Resource {resource} is not {here}"));
        }
    }
    match path.strip_prefix("coap/") {
        Some(path) if arn == "arn" => compile_pattern(path),
        None if arn == "arn" && path == "*" => Ok(b"*".to_vec()),
        _ => Err(format!("Resource {resource} does not name coap/ and a path")),
    }
}

/// The path of a resource as patterns have it: what is not unreserved as `%XX`, but `/`, `*`, `?`
/// and the device's id.
fn compile_pattern(path: &str) -> Result<Vec<u8>, String> {
    let mut pattern = Vec::new();
    let mut devices = 0;
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(DEVICE_VARIABLE) {
            pattern.push(DEVICE);
            devices += 1;
            rest = after;
            continue;
        }
        if rest.starts_with("${") {
            return Err(format!("{DEVICE_VARIABLE} is the only variable that is known: {path}"));
        }
        let (character, after) = rest.split_at(first.len_utf8());
        rest = after;
        match first {
            '/' | '*' | '?' => pattern.push(first as u8),
            '%' => {
                let digits = rest.get(..2).and_then(|two| u8::from_str_radix(two, 16).ok());
                let byte = digits.ok_or_else(|| format!("a % without two hex digits: {path}"))?;
                push_encoded(&mut pattern, byte);
                rest = &rest[2..];
            }
            _ => character.bytes().for_each(|byte| push_encoded(&mut pattern, byte)),
        }
    }
    if pattern.len() > PATTERN_BYTES_MAX || devices > DEVICES_PER_PATTERN_MAX {
        return Err(format!(
            "a path has at most {PATTERN_BYTES_MAX} bytes, and {DEVICES_PER_PATTERN_MAX} variables"
        ));
    }
    Ok(pattern)
}

fn push_encoded(pattern: &mut Vec<u8>, byte: u8) {
    if is_unreserved(byte) {
        pattern.push(byte);
    } else {
        pattern.extend_from_slice(format!("%{byte:02X}").as_bytes());
    }
}

/// `*` any run, `?` one byte.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|at| fits(rest, &text[at..])),
        Some((wanted, rest)) => text
            .split_first()
            .is_some_and(|(byte, after)| (*wanted == b'?' || wanted == byte) && fits(rest, after)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Document {
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: OneOrMany<Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Statement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: String,
    action: OneOrMany<String>,
    resource: OneOrMany<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "an unexpected member, or a value of the wrong type")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }

    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests;
