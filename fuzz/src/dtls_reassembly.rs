//! Can any sequence of fragments make reassembly hold more than its bound, or put together what
//! nobody sent? Input: fragments of 8 bytes of description each.
//!
//! Byte `at` of message `n` is a function of both, in epoch 0 and 1 alike, unless the description
//! says to spoil it.

use tidegate_dtls::handshake::{Fragment, MessageType};
use tidegate_dtls::reassembly::{Offered, Reassembly};

const BYTES_MAX: usize = 2_000;

pub(crate) fn run(data: &[u8]) {
    let mut reassembly = Reassembly::new(0, BYTES_MAX);
    let (mut next, mut is_spoiled) = (0u32, [false; 256]);
    for description in data.chunks_exact(8) {
        let [seq, kind, l0, l1, o0, o1, len, flags] = *description else { unreachable!() };
        let length = u32::from(u16::from_be_bytes([l0 % 16, l1]));
        let offset = u32::from(u16::from_be_bytes([o0 % 16, o1])).min(length);
        let len = u32::from(len).min(length - offset);
        let spoil = flags & 1;
        let body: Vec<u8> = (offset..offset + len).map(|at| byte(seq, at) ^ spoil).collect();
        if spoil != 0 && !body.is_empty() {
            is_spoiled[usize::from(seq)] = true;
        }
        let fragment = Fragment {
            msg_type: MessageType(kind % 2),
            length,
            message_seq: seq.into(),
            offset,
            body: &body,
        };
        match reassembly.offer(&fragment, u16::from(flags >> 1 & 1)) {
            Ok(Offered::Due(whole)) => {
                assert_eq!((u32::from(seq), whole.len()), (next, length as usize));
                next += 1;
            }
            Ok(Offered::Kept) | Err(_) => {}
        }
        assert!(reassembly.bytes() <= Reassembly::bytes_bound(BYTES_MAX));
        while let Some(whole) = reassembly.take_due() {
            assert_eq!(u32::from(whole.message_seq), next, "in order");
            let seq = whole.message_seq as u8;
            let genuine = |(at, b): (usize, &u8)| *b == byte(seq, at as u32);
            let is_genuine = whole.body.iter().enumerate().all(genuine);
            assert!(is_genuine || is_spoiled[usize::from(seq)], "nobody sent this");
            next += 1;
        }
        assert_eq!(reassembly.next(), next);
    }
}

fn byte(seq: u8, at: u32) -> u8 {
    (at as u8).wrapping_mul(31).wrapping_add(seq) & !1
}
