//! Who keeps the sockets while no dataplane serves, where no service manager does? This process:
//! it starts the one that serves, starts it again when that ends, and passes it the sockets that it
//! was given to keep, by the same protocols (sd_notify(3), sd_listen_fds(3)).
//!
//! It reads no datagram: what it keeps are places in the kernel's queues.

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;
use tracing::{info, warn};

/// Set for the process that serves: it ends when this one does.
pub const KEPT_BY: &str = "TIDEGATE_KEEPER";

/// The process that serves, and what outlives it.
pub struct Keeper {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Where the process that serves says what it has to say.
    notices: UnixDatagram,
    path: PathBuf,
    sockets: BTreeMap<String, OwnedFd>,
    /// *Bound:* as many as all workers that there may be have at all addresses that there may be.
    sockets_max: usize,
    /// One has served: that the next one ends is no mistake of its configuration.
    has_served: bool,
}

impl Keeper {
    /// Will run this program with these arguments. `run_dir`: a directory that is ours alone.
    ///
    /// # Errors
    /// In words.
    pub fn new(program: PathBuf, arguments: Vec<OsString>, run_dir: &Path) -> Result<Self, String> {
        let path = run_dir.join("keeper.notify");
        let fail = |e: std::io::Error| format!("{}: {e}", path.display());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let notices = UnixDatagram::bind(&path).map_err(fail)?;
        notices.set_nonblocking(true).map_err(fail)?;
        let (sockets, sockets_max) = (BTreeMap::new(), SOCKETS_MAX);
        Ok(Self { program, arguments, notices, path, sockets, sockets_max, has_served: false })
    }

    /// Keeps one running until a signal comes, which it is told; says how it ended then.
    ///
    /// # Errors
    /// It can't be started, or ended before it ever served.
    pub fn run(&mut self, signals: &mut Signals) -> Result<(), String> {
        loop {
            let mut child = self.start()?;
            info!(pid = child.id(), sockets = self.sockets.len(), "started");
            let Some(status) = self.watch(&mut child, signals)? else { return Ok(()) };
            if !self.has_served {
                return Err(format!("it ended before it served: {status}"));
            }
            warn!(%status, "it ended, and is started again");
            std::thread::sleep(PAUSE);
        }
    }

    fn start(&self) -> Result<Child, String> {
        // The process that serves checks that the sockets are for it, by its number, which only a
        // shell knows before it becomes that process.
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]);
        command.arg(&self.program).args(&self.arguments);
        let names: Vec<&str> = self.sockets.keys().map(String::as_str).collect();
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.env("NOTIFY_SOCKET", &self.path).env(KEPT_BY, "1");
        let mapping = |(fd, parent_fd): (i32, &OwnedFd)| {
            Ok(FdMapping { parent_fd: parent_fd.try_clone()?, child_fd: fd })
        };
        let mappings = (FIRST_FD..).zip(self.sockets.values()).map(mapping);
        let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", self.program.display());
        let mappings = mappings.collect::<std::io::Result<_>>().map_err(|e| fail(&e))?;
        command.fd_mappings(mappings).map_err(|e| fail(&e))?;
        command.spawn().map_err(|e| fail(&e))
    }

    /// Hears the process until it ends; `None`: it was asked to.
    fn watch(
        &mut self,
        child: &mut Child,
        signals: &mut Signals,
    ) -> Result<Option<ExitStatus>, String> {
        let fail = |e: &dyn std::fmt::Display| format!("its end: {e}");
        let pid = Pid::from_child(child);
        let end = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| fail(&e))?;
        let mut is_asked = false;
        loop {
            let mut either = [end.as_fd(), self.notices.as_fd()]
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut either, Some(&LOOK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(fail(&error)),
            }
            while self.hear() {}
            if signals.pending().next().is_some() {
                is_asked = true;
                kill_process(pid, Signal::TERM).map_err(|e| fail(&e))?;
            }
            match child.try_wait().map_err(|e| fail(&e))? {
                Some(status) if is_asked && status.success() => return Ok(None),
                Some(status) if is_asked => return Err(format!("it ended: {status}")),
                Some(status) => {
                    // What it said last.
                    while self.hear() {}
                    return Ok(Some(status));
                }
                None => {}
            }
        }
    }

    /// Hears one notice; false: there is none.
    fn hear(&mut self) -> bool {
        let mut text = [0; NOTICE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut text)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let Ok(heard) = recvmsg(&self.notices, &mut parts, &mut ancillary, flags) else {
            return false;
        };
        let sockets = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        let socket = sockets.flatten().next();
        let text = std::str::from_utf8(&text[..heard.bytes]).unwrap_or_default();
        if !heard.flags.contains(ReturnFlags::TRUNC) {
            self.on_notice(text, socket);
        }
        true
    }

    fn on_notice(&mut self, text: &str, socket: Option<OwnedFd>) {
        let says = |line: &str| text.lines().any(|one| one == line);
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default();
        self.has_served |= says("READY=1");
        if says("FDSTOREREMOVE=1") {
            self.sockets.remove(name);
        } else if says("FDSTORE=1")
            && let Some(socket) = socket
            && (self.sockets.len() < self.sockets_max || self.sockets.contains_key(name))
            && !name.contains(':')
        {
            self.sockets.insert(name.to_owned(), socket);
        }
    }
}

/// SD_LISTEN_FDS_START.
const FIRST_FD: i32 = 3;
/// How soon a signal is noticed; an end or a notice is at once.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// From an end to the next start, as deploy/systemd has it. *Why not at once:* what ends at once
/// again would take a core.
const PAUSE: Duration = Duration::from_millis(100);
const NOTICE_BYTES_MAX: usize = 1_024;
/// Each worker has two for each of eight addresses, and one for each of eight plain ones.
const SOCKETS_MAX: usize = crate::bounds::WORKERS_MAX as usize * 24;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::net::UdpSocket;

    fn keeper(name: &str) -> Keeper {
        let directory = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Keeper::new("/bin/true".into(), Vec::new(), &directory).unwrap()
    }

    fn store(keeper: &mut Keeper, name: &str) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        keeper.on_notice(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), Some(socket.into()));
    }

    #[test]
    fn what_is_to_be_kept_is_kept_until_it_is_to_be_forgotten() {
        let mut keeper = keeper("tidegate-keeper-keeps");
        store(&mut keeper, "a");
        store(&mut keeper, "b");
        store(&mut keeper, "a");
        assert_eq!(keeper.sockets.keys().collect::<Vec<_>>(), ["a", "b"]);
        keeper.on_notice("FDSTOREREMOVE=1\nFDNAME=a", None);
        keeper.on_notice("FDSTORE=1\nFDNAME=c", None);
        assert_eq!(keeper.sockets.keys().collect::<Vec<_>>(), ["b"]);
        store(&mut keeper, "two:names");
        assert_eq!(keeper.sockets.len(), 1);
    }

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let mut keeper = keeper("tidegate-keeper-bound");
        keeper.sockets_max = 2;
        for name in ["a", "b", "c"] {
            store(&mut keeper, name);
        }
        assert_eq!(keeper.sockets.keys().collect::<Vec<_>>(), ["a", "b"]);
        // Another one in the place of one of them.
        store(&mut keeper, "b");
        assert_eq!(keeper.sockets.len(), 2);
    }

    #[test]
    fn a_program_that_never_serves_is_an_error() {
        let mut keeper = keeper("tidegate-keeper-ends");
        let mut signals = Signals::new([signal_hook::consts::SIGUSR2]).unwrap();
        let ended = keeper.run(&mut signals).unwrap_err();
        assert!(ended.contains("before it served"), "{ended}");
    }
}
