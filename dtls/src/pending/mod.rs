//! What is missing in `crypto` still, so that callers can be written against it?

pub mod agreement;
pub mod certificate;
pub mod signature;
