//! How is a sleeping consumer woken? By a byte in a named pipe that both sides hold open.
//!
//! *Why a FIFO:* it has a name. A restarted process opens it again, with nothing to pass between
//! processes that do not know each other; waking costs the same as an eventfd (ARCHITECTURE.md has
//! the figures). Both sides open it for reading and writing, so neither sees an end or an error
//! when the other is gone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// One end of a doorbell; both ends are alike.
#[derive(Debug)]
pub struct Doorbell {
    fifo: File,
}

impl Doorbell {
    /// Makes the FIFO (mode 0600) if there is none, and opens it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0) {
            Ok(()) | Err(Errno::EXIST) => Self::open(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a FIFO that is there; anything else under that name is refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        if !fifo.metadata()?.file_type().is_fifo() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a FIFO"));
        }
        Ok(Self { fifo })
    }

    /// The descriptor to poll for reading (io_uring, `AsyncFd`). Never read it but by `drain`.
    pub fn fd(&self) -> RawFd {
        self.fifo.as_raw_fd()
    }

    /// Wakes whoever polls. A full FIFO is a bell that rings already, so no outcome matters.
    pub fn ring(&self) {
        let _ = (&self.fifo).write(&[1]);
    }

    /// Takes all rings back, so that the descriptor is not readable until the next one.
    pub fn drain(&self) {
        let mut rings = [0; 64];
        while matches!((&self.fifo).read(&mut rings), Ok(read) if read == rings.len()) {}
    }

    /// Sleeps until the bell rings or `timeout` passes; true if it rang. For consumers without an
    /// event loop. A signal counts as the end of the sleep.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut polled = [PollFd::new(&self.fifo, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).ok();
        matches!(poll(&mut polled, timeout.as_ref()), Ok(ready) if ready > 0)
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

impl AsRawFd for Doorbell {
    fn as_raw_fd(&self) -> RawFd {
        self.fd()
    }
}
