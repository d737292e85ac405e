//! Each reader on both sides of its limits, the wording of AWS, and no value in any text.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::api::error::{ApiError, Dialect};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Does the rule let the text through?
pub(in crate::api) fn allows(rule: &Rule, text: &str) -> bool {
    let mut violations = Violations::default();
    rule.check("X", text, &mut violations);
    violations.check().is_ok()
}

/// The text a caller would see.
fn text(error: ApiError) -> String {
    error.body(Dialect::Wireless).to_string()
}

#[test]
fn lengths_count_characters_on_both_sides() {
    let rule = Rule::length(2, 3);
    for (text, good) in [("a", false), ("ab", true), ("äöü", true), ("abcd", false)] {
        assert_eq!(allows(&rule, text), good, "{text}");
    }
}

#[test]
fn members_have_a_type() {
    let body = object(json!({ "Low": 0, "Text": "1", "Real": 1.5, "Null": null }));
    let body = Members::of_body(&body);
    assert_eq!(body.integer("Low").unwrap(), Some(0));
    assert_eq!((body.integer("None").unwrap(), body.integer("Null").unwrap()), (None, None));
    for wrong in ["Text", "Real"] {
        assert_eq!(body.integer(wrong).unwrap_err().shape(), "SerializationException");
    }
    assert_eq!(body.text("Low").unwrap_err().shape(), "SerializationException");
    assert_eq!((body.required("Text").unwrap(), body.required("None").unwrap()), ("1", ""));
}

#[test]
fn integers_have_ranges() {
    for (number, good) in [(-1, false), (0, true), (1, true), (2, false)] {
        let mut violations = Violations::default();
        check_range("X", number, &(0..=1), &mut violations);
        assert_eq!(violations.check().is_ok(), good, "{number}");
    }
}

#[test]
fn every_violation_is_told_at_once_in_the_words_of_aws() {
    let mut violations = Violations::default();
    Rule::length(0, 3).check("Name", "abcd", &mut violations);
    Rule::one_of(&["A", "B"]).check("Deep.Kind", "other", &mut violations);
    violations.add("Null", NOT_NULL);
    let error: Value = serde_json::from_str(&text(violations.check().unwrap_err())).unwrap();
    assert_eq!(
        error["Message"],
        "3 validation errors detected: Value at 'Name' failed to satisfy constraint: Member must \
         have length less than or equal to 3; Value at 'Deep.Kind' failed to satisfy constraint: \
         Member must satisfy enum value set: [A, B]; Value at 'Null' failed to satisfy \
         constraint: Member must not be null"
    );
    assert_eq!(error["fieldList"][1]["path"], "Deep.Kind");
}

#[test]
fn one_violation_is_one_error() {
    let mut violations = Violations::default();
    violations.add("x", "Member must not be null");
    assert!(text(violations.check().unwrap_err()).contains("1 validation error detected: Value"));
}

#[test]
fn no_text_holds_a_value() {
    const SECRET: &str = "hunter2-hunter2-hunter2-hunter2-\u{e9}";
    let body = object(json!({ "Secret": SECRET, "List": [SECRET], "Deep": SECRET }));
    let body = Members::of_body(&body);
    let mut violations = Violations::default();
    super::super::shape::PSK_SECRET.check("Secret", SECRET, &mut violations);
    Rule::length(0, 1).check("Secret", SECRET, &mut violations);
    Rule::one_of(&["A"]).check("Secret", SECRET, &mut violations);
    let errors = [
        violations.check().unwrap_err(),
        body.integer("Secret").unwrap_err(),
        body.nested("Deep", |_| Ok(())).unwrap_err(),
        body.nested_list("List", |_| Ok(())).unwrap_err(),
        parse_body(format!("{{\"Secret\": {SECRET}}}").as_bytes()).unwrap_err(),
        parse_body(format!("{SECRET:?}").as_bytes()).unwrap_err(),
    ];
    for error in errors {
        let text = text(error);
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_body_is_an_object_or_empty() {
    assert!(parse_body(b"").unwrap().is_empty());
    assert!(parse_body(b" \n").unwrap().is_empty());
    assert_eq!(parse_body(b"{\"a\": 1}").unwrap().len(), 1);
    let deep = "[".repeat(100_000);
    for bad in [&b"[]"[..], b"1", b"{", b"{\"a\":\xff}", deep.as_bytes()] {
        assert_eq!(parse_body(bad).unwrap_err().shape(), "SerializationException");
    }
}
