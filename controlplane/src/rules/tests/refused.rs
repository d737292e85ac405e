//! What a statement can't be: each refusal says why, at creation.

use super::super::{parse, template::Template, tokens::SQL_BYTES_MAX};

fn refusal(sql: &str) -> String {
    parse::statement(sql).err().unwrap_or_else(|| panic!("taken: {sql}")).0
}

#[test]
fn what_is_not_the_language_is_refused() {
    for (sql, why) in [
        ("", "Expected"),
        ("SELECT", "Expected"),
        ("DELETE FROM 'a'", "Expected"),
        ("SELECT * FROM", "Expected"),
        ("SELECT * FROM a/b", "unexpected /"),
        ("SELECT * FROM a", "FROM takes a topic filter in quotes"),
        ("SELECT * FROM 'a', 'b'", "without joins"),
        ("SELECT * FROM 'a' AS b", "topic filter in quotes"),
        ("SELECT * FROM 'a' ORDER BY x", "unexpected"),
        ("SELECT * FROM 'a' LIMIT 1", "unexpected"),
        ("SELECT * FROM 'a' x JOIN 'b'", "unexpected JOIN"),
        ("SELECT * FROM 'a'; SELECT * FROM 'b'", "unexpected ;"),
        ("SELECT * FROM 'a' -- why", "comments"),
        ("SELECT /* why */ * FROM 'a'", "comments"),
        ("SELECT DISTINCT a FROM 'a'", "DISTINCT"),
        ("SELECT VALUE a, b FROM 'a'", "SELECT VALUE takes one expression"),
        ("SELECT VALUE a AS b FROM 'a'", "SELECT VALUE takes one expression"),
        ("SELECT a AS b..c FROM 'a'", "single dots"),
        ("SELECT a || b FROM 'a'", "the operator ||"),
        ("SELECT a[0] FROM 'a'", "get()"),
        ("SELECT `a` FROM 'a'", "no quote"),
        ("SELECT nothing(a) FROM 'a'", "there is no function nothing"),
        ("SELECT aws_lambda('x', *) FROM 'a'", "needs a service of AWS"),
        ("SELECT cast(a AS Blob) FROM 'a'", "cast knows no type"),
        ("SELECT regexp_matches(a, '(?=x)') FROM 'a'", "a pattern that can't be used"),
        ("SELECT regexp_matches(a, '((a{99}){99}){99}') FROM 'a'", "a pattern that can't be used"),
        ("SELECT (SELECT a) FROM 'a'", "a nested SELECT needs its FROM"),
        ("SELECT (SELECT a FROM 'b') FROM 'a'", "a nested FROM takes names"),
        ("SELECT count(*) OVER () FROM 'a'", ""),
        ("SELECT 1e1000 FROM 'a'", "34 digits"),
        ("SELECT 'a FROM 'a'", "Unterminated"),
    ] {
        let said = refusal(sql);
        assert!(said.contains(why), "{sql}: {said}");
    }
}

/// Bounds, each on both sides.
#[test]
fn a_statement_has_its_bounds() {
    let of_length = |bytes: usize| format!("SELECT '{}'", "a".repeat(bytes - 9));
    assert!(parse::statement(&of_length(SQL_BYTES_MAX)).is_ok());
    assert!(refusal(&of_length(SQL_BYTES_MAX + 1)).contains("bytes"));

    let chained = |terms: usize| format!("SELECT {} AS x", vec!["1"; terms].join("+"));
    assert!(parse::statement(&chained(127)).is_ok());
    assert!(refusal(&chained(129)).contains("128 deep"));
    assert!(refusal(&chained(300)).contains("operators"));

    let nested = |depth: usize| format!("SELECT {}1{} AS x", "(".repeat(depth), ")".repeat(depth));
    assert!(parse::statement(&nested(15)).is_ok());
    assert!(!refusal(&nested(1_000)).is_empty());
    let selects = format!("SELECT {}a{}", "(SELECT VALUE ".repeat(60), " FROM b)".repeat(60));
    assert!(!refusal(&selects).is_empty());
    assert!(refusal(&format!("SELECT {}", vec!["a"; 2_100].join(", "))).contains("tokens"));
}

/// An explanation that quotes a long statement is cut, at a character.
#[test]
fn an_explanation_is_short() {
    assert!(refusal(&format!("SELECT * FROM 'a' {}", "ü".repeat(4_000))).len() <= 300);
}

#[test]
fn a_template_is_closed_and_has_one_expression() {
    for good in ["a", "", "${a}", "a/${topic(2)}/b", "${get({'}': 1}, '}')}", "$a", "}", "a/{b}"] {
        assert!(Template::parse(good).is_ok(), "{good}");
    }
    for bad in ["${a", "${}", "${a b}", "${'}", "${SELECT a}", "${a; b}"] {
        assert!(Template::parse(bad).is_err(), "{bad}");
    }
    assert!(Template::parse(&"${a}".repeat(64)).is_ok());
    assert!(Template::parse(&"${a}".repeat(65)).is_err());
}
