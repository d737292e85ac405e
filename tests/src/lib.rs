//! How do the stories run? Real processes, a real broker, devices that are not ours.
//!
//! Every [`edge::Edge`] has its own directory and loopback ports, so stories run side by side.
//! Nothing here sleeps for luck: whatever must happen is waited for ([`wait::eventually`]) until a
//! generous give-up, which is no assertion about speed.

#![forbid(unsafe_code)]

pub mod api;
pub mod aws;
pub mod booted;
pub mod calls;
pub mod carrier;
pub mod client_hello;
pub mod coap_client;
pub mod coap_tool;
pub mod device;
pub mod document;
pub mod edge;
pub mod fleet;
pub mod foreign;
pub mod foreign_server;
pub mod long_bodies;
pub mod matrix;
pub mod mosquitto;
pub mod moto;
pub mod pki;
pub mod place;
pub mod process;
pub mod quick;
pub mod raw_client;
pub mod repository;
pub mod sigv4;
pub mod sim;
pub mod soak;
pub mod story;
pub mod suite;
pub mod wait;
pub mod wiretap;
