//! Does a document compile to what it says, or is it refused in words?
#![allow(clippy::unwrap_used)]

use super::*;
use tidegate_ring::policy::{Class, Item, Sheet, write};

const HERE: Scope<'_> = Scope { partition: "aws", region: "us-east-1", account: "000000000000" };

fn statement(effect: &str, action: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"}}"#)
}

fn document(statements: &[String]) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","))
}

fn allows(document: &str, method: u8, path: &str) -> bool {
    let compiled = compile(document, HERE).unwrap();
    let class = Class { own: 1, ..Class::default() };
    let mut bytes = Vec::new();
    assert!(write(&mut bytes, &Item::Policy(&compiled)));
    let segments = path.split('/').map(str::as_bytes);
    Sheet::parse(&bytes).unwrap().allows(&class, &[0xcd; 16], method, segments)
}

#[test]
fn a_document_says_what_is_allowed() {
    let arn = "arn:aws:iotwireless:us-east-1:000000000000:coap/sensors/*";
    let put = document(&[statement("Allow", "coap:Put", arn)]);
    assert!(allows(&put, 3, "sensors/7") && !allows(&put, 1, "sensors/7"));
    assert!(!allows(&put, 3, "actors/7"));
    let both = document(&[
        statement("Allow", "coap:*", "*"),
        statement("Deny", "coap:Delete", "arn:aws:iotwireless:*:*:coap/*"),
    ]);
    assert!(allows(&both, 7, "any") && !allows(&both, 4, "any"));
}

#[test]
fn one_or_many_of_everything() {
    let one = r#"{"Statement":{"Sid":"a","Effect":"Allow","Action":["coap:Get","COAP:put"],
        "Resource":["arn:aws:iotwireless:*:*:coap/a","arn:aws:iotwireless:*:*:coap/b"]}}"#;
    for (method, path, expected) in
        [(1, "a", true), (3, "b", true), (2, "a", false), (1, "c", false)]
    {
        assert_eq!(allows(one, method, path), expected, "{method} {path}");
    }
}

#[test]
fn actions_have_wildcards_and_no_case() {
    assert_eq!(methods_of("coap:p*").unwrap(), 0b010_0110, "Post, Put and Patch");
    assert_eq!(methods_of("coap:?ut").unwrap(), 0b100);
    assert_eq!(methods_of("*").unwrap(), METHODS_ALL);
    assert!(methods_of("coap:Observe").is_err() && methods_of("iotwireless:Get*").is_err());
}

#[test]
fn a_path_is_written_as_devices_send_it() {
    let path = |path: &str| String::from_utf8(compile_pattern(path).unwrap()).unwrap();
    assert_eq!(path("a b/é=%7e%2f*"), "a%20b/%C3%A9%3D~%2F*");
    assert_eq!(path(&format!("d/{DEVICE_VARIABLE}/x")), "d/\u{1}/x");
    let own = format!("arn:aws:iotwireless:*:*:coap/d/{DEVICE_VARIABLE}/*");
    let own = document(&[statement("Allow", "*", &own)]);
    assert!(allows(&own, 1, "d/cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd/t"));
    assert!(!allows(&own, 1, "d/cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdce/t"));
}

#[test]
fn what_can_not_count_here_is_refused_in_words() {
    let on = |resource: &str| document(&[statement("Allow", "coap:Put", resource)]);
    let cases = [
        (on("arn:aws-cn:iotwireless:*:*:coap/a"), "partition"),
        (on("arn:aws:iotwireless:eu-*:*:coap/a"), "region"),
        (on("arn:aws:iotwireless:*:000000000001:coap/a"), "account"),
        (on("arn:aws:iot:*:*:coap/a"), "service"),
        (on("arn:aws:iotwireless:*:*:WirelessDevice/a"), "coap/"),
        (on("coap/a"), "not an ARN"),
        (on("arn:aws:iotwireless:*:*:coap/%zz"), "hex"),
        (on("arn:aws:iotwireless:*:*:coap/${aws:username}"), "variable"),
        (document(&[statement("Maybe", "coap:Put", "*")]), "Effect"),
        (document(&[]), "empty"),
        (r#"{"Version":"2020-01-01","Statement":[]}"#.to_owned(), "Version"),
        (r#"{"Statement":[{"Effect":"Allow","Action":[],"Resource":"*"}]}"#.to_owned(), "Action"),
        (r#"{"Statement":[],"Condition":{}}"#.to_owned(), "Condition"),
        ("[]".to_owned(), "policy document"),
    ];
    for (document, word) in cases {
        let why = compile(&document, HERE).unwrap_err();
        assert!(why.contains(word), "{document}: {why}");
    }
    let condition = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*",
        "Condition":{"Bool":{}}}]}"#;
    assert!(compile(condition, HERE).is_err(), "a condition that would not count");
}

#[test]
fn bounds_hold_on_both_sides() {
    let on = |path: &str| {
        let arn = format!("arn:aws:iotwireless:*:*:coap/{path}");
        compile(&document(&[statement("Allow", "*", &arn)]), HERE)
    };
    assert!(on(&"p".repeat(PATTERN_BYTES_MAX)).is_ok());
    assert!(on(&"p".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    assert!(on(&DEVICE_VARIABLE.repeat(DEVICES_PER_PATTERN_MAX)).is_ok());
    assert!(on(&DEVICE_VARIABLE.repeat(DEVICES_PER_PATTERN_MAX + 1)).is_err());
    let small = document(&[statement("Allow", "*", "*")]);
    let padded = format!("{small}{}", " ".repeat(DOCUMENT_BYTES_MAX - small.len()));
    assert!(compile(&padded, HERE).is_ok() && compile(&format!("{padded} "), HERE).is_err());
    // é is six bytes of a pattern and two of the document.
    let wide = format!("arn:aws:iotwireless:*:*:coap/{}", "é".repeat(42));
    let many = |count| compile(&document(&vec![statement("Deny", "*", &wide); count]), HERE);
    assert!(many(16).is_ok() && many(17).is_err(), "255 bytes each");
}
