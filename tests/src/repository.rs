//! Where are the things a story needs? The repository, the binaries, and what `make` fetched.

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the root").to_owned()
}

/// A binary of the workspace: in `TIDEGATE_BIN_DIR`, or beside the running test's own.
pub fn binary(name: &str) -> PathBuf {
    let beside = || {
        let exe = std::env::current_exe().expect("a running test has a path");
        exe.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.exists())
    };
    let path = match std::env::var_os("TIDEGATE_BIN_DIR") {
        Some(dir) => Some(PathBuf::from(dir).join(name)),
        None => beside(),
    };
    match path {
        Some(path) if path.exists() => path,
        _ => panic!("no {name} here: run `make build` first"),
    }
}

/// Something that a make target puts into the cache: `foreign/coap_device`, `venv/bin/aws`, ….
pub fn cached(path: &str, target: &str) -> PathBuf {
    let cache = || match std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"),
    };
    let root =
        std::env::var_os("TIDEGATE_CACHE").map_or_else(|| cache().join("tidegate"), PathBuf::from);
    let path = root.join(path);
    assert!(path.exists(), "{} is missing: run `make {target}` first", path.display());
    path
}
