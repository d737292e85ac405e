//! Whatever is written and whatever comes, nothing panics, and work is bounded.

use proptest::prelude::*;

use super::super::template::Template;
use super::super::value::Value;
use super::super::{functions, json, parse};
use super::{V1, V2, select_by};

/// Texts made of the language's pieces: most parse in part, many whole.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "SELECT",
        "VALUE",
        "FROM",
        "WHERE",
        "AS",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "NOT",
        "AND",
        "OR",
        "*",
        ",",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        ".",
        "'a'",
        "\"b\"",
        "'t/#'",
        "a",
        "b.c",
        "1",
        "-2.5",
        "1E999",
        "null",
        "true",
        "=",
        "<>",
        "<",
        "+",
        "-",
        "/",
        "%",
        "cast(a AS Int)",
        "get(a, 0)",
        "topic(1)",
        "${",
        "}",
        "(SELECT VALUE a FROM b)",
        "'ü'",
        "--",
        "`",
        ";",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
        1 => proptest::sample::select(functions::names())
            .prop_map(|name| format!("{name}(a, 'b', 3)")),
    ]
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        // JSON has a negative zero, the language has none.
        any::<f64>().prop_map(|x| serde_json::Value::from(x + 0.0)),
        "\\PC{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-c]{1}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// An argument of any type.
fn argument() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("missing".to_owned()),
        Just("null".to_owned()),
        Just("a".to_owned()),
        Just("'base64'".to_owned()),
        Just("'enrichArray'".to_owned()),
        Just("9.99E999".to_owned()),
        Just("-1E-999".to_owned()),
        any::<i64>().prop_map(|int| int.to_string()),
        any::<f32>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| format!("{x:?}")),
        any::<bool>().prop_map(|is| is.to_string()),
        "[^'\\pC]{0,12}".prop_map(|text| format!("'{text}'")),
        "[yMdHhmsSzZaEGXV' .:-]{0,10}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        Just("[1, 'a', [2], {'b': 3}]".to_owned()),
        Just("{'b': {'c': 1}, 'd': [4]}".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_taken_or_refused(text in "\\PC{0,80}") {
        let _ = parse::statement(&text);
        let _ = parse::expression(&text);
        let _ = Template::parse(&text);
    }

    #[test]
    fn any_pieces_are_taken_or_refused(
        pieces in prop::collection::vec(piece(), 0..24),
        document in document(),
    ) {
        let text = pieces.join(" ");
        let _ = Template::parse(&text);
        let payload = document.to_string();
        for version in [V1, V2] {
            let _ = select_by(version, &text, &payload);
            let _ = select_by(version, &format!("SELECT VALUE {text}"), &payload);
            let _ = select_by(version, &format!("SELECT * FROM 't' WHERE {text}"), &payload);
        }
    }

    /// What comes out is JSON or nothing.
    #[test]
    fn any_function_takes_any_arguments(
        name in proptest::sample::select(functions::names()),
        arguments in prop::collection::vec(argument(), 0..4),
        document in document(),
    ) {
        let sql = format!("SELECT VALUE {name}({})", arguments.join(", "));
        if let Ok(Some(written)) = select_by(V2, &sql, &format!("{{\"a\":{document}}}")) {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&written).is_ok();
            prop_assert!(written.is_empty() || is_json, "{} {}", sql, written);
        }
    }

    #[test]
    fn any_operator_takes_any_operands(
        left in argument(),
        operator in proptest::sample::select(vec!["+", "-", "*", "/", "%", "=", "<", "<>", "AND"]),
        right in argument(),
    ) {
        for version in [V1, V2] {
            let written = select_by(version, &format!("SELECT VALUE {left} {operator} {right}"), "{}");
            let written = written.unwrap().unwrap();
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&written).is_ok();
            prop_assert!(written.is_empty() || is_json, "{}", written);
        }
    }

    /// Our reader takes what serde_json takes, and writes what it reads.
    #[test]
    fn documents_are_read_as_serde_json_reads_them(document in document()) {
        for text in [document.to_string(), serde_json::to_string_pretty(&document).unwrap()] {
            let read = json::read(text.as_bytes(), false);
            prop_assert!(read.is_some(), "{}", text);
            if let Some(read) = read {
                let mut written = Vec::new();
                json::write(&read, &mut written);
                prop_assert!(read.equals(&json::read(&written, false).unwrap()).unwrap());
                let again: serde_json::Value = serde_json::from_slice(&written).unwrap();
                // Its doubles are not always the nearest ones, so it reads the text too.
                let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
                prop_assert!(is_same(&again, &theirs), "{} {}", again, theirs);
            }
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused(
        text in "[\\[\\]{}\",:0-9eE+.\\\\ub-]{0,16}|\\PC{0,8}|(true|null|[0-9.]{1,4}|[,\\[\\]]){0,6}",
    ) {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        let ours = json::read(text.as_bytes(), true);
        prop_assert!(theirs || ours.is_none(), "{}", text);
    }
}

/// An Int may be written where a double stood; serde_json reads either to its last bit but one.
fn is_same(left: &serde_json::Value, right: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (left, right) {
        (Number(left), Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            (left - right).abs() <= left.abs() * 1e-15
        }
        (Array(left), Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| is_same(l, r))
        }
        (Object(left), Object(right)) => {
            let same = |(name, value)| right.get(name).is_some_and(|other| is_same(value, other));
            left.len() == right.len() && left.iter().all(same)
        }
        (left, right) => left == right,
    }
}

#[test]
fn documents_have_a_depth() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(json::read(nested(json::DEPTH_MAX).as_bytes(), true).is_some());
    assert!(json::read(nested(json::DEPTH_MAX + 1).as_bytes(), true).is_none());
    assert!(json::read("[".repeat(1 << 20).as_bytes(), true).is_none());
}

/// RFC 8259 section 7.
#[test]
fn escapes_are_read() {
    let read = |text: &str| json::read(text.as_bytes(), true);
    let escaped = read(r#""\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00""#);
    assert_eq!(escaped, Some(Value::text("\"\\/\u{8}\u{c}\n\r\tä😀")));
    for bad in [
        r#""\ud83d""#,
        r#""\ud83dx""#,
        r#""\ud83d\u0041""#,
        r#""\udc00""#,
        r#""\x""#,
        "\"\n\"",
        r#""\u12""#,
        r#""a"#,
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}
