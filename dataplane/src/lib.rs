//! Tidegate dataplane.
