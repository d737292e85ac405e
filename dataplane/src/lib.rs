//! The dataplane: per-core workers that own sockets, DTLS sessions and CoAP exchanges.
//!
//! Data flows one way: `net` lends a batch of datagrams, the pure [`worker::Worker`] turns it into
//! ring entries and datagrams to send, `net` sends them. `main.rs` is a thin shell around it.

pub mod arena;
pub mod bounds;
pub mod clock;
pub mod config;
pub mod confine;
pub mod fate;
pub mod handover;
pub mod keeper;
pub mod net;
pub mod pool;
pub mod rates;
pub mod resumptions;
pub mod run;
pub mod slab;
pub mod supervisor;
pub mod wheel;
pub mod worker;
