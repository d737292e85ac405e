//! What the tables say beside their examples: other types, Undefined, versions.

use super::{select, select_by, value, value_by_v1};

#[test]
fn a_wrong_type_is_undefined() {
    for expression in UNDEFINED {
        assert_eq!(value(expression), "", "{expression}");
    }
}

#[test]
fn operators_convert_as_their_tables_say() {
    for (expression, result) in [
        ("1 + 2 * 3", "7"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("7 / 2.0", "3"),
        ("7 / 2.5", "2.8"),
        ("1 / 3.5 * 3.5 > 0.99", "true"),
        ("'5' - 2", "3"),
        ("'1.5' * '2'", "3"),
        ("'5' + 2", r#""52""#),
        ("2 + '5'", r#""25""#),
        ("0.1 + 0.2", "0.3"),
        ("'10' > 9", "true"),
        ("1 = 1.0", "true"),
        ("1 = '1'", "false"),
        ("1 <> '1'", "true"),
        ("null = null", "true"),
        ("null <> null", "false"),
        ("[1, 2] = [1, 2]", "true"),
        ("[1, 2] = [2, 1]", "false"),
        ("{'a': 1, 'b': 2} = {'b': 2, 'a': 1}", "true"),
        ("{'a': 1} = {'a': 1, 'b': 2}", "false"),
        ("'TRUE' AND true", "true"),
        ("'false' OR 'False'", "false"),
        ("NOT 'false'", "true"),
        ("9999999999999999999999999999999999 + 0", "9999999999999999999999999999999999"),
        ("- -5", "5"),
        ("CASE WHEN 1 > 2 THEN 'a' WHEN 2 > 1 THEN 'b' END", r#""b""#),
        ("cast(1.9 AS Int)", "1"),
        ("cast(-1.1 AS Int)", "-2"),
        ("cast('5E-1' AS Decimal)", "0.5"),
        ("cast(0 AS Boolean)", "false"),
        ("cast(0.5 AS Bool)", "true"),
        ("cast('FALSE' AS Boolean)", "false"),
        ("cast({'a': [1, 'b', null]} AS String)", r#""{\"a\":[1,\"b\",null]}""#),
    ] {
        assert_eq!(value(expression), result, "{expression}");
    }
}

#[test]
fn functions_beside_their_examples() {
    for (expression, result) in [
        ("nanvl(null, 3)", "3"),
        ("nanvl(missing, 3)", "3"),
        ("nanvl('a', 3)", r#""a""#),
        ("get_or_default(missing, 3)", "3"),
        ("get_or_default(4, 3)", "4"),
        ("get('abc', 1)", r#""b""#),
        ("indexof('abcd', 'x')", "-1"),
        ("indexof('äbc', 'c')", "2"),
        ("substring('äöü', 1, 2)", r#""ö""#),
        ("length('äöü')", "3"),
        ("lpad('a', -5)", r#""a""#),
        ("length(rpad('', 1001))", "1000"),
        ("length(rpad('', 1000))", "1000"),
        ("round(0.5)", "1"),
        ("round('1.5')", "2"),
        ("trunc(1.23456, 100)", "1.23456"),
        ("trunc(-2.9, -3)", "-2"),
        ("bitnot(13)", "-14"),
        ("bitand('13.7', 5)", "5"),
        ("sha1('abc')", r#""a9993e364706816aba3e25717850c26c9cd0d89d""#),
        ("sha224('')", r#""d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f""#),
        ("length(sha256('')) + length(sha384('')) + length(sha512(''))", "288"),
        ("regexp_replace('John Smith', '(\\w+) (\\w+)', '$2 \\$1 $1')", r#""Smith $1 John""#),
        ("regexp_replace('abc', 'b', '$0$01')", r#""abb1c""#),
        ("regexp_matches(missing, 'a')", ""),
        ("regexp_matches('aXb', 'a' + upper('x') + 'b')", "true"),
        ("encode('hi', 'base64')", r#""aGk=""#),
        ("decode('aGk=', 'base64')", r#""hi""#),
        ("decode('!', 'base64')", "null"),
        ("decode('/w==', 'base64')", "null"),
        ("decode('MTAuMA==', 'base64')", "10"),
        ("length(newuuid())", "36"),
        ("newuuid() = newuuid()", "false"),
        ("rand() < 1 AND rand() >= 0", "true"),
        ("clientid()", r#""device""#),
        (
            "parse_time(\"yyyy-MM-dd'T'HH:mm:ss.SSSZZ\", 0, 'Asia/Kolkata')",
            r#""1970-01-01T05:30:00.000+05:30""#,
        ),
        (
            "parse_time('h a, k:m, EEE EEEE, MMM MMMM, D, e, x w, yy, CC', 1481825251155)",
            r#""6 PM, 18:7, Thu Thursday, Dec December, 350, 4, 2016 50, 16, 20""#,
        ),
        ("parse_time('HH Z z', 0, '-03:00')", r#""21 -0300 -03""#),
        ("time_to_epoch('1970-01-01 12:00 AM +0100', 'yyyy-MM-dd hh:mm a Z')", "-3600000"),
        ("time_to_epoch('19700102', 'yyyyMMdd')", "86400000"),
    ] {
        assert_eq!(value(expression), result, "{expression}");
    }
    assert_eq!(value_by_v1("decode('MTAuMA==', 'base64')"), "10.0");
}

/// Members named like SQL's words are members.
#[test]
fn only_the_languages_words_are_words() {
    let payload =
        r#"{"user":1,"group":2,"interval":3,"value":4,"timestamp":5,"order":6,"exists":7}"#;
    let sql = "SELECT user, group, interval, value, timestamp, order, exists FROM 'a'";
    assert_eq!(select(sql, payload).unwrap(), payload);
    assert_eq!(select("SELECT value FROM 'a'", payload).unwrap(), r#"{"value":4}"#);
    assert_eq!(select("SELECT VALUE value FROM 'a'", payload).unwrap(), "4");
    assert_eq!(select("SELECT value AS v FROM 'a'", payload).unwrap(), r#"{"v":4}"#);
}

#[test]
fn columns_have_the_name_of_what_they_are() {
    let payload = r#"{"a":{"b":{"c":1}},"l":[{"x":2}]}"#;
    for (sql, result) in [
        ("SELECT a.b.c", r#"{"c":1}"#),
        ("SELECT get(l, 0).x", r#"{"x":2}"#),
        ("SELECT topic(1)", r#"{"topic(1)":"things"}"#),
        ("SELECT a.b.c AS x.y, 2 AS x.z", r#"{"x":{"y":1,"z":2}}"#),
        ("SELECT a.b.c AS \"x.y\"", r#"{"x.y":1}"#),
        ("SELECT 1 AS l, *", r#"{"l":[{"x":2}],"a":{"b":{"c":1}}}"#),
        ("SELECT *, 1 AS l", r#"{"a":{"b":{"c":1}},"l":1}"#),
        ("SELECT missing, nothing.at.all", "{}"),
        ("SELECT (SELECT * FROM l)", r#"{"(SELECT * FROM l)":[{"x":2}]}"#),
        ("SELECT (SELECT *, 1 AS y FROM l) AS l", r#"{"l":[{"x":2,"y":1}]}"#),
        ("SELECT VALUE *", payload),
        ("SELECT VALUE missing", ""),
    ] {
        assert_eq!(select(sql, payload).unwrap(), result, "{sql}");
    }
}

/// A payload that is no JSON has no members, but bytes.
#[test]
fn any_payload_can_be_encoded() {
    assert_eq!(select("SELECT encode(*, 'base64') AS d", "\u{1}x").unwrap(), r#"{"d":"AXg="}"#);
    assert_eq!(select("SELECT a, 1 AS b", "{").unwrap(), r#"{"b":1}"#);
    assert_eq!(select("SELECT *, 1 AS b", "").unwrap(), r#"{"b":1}"#);
    let refused = select_by(super::V2, "SELECT *, 1 AS b", "[1]").unwrap_err();
    assert!(refused.contains("not a JSON object"), "{refused}");
    assert_eq!(select("SELECT * FROM 'a' WHERE a = 1", "x"), None);
}

/// 34 digits, and what is beyond 1E-999 and 9.99E999 is no number.
#[test]
fn numbers_keep_34_digits() {
    let read = |number: &str| select("SELECT x", &format!("{{\"x\":{number}}}")).unwrap();
    for kept in
        ["9999999999999999999999999999999999", "0.1234567890123456789012345678901234", "-0.5"]
    {
        assert_eq!(read(kept), format!("{{\"x\":{kept}}}"));
    }
    assert_eq!(read("1.00000000000000000000000000000000049"), r#"{"x":1}"#);
    for none in ["1E1000", "1E-1000", "1E99999999999999999999", "01", "1.", ".1", "+1", "1e", "--1"]
    {
        assert_eq!(read(none), "{}", "{none}");
    }
}

/// docs/rules.md names every function, and no function that is not there as one.
#[test]
fn the_documentation_names_every_function() {
    let text = include_str!("../../../../docs/rules.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("### Functions"));
    let rows = rows.take_while(|line| !line.starts_with("| **not**"));
    let mut documented: Vec<String> = rows
        .filter_map(|row| row.strip_prefix("| ")?.split_once(" | "))
        .filter(|(group, _)| !group.is_empty() && *group != "conversion")
        .flat_map(|(_, names)| names.split(','))
        .filter_map(|name| name.split_whitespace().next())
        .map(|name| name.trim_end_matches('|').to_ascii_lowercase())
        .collect();
    documented.sort();
    let mut served = super::super::functions::names();
    served.sort_unstable();
    assert_eq!(documented, served);
}

const UNDEFINED: &[&str] = &[
    "abs(true)",
    "abs([1])",
    "abs(null)",
    "abs('x')",
    "abs('+5')",
    "abs('.5')",
    "abs('5.')",
    "abs('1e+3')",
    "abs()",
    "abs(1, 2)",
    "floor(missing)",
    "acos(2)",
    "ln(0)",
    "sqrt(-1)",
    "1 / 0",
    "1 % 0",
    "mod(1, 0)",
    "1 + true",
    "1 + null",
    "'a' + null",
    "'a' - 1",
    "true AND 1",
    "NOT 1",
    "1 < 'x'",
    "missing = 1",
    "missing <> 1",
    "-'x'",
    "chr(128)",
    "chr(-1)",
    "concat(1, 2)",
    "concat('a', null)",
    "get('abc', 3)",
    "get('abc', -1)",
    "get([1], 1)",
    "get({'a': 1}, 'b')",
    "get({'1': 1}, 1)",
    "upper(null)",
    "upper(missing)",
    "encode('a', 'hex')",
    "decode('YQ==', 'hex')",
    "regexp_matches('a', '(' + '')",
    "regexp_replace('a', 'a', '$1')",
    "regexp_substr('a', 'b')",
    "topic(0)",
    "topic(4)",
    "topic('x')",
    "principal()",
    "parse_time('yyyy', 'x')",
    "parse_time('yyyy', 0, 'Nowhere/City')",
    "parse_time('bbb', 0)",
    "time_to_epoch('2020', 'yyyy-MM')",
    "time_to_epoch('2020-13-01', 'yyyy-MM-dd')",
    "transform('other', {}, [])",
    "transform('enrichArray', {}, [1])",
    "trunc(1.5, 'x')",
    "cast('x' AS Int)",
    "cast('yes' AS Boolean)",
    "cast(null AS String)",
    "CASE missing WHEN 1 THEN 2 ELSE 3 END",
    "CASE 1 WHEN 2 THEN 3 END",
    "(SELECT a FROM missing)",
    "9E999 * 10",
    "1E-999 / 10",
];
