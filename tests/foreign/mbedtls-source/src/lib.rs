//! Empty: this package exists for its dependency's source (see Cargo.toml).
