//! How does the bare echo over io_uring go? One multishot receive fills buffers of a ring; each
//! turn sends them back from where they lie, in one submission with the wait for the next.
//!
//! A turn: wait (which submits the sends of the last one) → give its buffers back → push a send for
//! each datagram. Sends are MSG_DONTWAIT and skip their completion: they are over when the
//! submission is.
#![allow(unsafe_code)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::squeue::Flags;
use io_uring::types::{BufRingEntry, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use super::{BATCH, DATAGRAM_BYTES, Pace};

/// The ring of buffers and the buffers, on the heap for as long as the process lives.
struct Buffers {
    ring: *mut BufRingEntry,
    first: *mut u8,
    tail: u16,
}

impl Buffers {
    fn new(uring: &IoUring) -> io::Result<Self> {
        // Leaked: the kernel may write there until the process ends.
        let ring =
            Box::leak(vec![Page([0; 4_096]); COUNT * ENTRY_BYTES / 4_096].into_boxed_slice());
        let ring = ring.as_mut_ptr().cast::<BufRingEntry>();
        let first = Box::leak(vec![0_u8; COUNT * STRIDE].into_boxed_slice()).as_mut_ptr();
        // SAFETY: page-aligned memory of COUNT entries that is never freed.
        unsafe { uring.submitter().register_buf_ring_with_flags(ring as u64, COUNT as u16, 0, 0) }?;
        let mut buffers = Self { ring, first, tail: 0 };
        (0..COUNT as u16).for_each(|number| buffers.give_back(number));
        buffers.publish();
        Ok(buffers)
    }

    fn at(&self, number: u16) -> *mut u8 {
        assert!(usize::from(number) < COUNT, "a buffer of ours");
        self.first.wrapping_add(usize::from(number) * STRIDE)
    }

    fn give_back(&mut self, number: u16) {
        let address = self.at(number) as u64;
        let entry = self.ring.wrapping_add(usize::from(self.tail) % COUNT);
        // SAFETY: inside the ring, behind the published tail: ours to write. The tail itself lies
        // in a field of entry 0 that is not written here.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(STRIDE as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: `ring` is the address of the first entry.
        let tail = unsafe { BufRingEntry::tail(self.ring) };
        // SAFETY: an aligned u16 of ours which the kernel only reads.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Payload of what the kernel put into a buffer: header, name, payload.
    fn payload(&self, number: u16, bytes: usize) -> (*const u8, *const u8, usize) {
        let start = self.at(number);
        let name = start.wrapping_add(HEADER_BYTES);
        let len = bytes.saturating_sub(HEADER_BYTES + NAME_BYTES).min(DATAGRAM_BYTES);
        (name, name.wrapping_add(NAME_BYTES), len)
    }
}

pub(super) fn serve(socket: &UdpSocket, reply_bytes: usize) -> io::Result<()> {
    let name_bytes = if socket.local_addr()?.is_ipv4() { 16 } else { 28 };
    let mut uring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_cqsize(8_192)
        .build(1_024)?;
    uring.submitter().register_files(&[socket.as_raw_fd()])?;
    let mut buffers = Buffers::new(&uring)?;
    // SAFETY: a `msghdr` is integers and pointers, for which zero is a value.
    let wish: &'static mut libc::msghdr = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
    wish.msg_namelen = NAME_BYTES as u32;
    let receive = opcode::RecvMsgMulti::new(Fixed(0), &raw const *wish, 0).build();
    let mut held: Vec<u16> = Vec::with_capacity(COUNT);
    let (mut is_armed, mut gather, mut pace) = (false, None, Pace::new());
    loop {
        if !is_armed {
            push(&mut uring, &receive.clone().user_data(RECEIVE));
            is_armed = true;
        }
        wait(&uring, gather)?;
        // The sends of the last turn are over: the submission returned.
        held.drain(..).for_each(|number| buffers.give_back(number));
        buffers.publish();
        let mut sends: [Option<io_uring::squeue::Entry>; BATCH] = [const { None }; BATCH];
        let mut count = 0;
        for completion in uring.completion().take(BATCH) {
            if completion.user_data() != RECEIVE {
                continue; // a send that failed: lost, as datagrams are
            }
            is_armed &= cqueue::more(completion.flags());
            let Some(number) = cqueue::buffer_select(completion.flags()) else { continue };
            held.push(number);
            let (name, payload, len) = buffers.payload(number, completion.result().max(0) as usize);
            let send = opcode::Send::new(Fixed(0), payload, len.min(reply_bytes) as u32)
                .flags(libc::MSG_DONTWAIT)
                .dest_addr(name.cast())
                .dest_addr_len(name_bytes)
                .build();
            sends[count] = Some(send.flags(Flags::SKIP_SUCCESS).user_data(SEND));
            count += 1;
        }
        sends.iter().flatten().for_each(|send| push(&mut uring, send));
        gather = pace.on_turn(count);
    }
}

/// Submits what was pushed and waits for a datagram; when more are on their way, shortly for more.
fn wait(uring: &IoUring, gather: Option<Duration>) -> io::Result<()> {
    let second = Timespec::new().sec(1);
    let want = if gather.is_some() { BATCH } else { 1 };
    let gather_us = gather.unwrap_or_default().as_micros() as u32;
    let arguments = SubmitArgs::new().timespec(&second).min_wait_usec(gather_us);
    match uring.submitter().submit_with_args(want, &arguments) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

fn push(uring: &mut IoUring, entry: &io_uring::squeue::Entry) {
    // SAFETY: what it points at is leaked memory, and a buffer in it is `held` until the submission
    // is over. Invariant: at most BATCH sends and one receive a turn, so there is room.
    // Test: `bench/tests/echo.rs`.
    let pushed = unsafe { uring.submission().push(entry) };
    assert!(pushed.is_ok(), "room for a batch");
}

/// As aligned as a ring of buffers has to be.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Page(#[allow(dead_code)] [u8; 4_096]);

const COUNT: usize = 1_024;
const ENTRY_BYTES: usize = size_of::<BufRingEntry>();
/// `struct io_uring_recvmsg_out`.
const HEADER_BYTES: usize = 16;
const NAME_BYTES: usize = 32;
/// *Why odd in cache lines:* a power of two would put all headers into the same few cache sets.
const STRIDE: usize = ((HEADER_BYTES + NAME_BYTES + DATAGRAM_BYTES).div_ceil(64) | 1) * 64;
const RECEIVE: u64 = 0;
const SEND: u64 = 1;
