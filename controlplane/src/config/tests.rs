//! Every knob: its default, its range on both sides, its documentation.
#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn the_documented_file_is_the_default() {
    let documented = include_str!("../../../deploy/controlplane.toml");
    let config = Config::parse(documented).unwrap();
    assert_eq!(config.to_toml(), Config::default().to_toml());
}

#[test]
fn unknown_keys_are_errors() {
    assert!(Config::parse("run_dirr = \"/x\"").unwrap_err().contains("run_dirr"));
    assert!(Config::parse("[http]\nport = 1").unwrap_err().contains("port"));
}

#[test]
fn each_range_is_checked_on_both_sides() {
    for (key, low, high) in [
        ("http.body_bytes_max", 4_096, 1 << 20),
        ("http.head_timeout_ms", 100, 600_000),
        ("http.body_timeout_ms", 100, 60_000),
        ("http.requests_max", 1, 65_536),
        ("http.followers_max", 1, 4_096),
        ("publish.in_flight_max", 1, 60_000),
        ("publish.timeout_ms", 100, 240_000),
        ("publish.unavailable_max_age_s", 1, 86_400),
        ("outbox.entries_max", 10, 1_000_000_000),
        ("outbox.bytes_max", 1 << 20, 1 << 40),
        ("outbox.give_up_s", 1, YEAR_S),
        ("queue.messages_per_device_max", 1, 10_000),
        ("queue.ttl_s", 1, YEAR_S),
        ("queue.history_s", 1, YEAR_S),
        ("stream.entries_max", 1, 1_000_000_000),
        ("stream.bytes_max", 1 << 20, 1 << 40),
        ("stream.age_max_s", 1, YEAR_S),
        ("account_quotas.application_profiles", 1, 10_000),
        ("account_quotas.uplinks_per_s", 1, 1_000_000),
        ("device_quotas.uplinks_burst", 1, 100_000),
        ("summary_metrics.age_max_s", 3_600, YEAR_S),
    ] {
        let set = |value: u64| Config::parse(&format!("{key} = {value}"));
        assert!(set(low).is_ok(), "{key} = {low}");
        assert!(set(high).is_ok(), "{key} = {high}");
        assert!(set(low - 1).unwrap_err().contains(key), "{key} below");
        assert!(set(high + 1).unwrap_err().contains(key), "{key} above");
    }
}

#[test]
fn the_api_stays_on_loopback_unless_it_has_tls() {
    for good in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:8080"] {
        assert!(Config::parse(&format!("http.listen = \"{good}\"")).is_ok(), "{good}");
    }
    for bad in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
        let error = Config::parse(&format!("http.listen = \"{bad}\"")).unwrap_err();
        assert!(error.contains("loopback"), "{error}");
        let tls = "http.tls = { certificate = \"c\", key = \"k\" }";
        assert!(Config::parse(&format!("http.listen = \"{bad}\"\n{tls}")).is_ok(), "{bad}");
    }
}

#[test]
fn texts_are_checked() {
    for bad in [
        "aws.account_id = \"12345678901\"",
        "aws.account_id = \"1234567890123\"",
        "aws.account_id = \"12345678901a\"",
        "aws.region = \"\"",
        "aws.region = \"US-EAST\"",
        "aws.partition = \"a b\"",
        "mqtt.url = \"tcp://x\"",
        "mqtt.url = \"mqtt://\"",
        "mqtt = { url = \"mqtt://x\", client_id = \"\" }",
        "mqtt = { url = \"mqtt://x\", client_id = \"aaaaaaaaaaaaaaaaaaaaaaaa\" }",
        "endpoints.coap = \"\"",
    ] {
        assert!(Config::parse(bad).is_err(), "{bad}");
    }
    assert!(Config::parse("mqtt = { url = \"mqtt://x\", client_id = \"t\" }").is_ok());
}

#[test]
fn the_password_of_the_broker_is_not_printed() {
    let config = Config::parse("mqtt.url = \"mqtt://me:p@ss@host:1883\"").unwrap();
    assert!(config.to_toml().contains("mqtt://me:…@host:1883"));
    let config = Config::parse("mqtt.url = \"mqtt://host\"").unwrap();
    assert!(config.to_toml().contains("\"mqtt://host\""));
}
