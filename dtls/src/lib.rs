//! Tidegate dtls.
