//! Shared-memory rings between the two processes, and the contract that crosses them.
pub mod contract;
