//! Which socket of a group gets a datagram? The kernel decides, by a classic BPF program on the
//! reuseport group. Each worker has two: one for those it knows, one for strangers, so that a flood
//! of the one fills no buffer of the other.
//!
//! A record of type 25 has its Connection ID at byte 11, and ours begin with the worker's number:
//! it goes to that worker's first socket. It may stand behind plaintext records: a last flight is
//! ChangeCipherSpec and Finished, perhaps behind a ClientKeyExchange, and when it is repeated from
//! a new address nothing else leads to its session. Everything else goes to the worker that a hash
//! of the sender's address names, so that a handshake and the session that comes of it have one
//! worker: what is protected, alerts and ChangeCipherSpec to its first socket, so that a Finished
//! and the data right behind it keep their order; all the rest to its second. A number without a
//! socket falls to the kernel's own hash. Needs no privilege.
//!
//! *Why a hash of our own:* the kernel's chooses among all sockets of the group, and would give a
//! handshake to one worker and its session to another.

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

/// The steering program for a group of so many workers. Offset 0 is the UDP payload; register X is
/// where the record stands that is looked at.
pub(super) fn program(workers: u8) -> Program {
    let steps = RECORDS_MAX as usize * STEP;
    // How many instructions a jump from `from` skips to get to the ends below.
    let to_cid = |from: usize| (START + steps + 1 - (from + 1)) as u8;
    let to_hash = |from: usize| (START + steps + 4 - (from + 1)) as u8;
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
        instruction(JUMP, 0, 0, 3),
        instruction(LOAD_BYTE_AT_X, 0, 0, CID_OFFSET),
        instruction(MULTIPLY, 0, 0, SOCKETS_EACH),
        instruction(RETURN_ACCUMULATOR, 0, 0, 0),
    ]);
    instructions.extend(by_address(workers));
    Program { instructions }
}

/// The end for datagrams without a Connection ID: which worker by the sender's address, which of
/// its sockets by the first record's type. A jump says how many instructions it skips.
fn by_address(workers: u8) -> [libc::sock_filter; 37] {
    [
        // Is it a stranger's? 1 or 0 in the first word of scratch memory.
        instruction(LOAD_LENGTH, 0, 0, 0),
        instruction(JUMP_IF_AT_LEAST, 0, 7, EPOCH_OFFSET + 2),
        instruction(LOAD_BYTE, 0, 0, 0),
        instruction(JUMP_IF_EQUAL, 7, 0, APPLICATION_DATA),
        instruction(JUMP_IF_EQUAL, 6, 0, ALERT),
        instruction(JUMP_IF_EQUAL, 5, 0, CHANGE_CIPHER_SPEC),
        instruction(JUMP_IF_EQUAL, 0, 2, HANDSHAKE),
        instruction(LOAD_HALF, 0, 0, EPOCH_OFFSET),
        instruction(JUMP_IF_EQUAL, 0, 2, 0),
        instruction(LOAD, 0, 0, 1),
        instruction(JUMP, 0, 0, 1),
        instruction(LOAD, 0, 0, 0),
        instruction(STORE, 0, 0, 0),
        // The sender's address into the second word, or the half of IPv6 that names an interface.
        instruction(LOAD_BYTE, 0, 0, NETWORK),
        instruction(SHIFT_RIGHT, 0, 0, 4),
        instruction(JUMP_IF_EQUAL, 5, 0, 6),
        instruction(LOAD_WORD, 0, 0, NETWORK + 12),
        instruction(STORE, 0, 0, 1),
        instruction(LOAD_X_HEADER_BYTES, 0, 0, NETWORK),
        instruction(LOAD_HALF_AT_X, 0, 0, NETWORK),
        instruction(JUMP, 0, 0, 6),
        instruction(LOAD_WORD, 0, 0, NETWORK + 16),
        instruction(A_TO_X, 0, 0, 0),
        instruction(LOAD_WORD, 0, 0, NETWORK + 20),
        instruction(EXCLUSIVE_OR_X, 0, 0, 0),
        instruction(STORE, 0, 0, 1),
        instruction(LOAD_HALF, 0, 0, NETWORK + 40),
        // A is the sender's port. Every bit of both counts.
        instruction(MULTIPLY, 0, 0, MIX),
        instruction(LOAD_X_STORED, 0, 0, 1),
        instruction(EXCLUSIVE_OR_X, 0, 0, 0),
        instruction(MULTIPLY, 0, 0, MIX_AGAIN),
        instruction(SHIFT_RIGHT, 0, 0, 16),
        instruction(MODULO, 0, 0, u32::from(workers.max(1))),
        instruction(MULTIPLY, 0, 0, SOCKETS_EACH),
        instruction(LOAD_X_STORED, 0, 0, 0),
        instruction(ADD_X, 0, 0, 0),
        instruction(RETURN_ACCUMULATOR, 0, 0, 0),
    ]
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Sockets of a worker in each group: for those it knows, then for strangers.
const SOCKETS_EACH: u32 = 2;
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
const EPOCH_OFFSET: u32 = 3;
const TLS12_CID: u32 = 25;
const HANDSHAKE: u32 = 22;
const CHANGE_CIPHER_SPEC: u32 = 20;
const ALERT: u32 = 21;
const APPLICATION_DATA: u32 = 23;
/// Where the network header begins (SKF_NET_OFF), whatever the payload's offset is.
const NETWORK: u32 = 0xfff0_0000;
/// Odd, and their bits well spread.
const MIX: u32 = 0x9e37_79b1;
const MIX_AGAIN: u32 = 0x85eb_ca6b;

// Names of the kernel's Documentation/networking/filter: ld #k, ld len, ld [k], ldh [k], ldb [k],
// ldh [x+k], ldb [x+k], st M[k].
const LOAD: u16 = 0x00;
const LOAD_LENGTH: u16 = 0x80;
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_BYTE_AT_X: u16 = 0x50;
const STORE: u16 = 0x02;
// ldx #k, ldx M[k], ldx 4*([k]&0xf), tax.
const LOAD_X: u16 = 0x01;
const LOAD_X_STORED: u16 = 0x61;
const LOAD_X_HEADER_BYTES: u16 = 0xb1;
const A_TO_X: u16 = 0x07;
// add #k, add x, sub #k, mul #k, mod #k, rsh #k, xor x.
const ADD: u16 = 0x04;
const ADD_X: u16 = 0x0c;
const SUBTRACT: u16 = 0x14;
const MULTIPLY: u16 = 0x24;
const MODULO: u16 = 0x94;
const SHIFT_RIGHT: u16 = 0x74;
const EXCLUSIVE_OR_X: u16 = 0xac;
// ja, jge #k, jge x, jgt x, jeq #k, ret a.
const JUMP: u16 = 0x05;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_AT_LEAST_X: u16 = 0x3d;
const JUMP_IF_GREATER_X: u16 = 0x2d;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN_ACCUMULATOR: u16 = 0x16;
