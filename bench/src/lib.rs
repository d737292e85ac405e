//! Tidegate bench.
