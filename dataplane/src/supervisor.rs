//! What does the service manager get to know? That the edge serves, that it still turns, that it
//! stops, and which sockets it should keep for the next process (file descriptor store): the
//! protocol of sd_notify(3), to the socket that `NOTIFY_SOCKET` names, if any.
//!
//! *Why not a crate:* the ones there are open a socket for each message, which a process that has
//! locked itself in can't.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The way to the service manager; says nothing when there is none.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that all is well.
    watchdog: Option<Duration>,
    told: Option<Instant>,
}

impl Supervisor {
    /// The one this process was started by, from its environment.
    #[must_use]
    pub fn find() -> Self {
        let Ok(name) = std::env::var("NOTIFY_SOCKET") else { return Self::default() };
        let limit_us = std::env::var("WATCHDOG_USEC").ok().and_then(|limit| limit.parse().ok());
        Self::at(&name, limit_us)
    }

    /// `name`: a path, or behind `@` one of the abstract ones. `limit_us`: it gives up on a process
    /// that says nothing for so many microseconds.
    fn at(name: &str, limit_us: Option<u64>) -> Self {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.connect_addr(&address?)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => Self {
                socket: Some(socket),
                // Twice in the time it has.
                watchdog: limit_us.map(|limit| Duration::from_micros(limit / 2)),
                told: None,
            },
            Err(error) => {
                tracing::warn!(%error, name, "the service manager can't be told anything");
                Self::default()
            }
        }
    }

    /// The edge serves.
    pub fn say_ready(&self) {
        self.say(b"READY=1");
    }

    /// When it is time to say that all is well: asks whether it is, and says so or is silent.
    pub fn say_alive(&mut self, is_well: impl FnOnce() -> bool) {
        let Some(watchdog) = self.watchdog else { return };
        let is_due = self.told.is_none_or(|told| told.elapsed() >= watchdog);
        if is_due && is_well() {
            self.told = Some(Instant::now());
            self.say(b"WATCHDOG=1");
        }
    }

    /// The edge stops because it was asked to.
    pub fn say_stopping(&self) {
        self.say(b"STOPPING=1");
    }

    /// Keep a copy of this socket until I say otherwise, and pass it to whoever comes after me. Not
    /// watched for errors: a device that can't be reached is none of the socket's.
    pub fn say_keep(&self, name: &str, socket: BorrowedFd<'_>) {
        let message = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket];
        ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
        let parts = [IoSlice::new(message.as_bytes())];
        let _ =
            self.socket.as_ref().map(|to| sendmsg(to, &parts, &mut ancillary, SendFlags::empty()));
    }

    /// Keep nothing of this name any more.
    pub fn say_forget(&self, name: &str) {
        self.say(format!("FDSTOREREMOVE=1\nFDNAME={name}").as_bytes());
    }

    fn say(&self, message: &[u8]) {
        // A manager that does not listen is its own affair.
        let _ = self.socket.as_ref().map(|socket| socket.send(message));
    }
}

/// For a manager whose ears are full: a worker has more sockets than a queue has places.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn heard(by: &UnixDatagram) -> Option<String> {
        let mut message = [0; 64];
        let length = by.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..length]).into_owned())
    }

    #[test]
    fn what_happens_is_told_and_silence_is_kept_when_nothing_turns() {
        let name = format!("tidegate-supervisor-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut supervisor = Supervisor::at(&format!("@{name}"), Some(0));
        supervisor.say_ready();
        assert_eq!(heard(&manager).as_deref(), Some("READY=1"));
        supervisor.say_alive(|| false);
        assert_eq!(heard(&manager), None);
        supervisor.say_alive(|| true);
        assert_eq!(heard(&manager).as_deref(), Some("WATCHDOG=1"));
        supervisor.say_stopping();
        assert_eq!(heard(&manager).as_deref(), Some("STOPPING=1"));
    }

    #[test]
    fn it_is_told_twice_in_the_time_it_has_and_not_more_often() {
        let name = format!("tidegate-supervisor-slow-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut supervisor = Supervisor::at(&format!("@{name}"), Some(u64::MAX));
        supervisor.say_alive(|| true);
        supervisor.say_alive(|| unreachable!("asked again"));
        assert_eq!(heard(&manager).as_deref(), Some("WATCHDOG=1"));
        assert_eq!(heard(&manager), None);
    }

    #[test]
    fn without_a_manager_nothing_is_said() {
        let mut nobody = Supervisor::at("/nonexistent/notify", Some(1));
        nobody.say_ready();
        nobody.say_alive(|| unreachable!("nobody asked"));
    }
}
