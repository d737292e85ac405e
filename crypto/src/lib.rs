//! Tidegate crypto.
