//! What is the interface we take frames from? Its number, addresses, MTU, queues and driver, asked
//! of the kernel once, at the start.
#![allow(unsafe_code)]

use super::super::name::{NAME_BYTES, peer_of};
use std::ffi::{CStr, CString};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) mac: [u8; 6],
    /// Bytes of a packet, its IP header included.
    pub(super) mtu: usize,
    /// Receive queues.
    pub(super) queues: u32,
    /// Its own addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// It carries packets of this machine that lack their UDP checksum (veth).
    pub(super) lacks_checksums: bool,
}

impl Interface {
    /// The interface of this name, in the caller's network namespace.
    pub(super) fn find(name: &str) -> io::Result<Self> {
        let asked = Asked::new(name)?;
        let hardware = asked.ask(libc::SIOCGIFHWADDR, [0; 24])?;
        if hardware[..2] != libc::ARPHRD_ETHER.to_ne_bytes() {
            return Err(io::Error::other("not an Ethernet interface"));
        }
        let mtu = asked.ask(libc::SIOCGIFMTU, [0; 24])?;
        let driver = asked.ethtool::<DRIVER_BYTES>(ETHTOOL_GDRVINFO).unwrap_or([0; _]);
        Ok(Self {
            index: asked.index,
            mac: hardware[2..8].try_into().expect("six bytes"),
            mtu: u32::from_ne_bytes(mtu[..4].try_into().expect("four bytes")) as usize,
            queues: asked.queues(),
            addresses: addresses(&asked.name)?,
            lacks_checksums: driver[4..].starts_with(b"veth\0"),
        })
    }
}

/// An interface to ask about, and the socket through which one asks.
struct Asked {
    name: CString,
    index: u32,
    socket: OwnedFd,
}

impl Asked {
    fn new(name: &str) -> io::Result<Self> {
        let name = CString::new(name)?;
        // SAFETY: the name ends with a zero and outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a new descriptor that nothing else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { name, index, socket })
    }

    /// One ioctl that answers in the request's second half.
    fn ask(&self, request: libc::Ioctl, data: [u8; 24]) -> io::Result<[u8; 24]> {
        let mut question = Question { name: [0; 16], data };
        let name = self.name.as_bytes();
        question
            .name
            .get_mut(..name.len())
            .ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(name);
        // SAFETY: `question` is laid out as `struct ifreq` and outlives the call; a pointer in it
        // is good for its request, as `ethtool`, the only caller that puts one in, sees to.
        let asked = unsafe { libc::ioctl(self.socket.as_raw_fd(), request, &raw mut question) };
        if asked < 0 { Err(io::Error::last_os_error()) } else { Ok(question.data) }
    }

    /// A command of ethtool with an answer of `N` bytes, the command's number included.
    fn ethtool<const N: usize>(&self, command: u32) -> io::Result<[u8; N]> {
        let mut answer = [0; N];
        answer[..4].copy_from_slice(&command.to_ne_bytes());
        let mut data = [0; 24];
        data[..8].copy_from_slice(&(answer.as_mut_ptr() as u64).to_ne_bytes());
        self.ask(SIOCETHTOOL, data)?;
        Ok(answer)
    }

    /// One if the driver does not say.
    fn queues(&self) -> u32 {
        let Ok(counts) = self.ethtool::<CHANNELS_BYTES>(ETHTOOL_GCHANNELS) else { return 1 };
        let count = |at: usize| u32::from_ne_bytes(counts[at..at + 4].try_into().expect("four"));
        // rx_count and combined_count of struct ethtool_channels.
        (count(20) + count(32)).max(1)
    }
}

/// The addresses the interface has.
fn addresses(name: &CStr) -> io::Result<Vec<IpAddr>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the kernel's answer is a list that `first` is made to point at.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut found, mut next) = (Vec::new(), first);
    while !next.is_null() {
        // SAFETY: a member of the list, which is freed only below.
        let entry = unsafe { &*next };
        // SAFETY: the name ends with a zero and lives as long as the list.
        let is_it = unsafe { CStr::from_ptr(entry.ifa_name) } == name;
        if is_it && !entry.ifa_addr.is_null() {
            found.extend(address_at(entry.ifa_addr));
        }
        next = entry.ifa_next;
    }
    // SAFETY: the list as it was given, to which no reference is left.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// An IP address; `None` if it is of another family.
fn address_at(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: every socket address begins with its family.
    let family = i32::from(unsafe { (*address).sa_family });
    let len = match family {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        _ => return None,
    };
    let mut name = [0; NAME_BYTES];
    // SAFETY: an address of this family is `len` bytes long, and the room is at least that.
    unsafe { std::ptr::copy_nonoverlapping(address.cast(), name.as_mut_ptr(), len) };
    peer_of(&name, 0).map(|peer| peer.address().ip())
}

/// `struct ifreq`.
#[repr(C, align(8))]
struct Question {
    name: [u8; 16],
    data: [u8; 24],
}

const _: () = assert!(size_of::<Question>() == size_of::<libc::ifreq>());

// From linux/sockios.h and linux/ethtool.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 3;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// `struct ethtool_drvinfo`, `struct ethtool_channels`.
const DRIVER_BYTES: usize = 196;
const CHANNELS_BYTES: usize = 36;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_not_ethernet_is_an_error() {
        let missing = Interface::find("nowhere0").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
        let loopback = Interface::find("lo").unwrap_err();
        assert!(loopback.to_string().contains("Ethernet"), "{loopback}");
        assert!(Interface::find("a name that is too long").is_err());
    }

    #[test]
    fn loopback_has_its_addresses() {
        assert!(addresses(c"lo").unwrap().contains(&"127.0.0.1".parse().unwrap()));
        assert!(addresses(c"nowhere0").unwrap().is_empty());
    }
}
