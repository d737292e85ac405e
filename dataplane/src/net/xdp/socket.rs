//! How is an AF_XDP socket opened? Its memory registered, its four rings mapped, then bound to one
//! queue of an interface: without copies where the driver can, else with one copy each way.
#![allow(unsafe_code)]

use super::rings::{Incoming, Outgoing};
use super::umem::{FRAME_BYTES, RECEIVING, SENDING, Umem};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// An AF_XDP socket and its rings.
pub(super) struct XdpSocket {
    fd: OwnedFd,
    /// Frames the kernel may put packets into.
    pub(super) filling: Outgoing<u64>,
    /// Packets that came.
    pub(super) received: Incoming<libc::xdp_desc>,
    /// Packets to send.
    pub(super) sending: Outgoing<libc::xdp_desc>,
    /// Frames of packets that were sent.
    pub(super) completed: Incoming<u64>,
    /// Frames pass without being copied.
    pub(super) is_zero_copy: bool,
}

impl XdpSocket {
    /// Opens a socket on a queue and hands it all frames for receiving. Nothing comes before the
    /// program sends it here.
    pub(super) fn open(interface: u32, queue: u32, umem: &mut Umem) -> io::Result<Self> {
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        checked(fd)?;
        // SAFETY: `fd` is a new descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let (receiving, sending) = (RECEIVING as u32, SENDING as u32);
        let memory = libc::xdp_umem_reg {
            addr: umem.address() as u64,
            len: ((RECEIVING + SENDING) * FRAME_BYTES) as u64,
            chunk_size: FRAME_BYTES as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set(&fd, libc::XDP_UMEM_REG, &memory)?;
        set(&fd, libc::XDP_UMEM_FILL_RING, &receiving)?;
        set(&fd, libc::XDP_UMEM_COMPLETION_RING, &sending)?;
        set(&fd, libc::XDP_RX_RING, &receiving)?;
        set(&fd, libc::XDP_TX_RING, &sending)?;
        // Packets sent in one call; an older kernel takes 32 and is called again.
        let _ = set(&fd, XDP_MAX_TX_SKB_BUDGET, &(crate::bounds::OUTBOX_SLOTS as u32));
        let offsets = offsets(&fd)?;
        let raw = fd.as_raw_fd();
        let (fill, done) = (libc::XDP_UMEM_PGOFF_FILL_RING, libc::XDP_UMEM_PGOFF_COMPLETION_RING);
        let mut socket = Self {
            filling: Outgoing::map(raw, fill.cast_signed(), receiving, offsets.fr)?,
            received: Incoming::map(raw, libc::XDP_PGOFF_RX_RING, receiving, offsets.rx)?,
            sending: Outgoing::map(raw, libc::XDP_PGOFF_TX_RING, sending, offsets.tx)?,
            completed: Incoming::map(raw, done.cast_signed(), sending, offsets.cr)?,
            is_zero_copy: true,
            fd,
        };
        for address in umem.fill_all() {
            socket.filling.push(address);
        }
        socket.filling.publish();
        socket.bind(interface, queue)?;
        Ok(socket)
    }

    /// Without copies, or else with them. A queue that a process that was killed still holds is
    /// waited for.
    fn bind(&mut self, interface: u32, queue: u32) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let zero_copy = self.bind_with(interface, queue, libc::XDP_ZEROCOPY);
            self.is_zero_copy = zero_copy.is_ok();
            let Err(error) =
                zero_copy.or_else(|_| self.bind_with(interface, queue, libc::XDP_COPY))
            else {
                return Ok(());
            };
            if error.raw_os_error() != Some(libc::EBUSY) || begun.elapsed() >= PATIENCE {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn bind_with(&self, interface: u32, queue: u32, copying: u16) -> io::Result<()> {
        let name = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: copying | libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        let len = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
        let name = (&raw const name).cast();
        // SAFETY: `name` is `len` bytes of a socket address and outlives the call.
        checked(unsafe { libc::bind(self.fd(), name, len) })
    }

    /// Its descriptor: readable when packets have come.
    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Has the kernel send what was pushed.
    pub(super) fn send(&mut self) -> io::Result<()> {
        self.sending.publish();
        let mut attempts = 0;
        while self.sending.unconsumed() > 0 && self.sending.needs_wakeup() {
            // SAFETY: without a buffer and without an address the call takes no pointers.
            let sent = unsafe {
                let (nothing, nobody) = (std::ptr::null(), std::ptr::null());
                libc::sendto(self.fd(), nothing, 0, libc::MSG_DONTWAIT, nobody, 0)
            };
            let Err(error) = checked(sent as i32) else { continue };
            attempts += 1;
            match error.raw_os_error() {
                // It has a limit for each call, or is out of memory for a moment.
                Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR)
                    if attempts < ATTEMPTS_MAX => {}
                _ => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells a driver that waits for frames that there are some.
    pub(super) fn filled(&mut self) {
        self.filling.publish();
        if self.filling.needs_wakeup() {
            let nothing = std::ptr::null_mut();
            // SAFETY: an empty buffer; the call only wakes the driver.
            unsafe { libc::recv(self.fd(), nothing, 0, libc::MSG_DONTWAIT) };
        }
    }

    /// Packets that the program sent here and that found no room.
    pub(super) fn drops(&self) -> io::Result<u64> {
        // SAFETY: a structure of numbers, for which zeroes will do.
        let mut all: libc::xdp_statistics = unsafe { std::mem::zeroed() };
        get(&self.fd, libc::XDP_STATISTICS, &mut all)?;
        // What the kernel counts as fill_ring_empty are attempts, of which these are part.
        Ok(all.rx_dropped + all.rx_ring_full)
    }
}

fn offsets(fd: &OwnedFd) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: a structure of numbers, for which zeroes will do.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    get(fd, libc::XDP_MMAP_OFFSETS, &mut offsets)?;
    Ok(offsets)
}

fn set<T>(fd: &OwnedFd, option: i32, value: &T) -> io::Result<()> {
    let (len, value) = (size_of::<T>() as libc::socklen_t, std::ptr::from_ref(value).cast());
    // SAFETY: `value` is `len` bytes that outlive the call; the kernel copies them. The memory that
    // one of them names is the Umem's, which outlives the socket's use of it.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_XDP, option, value, len) })
}

fn get<T>(fd: &OwnedFd, option: i32, value: &mut T) -> io::Result<()> {
    let wanted = size_of::<T>() as libc::socklen_t;
    let mut len = wanted;
    let value = std::ptr::from_mut(value).cast();
    // SAFETY: `value` has room for `len` bytes, of integers for which any bytes will do.
    checked(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_XDP, option, value, &raw mut len)
    })?;
    // A kernel before 5.4 knows less.
    if len == wanted { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How long a queue is waited for, and how often it is tried.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
pub(super) const PAUSE: Duration = Duration::from_millis(5);
const ATTEMPTS_MAX: u32 = 64;
/// From linux/if_xdp.h, Linux 6.17.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
