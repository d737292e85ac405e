//! What does it cost? The rigs, bare echoes and stand-ins that benches and side-by-side runs drive;
//! the benches themselves are in `benches/`, the runs in `src/bin/ratio`.
//!
//! Unsafe code: `echo` alone, where the system calls are.

pub mod api;
pub mod control;
pub mod durability;
pub mod echo;
pub mod handover;
pub mod handshake;
pub mod overload;
pub mod ratio;
pub mod rig;
