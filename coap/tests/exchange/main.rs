//! Do two endpoints talk as RFC 7252 draws it? Each test is a figure: its lines are milliseconds,
//! direction (the device is on the left), type, code, Message ID, token.
#![allow(clippy::unwrap_used, missing_docs)]

mod figures;
mod machines;
mod refusals;
mod soak;
mod story;
mod windows;
