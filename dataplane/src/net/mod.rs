//! How do datagrams come and go?

pub mod batch;
pub mod peer;
