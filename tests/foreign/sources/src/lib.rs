//! Empty: this package exists for the sources of its dependencies (see Cargo.toml).
