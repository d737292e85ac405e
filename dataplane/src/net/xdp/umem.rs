//! Whose is a frame? The memory that an AF_XDP socket shares with the kernel, cut into frames, and
//! for each of them whose turn it is.
//!
//! ```text
//! receiving:  Filled (kernel) ─▶ Lent (worker) ─▶ Filled
//! sending:    Free ─▶ Sending (kernel) ─▶ Free
//! ```
//!
//! *Invariant:* a frame is in one state, and only two hands move it on: what the kernel gives back
//! is checked against the state, so that no frame is ever in two hands.
#![allow(unsafe_code)]

use super::super::Frames;
use std::io;
use std::ptr::NonNull;

/// The frames of one socket: the first `RECEIVING` for what comes, the others for what goes.
pub(super) struct Umem {
    region: Mapping,
    states: Box<[State]>,
    /// Of the frames for sending: those in our hands, the last used on top, because its bytes are
    /// still in the cache. *Bound:* SENDING.
    free: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Filled,
    Lent,
    Sending,
}

impl Umem {
    /// Memory for all frames, touched once, so that none is missing later.
    pub(super) fn new() -> io::Result<Self> {
        let region = Mapping::new(COUNT * FRAME_BYTES, libc::MAP_ANONYMOUS, -1, 0)?;
        let first = RECEIVING as u16;
        Ok(Self {
            region,
            states: vec![State::Free; COUNT].into(),
            free: (first..first + SENDING as u16).rev().collect(),
        })
    }

    /// Where it begins, for the kernel.
    pub(super) fn address(&self) -> *mut u8 {
        self.region.at(0)
    }

    /// The addresses of all frames for receiving, which are the kernel's from now on.
    pub(super) fn fill_all(&mut self) -> impl Iterator<Item = u64> {
        self.states[..RECEIVING].fill(State::Filled);
        (0..RECEIVING as u64).map(|frame| frame * FRAME_BYTES as u64)
    }

    /// The kernel put `len` bytes at `address`: whose frame it was is ours until `give_back`.
    ///
    /// # Safety
    /// The slice is gone before the frame is given back.
    pub(super) unsafe fn lend<'a>(&mut self, address: u64, len: usize) -> &'a mut [u8] {
        let frame = self.pass(address, State::Filled, State::Lent);
        let within = address as usize % FRAME_BYTES;
        assert!(frame < RECEIVING && within + len <= FRAME_BYTES, "a received frame");
        // SAFETY: the bytes are within one frame of the region, which lives as long as `self`; by
        // its state nobody else has it: the kernel gave it up, and it is lent once.
        unsafe { std::slice::from_raw_parts_mut(self.region.at(address as usize), len) }
    }

    /// Lent bytes are gone; their frame may be filled again. Returns its address.
    pub(super) fn give_back(&mut self, address: u64) -> u64 {
        let frame = self.pass(address, State::Lent, State::Filled);
        (frame * FRAME_BYTES) as u64
    }

    /// A frame to send from: `write` says how long it became. Its address and length, for the
    /// kernel; `None` while all are on their way.
    pub(super) fn send(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> Option<(u64, u32)> {
        let frame = usize::from(self.free.pop()?);
        let address = frame * FRAME_BYTES;
        // SAFETY: a whole frame of the region; by its state, Free, nobody has it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.region.at(address), FRAME_BYTES) };
        let len = write(bytes);
        assert!(len <= FRAME_BYTES, "what was written fits");
        self.pass(address as u64, State::Free, State::Sending);
        Some((address as u64, len as u32))
    }

    /// The kernel has sent a frame.
    pub(super) fn on_sent(&mut self, address: u64) {
        let frame = self.pass(address, State::Sending, State::Free);
        self.free.push(frame as u16);
    }

    /// Where all frames are.
    pub(super) fn frames(&self) -> Frames {
        let count = |state| self.states.iter().filter(|one| **one == state).count();
        Frames {
            free: count(State::Free),
            filled: count(State::Filled),
            lent: count(State::Lent),
            sending: count(State::Sending),
        }
    }

    /// Brings the beginning of received bytes into the cache. Says nothing about whose they are.
    pub(super) fn prefetch(&self, address: u64) {
        #[cfg(target_arch = "x86_64")]
        if (address as usize) < COUNT * FRAME_BYTES - 2 * LINE_BYTES {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            for line in 0..2 {
                let at = self.region.at(address as usize + line * LINE_BYTES);
                // SAFETY: within the region; a prefetch reads nothing.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }

    /// Moves the frame of an address from one state to the next; returns its number.
    fn pass(&mut self, address: u64, from: State, to: State) -> usize {
        let frame = address as usize / FRAME_BYTES;
        assert_eq!(self.states[frame], from, "frame {frame} on its way to {to:?}");
        self.states[frame] = to;
        frame
    }
}

/// Memory from mmap(2), until it is dropped.
pub(super) struct Mapping {
    first: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// Maps `bytes` bytes: of a file from `offset`, or of no file.
    pub(super) fn new(bytes: usize, flags: i32, fd: i32, offset: i64) -> io::Result<Self> {
        let flags =
            flags | libc::MAP_POPULATE | if fd < 0 { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping wherever the kernel likes; no memory of ours is touched.
        let first = unsafe { libc::mmap(std::ptr::null_mut(), bytes, rights, flags, fd, offset) };
        if first == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { first: NonNull::new(first.cast()).expect("not at zero"), bytes })
    }

    /// The address of a byte.
    pub(super) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.bytes, "byte {offset} of {}", self.bytes);
        self.first.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, whole; slices of it do not outlive its owner.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.bytes) };
    }
}

/// Bytes of a frame: the kernel's headroom (256) and a whole Ethernet frame fit.
pub(super) const FRAME_BYTES: usize = 2_048;
/// Frames for what comes, and for what goes: powers of two, for the rings. *Why:* a burst of a
/// thousand devices fits while a turn is under way; an outbox leaves while four are on their way.
pub(super) const RECEIVING: usize = 2_048;
pub(super) const SENDING: usize = 1_024;
const COUNT: usize = RECEIVING + SENDING;
const LINE_BYTES: usize = 64;

const _: () = assert!(SENDING >= 2 * crate::bounds::OUTBOX_SLOTS && COUNT <= u16::MAX as usize);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_round_and_is_counted_where_it_is() {
        let mut umem = Umem::new().unwrap();
        assert_eq!(umem.fill_all().count(), RECEIVING);
        let received = 3 * FRAME_BYTES as u64 + 256;
        // SAFETY: the slice is not used.
        let len = unsafe { umem.lend(received, 100) }.len();
        let (sent, _) = umem.send(|_| 60).unwrap();
        let frames = umem.frames();
        assert_eq!((len, frames.lent, frames.sending), (100, 1, 1));
        assert_eq!((frames.filled, frames.free), (RECEIVING - 1, SENDING - 1));
        assert_eq!(umem.give_back(received), received - 256);
        umem.on_sent(sent);
        assert_eq!(umem.frames(), Frames { free: SENDING, filled: RECEIVING, ..Frames::default() });
    }

    #[test]
    fn frames_for_sending_end_and_come_back() {
        let mut umem = Umem::new().unwrap();
        let sent: Vec<u64> = (0..).map_while(|_| umem.send(|_| 60)).map(|one| one.0).collect();
        assert_eq!(sent.len(), SENDING);
        for address in sent {
            umem.on_sent(address);
        }
        assert!(umem.send(|_| 60).is_some());
    }

    #[test]
    #[should_panic(expected = "on its way to Lent")]
    fn a_frame_is_not_lent_twice() {
        let mut umem = Umem::new().unwrap();
        umem.fill_all().for_each(drop);
        for _ in 0..2 {
            // SAFETY: the slice is not used.
            let _ = unsafe { umem.lend(256, 60) };
        }
    }

    #[test]
    #[should_panic(expected = "on its way to Free")]
    fn a_frame_that_was_not_sent_is_not_taken_back() {
        Umem::new().unwrap().on_sent((RECEIVING * FRAME_BYTES) as u64);
    }
}
