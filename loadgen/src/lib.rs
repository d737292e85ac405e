//! Simulated devices that load any CoAP/DTLS server, and a decoder for captures of such devices.
#![forbid(unsafe_code)]

pub mod decode;
pub mod device;
pub mod request;
