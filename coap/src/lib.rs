//! CoAP messages and exchanges (RFC 7252), for both roles, without sockets, clocks or randomness.
//!
//! ```text
//! bytes ─▶ message::Message::parse ─▶ triage::triage
//!     ├ Request ─▶ dedup::Window ─▶ admission::admit ─▶ inbound::Inbound
//!     ├ Response, EmptyAck, Reset ─▶ outbound::Outbound, inbound::Inbound
//!     └ Ping, Reject, Ignore ─▶ four bytes back, or silence
//! block::Upload ─▶ which part of a body ─▶ writer::Writer ─▶ bytes
//! block::Collect ◀─ which part of a body is this?
//! ```
//!
//! Time is `now_ms`, milliseconds of any clock that does not jump back. Randomness (tokens, first
//! Message IDs, the jitter of a first timeout) is an argument. Nothing here allocates.
#![forbid(unsafe_code)]

pub mod admission;
pub mod block;
pub mod code;
pub mod content_format;
pub mod dedup;
pub mod inbound;
pub mod message;
pub mod no_response;
pub mod observe;
pub mod option;
pub mod outbound;
mod retransmission;
pub mod timing;
pub mod triage;
pub mod writer;
