//! Does every target take its seeds, and has every one some, and a line in docs/security.md?

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_fuzz::TARGETS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| entry.expect("a folder that can be read").path()).collect()
}

#[test]
fn every_target_takes_its_seeds() {
    for target in TARGETS {
        let seeds = files(&root().join("fuzz/seeds").join(target.name));
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for seed in seeds {
            println!("{} {}", target.name, seed.display());
            (target.run)(&fs::read(seed).expect("a seed"));
        }
    }
}

#[test]
fn every_folder_of_seeds_is_a_targets() {
    for folder in files(&root().join("fuzz/seeds")) {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(TARGETS.iter().any(|target| target.name == name), "{name} is no target");
    }
}

#[test]
fn every_target_is_documented() {
    let page = fs::read_to_string(root().join("docs/security.md")).expect("the page");
    for target in TARGETS {
        assert!(page.contains(&format!("| `{}` |", target.name)), "{} is not there", target.name);
    }
}
