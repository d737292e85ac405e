//! A shape refuses what it does not allow, in AWS's words, and lets through what it knows.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::api::error::Dialect;

const LEVEL: Rule = Rule::one_of(&["LOW", "HIGH"]);
const SHAPE: &[Member] = &[
    must("Level", Kind::Text(&LEVEL)),
    may("Count", Kind::Integer(1, 3)),
    may("Items", Kind::List(&Kind::Structure(&[must("On", Kind::Boolean)]), 2)),
];

fn refusal(body: Value) -> Option<(&'static str, Value)> {
    let mut violations = Violations::default();
    let checked = check(body.as_object().unwrap(), "", SHAPE, &mut violations);
    let refused = checked.and_then(|()| violations.check()).err()?;
    Some((refused.shape(), refused.body(Dialect::Wireless)))
}

#[test]
fn what_the_shape_allows_passes() {
    for body in [
        json!({ "Level": "LOW" }),
        json!({ "Level": "HIGH", "Count": 3, "Items": [{ "On": true }, { "On": false }] }),
        json!({ "Level": "LOW", "Count": null, "Unknown": 7 }),
    ] {
        assert_eq!(refusal(body), None);
    }
}

#[test]
fn what_it_does_not_is_said_with_its_path() {
    for (body, path, words) in [
        (json!({}), "Level", NOT_NULL),
        (json!({ "Level": "low" }), "Level", "Member must satisfy enum value set: [LOW, HIGH]"),
        (
            json!({ "Level": "LOW", "Count": 4 }),
            "Count",
            "Member must have value less than or equal to 3",
        ),
        (json!({ "Level": "LOW", "Items": [{ "On": true }, {}] }), "Items.2.On", NOT_NULL),
        (
            json!({ "Level": "LOW", "Items": [{ "On": true }, { "On": true }, { "On": true }] }),
            "Items",
            "Member must have length less than or equal to 2",
        ),
    ] {
        let (shape, refused) = refusal(body).unwrap();
        assert_eq!(shape, "ValidationException");
        assert_eq!(refused["fieldList"], json!([{ "path": path, "message": words }]));
    }
    for body in [
        json!({ "Level": 1 }),
        json!({ "Level": "LOW", "Count": "1" }),
        json!({ "Level": "LOW", "Items": {} }),
        json!({ "Level": "LOW", "Items": [1] }),
    ] {
        assert_eq!(refusal(body).unwrap().0, "SerializationException");
    }
}

#[test]
fn members_that_no_shape_knows_are_left_out() {
    let body = json!({ "Level": "LOW", "X": 1, "Count": null, "Items": [{ "On": true, "Y": 2 }] });
    let known = known(body.as_object().unwrap(), SHAPE);
    assert_eq!(known, json!({ "Level": "LOW", "Items": [{ "On": true }] }));
}
