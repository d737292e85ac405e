//! How does the ring enter the kernel? Setup with the flags that measured best, a registered ring
//! descriptor, and one call that submits, fetches completions and waits.
//!
//! The crate's own `submit_and_wait` is not used: under DEFER_TASKRUN a call without GETEVENTS
//! sees nothing, and a registered descriptor belongs to its short-lived `Submitter`.
#![allow(unsafe_code)]

use io_uring::types::{CancelBuilder, Timespec};
use io_uring::{IoUring, squeue};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// An io_uring of this thread.
pub(super) struct Ring {
    inner: IoUring,
    /// The ring's number among this thread's registered rings.
    registered: Option<u32>,
    can_gather: bool,
}

impl Ring {
    /// Sets a ring up, with `files` registered in their order; the error says what the kernel or
    /// its configuration lacks.
    pub(super) fn new(files: &[RawFd]) -> io::Result<Self> {
        let build = |no_array: bool| {
            let mut builder = IoUring::builder();
            builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
            builder.setup_taskrun_flag().setup_submit_all().setup_cqsize(COMPLETIONS);
            if no_array {
                builder.setup_no_sqarray();
            }
            builder.build(SUBMISSIONS)
        };
        // The array went in Linux 6.6; the other flags came with 6.1.
        let inner = build(true).or_else(|_| build(false))?;
        let params = inner.params();
        if !params.is_feature_ext_arg() || !params.is_feature_skip_cqe_on_success() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "an old kernel"));
        }
        let can_gather = params.is_feature_min_timeout();
        inner.submitter().register_files(files)?;
        let registered = register(inner.as_raw_fd(), REGISTER_RING_FDS, u32::MAX, true).ok();
        Ok(Self { inner, registered, can_gather })
    }

    /// Submits what was pushed, has completions posted, and waits for one, or for `want` of them
    /// but for the first no longer than `gather`. True unless nothing came in time.
    pub(super) fn enter(
        &mut self,
        want: u32,
        gather: Duration,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let timeout = timeout.map(|t| Timespec::new().sec(t.as_secs()).nsec(t.subsec_nanos()));
        let no_gather = gather.is_zero() || !self.can_gather;
        let arguments = EnterArguments {
            sigmask: 0,
            sigmask_bytes: 0,
            min_wait_us: if no_gather { 0 } else { gather.as_micros() as u32 },
            timeout: timeout.as_ref().map_or(0, |t| std::ptr::from_ref(t) as u64),
        };
        let want = if no_gather { want.min(1) } else { want };
        let to_submit = self.inner.submission().len() as u32;
        let (fd, flags) = match self.registered {
            Some(number) => {
                (number.cast_signed(), ENTER_GETEVENTS | ENTER_EXT_ARG | ENTER_REGISTERED)
            }
            None => (self.inner.as_raw_fd(), ENTER_GETEVENTS | ENTER_EXT_ARG),
        };
        // SAFETY: the submissions were pushed under the promise of `push`; `arguments`, and the
        // time it points at, outlive the call, and the size is its own.
        let entered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                to_submit,
                want,
                flags,
                &raw const arguments,
                size_of::<EnterArguments>(),
            )
        };
        if entered >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ETIME) => Ok(false),
            _ => Err(error),
        }
    }

    /// Adds an entry to the next submission.
    ///
    /// # Safety
    /// All memory the entry points at stays valid, and unused by others as its operation demands,
    /// until the operation is over.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller's promise is the same.
        let pushed = unsafe { self.inner.submission().push(entry) };
        assert!(pushed.is_ok(), "the submission queue holds an outbox and all receives");
    }

    /// Entries pushed that the kernel has not taken.
    pub(super) fn unsubmitted(&mut self) -> usize {
        self.inner.submission().len()
    }

    /// Whether completions wait for an `enter` to be posted.
    pub(super) fn has_work(&mut self) -> bool {
        self.inner.submission().taskrun()
    }

    /// Whether the kernel holds completions that found no room.
    pub(super) fn has_overflown(&mut self) -> bool {
        self.inner.submission().cq_overflow()
    }

    /// The completions posted so far.
    pub(super) fn completions(&mut self) -> io_uring::CompletionQueue<'_> {
        self.inner.completion()
    }

    /// Lends a ring of `entries` buffers to the kernel as group `group`.
    ///
    /// # Safety
    /// The ring at `address`, and the buffers in it, stay valid until `self` is dropped.
    pub(super) unsafe fn lend_buffers(
        &self,
        address: u64,
        entries: u16,
        group: u16,
    ) -> io::Result<()> {
        let submitter = self.inner.submitter();
        // SAFETY: the caller's promise is the same.
        unsafe { submitter.register_buf_ring_with_flags(address, entries, group, 0) }
    }
}

impl Drop for Ring {
    /// Ends every operation before the memory they use goes away.
    fn drop(&mut self) {
        let patience = Timespec::new().sec(1);
        let _ = self.inner.submitter().register_sync_cancel(Some(patience), CancelBuilder::any());
        if let Some(number) = self.registered {
            let _ = register(self.inner.as_raw_fd(), UNREGISTER_RING_FDS, number, false);
        }
    }
}

/// Registers the ring's own descriptor with this thread, or gives number `offset` back; returns the
/// number.
fn register(ring: RawFd, operation: u32, offset: u32, with_fd: bool) -> io::Result<u32> {
    let mut update =
        RingUpdate { offset, reserved: 0, data: if with_fd { ring as u64 } else { 0 } };
    // SAFETY: the kernel reads and writes the one `update`, which outlives the call.
    let done = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, operation, &raw mut update, 1u32)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(update.offset) }
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct EnterArguments {
    sigmask: u64,
    sigmask_bytes: u32,
    min_wait_us: u32,
    timeout: u64,
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Room for one outbox and every receive that may have to be begun again.
const SUBMISSIONS: u32 = 512;
const _: () = assert!(SUBMISSIONS as usize >= crate::bounds::OUTBOX_SLOTS + 64);
/// *Why so many:* an overflow ends every multishot receive. There are at most as many completions
/// as receive buffers and failed sends.
const COMPLETIONS: u32 = 8_192;
// From linux/io_uring.h.
const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED: u32 = 1 << 4;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;
