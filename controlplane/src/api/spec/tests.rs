//! A shape refuses what it does not allow, in AWS's words, and lets through what it knows.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::error::Dialect;
use crate::api::validate::Form;

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

/// Every rule for text that stands anywhere in a request or an answer, or in a path.
fn rules() -> Vec<&'static Rule> {
    fn gather(kind: &'static Kind, into: &mut Vec<&'static Rule>) {
        match kind {
            Kind::Text(rule) | Kind::Removable(rule) => into.push(rule),
            Kind::List(kind, _) => gather(kind, into),
            Kind::Structure(members) => {
                members.iter().for_each(|member| gather(&member.kind, into));
            }
            Kind::OneOf(kinds) => kinds.iter().for_each(|kind| gather(kind, into)),
            Kind::Integer(..) | Kind::Number | Kind::Decimal(..) | Kind::Boolean | Kind::Map => {}
        }
    }
    let mut all = vec![label_rule("Name"), label_rule("ruleName"), label_rule("certificateId")];
    for spec in operations::SPECS {
        let bodies = [Some(spec.query), spec.input, spec.output].into_iter().flatten();
        bodies.flatten().for_each(|member| gather(&member.kind, &mut all));
    }
    all.sort_by_key(|rule| rule.form.pattern());
    all.dedup_by_key(|rule| rule.form.pattern());
    all.retain(|rule| rule.form.pattern().is_some());
    all
}

/// What a pattern makes up is allowed, and what is not allowed does not match: by chance.
#[test]
fn a_pattern_says_what_its_function_does() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let rules = rules();
    assert!(rules.len() > 12, "{}", rules.len());
    for rule in rules {
        let pattern = rule.form.pattern().unwrap();
        let whole = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        let Form::Pattern(_, allows) = rule.form else { continue };
        let made = proptest::string::string_regex(pattern).unwrap();
        let broken = (made, any::<prop::sample::Index>(), "\\PC{0,2}");
        runner
            .run(&broken, |(mut text, at, other)| {
                prop_assert!(allows(&text), "{} made {:?}", pattern, text);
                let at = text.char_indices().map(|(at, _)| at).nth(at.index(text.len().max(1)));
                text.insert_str(at.unwrap_or(0), &other);
                prop_assert_eq!(allows(&text), whole.is_match(&text), "{} {:?}", pattern, text);
                Ok(())
            })
            .unwrap();
    }
}

/// Where words say it, whatever is allowed matches the pattern beside them.
#[test]
fn what_words_allow_matches_their_pattern() {
    use crate::api::{options, shape};
    use tidegate_coap::code::Code;
    use tidegate_coap::content_format;
    let key = crate::identity::testing::key_of(&rcgen::PKCS_ECDSA_P256_SHA256);
    let pem = key.public_key_pem();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let formats = (0..=u16::MAX).filter_map(content_format::name);
    let codes = (0..=u8::MAX).map(Code).filter(|code| code.is_response());
    let codes = codes.map(|code| code.service_name().to_string());
    let rows: [(&Rule, Vec<String>); 10] = [
        (&shape::PAYLOAD_DATA, texts(&["", "b24=", "aGVsbG8=", "AA=="])),
        (&options::ETAG, texts(&["AA==", "AAECAwQFBgc="])),
        (&options::IF_MATCH, texts(&["", "AAEC"])),
        (&shape::PSK_SECRET, texts(&["0xaF00", "0", "0y", "00x", "secret ~", "x0"])),
        (&shape::RAW_PUBLIC_KEY, texts(&[&der, &pem, &format!("a key:\n{pem}\n")])),
        (&shape::CERTIFICATE_NAME, texts(&["CN=m\u{fc} 1", "DNS:a.b-c_d", "URI:urn:dev:1"])),
        (
            &shape::SOURCE_ADDRESS,
            texts(&["10.0.0.1", "10.0.0.1:5683", "2001:db8::1", "[2001:db8::1]:1"]),
        ),
        (&shape::ENDPOINT, texts(&["10.0.0.1:65535", "[2001:db8::1]:1"])),
        (&shape::RESPONSE_STATUS, codes.chain(texts(&["content", "2.05"])).collect()),
        (
            &shape::CONTENT_FORMAT,
            formats.map(str::to_owned).chain(texts(&["50", " 0050 ", "TEXT/plain"])).collect(),
        ),
    ];
    for (rule, texts) in &rows {
        let Form::Words(_, pattern, allows) = rule.form else { panic!("{rule:?}") };
        let whole = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for text in texts {
            assert!(allows(text) && whole.is_match(text), "{pattern}: {text:?}");
        }
    }
    let has_row =
        |rule: &&Rule| rows.iter().any(|(row, _)| row.form.pattern() == rule.form.pattern());
    let mut of_words = rules().into_iter().filter(|rule| matches!(rule.form, Form::Words(..)));
    assert!(of_words.all(|rule| has_row(&rule)), "each has its row");
}

fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
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
