//! Does a document say what a run found? A part of it between two marks is written by a test:
//! `<!-- NAME: written by … -->` and `<!-- end of NAME -->`.
//!
//! A test fails when that part is not what the run found. With `TIDEGATE_WRITE_DOCS=1` it writes
//! the part instead, for the eyes of whoever commits it.

use std::fs;

use crate::repository::root;

/// Compares (or writes) the part `name` of `docs/<file>`.
///
/// # Panics
/// When the document says something else.
pub fn says(file: &str, name: &str, found: &str) {
    let path = root().join("docs").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (start, end) = (format!("<!-- {name}: "), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("no {start} in {file}"));
    let (author, rest) = rest.split_once("-->\n").expect("the mark ends");
    let (part, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end} in {file}"));
    if part.trim() == found.trim() {
        return;
    }
    if std::env::var_os("TIDEGATE_WRITE_DOCS").is_some() {
        let new = format!("{before}{start}{author}-->\n\n{}\n\n{end}{after}", found.trim());
        fs::write(&path, new).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return;
    }
    let differ = |(a, b): &(&str, &str)| a != b;
    let first = part.trim().lines().zip(found.trim().lines()).find(differ);
    panic!(
        "docs/{file} no longer says what the run found: look, then run the test again with \
         TIDEGATE_WRITE_DOCS=1.\nfirst difference: {first:#?}\nfound:\n{found}"
    );
}
