//! Tidegate tests.
