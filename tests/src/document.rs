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
    if std::env::var_os("TIDEGATE_WRITE_DOCS").is_some() {
        return write(file, name, found);
    }
    let (_, part, _) = parts(file, name);
    if part.trim() == found.trim() {
        return;
    }
    let differ = |(a, b): &(&str, &str)| a != b;
    let first = part.trim().lines().zip(found.trim().lines()).find(differ);
    panic!(
        "docs/{file} no longer says what the run found: look, then run the test again with \
         TIDEGATE_WRITE_DOCS=1.\nfirst difference: {first:#?}\nfound:\n{found}"
    );
}

/// Writes the part `name` of `docs/<file>`.
///
/// # Panics
/// When the document has no such part.
pub fn write(file: &str, name: &str, found: &str) {
    let (before, _, after) = parts(file, name);
    let path = root().join("docs").join(file);
    let new = format!("{before}\n{}\n\n{after}", found.trim());
    fs::write(&path, new).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// What stands before a part, its mark included, the part, and the rest.
fn parts(file: &str, name: &str) -> (String, String, String) {
    let path = root().join("docs").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (start, end) = (format!("<!-- {name}: "), format!("<!-- end of {name} -->"));
    let at = text.find(&start).unwrap_or_else(|| panic!("no {start} in {file}"));
    let mark = text[at..].find("-->\n").expect("the mark ends");
    let (before, rest) = text.split_at(at + mark + "-->\n".len());
    let at = rest.find(&end).unwrap_or_else(|| panic!("no {end} in {file}"));
    let (part, after) = rest.split_at(at);
    (before.to_owned(), part.to_owned(), after.to_owned())
}
