//! How does the kernel take a program, a map and a link? By bpf(2), called directly: no compiler,
//! no library, no file is needed where the edge runs.
//!
//! What is made here lives as long as its descriptor: when the process ends, however it ends, the
//! program leaves the interface by itself.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// One instruction: opcode, registers (destination in the low half), offset, immediate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    pub(super) code: u8,
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

/// How a program meets the packets of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// In the driver, before the kernel spends anything on the packet.
    Native,
    /// Behind the driver: every interface can, and saves less.
    Generic,
}

/// A map from queue numbers to AF_XDP sockets, for `queues` of them.
pub(super) fn socket_map(queues: u32) -> io::Result<OwnedFd> {
    let request = MapCreate {
        map_type: MAP_TYPE_XSKMAP,
        key_bytes: 4,
        value_bytes: 4,
        entries: queues,
        ..MapCreate::default()
    };
    // SAFETY: a map is described by numbers only.
    unsafe { call(MAP_CREATE, request) }.map(owned)
}

/// Packets of this queue that the program redirects go to this socket, until it is closed.
pub(super) fn assign(map: &OwnedFd, queue: u32, socket: RawFd) -> io::Result<()> {
    let value = socket.cast_unsigned();
    let request = MapUpdate {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: address_of(&queue),
        value: address_of(&value),
        flags: 0,
    };
    // SAFETY: key and value are the four bytes each that the map was made for, and outlive the
    // call, which copies them.
    unsafe { call(MAP_UPDATE, request) }.map(drop)
}

/// Has the kernel verify and compile a program for packets.
pub(super) fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let mut request = ProgramLoad {
        program_type: PROGRAM_TYPE_XDP,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..ProgramLoad::default()
    };
    request.name[..NAME.len()].copy_from_slice(NAME);
    // SAFETY: `count` instructions begin at the pointer, the licence ends with a zero; both
    // outlive the call, which copies them.
    unsafe { call(PROGRAM_LOAD, request) }.map(owned)
}

/// Puts a program in front of an interface, for as long as the link is open.
pub(super) fn attach(program: &OwnedFd, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
    let flags = match mode {
        Mode::Native => FLAG_NATIVE,
        Mode::Generic => FLAG_GENERIC,
    };
    let program = program.as_raw_fd().cast_unsigned();
    let request = LinkCreate { program, interface, attach_type: ATTACH_TYPE_XDP, flags };
    // SAFETY: a link is described by numbers only.
    unsafe { call(LINK_CREATE, request) }.map(owned)
}

/// Calls bpf(2).
///
/// # Safety
/// What `request` points at is valid for `command`, until the call returns.
unsafe fn call<T>(command: libc::c_long, mut request: T) -> io::Result<RawFd> {
    let bytes = size_of::<T>();
    // SAFETY: `request` is `bytes` long, outlives the call, and may be written; what it points at
    // is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut request, bytes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: only called with a descriptor that bpf(2) has just made, which nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn address_of<T>(value: &T) -> u64 {
    std::ptr::from_ref(value) as u64
}

/// What a program says to a frame, for tests: the kernel runs it once, on queue 0.
#[cfg(test)]
pub(super) fn try_out(program: &OwnedFd, frame: &[u8]) -> io::Result<u32> {
    let mut request = TestRun {
        program: program.as_raw_fd().cast_unsigned(),
        bytes_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    let (bytes, pointer) = (size_of::<TestRun>(), &raw mut request);
    // SAFETY: `bytes_in` bytes begin at `data_in`; nothing is written but `request` itself.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_TEST_RUN, pointer, bytes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(request.verdict) }
}

#[derive(Default)]
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(Default)]
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

#[cfg(test)]
#[derive(Default)]
#[repr(C)]
struct TestRun {
    program: u32,
    verdict: u32,
    bytes_in: u32,
    bytes_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

const NAME: &[u8] = b"tidegate";
// From linux/bpf.h and linux/if_link.h.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const PROGRAM_LOAD: libc::c_long = 5;
#[cfg(test)]
const PROGRAM_TEST_RUN: libc::c_long = 10;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_XSKMAP: u32 = 17;
const PROGRAM_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
const FLAG_GENERIC: u32 = 1 << 1;
const FLAG_NATIVE: u32 = 1 << 2;
