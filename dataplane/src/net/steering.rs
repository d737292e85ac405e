//! Which worker's socket gets a datagram? The kernel decides, by a classic BPF program on the
//! reuseport group: records with a Connection ID go to the worker that the ID names.
//!
//! A record of type 25 has its Connection ID at byte 11, and ours begin with the worker's number,
//! which is the socket's place in the order of binding. Everything else falls to the kernel's hash
//! of the addresses, as does a number without a socket. Needs no privilege.

/// The program, owned as long as the kernel copies it.
#[derive(Debug)]
pub(super) struct Program {
    instructions: [libc::sock_filter; 7],
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

/// The steering program. Offset 0 is the UDP payload.
pub(super) fn program() -> Program {
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    Program {
        instructions: [
            instruction(LOAD_LENGTH, 0, 0, 0),
            // Without the check a short datagram would fail a load, and land on socket 0.
            instruction(JUMP_IF_AT_LEAST, 0, 4, CID_OFFSET + 1),
            instruction(LOAD_BYTE, 0, 0, 0),
            instruction(JUMP_IF_EQUAL, 0, 2, TLS12_CID),
            instruction(LOAD_BYTE, 0, 0, CID_OFFSET),
            instruction(RETURN_ACCUMULATOR, 0, 0, 0),
            instruction(RETURN_CONSTANT, 0, 0, u32::MAX),
        ],
    }
}

const CID_OFFSET: u32 = 11;
const TLS12_CID: u32 = 25;
// BPF_LD|BPF_W|BPF_LEN, BPF_JMP|BPF_JGE|BPF_K, BPF_LD|BPF_B|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K,
// BPF_RET|BPF_A, BPF_RET|BPF_K
const LOAD_LENGTH: u16 = 0x80;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN_ACCUMULATOR: u16 = 0x16;
const RETURN_CONSTANT: u16 = 0x06;
