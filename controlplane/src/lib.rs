//! Tidegate controlplane.
