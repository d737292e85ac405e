//! Which parsers meet bytes that nobody chose? Each of ours that reads what a stranger, a device, a
//! broker, a caller, an operator's file or the other process wrote: docs/security.md lists them.
//!
//! A target is a function of bytes; it fails by panicking. `make fuzz` has an engine make up the
//! bytes (`main.rs`), a test feeds it those of `seeds/`.
#![forbid(unsafe_code)]

mod aead_kernels;
mod api_call;
mod bursts;
mod capture;
mod coap_exchange;
mod coap_message;
mod configurations;
mod core_entries;
mod dtls_certificate;
mod dtls_client_hello;
mod dtls_datagram;
mod dtls_messages;
mod dtls_reassembly;
mod iam_policy;
mod import_lines;
mod mqtt_packets;
mod ring_file;
mod ring_sheets;
mod rule;
mod sigv4;
mod texts;
mod worker;
mod xdp_frame;

/// One parser, or a machine with everything behind it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also that of its folder in `seeds/`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "aead_kernels", run: aead_kernels::run },
    Target { name: "api_call", run: api_call::run },
    Target { name: "capture", run: capture::run },
    Target { name: "coap_exchange", run: coap_exchange::run },
    Target { name: "coap_message", run: coap_message::run },
    Target { name: "configurations", run: configurations::run },
    Target { name: "core_entries", run: core_entries::run },
    Target { name: "dtls_certificate", run: dtls_certificate::run },
    Target { name: "dtls_client_hello", run: dtls_client_hello::run },
    Target { name: "dtls_datagram", run: dtls_datagram::run },
    Target { name: "dtls_messages", run: dtls_messages::run },
    Target { name: "dtls_reassembly", run: dtls_reassembly::run },
    Target { name: "iam_policy", run: iam_policy::run },
    Target { name: "import_lines", run: import_lines::run },
    Target { name: "mqtt_packets", run: mqtt_packets::run },
    Target { name: "ring_file", run: ring_file::run },
    Target { name: "ring_sheets", run: ring_sheets::run },
    Target { name: "rule", run: rule::run },
    Target { name: "sigv4", run: sigv4::run },
    Target { name: "texts", run: texts::run },
    Target { name: "worker", run: worker::run },
    Target { name: "xdp_frame", run: xdp_frame::run },
];

/// A text's first lines, each without its end, and what stands behind them.
fn lines_and_rest<const LINES: usize>(text: &[u8]) -> ([&str; LINES], &[u8]) {
    let mut rest = text;
    let lines = [(); LINES].map(|()| {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        std::str::from_utf8(line).unwrap_or_default()
    });
    (lines, rest)
}
