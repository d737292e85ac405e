//! How do two ends that share a secret speak DTLS 1.2 (RFC 6347) with Connection IDs (RFC 9146)?
//!
//! State machines without I/O: datagrams, the time in milliseconds of one monotonic clock and
//! random bytes come in as arguments; datagrams, events and the next due time are polled. Server
//! and client share all but their message order.
//!
//! - [`server`] / [`client`]: from the first ClientHello to an [`Established`] or a [`Failure`];
//!   [`cookie::greet`] is the stateless door before a server's handshake;
//! - [`established`]: the association that is left, 152 bytes of plain data, and its records;
//!   [`control`]: what its records other than application data mean;
//! - [`record`], [`replay`], [`handshake`], [`reassembly`], [`hello`], [`extension`], [`alert`],
//!   [`suite`], [`key_schedule`]: the parts, for whoever reads captures;
//! - [`resumption`]: what is kept of a session to begin it again without its key exchange;
//!   [`return_routability`]: whether a peer that moved receives where it says;
//! - [`Drop`]: why something was ignored, for the counters.
//!
//! [`key_exchange`] and [`certificate`] are the messages of the exchanges that [`suite`] names.

#![forbid(unsafe_code)]

pub mod alert;
mod association;
pub mod certificate;
pub mod client;
pub mod control;
pub mod cookie;
mod drop;
pub mod established;
pub mod extension;
mod failure;
mod flight;
pub mod handshake;
pub mod hello;
pub mod key_exchange;
pub mod key_schedule;
pub mod reassembly;
pub mod record;
pub mod replay;
pub mod resumption;
pub mod return_routability;
pub mod server;
pub mod suite;
mod wire;

pub use association::{HELD_BYTES_MAX, Link};
pub use drop::Drop;
pub use established::Established;
pub use failure::Failure;
pub use flight::{MTU_MIN, Timing};
pub use key_schedule::Role;
pub use suite::Suite;
