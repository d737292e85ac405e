//! Simulated devices that load any CoAP/DTLS server, and a decoder for captures of such devices.
#![forbid(unsafe_code)]

pub mod cpu;
pub mod decode;
pub mod device;
pub mod fleet;
pub mod handshakes;
pub mod measurement;
pub mod profile;
pub mod progress;
pub mod report;
pub mod request;
pub mod scenario;
pub mod thresholds;
pub mod view;
