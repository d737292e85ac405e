//! Which operation do a method and a path name?
//!
//! Operations of AWS IoT Wireless that are not served (LoRaWAN gateways, FUOTA, multicast,
//! positions, partners) have no line here: UnknownOperationException.

use super::error::{ApiError, Dialect};
use super::query::decode;
use super::{
    Api, Call, Reply, authorities, destinations, devices, downlink, endpoint, queue, rules, uplinks,
};

/// Runs the operation.
pub async fn operate(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (call.method.as_str(), path.as_slice()) {
        ("POST", ["wireless-devices"]) => devices::create(api, call).await,
        ("GET", ["wireless-devices"]) => devices::list(api, call).await,
        ("GET", ["wireless-devices", id]) => devices::get(api, call, id).await,
        ("PATCH", ["wireless-devices", id]) => devices::update(api, call, id).await,
        ("DELETE", ["wireless-devices", id]) => devices::delete(api, id).await,

        ("POST", ["wireless-devices", id, "data"]) => downlink::send(api, call, id).await,
        ("GET", ["wireless-devices", id, "data"]) => queue::list(api, call, id).await,
        ("DELETE", ["wireless-devices", id, "data"]) => queue::delete(api, call, id).await,
        ("GET", ["wireless-devices", id, "data", message]) => queue::status(api, id, message).await,

        ("POST", ["destinations"]) => destinations::create(api, call).await,
        ("GET", ["destinations"]) => destinations::list(api, call).await,
        ("GET", ["destinations", name]) => destinations::get(api, name).await,
        ("PATCH", ["destinations", name]) => destinations::update(api, call, name).await,
        ("DELETE", ["destinations", name]) => destinations::delete(api, name).await,

        ("GET", ["service-endpoint"]) => endpoint::get(api, call),
        ("GET", ["uplinks"]) => uplinks::follow(api, call).await,

        ("GET", ["rules"]) => rules::list(api, call).await,
        ("POST", ["rules", name]) => rules::create(api, call, name).await,
        ("GET", ["rules", name]) => rules::get(api, name).await,
        ("PATCH", ["rules", name]) => rules::replace(api, call, name).await,
        ("DELETE", ["rules", name]) => rules::delete(api, name).await,
        ("POST", ["rules", name, "enable"]) => rules::enable(api, name, true).await,
        ("POST", ["rules", name, "disable"]) => rules::enable(api, name, false).await,

        ("POST", ["cacertificate"]) => authorities::register(api, call).await,
        ("GET", ["cacertificate", id]) => authorities::describe(api, id).await,
        ("GET", ["cacertificates"]) => authorities::list(api, call).await,
        ("PUT", ["cacertificate", id]) => authorities::update(api, call, id).await,
        ("DELETE", ["cacertificate", id]) => authorities::delete(api, id).await,

        _ => Err(ApiError::unknown_operation()),
    }
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
        Some("rules" | "cacertificate" | "cacertificates") => Dialect::Iot,
        _ => Dialect::Wireless,
    }
}

/// The signing names that are good for a dialect's paths.
pub fn signing_names(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Wireless => &["iotwireless"],
        Dialect::Iot => &["iotwireless", "iot", "iotdata"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(dialect(path), Dialect::Iot);
        }
        assert_eq!(dialect("/rulesx"), Dialect::Wireless);
        assert_eq!(dialect("/destinations"), Dialect::Wireless);
    }
}
