//! Tidegate controlplane: HTTP API, store, rules, publishing. A library, so that tests and the
//! simulator can hold the parts without a process around them.
#![forbid(unsafe_code)]

pub mod api;
pub mod config;
pub mod confine;
pub mod control;
pub mod core;
pub mod customer_log;
pub mod edge;
pub mod iam;
pub mod identity;
pub mod metrics;
pub mod model;
pub mod payloads;
pub mod policy;
pub mod private_file;
pub mod publish;
pub mod rules;
pub mod sinks;
pub mod store;
pub mod tail;
