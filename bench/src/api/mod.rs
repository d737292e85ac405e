//! What does the API of the control plane cost? A whole edge on a disk, callers that sign, and the
//! figures of imports and of messages.

pub mod client;
pub mod edge;
pub mod imports;
pub mod messages;
