//! Which sockets did the process before this one leave with the service manager? All of ours, or
//! none are taken: what arrived while nobody served waits in them.
//!
//! A worker's sockets are handed over by name, because a socket keeps its place in its reuseport
//! group for as long as it is open, and that place says whose it is (`steering`).
#![allow(unsafe_code)]

use super::socket::Socket;
use crate::config::Config;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};

/// Sockets by their names; none when this is a first start, or nobody kept them.
#[derive(Debug, Default)]
pub struct Kept {
    sockets: BTreeMap<String, OwnedFd>,
}

/// What was left does not fit: it has to be given up before others are bound.
#[derive(Debug)]
pub struct Unfit {
    /// What it was kept as.
    pub names: Vec<String>,
    /// In words.
    pub reason: String,
}

impl Kept {
    /// Takes what the service manager passes (`LISTEN_FDS`, sd_listen_fds(3)). Once in a process,
    /// before anything else is opened.
    ///
    /// # Errors
    /// What is there is not what this configuration with so many workers wants.
    pub fn take(config: &Config, workers: u8) -> Result<Self, Unfit> {
        let mut sockets = BTreeMap::new();
        for (fd, name) in sd_notify::listen_fds_with_names().into_iter().flatten() {
            // SAFETY: the manager made this descriptor for this process (LISTEN_PID is checked),
            // and nothing else in it knows of it.
            sockets.insert(name, unsafe { OwnedFd::from_raw_fd(fd) });
        }
        let kept = Self { sockets };
        match kept.check(config, workers) {
            Ok(()) => Ok(kept),
            Err(reason) => Err(Unfit { names: kept.sockets.into_keys().collect(), reason }),
        }
    }

    fn check(&self, config: &Config, workers: u8) -> Result<(), String> {
        if self.sockets.is_empty() {
            return Ok(());
        }
        let addresses: Vec<SocketAddr> = addresses(config).collect();
        let wanted = usize::from(workers) * addresses.len();
        if self.sockets.len() != wanted {
            return Err(format!("{} sockets, {wanted} are wanted", self.sockets.len()));
        }
        for worker in 0..workers {
            for (number, address) in addresses.iter().enumerate() {
                let name = name(worker, number);
                let socket = self.sockets.get(&name).ok_or(format!("no {name}"))?;
                let bound = Socket::address_of(socket).map_err(|e| format!("{name}: {e}"))?;
                if bound != *address {
                    return Err(format!("{name} is at {bound}, {address} is wanted"));
                }
            }
        }
        Ok(())
    }

    /// Is anything here?
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// One of a worker's, in the order in which they are opened.
    pub(super) fn socket(&self, worker: u8, number: usize) -> Option<io::Result<OwnedFd>> {
        self.sockets.get(&name(worker, number)).map(OwnedFd::try_clone)
    }
}

/// What a worker's socket is kept as.
pub(super) fn name(worker: u8, number: usize) -> String {
    format!("worker-{worker}-socket-{number}")
}

/// The addresses of a worker's sockets, in the order in which they are opened.
fn addresses(config: &Config) -> impl Iterator<Item = SocketAddr> {
    let steered = config.listen.iter().flat_map(|address| [*address, *address]);
    steered.chain(config.nosec.listen.iter().copied())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::socket::Spread;
    use super::*;
    use std::os::fd::AsFd;

    /// A socket of one worker at a port of its own, kept under these names.
    fn kept(names: &[&str]) -> (Config, Kept) {
        let spread = Spread::ByConnectionId { workers: 1 };
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap(), spread).unwrap();
        let config = Config { listen: vec![socket.local_address().unwrap()], ..Config::default() };
        let fd = || socket.as_fd().try_clone_to_owned().unwrap();
        let sockets = names.iter().map(|name| ((*name).to_owned(), fd())).collect();
        (config, Kept { sockets })
    }

    #[test]
    fn all_sockets_of_all_workers_are_wanted_and_no_other() {
        let (config, whole) = kept(&["worker-0-socket-0", "worker-0-socket-1"]);
        assert_eq!(whole.check(&config, 1), Ok(()));
        assert!(whole.socket(0, 1).unwrap().is_ok() && whole.socket(0, 2).is_none());
        assert!(whole.check(&config, 2).is_err(), "a worker more");
        let (config, one) = kept(&["worker-0-socket-0"]);
        assert!(one.check(&config, 1).is_err());
        let (config, other) = kept(&["worker-0-socket-0", "worker-1-socket-0"]);
        assert!(other.check(&config, 1).is_err());
    }

    #[test]
    fn sockets_of_another_address_do_not_fit() {
        let (mut config, whole) = kept(&["worker-0-socket-0", "worker-0-socket-1"]);
        let port = config.listen[0].port() ^ 1;
        config.listen[0].set_port(port);
        assert!(whole.check(&config, 1).unwrap_err().contains("is wanted"));
    }

    #[test]
    fn nothing_kept_fits_everything() {
        assert_eq!(Kept::default().check(&Config::default(), 7), Ok(()));
    }
}
