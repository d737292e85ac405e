//! Does the house stand as drawn? Arrows between crates, rooms for unsafe code, names, file sizes.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_tests::repository::root;

/// A crate and the crates it may import (DESIGN section 3; a picture of it is in ARCHITECTURE.md).
const ARROWS: &[(&str, &[&str])] = &[
    ("crypto", &[]),
    ("faults", &[]),
    ("coap", &["faults"]),
    ("ring", &["faults"]),
    ("dtls", &["crypto", "faults"]),
    ("dataplane", &["crypto", "coap", "dtls", "ring", "faults"]),
    ("controlplane", &["crypto", "coap", "ring", "faults"]),
    ("loadgen", &["crypto", "coap", "dtls"]),
    ("bench", &["crypto", "coap", "dtls", "ring", "dataplane", "controlplane", "loadgen"]),
    (
        "tests",
        &["crypto", "coap", "dtls", "ring", "dataplane", "controlplane", "loadgen", "faults"],
    ),
    ("fuzz", &["crypto", "coap", "dtls", "ring", "dataplane", "controlplane", "loadgen"]),
];

/// Crates with `#![forbid(unsafe_code)]`.
const FORBIDS_UNSAFE: &[&str] =
    &["coap", "dtls", "controlplane", "loadgen", "tests", "faults", "fuzz"];

/// Where the lint `unsafe_code` may be lifted.
const UNSAFE_ROOMS: &[&str] = &[
    "crypto/src/kernel/", // instructions of some CPUs
    "ring/src/",
    "dataplane/src/net",  // net.rs and net/: system calls
    "dataplane/src/slab", // slab.rs and slab/: the mapped file
    "dataplane/tests/",   // the counting allocator
    "bench/src/echo/",    // the system calls of bare echoes
];

/// Names that say nothing; what fits nowhere is a fault of the map.
const FORBIDDEN_NAMES: &[&str] =
    &["common", "util", "utils", "helper", "helpers", "misc", "manager", "managers"];

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;

#[test]
fn a_crate_imports_only_what_the_arrows_allow() {
    let workspace = manifest(&root());
    let members = workspace["workspace"]["members"].as_array().expect("members");
    let members: Vec<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    let drawn: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(sorted(&members), sorted(&drawn), "every member has its arrows");

    for (name, allowed) in ARROWS {
        let manifest = manifest(&root().join(name));
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else {
                continue;
            };
            for dependency in dependencies.keys() {
                let Some(imported) = dependency.strip_prefix("tidegate-") else { continue };
                assert!(allowed.contains(&imported), "{name} must not import {imported}");
            }
        }
        let obeys = manifest.get("lints").and_then(|lints| lints["workspace"].as_bool());
        assert_eq!(obeys, Some(true), "{name} follows the one lint list");
    }
}

/// Bugs can be planted in the simulator's own build and in no other (`faults/`).
#[test]
fn only_the_simulator_is_armed() {
    for (name, _) in ARROWS.iter().filter(|(name, _)| !["faults", "tests"].contains(name)) {
        let text = read(&root().join(name).join("Cargo.toml"));
        assert!(!text.contains("armed"), "{name} must not arm anything");
    }
    for daemon in ["dataplane", "controlplane"] {
        let text = read(&root().join(daemon).join("src/main.rs"));
        let refuses = text.contains("assert!(!tidegate_faults::IS_ARMED");
        assert!(refuses, "{daemon} does not compile when bugs can be planted in it");
    }
    let manifest = manifest(&root().join("tests"));
    assert!(manifest["features"].get("default").is_none(), "arming is asked for by name");
}

#[test]
fn every_shared_dependency_says_what_it_is_for() {
    let text = read(&root().join("Cargo.toml"));
    let dependencies = text.lines().skip_while(|l| *l != "[workspace.dependencies]").skip(1);
    let lines: Vec<&str> = dependencies
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with("tidegate-") && !line.starts_with('#'))
        .collect();
    assert!(lines.len() > 10, "the list was found");
    let bare: Vec<_> = lines.into_iter().filter(|line| !line.contains(" # ")).collect();
    assert_none("no reason stands beside", &bare);
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let mut lax = FORBIDS_UNSAFE.to_vec();
    lax.retain(|name| {
        let crate_root = read(&root().join(name).join("src/lib.rs"));
        !crate_root.contains("#![forbid(unsafe_code)]")
    });
    assert_none("must forbid unsafe code", &lax);
    // Spelled in two parts, so that this file is not found.
    let lifts = [concat!("allow(unsafe", "_code)"), concat!("expect(unsafe", "_code")];
    let mut intruders = rust_files();
    intruders.retain(|(path, text)| {
        let is_room = UNSAFE_ROOMS.iter().any(|room| path.starts_with(room));
        !is_room && lifts.iter().any(|lift| text.contains(lift))
    });
    let paths: Vec<_> = intruders.into_iter().map(|(path, _)| path).collect();
    assert_none("no room for unsafe code", &paths);
}

#[test]
fn files_are_short_and_begin_with_their_question() {
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        if !text.starts_with("//! ") {
            faults.push(format!("{path}: the first line does not say what question it answers"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{path} has {lines} lines"));
        }
        for (index, line) in text.lines().enumerate() {
            // Code is rustfmt's business; it leaves comments alone.
            let columns = line.chars().count();
            if line.trim_start().starts_with("//") && columns > COLUMNS_MAX {
                faults.push(format!("{path}:{} has {columns} columns", index + 1));
            }
        }
    }
    assert_none("files", &faults);
}

#[test]
fn nothing_is_named_after_nothing() {
    for path in tracked_files() {
        for component in Path::new(&path).components() {
            let component = component.as_os_str().to_string_lossy();
            let stem = component.split('.').next().unwrap_or_default();
            assert!(!FORBIDDEN_NAMES.contains(&stem), "{path}: what is {stem}?");
        }
    }
}

/// The steady state of the dataplane takes no lock: its sources name none.
#[test]
fn the_dataplane_has_no_locks() {
    let locks = [concat!("Mut", "ex"), concat!("RwL", "ock"), concat!("Cond", "var"), "OnceLock"];
    let mut found = rust_files();
    found.retain(|(path, text)| {
        path.starts_with("dataplane/src/") && locks.iter().any(|lock| text.contains(lock))
    });
    let paths: Vec<_> = found.into_iter().map(|(path, _)| path).collect();
    assert_none("locks", &paths);
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("#[ig", "nore"),
    ];
    let mut found = rust_files();
    found.retain(|(_, text)| marks.iter().any(|mark| text.contains(mark)));
    let paths: Vec<_> = found.into_iter().map(|(path, _)| path).collect();
    assert_none("left for later", &paths);
}

fn assert_none<T: std::fmt::Debug>(what: &str, faults: &[T]) {
    assert!(faults.is_empty(), "{what}: {faults:#?}");
}

fn manifest(directory: &Path) -> toml::Table {
    let path = directory.join("Cargo.toml");
    read(&path).parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

/// Every Rust file of the repository with its text.
fn rust_files() -> Vec<(String, String)> {
    let files: Vec<_> = tracked_files()
        .into_iter()
        .filter(|path| Path::new(path).extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let text = read(&root().join(&path));
            (path, text)
        })
        .collect();
    assert!(files.len() > 20, "the sources were found");
    files
}

/// Every file of the repository, relative to its root; what git or a run left out stays out.
fn tracked_files() -> Vec<String> {
    const LEFT_OUT: &[&str] = &[".git", "target", "run", "corpus", "artifacts"];
    let root = root();
    let mut files = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory)).expect("a directory of the repository") {
            let entry = entry.expect("an entry");
            let name = entry.file_name();
            let path = directory.join(&name);
            match entry.file_type().expect("a type") {
                kind if kind.is_dir() => {
                    if !LEFT_OUT.contains(&name.to_string_lossy().as_ref()) {
                        directories.push(path);
                    }
                }
                _ => files.push(path.display().to_string()),
            }
        }
    }
    files
}
