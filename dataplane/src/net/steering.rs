//! Which worker's socket gets a datagram? The kernel decides, by a classic BPF program on the
//! reuseport group: records with a Connection ID go to the worker that the ID names.
//!
//! A record of type 25 has its Connection ID at byte 11, and ours begin with the worker's number,
//! which is the socket's place in the order of binding. It may stand behind plaintext records: a
//! last flight is ChangeCipherSpec and Finished, perhaps behind a ClientKeyExchange, and when it
//! is repeated from a new address nothing else leads to its session. Everything else falls to the
//! kernel's hash of the addresses, as does a number without a socket. Needs no privilege.

/// The program, owned as long as the kernel copies it.
#[derive(Debug)]
pub(super) struct Program {
    instructions: Vec<libc::sock_filter>,
}

impl Program {
    /// What SO_ATTACH_REUSEPORT_CBPF takes; valid while the program is.
    pub(super) fn header(&self) -> libc::sock_fprog {
        libc::sock_fprog {
            len: self.instructions.len() as u16,
            filter: self.instructions.as_ptr().cast_mut(),
        }
    }
}

/// The steering program. Offset 0 is the UDP payload; register X is where the record stands that
/// is looked at.
pub(super) fn program() -> Program {
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let steps = RECORDS_MAX as usize * STEP;
    // How many instructions a jump from `from` skips to get to the ends below.
    let to_cid = |from: usize| (START + steps + 1 - (from + 1)) as u8;
    let to_hash = |from: usize| (START + steps + 3 - (from + 1)) as u8;
    // Without the checks of length a short datagram would fail a load, and land on socket 0.
    let mut instructions = vec![instruction(LOAD_X, 0, 0, 0), instruction(LOAD_LENGTH, 0, 0, 0)];
    for record in 0..RECORDS_MAX as usize {
        let at = START + record * STEP;
        let step: [libc::sock_filter; STEP] = [
            // A holds the length here, whatever the way.
            instruction(JUMP_IF_AT_LEAST, 0, to_hash(at), CID_OFFSET + 1),
            instruction(SUBTRACT, 0, 0, CID_OFFSET + 1),
            instruction(JUMP_IF_AT_LEAST_X, 0, to_hash(at + 2), 0),
            instruction(LOAD_BYTE_AT_X, 0, 0, 0),
            instruction(JUMP_IF_EQUAL, to_cid(at + 4), 0, TLS12_CID),
            instruction(JUMP_IF_EQUAL, 1, 0, HANDSHAKE),
            instruction(JUMP_IF_EQUAL, 0, to_hash(at + 6), CHANGE_CIPHER_SPEC),
            instruction(LOAD_LENGTH, 0, 0, 0),
            instruction(SUBTRACT, 0, 0, HEADER_BYTES - 1),
            instruction(JUMP_IF_GREATER_X, 0, to_hash(at + 9), 0),
            instruction(LOAD_HALF_AT_X, 0, 0, LENGTH_OFFSET),
            instruction(ADD_X, 0, 0, 0),
            instruction(ADD, 0, 0, HEADER_BYTES),
            instruction(A_TO_X, 0, 0, 0),
            instruction(LOAD_LENGTH, 0, 0, 0),
        ];
        instructions.extend(step);
    }
    instructions.extend([
        // No Connection ID so far.
        instruction(JUMP, 0, 0, 2),
        instruction(LOAD_BYTE_AT_X, 0, 0, CID_OFFSET),
        instruction(RETURN_ACCUMULATOR, 0, 0, 0),
        instruction(RETURN_CONSTANT, 0, 0, u32::MAX),
    ]);
    Program { instructions }
}

/// Records looked at in one datagram. *Why:* Certificate, ClientKeyExchange, CertificateVerify,
/// ChangeCipherSpec, Finished, where each has a record of its own.
const RECORDS_MAX: u32 = 5;
/// Instructions before the first.
const START: usize = 2;
/// Instructions for each.
const STEP: usize = 15;

const HEADER_BYTES: u32 = 13;
/// Where a record without Connection ID has its length.
const LENGTH_OFFSET: u32 = 11;
const CID_OFFSET: u32 = 11;
const TLS12_CID: u32 = 25;
const HANDSHAKE: u32 = 22;
const CHANGE_CIPHER_SPEC: u32 = 20;

// Names of the kernel's Documentation/networking/filter: ldx #k, ld len, ldb [x+k], ldh [x+k],
// sub #k, add #k, add x, tax, ja, jge #k, jge x,
// jgt x, jeq #k, ret a, ret #k.
const LOAD_X: u16 = 0x01;
const LOAD_LENGTH: u16 = 0x80;
const LOAD_BYTE_AT_X: u16 = 0x50;
const LOAD_HALF_AT_X: u16 = 0x48;
const SUBTRACT: u16 = 0x14;
const ADD: u16 = 0x04;
const ADD_X: u16 = 0x0c;
const A_TO_X: u16 = 0x07;
const JUMP: u16 = 0x05;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_AT_LEAST_X: u16 = 0x3d;
const JUMP_IF_GREATER_X: u16 = 0x2d;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN_ACCUMULATOR: u16 = 0x16;
const RETURN_CONSTANT: u16 = 0x06;
