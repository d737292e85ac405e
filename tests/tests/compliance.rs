//! Does the map from the RFCs to code and tests still lead somewhere?
//!
//! `docs/compliance/*.toml` has a rule for each requirement that concerns a server;
//! `docs/compliance.md` is made from them (`make docs`). A rule names code and tests, or says why
//! there is a gap; what it names must exist.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

#[test]
fn every_rule_leads_to_code_and_tests_or_says_why_not() {
    let mut lost = Vec::new();
    for document in documents() {
        for rule in rules(&document) {
            let name = format!("RFC {} section {}", document["rfc"], text(rule, "section"));
            let (code, tests) = (list(rule, "code"), list(rule, "tests"));
            if tests.is_empty() && text(rule, "gap").is_empty() {
                lost.push(format!("{name}: neither a test nor a reason"));
            }
            let broken = code.iter().filter(|place| !names_code(place));
            lost.extend(broken.map(|place| format!("{name}: no code at {place}")));
            let broken = tests.iter().filter(|place| !names_a_test(place));
            lost.extend(broken.map(|place| format!("{name}: no test {place}")));
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn the_page_is_made_from_the_rules() {
    let (made, path) = (page(), root().join("docs/compliance.md"));
    if std::env::var_os("TIDEGATE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).expect("docs can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/compliance.md is not of these rules: run `make docs`");
}

#[test]
fn a_name_that_leads_nowhere_is_noticed() {
    assert!(names_a_test("tests/tests/compliance.rs::a_name_that_leads_nowhere_is_noticed"));
    assert!(!names_a_test("tests/tests/compliance.rs::a_name_that"));
    assert!(!names_a_test("tests/tests/compliance.rs"));
    assert!(names_code("dtls/src/suite.rs#TABLE") && names_code("dtls/src"));
    assert!(!names_code("dtls/src/suite.rs#TABLES") && !names_code("dtls/src/suit.rs"));
}

/// `path` or `path#word`.
fn names_code(place: &str) -> bool {
    match place.split_once('#') {
        None => root().join(place).exists(),
        Some((path, word)) => read(path).is_some_and(|text| has_word(&text, word)),
    }
}

/// `path::function`.
fn names_a_test(place: &str) -> bool {
    let Some((path, function)) = place.split_once("::") else { return false };
    let text = read(path).unwrap_or_default();
    text.contains(&format!("fn {function}(")) && text.contains("#[test]")
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

fn page() -> String {
    let mut page = String::from(
        "# What the RFCs ask of a CoAP and DTLS server, and where it is\n\n\
         Made from `docs/compliance/*.toml` by `make docs`; `make test` checks that what is named \
         here exists.\nEach requirement is in our words: the RFC has the exact ones.\n",
    );
    for document in documents() {
        let rules = rules(&document);
        let gaps = rules.iter().filter(|rule| !text(rule, "gap").is_empty()).count();
        let (rfc, title) = (&document["rfc"], document["title"].as_str().expect("a title"));
        let left_out = document["left_out"].as_str().expect("what is left out");
        write!(
            page,
            "\n## RFC {rfc}: {title}\n\n{} requirements, {gaps} with a gap. Left out: {left_out}\n\n\
             | § | level | what | code | tests |\n|---|---|---|---|---|\n",
            rules.len(),
        )
        .expect("memory");
        for rule in rules {
            page.push_str(&row(rule));
        }
    }
    page
}

fn row(rule: &Table) -> String {
    let mut what = text(rule, "what").to_owned();
    for (key, lead) in [("note", ""), ("gap", "**Gap:** ")] {
        let more = text(rule, key);
        if !more.is_empty() {
            write!(what, " {lead}{more}").expect("memory");
        }
    }
    let code: Vec<_> = list(rule, "code").iter().map(|place| link(place, "#")).collect();
    let tests: Vec<_> = list(rule, "tests").iter().map(|place| link(place, "::")).collect();
    let (section, level) = (text(rule, "section"), text(rule, "level"));
    format!("| {section} | {level} | {what} | {} | {} |\n", code.join(", "), tests.join(", "))
}

/// A link to the file, under the most telling part of its name.
fn link(place: &str, separator: &str) -> String {
    let (path, word) = place.split_once(separator).unwrap_or((place, ""));
    let name = path.strip_suffix(".rs").unwrap_or(path);
    let shown = if word.is_empty() { name.replace("/src", "") } else { word.replace('_', " ") };
    format!("[{shown}](../{path})")
}

/// The rule files, by number of the RFC.
fn documents() -> Vec<Table> {
    let folder = root().join("docs/compliance");
    let entries = std::fs::read_dir(folder).expect("the rules are there");
    let mut documents: Vec<Table> = entries
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let text = std::fs::read_to_string(&path).expect("a readable file");
            text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect();
    assert!(documents.len() >= 3, "RFC 6347, 7925 and 9146 at least");
    documents.sort_by_key(|document| document["rfc"].as_integer());
    documents
}

fn rules(document: &Table) -> Vec<&Table> {
    let rules = document["rule"].as_array().expect("rules");
    rules.iter().map(|rule| rule.as_table().expect("a rule is a table")).collect()
}

fn text<'a>(rule: &'a Table, key: &str) -> &'a str {
    rule.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(rule: &'a Table, key: &str) -> Vec<&'a str> {
    let values = rule.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    values.iter().map(|value| value.as_str().expect("a name")).collect()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
