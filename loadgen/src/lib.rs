//! Tidegate loadgen.
