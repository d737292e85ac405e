//! Which operation do a method and a path name, and what may a policy say of it?
//!
//! [`table`] has one line an operation. Operations of AWS IoT Wireless that are not served (LoRaWAN
//! gateways, FUOTA, multicast, positions, partners) have none: UnknownOperationException.

pub mod table;

use std::future::Future;
use std::pin::Pin;

use super::error::{ApiError, Dialect};
use super::query::decode;
use super::{Api, Call, Reply};

/// One operation: how it is asked for, what it is to a policy, who runs it.
pub struct Operation {
    /// `GET /wireless-devices/{Identifier}`: one segment of the path is one here; one in braces
    /// stands for any.
    pub pattern: &'static str,
    /// `iotwireless:GetWirelessDevice`: what an IAM statement calls it.
    pub action: &'static str,
    /// The resources an IAM statement may name for it; none: only `*`.
    pub names: &'static [Names],
    run: Run,
}

/// Runs an operation; the last argument has the segments that stood for those in braces.
pub type Run = for<'a> fn(&'a Api, &'a Call, &'a [&'a str]) -> Running<'a>;

/// An operation under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send + 'a>>;

/// How a call names a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// By its id or name, the first segment in braces; the kind as it stands in ARNs.
    Path(&'static str),
    /// A device, by the first segment in braces and the query's `identifierType`.
    Device,
    /// By a member of the body (kind, member), when the body has it.
    Body(&'static str, &'static str),
    /// By its whole ARN, in the query's `resourceArn`.
    Arn,
}

impl Operation {
    /// `GetWirelessDevice`.
    pub fn name(&self) -> &'static str {
        self.action.split_once(':').map_or(self.action, |(_, name)| name)
    }

    /// The operation of a method and the segments of a path.
    pub fn of(method: &str, path: &[String]) -> Option<&'static Self> {
        table::OPERATIONS.iter().find(|operation| operation.is_at(method, path))
    }

    /// The segments of `path` that stand for those in braces.
    pub fn labels<'a>(&self, path: &'a [String]) -> Vec<&'a str> {
        let segments = self.segments().zip(path);
        segments.filter(|(wanted, _)| is_label(wanted)).map(|(_, found)| found.as_str()).collect()
    }

    /// The names of those in braces.
    pub fn label_names(&self) -> impl Iterator<Item = &'static str> {
        self.segments().filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Runs it.
    pub async fn run(&self, api: &Api, call: &Call) -> Result<Reply, ApiError> {
        (self.run)(api, call, &self.labels(&call.path)).await
    }

    fn is_at(&self, method: &str, path: &[String]) -> bool {
        self.pattern.split(' ').next() == Some(method)
            && self.segments().count() == path.len()
            && self.segments().zip(path).all(|(wanted, found)| wanted == found || is_label(wanted))
    }

    fn segments(&self) -> impl Iterator<Item = &'static str> {
        let path = self.pattern.split_once(" /").map_or("", |(_, path)| path);
        path.split('/')
    }
}

fn is_label(segment: &str) -> bool {
    segment.starts_with('{')
}

/// The segments of a raw path, each decoded once; none, so no operation, for a path that is not
/// normalised. *Why:* the signature is over the normalised path, so two spellings would share it.
pub fn segments(path: &str) -> Vec<String> {
    let raw: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let last = raw.len() - 1;
    let normal = |(at, segment): (usize, &&str)| match *segment {
        "" => at == last,
        "." | ".." => false,
        _ => true,
    };
    if raw.iter().enumerate().all(normal) {
        raw.into_iter().map(decode).collect()
    } else {
        Vec::new()
    }
}

/// Whose words a path is answered in.
pub fn dialect(path: &str) -> Dialect {
    let first = path.trim_start_matches('/').split('/').next();
    match first {
        Some("rules") => Dialect::Iot,
        Some("cacertificate" | "cacertificates") => Dialect::IotCertificates,
        _ => Dialect::Wireless,
    }
}

/// The signing names that are good for a dialect's paths.
pub fn signing_names(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Wireless => &["iotwireless"],
        Dialect::Iot | Dialect::IotCertificates => &["iotwireless", "iot", "iotdata"],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn at(method: &str, path: &str) -> Option<&'static str> {
        Operation::of(method, &segments(path)).map(Operation::name)
    }

    #[test]
    fn a_method_and_a_path_name_one_operation() {
        assert_eq!(at("GET", "/wireless-devices"), Some("ListWirelessDevices"));
        assert_eq!(at("GET", "/wireless-devices/a%2Fb"), Some("GetWirelessDevice"));
        assert_eq!(at("POST", "/wireless-devices/a/data"), Some("SendDataToWirelessDevice"));
        assert_eq!(at("GET", "/wireless-devices/"), Some("GetWirelessDevice"), "an empty one");
        for path in ["/", "/wireless-devices/a/", "/wireless-devices//data"] {
            assert_eq!(at("GET", path), None, "{path}");
        }
        assert_eq!(at("PUT", "/wireless-devices"), None);
    }

    #[test]
    fn labels_are_what_stands_for_a_segment_in_braces() {
        let path = segments("/wireless-devices/a%2Fb/data/c");
        let operation = Operation::of("GET", &path).expect("it is in the table");
        assert_eq!(operation.labels(&path), ["a/b", "c"]);
    }

    /// Also with the braces made one: no line hides another.
    #[test]
    fn no_two_lines_answer_to_the_same_call() {
        let mut seen = HashSet::new();
        for operation in table::OPERATIONS {
            let (method, path) = operation.pattern.split_once(' ').expect("a method and a path");
            let path: Vec<&str> = path
                .split('/')
                .map(|segment| if is_label(segment) { "{}" } else { segment })
                .collect();
            assert!(seen.insert((method, path.join("/"))), "{}", operation.pattern);
            let (service, name) = operation.action.split_once(':').expect("a service and a name");
            assert!(["iot", "iotwireless"].contains(&service) && !name.is_empty());
            let has_label = operation.segments().any(is_label);
            let needs_label =
                operation.names.iter().any(|n| matches!(n, Names::Path(_) | Names::Device));
            assert!(has_label || !needs_label, "{}", operation.pattern);
        }
    }

    #[test]
    fn segments_are_decoded_once_after_splitting() {
        assert_eq!(segments("/wireless-devices/a%3Ab%2Fc"), ["wireless-devices", "a:b/c"]);
        assert_eq!(segments("/a/b%252F"), ["a", "b%2F"]);
        assert_eq!(segments("/"), [""]);
        assert_eq!(segments("/a/"), ["a", ""]);
    }

    #[test]
    fn a_path_that_is_not_normalised_has_no_segments() {
        for path in ["//a", "/a//b", "/a/./b", "/a/..", "/a/."] {
            assert!(segments(path).is_empty(), "{path}");
        }
    }

    #[test]
    fn rules_and_authorities_speak_the_dialect_of_aws_iot() {
        assert_eq!(dialect("/rules"), Dialect::Iot);
        assert_eq!(dialect("/rules/x"), Dialect::Iot);
        for path in ["/cacertificate", "/cacertificate/x", "/cacertificates"] {
            assert_eq!(dialect(path), Dialect::IotCertificates);
        }
        assert_eq!(dialect("/rulesx"), Dialect::Wireless);
        assert_eq!(dialect("/destinations"), Dialect::Wireless);
    }
}
