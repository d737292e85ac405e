//! Which frames does the edge take from an interface? Those the program says: whole UDP datagrams
//! to one of its addresses and ports. All else is the kernel's, as if nobody were here.
//!
//! ```text
//! frame ─▶ our MAC? ─▶ IPv4 without options or fragments, IPv6 without extension headers
//!       ─▶ UDP ─▶ a source one may answer ─▶ an address of ours ─▶ a record of this queue's worker
//!       ─▶ the socket of the queue; at the first no, and where no socket is: the kernel
//! ```
//!
//! The kernel answers ARP and neighbour discovery, puts fragments together, strips tags, and hands
//! what comes of it to the worker's ordinary socket. A record whose Connection ID names another
//! worker goes that way too, because a queue's frames reach that queue's socket alone, and the
//! kernel's own steering finds the right one.

use super::bpf::Instruction;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

/// What the program is made for.
pub(super) struct Wanted<'a> {
    /// The interface's own address.
    pub(super) mac: [u8; 6],
    /// Where we listen; none is a wildcard.
    pub(super) addresses: &'a [SocketAddr],
    /// The map of sockets by queue.
    pub(super) sockets: RawFd,
    /// Workers there are: records with a Connection ID of another are not for this queue's socket.
    pub(super) workers: u8,
    /// The verdict on our datagrams of a queue without socket: [`PASS`] but in tests.
    pub(super) without_socket: i32,
}

/// The verdict that leaves a frame to the kernel.
pub(super) const PASS: i32 = 2;

/// The program's instructions.
pub(super) fn program(wanted: &Wanted<'_>) -> Vec<Instruction> {
    let mut code = Assembly::default();
    let [pass, redirect, ipv6] = [(); 3].map(|()| code.label());
    code.push(MOVE, CONTEXT, ARGUMENT, 0, 0);
    code.load(WORD, FRAME, CONTEXT, CONTEXT_DATA);
    code.load(WORD, END, CONTEXT, CONTEXT_END);
    code.within(IPV4_PAYLOAD, pass);
    // One byte more than the longest, and a frame's buffer would not do.
    code.point(FRAME_BYTES_MAX + 1);
    code.jump(JUMP_IF_AT_MOST_REGISTER, SCRATCH, END, 0, pass);
    let (first, last) = wanted.mac.split_at(4);
    code.differs(WORD, 0, i32::from_ne_bytes(first.try_into().expect("four bytes")), pass);
    code.differs(HALF, 4, half(last.try_into().expect("two bytes")), pass);
    code.load(HALF, SCRATCH, FRAME, ETHER_TYPE);
    code.jump(JUMP_IF_EQUAL, SCRATCH, 0, half(IPV6_TYPE), ipv6);
    code.jump(JUMP_IF_DIFFERENT, SCRATCH, 0, half(IPV4_TYPE), pass);
    over_ipv4(&mut code, wanted, redirect, pass);
    code.set(ipv6);
    over_ipv6(&mut code, wanted, redirect, pass);
    code.set(redirect);
    code.load(WORD, 2, CONTEXT, CONTEXT_QUEUE);
    code.push(LOAD_MAP, ARGUMENT, MAP_BY_DESCRIPTOR, 0, wanted.sockets);
    code.push(0, 0, 0, 0, 0);
    code.push(MOVE_IMMEDIATE, 3, 0, 0, wanted.without_socket);
    code.push(CALL, 0, 0, 0, REDIRECT_MAP);
    code.push(EXIT, 0, 0, 0, 0);
    code.set(pass);
    code.push(MOVE_IMMEDIATE, RESULT, 0, 0, PASS);
    code.push(EXIT, 0, 0, 0, 0);
    code.finish()
}

fn over_ipv4(code: &mut Assembly, wanted: &Wanted<'_>, redirect: Label, pass: Label) {
    if !wanted.addresses.iter().any(SocketAddr::is_ipv4) {
        // The verifier takes no instructions that nothing leads to.
        return code.jump(JUMP, 0, 0, 0, pass);
    }
    code.differs(BYTE, 14, 0x45, pass);
    // More fragments, or not the first.
    code.load(HALF, SCRATCH, FRAME, 20);
    code.push(AND, SCRATCH, 0, 0, half([0x3f, 0xff]));
    code.jump(JUMP_IF_DIFFERENT, SCRATCH, 0, 0, pass);
    code.differs(BYTE, 23, UDP, pass);
    // Sources nobody may answer: this network, loopback, groups and above.
    code.load(BYTE, SCRATCH, FRAME, 26);
    code.jump(JUMP_IF_EQUAL, SCRATCH, 0, 0, pass);
    code.jump(JUMP_IF_EQUAL, SCRATCH, 0, 127, pass);
    code.jump(JUMP_IF_AT_LEAST, SCRATCH, 0, 224, pass);
    let found = code.label();
    for address in wanted.addresses {
        let IpAddr::V4(ip) = address.ip() else { continue };
        let next = code.label();
        code.differs(WORD, 30, i32::from_ne_bytes(ip.octets()), next);
        code.load(HALF, SCRATCH, FRAME, 36);
        code.jump(JUMP_IF_EQUAL, SCRATCH, 0, half(address.port().to_be_bytes()), found);
        code.set(next);
    }
    code.jump(JUMP, 0, 0, 0, pass);
    code.set(found);
    steer(code, wanted, IPV4_PAYLOAD, redirect, pass);
}

fn over_ipv6(code: &mut Assembly, wanted: &Wanted<'_>, redirect: Label, pass: Label) {
    if !wanted.addresses.iter().any(SocketAddr::is_ipv6) {
        // The verifier takes no instructions that nothing leads to.
        return code.jump(JUMP, 0, 0, 0, pass);
    }
    code.within(IPV6_PAYLOAD, pass);
    code.load(BYTE, SCRATCH, FRAME, 14);
    code.push(AND, SCRATCH, 0, 0, 0xf0);
    code.jump(JUMP_IF_DIFFERENT, SCRATCH, 0, 0x60, pass);
    code.differs(BYTE, 20, UDP, pass);
    // Sources nobody may answer: groups, and what begins with 64 zero bits: none, loopback, mapped.
    code.load(BYTE, SCRATCH, FRAME, 22);
    code.jump(JUMP_IF_EQUAL, SCRATCH, 0, 0xff, pass);
    let some = code.label();
    code.differs(WORD, 22, 0, some);
    code.load(WORD, SCRATCH, FRAME, 26);
    code.jump(JUMP_IF_EQUAL, SCRATCH, 0, 0, pass);
    code.set(some);
    let found = code.label();
    for address in wanted.addresses {
        let IpAddr::V6(ip) = address.ip() else { continue };
        let next = code.label();
        for (at, word) in (38..).step_by(4).zip(ip.octets().as_chunks::<4>().0) {
            code.differs(WORD, at, i32::from_ne_bytes(*word), next);
        }
        code.load(HALF, SCRATCH, FRAME, 56);
        code.jump(JUMP_IF_EQUAL, SCRATCH, 0, half(address.port().to_be_bytes()), found);
        code.set(next);
    }
    code.jump(JUMP, 0, 0, 0, pass);
    code.set(found);
    steer(code, wanted, IPV6_PAYLOAD, redirect, pass);
}

/// To the queue's socket, unless the first record's Connection ID names another worker.
fn steer(code: &mut Assembly, wanted: &Wanted<'_>, payload: i16, redirect: Label, pass: Label) {
    if wanted.workers > 1 {
        code.within(payload + CID_OFFSET + 1, redirect);
        code.differs(BYTE, payload, TLS12_CID, redirect);
        code.load(BYTE, SCRATCH, FRAME, payload + CID_OFFSET);
        // The number of no worker: someone guesses, and any of them will tell him nothing.
        code.jump(JUMP_IF_AT_LEAST, SCRATCH, 0, i32::from(wanted.workers), redirect);
        code.load(WORD, RESULT, CONTEXT, CONTEXT_QUEUE);
        code.jump(JUMP_IF_DIFFERENT_REGISTER, SCRATCH, RESULT, 0, pass);
    }
    code.jump(JUMP, 0, 0, 0, redirect);
}

/// A half word as the program loads it from network bytes.
fn half(bytes: [u8; 2]) -> i32 {
    i32::from(u16::from_ne_bytes(bytes))
}

/// Instructions, and jumps to labels that are set later.
#[derive(Default)]
struct Assembly {
    instructions: Vec<Instruction>,
    /// Which instruction jumps to which label.
    jumps: Vec<(usize, Label)>,
    /// The instruction behind each label, once set.
    labels: Vec<Option<usize>>,
}

#[derive(Clone, Copy)]
struct Label(usize);

impl Assembly {
    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    fn set(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        let registers = from << 4 | to;
        self.instructions.push(Instruction { code, registers, offset, immediate });
    }

    fn load(&mut self, width: u8, to: u8, from: u8, offset: i16) {
        self.push(LOAD | width, to, from, offset, 0);
    }

    fn jump(&mut self, code: u8, left: u8, right: u8, immediate: i32, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.push(code, left, right, 0, immediate);
    }

    /// Jumps if the frame has something else there. 32 bits are compared, so nothing is extended.
    fn differs(&mut self, width: u8, offset: i16, value: i32, to: Label) {
        self.load(width, SCRATCH, FRAME, offset);
        self.jump(JUMP_IF_DIFFERENT_32, SCRATCH, 0, value, to);
    }

    /// Jumps unless the frame has `bytes` bytes; the verifier takes it as proof.
    fn within(&mut self, bytes: i16, or: Label) {
        self.point(bytes);
        self.jump(JUMP_IF_GREATER_REGISTER, SCRATCH, END, 0, or);
    }

    /// The scratch register points at byte `at` of the frame.
    fn point(&mut self, at: i16) {
        self.push(MOVE, SCRATCH, FRAME, 0, 0);
        self.push(ADD, SCRATCH, 0, 0, i32::from(at));
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (from, label) in self.jumps {
            let to = self.labels[label.0].expect("a label jumped to is set");
            let skipped = to.checked_sub(from + 1).expect("jumps lead forwards: the program ends");
            self.instructions[from].offset = i16::try_from(skipped).expect("a short program");
        }
        self.instructions
    }
}

/// Longest frame taken: a full Ethernet frame, as the bound on datagrams wants it.
pub(super) const FRAME_BYTES_MAX: i16 = 1_514;
/// Where the payload begins.
pub(super) const IPV4_PAYLOAD: i16 = 14 + 20 + 8;
pub(super) const IPV6_PAYLOAD: i16 = 14 + 40 + 8;
pub(super) const IPV4_TYPE: [u8; 2] = [0x08, 0x00];
pub(super) const IPV6_TYPE: [u8; 2] = [0x86, 0xdd];
const ETHER_TYPE: i16 = 12;
const UDP: i32 = 17;
const TLS12_CID: i32 = 25;
const CID_OFFSET: i16 = 11;

// Registers. The first argument is the context, calls keep 6 to 9.
const RESULT: u8 = 0;
const ARGUMENT: u8 = 1;
const SCRATCH: u8 = 4;
const CONTEXT: u8 = 6;
const FRAME: u8 = 7;
const END: u8 = 8;
// struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index.
const CONTEXT_DATA: i16 = 0;
const CONTEXT_END: i16 = 4;
const CONTEXT_QUEUE: i16 = 16;
// RFC 9669: opcodes.
const LOAD: u8 = 0x61;
const WORD: u8 = 0x00;
const HALF: u8 = 0x08;
const BYTE: u8 = 0x10;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const ADD: u8 = 0x07;
const AND: u8 = 0x57;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_DIFFERENT: u8 = 0x55;
const JUMP_IF_DIFFERENT_32: u8 = 0x56;
const JUMP_IF_DIFFERENT_REGISTER: u8 = 0x5d;
const JUMP_IF_AT_LEAST: u8 = 0x35;
const JUMP_IF_GREATER_REGISTER: u8 = 0x2d;
const JUMP_IF_AT_MOST_REGISTER: u8 = 0xbd;
const LOAD_MAP: u8 = 0x18;
const MAP_BY_DESCRIPTOR: u8 = 1;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const REDIRECT_MAP: i32 = 51;

#[cfg(test)]
mod tests;
