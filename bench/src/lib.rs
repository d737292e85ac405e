//! What does it cost? The rigs that benches and the allocation test drive; the benches themselves
//! are in `benches/`.
#![forbid(unsafe_code)]

pub mod rig;
