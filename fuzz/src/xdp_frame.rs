//! Is a frame read without harm, and does its datagram lie in it? Input: a frame of AF_XDP.

use tidegate_dataplane::net::xdp::frames::read;

pub(crate) fn run(frame: &[u8]) {
    for lacks_checksum in [false, true] {
        if let Some(arrived) = read(frame, lacks_checksum) {
            assert!(arrived.payload.start <= arrived.payload.end);
            assert!(arrived.payload.end <= frame.len());
        }
    }
}
