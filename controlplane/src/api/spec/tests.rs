//! A shape refuses what it does not allow, in AWS's words, and lets through what it knows.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
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

/// JSON whose members are called as those of some operation are.
fn document() -> impl Strategy<Value = Value> {
    let names: Vec<&str> = operations::SPECS
        .iter()
        .filter_map(|spec| spec.input)
        .flat_map(|members| members.iter().map(|member| member.name))
        .chain(["CoAP", "DtlsV1_2", "Key", "Value", "LogLevel", "x"])
        .collect();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[A-Z]{1,9}|2.05|[0-9a-f-]{36}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let named = (proptest::sample::select(names.clone()), inner.clone());
        let named = named.prop_map(|(name, value)| (name.to_owned(), value));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(named, 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any body is taken or refused by any operation; what is taken is taken again as it is known.
    #[test]
    fn any_body_is_taken_or_refused(body in document()) {
        let Some(body) = body.as_object() else { return Ok(()) };
        for members in operations::SPECS.iter().filter_map(|spec| spec.input) {
            let taken = |body: &Map<String, Value>| {
                let mut violations = Violations::default();
                let checked = check(body, "", members, &mut violations);
                checked.and_then(|()| violations.check()).is_ok()
            };
            let known_of = known(body, members);
            if taken(body) {
                prop_assert!(taken(known_of.as_object().unwrap()), "{}", known_of);
                prop_assert_eq!(known(known_of.as_object().unwrap(), members), known_of);
            }
        }
    }
}
