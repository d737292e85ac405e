//! What ends a worker's sleep when no datagram does? A descriptor that becomes readable: the
//! doorbell of its ring (a FIFO open for reading and writing), or an eventfd.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Our own descriptor of the bell; must be in non-blocking mode.
#[derive(Debug)]
pub(super) struct Bell {
    file: File,
    is_lost: bool,
}

impl Bell {
    pub(super) fn new(bell: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { file: bell.try_clone_to_owned()?.into(), is_lost: false })
    }

    /// The descriptor to poll; `None` once it broke.
    pub(super) fn fd(&self) -> Option<RawFd> {
        (!self.is_lost).then(|| self.file.as_raw_fd())
    }

    /// Takes all rings back, so that it is not readable until the next one. False if it broke:
    /// polling it further would never sleep.
    pub(super) fn drain(&mut self) -> bool {
        let mut rings = [0; 64];
        for _ in 0..DRAIN_READS_MAX {
            match self.file.read(&mut rings) {
                Ok(0) => self.is_lost = true,
                Ok(read) if read == rings.len() => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() != ErrorKind::WouldBlock => self.is_lost = true,
                _ => {}
            }
            break;
        }
        !self.is_lost
    }
}

/// Reads in one drain. *Why:* a side that rings without end must not hold the worker; what is left
/// rings again.
const DRAIN_READS_MAX: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_drained_bell_is_silent_until_it_rings_again() {
        let (mut other, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut bell = Bell::new(ours.as_fd()).unwrap();
        other.write_all(&[1; 200]).unwrap();
        assert!(bell.drain());
        assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(bell.fd().is_some());
    }

    #[test]
    fn a_bell_whose_other_side_is_gone_is_not_polled_any_more() {
        let (other, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut bell = Bell::new(ours.as_fd()).unwrap();
        drop(other);
        assert!(!bell.drain());
        assert_eq!(bell.fd(), None);
    }
}
