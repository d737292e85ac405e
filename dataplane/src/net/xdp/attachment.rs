//! What do the workers of a process share? The program on their interface, and the map through
//! which it finds each worker's socket.

use super::bpf::{self, Mode};
use super::frames::End;
use super::interface::Interface;
use super::program::{PASS, Wanted, program};
use super::socket::{PATIENCE, PAUSE};
use crate::config::Config;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

/// The program in front of an interface. Detached when the last worker drops it.
#[derive(Debug)]
pub(in super::super) struct Attachment {
    pub(super) interface: Interface,
    /// Addresses of ours that the interface has, and which socket each is.
    pub(super) served: Vec<Served>,
    pub(super) mode: Mode,
    sockets: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

/// An address the program looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) end: End,
    /// The place of the socket that is bound to it, in `listen` and `nosec.listen`.
    pub(super) socket: u8,
}

impl Attachment {
    /// Puts the program on the interface. While no worker has assigned its socket, every packet is
    /// the kernel's.
    pub(in super::super) fn new(config: &Config, workers: u8) -> io::Result<Self> {
        let name = &config.net.xdp_interface;
        let interface = Interface::find(name)?;
        let served = served(config, &interface.addresses);
        if served.is_empty() {
            return Err(io::Error::other("it has none of the addresses we listen at"));
        }
        let addresses: Vec<SocketAddr> = served.iter().map(|one| one.end.address()).collect();
        let step =
            |name: &str, error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
        let sockets = bpf::socket_map(interface.queues).map_err(|e| step("map", e))?;
        let loaded = bpf::load(&program(&Wanted {
            mac: interface.mac,
            addresses: &addresses,
            sockets: sockets.as_raw_fd(),
            workers,
            without_socket: PASS,
        }));
        let loaded = loaded.map_err(|e| step("program", e))?;
        let (link, mode) = attach(&loaded, interface.index).map_err(|e| step("attach", e))?;
        Ok(Self { interface, served, mode, sockets, _program: loaded, _link: link })
    }

    /// The packets of a queue come to this socket from now on.
    pub(super) fn assign(&self, queue: u32, socket: RawFd) -> io::Result<()> {
        bpf::assign(&self.sockets, queue, socket)
    }

    /// Which socket is bound to this address and port.
    pub(super) fn socket_at(&self, end: End) -> Option<u8> {
        self.served.iter().find(|one| one.end == end).map(|one| one.socket)
    }

    /// The address that socket number `socket` answers from; `local` if it is a wildcard's.
    pub(super) fn source(&self, socket: u8, local: Option<[u8; 16]>) -> Option<End> {
        let is_it =
            |one: &&Served| one.socket == socket && local.is_none_or(|local| local == one.end.ip);
        self.served.iter().find(is_it).map(|one| one.end)
    }
}

/// Natively if the driver can. A program that a process that was killed still has there is waited
/// for.
fn attach(program: &OwnedFd, interface: u32) -> io::Result<(OwnedFd, Mode)> {
    let begun = Instant::now();
    loop {
        let native = bpf::attach(program, interface, Mode::Native);
        let busy = match native {
            Ok(link) => return Ok((link, Mode::Native)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => error,
            Err(_) => match bpf::attach(program, interface, Mode::Generic) {
                Ok(link) => return Ok((link, Mode::Generic)),
                Err(error) => error,
            },
        };
        if busy.raw_os_error() != Some(libc::EBUSY) || begun.elapsed() >= PATIENCE {
            return Err(busy);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Which addresses of an interface are those of our sockets: a specific one before a wildcard, as
/// the kernel has it. *Why the interface's own only:* an answer leaves through it.
fn served(config: &Config, addresses: &[IpAddr]) -> Vec<Served> {
    let listen = || config.listen.iter().chain(&config.nosec.listen).zip(0u8..);
    let (mut specific, mut wildcard) = (Vec::new(), Vec::new());
    for &ip in addresses {
        for (address, socket) in listen() {
            let end = End::of(SocketAddr::new(ip, address.port()));
            if address.ip() == ip {
                specific.push(Served { end, socket });
            } else if address.ip().is_unspecified() && address.is_ipv4() == ip.is_ipv4() {
                wildcard.push(Served { end, socket });
            }
        }
    }
    wildcard.retain(|one| specific.iter().all(|other| other.end != one.end));
    specific.extend(wildcard);
    specific.truncate(SERVED_MAX);
    specific
}

/// Addresses the program compares with. *Why:* each costs every foreign packet two instructions;
/// those beyond are served by the ordinary sockets.
const SERVED_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(listen: &[&str], nosec: &[&str], addresses: &[&str]) -> Vec<(String, u8)> {
        let parse = |text: &&str| text.parse().expect("an address");
        let mut config = Config { listen: listen.iter().map(parse).collect(), ..Config::default() };
        config.nosec.listen = nosec.iter().map(parse).collect();
        let addresses: Vec<IpAddr> =
            addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let served = served(&config, &addresses);
        served.iter().map(|one| (one.end.address().to_string(), one.socket)).collect()
    }

    #[test]
    fn a_socket_serves_the_addresses_the_interface_has() {
        let of = |listen: &[&str]| ends(listen, &[], &["192.0.2.1", "2001:db8::1"]);
        assert_eq!(of(&["192.0.2.1:5684", "192.0.2.2:5684"]), [("192.0.2.1:5684".into(), 0)]);
        assert_eq!(
            of(&["0.0.0.0:5684", "[::]:5684"]),
            [("192.0.2.1:5684".into(), 0), ("[2001:db8::1]:5684".into(), 1)]
        );
        assert_eq!(of(&["127.0.0.1:5684"]), []);
    }

    #[test]
    fn a_specific_address_comes_before_a_wildcard_and_nosec_after_dtls() {
        assert_eq!(
            ends(&["0.0.0.0:5684", "192.0.2.1:5684"], &["192.0.2.1:5683"], &["192.0.2.1"]),
            [("192.0.2.1:5684".into(), 1), ("192.0.2.1:5683".into(), 2)]
        );
    }

    #[test]
    fn more_addresses_than_the_program_has_room_for_are_left_to_the_kernel() {
        let many: Vec<String> = (1..=SERVED_MAX + 1).map(|n| format!("192.0.2.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(ends(&["0.0.0.0:5684"], &[], &many).len(), SERVED_MAX);
        assert_eq!(ends(&["0.0.0.0:5684"], &[], &many[..SERVED_MAX]).len(), SERVED_MAX);
    }
}
